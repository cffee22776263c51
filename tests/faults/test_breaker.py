"""When a circuit opens, when it lets a probe through, and when it closes."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

import pytest

from dynmemo import Cache, StoreUnavailableError, dynamo_cached
from dynmemo.breaker import FAILURES, LONGEST_COOL_DOWN, PROBE_SECONDS, Breaker
from dynmemo.memo.trouble import Trouble
from dynmemo.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def opened(breaker: Breaker) -> Breaker:
    for _ in range(FAILURES):
        breaker.failed("down")
    assert breaker.is_open
    return breaker


def test_it_opens_after_so_many_failures_in_a_row_and_says_so_once(breaker: Breaker) -> None:
    assert [breaker.failed("down") for _ in range(FAILURES + 2)] == [*[False] * (FAILURES - 1), True, False, False]
    assert breaker.is_open


def test_a_success_in_between_begins_the_count_anew(breaker: Breaker) -> None:
    for _ in range(FAILURES - 1):
        breaker.failed("down")
    assert not breaker.succeeded()
    assert not breaker.is_troubled
    for _ in range(FAILURES - 1):
        breaker.failed("down")
    assert not breaker.is_open


def test_nothing_is_tried_before_the_cool_down_is_over_and_then_one_at_a_time(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    assert not breaker.may_try()
    clock.now += 0.9
    assert not breaker.may_try()
    clock.now += 0.2
    assert [breaker.may_try() for _ in range(3)] == [True, False, False]


def test_a_success_of_the_probe_closes_it_and_says_so_once(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 1
    assert breaker.may_try()
    assert breaker.succeeded()
    assert not breaker.succeeded()
    assert not breaker.is_open
    assert breaker.may_try()


def test_the_cool_down_doubles_up_to_its_longest_and_starts_short_again(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    waited = []
    for _ in range(8):
        waited.append(breaker.seconds_left())
        clock.now += waited[-1]
        assert breaker.may_try()
        assert not breaker.failed("down")
    assert waited == [1, 2, 4, 8, 16, 32, LONGEST_COOL_DOWN, LONGEST_COOL_DOWN]
    breaker.succeeded()
    assert opened(breaker).seconds_left() == 1


def test_failures_that_come_late_do_not_prolong_the_cool_down(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 0.5
    breaker.failed("late")
    assert breaker.seconds_left() == 0.5


def test_an_interrupted_probe_and_one_that_was_lost_make_way_for_another(breaker: Breaker, clock: Clock) -> None:
    opened(breaker)
    clock.now += 1
    assert breaker.may_try()
    breaker.let_go()
    assert breaker.may_try()
    clock.now += PROBE_SECONDS - 1
    assert not breaker.may_try()
    clock.now += 1
    assert breaker.may_try()


class DeadEndpoint:
    """Takes connections of a port and closes them at once, and counts them."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def attempts(self) -> int:
        """Connections since the last look."""
        count = 0
        while True:
            try:
                self._listener.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def dead() -> Iterator[DeadEndpoint]:
    endpoint = DeadEndpoint()
    yield endpoint
    endpoint.close()


def dead_cache(dead: DeadEndpoint, clock: Clock) -> Cache:
    from botocore.config import Config

    config = Config(connect_timeout=0.05, read_timeout=0.05, retries={"total_max_attempts": 1, "mode": "standard"})
    names = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
    cache = Cache.dynamodb("t", endpoint_url=dead.endpoint, config=config, **names)  # type: ignore[arg-type]
    cache.breaker = Breaker(clock)
    return cache


def test_calls_leave_a_dead_endpoint_alone_and_try_it_again_by_themselves(
    dead: DeadEndpoint, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    cache = dead_cache(dead, clock)

    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        return 2 * x

    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert [double(x) for x in range(20)] == [2 * x for x in range(20)]
    assert dead.attempts() == FAILURES
    info = double.cache_info()
    assert (info.computed, info.errors, info.bypassed) == (20, FAILURES, 20 - FAILURES)
    assert sum("times in a row" in record.getMessage() for record in caplog.records) == 1
    assert len(caplog.records) == 2  # and the cause, by the function

    clock.now += 1
    assert [double(x) for x in range(20)] == [2 * x for x in range(20)]
    assert dead.attempts() == 1


def test_all_functions_of_a_cache_share_its_circuit_and_its_own_methods_do_not(
    dead: DeadEndpoint, clock: Clock
) -> None:
    cache = dead_cache(dead, clock)

    @dynamo_cached(cache=cache)
    def one(x: int) -> int:
        return x

    @dynamo_cached(cache=cache)
    def other(x: int) -> int:
        return x

    for x in range(FAILURES):
        one(x)
    dead.attempts()
    other(1)
    assert dead.attempts() == 0
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="GetItem"):
            cache.get("k")
    assert dead.attempts() == 2


def test_who_wants_errors_is_told_that_the_circuit_is_open_and_why(dead: DeadEndpoint, clock: Clock) -> None:
    @dynamo_cached(cache=dead_cache(dead, clock), on_error="raise")
    def double(x: int) -> int:
        return 2 * x

    for x in range(FAILURES):
        with pytest.raises(StoreUnavailableError, match="GetItem"):
            double(x)
    dead.attempts()
    with pytest.raises(StoreUnavailableError, match=r"was not asked.* tried again in 1 s\. The last failure: GetItem"):
        double(1)
    assert dead.attempts() == 0


def test_a_store_that_is_back_is_used_again_and_that_is_said_once(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cache.db"
    folder.mkdir()  # where the file should be
    cache = Cache.sqlite(folder)
    cache.breaker = Breaker(clock)

    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        return 2 * x

    for x in range(5):
        double(x)
    folder.rmdir()
    assert double(1) == 2
    assert double.cache_info().misses == 0
    clock.now += 1
    assert [double(1), double(1)] == [2, 2]
    assert double.cache_info().hits == 1
    assert sum("the cache answers again" in record.getMessage() for record in caplog.records) == 1
    cache.close()


def test_a_probe_that_is_interrupted_does_not_keep_the_circuit_open(clock: Clock) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    trouble, breaker = Trouble("f", Stats(), raises=False), opened(Breaker(clock))
    clock.now += 1
    with pytest.raises(KeyboardInterrupt):
        trouble.guarded(breaker, interrupted)
    assert trouble.guarded(breaker, lambda: "answer") == "answer"
    assert not breaker.is_open
