"""Waits that could not end: each process waits for a lease of the next, the last one for a lease of the first.

Within a process flights tell who waits for whom. Between processes the rows do: a lease whose computation waits for
another lease names the row of that one (`lease_waits`). That goes along with the renewal, so it costs no request and
no short wait is ever told, and a ring is seen once all in it have renewed: after a third of a lease.

A computation that waits for several tells the oldest wait only. That is enough: of those that can never end, each
tells one that can never end, and whoever follows them comes around. Processes that meet in a ring all go on without
waiting, and the rest of the ring then ends by itself.
"""

from __future__ import annotations

import itertools
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dynmemo.flight.inflight import RowOf, RowWait, flights, led

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynmemo.item import Item, Store

_numbers = itertools.count()


@contextmanager
def waiting_for_row(store: Store, key: str) -> Iterator[None]:
    """While this block runs, the running code, and all that waits for it, waits for the lease row `key`."""
    wait, waiting = RowWait(next(_numbers), RowOf(store.location, key)), led.get()
    for flight in waiting:
        flight.row_waits.append(wait)
    try:
        yield
    finally:
        for flight in waiting:
            flight.row_waits.remove(wait)


def computing_under(store: Store, key: str) -> Callable[[], str | None]:
    """Note that the running code computes under the lease row `key`.

    Returns a question that any thread may ask later: for which other lease row of the store does that code wait?
    """
    location, running = store.location, led.get()
    if not running:
        return lambda: None
    running[-1].lease = RowOf(location, key)
    reference = weakref.ref(running[-1])

    def waits_for() -> str | None:
        flight = reference()
        if flight is None:
            return None
        waits = [wait for each in flight.reached() for wait in list(each.row_waits) if wait.row.location == location]
        return min(waits).row.key if waits else None

    return waits_for


def is_deadlock(store: Store, row: Item) -> bool:
    """Whether who holds the lease `row`, for which the running code waits, itself waits for that code.

    Reads one row for every further process on the way.
    """
    location, mine = store.location, set(led.get())
    seen: set[str] = set()
    standing: Item | None = row
    while standing is not None and standing.lease_waits is not None and standing.lease_waits not in seen:
        key = standing.lease_waits
        seen.add(key)
        holders = (flight for flight in (*mine, *flights.running()) if flight.lease == RowOf(location, key))
        if any(not mine.isdisjoint(flight.reached()) for flight in holders):
            return True
        standing = store.read(key)
    return False
