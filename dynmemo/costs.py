"""What a function's use costs on DynamoDB: requests, units and money, beside the algorithm of the .NET provider.

Calls are taken to come at random (a Poisson process), evenly over entries and processes, for so long that what happens
at the beginning does not matter. docs/explanation/cost.md derives the formulas.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from dynmemo.cache import LEASE_SECONDS, MAX_VALUE_BYTES
from dynmemo.cache.options import checked_refresh_after
from dynmemo.codec.envelope import NO_KEY_ID, NO_PYTHON, TRAILER_SIZE, Header
from dynmemo.counters import CacheInfo
from dynmemo.entries import REFRESH_AFTER
from dynmemo.errors import InvalidOptionError
from dynmemo.expiry import Lifetime, parse_duration, parse_lasting, parse_wait
from dynmemo.generations import EARLIEST_PART, RECHECK_SECONDS
from dynmemo.item import Item
from dynmemo.keys import key_name
from dynmemo.leases.lease import BEATS_PER_LEASE
from dynmemo.near import LARGEST
from dynmemo.parts import LEAST_SLIDING_SECONDS, SLIDING_WINDOWS
from dynmemo.prices import Prices as Prices
from dynmemo.prices import check_number
from dynmemo.prices import prices_of as prices_of
from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.stores.dynamodb.batches import GROUP
from dynmemo.stores.dynamodb.connection import check_flag
from dynmemo.tracebacks import short_tracebacks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynmemo.expiry import Duration

MONTH = 730 * 3600.0
"""Seconds, as AWS counts a month."""

_WRITE_UNIT, _READ_UNIT = 1024, 4096
"""Bytes; what is begun is billed."""

_INDEX_BYTES = 100
"""What DynamoDB bills as stored for every item beside its own bytes."""

_GIGABYTE = 2**30
_ETAG = len("etag") + 16
"""Bytes of an attribute that rows of .NET do not have."""

_ENVELOPE = Header(0, NO_PYTHON, NO_KEY_ID, 0.0, 0.0, None, 0, "pickle").size + TRAILER_SIZE
_CODE, _ARGUMENTS, _GENERATION = "0" * 32, "0" * 40, "0" * 33
_NOW = 1_764_227_011.0
"""A moment like most: numbers that end in zeros take less room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """How one decorated function is used, by all processes together.

    Example:
        >>> dynmemo.Workload(entries=100, size=2_000, calls=5, ttl="24h").processes
        1

    Raises:
        InvalidOptionError: for numbers and times that are not allowed.
    """

    entries: int
    """Stored results that are in use."""
    size: int
    """Bytes of one, serialized and compressed: `entry(...).size` less the 87 of its envelope."""
    calls: float
    """A second."""
    ttl: Duration | None = None
    """Hard deadline, as of the decorator; None for never."""
    sliding: Duration | None = None
    """Idle window, as of the decorator; None for none."""
    near: Duration | None = None
    """How long a process serves an entry from memory; never longer than the date of a sliding one may stand still."""
    refresh_after: float = REFRESH_AFTER
    """Part of the window that goes by before a hit moves the date."""
    consistent: bool = True
    """Whether reads are strongly consistent, which costs twice as much."""
    processes: int = 1
    """That call the function; for values too large for a row each is taken for a machine of its own."""
    seconds: Duration = 0.0
    """How long computing a result takes."""
    new: float = 0.0
    """Of the calls a second, those whose arguments nobody has used before."""
    name: str = "module.function"
    """It stands in every row."""

    def __post_init__(self) -> None:
        for name, least, whole in (("entries", 1, True), ("size", 0, True), ("processes", 1, True)):
            check_number(name, getattr(self, name), least, whole=whole)
        for name in ("calls", "new", "refresh_after"):
            check_number(name, getattr(self, name), 0)
        checked_refresh_after(self.refresh_after)
        check_flag("consistent", self.consistent)
        if self.new > self.calls:
            raise InvalidOptionError(f"new={self.new!r} is more than all calls={self.calls!r}; both are a second's")
        limit = MAX_VALUE_BYTES["dynamodb"] or math.inf
        if self.size > limit:
            raise InvalidOptionError(
                f"size={self.size!r} is beyond the {limit:,} bytes that DynamoDB is used for (max_value_bytes); larger "
                "values are not stored, or lie in S3"
            )
        if not isinstance(self.name, str):
            raise InvalidOptionError(f"name={self.name!r} is no text")
        parse_wait(self.seconds, "seconds")
        for name in ("ttl", "sliding", "near"):
            if getattr(self, name) is not None:
                parse_lasting(getattr(self, name), name, _NOW)


