"""Counters: what a store was asked (`Meter`) and what calls of a function did (`Stats`)."""

from __future__ import annotations

from typing import Any, NamedTuple

from dynmemo._process import new_lock


class CacheInfo(NamedTuple):
    """What `cache_info()` returns: counts of this process since it started or since the last `cache_clear()`.

    The first four are those of `functools.lru_cache`; the size of a shared store
    is not known without reading all of it, so `maxsize` and `currsize` are None.
    """

    hits: int
    """Calls answered from the cache."""
    misses: int
    """All other calls: the cache held nothing live, or could not be asked."""
    maxsize: None
    currsize: None
    computed: int
    """Times that this process ran the function."""
    waited: int
    """Calls answered with the result of somebody else's computation."""
    stale: int
    """Calls answered with an expired value because computing failed."""
    errors: int
    """Failures of the store, also where a result could not be stored for that reason."""
    unreadable: int
    """Stored values that could not be read."""
    bypassed: int
    """Results that were computed and not stored though no operation of the store failed for them: `cache_if` or `ttl`
    ruled it out, they have no stored form, the row was cleared or replaced meanwhile, waiting took too long or would
    have been a deadlock, or what lies there is unreadable and was replaced within the last minute; also calls that
    left alone a store that keeps failing."""
    seconds_saved: float
    """Sum of the computing times of the results that did not have to be computed."""
    requests: int
    """Requests made to the store."""
    read_units: float
    """DynamoDB read capacity units consumed."""
    write_units: float
    """DynamoDB write capacity units consumed."""
    copies: int = 0
    """Large values that were read from a local copy instead of the table or S3."""


COUNTERS = ("hits", "misses", "computed", "waited", "stale", "errors", "unreadable", "bypassed")


class Meter:
    """Counts requests and DynamoDB capacity units; safe to share between threads."""

    __slots__ = ("__weakref__", "_lock", "copies", "read_units", "requests", "write_units")

    def __init__(self) -> None:
        self._lock = new_lock(self)
        self.reset()

    def reset(self) -> None:
        """Set every counter to zero."""
        with self._lock:
            self.requests = self.copies = 0
            self.read_units = self.write_units = 0.0

    def count(self, requests: int = 1, read_units: float = 0.0, write_units: float = 0.0, *, copies: int = 0) -> None:
        """Add requests with their units, and large values that were read from a local copy."""
        with self._lock:
            self.copies += copies
            self.requests += requests
            self.read_units += read_units
            self.write_units += write_units


class Stats(Meter):
    """The counters of one decorated function in one process."""

    __slots__ = ("_counts",)

    def reset(self) -> None:
        with self._lock:
            super().reset()
            self._counts: dict[str, Any] = {**dict.fromkeys(COUNTERS, 0), "seconds_saved": 0.0}

    # A signal handler may count, too. It runs between two calls, never within a statement that calls nothing.

    def add(self, counter: str, saved: float = 0.0, calls: int = 1) -> None:
        """Increase one counter by its name; computing took `saved` seconds, which these calls did not have to wait."""
        with self._lock:
            self._counts[counter] += calls
            self._counts["seconds_saved"] += saved

    def info(self) -> CacheInfo:
        with self._lock:
            return CacheInfo(
                maxsize=None,
                currsize=None,
                requests=self.requests,
                read_units=self.read_units,
                write_units=self.write_units,
                copies=self.copies,
                **self._counts,
            )
