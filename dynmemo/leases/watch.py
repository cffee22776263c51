"""Another's lease: what its row means, when to look again or take it over, and whether its holder waits for us."""

from __future__ import annotations

import enum
import itertools
import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from dynmemo._process import chance
from dynmemo.errors import InvalidOptionError
from dynmemo.item import Expect
from dynmemo.leases.inflight import flights, running_here
from dynmemo.leases.owner import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dynmemo.item import Item, Store
    from dynmemo.leases.inflight import Flight

SHORTEST_DELAY = 0.05
FIRST_DELAY = 0.1
GROWTH = 0.25
"""What a delay's upper bound grows by per second waited: a result is picked up an eighth late on average."""

LONGEST_DELAY = 1.0
GROWTH_LATER = 0.05
"""From `LONGEST_DELAY` on, that is after 20 s: a result is picked up some 2 % late on average."""

LONGEST_PART = 0.3
"""Of the lease. So a watcher sees each renewal, which come every third of it, before the next one is due."""

LONGEST_LEASE = 3600.0
"""Seconds; no row makes anybody wait longer for a sign of life."""


class Verdict(enum.Enum):
    """What the row that makes a call a miss means for it."""

    CLAIMABLE = "nobody computes: claim it, with `Expect.seen` of the row"
    HELD = "somebody computes: wait"
    NO_STORE = "the result cannot be shared: compute at once, and store over this very row only"

    @classmethod
    def of(cls, row: Item | None, now: float, *, counts: bool) -> Verdict:
        """What to do about a row that is no hit.

        Args:
            row: as read, or as a refused claim returned it.
            now: Unix seconds.
            counts: whether the row is of the present generation. That is read anew when the row has another, or a
                process that knows an old generation would take over a live lease of the new one.
        """
        if row is None or row.value is not None or not counts:
            return cls.CLAIMABLE
        if row.ttl_date is not None and now > row.ttl_date:
            return cls.CLAIMABLE
        if row.no_store is not None:
            return cls.NO_STORE
        return cls.CLAIMABLE if row.lease_owner is None or row.lease_seconds is None else cls.HELD


MOST_SEEN = 10_000


class Seen(NamedTuple):
    """What is known of a lease from the looks at its row."""

    beat: int | None
    """At the last look."""
    since: float
    """When (by the watch's clock) that renewal took place: not earlier than it says, and at most now."""
    offset: float
    """The smallest difference between a time of a look and the date in the row that it saw."""


_seen: dict[object, Seen] = {}
"""What this process has seen, by the etag of the lease."""


class Watch:
    """One wait for a lease of somebody else.

    A lease is dead when its row has not changed for its own time by the clock of the one who watches: wall clocks
    of other machines are never compared. What earlier waits of this process have seen counts, too: else a call that
    waits for less time than a lease lasts would never find one dead.

    Thousands may watch one lease, and all of their looks are reads of one row. So they become fewer with the time that
    was waited, and with every look that the store had no capacity for.

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
        uniform: Callable[[float, float], float] = chance.uniform,
    ) -> None:
        self._clock = clock
        self._gone = gone
        self._uniform = uniform
        self._began = clock()
        # By another clock nothing is shared.
        self._seen: dict[object, Seen] = _seen if clock is time.monotonic else {}
        self._told: tuple[str | None, int | None] | None = None
        self._throttled = 0

    @property
    def waited(self) -> float:
        """Seconds since the wait began."""
        return self._clock() - self._began

    def expect_if_dead(self, row: Item) -> Expect | None:
        """What to expect when claiming the lease in `row`, or None while it may be alive. To be asked at every look."""
        now = self._clock()
        seen = self._look(row, now)
        if now - seen.since >= _lease_seconds(row) or self._gone(row.lease_owner):
            return Expect.seen(row)
        return None

    def see(self, row: Item) -> None:
        """Remember the lease in `row`, for which this process may wait later; other waits of it know that, too."""
        self._look(row, self._clock())

    def is_news_of_waiting(self, row: Item) -> bool:
        """Whether `row` says that its holder waits for another lease, and this watch has not asked about that yet.

        For which one, changes with a beat only.
        """
        beat = (row.etag, row.lease_beat)
        if row.lease_waits is None or beat == self._told:
            return False
        self._told = beat
        return True

    def _look(self, row: Item, now: float) -> Seen:
        """What is known of the lease in `row` after this look at it: above all when its holder has last renewed it.

        The dates of two rows of one holder say how much time lay between them, and one of them may have been seen at
        once: the looks are frequent in the beginning. Only such differences count. However wrong they are, nobody who
        renews every third of the lease is taken for dead: a renewal counts as `LONGEST_PART` old at most when it is
        seen.
        """
        lease, seconds = row.etag or self, _lease_seconds(row)
        date = now if row.ttl_date is None else row.ttl_date
        seen = self._seen.get(lease)
        offset = now - date if seen is None else min(now - date, seen.offset)
        since = now
        if seen is not None:
            # Dates are whole seconds, rounded down: one more, and it is never too early.
            renewed = min(now, max(now - LONGEST_PART * seconds, date + 1 + offset))
            since = seen.since if seen.beat == row.lease_beat else renewed
        seen = self._seen[lease] = Seen(row.lease_beat, since, offset)
        if len(self._seen) > MOST_SEEN:
            self._seen.pop(next(iter(self._seen)), None)
        return seen

    def throttled(self) -> None:
        """A look had no answer since too many ask for the row. From now on this watch looks half as often."""
        self._throttled += 1

    def next_delay(self, *rows: Item) -> float:
        """Seconds until the next look at these rows with leases of others, which this process has looked at.

        Full jitter: from 50 ms up to a bound that grows with the wait to 1 s, and from 20 s on to a twentieth of it, at
        most 0.3 of the lease; beyond 1 s, half of the bound at least. A lease that would count as dead before is looked
        at in that very moment.
        """
        now, leases = self._clock(), [_lease_seconds(row) for row in rows]
        waited = now - self._began
        bound = min(FIRST_DELAY + waited * GROWTH, max(LONGEST_DELAY, waited * GROWTH_LATER))
        bound = min(
            bound * 2.0 ** min(self._throttled, 16), max(LONGEST_DELAY, LONGEST_PART * min(leases, default=0.0))
        )
        delay = self._uniform(SHORTEST_DELAY if bound <= LONGEST_DELAY else bound / 2, bound)
        seen = (self._seen.get(row.etag or self) for row in rows)
        ends = (last.since + lease for last, lease in zip(seen, leases, strict=True) if last is not None)
        return min([delay, *(end - now for end in ends if end > now)])


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
