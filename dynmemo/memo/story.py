"""What happens when a decorated function is called, told once for plain and for async functions."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo._log import Once
from dynmemo.clear import clear_functions
from dynmemo.codec import CannotSerialize, Codec
from dynmemo.defaults import default_cache, is_disabled
from dynmemo.errors import InvalidOptionError, InvalidTableError, StoreUnavailableError, ValueTooLargeError
from dynmemo.identity import CodeIdentity
from dynmemo.keys import ArgumentKeys, function_name, key_name
from dynmemo.memo.entries import Computed, Entries
from dynmemo.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.cache import Cache
    from dynmemo.memo.entries import Entry, Found
    from dynmemo.memo.options import Options

T = TypeVar("T")
Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]

_BROKEN = (StoreUnavailableError, InvalidTableError)


@dataclass(frozen=True, slots=True)
class Failed:
    """The user's function raised."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Blocking:
    """A step of a story that waits for a store: done in place by a plain function, in a thread by an async one."""

    do: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Compute:
    """The step of a story that runs the user's function; it is answered with `Computed` or `Failed`."""

    args: Arguments
    kwargs: Keywords


# An outcome instead of an exception, because a StopIteration of the user's function must not end the story.
Outcome = Computed | Failed
Story = Generator[Blocking | Compute, Any, Outcome]


