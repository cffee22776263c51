"""When a circuit opens, when it lets a probe through, and when it closes."""

from __future__ import annotations

import asyncio
import logging
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Literal

import pytest

from dynmemo import Cache, StoreUnavailableError, dynamo_cached
from dynmemo.calls.miss import Work
from dynmemo.entries import Computed
from dynmemo.failures import FAILURES, LONGEST_COOL_DOWN, PROBE_SECONDS, WRITING, Breaker
from dynmemo.item import Item
from dynmemo.keys import lease_key
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing.together import until
from tests.proxy import Proxy, denied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dynmemo.calls.miss import Story
    from dynmemo.testing import Clock


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
    cache = Cache.dynamodb("tab", endpoint_url=dead.endpoint, config=config, **names)  # type: ignore[arg-type]
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
    assert (double.cache_info().misses, double.cache_info().requests) == (6, FAILURES)
    clock.now += 1
    assert [double(1), double(1)] == [2, 2]
    assert double.cache_info().hits == 1
    assert sum("the cache answers again" in record.getMessage() for record in caplog.records) == 1
    cache.close()


def test_a_probe_that_is_interrupted_does_not_keep_the_circuit_open(clock: Clock) -> None:
    memo, breaker = dynamo_cached(lambda: None)._self_memo, opened(Breaker(clock))

    def interrupted() -> str:
        raise KeyboardInterrupt

    def asking(do: Callable[[], str]) -> Story:
        return Computed((yield Work(memo.entries().ask, breaker, do)), computed_at=0.0, seconds=0.0)

    clock.now += 1
    with pytest.raises(KeyboardInterrupt):
        memo.play(asking(interrupted), (), {})
    assert memo.play(asking(lambda: "answer"), (), {}) == "answer"
    assert not breaker.is_open


