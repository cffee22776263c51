"""Watching another's lease: how long to wait before looking again, and when to take it over."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING

from dynmemo.item import Expect
from dynmemo.leases.owner import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Item

SHORTEST_DELAY = 0.05
LONGEST_DELAY = 1.0
FIRST_DELAY = 0.1
GROWTH = 0.25
"""What a delay's upper bound grows by per second waited: a result is picked up an eighth late on average."""

LONGEST_LEASE = 3600.0
"""Seconds; no row makes anybody wait longer for a sign of life."""


class Watch:
    """One wait for a lease of somebody else.

    A lease is dead when its row has not changed for its own time by the clock of the one who watches: wall clocks
    of other machines are never compared.

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
        self._mark: tuple[str | None, int | None] | None = None
        self._since = self._began

    @property
    def waited(self) -> float:
        """Seconds since the wait began."""
        return self._clock() - self._began

    def may_take_over(self, row: Item) -> Expect | None:
        """What to expect when claiming the lease in `row`, or None while it may be alive. To be asked at every look."""
        now = self._clock()
        mark = (row.etag, row.lease_beat)
        if mark != self._mark:
            self._mark, self._since = mark, now
        if now - self._since >= _lease_seconds(row) or self._gone(row.lease_owner):
            return Expect.seen(row)
        return None

    def next_delay(self) -> float:
        """Seconds until the next look: full jitter, from 50 ms up to a bound that grows with the wait to 1 s."""
        bound = min(LONGEST_DELAY, FIRST_DELAY + self.waited * GROWTH)
        return self._uniform(SHORTEST_DELAY, bound)


def _lease_seconds(row: Item) -> float:
    seconds = row.lease_seconds
    if seconds is None or math.isnan(seconds):  # not what this library writes
        return 0.0
    return min(seconds, LONGEST_LEASE)
