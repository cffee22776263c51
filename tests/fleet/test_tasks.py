"""Async functions: who is cancelled harms nobody, and nothing blocks the loop."""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING

import pytest

from dynmemo.testing.together import until
from tests.fleet.helpers import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.helpers import Worker


async def until_async(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(until, condition)


def test_tasks_of_one_process_wait_in_memory(worker: Callable[..., Worker]) -> None:
    only, work = worker(), Work(hold=True)
    function = only.decorate(work.asynchronously)

    async def story() -> None:
        calls = [asyncio.create_task(function(x=0)) for _ in range(20)]
        await until_async(lambda: function.cache_info().misses == 20)
        work.go.set()
        assert await asyncio.gather(*calls) == ["result"] * 20

    asyncio.run(story())
    assert work.runs == 1
    assert sorted(only.trips) == ["read"] * 20 + ["write"] * 2


def test_a_cancelled_leader_hands_over_to_a_task_of_its_process(worker: Callable[..., Worker]) -> None:
    only, work = worker(), Work(hold=True)
    function = only.decorate(work.asynchronously)

    async def story() -> None:
        leader = asyncio.create_task(function())
        await until_async(lambda: work.runs == 1)
        followers = [asyncio.create_task(function()) for _ in range(3)]
        await until_async(lambda: function.cache_info().misses == 4)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        await until_async(lambda: work.runs == 2)
        work.go.set()
        assert await asyncio.gather(*followers) == ["result"] * 3

    asyncio.run(story())
    assert work.runs == 2


def test_a_cancelled_leader_hands_over_to_another_process(worker: Callable[..., Worker]) -> None:
    one, other, work = worker(lease_seconds=3600), worker(lease_seconds=3600), Work(hold=True)
    first, second = (each.decorate(work.asynchronously) for each in (one, other))

    async def story() -> None:
        leader = asyncio.create_task(first())
        await until_async(lambda: work.runs == 1)
        waiter = asyncio.create_task(second())
        await until_async(lambda: len(other.trips) >= 3)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        await until_async(lambda: work.runs == 2)
        work.go.set()
        assert await waiter == "result"

    asyncio.run(story())
    assert work.runs == 2


def test_a_cancelled_waiter_harms_neither_the_leader_nor_the_other_waiters(worker: Callable[..., Worker]) -> None:
    one, other, work = worker(), worker(), Work(hold=True)
    first, second = (each.decorate(work.asynchronously) for each in (one, other))

    async def story() -> None:
        leader = asyncio.create_task(first())
        await until_async(lambda: work.runs == 1)
        here, there = ([asyncio.create_task(each()) for _ in range(2)] for each in (first, second))
        await until_async(lambda: first.cache_info().misses == 3 and second.cache_info().misses == 2)
        for waiters in (here, there):
            waiters[0].cancel()  # there it is the one that reads for the other
            with pytest.raises(asyncio.CancelledError):
                await waiters[0]
        work.go.set()
        assert [await call for call in (leader, here[1], there[1])] == ["result"] * 3

    asyncio.run(story())
    assert work.runs == 1


def test_the_loop_goes_on_while_calls_compute_wait_and_ask_a_slow_store(worker: Callable[..., Worker]) -> None:
    one, other, work = worker(), worker(), Work(hold=True)
    first, second = (each.decorate(work.asynchronously) for each in (one, other))
    in_loop: set[int] = set()
    for each in (one, other):
        _note_threads(each, in_loop)

    async def story() -> int:
        calls = [asyncio.create_task(function()) for function in (first, second) for _ in range(3)]
        await until_async(lambda: len(other.trips) + len(one.trips) >= 10)
        work.go.set()
        assert await asyncio.gather(*calls) == ["result"] * 6
        return get_ident()

    assert asyncio.run(story()) not in in_loop
    assert in_loop


def _note_threads(worker: Worker, threads: set[int]) -> None:
    class Noting(list[str]):
        def append(self, trip: str) -> None:
            threads.add(get_ident())
            super().append(trip)

    worker.trips = worker.cache.store.trips = Noting()  # type: ignore[attr-defined]


def test_an_async_function_that_awaits_itself_ends(worker: Callable[..., Worker]) -> None:
    async def fibonacci(n: int) -> int:
        runs.append(n)
        return n if n < 2 else sum(await asyncio.gather(cached(n - 1), cached(n - 2)))

    runs: list[int] = []
    cached = worker().decorate(fibonacci)
    assert asyncio.run(cached(10)) == 55
    assert set(runs) == set(range(11))
    assert len(runs) <= 22