class Cost(NamedTuple):
    """What a use of DynamoDB costs in a month, or what was counted has cost so far.

    Example:
        >>> month = dynmemo.cost(dynmemo.Workload(entries=100, size=2_000, calls=5, ttl="24h"))
        >>> month.dollars > sum(share.dollars for share in month.shares) - 0.01
        True
    """

    what: str
    """In words."""
    requests: float
    """Made to DynamoDB."""
    read_units: float
    """Read request units billed."""
    write_units: float
    """Write request units billed."""
    stored_bytes: float
    """Billed as stored."""
    dollars: float
    """US dollars, before taxes and free tiers."""
    shares: tuple[Cost, ...] = ()
    """What it is made of."""
    dotnet: Cost | None = None
    """What the algorithm of the .NET provider would cost: an update of the row with every hit that has a window, no
    leases, no generations. None where it could not store the values, and for counters without `size`."""


@short_tracebacks
def cost(
    of: Workload | CacheInfo,
    *,
    prices: Prices | str = "us-east-1",
    over: Duration | None = None,
    size: int | None = None,
) -> Cost:
    """What a workload costs in a month, or what `cache_info()` has counted.

    Example:
        >>> workload = dynmemo.Workload(entries=100, size=2_000, calls=5, ttl="24h")
        >>> 1 < dynmemo.cost(workload).dollars < 3
        True

    Args:
        of: a `Workload`, or the counters of a function (of this process).
        prices: those of a region, or your own. Default: us-east-1.
        over: of counters the time in which they were counted; the result is then that of a month at this pace.
            Default: what they have cost so far.
        size: of counters the bytes of a result as in `Workload`, for `dotnet`; the results have a sliding window.

    Raises:
        InvalidOptionError: for a region without known prices, and times and sizes that are not allowed.
    """
    known = prices if isinstance(prices, Prices) else prices_of(prices)
    if isinstance(of, Workload):
        if over is not None or size is not None:
            raise InvalidOptionError("over= and size= belong to counters; a Workload says both itself")
        return _month(of, _Bill(known, MONTH))
    if not isinstance(of, CacheInfo):
        raise InvalidOptionError(f"cost() takes a Workload or what cache_info() returns, not {type(of).__name__}")
    bill = _Bill(known, 1.0 if over is None else MONTH / parse_duration(over, "over"))
    counted = bill.share("counted", of.requests, of.read_units, of.write_units)
    if size is None:
        return counted
    alike = Workload(entries=1, size=size, calls=0, sliding="1h")
    pace = _Pace(hits=of.hits, reads=of.hits, moves=of.hits, expired=of.misses, new=0)
    return counted._replace(dotnet=_dotnet(alike, pace, bill, stored=0))


class _Bill(NamedTuple):
    """Makes costs of what happens so many times."""

    prices: Prices
    times: float

    def share(self, what: str, requests: float, read: float = 0.0, write: float = 0.0, stored: float = 0.0) -> Cost:
        requests, read, write = requests * self.times, read * self.times, write * self.times
        dollars = (read * self.prices.read + write * self.prices.write) / 1e6
        return Cost(what, requests, read, write, stored, dollars + stored / _GIGABYTE * self.prices.storage)


