"""One decorated function and the way of its calls."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import threading
import time
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dynmemo.calls.miss import Miss
from dynmemo.calls.steps import compute, play, play_async
from dynmemo.codec import Codec, Own
from dynmemo.defaults import configured_cache, default_cache, is_disabled
from dynmemo.entries import Entries, Looked
from dynmemo.errors import InvalidOptionError
from dynmemo.explain import Known, explain, history, is_small
from dynmemo.failures import Trouble
from dynmemo.generations import clear_functions
from dynmemo.keys import ArgumentKeys, function_name, key_name
from dynmemo.keys.identity import CodeIdentity
from dynmemo.leases import led
from dynmemo.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.cache import Cache
    from dynmemo.calls.options import Options
    from dynmemo.calls.steps import Arguments, Keywords, Story
    from dynmemo.entries import Entry
    from dynmemo.explain import Explanation
    from dynmemo.keys.identity.fingerprint import Portable


class Memo:
    """One decorated function: its options, which were checked, its counters and keys, and what its calls do."""

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.function = function
        self._is_async = inspect.iscoroutinefunction(function)
        self.options = options
        self.name = options.name or _name(function)
        self.fn = key_name(self.name)
        self.stats = Stats()
        self._trouble = Trouble(self.name, self.stats, raises=options.on_error == "raise")
        self._history = history(self.fn)
        self._identity = CodeIdentity(
            function,
            code=options.code,
            depends_on=options.packages(),
            version=options.version,
            walked=self._history.saw_code,
        )
        self._arguments = ArgumentKeys(
            function, getattr(function, "__qualname__", self.name), options.ignore, options.key
        )
        self._cache = options.checked_cache()
        self._entries: Entries | None = None
        self._ahead: dict[str, float] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._codec_for(self._cache)  # a wrong serializer is refused now

    # -- the call ---------------------------------------------------------------------------------

    def call(self, args: Arguments, kwargs: Keywords) -> Any:
        """One call of a plain function."""
        if is_disabled():
            return self.function(*args, **kwargs)
        key = self.key(args, kwargs)
        entries = self._entries_or_none()
        looked = None if entries is None else self._look(entries, key)
        if entries is None or looked is None:
            return self.play(compute(), args, kwargs)
        if looked.decoded is not None:
            if self.options.refresh_ahead is not None and self._is_due(entries, key, looked):
                story = self._miss(entries, key, looked).story_ahead()
                with contextlib.suppress(RuntimeError):  # too many threads: a later hit tries again
                    threading.Thread(
                        target=self._in_background, args=(story, args, kwargs), name="dynmemo-ahead", daemon=True
                    ).start()
            return looked.decoded.value
        self._remember(key, args, kwargs)
        return self.play(self._miss(entries, key, looked).story(), args, kwargs)

    async def acall(self, args: Arguments, kwargs: Keywords) -> Any:
        """One call of an async function."""
        if is_disabled():
            return await self.function(*args, **kwargs)
        key = self.key(args, kwargs)
        entries = self._entries_or_none()
        looked = None if entries is None else await entries.cache.run(self._look, entries, key)
        if entries is None or looked is None:
            return await self.aplay(compute(), args, kwargs)
        if looked.decoded is not None:
            if self.options.refresh_ahead is not None and self._is_due(entries, key, looked):
                story = self._miss(entries, key, looked).story_ahead()
                # Whatever computation this hit is part of, it does not wait for the task.
                context = contextvars.copy_context()
                context.run(led.set, ())
                task = asyncio.create_task(self._in_background_async(story, args, kwargs), context=context)
                self._tasks.add(task)  # a loop keeps only weak references
                task.add_done_callback(self._tasks.discard)
            return looked.decoded.value
        self._remember(key, args, kwargs)
        return await self.aplay(self._miss(entries, key, looked).story(), args, kwargs)

    def recompute(self, args: Arguments, kwargs: Keywords) -> Story:
        """Compute and store, whatever lies there."""
        entries, key = None if is_disabled() else self._entries_or_none(), self.key(args, kwargs)
        self._remember(key, args, kwargs)
        return compute() if entries is None else self._miss(entries, key, Looked(None)).story_anew()

    def play(self, story: Story, args: Arguments, kwargs: Keywords) -> Any:
        """Play the story of a call of a plain function."""
        return play(story, partial(self._compute, args, kwargs))

    async def aplay(self, story: Story, args: Arguments, kwargs: Keywords) -> Any:
        """Play the story of a call of an async function."""
        return await play_async(story, partial(self._compute, args, kwargs), self.run)

    async def run(self, do: Callable[..., Any], *args: Any) -> Any:
        """Do what waits for the store in a thread of the cache."""
        return await self.entries().cache.run(do, *args)

    def _compute(self, args: Arguments, kwargs: Keywords) -> Any:
        self.stats.add("computed")
        return self.function(*args, **kwargs)

    def _look(self, entries: Entries, key: str) -> Looked | None:
        """Look up; None when the store is out of order and the call may go on without it."""
        looked = self._trouble.guarded(entries.cache.breaker, entries.look, key)
        if looked is None:
            return None
        if looked.decoded is not None:
            self.stats.hit(looked.decoded.seconds)
            return looked
        self.stats.add("misses")
        if looked.unreadable is not None:
            self._trouble.unreadable(looked.unreadable)
        return looked

    def _miss(self, entries: Entries, key: str, looked: Looked) -> Miss:
        return Miss(entries, key, looked, self.options, self._trouble, blocks_thread=not self._is_async)

    # -- ahead of expiry ----------------------------------------------------------------------------

    def _is_due(self, entries: Entries, key: str, looked: Looked) -> bool:
        """Whether to refresh now; not again within the time of a lease, since each try costs a write."""
        if not entries.is_due(looked, self.options.refresh_ahead or 0.0):
            return False
        now = time.monotonic()
        for known in [known for known, at in list(self._ahead.items()) if now - at >= entries.cache.lease_seconds]:
            self._ahead.pop(known, None)
        return self._ahead.setdefault(key, now) == now

    def _in_background(self, story: Story, args: Arguments, kwargs: Keywords) -> None:
        try:
            self.play(story, args, kwargs)
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            self._trouble.background(error)

    async def _in_background_async(self, story: Story, args: Arguments, kwargs: Keywords) -> None:
        try:
            await self.aplay(story, args, kwargs)
        except Exception as error:  # noqa: BLE001 - nobody waits for it
            self._trouble.background(error)

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

    def sent(self) -> Options:
        """What another process needs beside the function itself: the options, name and cache in force filled in."""
        return replace(self.options, name=self.name, cache=self._cache or default_cache())

    def default_to_send(self) -> Cache | None:
        """The default cache for processes that have none of their own, if this function uses it and it can be sent."""
        cache = configured_cache() if self._cache is None else None
        return cache if cache is not None and cache.can_travel else None

    def facts(self) -> Portable:
        """What the fingerprint needs in a process that has no source."""
        return self._identity.portable()

    def code(self) -> str:
        """The code part of the keys now."""
        return self._identity.current()

    def explain(self, args: Arguments, kwargs: Keywords) -> Explanation:
        """What the key of a call is made of and what the cache holds for it."""
        key = self.key(args, kwargs)
        call = Known(key, self._identity.ingredients(), self._arguments.each(args, kwargs))
        keeps = self.options.keeps_old_values()
        return explain(self.name, call, self._history, self.entries, keeps_old_values=keeps)

    def _remember(self, key: str, args: Arguments, kwargs: Keywords) -> None:
        _, code, arguments = key.rsplit(":", 2)
        with contextlib.suppress(Exception):  # it serves explain() only, and objects may do anything when looked at
            self._history.saw_call(code, arguments, self._arguments.each(args, kwargs, is_small))

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
            codec, stale_for = self._codec_for(cache), self.options.stale_for()
            known = self._entries = Entries(cache, self.fn, codec, self.stats, stale_for)
        return known

    def _codec_for(self, cache: Cache | None) -> Codec:
        # Behind a decorator of the user's stands the function whose globals hold its classes.
        namespace = getattr(inspect.unwrap(self.function), "__globals__", {})
        own = Own(namespace, by_name=self.options.version is not None or self.options.code == "off")
        if cache is None:
            return Codec(self.options.serializer, own=own)
        return Codec(self.options.serializer, secrets=cache.secrets, encrypt=cache.encrypt, own=own)

    def _entries_or_none(self) -> Entries | None:
        try:
            return self.entries()
        except InvalidOptionError as error:  # what the environment says is known only now
            self._trouble.misconfigured(error)
            return None


def _name(function: Callable[..., Any]) -> str:
    try:
        return function_name(function)
    except AttributeError:
        raise InvalidOptionError(
            f"a {type(function).__name__} has no name of its own to stand in keys; give name="
        ) from None