# -- reads work, writes do not ----------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def cache(path: Path, clock: Clock) -> Iterator[Cache]:
    """In a file for which a write does not wait long."""
    cache = Cache(SqliteStore(str(path), busy_timeout=0.01))
    cache.write_breaker = Breaker(clock, WRITING)
    yield cache
    cache.close()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The file as another program that writes for long keeps it: all read, nobody else writes."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def said(caplog: pytest.LogCaptureFixture, words: str) -> int:
    return sum(words in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("single_flight", [True, False])
def test_a_file_that_cannot_be_written_is_left_alone_and_hits_go_on(
    cache: Cache, path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, single_flight: bool
) -> None:
    @dynamo_cached(cache=cache, single_flight=single_flight)
    def double(x: int) -> int:
        return 2 * x

    double(0)
    with locked(path):
        for x in range(1, 11):
            assert (double(x), double(0)) == (2 * x, 0)
        info = double.cache_info()
        assert (info.hits, info.computed, info.errors, info.bypassed) == (10, 11, FAILURES, 10 - FAILURES)
        clock.now += 1
        double(11), double(12)
        assert double.cache_info().errors == FAILURES + 1
    assert not cache.breaker.is_troubled
    clock.now += 2
    assert [double(11), double(11)] == [22, 22]
    assert double.cache_info().hits == 11
    assert said(caplog, "writing to the cache failed 3 times in a row; hits go on") == 1
    assert said(caplog, "writing to the cache works again") == 1
    assert said(caplog, "the cache answers again") == 0


def test_functions_of_which_nothing_is_stored_yet_leave_it_alone_too(cache: Cache, path: Path) -> None:
    cache.store.read("k")  # makes the file

    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        return 2 * x

    with locked(path):
        assert [double(x) for x in range(10)] == [2 * x for x in range(10)]
    info = double.cache_info()
    assert (info.errors, info.bypassed) == (FAILURES, 10 - FAILURES)


def test_a_computation_that_raises_is_no_write_that_succeeds(cache: Cache, path: Path) -> None:
    @dynamo_cached(cache=cache, single_flight=False)
    def double(x: int) -> int:
        if x < 0:
            raise ZeroDivisionError
        return 2 * x

    double(0)
    with locked(path):
        for x in range(1, FAILURES + 1):
            double(x)
            with pytest.raises(ZeroDivisionError):
                double(-x)
    assert cache.write_breaker.is_open


def test_who_wants_errors_is_told_that_writing_is_left_alone_and_still_hits(cache: Cache, path: Path) -> None:
    @dynamo_cached(cache=cache, on_error="raise")
    def double(x: int) -> int:
        return 2 * x

    double(0)
    with locked(path):
        for x in range(1, FAILURES + 1):
            with pytest.raises(StoreUnavailableError, match="kept it locked"):
                double(x)
        with pytest.raises(
            StoreUnavailableError, match=r"nothing was written .* tried again in 1 s\. The last failure: "
        ):
            double(1)
        assert double(0) == 0


def test_who_may_not_write_still_waits_for_who_may(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        return 2 * x

    double(0)
    fn = double._self_memo.fn
    generation = cache.generations.known(cache.store, fn)
    held = Item(ttl_date=9_999_999_999, fn=fn, gen=generation, lease_owner="other", lease_seconds=30, lease_beat=0)
    cache.store.write(double.cache_key(1), held)
    opened(cache.write_breaker)
    with ThreadPoolExecutor(1) as pool:
        before = double.cache_info().requests
        call = pool.submit(double, 1)
        until(lambda: double.cache_info().requests >= before + 3)
        cache.store.remove(double.cache_key(1))
        assert call.result() == 2
    assert double.cache_info().bypassed == 1  # nobody holds it any more, and it may not be claimed


def test_what_a_result_does_not_need_is_left_undone_without_a_word(cache: Cache) -> None:
    def refused(result: int) -> bool:
        return result > 0

    @dynamo_cached(cache=cache, on_error="raise", cache_if=refused)
    def meanwhile_broken(x: int) -> int:
        opened(cache.write_breaker)
        if x < 0:
            raise ZeroDivisionError
        return x

    assert meanwhile_broken(0) == 0
    assert meanwhile_broken.cache_info().bypassed == 1
    cache.write_breaker.succeeded()
    with pytest.raises(ZeroDivisionError):
        meanwhile_broken(-1)
    assert meanwhile_broken.cache_info().bypassed == 1


@pytest.mark.parametrize("on_error", ["compute", "raise"])
def test_what_a_result_does_not_need_may_fail_and_hides_no_outcome(
    cache: Cache, path: Path, on_error: Literal["compute", "raise"]
) -> None:
    with ExitStack() as locks:

        @dynamo_cached(cache=cache, on_error=on_error)
        def meanwhile_locked(x: int) -> int:
            locks.enter_context(locked(path))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            meanwhile_locked(1)
        assert meanwhile_locked.cache_info().errors == 1


def test_a_refresh_ahead_that_is_left_undone_is_no_result_that_was_not_stored(cache: Cache) -> None:
    now = 1000.0
    cache.clock = lambda: now

    @dynamo_cached(cache=cache, ttl=100, refresh_ahead=0.5)
    async def double(x: int) -> int:
        return 2 * x

    async def calls() -> None:
        nonlocal now
        await double(1)
        now += 99
        opened(cache.write_breaker)
        await double(1)
        await asyncio.gather(*double._self_memo._tasks)

    now = time.time()
    asyncio.run(calls())
    info = double.cache_info()
    assert (info.hits, info.computed, info.bypassed) == (1, 1, 0)
    assert cache.store.read(lease_key(double.cache_key(1))) is None


def test_a_table_into_which_nothing_may_be_put_is_left_alone(
    dynamodb_endpoint: str, dynamodb_table: str, clock: Clock
) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        names = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
        cache = Cache.dynamodb(dynamodb_table, endpoint_url=proxy.endpoint, **names)  # type: ignore[arg-type]
        cache.write_breaker = Breaker(clock, WRITING)
        cache.refresh_after = 0.0
        now = time.time()
        cache.clock = lambda: now

        @dynamo_cached(cache=cache, sliding=100)
        def double(x: int) -> int:
            return 2 * x

        double(0)
        proxy.breaks("PutItem", denied("PutItem"))
        before = proxy.counts["PutItem"]
        now += 10
        assert [double(x) for x in range(10)] == [2 * x for x in range(10)]
        assert proxy.counts["PutItem"] - before == FAILURES
        touched = proxy.counts["UpdateItem"]
        assert touched == 1
        now += 10
        assert double(0) == 0
        assert proxy.counts["UpdateItem"] == touched  # a hit waits for no write now
        cache.close()
