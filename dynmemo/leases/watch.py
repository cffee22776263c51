"""Another's lease: what its row means, when to look again or take it over, and whether its holder waits for us."""

from __future__ import annotations

import enum
import itertools
import math
import random
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from dynmemo.errors import InvalidOptionError
from dynmemo.item import Expect
from dynmemo.leases.inflight import flights, running_here
from dynmemo.leases.owner import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dynmemo.item import Item, Store
    from dynmemo.leases.inflight import Flight

SHORTEST_DELAY = 0.05
LONGEST_DELAY = 1.0
FIRST_DELAY = 0.1
GROWTH = 0.25
"""What a delay's upper bound grows by per second waited: a result is picked up an eighth late on average."""

LONGEST_LEASE = 3600.0
"""Seconds; no row makes anybody wait longer for a sign of life."""


class Verdict(enum.Enum):
    """What the row that makes a call a miss means for it."""

    CLAIMABLE = "nobody computes: claim it, with `Expect.seen` of the row"
    HELD = "somebody computes: wait"
    NO_STORE = "the result cannot be shared: compute at once, and store over this very row only"

    @classmethod
    def of(cls, row: Item | None, now: float, generation: str) -> Verdict:
        """What to do about a row that is no hit.

        Args:
            row: as read, or as a refused claim returned it.
            now: Unix seconds.
            generation: the present one; read anew when the row has another, or a process that knows an old generation
                would take over a live lease of the new one.
        """
        if row is None or row.value is not None or row.gen != generation:
            return cls.CLAIMABLE
        if row.ttl_date is not None and now > row.ttl_date:
            return cls.CLAIMABLE
        if row.no_store is not None:
            return cls.NO_STORE
        return cls.CLAIMABLE if row.lease_owner is None or row.lease_seconds is None else cls.HELD


MOST_SEEN = 10_000

_seen: dict[object, float] = {}
"""When (monotonic) this process first saw a lease with that etag and beat."""


class Watch:
    """One wait for a lease of somebody else.

    A lease is dead when its row has not changed for its own time by the clock of the one who watches: wall clocks
    of other machines are never compared. What earlier waits of this process have seen counts, too: else a call that
    waits for less time than a lease lasts would never find one dead.

    Args:
        clock: monotonic, in seconds.
        gone: whether the process that an owner's name means is known to have ended.
        uniform: gives a random number between two.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        gone: Callable[[str | None], bool] = is_gone,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock = clock
        self._gone = gone
        self._uniform = uniform
        self._began = clock()
        # By another clock nothing is shared.
        self._seen: dict[object, float] = _seen if clock is time.monotonic else {}
        self._told: tuple[str | None, int | None] | None = None

    @property
    def waited(self) -> float:
        """Seconds since the wait began."""
        return self._clock() - self._began

    def expect_if_dead(self, row: Item) -> Expect | None:
        """What to expect when claiming the lease in `row`, or None while it may be alive. To be asked at every look."""
        now = self._clock()
        since = self._seen.setdefault((row.etag or self, row.lease_beat), now)
        if len(self._seen) > MOST_SEEN:
            self._seen.pop(next(iter(self._seen)), None)
        if now - since >= _lease_seconds(row) or self._gone(row.lease_owner):
            return Expect.seen(row)
        return None

    def is_news_of_waiting(self, row: Item) -> bool:
        """Whether `row` says that its holder waits for another lease, and this watch has not asked about that yet.

        For which one, changes with a beat only.
        """
        beat = (row.etag, row.lease_beat)
        if row.lease_waits is None or beat == self._told:
            return False
        self._told = beat
        return True

    def next_delay(self) -> float:
        """Seconds until the next look: full jitter, from 50 ms up to a bound that grows with the wait to 1 s."""
        bound = min(LONGEST_DELAY, FIRST_DELAY + self.waited * GROWTH)
        return self._uniform(SHORTEST_DELAY, bound)


def _lease_seconds(row: Item) -> float:
    seconds = row.lease_seconds
    if seconds is None or math.isnan(seconds):  # not what this library writes
        return 0.0
    return min(seconds, LONGEST_LEASE)


# -- waits for other processes, which the rows tell ----------------------------------------------------------------

_numbers = itertools.count()


def waiting_here(*, blocks_thread: bool) -> list[Flight[object]]:
    """The flights that cannot go on while the running code waits: those that it is part of.

    And, if its wait `blocks_thread`, all of this thread: tasks of its event loop, for example.
    """
    here = flights.of_this_thread() if blocks_thread else []
    return [*running_here(), *(flight for flight in here if not flight.is_over)]


@contextmanager
def waiting_for_row(waiting: Sequence[Flight[object]], store: Store, key: str) -> Iterator[None]:
    """While this block runs, the flights `waiting` wait for the lease row `key`."""
    wait = RowWait(next(_numbers), store, key)
    for flight in waiting:
        flight.row_waits.append(wait)
    try:
        yield
    finally:
        for flight in waiting:
            flight.row_waits.remove(wait)


class RowWait(NamedTuple):
    """A wait for a lease of another process."""

    number: int
    """The older of two waits has the smaller one."""
    store: Store
    key: str
    """Of the lease row."""


def awaited_row(flight: Flight[object], store: Store) -> str | None:
    """For which other lease row of the store the flight waits; the oldest wait of several."""
    here = place(store)
    waits = [wait for each in flight.reached() for wait in list(each.row_waits) if place(wait.store) == here]
    return min(waits, key=lambda wait: wait.number).key if waits else None


def place(store: Store) -> tuple[str, str]:
    """Which keys mean the same rows."""
    return store.location, store.partition_key("")


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
        holders = [] if owner is None else _holders(store, key, owner, mine)
        if any(not mine.isdisjoint(flight.reached()) for flight in holders):
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
