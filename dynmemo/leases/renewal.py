"""Renewing: one small thread per process keeps the leases of running computations."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from dynmemo._process import at_fork

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.leases.lease import Hold

BEATS_PER_LEASE = 3
"""Renewals within the time of a lease: all but one of them may fail in a row."""

LONGEST_PAUSE = 3600.0
"""Seconds; systems limit how long one may wait."""


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
            hold.end(lost=True)  # others may have taken it over by now
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
