"""What lies in a cache: its functions and regions, and the entries of one."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dynmemo import expiry
from dynmemo.codec.envelope import read_header
from dynmemo.errors import InvalidOptionError, UnreadableValueError
from dynmemo.keys import GENERATION_SUFFIX, key_name
from dynmemo.parts import owner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynmemo.cache import Cache
    from dynmemo.codec.envelope import Header
    from dynmemo.item import Found, Item

SEGMENTS = 4
"""Of a table that are read at once, as by `purge`."""

SORTS = ("name", "size", "age", "saved")


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One entry of a function or region, as `ls` finds it. Nothing of its value is unpickled or verified."""

    key: str
    """As `Cache.get` takes it."""
    state: str
    """``live``, ``expired``, ``superseded`` (cleared since), ``computing`` (a lease) or ``not shared`` (it has no
    stored form)."""
    size: int | None
    """Bytes as stored; None where that cannot be told without reading the value."""
    stored_at: datetime | None
    """When it was stored (UTC); None in DynamoDB, whose rows do not say."""
    expires_at: datetime | None
    """When it expires unless it is used before (UTC); None for never."""
    seconds: float | None
    """How long computing it took; None where that cannot be told without reading the value."""

    @property
    def code(self) -> str:
        """The code part of the key, which is another one for each version of the function's code."""
        return self.key.split(":")[1] if self.key.count(":") > 1 else ""


@dataclass(frozen=True, slots=True)
class ListedFunction:
    """The entries of one function or region together, as `ls` finds them."""

    name: str
    entries: int
    """Live ones."""
    others: int
    """Expired and superseded ones, which `purge` deletes."""
    size: int | None
    """Bytes of all as stored, as far as known; None where nothing is."""
    oldest: datetime | None
    newest: datetime | None
    next_expiry: datetime | None
    """When the first of the live ones expires unless it is used before (UTC)."""
    codes: int
    """Versions of its code of which there are live entries."""
    saved: float | None
    """Seconds that one hit on each live entry saves; None where that is not known."""


def list_entries(cache: Cache, name: str, *, expired: bool = False, sort: str = "age") -> list[ListedEntry]:
    """The entries of one function or region, as found by a scan of the rows.

    Args:
        cache: where to look.
        name: of the function, as `dynmemo.clear` takes it, or of the region.
        expired: those that are not live, too.
        sort: ``age`` (the newest first, where that is known), ``size`` or ``saved`` (the largest first), or ``name``.

    Raises:
        InvalidOptionError: no such order.
        StoreUnavailableError, InvalidTableError: the store did not answer.
    """
    found = [entry for _, entry in _found(cache, key_name(name)) if expired or entry.state == "live"]
    return sorted(found, key=_order(sort, lambda entry: (entry.key, entry.size, entry.stored_at, entry.seconds)))


def list_functions(cache: Cache, *, sort: str = "name") -> list[ListedFunction]:
    """All functions and regions that have entries. Options and errors as for `list_entries`."""
    order = _order(sort, lambda function: (function.name, function.size, function.newest, function.saved))
    by_fn = defaultdict(list)
    for fn, entry in _found(cache, None):
        by_fn[fn].append(entry)
    return sorted((_together(fn, entries) for fn, entries in by_fn.items()), key=order)


def header_of(cache: Cache, key: str) -> tuple[Item, Header | None] | None:
    """A row and what the envelope of its value says, which nobody has verified; None without a row."""
    row = cache.store.read(key)
    if row is None:
        return None
    if row.value is None:
        return row, None
    front = row.value if isinstance(row.value, bytes) else b"".join(row.value.pieces(len(row.value)))
    try:
        return row, read_header(front)
    except UnreadableValueError:  # bytes of `Cache.set`
        return row, None


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


def _found(cache: Cache, fn: str | None) -> Iterator[tuple[str, ListedEntry]]:
    present: dict[str, str] = {}
    for found in cache.store.survey(fn=fn, segments=SEGMENTS):
        owned_by = found.row.fn
        if owned_by is None or found.key.endswith(GENERATION_SUFFIX) or owner(found.key) is not None:
            continue
        if owned_by not in present:
            present[owned_by] = cache.generations.confirmed(cache.store, owned_by)
        yield owned_by, _entry(found, present[owned_by], cache.clock())


def _entry(found: Found, generation: str, now: float) -> ListedEntry:
    row, end = found.row, expiry.expires_at(found.row)
    if row.lease_owner is not None:
        state = "computing"
    elif row.no_store is not None:
        state = "not shared"
    elif end is not None and now > end:
        state = "expired"
    else:
        state = "live" if row.gen == generation else "superseded"
    try:
        seconds = read_header(found.front).seconds if found.front else None
    except UnreadableValueError:
        seconds = None
    stored = None if found.stored_at is None else datetime.fromtimestamp(found.stored_at, UTC)
    expires = None if end is None else datetime.fromtimestamp(end, UTC)
    return ListedEntry(found.key, state, found.size, stored, expires, seconds)


def _together(fn: str, entries: list[ListedEntry]) -> ListedFunction:
    live = [entry for entry in entries if entry.state == "live"]
    stored = [entry.stored_at for entry in live if entry.stored_at is not None]
    sizes = [entry.size for entry in entries if entry.size is not None]
    seconds = [entry.seconds for entry in live if entry.seconds is not None]
    return ListedFunction(
        name=unquote(fn),
        entries=len(live),
        others=sum(entry.state in ("expired", "superseded") for entry in entries),
        size=sum(sizes) if sizes else None,
        oldest=min(stored, default=None),
        newest=max(stored, default=None),
        next_expiry=min((entry.expires_at for entry in live if entry.expires_at is not None), default=None),
        codes=len({entry.code for entry in live}),
        saved=sum(seconds) if seconds else None,
    )
