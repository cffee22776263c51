"""Forgetting what functions have stored, and deleting it for real: rows, and parts that no row points to.

To delete, the whole table is read, several segments of it at once, and each row is deleted only if it is still the one
that was read: writers may go on meanwhile. Rows without `fn` (of other programs and of `Cache.set`), generations and
leases stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynmemo import views
from dynmemo._process import Backlog
from dynmemo.counters import Meter
from dynmemo.expiry import is_expired
from dynmemo.generations import ALL
from dynmemo.item import SEGMENTS, Expect
from dynmemo.keys import GENERATION_SUFFIX, is_name_in, keys_of
from dynmemo.leases import flights
from dynmemo.parts import is_orphaned, is_plausible, owner
from dynmemo.telling import INFO, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.cache import Cache
    from dynmemo.generations import Generation, OfProgram
    from dynmemo.item import Item, Store

_PART_UNITS = 400
"""DynamoDB bills a deletion by the KB; a part has at most 400."""

SAMPLE_ROWS = 50
SAMPLE_BYTES = 2_000_000
"""A dry run reads rows for their size until it has so many of them, or so much."""

_ATTRIBUTES_BYTES = 150
"""Of a row beside key, value and texts: the names of the attributes and their numbers."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What `purge` did, or would do as a dry run.

    Example:
        >>> forecast("SEA", 1)
        [12.5]
        >>> purged = dynmemo.purge(forecast)
        >>> purged.rows, purged.parts
        (1, 0)
    """

    scanned: int = 0
    """Rows of decorated functions that were looked at, parts included."""
    rows: int = 0
    """Rows deleted; one that was replaced in the meantime stays and does not count."""
    parts: int = 0
    """Parts of large values deleted, with their rows or as orphans; of SQLite's files the orphans."""
    read_units: float = 0.0
    """DynamoDB read capacity units consumed; other programs' rows are read as well. 0 on SQLite."""
    write_units: float = 0.0
    """DynamoDB write capacity units consumed, or the estimate of a dry run. 0 on SQLite."""

    def _repr_html_(self) -> str:
        rows = [("looked at", views.counted(self.scanned, "row"))]
        if self.read_units or self.write_units:
            rows += [("read units", f"{self.read_units:,.1f}"), ("write units", f"{self.write_units:,.0f}")]
        what = f"{views.counted(self.rows, 'entry', 'entries')} and {views.counted(self.parts, 'part')}"
        return views.page("purge", what, views.facts(rows))


Purged.__module__ = "dynmemo"  # as for all public names; see there


def detach_computations(cache: Cache, fn: str = ALL) -> None:
    """Let nobody in this process wait any more for what is being computed for `fn`, or for any function: it is old."""
    flights.detach_all(lambda key: key[0] is cache and key[1].startswith(keys_of(fn)))


def clear_functions(cache: Cache, fn: str = ALL, own: OfProgram | None = None) -> int | None:
    """Forget all entries of the function with the key name `fn`, or what is `own` of them, or of all functions.

    That holds in every process. How many that were; None where it is done by one write and nobody counts.

    Raises:
        StoreUnavailableError, InvalidTableError: nothing was forgotten, or all of it was and only the answer was lost.
    """
    try:
        forgotten = cache.generations.forget(cache.store, fn, own)
    finally:  # it may have been forgotten though it raises
        detach_computations(cache, fn)
    tell(INFO, "%s: cleared", f"{fn}()" if fn else "all functions")
    return forgotten


