"""The leases that this process holds, and the one small thread that renews them."""

from __future__ import annotations

import heapq
import itertools
import math
import os
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from dynmemo._process import at_fork
from dynmemo.item import Expect
from dynmemo.leases.owner import disown, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store

DAY = 86_400

BEATS_PER_LEASE = 3
"""A lease survives that one renewal less fails in a row."""

LONGEST_PAUSE = 3600.0
"""Seconds; systems limit how long one may wait."""


def lease_date(now: float, seconds: float) -> int:
    """The `ttl_date` of a lease row.

    A day beyond the lease: clocks differ, and DynamoDB deletes what its own clock finds expired.
    """
    return math.floor(now + seconds) + DAY


class Keeper(Protocol):
    """Renews what it was given in time, and gives up what was dropped."""

    def add(self, hold: Hold) -> None:
        """Care for `hold` from now on; given once more after it was dropped."""
        ...


class Hold:
    """One lease row of this process, without what is computed under it.

    It does not keep alive whoever computes, so that a keeper may hold on to it.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        owner: str,
        seconds: float,
        *,
        keeper: Keeper,
        claimed_at: float,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.store = store
        self.key = key
        self.owner = owner
        self.etag = ""
        """Of the row; empty as long as nobody knows whether the claim took place."""
        self.seconds = seconds
        self.renewed_at = claimed_at
        """When (monotonic) the last renewal that took place was sent."""
        self.is_lost = False
        """The row is no longer ours: taken over, overwritten or removed."""
        self.is_ended = False
        """There is nothing more to do: we ended it, or gave up trying."""
        self.is_dropped = False
        """Whoever computed is gone or has stopped; the keeper shall give it up."""
        self.is_computing: Callable[[], bool] = _yes
        """Whether the computation still runs; what does not is not renewed."""
        self.waits_for: Callable[[], str | None] = _nothing
        """For which other lease row the computation waits."""
        self.due = claimed_at
        """When the keeper has something to do; it alone changes this."""
        self.keeper = keeper
        self._clock = clock
        self._monotonic = monotonic
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether the row may still be ours, as far as this process knows; never in a forked child."""
        return not self.is_ended and os.getpid() == self._pid

    def renew(self) -> bool:
        """Let the lease begin anew, if it is still ours. Raises as the store does."""
        asked = self._monotonic()
        if self.store.renew(self.key, self.etag, lease_date(self._clock(), self.seconds), self.waits_for()):
            self.renewed_at = asked
        else:
            self.end(lost=True)
        return not self.is_lost

    def remove(self) -> bool:
        """Give the lease up; False if it was no longer ours. Raises as the store does."""
        etag = self.etag or self._found_etag()
        removed = etag is not None and self.store.remove(self.key, Expect(etag))
        self.end(lost=not removed)
        return removed

    def end(self, *, lost: bool) -> None:
        """Care for it no longer."""
        self.is_lost = lost
        self.is_ended = True
        settle(self.owner)

    def _found_etag(self) -> str | None:
        row = self.store.read(self.key, consistent=True)
        return row.etag if row is not None and row.lease_owner == self.owner else None

    def is_overdue(self) -> bool:
        """Whether others may have taken it over by now."""
        return self._monotonic() - self.renewed_at >= self.seconds

    def drop(self) -> None:
        """Leave it to the keeper to give it up, unless it was ended. Takes no lock: the garbage collector calls it."""
        if self.is_ours and not self.is_dropped:
            self.is_dropped = True
            disown(self.owner)
            self.keeper.add(self)


def _yes() -> bool:
    return True


def _nothing() -> None:
    return None


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
        """Renew `hold` from a third of its time on; a dropped one is due at once."""
        now = self._clock()
        self._push(hold, now if hold.is_dropped else now + hold.seconds / BEATS_PER_LEASE)

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
        # Whatever a store does wrong, it is tried again at the next beat, and the other leases go on.
        with suppress(Exception):
            if hold.is_dropped:
                hold.remove()
            elif hold.is_computing():
                hold.renew()
        if hold.is_dropped and hold.is_overdue():
            hold.end(lost=True)  # others may take it over by now
        if hold.is_ours:
            self._push(hold, began + hold.seconds / BEATS_PER_LEASE)

    def _push(self, hold: Hold, due: float) -> None:
        hold.due = due
        heapq.heappush(self._due, (due, next(self._order), hold))


class Renewer:
    """A `Schedule` in a daemon thread, which starts with the first lease and ends when none is left."""

    def __init__(self) -> None:
        # The one queue whose `put` may come in between anything, as the garbage collector's calls do.
        self._news: SimpleQueue[Hold] = SimpleQueue()
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def add(self, hold: Hold) -> None:
        """Care for `hold`."""
        self._news.put(hold)
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
        while True:
            pause = schedule.act()
            try:
                schedule.add(self._news.get_nowait() if pause is None else self._news.get(timeout=pause))
            except Empty:
                if pause is None and self._may_end():
                    return

    def _may_end(self) -> bool:
        with self._lock:
            if not self._news.empty():
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
