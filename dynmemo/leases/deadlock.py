"""Waits that could not end: each process waits for a lease of the next, the last one for a lease of the first.

Within a process the in-flight calls know who waits for whom. Between processes the rows tell it: the row of a lease
whose computation waits for another lease names the row of that one (`lease_waits`). The next renewal writes the name,
so telling costs no request, and short waits are never told. A ring is seen once all leases in it were renewed: after
a third of a lease.

A computation that waits for several leases tells the oldest wait only. That is enough: waits that can end do end, and
the oldest one that is left then is one that cannot. Whoever follows these from row to row comes to a ring. All
processes that meet in the ring compute without waiting, which ends the waits of the others.

Two kinds of ring are not seen. One over several stores, since a row names rows of its own store. And one through
threads that the user's function starts, since such a thread does not know for which call it works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynmemo.errors import InvalidOptionError
from dynmemo.leases.inflight import flights, place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynmemo.item import Item, Store
    from dynmemo.leases.inflight import Flight


def is_deadlock(waiting: Sequence[Flight[object]], store: Store, row: Item) -> bool:
    """Whether who holds the lease `row`, for which the flights `waiting` wait, itself waits for one of these.

    Reads one row for every further process on the way, and one to be sure.
    """
    mine = {flight for flight in waiting if not flight.is_over}
    seen: set[str] = set()
    standing: Item | None = row
    while standing is not None and standing.lease_waits is not None and standing.lease_waits not in seen:
        key = standing.lease_waits
        seen.add(key)
        try:
            standing = store.read(key)
        except InvalidOptionError:  # no key of ours: another program's row
            return False
        owner = None if standing is None else standing.lease_owner
        if owner is not None and any(_waits(flight, mine) for flight in _holders(store, key, owner, mine)):
            return True
    return False


def _holders(store: Store, key: str, owner: str, mine: set[Flight[object]]) -> list[Flight[object]]:
    """The flights of this process that compute under the lease row `key`, which names `owner`."""
    here = place(store)
    return [
        flight
        for flight in {*mine, *flights.running()}
        if flight.hold is not None and (flight.hold.key, flight.hold.owner) == (key, owner)
        if place(flight.hold.store) == here
    ]


def _waits(flight: Flight[object], mine: set[Flight[object]]) -> bool:
    return not mine.isdisjoint(flight.reached())
