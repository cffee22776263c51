"""What thousands of workers on one key ask of DynamoDB: a simulation of the real protocol by a virtual clock.

python benchmarks/scale.py [--workers 10 100 1000 10000] [--only wait death hits sweep] [--json]

Every worker is a process of its own as far as the library knows: it has its cache, counters, generations and clock, and
its calls are the stories of `dynmemo.calls`, with their claims, renewals, looks and retries. Only time and the table
are models. The table answers within 5 ms; each of its rows has 3,000 read and 1,000 write units a second, and what is
beyond is throttled, tried again by the SDK up to twice after pauses of up to 1 s and 2 s, and then an error. Eventually
consistent reads may be 0.1 s behind. What a worker does between two of its steps is done in one go.

All workers call within the first 10 s. They wait for a result that takes ten minutes ("wait"), or whose leader dies
after five of them, just after a renewal, and who takes over needs half a minute ("death"); they hit one key every two
seconds for 40 s, and read it every 30 s instead, as near entries do ("hits"); they map the same 1,000 items of 10 s
("sweep", up to 1,000 workers). All of it takes a quarter of an hour of one processor, most of it for 10,000 workers and
for 1,000 that sweep.
"""

from __future__ import annotations

import argparse
import copy
import heapq
import itertools
import json
import logging
import random
import statistics
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from contextvars import Context
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dynmemo import Cache, StoreUnavailableError, dynamo_cached, entries, generations
from dynmemo.calls import miss, sweep
from dynmemo.calls.memo import Computation
from dynmemo.calls.progress import Tally
from dynmemo.counters import Stats
from dynmemo.failures import Breaker, Trouble
from dynmemo.item import Expect, Refused, Store, Written
from dynmemo.leases.lease import Schedule
from dynmemo.leases.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dynmemo.item import Item

LATENCY = 0.005
READ_LIMIT, WRITE_LIMIT = 3_000, 1_000
BEHIND = 0.1
SDK_PAUSES = (1.0, 2.0)
MILLION_READS, MILLION_WRITES = 0.125, 0.625
"""Dollars, us-east-1, on demand, since November 2024."""

START = 1_700_000_000.0
ARRIVAL = 10.0
EARLY = 120.0
"""Until then throttled requests are counted apart."""

WAIT, DEATH, AFTER_DEATH, ITS_LAST = 600.0, 300.0, 30.0, 0.1
HIT_PERIOD, HIT_SECONDS, NEAR_PERIOD = 2.0, 40.0, 30.0
ITEMS, ITEM_SECONDS, MOST_SWEEPING = 1_000, 10.0, 1_000


class Simulation:
    """Events in the order of a virtual clock."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), do))

    def run(self) -> None:
        while self._events:
            self.now, _, do = heapq.heappop(self._events)
            do()

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return START + self.now

    def sleep(self, seconds: float) -> None:
        """Within a step, which sees the table as it was when the step began."""
        self.now += seconds

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Let the library's modules ask this clock and these random numbers."""
        ours: list[tuple[Any, str, Any]] = [
            (time, "time", self.wall),
            (time, "monotonic", self.clock),
            (time, "sleep", self.sleep),
            (miss, "Watch", self._watch),
            (sweep, "Watch", self._watch),
            (entries, "chance", self.chance),
            (sweep, "chance", self.chance),
        ]
        theirs = [(module, name, getattr(module, name, None)) for module, name, _ in ours]
        try:
            for module, name, thing in ours:
                setattr(module, name, thing)
            yield
        finally:
            for module, name, thing in theirs:
                setattr(module, name, thing)

    def _watch(self) -> Watch:
        watch = Watch(clock=self.clock, gone=lambda _: False, uniform=self.chance.uniform)
        watch._seen = Worker.running.seen
        return watch


