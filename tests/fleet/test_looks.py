"""What calls do that wait for other processes: looks that may be behind, that are throttled, that come seldom."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache, StoreUnavailableError, dynamo_cached, entries
from dynmemo.calls import miss
from dynmemo.generations import RECHECK_SECONDS, WAITING_SECONDS
from dynmemo.leases import Watch
from dynmemo.stores.dynamodb.connection import CONNECTIONS
from dynmemo.testing.together import until
from tests.fleet.helpers import Work
from tests.fleet.test_clearing import clocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Expect, Item
    from tests.fleet.helpers import Worker

THROTTLED = StoreUnavailableError("slow down", code="ThrottlingException", is_throttled=True)


def looks_of(worker: Worker, function: Any, look: Callable[..., Item | None]) -> None:
    """Let this worker look at leases of others with `look` in place of a read that may be behind."""
    worker.cache.breaker.is_troubled = False
    function._self_memo.entries()._look = look


def test_a_look_that_is_behind_serves_no_value_that_was_forgotten_before(worker: Callable[..., Worker]) -> None:
    leader, waiter, work = worker(), worker(), Work("old")
    computing, waiting = leader.decorate(work), waiter.decorate(Work("never"))
    computing()
    old = leader.row(computing.cache_key())
    computing.invalidate()
    work.result = "new"
    work.go.clear()
    looks: list[str] = []

    def behind(key: str) -> Item | None:
        looks.append(key)
        return old

    looks_of(waiter, waiting, behind)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs == 2)
        second = pool.submit(waiting)
        until(lambda: len(looks) >= 3)
        work.go.set()
        assert [first.result(), second.result()] == ["new", "new"]


def test_the_last_look_reads_no_parts_that_are_read_then(
    dynamodb_table: str, dynamodb_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "next_delay", lambda *_: 0.05)
    place: dict[str, Any] = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date", "copies_max_bytes": 0}
    leader, waiter = (Cache.dynamodb(dynamodb_table, endpoint_url=dynamodb_endpoint, **place) for _ in range(2))
    work = Work(random.Random(1).randbytes(1_000_000), hold=True)
    computing = dynamo_cached(cache=leader, name="fleet", version=1)(work)
    waiting = dynamo_cached(cache=waiter, name="fleet", version=1)(Work("never"))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        second = pool.submit(waiting)
        until(lambda: waiting.cache_info().requests > 5)
        work.go.set()
        assert first.result() == second.result()
    read = waiting.cache_info()
    # Half a unit for 4 KB of the parts; a look, or a read of row or generation, is one at most.
    assert read.read_units < 1_000_000 / 8_192 + 10 + read.requests
    for cache in (leader, waiter):
        cache.close()


def test_throttled_looks_neither_fail_the_call_nor_open_the_circuit_and_become_fewer(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, waiter, work = worker(), worker(), Work(hold=True)
    computing, waiting = leader.decorate(work), waiter.decorate(Work("never"))
    watches: list[Watch] = []

    class Short(Watch):
        def __init__(self) -> None:
            super().__init__()
            watches.append(self)

        def next_delay(self, *rows: Item) -> float:
            return min(super().next_delay(*rows), 0.01)

    monkeypatch.setattr(miss, "Watch", Short)
    looks: list[str] = []

    def look(key: str) -> Item | None:
        looks.append(key)
        if len(looks) <= 10:
            raise THROTTLED
        return waiter.cache.store.read(key)

    looks_of(waiter, waiting, look)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        second = pool.submit(waiting)
        until(lambda: len(looks) >= 12)
        work.go.set()
        assert [first.result(), second.result()] == ["result"] * 2
    info = waiting.cache_info()
    assert (info.computed, info.waited, info.errors, info.bypassed) == (0, 1, 0, 0)
    assert not waiter.cache.breaker.is_troubled
    assert [watch._throttled for watch in watches] == [10]


def test_a_wait_ends_with_its_timeout_however_seldom_it_looks(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, waiter, work = worker(), worker(), Work(hold=True)
    computing, waiting = leader.decorate(work), waiter.decorate(Work("alone"), wait_timeout=0.2)
    monkeypatch.setattr(Watch, "next_delay", lambda *_: 3600.0)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        assert pool.submit(waiting).result(60) == "alone"
        work.go.set()
        first.result()


def test_who_only_waits_asks_for_the_generation_once_in_the_time_of_a_lease(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, waiter, work = worker(), worker(), Work(hold=True)
    computing, waiting = leader.decorate(work), waiter.decorate(Work("after"))
    clock = clocked(waiter)
    began, asked = clock.now, 0.0
    monkeypatch.setattr(Watch, "next_delay", lambda *_: 0.005)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        second = pool.submit(waiting)
        until(lambda: len(waiter.trips) >= 3)
        computing.cache_clear()
        for clock.now in (began + RECHECK_SECONDS, began + RECHECK_SECONDS + WAITING_SECONDS - 0.01):
            looks = len(waiter.trips)
            until(lambda looks=looks: len(waiter.trips) >= looks + 3)  # type: ignore[misc]
            assert not second.done()
        asked = clock.now = began + RECHECK_SECONDS + WAITING_SECONDS
        assert second.result(60) == "after"
        work.go.set()
        assert first.result() == "result"
    assert asked - began == 30.0


def test_a_live_lease_of_a_new_generation_is_not_taken_over_where_that_could_not_be_read_at_first(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, leader, waiter = worker(), worker(), worker()
    old, new, never = Work("old", hold=True), Work("new", hold=True), Work("never")
    computing, waiting = leader.decorate(new), waiter.decorate(never)
    confirmed, asked = waiter.cache.generations.confirmed, []

    def throttled(*args: Any, **options: Any) -> str:
        asked.append(1)
        if len(asked) == 1:
            raise THROTTLED
        return confirmed(*args, **options)

    monkeypatch.setattr(waiter.cache.generations, "confirmed", throttled)
    monkeypatch.setattr(Watch, "next_delay", lambda *_: 0.005)
    monkeypatch.setattr("dynmemo.entries.THROTTLED_PAUSES", (0.0,))
    with ThreadPoolExecutor(3) as pool:
        pool.submit(before.decorate(old))
        until(lambda: old.runs)
        second = pool.submit(waiting)
        until(lambda: len(waiter.trips) >= 3)
        # Not in between, for a lease of its own old generation it may take over.
        waiter_looks = waiting._self_memo.entries()
        look, gate = waiter_looks._look, Work(hold=True)
        waiter_looks._look = lambda key: (gate(), look(key))[1]
        computing.cache_clear()
        first = pool.submit(computing)
        until(lambda: new.runs)
        gate.go.set()
        until(lambda: len(asked) >= 2 or never.runs)
        looks = gate.runs
        until(lambda: gate.runs >= looks + 3 or never.runs)
        new.go.set()
        old.go.set()
        assert [first.result(), second.result()] == ["new", "new"]
    assert never.runs == 0


@pytest.mark.parametrize("times", [1, 4])
def test_a_throttled_look_up_is_made_again_for_a_while(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    only, work = worker(), Work()
    function = only.decorate(work)
    function()
    pauses = throttle(monkeypatch, function, times)
    assert function() == "result"
    assert len(pauses) == times
    assert all(pause / 2 <= made <= pause for pause, made in zip(entries.THROTTLED_PAUSES, pauses, strict=False))
    info = function.cache_info()
    assert (info.hits, info.errors, work.runs) == (1, 0, 1)


def test_a_store_that_throttles_for_longer_costs_one_call_its_pauses_and_later_calls_none(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    only, work = worker(), Work()
    function = only.decorate(work)
    function()
    pauses = throttle(monkeypatch, function, 1_000_000)
    assert [function() for _ in range(5)] == ["result"] * 5
    assert len(pauses) == len(entries.THROTTLED_PAUSES)
    assert sum(pauses) <= 15
    info = function.cache_info()
    assert (info.computed, info.errors, info.bypassed) == (6, 3, 2)


def test_throttled_calls_of_an_async_function_hold_up_no_other(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    only, work = worker(), Work()
    function = only.decorate(work.asynchronously)

    async def all_of_it() -> None:
        await function(1)
        await function(2)
        known, hot = function._self_memo.entries(), function.cache_key(1)
        read, throttled = known._read, []

        def look(key: str, **options: Any) -> Item | None:
            if key == hot:
                throttled.append(key)
                raise THROTTLED
            row: Item | None = read(key, **options)
            return row

        monkeypatch.setattr(known, "_read", look)
        monkeypatch.setattr(entries, "THROTTLED_PAUSES", (3600.0,))
        calls = [asyncio.create_task(function(1)) for _ in range(2 * CONNECTIONS)]
        assert await asyncio.wait_for(function(2), 60) == "result"
        while len(throttled) < len(calls):
            await asyncio.sleep(0.005)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(all_of_it())
    assert work.runs == 2


def test_an_exception_does_not_wait_until_a_throttled_lease_is_given_up(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    only = worker()
    function = only.decorate(Work(ValueError("no")))
    store, pauses = function._self_memo.entries().store, throttle(monkeypatch, function, 0)
    remove, asked = store.remove, []

    def throttled(key: str, expect: Expect | None = None) -> Item | None:
        asked.append(key)
        if len(asked) == 1:
            raise THROTTLED
        removed: Item | None = remove(key, expect)
        return removed

    monkeypatch.setattr(store, "remove", throttled)
    with pytest.raises(ValueError, match="no"):
        function()
    monkeypatch.undo()
    assert pauses == []
    until(lambda: only.row(function.cache_key()) is None)


def throttle(monkeypatch: pytest.MonkeyPatch, function: Any, times: int) -> list[float]:
    """Throttle so many reads of an entry; the pauses in between are written down, and take no time."""
    pauses: list[float] = []
    known = function._self_memo.entries()
    read, left = known._read, [THROTTLED] * times

    def throttled(key: str, **options: Any) -> Item | None:
        if left:
            raise left.pop()
        row: Item | None = read(key, **options)
        return row

    monkeypatch.setattr(known, "_read", throttled)
    monkeypatch.setattr("dynmemo.entries.time.sleep", pauses.append)
    return pauses
