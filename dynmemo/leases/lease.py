"""Leases: rows without value that say who computes, so that everybody else waits.

A row is claimed by compare-and-set over the row that was seen, so of many one gets it; what is computed is
written by compare-and-set over the claim, so a late result is refused. One small thread per process renews the leases
of running computations.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import sys
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from dynmemo._process import at_fork
from dynmemo.cache import LEASE_SECONDS
from dynmemo.errors import StoreUnavailableError
from dynmemo.generations import is_no_later
from dynmemo.item import Expect, Item, Refused, Written
from dynmemo.keys import lease_key
from dynmemo.leases.inflight import running_here, witness
from dynmemo.leases.owner import owner_name, settle
from dynmemo.leases.watch import awaited_row
from dynmemo.origin import holder_text
from dynmemo.parts import DAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store
    from dynmemo.leases.inflight import Flight

BEATS_PER_LEASE = 3
"""Renewals within the time of a lease."""

TRIES_PER_BEAT = 4
"""So often a renewal that fails is tried until the next one is due, as far as the store is that quick to refuse it."""

LONGEST_PAUSE = 3600.0
"""Seconds; systems limit how long one may wait."""

LINGER = 1.0
"""Seconds for which the thread that renews stays when no lease is left: starting one takes longer than a small miss."""

MOST_NEW = 1_000
"""Leases that may come before the thread that renews has a look at them; most have ended by then."""


class Spot(NamedTuple):
    """Where a lease lies and where its value goes: over the row of the value, or beside it."""

    key: str
    """Of the lease row: what to claim, and to read while waiting."""
    value_key: str
    over: Expect | None = None
    """The row over which the value is written, when the lease lies beside it."""
    insists: bool = False
    """Whether the value is also written over whatever has taken the place of that row, but not where it was removed."""

    @classmethod
    def at(cls, key: str) -> Self:
        """In the row of the value itself, which is then gone."""
        return cls(key, key)

    @classmethod
    def beside(cls, key: str, row: Item | None, *, insists: bool = False) -> Self:
        """Beside the row `row` under `key`, which stays readable until the new value takes its place."""
        return cls(lease_key(key), key, Expect.seen(row), insists)


class Leases:
    """Takes leases for the calls of one decorated function.

    Args:
        store: where the rows lie; requests count as its meters do.
        fn: the function's name in keys.
        seconds: how long a lease lasts that is not renewed; it is renewed every third of that. One second at least:
            rows count whole seconds.
        tells: whether lease rows say, for people, who holds them.
        keeper: renews them. Default: the thread of this process.
        clock: gives Unix seconds.
        monotonic: gives seconds.
    """

    def __init__(
        self,
        store: Store,
        fn: str,
        *,
        seconds: float = LEASE_SECONDS,
        tells: bool = True,
        keeper: Schedule | Renewer | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.store = store
        self.fn = fn
        self.seconds = seconds
        self.tells = tells
        self.clock = clock
        self.monotonic = monotonic
        self.keeper = keeper

    def claim(self, spot: Spot, stamp: str, expect: Expect | None, *, took: float | None = None) -> Lease | Refused:
        """Take the lease if the row at `spot.key` is as expected (whatever it is, for None); one write.

        Who waits is told that the same call `took` so many seconds last time, where that is known.

        Returns the lease, or the row that stood in the way: go on from there, without another read.
        Raises as the store does; what may have been written all the same is given up in the background.
        """
        hold, now = Hold(self, spot.key), self.clock()
        row = Item(
            ttl_date=lease_date(now, self.seconds),
            fn=self.fn,
            gen=stamp,
            lease_owner=hold.owner,
            lease_seconds=self.seconds,
            lease_beat=0,
            lease_by=holder_text(now, took) if self.tells else None,
        )
        try:
            answer = self.store.write(spot.key, row, expect)
        except BaseException:
            hold.keeper.add(hold)
            hold.drop()
            raise
        if isinstance(answer, Refused):
            hold.end(lost=True)
            return answer
        hold.etag = answer.etag
        return Lease(self, spot, stamp, hold)


class Lease:
    """The right of this process to compute. It is renewed until it ends, is lost, or nothing refers to it any more.

    `finish`, `no_store` and `give_up` end it, each with one write that takes place only if the lease is still ours.
    They raise as the store does; leaving its block then gives it up in the background.
    """

    def __init__(self, leases: Leases, spot: Spot, stamp: str, hold: Hold) -> None:
        self.spot = spot
        self.stamp = stamp
        """Of its row, and of the result."""
        self._leases = leases
        self._hold = hold
        hold.keeper.add(hold)

    def __del__(self, *, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # A task that is cancelled while it waits for `claim` never sees the lease. When the interpreter ends there may
        # be nothing left to give it up with.
        if not is_ending():
            self._hold.drop()

    @property
    def etag(self) -> str:
        """Of the lease row."""
        return self._hold.etag

    @property
    def lost(self) -> bool:
        """Whether a renewal or an ending found that it is no longer ours: the result will not be stored."""
        return self._hold.is_lost

    def __enter__(self) -> Self:
        """While this block runs, the lease is renewed as long as the task (or thread) that entered it runs.

        A lease that was not ended within is given up by the renewing thread; nobody waits for that.
        """
        flight = self._hold.flight()
        if flight is None:
            self._hold.witness = witness()
        else:
            flight.hold = self._hold
        return self

    def __exit__(self, *error: object) -> None:
        self._hold.drop()

    def finish(self, item: Item) -> bool:
        """Store the result; False if the lease was lost, or its row or the one beside it removed or replaced.

        Two writes for a lease beside its value, three or more if it insists, one otherwise. `ValueTooLargeError` leaves
        the lease as it was.
        """
        if not self._hold.is_ours:
            return False
        if self.spot.value_key != self.spot.key:
            return self._finish_beside(item)
        return self._replace(item)

    def no_store(self, reason: str) -> bool:
        """Say for the time of one lease that the result cannot be shared, and why; False if the lease was lost.

        Args:
            reason: for people who look at the row; names no argument and no value.
        """
        ttl_date = math.floor(self._leases.clock() + self._leases.seconds)
        row = Item(ttl_date=ttl_date, fn=self._leases.fn, gen=self.stamp, no_store=reason)
        return self._hold.is_ours and self._replace(row)

    def give_up(self) -> bool:
        """Let somebody else compute; False if the lease was lost."""
        return self._hold.is_ours and self._hold.remove()

    def _replace(self, row: Item) -> bool:
        hold = self._hold
        written = isinstance(hold.store.write(hold.key, row, Expect(hold.etag)), Written)
        hold.end(lost=not written)
        return written

    def _finish_beside(self, item: Item) -> bool:
        hold, spot = self._hold, self.spot
        over = spot.over
        while True:
            # The row of the value does not say who holds the lease beside it. A process that was stopped for long, or
            # that overwrites whatever stands there, asks before it writes.
            if (hold.is_overdue() or spot.insists) and not hold.renew():
                return False
            answer = hold.store.write(spot.value_key, item, over)
            standing = answer.row if isinstance(answer, Refused) else None
            if standing is None or not spot.insists or not is_no_later(standing.gen, self.stamp):
                break
            over = Expect.seen(standing)
        written = isinstance(answer, Written)
        with suppress(StoreUnavailableError):  # the value is stored; a lease row that stays does harm for its time only
            # Who has removed the lease meanwhile has forgotten the value as well, though it was stored before.
            written = hold.remove() and written
        return written


class Hold:
    """One lease row of this process, without what is computed under it.

    It does not keep alive whoever computes, so that a keeper may hold on to it.
    """

    def __init__(self, leases: Leases, key: str) -> None:
        self.store = leases.store
        self.key = key
        self.owner = owner_name(self)
        self.etag = ""
        """Of the row; empty as long as nobody knows whether the claim took place."""
        self.seconds = leases.seconds
        self.renewed_at = leases.monotonic()
        """When (monotonic) the last renewal that took place was sent."""
        self.due = self.renewed_at
        """When the keeper has something to do; it alone changes this."""
        self.is_lost = False
        """The row is no longer ours: taken over, overwritten or removed."""
        self.is_ended = False
        """There is nothing more to do: we ended it, or gave up trying."""
        self.is_dropped = False
        """Whoever computed is gone or has stopped; the keeper shall give it up."""
        running = running_here()
        self.flight: Callable[[], Flight[Any] | None] = weakref.ref(running[-1]) if running else lambda: None
        """The flight for which it was taken, while that is there; None without one."""
        self.witness: Callable[[], bool] | None = None if running else lambda: True
        """Whether the code still runs that computes without a flight."""
        self.keeper = leases.keeper or renewer()
        self._clock = leases.clock
        self._monotonic = leases.monotonic
        self._pid = os.getpid()

    @property
    def next_beat(self) -> float:
        """When (monotonic) it is to be renewed again, if the last renewal was in time."""
        return self.renewed_at + self.seconds / BEATS_PER_LEASE

    @property
    def is_ours(self) -> bool:
        """Whether the row may still be ours, as far as this process knows; never in a forked child."""
        return not self.is_ended and os.getpid() == self._pid

    @property
    def is_alive(self) -> bool:
        """Whether anything is computed under it, as far as this process knows."""
        return self.is_ours and not self.is_dropped and self.is_computing()

    def is_computing(self) -> bool:
        """Whether the computation still runs; what does not is not renewed."""
        flight = self.flight()
        if self.witness is not None:
            return self.witness()
        return flight is not None and flight.is_led()

    def renew(self) -> bool:
        """Let the lease begin anew, if it is still ours. Raises as the store does."""
        asked, flight = self._monotonic(), self.flight()
        waits_for = None if flight is None else awaited_row(flight, self.store)
        if self.store.renew(self.key, self.etag, lease_date(self._clock(), self.seconds), waits_for):
            self.renewed_at = asked
        else:
            self.end(lost=True)
        return not self.is_lost

    def remove(self) -> bool:
        """Give the lease up; False if it was no longer ours. Raises as the store does."""
        etag = self.etag or self._found_etag()
        removed = etag is not None and self.store.remove(self.key, Expect(etag)) is not None
        self.end(lost=not removed)
        return removed

    def end(self, *, lost: bool) -> None:
        """Care for it no longer."""
        settle(self.owner)
        self.is_lost = lost
        self.is_ended = True

    def _found_etag(self) -> str | None:
        row = self.store.read(self.key, consistent=True)
        return row.etag if row is not None and row.lease_owner == self.owner else None

    def is_overdue(self) -> bool:
        """Whether others may have taken it over by now."""
        return self._monotonic() - self.renewed_at >= self.seconds

    def drop(self) -> None:
        """Let the keeper give it up, unless it has ended. Takes no lock, since the garbage collector calls this."""
        if self.is_ours and not self.is_dropped:
            self.is_dropped = True
            self.keeper.add(self)


def lease_date(now: float, seconds: float) -> int:
    """The `ttl_date` of a lease row.

    A day beyond the lease: clocks differ, and DynamoDB deletes what its own clock finds expired.
    """
    return math.floor(now + seconds) + DAY


class Schedule:
    """When which lease is due. Belongs to one thread.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._order = itertools.count()
        self._due: list[tuple[float, int, Hold]] = []

    def add(self, hold: Hold) -> None:
        """Renew `hold` from a third of its time on, unless it has ended; a dropped one is due at once."""
        if hold.is_ours:
            self._push(hold, self._clock() if hold.is_dropped else hold.next_beat)

    def act(self) -> float | None:
        """Do what is due. Returns the seconds until there is more to do, None when nothing is left. Never raises."""
        while self._due:
            due, _, hold = self._due[0]
            wait = due - self._clock()
            is_stale = due != hold.due or not hold.is_ours
            if wait > 0 and not is_stale:
                return min(wait, LONGEST_PAUSE)
            heapq.heappop(self._due)
            if not is_stale:
                self._care_for(hold)
        return None

    def _care_for(self, hold: Hold) -> None:
        began = self._clock()
        pause = hold.seconds / BEATS_PER_LEASE / TRIES_PER_BEAT
        # Whatever a store does wrong, it is tried again well before the next beat, and the other leases go on.
        with suppress(Exception):
            if hold.is_dropped:
                hold.remove()
            elif hold.is_computing():
                hold.renew()
            pause = hold.seconds / BEATS_PER_LEASE
        if hold.is_dropped and hold.is_overdue():
            hold.end(lost=True)  # others may have taken it over by now
        if hold.is_ours:
            self._push(hold, began + pause)

    def _push(self, hold: Hold, due: float) -> None:
        hold.due = due
        heapq.heappush(self._due, (due, next(self._order), hold))