def purge(
    cache: Cache,
    *,
    fn: str | None = None,
    expired: bool = False,
    superseded: bool = False,
    code: str | None = None,
    own: OfProgram | None = None,
    orphans: bool = False,
    dry_run: bool = False,
    progress: Callable[[Purged], None] | None = None,
) -> Purged:
    """Delete rows of decorated functions and their parts; without `expired`, `superseded` and `orphans` all of them.

    Args:
        cache: whose rows.
        fn: a key name; only rows of this function.
        expired: those whose date has passed, for `stale_if_error` the one up to which they are kept.
        superseded: those of another generation than the present one, and with `code` of another code part.
        code: the present code part of the function's keys.
        own: only what is of this notebook or script; parts that no row points to are nobody's.
        orphans: parts that no row points to and whose write began more than an hour ago.
        dry_run: delete nothing, count and estimate; on DynamoDB this reads some of the rows for their size.
        progress: called with the counts so far after each row.

    Raises:
        StoreUnavailableError, InvalidTableError: what was deleted so far is gone; purge again for the rest.
    """
    if not cache.store.exists():
        return Purged()
    everything = not (expired or superseded or orphans)
    choice = _Choice(cache, everything=everything, expired=expired, superseded=superseded, code=code, own=own)
    done = _Purge(cache, choice, dry_run=dry_run, progress=progress).run(fn, orphans=orphans or everything)
    if everything and not dry_run:
        for computed in choice.held:
            if own is None:
                cache.generations.renew(cache.store, computed)
            else:
                cache.generations.renew_own(cache.store, computed, own)
        detach_computations(cache, fn or ALL)
    return done


class _Choice:
    """Which rows are to go."""

    def __init__(
        self,
        cache: Cache,
        *,
        everything: bool,
        expired: bool,
        superseded: bool,
        code: str | None,
        own: OfProgram | None,
    ) -> None:
        self._cache = cache
        self._own = own
        self._everything = everything
        self._expired = expired
        self._superseded = superseded
        self._code = code
        self._present: dict[str, Generation] = {}
        self._dead: set[tuple[str, str]] = set()
        self.held: set[str] = set()
        """The functions for which something is being computed."""

    def takes(self, key: str, row: Item) -> bool:
        over = is_expired(row._replace(stale_for=None), self._cache.clock())
        if key.endswith(GENERATION_SUFFIX) or (self._own is not None and not self._own.has(key, row.gen)):
            return False
        if row.lease_owner is not None and not over:
            if row.fn is not None:
                self.held.add(row.fn)
            return False
        if self._everything or (self._expired and over):
            return True
        # Without a code part it is of a region of that name.
        is_of_other_code = self._code is not None and key.split(":")[1:2] not in ([self._code], [""])
        return self._superseded and (is_of_other_code or self._is_of_dead_generation(key, row))

    def _is_of_dead_generation(self, key: str, row: Item) -> bool:
        """Asked anew for each generation first seen: it may have begun during this purge. A dead one stays dead."""
        fn, gen = row.fn or "", row.gen or ""
        if (fn, gen) in self._dead:
            return True
        if fn not in self._present or not self._present[fn].can_tell(gen):
            self._present[fn] = self._cache.generations.confirmed(self._cache.store, fn)
        if not self._present[fn].can_tell(gen):
            self._dead.add((fn, gen))
        return not self._present[fn].covers(gen, key)


