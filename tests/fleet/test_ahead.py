"""`refresh_ahead`: in the last part of a value's life one worker computes it anew while all others hit."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dynmemo.testing import Clock
from dynmemo.testing.together import until
from tests.fleet.helpers import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from tests.fleet.helpers import Worker

LIFE = {"ttl": 1000, "refresh_ahead": 0.1}


def test_before_the_last_part_of_its_life_a_value_is_left_alone(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Work()
    only = worker(clock)
    function = only.decorate(work, **LIFE)
    function()
    clock.now += 899
    function()
    assert only.trips == ["read", "write", "write", "read"]


def test_one_worker_refreshes_while_all_hit_the_old_value(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Work("old")
    workers = [worker(clock) for _ in range(4)]
    functions = [each.decorate(work, **LIFE) for each in workers]
    assert [function() for function in functions] == ["old"] * 4
    clock.now += 901
    work.go.clear()
    work.result = "new"
    with ThreadPoolExecutor(8) as pool:
        assert [call.result() for call in [pool.submit(function) for function in functions * 2]] == ["old"] * 8
    until(lambda: work.runs == 2)
    assert [function() for function in functions] == ["old"] * 4
    work.go.set()
    until(lambda: functions[0]() == "new")
    assert [function() for function in functions] == ["new"] * 4
    assert work.runs == 2
    assert sum(function.cache_info().misses for function in functions) == 1
    key = functions[0].cache_key()
    until(lambda: workers[0].row(f"{key}#lease") is None)
    row = workers[0].row(key)
    assert row is not None
    assert row.ttl_deadline == clock.now + 1000


def test_a_hit_that_refreshes_costs_one_read_and_the_others_no_more(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Work("old")
    only = worker(clock)
    function = only.decorate(work, **LIFE)
    function()
    clock.now += 901
    work.result = "new"
    del only.trips[:]
    assert function() == "old"
    until(lambda: function.cache_info().computed == 2 and only.trips.count("remove") == 1)
    assert only.trips == [
        "read",
        "write",
        "read",
        "write",
        "remove",
    ]  # the hit; claim, the row once more, store, give up
    assert function() == "new"


def test_a_refresh_that_raises_is_said_once_and_tried_again_later(
    worker: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    clock, work = Clock.present(), Work("old")
    only = worker(clock, lease_seconds=1)
    function = only.decorate(work, **LIFE)
    function()
    clock.now += 901
    work.result = ValueError("down")
    with caplog.at_level(logging.WARNING, "dynmemo"):
        until(lambda: function() == "old" and work.runs == 3)
        until(lambda: only.row(f"{function.cache_key()}#lease") is None)
    assert [record.getMessage() for record in caplog.records] == [
        "fleet(): refreshing ahead of expiry raised ValueError"
    ]
    work.result = "new"
    until(lambda: function() == "new")


def test_a_hit_stays_a_hit_where_no_thread_can_be_started(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    clock, work = Clock.present(), Work("old")
    function = worker(clock).decorate(work, **LIFE)
    function()
    clock.now += 901
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert function() == "old"
    assert work.runs == 1


def test_async_functions_are_refreshed_in_a_task(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Work("old")
    functions = [worker(clock).decorate(work.asynchronously, **LIFE) for _ in range(2)]

    async def story() -> None:
        assert [await function() for function in functions] == ["old"] * 2
        clock.now += 901
        work.go.clear()
        work.result = "new"
        assert await asyncio.gather(*(function() for function in functions * 4)) == ["old"] * 8
        await asyncio.to_thread(until, lambda: work.runs == 2)
        assert [await function() for function in functions] == ["old"] * 2
        work.go.set()
        while await functions[0]() == "old":
            await asyncio.sleep(0.01)
        assert [await function() for function in functions] == ["new"] * 2

    asyncio.run(story())
    assert work.runs == 2


def test_a_value_that_has_expired_meanwhile_is_waited_for_by_all(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Work("old")
    one, other = worker(clock), worker(clock)
    first, second = one.decorate(work, **LIFE), other.decorate(Work("other"), **LIFE)
    first()
    clock.now += 901
    work.go.clear()
    work.result = "new"
    assert first() == "old"
    until(lambda: work.runs == 2)
    clock.now += 100
    with ThreadPoolExecutor(1) as pool:
        here = pool.submit(first)  # waits in memory for the refresh
        until(lambda: first.cache_info().misses == 2)
        work.go.set()
        assert here.result() == "new"
    assert second() == "new"
    assert work.runs == 2


def test_a_value_that_expires_while_one_worker_refreshes_it_is_waited_for_by_the_others(
    worker: Callable[..., Worker],
) -> None:
    clock, work = Clock.present(), Work("old")
    one, other = worker(clock), worker(clock)
    first, second = one.decorate(work, **LIFE), other.decorate(Work("never"), **LIFE)
    first()
    assert second() == "old"
    clock.now += 901
    work.go.clear()
    work.result = "new"
    assert first() == "old"
    until(lambda: work.runs == 2)
    clock.now += 100
    seen = len(other.trips)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(second)
        until(lambda: len(other.trips) >= seen + 3)
        work.go.set()
        assert call.result() == "new"
    assert second.cache_info().computed == 0


def test_together_with_stale_if_error_the_real_end_of_its_life_counts(worker: Callable[..., Worker]) -> None:
    clock, work = Clock.present(), Work("old")
    only = worker(clock)
    function = only.decorate(work, stale_if_error=5000, **LIFE)
    function()
    clock.now += 899
    function()
    assert only.trips == ["read", "write", "write", "read"]
    clock.now += 2
    work.result = "new"
    assert function() == "old"
    until(lambda: function() == "new")
    assert work.runs == 2


def test_a_refresh_that_raises_serves_nobody_an_expired_value(
    worker: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    clock, work = Clock.present(), Work("old")
    only = worker(clock)
    function = only.decorate(work, stale_if_error=5000, **LIFE)
    function()
    clock.now += 901
    work.result = ValueError("down")
    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert function() == "old"
        until(lambda: caplog.records)
    assert "refreshing ahead of expiry raised ValueError" in caplog.text
    assert function.cache_info().stale == 0
