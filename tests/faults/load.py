"""A mixed load on a table behind a proxy that breaks half of all requests: for `scripts/faults.py` and the tests."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynmemo import Cache, StoreUnavailableError, dynamo_cached
from dynmemo.stores.dynamodb import DynamoDBStore
from tests.proxy import Drip, Proxy, Refuse, Reset, Stall, error

if TYPE_CHECKING:
    from botocore.config import Config

    from tests.proxy import Fault, Request

FAULTS: dict[str, Fault] = {
    "refuse": Refuse(),
    "stall": Stall(),
    "reset": Reset(),
    "drip": Drip(0.002),  # an answer of some 500 bytes takes a second: what drips has no other bound
    "500": error("InternalServerError", status=500),
    "throttling": error("ProvisionedThroughputExceededException", "slow down"),
}

THREADS, TASKS, KEYS = 3, 4, 12

OPERATIONS = 8
"""Of the longest call, a recomputation: generations read, two of them created, the row, claim, renewal, value, end."""


@dataclass(frozen=True)
class Bounds:
    """What docs/explanation/failures.md states, in seconds, for these settings of botocore."""

    connect: float = 1.0
    read: float = 1.5
    attempts: int = 3

    @property
    def operation(self) -> float:
        """Connecting, sending, waiting and what drips, in each attempt, and botocore's pauses between them."""
        pauses = sum(2.0**n for n in range(self.attempts - 1))
        return self.attempts * (2 * self.connect + 2 * self.read) + pauses

    @property
    def call(self) -> float:
        """One that does all that it may itself, after it waited for another that did as much."""
        return 2 * OPERATIONS * self.operation


@dataclass(frozen=True)
class Outcome:
    """What came of one load."""

    calls: int
    wrong: int
    computed: int
    errors: int
    broken: int
    slowest_call: float
    slowest_operation: float
    heals_after: float
    """Seconds after the fault until all keys hit again."""


class _HalfBroken(Proxy):
    """Breaks every request with a chance of one half while there is a fault."""

    fault: Fault | None = None
    broken = 0
    _random = random.Random(5)

    def arrived(self, request: Request) -> Fault | None:
        super().arrived(request)
        if self.fault is None or self._random.random() < 0.5:
            return None
        self.broken += 1
        return self.fault


class _Timed(DynamoDBStore):
    """Knows how long each operation took."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seconds: list[float] = []  # one list for all copies

    def _call(self, method: str, key: str | None, *, bulk: bool = False, **parameters: Any) -> dict[str, Any]:
        began = time.monotonic()
        try:
            return super()._call(method, key, bulk=bulk, **parameters)
        finally:
            self.seconds.append(time.monotonic() - began)


class _Load:
    """Calls of all kinds."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.wrong = 0
        self.seconds: list[float] = []
        self.plain = dynamo_cached(cache=cache, name="plain", version=1, ttl="1h")(_square)
        self.task = dynamo_cached(cache=cache, name="task", version=1, ttl="1h")(_square_async)

    def until(self, ended: threading.Event) -> None:
        """Plain calls."""
        while not ended.is_set():
            x, chance = random.randrange(KEYS), random.random()
            began = time.monotonic()
            if chance < 0.05:
                try:
                    self.plain.invalidate(x)
                except StoreUnavailableError:  # it is told so
                    continue
            else:
                self.wrong += (self.plain.recompute(x) if chance < 0.25 else self.plain(x)) != x * x
            self.seconds.append(time.monotonic() - began)

    def until_in_tasks(self, ended: threading.Event) -> None:
        """Calls of an async function, several at once."""

        async def ask() -> None:
            while not ended.is_set():
                x, began = random.randrange(KEYS), time.monotonic()
                answer = await (self.task.recompute(x) if random.random() < 0.2 else self.task(x))
                self.wrong += answer != x * x
                self.seconds.append(time.monotonic() - began)

        async def ask_all() -> None:
            await asyncio.gather(*(ask() for _ in range(TASKS)))

        asyncio.run(ask_all())

    def all_hit(self) -> bool:
        before = self.plain.cache_info().hits
        self.wrong += sum(self.plain(x) != x * x for x in range(KEYS))
        return self.plain.cache_info().hits == before + KEYS


def _square(x: int) -> int:
    time.sleep(0.005)
    return x * x


async def _square_async(x: int) -> int:
    await asyncio.sleep(0.005)
    return x * x


def run(fault: Fault, seconds: float, *, endpoint: str, table: str, config: Config | None = None) -> Outcome:
    """Load for so long while every second request meets the fault, then see how long it takes until all hit again."""
    with _HalfBroken(endpoint) as proxy:
        names = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
        store = _Timed(table, endpoint_url=proxy.endpoint, region="eu-west-1", config=config, **names)
        cache = Cache(store, lease_seconds=1)
        load, ended = _Load(cache), threading.Event()
        proxy.fault = fault
        with ThreadPoolExecutor(THREADS + 1) as pool:
            running = [pool.submit(load.until, ended) for _ in range(THREADS)]
            running.append(pool.submit(load.until_in_tasks, ended))
            ended.wait(seconds)
            ended.set()
            for one in running:
                one.result()
        proxy.fault = None
        healed = time.monotonic()
        while not load.all_hit() and time.monotonic() - healed < 120:
            time.sleep(0.05)
        infos = load.plain.cache_info(), load.task.cache_info()
        outcome = Outcome(
            calls=len(load.seconds),
            wrong=load.wrong,
            computed=sum(info.computed for info in infos),
            errors=sum(info.errors for info in infos),
            broken=proxy.broken,
            slowest_call=max(load.seconds),
            slowest_operation=max(store.seconds),
            heals_after=time.monotonic() - healed,
        )
        cache.close()
    return outcome
