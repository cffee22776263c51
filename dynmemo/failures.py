"""What goes wrong at run time: a store that fails again and again is left alone, and each cause is said once.

A `Breaker` belongs to a cache, a `Trouble` to a decorated function.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from dynmemo._process import Once, logger, new_lock
from dynmemo.errors import InvalidTableError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.counters import Stats
    from dynmemo.errors import UnreadableValueError

FAILURES = 3
"""Failures in a row that open the circuit. Each of them is an operation with all its retries."""

SHORTEST_COOL_DOWN = 1.0
LONGEST_COOL_DOWN = 60.0
"""Seconds; it doubles with every probe that fails."""

PROBE_SECONDS = 60.0
"""Seconds after which a probe that never ended is taken for lost, such as one that a fork left in the parent."""


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
        """Whether the last try failed. A hit looks at nothing else while this is False."""
        self.is_open = False
        """The store is not to be asked, but for one probe after each cool-down."""
        self.last_failure = ""
        """What the last failure said."""
        self._clock = clock
        self._lock = new_lock(self)
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


class OutOfOrder(Exception):  # noqa: N818 - it never leaves this library
    """The store failed. That was counted and logged, and the call goes on without the store."""


class Trouble:
    """The troubles of one decorated function: counted, said once, or raised where the user asked for that.

    Args:
        name: of the function.
        stats: its counters.
        raises: whether a broken store and broken stored bytes raise.
    """

    def __init__(self, name: str, stats: Stats, *, raises: bool) -> None:
        self.stats = stats
        self.name = name
        self._raises = raises
        self._log = Once()

    def left_alone(self, breaker: Breaker) -> OutOfOrder:
        """Nothing is asked of the store because a circuit is open."""
        self.stats.add("bypassed")
        if self._raises:
            raise StoreUnavailableError(
                f"{breaker.words.left_alone}; that is tried again in {breaker.seconds_left():.0f} s. "
                f"The last failure: {breaker.last_failure}"
            )
        return OutOfOrder()

    def failed(self, breaker: Breaker, error: StoreUnavailableError | InvalidTableError) -> OutOfOrder:
        """The store did not do what was asked of it."""
        self.stats.add("errors")
        if isinstance(error, InvalidTableError):  # an answer, and a quick one
            self.worked(breaker)
            cause = type(error).__name__
        else:
            if breaker.failed(str(error)):
                logger.warning(f"{breaker.words.opened}. The last failure: %s", FAILURES, error)
            cause = error.code or type(error).__name__
        self._broken(error, cause)
        return OutOfOrder()

    def worked(self, breaker: Breaker) -> None:
        """The store answered, for the first time since a failure."""
        if breaker.succeeded():
            logger.warning("%s. The last failure was: %s", breaker.words.closed, breaker.last_failure)

    def unreadable(self, error: UnreadableValueError) -> None:
        """There is a live entry that cannot be turned into the value."""
        self.stats.add("unreadable")
        self._broken(error, f"unreadable: {error.cause}")

    def misconfigured(self, error: Exception) -> OutOfOrder:
        """The default cache cannot be made from what the environment says."""
        self.stats.add("errors")
        self._broken(error, "configuration")
        return OutOfOrder()

    def not_stored(self, cause: str, reason: str) -> None:
        """A result is returned and not stored."""
        self.stats.add("bypassed")
        self._log.warning(cause, "%s(): the result is returned but not stored: %s", self.name, reason)

    def stale(self, error: BaseException) -> None:
        """An expired value is returned because computing failed."""
        self.stats.add("stale")
        kind = type(error).__name__
        self._log.warning(("stale", kind), "%s(): serving an expired value, computing raised %s", self.name, kind)

    def background(self, error: BaseException) -> None:
        """A refresh in the background raised."""
        kind = type(error).__name__
        self._log.warning(("ahead", kind), "%s(): refreshing ahead of expiry raised %s", self.name, kind)

    def _broken(self, error: Exception, cause: str) -> None:
        if self._raises:
            raise error
        self._log.warning(cause, "%s(): computing without the cache: %s", self.name, error)