class Table:
    """The rows that all workers share, their limits, and what was asked of them."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.rows: dict[str, list[tuple[float, Item | None]]] = defaultdict(list)
        """The last two states of each, and since when."""
        self.count: Counter[str] = Counter()
        self._used: Counter[tuple[str, str, int]] = Counter()
        self._etags = itertools.count()

    def take(self, kind: str, key: str, units: float) -> bool:
        """Whether the row has so many units left in this second."""
        now = self.simulation.now
        place = (kind, key, int(now))
        if self._used[place] + units > (READ_LIMIT if kind == "read" else WRITE_LIMIT):
            self.count["throttled early" if now < EARLY else "throttled late"] += 1
            return False
        self._used[place] += units
        self.count[f"{kind} units"] += units  # type: ignore[assignment]  # halves, too
        return True

    def state(self, key: str, *, consistent: bool = True) -> Item | None:
        states = self.rows[key]
        behind = 0.0 if consistent else self.simulation.chance.uniform(0, BEHIND)
        return next((item for since, item in reversed(states) if since <= self.simulation.now - behind), None)

    def put(self, key: str, item: Item | None) -> None:
        self.rows[key] = [*self.rows[key][-1:], (self.simulation.now, item)]

    def new_etag(self) -> str:
        return f"e{next(self._etags)}"


class TableStore(Store):
    """The table as one worker asks it."""

    location = "a simulated table"

    def __init__(self, table: Table, worker: Worker) -> None:
        self._table = table
        self._worker = worker
        self._is_consistent = True

    def metered(self, meter: object) -> TableStore:
        return self

    def eventual(self) -> TableStore:
        twin = copy.copy(self)
        twin._is_consistent = False
        return twin

    def partition_key(self, key: str) -> str:
        return f"dc:{key}"

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        consistent = consistent or self._is_consistent
        self._request("read", {key: 1.0 if consistent else 0.5})
        return self._table.state(key, consistent=consistent)

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        for start in range(0, len(keys), 100):
            self._request("read", dict.fromkeys(keys[start : start + 100], 1.0))
        found = {key: self._table.state(key) for key in keys}
        return {key: row for key, row in found.items() if row is not None}

    def write(self, key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        self._request("write", {key: 1.0})
        standing = self._table.state(key)
        if expect is not None and not _is_as(standing, expect):
            return Refused(standing)
        written = item._replace(etag=self._table.new_etag())
        self._table.put(key, written)
        return Written(written.etag or "")

    def renew(self, key: str, etag: str, ttl_date: int, lease_waits: str | None = None) -> bool:
        self._worker.renewals.append(self._table.simulation.now)
        self._request("write", {key: 1.0})
        standing = self._table.state(key)
        if standing is None or standing.etag != etag:
            return False
        beat = (standing.lease_beat or 0) + 1
        self._table.put(key, standing._replace(lease_beat=beat, ttl_date=ttl_date, lease_waits=lease_waits))
        return True

    def remove(self, key: str, expect: Expect | None = None) -> Item | None:
        self._request("write", {key: 1.0})
        standing = self._table.state(key)
        if expect is not None and not _is_as(standing, expect):
            return None
        self._table.put(key, None)
        return standing

    def _request(self, kind: str, units: dict[str, float]) -> None:
        """One request with the retries of SDK and store; of a batch those rows are asked again that were throttled."""
        table, simulation = self._table, self._table.simulation
        for pause in (*SDK_PAUSES, None):
            table.count["requests"] += 1
            self._worker.reads += kind == "read"
            simulation.now += LATENCY
            units = {key: each for key, each in units.items() if not table.take(kind, key, each)}
            if not units:
                return
            if pause is not None:
                simulation.now += simulation.chance.random() * pause
        error = StoreUnavailableError("throttled", code="ProvisionedThroughputExceededException")
        error.is_throttled = True
        raise error


def _is_as(standing: Item | None, expect: Expect) -> bool:
    seen = Expect.seen(standing)
    return seen.etag == expect.etag and expect.beat in (None, seen.beat)


@dynamo_cached(name="scale", version=1, ttl="1h")
async def work(item: int) -> int:
    return item


class Worker:
    """One process that calls `work`."""

    running: Worker
    """The one whose code runs."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.simulation = simulation = fleet.simulation
        self.context = Context()
        self.seen: dict[object, float] = {}
        self.reads = 0
        self.renewals: list[float] = []
        self.is_dead = False
        cache = Cache(TableStore(fleet.table, self), clock=simulation.wall)
        cache.breaker, cache.write_breaker = Breaker(simulation.clock), Breaker(simulation.clock)
        cache.generations = generations.Generations(simulation.clock, simulation.chance.uniform)
        self.memo = copy.copy(work._self_memo)
        self.memo.cache, self.memo.stats = cache, Stats()
        self.memo._trouble = Trouble("scale", self.memo.stats, raises=False)
        self.memo._entries = None
        leases = self.memo.entries().leases
        leases.keeper, leases.monotonic = Keeper(self), simulation.clock

    def run(self, do: Callable[..., Any], *args: Any) -> Any:
        """Do something in this process."""
        Worker.running = self
        return self.context.run(do, *args)

    def call(self, item: int, then: Callable[[], None]) -> None:
        """Begin a call."""
        hit, story = self.run(self.memo._look_up, self.memo.entries(), self.memo.key((item,), {}), "", (item,), {})
        self._go_on(story, then) if hit is None else self.simulation.at(self.simulation.now, then)

    def map(self, then: Callable[[], None]) -> None:
        """Begin a sweep: `Sweep.run`, step by step."""

        def steps() -> Iterator[Any]:
            function = SimpleNamespace(_self_memo=self.memo, _self_with_owner=lambda args: args)
            one = sweep.Sweep(function, (((item,), {}) for item in range(ITEMS)), Tally(None), keeps=False)
            yield from one.begin()
            while one.is_going_on():
                yield from one.look_ahead()
                if one.free:
                    call = one.free.popleft()
                    one.take(call, (yield from one.attempt(call)))
                else:
                    yield from one.come_back(one.pause())

        self._go_on(steps(), then)

    def _go_on(
        self,
        story: Any,
        then: Callable[[], None],
        answer: Any = None,
        error: Exception | None = None,
        step: Callable[[], Any] | None = None,
    ) -> None:
        """Play a story, first a step that is to be done again, up to a step that takes time."""
        if self.is_dead:
            return
        before = self.simulation.now
        while self.simulation.now == before:
            try:
                if step is None:
                    step = self.run(story.send, answer) if error is None else self.run(story.throw, error)
            except StopIteration:
                then()
                return
            answer = error = None
            if isinstance(step, miss.Compute):
                self._compute(story, then)
                return
            doing, step = step, None
            if isinstance(doing, miss.Sleep):
                self.simulation.now += doing.seconds
                continue
            try:
                answer = self.run(doing)
            except entries.Throttled as throttled:
                self.simulation.now += throttled.seconds
                step = throttled.again
            except Exception as raised:  # noqa: BLE001 - for the story
                error = raised
        self.simulation.at(self.simulation.now, lambda: self._go_on(story, then, answer, error, step))

    def _compute(self, story: Any, then: Callable[[], None]) -> None:
        self.fleet.computed.append((self.simulation.now, self))
        computation = Computation(self.memo, (0,), {})
        self.run(computation.__enter__)

        def end() -> None:
            if not self.is_dead:
                self.run(computation.__exit__, None, None, None)
                self.fleet.ended = self.simulation.now
                self._go_on(story, then, computation.outcome)

        self.simulation.at(self.simulation.now + self.fleet.seconds(self), end)