class Memo:
    """One decorated function: its options, counters and keys, and the story of its calls."""

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        options.check()
        self.function = function
        self.options = options
        self.name = options.name or _name(function)
        self.fn = key_name(self.name)
        self.stats = Stats()
        self._log = Once()
        self._identity = CodeIdentity(
            function, code=options.code, depends_on=tuple(options.depends_on), version=options.version
        )
        self._arguments = ArgumentKeys(
            function, getattr(function, "__qualname__", self.name), options.ignore, options.key
        )
        self._cache = options.checked_cache()
        self._entries: Entries | None = None
        self._codec_for(self._cache)  # a wrong serializer is refused now

    # -- the call ---------------------------------------------------------------------------------

    def call(self, args: Arguments, kwargs: Keywords) -> Any:
        """One call of a plain function."""
        if is_disabled():
            return self.function(*args, **kwargs)
        key = self.key(args, kwargs)
        entries = self._entries_or_none()
        found = None if entries is None else self._find(entries, key)
        if found is not None and found.decoded is not None:
            return found.decoded.value
        return self.play(self._miss(entries if found else None, key, args, kwargs))

    async def acall(self, args: Arguments, kwargs: Keywords) -> Any:
        """One call of an async function."""
        if is_disabled():
            return await self.function(*args, **kwargs)
        key = self.key(args, kwargs)
        entries = self._entries_or_none()
        found = None if entries is None else await entries.cache.run(self._find, entries, key)
        if found is not None and found.decoded is not None:
            return found.decoded.value
        return await self.aplay(self._miss(entries if found else None, key, args, kwargs))

    def recompute(self, args: Arguments, kwargs: Keywords) -> Story:
        """Compute and store, whatever lies there."""
        return self._miss(self._entries_or_none(), self.key(args, kwargs), args, kwargs)

    def _miss(self, entries: Entries | None, key: str, args: Arguments, kwargs: Keywords) -> Story:
        generation = None
        if entries is not None:
            generation = yield Blocking(lambda: self._generation(entries))
        outcome: Outcome = yield Compute(args, kwargs)
        if isinstance(outcome, Computed) and entries is not None and generation is not None:
            yield Blocking(lambda: self._keep(entries, key, outcome, generation))
        return outcome

    # -- beside the call --------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget all calls, everywhere."""
        clear_functions(self.entries().cache, self.fn)
        self.stats.reset()

    def invalidate(self, args: Arguments, kwargs: Keywords) -> None:
        """Forget one call."""
        self.entries().remove(self.key(args, kwargs))

    def describe(self, args: Arguments, kwargs: Keywords) -> Entry[Any] | None:
        """What is stored for a call."""
        return self.entries().describe(self.key(args, kwargs))

    def parameters(self) -> dict[str, Any]:
        """The options by name, with the name in force."""
        given = {field.name: getattr(self.options, field.name) for field in fields(self.options)}
        return {**given, "name": self.name}

    # -- its steps --------------------------------------------------------------------------------

    def key(self, args: Arguments, kwargs: Keywords) -> str:
        """The key of a call, as `Cache.get` takes it."""
        return f"{self.fn}:{self._identity.current()}:{self._arguments.digest(args, kwargs)}"

    def entries(self) -> Entries:
        """The entries of this function in the cache that is in force now."""
        cache = self._cache or default_cache()
        known = self._entries
        if known is None or known.cache is not cache:
            known = self._entries = Entries(cache, self.fn, self._codec_for(cache), self.stats)
        return known

    def _codec_for(self, cache: Cache | None) -> Codec:
        if cache is None:
            return Codec(self.options.serializer)
        return Codec(self.options.serializer, secrets=cache.secrets, encrypt=cache.encrypt)

    def _entries_or_none(self) -> Entries | None:
        try:
            return self.entries()
        except InvalidOptionError as error:  # what the environment says is known only now
            self.stats.add("errors")
            self._broken(error, "configuration")
            return None

    def _find(self, entries: Entries, key: str) -> Found | None:
        """Look up; None when the store is out of order and `on_error` lets the call go on."""
        try:
            found = entries.find(key)
        except _BROKEN as error:
            self._store_failed(error)
            return None
        if found.decoded is not None:
            self.stats.hit(found.decoded.seconds)
            return found
        self.stats.add("misses")
        if found.unreadable is not None:
            self.stats.add("unreadable")
            self._broken(found.unreadable, f"unreadable: {found.unreadable.cause}")
        return found

    def _generation(self, entries: Entries) -> str | None:
        try:
            return entries.generation()
        except _BROKEN as error:
            self._store_failed(error)
            return None

    def _keep(self, entries: Entries, key: str, computed: Computed, generation: str) -> None:
        cache_if = self.options.cache_if
        if cache_if is not None and not cache_if(computed.value):
            self.stats.add("bypassed")
            return
        try:
            lifetime = self.options.lifetime_of(entries.cache, computed.value)
            if lifetime is not None and entries.keep(key, computed, lifetime, generation):
                return
            self._not_stored("ttl", "its ttl has run out")
        except (CannotSerialize, ValueTooLargeError, InvalidOptionError) as error:
            self._not_stored(type(error).__name__, str(error))
        except _BROKEN as error:
            self._store_failed(error)

    def _not_stored(self, cause: str, reason: str) -> None:
        self.stats.add("bypassed")
        self._log.warning(cause, "%s(): the result is returned but not stored: %s", self.name, reason)

    def _store_failed(self, error: StoreUnavailableError | InvalidTableError) -> None:
        self.stats.add("errors")
        self._broken(error, getattr(error, "code", None) or type(error).__name__)

    def _broken(self, error: Exception, cause: str) -> None:
        if self.options.on_error == "raise":
            raise error
        self._log.warning(cause, "%s(): computing without the cache: %s", self.name, error)

    # -- players: how the steps of a story are done -------------------------------------------------

    def play(self, story: Story) -> Any:
        """Do the steps of a story one after the other; give or raise its outcome."""
        answer: object = None
        try:
            while True:
                try:
                    step = story.send(answer)
                except StopIteration as end:
                    return _given(end.value)
                answer = self._compute(step) if isinstance(step, Compute) else step.do()
        finally:
            story.close()

    async def aplay(self, story: Story) -> Any:
        """`play` with the blocking steps in threads of the cache."""
        answer: object = None
        try:
            while True:
                try:
                    step = story.send(answer)
                except StopIteration as end:
                    return _given(end.value)
                answer = await (
                    self._acompute(step) if isinstance(step, Compute) else self.entries().cache.run(step.do)
                )
        finally:
            story.close()

    def _compute(self, step: Compute) -> Outcome:
        started, clock = time.time(), time.perf_counter()
        self.stats.add("computed")
        try:
            value = self.function(*step.args, **step.kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again by `_given`
            return Failed(error)
        return Computed(value, started, time.perf_counter() - clock)

    async def _acompute(self, step: Compute) -> Outcome:
        started, clock = time.time(), time.perf_counter()
        self.stats.add("computed")
        try:
            value = await self.function(*step.args, **step.kwargs)
        except BaseException as error:  # noqa: BLE001 - raised again by `_given`
            return Failed(error)
        return Computed(value, started, time.perf_counter() - clock)


def _name(function: Callable[..., Any]) -> str:
    try:
        return function_name(function)
    except AttributeError:
        raise InvalidOptionError(
            f"a {type(function).__name__} has no name of its own to stand in keys; give name="
        ) from None


def _given(outcome: Outcome) -> Any:
    if isinstance(outcome, Failed):
        raise outcome.error
    return outcome.value