class _Purge:
    """One pass over the table."""

    def __init__(
        self, cache: Cache, choice: _Choice, *, dry_run: bool, progress: Callable[[Purged], None] | None
    ) -> None:
        self._meter = Meter()
        self._quick = cache.store.metered(self._meter)
        self._store = self._quick.patient()
        self._near = cache.near
        self._namespace = cache.namespace
        self._clock = cache.clock
        self._choice = choice
        self._dry_run = dry_run
        self._progress = progress
        self._backlog = Backlog("dynmemo-purge", self._removed)
        self._estimate = _Estimate(self._store)
        self._scanned = self._rows = self._parts = 0

    def run(self, fn: str | None, *, orphans: bool) -> Purged:
        self._quick.open()  # a place that cannot serve says so at once
        with self._backlog:
            parts: dict[tuple[str, str], list[tuple[str, Item]]] = {}
            pointed: set[tuple[str, str]] = set()
            for key, row in self._store.scan(keys_of(fn, self._namespace), segments=SEGMENTS):
                if not is_name_in(self._namespace, row.fn):
                    continue
                self._scanned += 1
                if row.parts is not None:
                    pointed.add((key, row.parts.write_id))
                part_of = owner(key)
                if part_of is None:
                    if self._choice.takes(key, row):
                        self._remove(key, row)
                elif orphans and is_orphaned(part_of[1], self._clock()):
                    parts.setdefault(part_of, []).append((key, row))
                self._tell()
            for of, lost in parts.items():
                if of not in pointed:
                    self._remove_orphans(of, lost)
        if orphans and fn is None:
            self._count(0, self._store.remove_orphans(dry_run=self._dry_run))
        return self._so_far()

    def _remove(self, key: str, row: Item) -> None:
        # The store deletes the parts along with their row.
        parts = row.parts.count if row.parts is not None and is_plausible(row.parts) else 0
        if self._dry_run:
            self._count(1, parts)
            if self._meter.read_units:  # a place that bills by units
                self._estimate.row(key, row, parts)
            return

        def remove() -> tuple[int, int]:
            try:
                return (1, parts) if self._store.remove(key, Expect.seen(row)) else (0, 0)
            finally:
                self._near.drop(key)

        self._backlog.submit(remove)

    def _remove_orphans(self, of: tuple[str, str], lost: list[tuple[str, Item]]) -> None:
        if self._dry_run:
            self._count(0, len(lost))
            self._estimate.orphans(len(lost))
            return

        def remove() -> tuple[int, int]:
            # A scan may miss what was written a moment ago.
            row = self._store.read(of[0], consistent=True)
            if row is not None and row.parts is not None and row.parts.write_id == of[1]:
                return 0, 0
            return 0, sum(self._store.remove(key, Expect.seen(part)) is not None for key, part in lost)

        self._backlog.submit(remove)

    def _removed(self, counts: tuple[int, int]) -> None:
        self._count(*counts)
        self._tell()

    def _count(self, rows: int, parts: int) -> None:
        self._rows += rows
        self._parts += parts

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._so_far())

    def _so_far(self) -> Purged:
        reads, writes = self._meter.read_units, self._meter.write_units
        if self._dry_run and reads:
            writes = self._estimate.write_units()
        return Purged(self._scanned, self._rows, self._parts, reads, writes)


class _Estimate:
    """The write units that deleting the rows of a dry run would take.

    A scan tells no sizes of rows, only what all of a page cost, and in a shared table those of one function may be
    a thousand times as large as those of another. So some of the rows that would go are read. The first are as good
    as any: DynamoDB scans in the order of a hash of the keys.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = self._known_units = 0
        self._sampled = self._sampled_bytes = self._sampled_units = 0

    def row(self, key: str, row: Item, parts: int) -> None:
        """A row would go, and with it so many parts."""
        if row.parts is not None:  # without a value of its own it is small, and tells how large its parts are
            self._known_units += 1 + (_units(row.parts.length) if parts else 0)
            return
        self._rows += 1
        if self._sampled < SAMPLE_ROWS and self._sampled_bytes < SAMPLE_BYTES:
            self._sample(key)

    def orphans(self, parts: int) -> None:
        """So many parts without a row would go."""
        self._known_units += parts * _PART_UNITS

    def write_units(self) -> float:
        """For all that would go."""
        each = self._sampled_units / self._sampled if self._sampled else 1.0
        return float(round(self._rows * each) + self._known_units)

    def _sample(self, key: str) -> None:
        row = self._store.read(key)
        if row is None or row.parts is not None:  # deleted, or replaced by a large value, in the meantime
            return
        size = _ATTRIBUTES_BYTES + len(self._store.partition_key(key).encode()) + len(row.value or b"")
        size += sum(len(text) for text in (row.fn, row.gen, row.ttl_window, row.etag) if text is not None)
        self._sampled += 1
        self._sampled_bytes += size
        self._sampled_units += _units(size)


def _units(size: int) -> int:
    """Write units of a deletion: one for each KB begun."""
    return -(-size // 1024)
