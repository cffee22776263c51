"""Counters: what a store was asked (`Meter`) and what calls of a function did (`Stats`)."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

from dynmemo import views

if TYPE_CHECKING:
    from collections.abc import Iterator


class CacheInfo(NamedTuple):
    """What `cache_info()` returns: counts of this process since it started or since the last `cache_clear()`.

    The first four are those of `functools.lru_cache`; the size of a shared store
    is not known without reading all of it, so `maxsize` and `currsize` are None.

    Example:
        >>> forecast("SEA") == forecast("SEA")
        True
        >>> info = forecast.cache_info()
        >>> info.hits, info.misses, info.errors
        (1, 1, 0)
    """

    hits: int
    """Calls answered from the cache."""
    misses: int
    """All other calls: the cache held nothing live, or could not be asked."""
    maxsize: None
    """For code that knows `functools.lru_cache`."""
    currsize: None
    """As `maxsize`."""
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
    """Sum of the computing times, in seconds, of the results that did not have to be computed."""
    requests: int
    """Requests made to the store; on SQLite a question whether the file has changed counts, too."""
    read_units: float
    """DynamoDB read capacity units consumed."""
    write_units: float
    """DynamoDB write capacity units consumed."""
    copies: int = 0
    """Large values that were read from a local copy instead of the table or S3."""
    near_hits: int = 0
    """Those of the hits for which no row was read: this process has read it before, and uses it again."""

    def _repr_html_(self) -> str:
        return views.page("cache_info()", in_short(self), views.facts(counts(self)))


def in_short(info: CacheInfo) -> str:
    """How it did: ``3 hits, 1 miss, saved 14 min``."""
    saved = f"saved {views.duration(info.seconds_saved)}" if info.seconds_saved else ""
    parts = (views.counted(info.hits, "hit"), views.counted(info.misses, "miss", "misses"), saved)
    return ", ".join(filter(None, parts))


def counts(info: CacheInfo) -> Iterator[tuple[str, str]]:
    """What was counted, in words, without what never happened."""
    for name, count in info._asdict().items():
        if count:
            is_time = name == "seconds_saved"
            yield "saved" if is_time else name.replace("_", " "), views.duration(count) if is_time else f"{count:,}"


COUNTERS = ("misses", "computed", "waited", "stale", "errors", "unreadable", "bypassed")
"""Those that `Stats.add` takes."""


class Meter:
    """Counts requests and DynamoDB capacity units; safe to share between threads."""

    __slots__ = ("copies", "read_units", "requests", "write_units")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set every counter to zero."""
        self.requests = self.copies = 0
        self.read_units = self.write_units = 0.0

    # Without a lock, which would take longer than the counting: threads change, and handlers of signals run, between
    # two calls only, never within a statement that calls nothing.

    def count(self, requests: int = 1, read_units: float = 0.0, write_units: float = 0.0, *, copies: int = 0) -> None:
        """Add requests with their units, and large values that were read from a local copy."""
        self.requests += requests
        if copies or read_units or write_units:
            self.copies += copies
            self.read_units += read_units
            self.write_units += write_units


class Stats(Meter):
    """The counters of one decorated function in one process."""

    __slots__ = ("__weakref__", "_counts", "_hits", "_near_hits", "_saved")

    def __init__(self) -> None:
        super().__init__()
        _of_functions.add(self)

    def reset(self) -> None:
        super().reset()
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._hits = self._near_hits = 0
        self._saved = 0.0

    def add(self, counter: str, saved: float = 0.0, calls: int = 1) -> None:
        """Increase one counter by its name; computing took `saved` seconds, which these calls did not have to wait."""
        self._counts[counter] += calls
        self._saved += saved

    def hit(self, saved: float, near: int = 0, calls: int = 1) -> None:
        """Count hits: computing took `saved` seconds in all. `near` says for how many of them no row was read."""
        self._hits += calls
        self._near_hits += near
        self._saved += saved

    def info(self) -> CacheInfo:
        return CacheInfo(
            maxsize=None,
            currsize=None,
            requests=self.requests,
            read_units=self.read_units,
            write_units=self.write_units,
            copies=self.copies,
            hits=self._hits,
            near_hits=self._near_hits,
            seconds_saved=self._saved,
            **self._counts,
        )


_of_functions: weakref.WeakSet[Stats] = weakref.WeakSet()


def reset_all() -> None:
    """Set the counters of every decorated function to zero."""
    for stats in list(_of_functions):
        stats.reset()
