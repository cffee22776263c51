"""A circuit breaker: a store that fails again and again is left alone for a while, so that it slows no call down."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from dynmemo._forks import new_lock_in_children

if TYPE_CHECKING:
    from collections.abc import Callable

FAILURES = 3
"""Failures in a row that open the circuit. Each of them is an operation with all its retries."""

SHORTEST_COOL_DOWN = 1.0
LONGEST_COOL_DOWN = 60.0
"""Seconds; it doubles with every probe that fails."""

PROBE_SECONDS = 60.0
"""After so long a probe of which nothing was heard, as of one that another process forked away, is taken for lost."""


class Words(NamedTuple):
    """What is said about a circuit."""

    opened: str
    """What failed, and what calls do now."""
    closed: str
    """What works again."""
    left_alone: str
    """What was not done, and why."""


ASKING = Words(
    "the cache failed %d times in a row; calls compute without asking it until it answers again",
    "the cache answers again, and calls use it",
    "the cache was not asked, because it failed several times in a row",
)
WRITING = Words(
    "writing to the cache failed %d times in a row; hits go on, and misses compute without storing until a write "
    "succeeds again",
    "writing to the cache works again, and results are stored",
    "nothing was written to the cache, because writing failed several times in a row, while reading works",
)


class Breaker:
    """The state of one circuit: closed, open, or half-open while a probe is under way. Does no I/O and logs nothing.

    Who uses it asks `may_try` while `is_open`, and tells how each try ended: `failed`, `succeeded` while
    `is_troubled`, or `let_go` when that says nothing about the store.

    Args:
        clock: monotonic, in seconds.
        words: for who tells people of it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, words: Words = ASKING) -> None:
        self.words = words
        self.is_troubled = False
        """The last try failed; False on the way of every hit, which then asks no more than this."""
        self.is_open = False
        """The store is not to be asked, but for one probe after each cool-down."""
        self.last_failure = ""
        """What the last failure said."""
        self._clock = clock
        self._lock = threading.Lock()
        new_lock_in_children(self)
        self._failures = 0
        self._cool_down = SHORTEST_COOL_DOWN
        self._open_until = 0.0
        self._probe: float | None = None

    def may_try(self) -> bool:
        """Whether the store may be asked now; while the circuit is open, one at a time may after each cool-down."""
        with self._lock:
            if not self.is_open:
                return True
            now = self._clock()
            if now < self._open_until or (self._probe is not None and now - self._probe < PROBE_SECONDS):
                return False
            self._probe = now
            return True

    def failed(self, reason: str) -> bool:
        """A try failed; whether that opened the circuit."""
        with self._lock:
            self.last_failure = reason
            self._failures += 1
            self.is_troubled = True
            was_open = self.is_open
            if was_open and self._probe is None:
                return False  # it began before the circuit opened
            if was_open:
                self._cool_down = min(2 * self._cool_down, LONGEST_COOL_DOWN)
            if was_open or self._failures >= FAILURES:
                self._probe = None
                self._open_until = self._clock() + self._cool_down
                self.is_open = True
            return self.is_open and not was_open

    def succeeded(self) -> bool:
        """A try succeeded; whether that closed the circuit."""
        with self._lock:
            was_open, self.is_open, self.is_troubled = self.is_open, False, False
            self._failures = 0
            self._cool_down = SHORTEST_COOL_DOWN
            self._probe = None
            return was_open

    def let_go(self) -> None:
        """A try ended without telling whether the store works; another one may take its place."""
        with self._lock:
            self._probe = None

    def seconds_left(self) -> float:
        """Until the store is tried again."""
        with self._lock:
            return max(0.0, self._open_until - self._clock())