def _sum(what: str, shares: Sequence[Cost], dotnet: Cost | None = None) -> Cost:
    requests, read, write, stored, dollars = (
        math.fsum(column) for column in zip(*(s[1:6] for s in shares), strict=True)
    )
    there = tuple(share for share in shares if share.requests >= 0.5 or share.stored_bytes)
    return Cost(what, requests, read, write, stored, dollars, there, dotnet)


class _Pace(NamedTuple):
    """How often things happen, in the whole fleet."""

    hits: float
    reads: float
    """Hits that ask the table."""
    moves: float
    """Hits that move the date of the row."""
    expired: float
    """Misses that find a row whose time has run out: DynamoDB deletes it within days."""
    new: float
    """Misses that find no row."""


def _month(workload: Workload, bill: _Bill) -> Cost:
    """All that a decorated function asks of DynamoDB in a month."""
    row, *parts = _billed(workload, _ENVELOPE)
    pace = _pace(workload, in_parts=bool(parts))
    read, write, small = _units(workload, row)
    beats = parse_wait(workload.seconds, "seconds") // (LEASE_SECONDS / BEATS_PER_LEASE)
    looks = _generation_looks(workload, pace)
    stored = workload.entries * (row + sum(parts) + _INDEX_BYTES * (1 + len(parts)))
    # The lease takes the place of an expired row, for which DynamoDB bills the larger of the two. Before that the miss
    # has looked for somebody who computes beside the row.
    anew, unit = pace.expired * (2 * write + beats), pace.expired * (read + small)
    shares = [
        bill.share("hits", pace.reads, pace.reads * read),
        bill.share("dates moved", pace.moves, 0, pace.moves * write),
        bill.share("expired, computed anew", pace.expired * (4 + beats), unit, anew),
        bill.share("new, computed", pace.new * (3 + beats), pace.new * small, pace.new * (1 + write + beats)),
        _parts(workload, pace, parts, bill),
        bill.share("generations", looks, 2 * looks * small),
        bill.share("storage", 0, stored=stored),
    ]
    dotnet = _dotnet(workload, _pace(replace(workload, refresh_after=0.0, near=None)), bill)
    return _sum("dynmemo", shares, dotnet)


