"""What `cost` says a workload takes, beside what DynamoDB Local bills for it."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

import dynmemo
from dynmemo import Cache, InvalidOptionError, Prices, Workload, dynamo_cached
from dynmemo.costs import MONTH
from dynmemo.counters import CacheInfo, Meter
from dynmemo.expiry import Lifetime, is_expired, refreshed_date
from dynmemo.item import Item, Parts
from dynmemo.leases.lease import Schedule
from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo import CachedFunction


def seconds(given: object) -> float:
    """A time of a workload of these tests."""
    assert given is None or isinstance(given, int | float)
    return given or 0.0


# --- workloads, played on DynamoDB Local ---

compute: Callable[[int], bytes] | None = None
"""What each test has instead."""


def result(number: int) -> bytes:
    assert compute is not None
    return compute(number)


class Fleet:
    """Processes that call one function at random times by a clock of their own, as evenly as chance is on the whole."""

    def __init__(self, table: str, endpoint: str, workload: Workload, seed: int) -> None:
        self.workload = workload
        self.clock = Clock.present(1_000_000.0)
        self.schedule = Schedule(self.clock)
        self.random = random.Random(seed)
        self.each = (workload.calls - workload.new) / workload.entries
        self.unused = itertools.count(workload.entries)
        self.functions = [self.function(table, endpoint) for _ in range(workload.processes)]
        self.computing = 0.0

    def function(self, table: str, endpoint: str) -> CachedFunction[[int], bytes]:
        """The function of one process, with all its clocks."""
        work = self.workload
        patient = Config(read_timeout=60)  # on a busy machine, where a second try would count
        store = DynamoDBStore(table, endpoint_url=endpoint, use_consistent_reads=work.consistent, config=patient)
        cache = Cache(store, clock=self.clock)
        cache.generations.clock = self.clock
        cache.generations._uniform = lambda low, high: (low + high) / 2
        decorate = dynamo_cached(
            cache=cache,
            ttl=work.ttl,
            sliding=work.sliding,
            name=work.name,
            serializer="bytes",
            ignore_globals=("compute",),
        )
        function = decorate(result)
        leases = function._self_memo.entries().leases
        leases.clock = leases.monotonic = self.clock
        leases.keeper = self.schedule
        return function

    def compute(self, number: int) -> bytes:
        for _ in range(int(seconds(self.workload.seconds))):
            self.clock.now += 1.0
            self.computing += 1.0
            self.schedule.act()
        return random.Random(number).randbytes(self.workload.size + 1)  # "bytes" is a letter shorter than "pickle"

    def times(self, rate: float, seconds: float) -> list[float]:
        """Of calls with gaps of the exponential distribution, each as often as it should come."""
        number = round(rate * seconds)
        gaps = [-math.log1p(-(n + 0.5) / number) for n in range(number)]
        self.random.shuffle(gaps)
        offset = self.random.random()
        return [(offset + sum_ / math.fsum(gaps)) % 1 * seconds for sum_ in itertools.accumulate(gaps)]

    def begin(self, life: float) -> None:
        """Store the entries one after the other, so that in the end each is at another point of its `life`."""
        seconds = life + 1 / self.each
        calls = []
        for number in range(self.workload.entries):
            start = seconds * number / self.workload.entries
            calls += [(start, number), *((time, number) for time in self.times(self.each, seconds) if time > start)]
        self.play(calls, seconds)

    def go_on(self, seconds: float) -> float:
        """Call for so many seconds; the calls a second that it were, since computing takes time, too."""
        began = self.clock()
        calls = [(time, n) for n in range(self.workload.entries) for time in self.times(self.each, seconds)]
        calls += [(time, next(self.unused)) for time in self.times(self.workload.new, seconds)]
        self.play(calls, seconds)
        return len(calls) / (self.clock() - began)

    def play(self, calls: list[tuple[float, int]], seconds: float) -> None:
        began, self.computing = self.clock(), 0.0
        processes = [self.functions[n % len(self.functions)] for n in range(len(calls))]
        self.random.shuffle(processes)
        for process, (time, number) in zip(processes, sorted(calls), strict=True):
            self.clock.now = began + time + self.computing
            process(number)
        self.clock.now = began + seconds + self.computing

    def counted(self) -> list[float]:
        """Requests, read units and write units."""
        infos = [function.cache_info() for function in self.functions]
        counts = ((info.requests, info.read_units, info.write_units) for info in infos)
        return [math.fsum(each) for each in zip(*counts, strict=True)]


WORKLOADS = {
    "small values that never expire, three processes": (
        150,
        Workload(entries=20, size=900, calls=5, processes=3, name="f"),
    ),
    "a sliding window": (300, Workload(entries=4, size=10_000, calls=0.005, sliding=36_000)),
    "a ttl, eventually consistent reads, two processes": (
        200,
        Workload(entries=10, size=3_000, calls=0.01, ttl=9_000, consistent=False, processes=2),
    ),
    "both, half a minute of computing, two processes": (
        240,
        Workload(entries=4, size=5_000, calls=0.01, ttl=36_000, sliding=9_000, seconds=35, processes=2),
    ),
    "values in parts": (200, Workload(entries=10, size=500_000, calls=0.01, ttl=9_000)),
    "new arguments, a long name": (
        200,
        Workload(entries=10, size=2_000, calls=0.05, new=0.015, sliding=12_000, name="weather.forecast." + "x" * 150),
    ),
}


@pytest.mark.parametrize(("calls", "workload"), WORKLOADS.values(), ids=WORKLOADS)
def test_a_workload_takes_the_requests_and_units_that_cost_says(
    calls: int,
    workload: Workload,
    dynamodb_table: str,
    dynamodb_endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Of twenty events a single one is 5 %: the seed is one of many with which chance does not move that much.
    fleet = Fleet(dynamodb_table, dynamodb_endpoint, workload, seed=2)
    monkeypatch.setattr(f"{__name__}.compute", fleet.compute)
    fleet.begin(life=seconds(workload.ttl) or 0.1 * seconds(workload.sliding))
    before, began = fleet.counted(), fleet.clock()
    pace = fleet.go_on(calls / workload.calls)
    counted = [after - start for start, after in zip(before, fleet.counted(), strict=True)]
    said = dynmemo.cost(replace(workload, calls=pace, new=workload.new and workload.new * pace / workload.calls))
    months = (fleet.clock() - began) / MONTH
    expected = [amount * months for amount in (said.requests, said.read_units, said.write_units)]
    assert counted == pytest.approx(expected, rel=0.02)


def test_the_net_algorithm_takes_the_units_that_cost_says(dynamodb_table: str, dynamodb_endpoint: str) -> None:
    meter, clock = Meter(), Clock.present(1_000_000.0)
    cache = Cache(DynamoDBStore(dynamodb_table, endpoint_url=dynamodb_endpoint).metered(meter), clock=clock)
    cache.set("k", bytes(9_000), sliding="1h")
    meter.reset()
    for _ in range(50):
        clock.now += 100
        cache.get("k")
    said = dynmemo.cost(Workload(entries=1, size=9_000, calls=0.01, sliding="1h")).dotnet
    assert said is not None
    months = 5_000 / MONTH
    assert meter.requests == pytest.approx(said.requests * months, rel=1e-9)
    assert meter.read_units == pytest.approx(said.read_units * months, rel=1e-9)
    assert meter.write_units == pytest.approx(said.write_units * months, rel=1e-9)


# --- what would take too many requests to be played: the formulas beside many calls of one entry ---


class Counts:
    """One entry with the dates of its row, called at random times."""

    def __init__(self, workload: Workload, calls: int) -> None:
        self.hits = self.reads = self.moves = self.expired = 0
        chance, row = random.Random(0), Item(ttl_date=0)
        lifetime = Lifetime.parse(workload.ttl, workload.sliding, 0.0)
        near_until = [0.0] * workload.processes
        near = min(seconds(workload.near), workload.refresh_after * (seconds(workload.sliding) or math.inf))
        self.now = 1e9
        for _ in range(calls):
            self.now += chance.expovariate(workload.calls)
            process = chance.randrange(workload.processes)
            if near_until[process] >= self.now:
                self.hits += 1
                continue
            near_until[process] = self.now + near
            if is_expired(row, self.now):
                self.expired += 1
                row = lifetime.row(self.now) or row
                continue
            self.hits += 1
            self.reads += 1
            date = refreshed_date(row, self.now, workload.refresh_after)
            if date is not None:
                self.moves += 1
                row = row._replace(ttl_date=date)


@pytest.mark.parametrize(
    ("workload", "what"),
    [
        (Workload(entries=1, size=1, calls=0.01, ttl=1_000), {"expired"}),
        (Workload(entries=1, size=1, calls=0.001, ttl=1_000), {"expired"}),
        (Workload(entries=1, size=1, calls=0.01, sliding=150), {"expired", "moves"}),
        (Workload(entries=1, size=1, calls=0.01, sliding=100, refresh_after=0.5), {"expired", "moves"}),
        (Workload(entries=1, size=1, calls=0.01, sliding=1_000, refresh_after=0), {"moves"}),
        (Workload(entries=1, size=1, calls=0.01, sliding=3_600), {"moves"}),
        (Workload(entries=1, size=1, calls=0.01, sliding=1_000, ttl=5_000), {"expired", "moves"}),
        (Workload(entries=1, size=1, calls=0.01, sliding=3_000, ttl=5_000), {"expired", "moves"}),
        (Workload(entries=1, size=1, calls=0.01, sliding=5_000, ttl=5_000), {"expired", "moves"}),
        (Workload(entries=1, size=1, calls=0.1, ttl=10_000, near=30, processes=3), {"reads"}),
        (Workload(entries=1, size=1, calls=0.1, sliding=3_600, near=30, processes=1), {"reads", "moves"}),
        (Workload(entries=1, size=1, calls=0.1, sliding=3_600, near=60, processes=3), {"reads", "moves"}),
        (Workload(entries=1, size=1, calls=0.1, sliding=3_600, near=9_999, processes=1), {"reads"}),
    ],
    ids=lambda value: "" if isinstance(value, Workload) else "-".join(sorted(value)),
)
def test_the_formulas_say_how_many_of_many_calls_are_what(workload: Workload, what: set[str]) -> None:
    counted = Counts(workload, 40_000)
    said = dynmemo.cost(workload)
    months = counted.now / MONTH - 1e9 / MONTH
    places = {"reads": ("hits", 1), "moves": ("dates moved", 1), "expired": ("expired, computed anew", 4)}
    for name in what:
        line, requests = places[name]
        found = sum(each.requests for each in said.shares if each.what == line)
        assert getattr(counted, name) == pytest.approx(found * months / requests, rel=0.02), name


def test_a_process_reads_an_entry_once_in_the_time_of_near() -> None:
    often = Workload(entries=100, size=1_000, calls=1e6, ttl="7d", near="30s", processes=4)
    reads = next(each for each in dynmemo.cost(often).shares if each.what == "hits").requests
    assert reads == pytest.approx(100 * 4 * MONTH / 30, rel=0.01)


def test_every_other_process_reads_the_parts_of_a_value_once() -> None:
    def reads(processes: int) -> float:
        work = Workload(entries=1, size=1_000_000, calls=1.0, ttl="1h", processes=processes)
        return next(each for each in dynmemo.cost(work).shares if each.what == "parts of values").read_units

    assert reads(1) == 0
    assert reads(4) == pytest.approx(3 * MONTH / 3_601 * 1_000_000 / 4_096 / 2, rel=0.01)


def test_the_example_of_the_docs() -> None:
    month = dynmemo.cost(Workload(entries=1_000, size=10_000, calls=10, sliding="1h"))
    assert month.dotnet is not None
    assert (round(month.dollars, 2), round(month.dotnet.dollars, 2)) == (49.28, 174.11)


# --- bytes ---

DATE = 1_764_227_011
ROWS = {
    "plain": Item(b""),
    "all dates": Item(b"", DATE, DATE + 1, "1.12:00:00", fn="größe", gen="g" * 33, stale_for=3_600),
    "numbers that end in zeros": Item(b"", 1_764_230_000, 1_700_000_000, fn="f", gen="g", stale_for=90),
    "a lease": Item(None, DATE, fn="f", gen="g", lease_owner="me/1/2/3", lease_seconds=30.0, lease_beat=0, no_store=""),
    "half seconds": Item(None, DATE, lease_seconds=30.5, lease_beat=12_345, no_store=""),
    "parts": Item(None, DATE, no_store="", parts=Parts("w" * 24, 3, 1_200_000, bytes(32))),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_the_bytes_of_a_row_are_those_that_are_billed(row: Item, dynamodb_table: str, dynamodb_endpoint: str) -> None:
    meter = Meter()
    store = DynamoDBStore(dynamodb_table, endpoint_url=dynamodb_endpoint).metered(meter)
    (empty,) = store.billed("k", row)
    fills = 2_048 - empty
    for more, units in ((0, 2), (1, 3)):
        full = row._replace(
            **{"no_store": "x" * (fills + more)} if row.value is None else {"value": bytes(fills + more)}
        )
        meter.reset()
        store.write("k", full)
        assert meter.write_units == units
        store.remove("k")


def test_the_bytes_of_parts_are_those_that_are_billed(dynamodb_table: str, dynamodb_endpoint: str) -> None:
    meter = Meter()
    store = DynamoDBStore(dynamodb_table, endpoint_url=dynamodb_endpoint, copies_max_bytes=0).metered(meter)
    item = Item(bytes(1_000_000), DATE, fn="f", gen="g")
    row, *parts = store.billed("k", item)
    store.write("k", item)
    assert meter.write_units == sum(-(-size // 1_024) for size in (row, *parts))
    meter.reset()
    assert store.read("k") is not None
    assert meter.read_units == 1 + sum(-(-size // 4_096) for size in parts) / 2


# --- counters, prices, refusals ---


def test_counters_have_cost_what_their_units_cost() -> None:
    info = CacheInfo(90, 10, None, None, 10, 0, 0, 0, 0, 0, 0.0, requests=200, read_units=3e6, write_units=1e6)
    far = dynmemo.cost(info)
    assert (far.requests, far.dollars, far.dotnet) == (200, 3 * 0.125 + 0.625, None)
    assert dynmemo.cost(info, over="1h").dollars == pytest.approx(730 * far.dollars)
    beside = dynmemo.cost(info, size=10_000).dotnet
    assert beside is not None
    assert (beside.requests, beside.read_units, beside.write_units) == (90 + 90 + 2 * 10, 3 * 100, 10 * 100)


def test_prices_are_those_of_the_region_or_ones_own() -> None:
    info = CacheInfo(1, 0, None, None, 0, 0, 0, 0, 0, 0, 0.0, requests=1, read_units=1e6, write_units=1e6)
    assert dynmemo.cost(info, prices="us-west-2").dollars == 0.75
    assert dynmemo.cost(info, prices=Prices("mars", write=5, read=3, storage=0)).dollars == 8


def test_no_net_provider_stores_more_than_an_item_holds() -> None:
    assert dynmemo.cost(Workload(entries=1, size=500_000, calls=1)).dotnet is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"entries": 0}, "entries=0 is not allowed; give a whole number from 1"),
        ({"entries": 1.5}, "entries=1.5 is not allowed; give a whole number from 1"),
        ({"size": -1}, "size=-1 is not allowed; give a whole number from 0"),
        ({"size": 64_000_001}, "beyond the 64,000,000 bytes"),
        ({"calls": -1.0}, "calls=-1.0 is not allowed; give a number from 0"),
        ({"calls": math.inf}, "calls=inf is not allowed"),
        ({"calls": math.nan}, "calls=nan is not allowed"),
        ({"new": 11}, "new=11 is more than all calls=10"),
        ({"processes": 0}, "processes=0 is not allowed; give a whole number from 1"),
        ({"ttl": "soon"}, "ttl='soon' is not a time; give seconds"),
        ({"ttl": -5}, "ttl=-5 is below one second"),
        ({"sliding": "0s"}, "sliding='0s' is below one second"),
        ({"near": "0.5s"}, "near='0.5s' is below one second"),
        ({"seconds": -1}, "seconds=-1 is no time to wait"),
        ({"refresh_after": 2}, "refresh_after=2 is no part of the window"),
        ({"refresh_after": None}, "refresh_after=None is not allowed"),
        ({"consistent": "no"}, "consistent= takes True or False"),
        ({"name": 5}, "name=5 is no text"),
        ({"name": "x", "calls": True}, "calls=True is not allowed"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_nonsense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        Workload(**{"entries": 1, "size": 1, "calls": 10, **given})
    assert message in str(caught.value)


@pytest.mark.parametrize("calls", [0, 1e-9, 1e9])
@pytest.mark.parametrize(("ttl", "sliding"), [(None, None), (1, None), (None, 1), ("7d", "300d"), ("7d", "3h")])
@pytest.mark.parametrize("refresh_after", [0, 1])
def test_the_edges_of_what_is_allowed_cost_something_finite(
    calls: float, ttl: float | str | None, sliding: float | str | None, refresh_after: float
) -> None:
    work = Workload(entries=3, size=0, calls=calls, near="1h", refresh_after=refresh_after, ttl=ttl, sliding=sliding)
    month = dynmemo.cost(work)
    assert all(math.isfinite(number) and number >= 0 for number in month[1:6])
    assert month.dotnet is not None
    assert month.dotnet.requests <= 2 * calls * MONTH * (1 + 1e-9)


def test_a_region_without_known_prices_says_how_to_give_them() -> None:
    with pytest.raises(InvalidOptionError, match=r"no prices of 'eu-west-1' .* us-east-1.*dynmemo\.Prices\("):
        dynmemo.cost(Workload(entries=1, size=1, calls=1), prices="eu-west-1")
    with pytest.raises(InvalidOptionError, match="write price=-1 is not allowed"):
        Prices("here", write=-1, read=0, storage=0)
    with pytest.raises(InvalidOptionError, match=r"cost\(\) takes a Workload or what cache_info\(\) returns, not dict"):
        dynmemo.cost({})  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="belong to counters"):
        dynmemo.cost(Workload(entries=1, size=1, calls=1), over="1h")
