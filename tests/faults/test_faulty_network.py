"""Half of all requests fail in one way or another, under load: values stay right, calls bounded, and it heals."""

from __future__ import annotations

import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from botocore.config import Config

from dynmemo import Cache, dynamo_cached
from dynmemo.breaker import Breaker
from tests.proxy import Drip, Proxy, Refuse, Reset, Stall, error

if TYPE_CHECKING:
    from dynmemo import CachedFunction
    from tests.proxy import Fault, Request

LOAD_SECONDS = float(os.environ.get("DYNMEMO_TEST_LOAD_SECONDS", "2"))
"""For each fault; give more for a longer look."""
THREADS = 4
KEYS = 12
READ_TIMEOUT = 0.2
ATTEMPTS = 2
STORE_CALLS = 7
"""Of a miss that leads: look, two generations read and two created, claim, write."""
BOUND = STORE_CALLS * ATTEMPTS * (1.0 + 3 * READ_TIMEOUT) + 10
"""Seconds: each attempt connects, waits, and reads; pauses between attempts and a busy machine come on top."""

FAULTS = {
    "refuse": Refuse(),
    "stall": Stall(),
    "reset": Reset(),
    "drip": Drip(0.02),
    "500": error("InternalServerError", status=500),
    "throttling": error("ProvisionedThroughputExceededException", "slow down"),
}


class HalfBroken(Proxy):
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


def square_of(cache: Cache) -> CachedFunction[[int], int]:
    @dynamo_cached(cache=cache, ttl="1h")
    def square(x: int) -> int:
        time.sleep(0.005)
        return x * x

    return square


def load(square: CachedFunction[[int], int], until: threading.Event) -> list[float]:
    """Call until the event; check every value, and give the seconds of every call."""
    seconds = []
    while not until.is_set():
        x = random.randrange(KEYS)
        began = time.monotonic()
        if random.random() < 0.2:
            assert square.recompute(x) == x * x
        else:
            assert square(x) == x * x
        seconds.append(time.monotonic() - began)
    return seconds


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_every_call_is_right_and_bounded_and_afterwards_all_hit(
    fault: Fault, dynamodb_endpoint: str, dynamodb_table: str
) -> None:
    config = Config(read_timeout=READ_TIMEOUT, retries={"total_max_attempts": ATTEMPTS, "mode": "standard"})
    names = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
    with HalfBroken(dynamodb_endpoint) as proxy:
        cache = Cache.dynamodb(dynamodb_table, endpoint_url=proxy.endpoint, config=config, lease_seconds=1, **names)  # type: ignore[arg-type]
        square = square_of(cache)
        proxy.fault = fault
        ended = threading.Event()
        with ThreadPoolExecutor(THREADS) as pool:
            loads = [pool.submit(load, square, ended) for _ in range(THREADS)]
            ended.wait(LOAD_SECONDS)
            ended.set()
            seconds = [each for one in loads for each in one.result()]
        assert max(seconds) < BOUND
        assert proxy.broken > 0
        proxy.fault = None
        cache.breaker = Breaker()  # instead of waiting for the cool-down
        assert_all_hit(square)
        cache.close()


def assert_all_hit(square: CachedFunction[[int], int]) -> None:
    for x in range(KEYS):
        assert square(x) == x * x
    hits = square.cache_info().hits
    for x in range(KEYS):
        assert square(x) == x * x
    assert square.cache_info().hits == hits + KEYS
