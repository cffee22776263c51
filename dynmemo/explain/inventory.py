"""What lies in a cache: its functions and regions, the entries of one, one entry, and all of it together."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dynmemo import expiry, views
from dynmemo.codec.envelope import ZSTD, header_told, origin_told
from dynmemo.errors import InvalidOptionError, StoreUnavailableError
from dynmemo.explain.listed import CacheStats, ListedEntry, ListedFunction, Listing, ShownEntry
from dynmemo.item import SEGMENTS, Extent
from dynmemo.keys import GENERATION_SUFFIX, generation_key, is_name_in, key_name, keys_of, names_in
from dynmemo.origin import read_origin
from dynmemo.parts import IN_FILE, owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from dynmemo.cache import Cache
    from dynmemo.codec.envelope import Header
    from dynmemo.generations import Generation
    from dynmemo.item import Found, Item

SORTS = ("name", "size", "age", "saved")

_DENIED = "AccessDeniedException"


def list_entries(
    cache: Cache, name: str, *, expired: bool = False, sort: str = "age", long: bool = False
) -> Listing[ListedEntry]:
    """The entries of one function or region, as found by a scan of the rows.

    Args:
        cache: where to look.
        name: of the function, as `dynmemo.clear` takes it, or of the region.
        expired: those that are not live, too.
        sort: ``age`` (the newest first, where that is known), ``size`` or ``saved`` (the largest first), or ``name``.
        long: read values, where else sizes, times and origins are not known.

    Raises:
        InvalidOptionError: no such order.
        StoreUnavailableError, InvalidTableError: the store did not answer.
    """
    order = _order(sort, lambda entry: (entry.key, entry.size, entry.stored_at, entry.seconds))
    survey = _survey(cache, key_name(name, cache.namespace), values=long)
    found = [entry for _, entry in _entries(cache, survey) if expired or entry.state == "live"]
    return Listing(cache.store.location, tuple(sorted(found, key=order)), cache.clock())


def list_functions(cache: Cache, *, sort: str = "name") -> Listing[ListedFunction]:
    """All functions and regions that have entries. Options and errors as for `list_entries`."""
    return _functions(cache, _survey(cache, None), sort)


def take_stock(cache: Cache) -> CacheStats:
    """All functions, and what there is besides. Errors as for `list_entries`."""
    pointed: set[tuple[str, str]] = set()
    parts: list[tuple[str, str]] = []

    def noting() -> Iterator[Found]:
        for found in _survey(cache, None):
            if found.row.parts is not None:
                pointed.add((found.key, found.row.parts.write_id))
            part_of = owner(found.key)
            if part_of is not None:
                parts.append(part_of)
            yield found

    functions = _functions(cache, noting(), "name")
    orphans = sum(part not in pointed for part in parts)
    if not cache.store.exists():
        return CacheStats(cache.store.location, 0, None, functions, orphans)
    extent = extent_of(cache) or Extent()
    orphans += cache.store.remove_orphans(dry_run=True)
    return CacheStats(cache.store.location, extent.size, extent.max_bytes, functions, orphans)


def extent_of(cache: Cache) -> Extent | None:
    """How much there is to read; None where IAM does not let that be asked. Errors as for `list_entries`."""
    try:
        return cache.store.extent()
    except StoreUnavailableError as error:
        if error.code == _DENIED:
            return None
        raise


def show_entry(cache: Cache, key: str) -> ShownEntry | None:
    """One row, by the key that `Cache.get` takes; None without one. Errors as for `list_entries`."""
    found = header_of(cache, key) if cache.store.exists() else None
    if found is None:
        return None
    row, header = found
    counts = row.fn is None or cache.generations.confirmed(cache.store, row.fn).covers(row.gen, key)
    shown = ShownEntry(
        key=key,
        function=None if row.fn is None else _name(cache, row.fn),
        state=_state(row, cache.clock(), counts=counts),
        size=None if row.value is None else len(row.value),
        lies_in=_place(row),
        computed_at=None if header is None else views.utc_or_none(header.computed_at),
        seconds=None if header is None else header.seconds,
        expires_at=views.utc_or_none(expiry.expires_at(row)),
        deadline=views.utc_or_none(row.ttl_deadline),
        window=row.ttl_window,
    )
    if header is None or row.value is None:
        return shown
    return replace(
        shown,
        serializer=header.serializer,
        length=header.length,
        python=".".join(map(str, header.python)) if any(header.python) else None,
        is_compressed=bool(header.flags & ZSTD),
        is_signed=header.signed,
        is_encrypted=header.encrypted,
        origin=read_origin(origin_told(row.value)),
    )


def check_known(cache: Cache, name: str) -> None:
    """See that a function or region of this name has ever stored something here.

    Raises:
        InvalidOptionError: it has not. Names that are near are told where finding them costs nothing.
        StoreUnavailableError, InvalidTableError: the store did not answer.
    """
    store = cache.store
    there = store.exists()
    if there and store.read(generation_key(key_name(name, cache.namespace))) is not None:
        return
    extent = extent_of(cache) if there else None
    advice = "`dynmemo ls` lists the names"
    if extent is not None and not extent.is_billed:
        names = {_name(cache, found.row.fn or "") for found in _survey(cache, None)}
        near = get_close_matches(name, names, cutoff=0.5)
        advice = f"did you mean {' or '.join(near)}?" if near else advice
    raise InvalidOptionError(f"nothing of the name {name!r} has been stored in {store.location}; {advice}")


def header_of(cache: Cache, key: str) -> tuple[Item, Header | None] | None:
    """A row and what the envelope of its value says, which nobody has verified; None without a row."""
    row = cache.store.read(key)
    if row is None:
        return None
    if row.value is None:
        return row, None
    return row, header_told(row.value)  # bytes of `Cache.set` have none


def _order(
    sort: str, keys: Callable[[Any], tuple[str, int | None, datetime | None, float | None]]
) -> Callable[[Any], Any]:
    """The key of a sort; what is not known comes last."""
    if sort not in SORTS:
        raise InvalidOptionError(f"sort={sort!r} is no order; there are {', '.join(SORTS)}")

    def order(listed: Any) -> tuple[float, str]:
        name, size, stored, saved = keys(listed)
        first = {"name": 0, "size": size, "age": None if stored is None else stored.timestamp(), "saved": saved}[sort]
        return (math.inf if first is None else -first, name)

    return order


def _survey(cache: Cache, fn: str | None, *, values: bool = False) -> Iterator[Found]:
    if cache.store.exists():
        survey = cache.store.survey(keys_of(fn, cache.namespace), segments=SEGMENTS, values=values)
        yield from (found for found in survey if is_name_in(cache.namespace, found.row.fn))


def _name(cache: Cache, fn: str) -> str:
    """What a function or region is called, as `dynmemo.clear` takes it."""
    return unquote(fn.removeprefix(names_in(cache.namespace)))


def _entries(cache: Cache, survey: Iterable[Found]) -> Iterator[tuple[str, ListedEntry]]:
    present: dict[str, Generation] = {}
    for found in survey:
        owned_by = found.row.fn
        if owned_by is None or found.key.endswith(GENERATION_SUFFIX) or owner(found.key) is not None:
            continue
        if owned_by not in present:
            present[owned_by] = cache.generations.confirmed(cache.store, owned_by)
        yield owned_by, _entry(found, present[owned_by], cache.clock())


def _functions(cache: Cache, survey: Iterable[Found], sort: str) -> Listing[ListedFunction]:
    order = _order(sort, lambda function: (function.name, function.size, function.newest, function.saved))
    by_fn = defaultdict(list)
    for fn, entry in _entries(cache, survey):
        by_fn[fn].append(entry)
    rows = sorted((_together(_name(cache, fn), entries) for fn, entries in by_fn.items()), key=order)
    return Listing(cache.store.location, tuple(rows), cache.clock())


def _entry(found: Found, generation: Generation, now: float) -> ListedEntry:
    header = header_told(found.front)
    state = _state(found.row, now, counts=generation.covers(found.row.gen, found.key))
    stored, expires = (views.utc_or_none(seconds) for seconds in (found.stored_at, expiry.expires_at(found.row)))
    origin = read_origin(origin_told(found.front))
    seconds = None if header is None else header.seconds
    return ListedEntry(found.key, state, found.size, stored, expires, seconds, origin)


def _state(row: Item, now: float, *, counts: bool) -> str:
    end = expiry.expires_at(row)
    if row.lease_owner is not None:
        return "computing"
    if row.no_store is not None:
        return "not shared"
    if end is not None and now > end:
        return "expired"
    return "live" if counts else "superseded"


def _place(row: Item) -> str:
    if row.parts is None:
        return "row"
    if row.parts.location is None:
        return views.counted(row.parts.count, "part")
    return "file" if row.parts.location == IN_FILE else row.parts.location


def _together(name: str, entries: list[ListedEntry]) -> ListedFunction:
    live = [entry for entry in entries if entry.state == "live"]
    stored = [entry.stored_at for entry in live if entry.stored_at is not None]
    sizes = [entry.size for entry in entries if entry.size is not None]
    seconds = [entry.seconds for entry in live if entry.seconds is not None]
    return ListedFunction(
        name=name,
        entries=len(live),
        others=sum(entry.state in ("expired", "superseded") for entry in entries),
        size=sum(sizes) if sizes else None,
        oldest=min(stored, default=None),
        newest=max(stored, default=None),
        next_expiry=min((entry.expires_at for entry in live if entry.expires_at is not None), default=None),
        codes=len({entry.code for entry in live}),
        saved=sum(seconds) if seconds else None,
    )
