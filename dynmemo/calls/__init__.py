"""`dynamo_cached`, the decorator, and what is done to the results of a function by its name."""

from __future__ import annotations

import functools
import inspect
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, overload

from dynmemo.calls.display import NOTICE_SECONDS, screen
from dynmemo.defaults import default_cache, present_cache
from dynmemo.errors import InvalidOptionError
from dynmemo.expiry import DURATIONS, Lifetime, Ttl, parse_duration, parse_lasting, parse_wait
from dynmemo.generations import ALL
from dynmemo.keys import key_name
from dynmemo.tracebacks import short_tracebacks

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine, Sequence

    from dynmemo.cache import Cache
    from dynmemo.calls.memo import Memo
    from dynmemo.calls.wrapper import AsyncCachedFunction, CachedFunction
    from dynmemo.codec import Serializer
    from dynmemo.expiry import Duration
    from dynmemo.purging import Purged

__all__ = ["clear", "dynamo_cached", "purge"]

P = ParamSpec("P")
R = TypeVar("R")
Given = ParamSpec("Given")


TtlOption = Ttl | Callable[[Any], Ttl | None]
OnError = Literal["compute", "raise"]
Code = Literal["deep", "own", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was given to `dynamo_cached`; see there for the meanings."""

    ttl: TtlOption | None = None
    sliding: Duration | None = None
    cache: Cache | str | None = None
    name: str | None = None
    version: str | int | None = None
    code: Code = "deep"
    depends_on: Sequence[str] = ()
    ignore: Collection[str] = ()
    ignore_globals: Collection[str] = ()
    key: Callable[..., object] | None = None
    serializer: str | Serializer = "pickle"
    cache_if: Callable[[Any], object] | None = None
    single_flight: bool = True
    wait_timeout: Duration | None = None
    stale_if_error: Duration | None = None
    refresh_ahead: float | None = None
    on_error: OnError = "compute"

    def checked_cache(self) -> Cache | None:
        """The cache given, None for the default one."""
        return None if self.cache is None else present_cache(self.cache)

    def check(self) -> None:
        """Raise `InvalidOptionError` for what is wrong whatever the function is."""
        for option in ("key", "cache_if"):
            given = getattr(self, option)
            if given is not None and not callable(given):
                raise InvalidOptionError(f"{option}={given!r} is not callable; give a function, or None")
        if self.on_error not in ("compute", "raise"):
            raise InvalidOptionError(f"on_error={self.on_error!r} is unknown; give 'compute' or 'raise'")
        if not isinstance(self.single_flight, bool):
            raise InvalidOptionError(f"single_flight={self.single_flight!r} is neither True nor False")
        _check_name(self.name)
        part: object = self.refresh_ahead
        is_number = isinstance(part, (int, float)) and not isinstance(part, bool)
        if part is not None and not (is_number and 0 < part < 1):  # type: ignore[operator]  # it is one
            raise InvalidOptionError(
                f"refresh_ahead={part!r} is no part of the life; give a number between 0 and 1, or None"
            )
        if self.wait_timeout is not None:
            parse_wait(self.wait_timeout, "wait_timeout")
        now = time.time()
        if self.stale_if_error is not None:
            parse_lasting(self.stale_if_error, "stale_if_error", now)
        Lifetime.parse(None if callable(self.ttl) else self.ttl, self.sliding, now)

    def packages(self) -> tuple[str, ...]:
        """The names in `depends_on`, which may be one text."""
        given: object = self.depends_on
        names = (given,) if isinstance(given, str) else given
        if not isinstance(names, Iterable):
            raise InvalidOptionError(f"depends_on={given!r} is no list of packages; give their names")
        return tuple(names)

    def stale_for(self) -> int | None:
        """Whole seconds that an expired value is kept for the case that computing fails."""
        return None if self.stale_if_error is None else math.ceil(parse_duration(self.stale_if_error, "stale_if_error"))

    def fixed_lifetime(self, cache: Cache) -> Lifetime | None:
        """The expiration options where they are the same for every result; None where `lifetime_of` has to say."""
        return None if callable(self.ttl) else _unless_past(self.ttl, self.sliding, cache, cache.clock())

    def lifetime_of(self, cache: Cache, result: object) -> Lifetime | None:
        """The expiration options for `result`; None when its time has run out already.

        Raises:
            InvalidOptionError: a callable `ttl` returned what is not a time.
        """
        now = cache.clock()
        if not callable(self.ttl):
            return _unless_past(self.ttl, self.sliding, cache, now)
        given = self.ttl(result)
        if isinstance(given, timedelta):
            given = given.total_seconds()
        if isinstance(given, (int, float)) and not isinstance(given, bool) and given <= 0:
            return None
        try:
            return _unless_past(given, self.sliding, cache, now)
        except InvalidOptionError:
            # What it returned may be the result, which no log shows.
            raise InvalidOptionError(
                f"the function given as ttl= returned a {type(given).__name__} that is no lifetime; return "
                f"{DURATIONS}, an aware datetime, or None, from one second to the year 9999"
            ) from None


def _unless_past(ttl: Ttl | None, sliding: Duration | None, cache: Cache, now: float) -> Lifetime | None:
    if isinstance(ttl, datetime) and ttl.tzinfo is not None and ttl.timestamp() < now:
        return None
    return cache.lifetime(ttl, sliding, now)


def _check_name(name: object) -> None:
    if name is None:
        return
    if not isinstance(name, str) or not name:
        raise InvalidOptionError(f"name={name!r} is no name; give a text of at least one character")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidOptionError(f"name={name!r} has half a surrogate pair in it, which no store takes") from None


def _check_function(function: object) -> None:
    """Refuse what cannot be decorated, with the likely cause."""
    if isinstance(function, (classmethod, staticmethod)):
        _check_function(function.__func__)
        return
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidOptionError(
            f"{_name_of(function)}() is a generator function: what it yields is there once, and cannot be stored; "
            "let it return a list"
        )
    if isinstance(function, (property, functools.cached_property)):
        name = _name_of(function.fget if isinstance(function, property) else function.func)
        kind = type(function).__name__
        raise InvalidOptionError(f"{name} is a {kind} already; put @dynamo_cached below @{kind}, next to the function")
    if inspect.isclass(function):
        raise InvalidOptionError(
            f"dynamo_cached decorates functions and methods, not the class {function.__qualname__}; "
            "decorate its methods, or a function that makes instances"
        )
    if not callable(function):
        raise InvalidOptionError(
            f"dynamo_cached decorates a function, not {function!r}; "
            "options are given by name: @dynamo_cached(ttl='24h')"
        )


def _name_of(function: object) -> str:
    return str(getattr(function, "__qualname__", type(function).__name__))


class _Decorator:
    """What `dynamo_cached(...)` gives."""

    def __init__(self, options: Options) -> None:
        self._options = options

    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncCachedFunction[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, func: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @short_tracebacks
    def __call__(self, func: Any, /) -> Any:
        _check_function(func)
        self._options.check()
        inner = func.__func__ if isinstance(func, (classmethod, staticmethod)) else func
        # Not above: wrapt imports asyncio, which takes as long as most of this package, and neither the command line
        # nor who uses a `Cache` alone decorates anything.
        from dynmemo.calls.memo import Memo
        from dynmemo.calls.wrapper import AsyncCachedFunction, CachedFunction

        kind = AsyncCachedFunction if inspect.iscoroutinefunction(inner) else CachedFunction
        return kind(func, Memo(inner, self._options))


class _DynamoCached(Protocol[Given]):
    """Both forms of the decorator: bare, and with the options `Given`."""

    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncCachedFunction[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, func: Callable[P, R], /) -> CachedFunction[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, *args: Given.args, **options: Given.kwargs) -> _Decorator: ...


def _takes(options: Callable[Given, Options]) -> Callable[[Callable[..., Any]], _DynamoCached[Given]]:
    """Let a decorator show the parameters of `options`, where each is written down: once."""

    def show(decorator: Any) -> Any:
        own = inspect.signature(decorator).parameters["func"]
        decorator.__signature__ = inspect.Signature([own, *inspect.signature(options).parameters.values()])
        return decorator

    return show


@_takes(Options)
@short_tracebacks
def dynamo_cached(func: Any = None, /, **options: Any) -> Any:
    """Compute the function once for the same arguments and share the result with every process that uses the cache.

    Use it bare or with options, on functions, methods, classmethods and staticmethods (outermost), plain or ``async``.
    The same call is the same entry however its arguments are spelled; every hit returns a fresh object; None is a
    result like any other. An exception is never stored.

    Example:
        >>> @dynamo_cached(ttl="24h")
        ... def rainy_days(city: str, year: int = 2025) -> int:
        ...     return 150
        >>> rainy_days("SEA") == rainy_days(city="SEA", year=2025)  # one call, however it is spelled
        True
        >>> rainy_days.cache_info().hits
        1

    Args:
        ttl: hard deadline: seconds, a `timedelta`, text such as ``"90s"``, ``"1h30m"``, ``"24h"``, ``"7d"``, an aware
            `datetime`, ``"never"``, or a callable of the result that returns one of these or None. Default: the cache's
            `default_ttl`, which is "never expires". A result whose time has run out is returned and not stored.
        sliding: idle window, a duration as `ttl`: the entry lives on while it is used, never past `ttl`. Default: none.
        cache: a `Cache` or a URL. Default: the one given to `configure`, else ``DYNMEMO_URL``, else one SQLite file
            of the user's, looked up at every call.
        name: the function's name in keys; give two functions the same name to share entries. Default:
            ``module.qualname``.
        version: pins the code part of the key by hand. Default: the fingerprint of the code.
        code: what the fingerprint covers: ``"deep"`` the function and everything of the user's own that it reaches,
            ``"own"`` the function alone, ``"off"`` nothing. Default: ``"deep"``.
        depends_on: names of third-party packages whose versions belong into the key. Default: none.
        ignore: names of parameters that are not part of the key; ``"self"`` leaves out the instance's state, not its
            class. Default: none.
        ignore_globals: globals that have no bearing on the result, such as counters that other code changes, too:
            names, with the module where it is not the function's own (``"stats.CALLS"``). Default: none.
        key: called with the arguments; what it returns identifies the call. Not together with `ignore`.
        serializer: ``"pickle"``, ``"json"``, ``"arrow"`` (extra ``arrow``), ``"bytes"``, or an object with `name`,
            `dumps` and `loads`, see `Serializer`. Default: ``"pickle"``.
        cache_if: predicate on the result; what it refuses is returned, not stored. Default: all is stored.
        single_flight: one worker of the whole fleet computes, the others wait for its result. Default: True.
        wait_timeout: how long, a duration, to wait for another's result before computing without storing. Default: as
            long as whoever computes lives.
        stale_if_error: how long beyond its expiry, a duration, a value is kept, to be returned when recomputing raises.
            Default: not at all.
        refresh_ahead: the last part (between 0 and 1) of an entry's life up to its `ttl` in which one worker recomputes
            it in the background while all others hit. Default: none.
        on_error: what a broken store or broken stored bytes do: ``"compute"`` (log once, go on) or ``"raise"``.
            Default: ``"compute"``.

    Returns:
        A `CachedFunction` (or `AsyncCachedFunction`): the function with `cache_info`, `cache_clear`,
        `cache_parameters`, `cache_key`, `invalidate`, `recompute`, `entry`, `explain`, `map`, `starmap`, `warm` and
        ``__wrapped__``.

    Raises:
        InvalidOptionError: at decoration, for an option that is not allowed.
        UnhashableArgumentError: at the call, for an argument from which no key can be built. With ``on_error="raise"``
            a call also raises `StoreUnavailableError`, `InvalidTableError` and `UnreadableValueError`.
    """
    allowed = inspect.signature(Options).parameters
    unknown = options.keys() - allowed.keys()
    if unknown:
        raise InvalidOptionError(
            f"dynamo_cached has no option {', '.join(sorted(unknown))}; there are {', '.join(sorted(allowed))}"
        )
    decorate = _Decorator(Options(**options))
    return decorate if func is None else decorate(func)


@short_tracebacks
def clear(function_or_name: Callable[..., Any] | str | None = None) -> None:
    """Forget all entries of a function, in every process.

    Example:
        >>> forecast("SEA")[0]
        12.5
        >>> dynmemo.clear(forecast)
        >>> forecast.entry("SEA") is None
        True

    Args:
        function_or_name: a decorated function (its own cache is cleared; of a function of a notebook or script what
            that one has stored, and what others have of the same code), the name of one in the default cache
            (``"module.function"`` or its ``name=``) or of a region, for all entries of that name, or None for all
            functions and regions in the default cache. What other programs or `Cache.set` stored stays.

    Raises:
        InvalidOptionError: neither a decorated function nor a name.
        StoreUnavailableError, InvalidTableError: the store did not do it, or only its answer was lost.
    """
    rows = rows_of(function_or_name, "clear")
    if rows.memo is not None:
        rows.memo.clear()
    else:
        from dynmemo.purging import clear_functions

        cache = default_cache()
        clear_functions(cache, rows.fn(cache) or ALL)


@short_tracebacks
def purge(
    function_or_name: Callable[..., Any] | str | None = None,
    *,
    expired: bool = False,
    superseded: bool = False,
    orphans: bool = False,
    dry_run: bool = False,
) -> Purged:
    """Delete what is stored for a function; reads the whole table, while others may go on.

    In a terminal or notebook a line shows how far it has got.

    Without `expired`, `superseded` and `orphans` everything goes; of several, what any of them names. What
    other programs or `Cache.set` stored stays. Computations under way go on; where everything goes, their results are
    forgotten, too.

    Example:
        >>> forecast("SEA")[0]
        12.5
        >>> dynmemo.purge(forecast, dry_run=True).rows
        1

    Args:
        function_or_name: a decorated function (in its own cache; of a notebook or script what `clear` forgets of it),
            the name of one in the default cache for all entries of that name, or None for all functions there.
        expired: entries whose time has run out, with `stale_if_error` the time for which they are kept beyond it.
        superseded: entries that were cleared; of a function that is given itself, also those of other versions of its
            code, be they in use elsewhere or not.
        orphans: parts of large values that belong to no entry and whose write began more than an hour ago.
        dry_run: delete nothing; count, and estimate the write units.

    Raises:
        InvalidOptionError: neither a decorated function nor a name.
        StoreUnavailableError, InvalidTableError: the store failed; what was deleted before is gone.
    """
    rows = rows_of(function_or_name)
    cache = rows.cache or default_cache()
    return rows.purge(cache, expired=expired, superseded=superseded, orphans=orphans, dry_run=dry_run)


class RowsOf(NamedTuple):
    """Which rows belong to what `clear` or `purge` was given."""

    name: str | None = None
    """Of a function or region; None for all of them."""
    memo: Memo | None = None
    """Of a function that was given itself."""

    def fn(self, cache: Cache) -> str | None:
        """The key name in that cache; None for all of them."""
        return None if self.name is None else key_name(self.name, cache.namespace)

    @property
    def cache(self) -> Cache | None:
        """That of a function that was given itself and names one; None for the default one."""
        named = None if self.memo is None else self.memo.cache
        return None if named is None else default_cache(named)

    def purge(self, cache: Cache, *, superseded: bool, **options: bool) -> Purged:
        """Delete them from `cache`, with the options of `dynmemo.purging.purge`, and show how far that has got."""
        from dynmemo.purging import purge as purge_rows

        code = self.memo.identity.current() if superseded and self.memo is not None else None
        own = None if self.memo is None else self.memo.own()
        with screen(bar=True) as shown:
            shown.wait(NOTICE_SECONDS)

            def tell(now: Purged) -> None:
                shown.show(f"{now.scanned:,} read, {now.rows:,} entries and {now.parts:,} parts")

            return purge_rows(
                cache, fn=self.fn(cache), superseded=superseded, code=code, own=own, progress=tell, **options
            )


def rows_of(function_or_name: Callable[..., Any] | str | None, doing: str = "purge") -> RowsOf:
    """The rows of a function, of one of this name, or of all.

    Raises:
        InvalidOptionError: neither a decorated function nor a name.
    """
    if function_or_name is None:
        return RowsOf()
    if isinstance(function_or_name, str) and function_or_name:
        return RowsOf(function_or_name)
    from dynmemo.calls.wrapper import AsyncCachedFunction, BoundCachedFunction, CachedFunction

    if isinstance(function_or_name, (CachedFunction, AsyncCachedFunction, BoundCachedFunction)):
        memo = function_or_name._self_memo
        return RowsOf(memo.name, memo)
    raise InvalidOptionError(
        f"{doing}() takes a function decorated with dynamo_cached, its name, or nothing for all functions, "
        f"not {type(function_or_name).__name__}"
    )
