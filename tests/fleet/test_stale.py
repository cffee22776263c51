"""`stale_if_error`: an expired value is better than an exception, for the stated time."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dynmemo import Cache, dynamo_cached, expiry
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing import Clock
from dynmemo.testing.together import until
from tests.fleet.helpers import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynmemo.item import Item
    from tests.fleet.helpers import Worker

LIFE = {"ttl": 100, "stale_if_error": 1000}


class Failing(Work):
    """Raises while it is told to."""

    fails = False

    def __call__(self, x: int = 0) -> object:
        found = super().__call__(x)
        if self.fails:
            raise ValueError("the forecast is down")
        return found


def test_an_expired_value_is_served_while_computing_raises_and_a_new_one_afterwards(
    worker: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    clock, work = Clock.present(), Failing("old")
    function = worker(clock).decorate(work, **LIFE)
    assert function() == "old"
    clock.now += 101
    work.fails = True
    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert [function(), function()] == ["old", "old"]
    assert [record.getMessage() for record in caplog.records] == [
        "fleet(): serving an expired value, computing raised ValueError"
    ]
    info = function.cache_info()
    assert (info.stale, info.computed, info.hits, info.misses) == (2, 3, 0, 3)
    work.fails, work.result = False, "new"
    assert [function(), function()] == ["new", "new"]
    assert function.cache_info().hits == 1
    assert work.runs == 4


def test_what_is_kept_for_errors_is_expired_for_us_and_gone_after_its_time(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Failing("old")
    only = worker(clock)
    function = only.decorate(work, **LIFE)
    function()
    start = clock.now
    row = only.row(function.cache_key())
    assert row is not None
    assert (row.ttl_date, row.ttl_deadline, row.stale_for) == (start + 1100, start + 1100, 1000)
    assert expiry.expires_at(row) == start + 100
    entry = function.entry()
    assert entry is not None
    assert entry.expires_at == datetime.fromtimestamp(start + 100, UTC)
    clock.now = start + 100
    assert function() == "old"
    assert function.cache_info().hits == 1
    clock.now = start + 100.5
    assert function.entry() is None
    work.fails = True
    clock.now = start + 1100
    assert function() == "old"
    clock.now = start + 1100.5
    with pytest.raises(ValueError, match="down"):
        function()


def test_a_sliding_value_is_kept_for_errors_as_long(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Failing("old")
    only = worker(clock)
    function = only.decorate(work, sliding=100, ttl=300, stale_if_error=1000)
    function()
    start = clock.now
    for _ in range(3):
        clock.now += 90
        assert function() == "old"
    row = only.row(function.cache_key())
    assert row is not None
    assert (row.ttl_date, row.ttl_deadline) == (start + 1300, start + 1300)
    assert work.runs == 1
    work.fails = True
    clock.now = start + 301
    assert function() == "old"
    assert (work.runs, function.cache_info().stale) == (2, 1)


def test_while_one_recomputes_an_expired_value_the_others_wait_for_the_new_one(worker: Callable[..., Worker]) -> None:
    clock = Clock.present()
    leader, waiter = worker(clock), worker(clock)
    work, never = Work("old"), Work("never")
    computing, waiting = leader.decorate(work, **LIFE), waiter.decorate(never, **LIFE)
    computing()
    assert waiting() == "old"
    clock.now += 101
    work.go.clear()
    work.result = "new"
    seen = len(waiter.trips)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs == 2)
        row = leader.row(computing.cache_key())
        assert row is not None
        assert row.value is not None, "the expired value has to stay"
        second = pool.submit(waiting)
        until(lambda: len(waiter.trips) >= seen + 4)
        work.go.set()
        assert first.result() == second.result() == "new"
    assert never.runs == 0
    assert waiter.trips[seen:].count("write") == 1, "it tries to claim once, and then reads"
    assert leader.row(f"{computing.cache_key()}#lease") is None


def test_when_recomputing_raises_for_all_each_serves_the_expired_value(worker: Callable[..., Worker]) -> None:
    clock = Clock.present()
    workers = [worker(clock) for _ in range(3)]
    running = threading.Semaphore(1)
    work = Failing("old")

    def compute(x: int = 0) -> object:
        assert running.acquire(blocking=False), "two computed at once"
        try:
            return work(x)
        finally:
            running.release()

    functions = [each.decorate(compute, **LIFE) for each in workers]
    functions[0]()
    clock.now += 101
    work.fails = True
    with ThreadPoolExecutor(3) as pool:
        assert [call.result() for call in [pool.submit(function) for function in functions]] == ["old"] * 3
    assert work.runs == 4
    assert [function.cache_info().stale for function in functions] == [1] * 3


def test_followers_in_the_process_get_the_expired_value_too(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Failing("old")
    function = worker(clock).decorate(work, **LIFE)
    function()
    clock.now += 101
    work.fails = True
    work.go.clear()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(function) for _ in range(4)]
        until(lambda: function.cache_info().misses == 5)
        threading.Timer(0.1, work.go.set).start()  # the last of them may not yet wait
        assert [call.result() for call in calls] == ["old"] * 4
    assert work.runs == 2
    info = function.cache_info()
    assert (info.stale, info.waited) == (4, 0)


def test_what_was_cleared_is_not_served_when_computing_raises(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Failing("old")
    function = worker(clock).decorate(work, **LIFE)
    function()
    clock.now += 101
    function.cache_clear()
    work.fails = True
    with pytest.raises(ValueError, match="down"):
        function()


def test_an_interruption_is_not_hidden_behind_an_expired_value(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Work("old")
    function = worker(clock).decorate(work, **LIFE)
    function()
    clock.now += 101
    work.result = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        function()


class SlowToAnswer(SqliteStore):
    """The answer to the first read of an entry by the thread "first" is long on its way."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.seen, self.goes_on = threading.Event(), threading.Event()

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        row = super().read(key, consistent=consistent)
        if threading.current_thread().name == "first" and not key.endswith("#gen") and not self.seen.is_set():
            self.seen.set()
            assert self.goes_on.wait(20)
        return row


def test_what_was_forgotten_stands_in_for_no_failure_of_a_call_that_began_before_and_who_waits_for_it(
    tmp_path: Path,
) -> None:
    clock, work, store = Clock.present(), Failing("old"), SlowToAnswer(tmp_path / "cache.db")
    outcomes: dict[str, object] = {}
    function = dynamo_cached(cache=Cache(store, clock=clock), name="fleet", version=1, ttl=100, stale_if_error=1000)(
        work
    )
    function()
    clock.now += 101
    work.fails = True
    work.go.clear()

    def call() -> None:
        try:
            outcomes[threading.current_thread().name] = function()
        except ValueError:
            outcomes[threading.current_thread().name] = "raised"

    first, second = threading.Thread(target=call, name="first"), threading.Thread(target=call, name="second")
    first.start()
    assert store.seen.wait(20)
    function.invalidate()
    store.goes_on.set()  # it goes on from the row that it saw before
    until(lambda: work.runs == 2)
    second.start()
    work.go.set()
    first.join()
    second.join()
    assert outcomes == {"first": "raised", "second": "raised"}
    store.close()