class Keeper:
    """The thread of a worker that renews its leases."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._schedule = Schedule(worker.simulation.clock)

    def add(self, hold: Any) -> None:
        self._schedule.add(hold)
        self._worker.simulation.at(self._worker.simulation.now, self._act)

    def _act(self) -> None:
        simulation = self._worker.simulation
        if not self._worker.is_dead:
            pause = self._worker.run(self._schedule.act)
            if pause is not None:
                simulation.at(simulation.now + max(pause, LATENCY), self._act)


class Fleet:
    """Workers on one table."""

    def __init__(self, workers: int, seconds: float) -> None:
        self.simulation = Simulation()
        self.table = Table(self.simulation)
        self.computed: list[tuple[float, Worker]] = []
        """When and by whom a computation was begun."""
        self.ended = 0.0
        self._seconds = seconds
        self.workers = [Worker(self) for _ in range(workers)]

    def seconds(self, worker: Worker) -> float:
        """How long a computation takes."""
        return self._seconds

    def run(self, begin: Callable[[Worker], None]) -> None:
        for worker in self.workers:
            self.simulation.at(self.simulation.chance.uniform(0, ARRIVAL), lambda worker=worker: begin(worker))
        with self.simulation.in_force():
            self.simulation.run()

    def result(self, what: str, **more: Any) -> Result:
        count, reads = self.table.count, [worker.reads for worker in self.workers]
        return Result(
            what,
            workers=len(self.workers),
            computations=len(self.computed),
            requests=count["requests"],
            reads_mean=statistics.mean(reads),
            reads_max=max(reads),
            read_units=count["read units"],
            write_units=count["write units"],
            throttled_early=count["throttled early"],
            throttled_late=count["throttled late"],
            dollars=(count["read units"] * MILLION_READS + count["write units"] * MILLION_WRITES) / 1e6,
            **more,
        )


@dataclass
class Result:
    """What one simulation came to."""

    what: str
    workers: int
    computations: int
    requests: int
    reads_mean: float
    reads_max: int
    read_units: float
    write_units: float
    throttled_early: int
    throttled_late: int
    dollars: float
    picked_up_median: float | None = None
    picked_up_max: float | None = None
    between_renewals_max: float | None = None
    taken_over_after: float | None = None
    seconds: float | None = None


def wait(workers: int) -> Result:
    """All wait for one result."""
    fleet, done = Fleet(workers, WAIT), list[float]()
    fleet.run(lambda worker: worker.call(0, lambda: done.append(fleet.simulation.now)))
    late = sorted(at - fleet.ended for at in done if at > fleet.ended) or [0.0]
    leader = fleet.computed[0]
    beats = [leader[0], *leader[1].renewals, fleet.ended]
    return fleet.result(
        "wait 10 min",
        picked_up_median=statistics.median(late),
        picked_up_max=late[-1],
        between_renewals_max=max(after - before for before, after in itertools.pairwise(beats)),
    )


def death(workers: int) -> Result:
    """The leader dies."""
    fleet, done = Fleet(workers, WAIT), list[float]()
    fleet.seconds = lambda worker: WAIT if worker is fleet.computed[0][1] else AFTER_DEATH

    died: list[float] = []

    def die() -> None:
        leader = fleet.computed[0][1]
        if fleet.simulation.now < leader.renewals[-1] + ITS_LAST:  # at the worst moment: just after a renewal
            leader.is_dead = True
            died.append(fleet.simulation.now)
        else:
            fleet.simulation.at(fleet.simulation.now + ITS_LAST, die)

    fleet.simulation.at(DEATH, die)
    fleet.run(lambda worker: worker.call(0, lambda: done.append(fleet.simulation.now)))
    late = sorted(at - fleet.ended for at in done)
    taken_over = min(at for at, worker in fleet.computed if not worker.is_dead) - died[0]
    return fleet.result(
        "leader dies",
        picked_up_median=statistics.median(late),
        picked_up_max=late[-1],
        taken_over_after=taken_over,
    )


def hits(workers: int, period: float, what: str) -> Result:
    """All hit one key again and again."""
    fleet = Fleet(workers, 0.0)

    def call(worker: Worker, began: float) -> None:
        def again() -> None:
            if fleet.simulation.now < ARRIVAL + HIT_SECONDS:
                at = max(fleet.simulation.now, began + period)
                fleet.simulation.at(at, lambda: call(worker, at))

        worker.call(0, again)

    fleet.run(lambda worker: call(worker, fleet.simulation.now))
    return fleet.result(what, seconds=fleet.simulation.now)


def shared_sweep(workers: int) -> Result:
    """All map the same items."""
    fleet = Fleet(workers, ITEM_SECONDS)
    fleet.run(lambda worker: worker.map(lambda: None))
    return fleet.result(f"map {ITEMS:,} items", seconds=fleet.simulation.now)


SIMULATIONS: dict[str, Callable[[int], list[Result]]] = {
    "wait": lambda n: [wait(n)],
    "death": lambda n: [death(n)],
    "hits": lambda n: [hits(n, HIT_PERIOD, "hits"), hits(n, NEAR_PERIOD, "hits, near 30 s")],
    "sweep": lambda n: [shared_sweep(n)] if n <= MOST_SWEEPING else [],
}

COLUMNS = {
    "workers": "{:,}",
    "computations": "{:,}",
    "requests": "{:,}",
    "reads_mean": "{:,.0f}",
    "reads_max": "{:,}",
    "read_units": "{:,.0f}",
    "write_units": "{:,.0f}",
    "throttled_early": "{:,}",
    "throttled_late": "{:,}",
    "picked_up_median": "{:.1f} s",
    "picked_up_max": "{:.1f} s",
    "between_renewals_max": "{:.1f} s",
    "taken_over_after": "{:.1f} s",
    "seconds": "{:,.0f} s",
    "dollars": "{:.3f} $",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[10, 100, 1_000, 10_000])
    parser.add_argument("--only", nargs="+", choices=SIMULATIONS, default=list(SIMULATIONS))
    parser.add_argument("--json", action="store_true", help="one object a line")
    given = parser.parse_args()
    logging.getLogger("dynmemo").setLevel(logging.CRITICAL)
    for name in given.only:
        for workers in given.workers:
            for result in SIMULATIONS[name](workers):
                told = {key: value for key, value in asdict(result).items() if value is not None}
                if given.json:
                    print(json.dumps(told), flush=True)
                else:
                    about = [
                        f"{key.replace('_', ' ')} {form.format(told[key])}"
                        for key, form in COLUMNS.items()
                        if key in told
                    ]
                    print(f"{told['what']}: {', '.join(about)}", flush=True)


if __name__ == "__main__":
    main()
