"""One decorated function and the way of its calls."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self

from dynmemo import defaults, views
from dynmemo._process import run_as
from dynmemo.calls.miss import Compute, Failed, Miss, Sleep, Wait, Work, compute
from dynmemo.codec import Codec, Own
from dynmemo.counters import Stats
from dynmemo.defaults import DISABLE, configured_cache, default_cache, environment, is_disabled, known_cache
from dynmemo.entries import Computed, Entries, Looked, Throttled, insist, is_first
from dynmemo.errors import InvalidOptionError, UnhashableArgumentError
from dynmemo.explain import Call, Known, explain, history, in_short, is_small
from dynmemo.failures import OutOfOrder, Trouble
from dynmemo.generations import OfProgram
from dynmemo.keys import function_name, key_name, main_of
from dynmemo.keys.arguments import ArgumentKeys
from dynmemo.keys.identity import CodeIdentity
from dynmemo.leases import led
from dynmemo.origin import program_id
from dynmemo.purging import clear_functions
from dynmemo.telling import DEBUG, INFO, tell, tells

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from types import TracebackType

    from dynmemo.cache import Cache
    from dynmemo.calls import Options
    from dynmemo.calls.miss import Arguments, Keywords, Outcome, Steps, Story
    from dynmemo.codec import Decoded
    from dynmemo.entries import Entry
    from dynmemo.explain import Explanation


class Memo:
    """One decorated function: its options, which were checked, its counters and keys, and what its calls do."""

    def __init__(self, function: Callable[..., Any], options: Options, program: str | None = None) -> None:
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.options = options
        self.name = options.name or _name(function)
        self.program = _program(function, options) if program is None else program
        """The notebook or script to which it belongs, whose name is that of many others; empty for any other."""
        self.stats = Stats()
        self._trouble = Trouble(self.name, self.stats, raises=options.on_error == "raise")
        self._history = history(key_name(self.name), self.program)
        self.identity = CodeIdentity(
            function,
            code=options.code,
            depends_on=options.packages(),
            version=options.version,
            ignore_globals=options.ignore_globals,
            walked=self._history.saw_code,
            has_hit=self._has_hit,
        )
        self.arguments = ArgumentKeys(
            function,
            getattr(function, "__qualname__", self.name),
            options.ignore,
            options.key,
            self.identity.in_arguments,
        )
        self.cache = options.checked_cache()
        """The cache given; None for the default one."""
        self._entries: Entries | None = None
        self._refreshed_part = options.refresh_ahead
        self._ahead: dict[Hashable, float] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._codec_for(self.cache)  # a wrong serializer is refused now

    def _has_hit(self) -> bool:
        return self.stats.info().hits > 0

    # -- the call ---------------------------------------------------------------------------------

    def call(self, args: Arguments, kwargs: Keywords) -> tuple[Decoded | None, Steps[Outcome | None] | None]:
        """One call of a plain function: a hit, a story that computes the result, or a hit and one that refreshes it."""
        if DISABLE in environment and is_disabled():
            return None, self._uncached()
        try:
            entries: Entries | None = self.entries()
        except InvalidOptionError:  # `_look_up` tells of it
            entries = None
        fn = self.fn if entries is None else entries.fn
        key, not_stored = self.arguments.key(fn, self.identity.current(), args, kwargs)
        return self._look_up(entries, key, not_stored, args, kwargs)

    async def call_async(self, args: Arguments, kwargs: Keywords) -> Any:
        """One call of an async function."""
        if DISABLE in environment and is_disabled():
            return await self.play_async(self._uncached(), args, kwargs)
        try:
            entries: Entries | None = self.entries()
        except InvalidOptionError:  # `_look_up` tells of it
            entries = None
        fn = self.fn if entries is None else entries.fn
        key, not_stored = self.arguments.key(fn, self.identity.current(), args, kwargs)
        found: Any = None if entries is None else self._look_up_near(entries, key, not_stored)
        hit, story = found or await self.run(self._look_up, entries, key, not_stored, args, kwargs)
        if story is None:
            return hit.value
        if hit is None:
            return await self.play_async(story, args, kwargs)
        self.begin([(story, args, kwargs)])
        return hit.value

    def _look_up(
        self, found: Entries | None, key: str, not_stored: str, args: Arguments, kwargs: Keywords
    ) -> tuple[Decoded | None, Steps[Outcome | None] | None]:
        """`call` with its key."""
        try:
            entries = found or self.entries_in_force()
            looked: Looked = entries.near(key) or entries.reading(entries.look_up, key)
        except Throttled as throttled:
            return None, self._look_up_again(entries, throttled, key, not_stored, args, kwargs)
        except OutOfOrder:
            return None, self._uncached()
        except BaseException:
            self.stats.add("misses")
            raise
        if looked.decoded is None:
            return None, self._missed(entries, looked, key, not_stored, args, kwargs)
        return looked.decoded, self.hit(entries, looked, key, not_stored)

    def hit(self, entries: Entries, looked: Looked, key: str, not_stored: str) -> Steps[Outcome | None] | None:
        """Count a hit and tell of it. Returns the story that refreshes it, if that is due."""
        self.stats.hit(looked.decoded.seconds, looked.is_near)  # type: ignore[union-attr]  # a hit has it
        if self._refreshed_part is None and not tells(DEBUG):  # as `minds_hits`, without the call
            return None
        return self.counted(entries, looked, key, not_stored)

    def minds_hits(self) -> bool:
        """Whether there is more to a hit than counting it."""
        return self._refreshed_part is not None or tells(DEBUG)

    def counted(self, entries: Entries, looked: Looked, key: str, not_stored: str) -> Steps[Outcome | None] | None:
        """`hit` of one that was counted, where somebody `minds_hits`."""
        if tells(DEBUG):
            self.tell_why(key, looked)
        part = self._refreshed_part
        # Not again within the time of a lease, since each try costs a write.
        if part is None or not (
            entries.is_due(looked, part) and is_first(self._ahead, (entries, key), entries.cache.lease_seconds)
        ):
            return None
        return self.miss(entries, key, not_stored, looked).story_ahead()

    def _missed(
        self, entries: Entries, looked: Looked, key: str, not_stored: str, args: Arguments, kwargs: Keywords
    ) -> Story:
        self.stats.add("misses")
        self.missed(key, looked, args, kwargs)
        return self.miss(entries, key, not_stored, looked).story()

    def _look_up_again(
        self, entries: Entries, throttled: Throttled, key: str, not_stored: str, args: Arguments, kwargs: Keywords
    ) -> Steps[Outcome | None]:
        """The story of a call whose look-up was throttled."""
        try:
            yield Sleep(throttled.seconds)
            looked: Looked = yield Work(throttled.again)
        except OutOfOrder:
            return (yield from self._uncached())
        except BaseException:
            self.stats.add("misses")
            raise
        if looked.decoded is None:
            return (yield from self._missed(entries, looked, key, not_stored, args, kwargs))
        story = self.hit(entries, looked, key, not_stored)
        if story is not None:
            self.begin([(story, args, kwargs)])
        return looked.decoded

    def _look_up_near(
        self, entries: Entries, key: str, not_stored: str
    ) -> tuple[Decoded | None, Steps[Outcome | None] | None] | None:
        """`_look_up` of a near entry, for which nobody has to wait; None without one."""
        looked = entries.near(key, None)
        return None if looked is None else (looked.decoded, self.hit(entries, looked, key, not_stored))

    def missed(self, key: str, looked: Looked, args: Arguments, kwargs: Keywords) -> None:
        """Remember a call that was looked up and is a miss, and tell of an entry that cannot be read."""
        if tells(DEBUG):
            self.tell_why(key, looked, (args, kwargs))
        self._remember(key, args, kwargs)
        if looked.unreadable is not None:
            self._trouble.unreadable(looked.unreadable)

    def tell_why(self, key: str, looked: Looked, given: tuple[Arguments, Keywords] | None = None) -> None:
        """Tell why a call that was looked up is a hit, or of one that is `given` why it is none."""
        with contextlib.suppress(Exception):  # it is no part of the call
            ingredients = self._history.ingredients(key.rsplit(":", 2)[1]) or ()  # without another walk
            call = Known(key, ingredients, () if given is None else self.arguments.each(*given, is_small)())
            tell(DEBUG, "%s(): %s", self.name, in_short(call, looked, self._history, self.entries()))

    def _uncached(self) -> Story:
        self.stats.add("misses")
        return compute()

    def story_anew(self, args: Arguments, kwargs: Keywords) -> Story:
        """Compute and store, whatever lies there."""
        if is_disabled():
            return (yield from compute())
        key, not_stored = self.key_and_reason(args, kwargs)
        self._remember(key, args, kwargs)
        try:
            entries = self.entries_in_force()
        except OutOfOrder:
            return (yield from compute())
        return (yield from self.miss(entries, key, not_stored, Looked(None)).story_anew())

    def miss(self, entries: Entries, key: str, not_stored: str, looked: Looked, **how: Any) -> Miss:
        """The miss of a call, with the further options of `Miss`."""
        blocks_thread = not self.is_async
        return Miss(entries, key, looked, self.options, blocks_thread=blocks_thread, not_stored=not_stored, **how)

    def _remember(self, key: str, args: Arguments, kwargs: Keywords) -> None:
        _, code, arguments = key.rsplit(":", 2)
        try:
            call = Call(code, arguments, self.arguments.each(args, kwargs, is_small))
            is_fixed = self.arguments.are_fixed(args, kwargs)
            self._history.saw_call(call, is_fixed=is_fixed)
            if not is_fixed:
                self.arguments.missed(args, kwargs, call.each, self._has_hit)
        except Exception:  # noqa: BLE001, S110 - it serves explain() only, and objects may do anything when looked at
            pass

    # -- its steps --------------------------------------------------------------------------------

    def play(self, story: Steps[Outcome | None], args: Arguments, kwargs: Keywords) -> Any:
        """Play the story of a plain function; its result."""
        return value_of(self.outcome_of(story, args, kwargs))

    def outcome_of(self, story: Steps[Outcome | None], args: Arguments, kwargs: Keywords) -> Outcome | None:
        """Play the story of a plain function; what came of it."""
        try:
            outcome = self.go_on(story)
            while isinstance(outcome, Compute):
                with Computation(self, args, kwargs) as computation:
                    computation.value = self.function(*args, **kwargs)
                outcome = self.go_on(story, computation.outcome)
            return outcome  # type: ignore[no-any-return]
        finally:
            story.close()

    def go_on(self, story: Steps[Outcome | None], answer: Any = None) -> Any:
        """Do the steps of a plain function's story up to its outcome, or until the function is to run: `Compute`.

        The function does not run here, so that recursive functions need as little of the interpreter's stack as
        possible.
        """
        error: Exception | None = None
        while True:
            try:
                step = story.send(answer) if error is None else story.throw(error)
            except StopIteration as end:
                return end.value
            answer = error = None
            if isinstance(step, Compute):
                return step
            if isinstance(step, Work):
                try:
                    answer = insist(step)
                except Exception as raised:  # noqa: BLE001 - for the story
                    error = raised
            elif isinstance(step, Wait):
                answer = step.flight.wait(step.timeout, step.look)
            else:
                time.sleep(step.seconds)

    async def play_async(self, story: Steps[Any], args: Arguments, kwargs: Keywords) -> Any:
        """`play` for an async function."""
        return value_of(await self.outcome_of_async(story, args, kwargs))

    async def outcome_of_async(self, story: Steps[Any], args: Arguments, kwargs: Keywords) -> Outcome | None:
        """`outcome_of` for an async function; what may take long is done in a thread."""
        answer: Any = None
        error: Exception | None = None
        try:
            while True:
                try:
                    step = story.send(answer) if error is None else story.throw(error)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
                answer = error = None
                if isinstance(step, Compute):
                    with Computation(self, args, kwargs) as computation:
                        computation.value = await self.function(*args, **kwargs)
                    answer = computation.outcome
                elif isinstance(step, Work):
                    try:
                        answer = await self.run(step)
                    except Exception as raised:  # noqa: BLE001 - for the story
                        error = raised
                elif isinstance(step, Wait):
                    answer = await step.flight.wait_async(step.timeout, step.look)
                else:
                    await asyncio.sleep(step.seconds)
        finally:
            story.close()

    async def run(self, do: Callable[..., Any], *args: Any) -> Any:
        """Do what waits for the store in a thread of the cache."""
        try:
            cache = self.entries().cache
        except InvalidOptionError:  # without a cache nothing waits, and `do` says what is wrong
            return do(*args)
        while True:
            try:
                return await cache.run(do, *args)
            except Throttled as throttled:
                await asyncio.sleep(throttled.seconds)
                do, args = throttled.again, ()

    def begin(self, stories: Sequence[tuple[Steps[Any], Arguments, Keywords]]) -> None:
        """Play stories one after the other in the background."""
        if self.is_async:
            self._begin_async(stories)
            return

        def begin() -> None:
            for story, args, kwargs in stories:
                try:
                    self.play(story, args, kwargs)
                except Exception as error:  # noqa: BLE001 - nobody waits for it
                    self._trouble.background(error)

        with contextlib.suppress(RuntimeError):  # too many threads: a later hit tries again
            threading.Thread(target=begin, name="dynmemo-ahead", daemon=True).start()

    def _begin_async(self, stories: Sequence[tuple[Steps[Any], Arguments, Keywords]]) -> None:
        async def begin() -> None:
            for story, args, kwargs in stories:
                try:
                    await self.play_async(story, args, kwargs)
                except Exception as error:  # noqa: BLE001 - nobody waits for it
                    self._trouble.background(error)

        # The computation that this hit is part of does not wait for the task.
        context = contextvars.copy_context()
        context.run(led.set, ())
        task = asyncio.create_task(begin(), context=context)
        self._tasks.add(task)  # a loop keeps only weak references
        task.add_done_callback(self._tasks.discard)

    # -- beside the call --------------------------------------------------------------------------

    def clear(self) -> None:
        """Forget all calls, everywhere; of a notebook or script those that are its own."""
        entries = self.entries()
        clear_functions(entries.cache, entries.fn, self.own())
        self.stats.reset()

    def own(self) -> OfProgram | None:
        """What of the entries is the notebook's or script's own to which the function belongs; None for all of them."""
        if not self.program:
            return None
        codes = dict.fromkeys(self._history.codes())
        with contextlib.suppress(UnhashableArgumentError):  # it has no key now
            codes[self.identity.current()] = None
        return OfProgram(self.program, tuple(codes))

    def invalidate(self, args: Arguments, kwargs: Keywords) -> None:
        """Forget one call."""
        self.entries().remove(self.key(args, kwargs))

    def entry(self, args: Arguments, kwargs: Keywords) -> Entry[Any] | None:
        """What is stored for a call."""
        return self.entries().entry(self.key(args, kwargs))

    def explain(self, args: Arguments, kwargs: Keywords) -> Explanation:
        """What the key of a call is made of and what the cache holds for it."""
        key = self.key(args, kwargs)
        call = Known(key, self.identity.ingredients(), self.arguments.each(args, kwargs)())
        return explain(self.name, call, self._history, self.entries)

    def parameters(self) -> dict[str, Any]:
        """The options by name, with the name in force."""
        given = {field.name: getattr(self.options, field.name) for field in fields(self.options)}
        return {**given, "name": self.name}

    def place(self) -> str:
        """Where the results lie; asking makes no default cache."""
        cache = known_cache(self.cache)
        return "the default cache, not used yet" if cache is None else cache.store.location

    def key(self, args: Arguments, kwargs: Keywords) -> str:
        """The key of a call, as `Cache.get` takes it."""
        return self.key_and_reason(args, kwargs)[0]

    def key_and_reason(self, args: Arguments, kwargs: Keywords) -> tuple[str, str]:
        """The key of a call, and why its result must not be stored; empty where it may be."""
        return self.arguments.key(self.fn, self.identity.current(), args, kwargs)

    @property
    def fn(self) -> str:
        """The function's name in keys, in the cache that is in force now; asking makes no default cache."""
        cache = configured_cache(self.cache)
        return key_name(self.name, "" if cache is None else cache.namespace)

    def entries(self) -> Entries:
        """The entries of this function in the cache that is in force now."""
        # As `default_cache(self.cache)`, without the call: every hit comes here.
        cache = defaults.instead or self.cache or defaults.configured or default_cache()
        known = self._entries
        if known is None or known.cache is not cache:
            known = self._entries = Entries(
                cache,
                key_name(self.name, cache.namespace),
                self._codec_for(cache),
                self._trouble,
                stale_for=self.options.stale_for(),
                lifetime=self.options.fixed_lifetime(cache),
                reach=self.identity.reach,
                program=self.program,
            )
        return known

    def _codec_for(self, cache: Cache | None) -> Codec:
        # Behind a decorator of the user's stands the function whose globals hold its classes.
        namespace = getattr(inspect.unwrap(self.function), "__globals__", {})
        own = Own(namespace, by_name=self.options.version is not None or self.options.code == "off")
        if cache is None:
            return Codec(self.options.serializer, own=own)
        return Codec(
            self.options.serializer, secrets=cache.secrets, encrypt=cache.encrypt, compress=cache.compress, own=own
        )

    def entries_in_force(self) -> Entries:
        """`entries`, for a call: it raises `OutOfOrder` where the environment names no cache that can be made."""
        try:
            return self.entries()
        except InvalidOptionError as error:  # what the environment says is known only now
            raise self._trouble.misconfigured(error) from None