class Renewer:
    """A `Schedule` in a daemon thread, which starts with the first lease and ends a while after the last one."""

    def __init__(self) -> None:
        # Both may be filled in between anything, as the garbage collector's calls come.
        self._new: deque[Hold] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._looks_at = 0.0
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def add(self, hold: Hold) -> None:
        """Care for `hold`."""
        self._new.append(hold)
        # Waking the thread takes as long as all else that a small miss does, so it is woken only where its next look
        # comes too late. In this order: either it sees the hold before it sleeps, or we see when it will look.
        if hold.is_dropped or len(self._new) > MOST_NEW or hold.next_beat < self._looks_at:
            self._wake.put(None)
        # The thread runs as long as there is a lease that was not ended, and the garbage collector must start none.
        if not hold.is_dropped:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="dynmemo-renewer", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # too many threads, or the interpreter is ending: then the lease will be lost
                self._thread = None

    def _run(self) -> None:
        schedule = Schedule()
        is_idle = False
        while True:
            was_idle, is_idle = is_idle, not self._new
            while self._new:
                schedule.add(self._new.popleft())
            pause = schedule.act()
            if pause is None and was_idle and is_idle and self._may_end():
                return
            is_idle = is_idle and pause is None
            pause = LINGER if pause is None else pause
            self._looks_at = time.monotonic() + pause
            if not self._new:
                with suppress(Empty):
                    self._wake.get(timeout=pause)

    def _may_end(self) -> bool:
        with self._lock:
            if self._new:
                return False
            self._thread = None
            return True


# By process id: in a forked child no thread runs, and what it inherited is not its own.
_renewers: dict[int, Renewer] = {}

at_fork(after_in_child=_renewers.clear)


def renewer() -> Renewer:
    """The one of this process."""
    pid = os.getpid()
    return _renewers.get(pid) or _renewers.setdefault(pid, Renewer())
