"""`dynamo_cached`, the decorator, and what is done to the results of a function by its name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Protocol, TypeVar, overload

from dynmemo.calls.memo import Memo
from dynmemo.calls.options import Options, check_function
from dynmemo.calls.wrapper import AsyncCachedFunction, BoundCachedFunction, CachedFunction
from dynmemo.defaults import default_cache
from dynmemo.errors import InvalidOptionError
from dynmemo.generations import ALL, clear_functions
from dynmemo.keys import key_name
from dynmemo.purging import purge as purge_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from dynmemo.cache import Cache
    from dynmemo.purging import Purged

__all__ = ["AsyncCachedFunction", "CachedFunction", "clear", "dynamo_cached", "purge"]

P = ParamSpec("P")
R = TypeVar("R")
Given = ParamSpec("Given")


class _Decorator:
    """What `dynamo_cached(...)` gives."""

    def __init__(self, options: Options) -> None:
        self._options = options

    @overload
    def __call__(self, func: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncCachedFunction[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, func: Callable[P, R], /) -> CachedFunction[P, R]: ...
    def __call__(self, func: Any, /) -> Any:
        check_function(func)
        self._options.check()
        inner = func.__func__ if isinstance(func, (classmethod, staticmethod)) else func
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
def dynamo_cached(func: Any = None, /, **options: Any) -> Any:
    """Compute the function once for the same arguments and share the result with every process that uses the cache.

    Use it bare or with options, on functions, methods, classmethods and staticmethods (outermost), plain or ``async``.
    The same call is the same entry however its arguments are spelled; every hit returns a fresh object; None is a
    result like any other. An exception is never stored.

    Args:
        ttl: hard deadline: seconds, a `timedelta`, text such as ``"90s"``, ``"1h30m"``, ``"24h"``, ``"7d"``, an aware
            `datetime`, or a callable of the result that returns one of these or None. Default: the cache's
            `default_ttl`, which is "never expires". A result whose time has run out is returned and not stored.
        sliding: idle window: the entry lives on while it is used, never past `ttl`.
        cache: a `Cache` or a URL. Default: the one given to `configure`, else ``DYNMEMO_URL``, else one SQLite file
            of the user's, looked up at every call.
        name: the function's name in keys; give two functions the same name to share entries. Default:
            ``module.qualname``.
        version: pins the code part of the key by hand. Default: the fingerprint of the code.
        code: what the fingerprint covers: ``"deep"`` the function and everything of the user's own that it reaches,
            ``"own"`` the function alone, ``"off"`` nothing.
        depends_on: third-party packages whose versions belong into the key.
        ignore: parameters that are not part of the key. ``"self"`` leaves out the instance's state, not its class.
        ignore_globals: globals that have no bearing on the result, such as counters that other code changes, too:
            names, with the module where it is not the function's own (``"stats.CALLS"``).
        key: called with the arguments; what it returns identifies the call. Not together with `ignore`.
        serializer: ``"pickle"``, ``"json"``, ``"arrow"`` (extra ``arrow``), ``"bytes"``, or an object with `name`,
            `dumps` and `loads`.
        cache_if: predicate on the result; what it refuses is returned, not stored.
        single_flight: one worker of the whole fleet computes, the others wait for its result.
        wait_timeout: how long to wait for another's result before computing without storing. Default: as long as
            whoever computes lives.
        stale_if_error: how long beyond its expiry a value is kept, to be returned when recomputing raises.
        refresh_ahead: the last part (between 0 and 1) of an entry's life up to its `ttl` in which one worker recomputes
            it in the background while all others hit.
        on_error: what a broken store or broken stored bytes do: ``"compute"`` (log once, go on) or ``"raise"``.

    Returns:
        A `CachedFunction` (or `AsyncCachedFunction`): the function with `cache_info`, `cache_clear`,
        `cache_parameters`, `cache_key`, `invalidate`, `recompute`, `entry`, `explain` and ``__wrapped__``.

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


def clear(function_or_name: Callable[..., Any] | str | None = None) -> None:
    """Forget all entries of a function, in every process.

    Args:
        function_or_name: a decorated function (its own cache is cleared), the name of one in the default cache
            (``"module.function"`` or its ``name=``), or None for all functions in the default cache. What other
            programs or `Cache.set` stored stays.

    Raises:
        InvalidOptionError: neither a decorated function nor a name.
        StoreUnavailableError, InvalidTableError: the store did not do it.
    """
    rows = rows_of(function_or_name, "clear")
    if rows.memo is not None:
        rows.memo.clear()
    else:
        clear_functions(default_cache(), rows.fn or ALL)


def purge(
    function_or_name: Callable[..., Any] | str | None = None,
    *,
    expired: bool = False,
    superseded: bool = False,
    orphans: bool = False,
    dry_run: bool = False,
) -> Purged:
    """Delete what is stored for a function; reads the whole table, while others may go on.

    Without `expired`, `superseded` and `orphans` everything goes; of several, what any of them names. What
    other programs or `Cache.set` stored stays. Computations under way go on; where everything goes, their results are
    forgotten, too.

    Args:
        function_or_name: a decorated function (in its own cache), the name of one in the default cache, or None for
            all functions in the default cache.
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
    return purge_rows(
        rows.cache or default_cache(),
        fn=rows.fn,
        expired=expired,
        superseded=superseded,
        code=rows.code() if superseded else None,
        orphans=orphans,
        dry_run=dry_run,
    )


class RowsOf(NamedTuple):
    """Which rows belong to what `clear` or `purge` was given."""

    fn: str | None = None
    """The key name of a function; None for all functions."""
    memo: Memo | None = None
    """Of a function that was given itself."""

    @property
    def cache(self) -> Cache | None:
        """That of a function that was given itself; None for the default one."""
        return None if self.memo is None else self.memo.entries().cache

    def code(self) -> str | None:
        """The present code part of its keys; None where it is not known."""
        return None if self.memo is None else self.memo.code()


def rows_of(function_or_name: Callable[..., Any] | str | None, doing: str = "purge") -> RowsOf:
    """The rows of a function, of one of this name, or of all.

    Raises:
        InvalidOptionError: neither a decorated function nor a name.
    """
    if function_or_name is None:
        return RowsOf()
    if isinstance(function_or_name, str) and function_or_name:
        return RowsOf(key_name(function_or_name))
    if isinstance(function_or_name, (CachedFunction, AsyncCachedFunction, BoundCachedFunction)):
        memo = function_or_name._self_memo
        return RowsOf(memo.fn, memo)
    raise InvalidOptionError(
        f"{doing}() takes a function decorated with dynamo_cached, its name, or nothing for all functions, "
        f"not {type(function_or_name).__name__}"
    )
