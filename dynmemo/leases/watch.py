"""A row that is no hit: whether somebody computes, when to look again, and when to take over."""

from __future__ import annotations

import enum
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


class Verdict(enum.Enum):
    """What the row that makes a call a miss means for it."""

    CLAIMABLE = "nobody computes: claim it, with `Expect.seen` of the row"
    HELD = "somebody computes: wait"
    NO_STORE = "the result cannot be shared: compute at once and store nothing"


def judge(row: Item | None, now: float, generation: str) -> Verdict:
    """What to do about a row that is no hit.

    Args:
        row: as read, or as a refused claim returned it.
        now: Unix seconds.
        generation: the present one; read anew when the row has another, or a process that knows an old generation
            would take over a live lease of the new one.
    """
    if row is None or row.value is not None or row.gen != generation:
        return Verdict.CLAIMABLE
    if row.ttl_date is not None and now > row.ttl_date:
        return Verdict.CLAIMABLE
    if row.no_store is not None:
        return Verdict.NO_STORE
    return Verdict.CLAIMABLE if row.lease_owner is None or row.lease_seconds is None else Verdict.HELD


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
        self._told: tuple[str | None, int | None] | None = None

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