def value_of(outcome: Outcome | None) -> Any:
    """The result, or else what the user's function raised is raised as it was."""
    if not isinstance(outcome, Failed):
        return None if outcome is None else outcome.value
    __tracebackhide__ = True
    context = outcome.error.__context__
    try:
        # Each caller sees the way of the computation and its own, not those of others who waited for it.
        raise outcome.error.with_traceback(outcome.traceback)
    finally:
        outcome.error.__context__ = context  # `raise` put what the caller is handling in its place


def _program(function: Callable[..., Any], options: Options) -> str:
    main = main_of(function) if options.name is None else None
    return "" if main is None or run_as(main) is not None else program_id(main)


def _name(function: Callable[..., Any]) -> str:
    try:
        return function_name(function)
    except AttributeError:
        raise InvalidOptionError(
            f"a {type(function).__name__} has no name of its own to stand in keys; give name="
        ) from None


class Computation:
    """One run of the user's function: entered before it, left after it, whatever comes of it.

    Everything that has to happen around each run belongs here: the function runs nowhere but within such a block.
    """

    __slots__ = ("_began", "_name", "_started", "_stats", "_watching", "outcome", "value")

    def __init__(self, memo: Memo, args: Arguments, kwargs: Keywords) -> None:
        self._stats, self._name = memo.stats, memo.name
        self._watching = memo.identity.watching(memo.arguments.watched(args, kwargs, is_small))
        """Looks, around this run, at what the function reads and may change."""
        self.value: Any = None
        """What the function returned; to be set within the block."""
        self.outcome: Outcome

    def __enter__(self) -> Self:
        self._stats.add("computed")
        tell(INFO, "%s(): computing", self._name)
        self._watching.begin()
        self._began, self._started = time.time(), time.perf_counter()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: TracebackType | None) -> bool:
        seconds = time.perf_counter() - self._started
        not_stored = self._watching.end()
        if error is None:
            self.outcome = Computed(self.value, self._began, seconds, not_stored)
            if tells(INFO):
                tell(INFO, "%s(): computed in %s", self._name, views.duration(seconds))
        else:
            self.outcome = Failed(error, None if traceback is None else traceback.tb_next)
            kind = type(error).__name__
            tell(INFO, "%s(): raised %s after %s", self._name, kind, views.duration(seconds))
        # A coroutine that is closed from outside may await nothing more, so its story is closed, too.
        return not isinstance(error, GeneratorExit)
