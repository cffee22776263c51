"""What lies in a cache, for people: `ls`, `show`, `stats` and `doctor` of `dynmemo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from dynmemo.calls import rows_of
from dynmemo.defaults import present_cache
from dynmemo.errors import InvalidOptionError
from dynmemo.explain.doctor import Diagnosis, examine
from dynmemo.explain.inventory import list_entries, list_functions, show_entry, take_stock
from dynmemo.explain.listed import CacheStats, ListedEntry, ListedFunction, Listing, ShownEntry
from dynmemo.item import Finding
from dynmemo.tracebacks import short_tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.cache import Cache

__all__ = [
    "CacheStats",
    "Diagnosis",
    "Finding",
    "ListedEntry",
    "ListedFunction",
    "Listing",
    "ShownEntry",
    "doctor",
    "ls",
    "show",
    "stats",
]


@overload
def ls(
    function_or_name: None = None,
    *,
    expired: bool = False,
    sort: str | None = None,
    long: bool = False,
    cache: Cache | str | None = None,
) -> Listing[ListedFunction]: ...
@overload
def ls(
    function_or_name: Callable[..., Any] | str,
    *,
    expired: bool = False,
    sort: str | None = None,
    long: bool = False,
    cache: Cache | str | None = None,
) -> Listing[ListedEntry]: ...
@short_tracebacks
def ls(
    function_or_name: Callable[..., Any] | str | None = None,
    *,
    expired: bool = False,
    sort: str | None = None,
    long: bool = False,
    cache: Cache | str | None = None,
) -> Listing[ListedFunction] | Listing[ListedEntry]:
    """The functions that have stored something, or the entries of one; a table in notebooks.

    Reads all rows, without their values; on DynamoDB that is a scan of the table and billed.

    Example:
        >>> forecast.warm(["SEA", "PDX"])
        2
        >>> [(function.name, function.entries) for function in dynmemo.ls()]
        [('weather.forecast', 2)]

    Args:
        function_or_name: a decorated function, the name of one or of a region; None for all of them.
        expired: entries that are not live, too.
        sort: ``name``, ``size``, ``age`` (the newest first) or ``saved``. Default: functions by name, entries by age.
        long: tell of the entries of one function in DynamoDB also size, time and origin. Their values are read for it,
            which takes longer, but no more units; those that lie outside of their rows do not tell.
        cache: where to look, or its URL. Default: that of the function, else the default cache, which is not created.

    Raises:
        InvalidOptionError: neither a decorated function nor a name, or no such order.
        StoreUnavailableError, InvalidTableError: the store did not answer.
    """
    rows = rows_of(function_or_name, "ls")
    there = present_cache(cache or rows.cache)
    if rows.name is None:
        return list_functions(there, sort=sort or "name")
    return list_entries(there, rows.name, expired=expired, sort=sort or "age", long=long)


@short_tracebacks
def show(
    function_or_key: Callable[..., Any] | str, /, *args: object, cache: Cache | str | None = None, **kwargs: object
) -> ShownEntry | None:
    """What a row says of an entry, None without one. Nothing is unpickled or computed, and no time moves.

    Example:
        >>> forecast("SEA", 1)
        [12.5]
        >>> dynmemo.show(forecast, "SEA", 1).state
        'live'

    Args:
        function_or_key: a key as `Cache.get` takes it, or a decorated function, and then the arguments of a call.
        cache: where to look, or its URL. Default: that of the function, else the default cache, which is not created.

    Raises:
        InvalidOptionError: neither a decorated function nor a key, or a key with arguments.
        StoreUnavailableError, InvalidTableError: the store did not answer.
    """
    if isinstance(function_or_key, str):
        if args or kwargs:
            raise InvalidOptionError("show() was given the arguments of a call and a text; give the function itself")
        return show_entry(present_cache(cache), function_or_key)
    rows, called = rows_of(function_or_key, "show"), function_or_key
    return show_entry(present_cache(cache or rows.cache), called.cache_key(*args, **kwargs))  # type: ignore[attr-defined]  # rows_of has checked it


@short_tracebacks
def stats(cache: Cache | str | None = None) -> CacheStats:
    """Size, functions, orphans, and what the limit of the cache will do; reads all rows, without their values.

    Example:
        >>> forecast("SEA", 1)
        [12.5]
        >>> dynmemo.stats().size > 0  # bytes
        True

    Args:
        cache: where to look, or its URL. Default: the default cache, which is not created.

    Raises:
        StoreUnavailableError, InvalidTableError: the store did not answer.
    """
    return take_stock(present_cache(cache))


@short_tracebacks
def doctor(cache: Cache | str | None = None) -> Diagnosis:
    """Whether a cache can serve: credentials, table, permissions, clock, secret, each good or with what to do.

    Nothing is changed or created. On DynamoDB it takes some ten requests and as many units.

    Example:
        >>> dynmemo.doctor("sqlite:///cache.db").is_good
        True

    Args:
        cache: a cache or its URL. Default: the default cache.
    """
    return examine(present_cache(cache))


for _public in __all__:
    globals()[_public].__module__ = "dynmemo"  # as for all public names; see there
