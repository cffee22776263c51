"""Async functions: who is cancelled harms nobody, and nothing blocks the loop."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from threading import get_ident
from typing import TYPE_CHECKING

import pytest

from dynmemo.testing.together import until
from tests.fleet.helpers import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


def test_what_a_computation_changed_is_its_own_also_where_its_loop_was_closed(worker: Callable[..., Worker]) -> None:
    async def noting(x: int) -> int:
        noted.append(x)
        await asyncio.sleep(3600 if x < 0 else 0)
        return x

    noted: list[int] = []
    function = worker().decorate(noting, version=None)
    assert asyncio.run(function(1)) == 1
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *about: None)  # it would say that the task was never finished
    task = loop.create_task(function(-1))
    while noted[-1] != -1:
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    del task
    gc.collect()  # which closes the coroutine in the context of nobody
    assert asyncio.run(function(1)) == 1
    assert noted == [1, -1]


def test_a_loop_goes_on_in_a_thread_after_the_main_one_has_ended(tmp_path: Path) -> None:
    program = f"""
import asyncio, threading
from dynmemo import Cache, dynamo_cached

@dynamo_cached(cache=Cache.sqlite({str(tmp_path / "cache.db")!r}))
async def double(x):
    await asyncio.sleep(0)
    return 2 * x

async def story():
    {{}}
    while threading.main_thread().is_alive():
        await asyncio.sleep(0.01)
    print(await double(1), await double(1), await double.map([1, 2]), double.cache_info().errors)

threading.Thread(target=lambda: asyncio.run(story())).start()
"""
    for before in ("pass", "await double(3)"):
        command = [sys.executable, "-c", program.replace("{}", before)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (ran.stdout, ran.stderr) == ("2 2 [2, 4] 0\n", "")
