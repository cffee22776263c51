"""Entries on their way to another cache, for people: `push` and `pull` of `dynmemo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynmemo import views
from dynmemo.calls import rows_of
from dynmemo.calls.display import NOTICE_SECONDS, screen
from dynmemo.defaults import given_cache, present_cache
from dynmemo.explain.inventory import check_known
from dynmemo.tracebacks import short_tracebacks
from dynmemo.transfer import Transferred, transfer

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.cache import Cache
    from dynmemo.calls import RowsOf

__all__ = ["Transferred", "pull", "push"]


@short_tracebacks
def push(
    function_or_name: Callable[..., Any] | str | None = None,
    *,
    to: Cache | str,
    replace: bool = False,
    dry_run: bool = False,
    cache: Cache | str | None = None,
) -> Transferred:
    """Copy the live entries of a function, or of all functions and regions, to another cache.

    Each entry is verified with the secret of where it lies, and compressed, encrypted and signed as where it goes;
    nothing is unpickled. Done again, it goes on where it stopped. In a terminal or notebook a line shows how far it
    has got.

    Example:
        >>> forecast.warm(["SEA", "PDX"])
        2
        >>> dynmemo.push(forecast, to="sqlite:///shared.db").copied
        2

    Args:
        function_or_name: a decorated function, the name of one or of a region; None for all of them.
        to: where they go: a cache or its URL.
        replace: also over entries that were computed later.
        dry_run: write nothing; count entries, bytes and write units, be they there already or not.
        cache: where they lie, or its URL. Default: the cache of the function, else the default cache.

    Raises:
        InvalidOptionError: neither a decorated function nor a name, or a name under which nothing was ever stored.
        StoreUnavailableError, InvalidTableError: a store failed; what was copied so far is there.
    """
    rows = rows_of(function_or_name, "push")
    return _move(rows, present_cache(cache or rows.cache), given_cache(to), replace=replace, dry_run=dry_run)


@short_tracebacks
def pull(
    function_or_name: Callable[..., Any] | str | None = None,
    *,
    source: Cache | str,
    replace: bool = False,
    dry_run: bool = False,
    cache: Cache | str | None = None,
) -> Transferred:
    """`push` the other way: from the cache `source`, or its URL, to `cache`, by default as there.

    Example:
        >>> forecast.warm(["SEA", "PDX"])
        2
        >>> dynmemo.pull(source=dynmemo.configure(), cache=Cache.sqlite("mine.db")).copied
        2
    """
    rows = rows_of(function_or_name, "pull")
    return _move(rows, given_cache(source), present_cache(cache or rows.cache), replace=replace, dry_run=dry_run)


def _move(rows: RowsOf, source: Cache, target: Cache, *, replace: bool, dry_run: bool) -> Transferred:
    if rows.name is not None and rows.memo is None:
        check_known(source, rows.name)
    with screen(bar=True) as shown:
        shown.wait(NOTICE_SECONDS)

        def tell(now: Transferred) -> None:
            shown.show(f"{views.counted(now.copied, 'entry', 'entries')}, {views.size(now.size)}")

        return transfer(source, target, fn=rows.fn(source), replace=replace, dry_run=dry_run, progress=tell)


for _public in __all__:
    globals()[_public].__module__ = "dynmemo"  # as for all public names; see there