def _parts(workload: Workload, pace: _Pace, parts: Sequence[int], bill: _Bill) -> Cost:
    """Writing the parts of values, and reading them: once in every other process that asks before they are replaced."""
    misses = pace.expired + pace.new
    asked = (pace.hits + pace.expired) / misses / workload.processes if misses else 0.0
    fetches = misses * (workload.processes - 1) * -math.expm1(-asked)
    read = 0.5 * sum(-(-part // _READ_UNIT) for part in parts)  # never strongly consistent: parts do not change
    write = sum(-(-part // _WRITE_UNIT) for part in parts)
    return bill.share("parts of values", (fetches + misses) * -(-len(parts) // GROUP), fetches * read, misses * write)


def _dotnet(workload: Workload, pace: _Pace, bill: _Bill, stored: int | None = None) -> Cost | None:
    """The same by the algorithm of the .NET provider."""
    row, *parts = _billed(workload, 0)
    if parts:
        return None
    row -= _ETAG
    read, write, small = _units(workload, row)
    moves = 0.0 if workload.sliding is None else pace.hits
    shares = [
        bill.share("hits", pace.hits, pace.hits * read),
        bill.share("dates moved", moves, 0, moves * write),
        bill.share("expired, computed anew", 2 * pace.expired, pace.expired * read, pace.expired * write),
        bill.share("new, computed", 2 * pace.new, pace.new * small, pace.new * write),
        bill.share("storage", 0, stored=workload.entries * (row + _INDEX_BYTES) if stored is None else stored),
    ]
    return _sum("the .NET algorithm", shares)


def _pace(workload: Workload, *, in_parts: bool = False) -> _Pace:
    """How often the calls of a second are hits, and of which kind."""
    each = (workload.calls - workload.new) / workload.entries
    if not each:
        return _Pace(0.0, 0.0, 0.0, 0.0, workload.new)
    ttl, window = _seconds(workload.ttl, math.inf), _seconds(workload.sliding, math.inf)
    if in_parts and window < math.inf == ttl:
        ttl = max(LEAST_SLIDING_SECONDS, SLIDING_WINDOWS * window)
    near = 0.0 if in_parts or workload.size > LARGEST else _seconds(workload.near, 0.0)
    if window < math.inf:
        near = min(near, workload.refresh_after * window)
    alone = workload.processes / each  # seconds between two calls of one process
    wait = _until_read(workload.processes, alone, near)
    still = workload.refresh_after * window
    if window >= ttl:  # the date is that of the deadline from the beginning
        misses, moves = each / (1 + each * ttl), 0.0
    else:
        life = _hits_of_a_life(each, still, window, ttl)
        misses, moves = each / (1 + life), 1 / (still + wait)
        if ttl == math.inf:
            moves = max(0.0, moves - misses)
        else:
            # Once the date is that of the deadline it stays; before that the moves are those of a renewal process.
            moves = misses * (life / each * (1 - window / ttl) * moves + 0.5 + 0.5 * (wait * moves) ** 2)
    hits = each - misses
    rates = (hits, hits * alone / (near + alone), moves, misses)
    hits, reads, moves, misses = (workload.entries * rate for rate in rates)
    return _Pace(hits, reads, moves, misses, workload.new)


def _until_read(number: int, alone: float, near: float) -> float:
    """Seconds until one of so many processes reads an entry. Each does so `near` and `alone` after its last time."""
    gap = near + alone
    return gap / (number + 1) * (1 - (alone / gap) ** (number + 1)) + alone / number * (alone / gap) ** number


def _hits_of_a_life(each: float, still: float, window: float, ttl: float) -> float:
    """Hits of an entry with a sliding window for each time that it is computed."""
    # The part of calls after which it is left alone until its date, which was moved up to `still` before the call.
    idle = math.exp(-each * (window - still)) / (1 + each * still)
    if idle < 1e-12:
        return each * ttl
    used = 1 - idle
    return used / idle * -math.expm1(-each * idle * ttl / used) if used else 0.0


def _generation_looks(workload: Workload, pace: _Pace) -> float:
    """How often processes look for the generation: with the first call, or result, some seconds after the last time."""
    late = pace.expired + pace.new if parse_wait(workload.seconds, "seconds") > RECHECK_SECONDS else 0.0
    each = (workload.calls + late) / workload.processes
    return workload.processes / (RECHECK_SECONDS * (1 + EARLIEST_PART) / 2 + 1 / each) if each else 0.0


def _billed(workload: Workload, envelope: int) -> list[int]:
    """The bytes that count of a row and, if its value is too large for it, of every part."""
    store = DynamoDBStore("table", partition_key_name="id", ttl_attribute_name="ttl_date")
    row = Lifetime.parse(workload.ttl, workload.sliding, _NOW).row(_NOW) or Item()
    row = row._replace(value=bytes(workload.size + envelope))
    name = key_name(workload.name)
    if envelope:
        row = row._replace(fn=name, gen=_GENERATION)
    return store.billed(f"{name}:{_CODE}:{_ARGUMENTS}", row)


def _seconds(given: Duration | None, absent: float) -> float:
    return absent if given is None else parse_duration(given, "a time")


def _units(workload: Workload, row: int) -> tuple[float, int, float]:
    """Of reading a row and of writing it, and of reading a small one."""
    small = 1.0 if workload.consistent else 0.5
    return small * -(-row // _READ_UNIT), -(-row // _WRITE_UNIT), small


for _public in (Cost, Prices, Workload, cost):
    _public.__module__ = "dynmemo"  # as for all public names; see there
