"""Computations of several workers that ask for each other's results: rings end, chains are waited for."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.leases import is_deadlock
from dynmemo.testing.together import until
from tests.fleet.helpers import done, notes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.helpers import Fleet, Worker


class Crossing:
    """A function of which each worker computes another key and asks for the next worker's meanwhile.

    `depth` is no part of the key: a computation that begins within another one asks for nothing.
    """

    def __init__(self, workers: list[Worker], *, ring: bool) -> None:
        self.count = len(workers)
        self.runs: list[tuple[int, int]] = []
        self._ring = ring
        self._together = threading.Barrier(self.count)
        self.functions = [
            worker.decorate(self._of(n), ignore="depth", wait_timeout=60) for n, worker in enumerate(workers)
        ]

    def _of(self, worker: int) -> Callable[[int, int], int]:
        def cross(x: int, depth: int = 0) -> int:
            self.runs.append((worker, x))
            if depth:
                return x
            self._together.wait(60)
            if x + 1 == self.count and not self._ring:
                return x
            return x + int(self.functions[worker]((x + 1) % self.count, 1))

        return cross

    def __call__(self) -> list[int]:
        with ThreadPoolExecutor(self.count) as pool:
            calls = [pool.submit(function, n) for n, function in enumerate(self.functions)]
            return [call.result(50) for call in calls]


@pytest.mark.parametrize("count", [2, 3])
def test_workers_that_wait_for_each_other_in_a_ring_go_on(worker: Callable[..., Worker], count: int) -> None:
    crossing = Crossing([worker(lease_seconds=3) for _ in range(count)], ring=True)
    for x, result in enumerate(crossing()):
        # Either what the next one has stored, whatever that waited for, or its own short computation.
        assert result >= x
    assert count < len(crossing.runs) <= 2 * count
    infos = [function.cache_info() for function in crossing.functions]
    assert sum(info.computed - info.bypassed for info in infos) == count  # each key is stored once
    assert all(function(n) >= n for n, function in enumerate(crossing.functions))
    assert sum(info.errors for info in infos) == 0


def test_a_chain_of_waits_is_no_ring(worker: Callable[..., Worker]) -> None:
    workers = [worker(lease_seconds=3) for _ in range(3)]
    gate = threading.Event()

    def compute(x: int) -> int:
        runs.append(x)
        if x == 2:
            assert gate.wait(60)
            return x
        return x + int(functions[x](x + 1))

    runs: list[int] = []
    functions = [each.decorate(compute) for each in workers]
    with ThreadPoolExecutor(3) as pool:
        calls = []
        for x in (2, 1, 0):
            calls.append(pool.submit(functions[x], x))
            until(lambda: len(runs) == 3 - x)  # noqa: B023 - it is asked at once
        keys = [functions[0].cache_key(x) for x in range(3)]
        until(lambda: [waits(workers[0], key) for key in keys] == [keys[1], keys[2], None])
        gate.set()
        assert [call.result() for call in calls] == [2, 3, 3]
    assert sorted(runs) == [0, 1, 2]
    assert set(workers[0].trips[1:-1]) == {"write", "read"}


def waits(worker: Worker, key: str) -> str | None:
    row = worker.row(key)
    return None if row is None else row.lease_waits


def test_a_wait_that_ended_is_no_longer_told(worker: Callable[..., Worker]) -> None:
    one, other = worker(lease_seconds=3), worker(lease_seconds=3)
    gates = threading.Event(), threading.Event()

    def outer(x: int) -> int:
        result = int(asking(x))
        assert gates[1].wait(60)
        return result

    def inner(x: int) -> int:
        assert gates[0].wait(60)
        return x

    asking = one.decorate(inner, name="inner")
    function = one.decorate(outer, name="outer")
    with ThreadPoolExecutor(2) as pool:
        computing = pool.submit(other.decorate(inner, name="inner"), 1)
        until(lambda: other.row(asking.cache_key(1)))
        call = pool.submit(function, 1)
        until(lambda: waits(one, function.cache_key(1)) == asking.cache_key(1))
        gates[0].set()
        until(lambda: waits(one, function.cache_key(1)) is None)
        gates[1].set()
        assert call.result() == computing.result() == 1


def test_a_ring_through_threads_of_one_process_ends(worker: Callable[..., Worker]) -> None:
    """One worker leads `a`, whose computation waits in memory for `b`, for which a thread of it waits with the other
    worker, which waits for `a`."""
    here, there = worker(lease_seconds=3), worker(lease_seconds=3)
    asked = threading.Event()
    runs: list[str] = []

    def letters(x: str, depth: int = 0) -> str:
        runs.append(x)
        if depth:
            return x
        if x == "a":
            until(lambda: there.row(mine.cache_key("b")))
            asker = pool.submit(mine, "b", 1)
            until(lambda: mine.cache_info().misses == 2)
            asked.set()
            return x + str(mine("b", 1)) + str(asker.result(50))
        assert asked.wait(60)
        return x + str(theirs("a", 1))

    mine, theirs = (each.decorate(letters, ignore="depth") for each in (here, there))
    with ThreadPoolExecutor(3) as pool:
        first, second = pool.submit(mine, "a"), pool.submit(theirs, "b")
        results: list[Any] = [call.result(50) for call in (first, second)]
    assert results[0].startswith("a")
    assert results[1].startswith("b")
    assert len(runs) <= 4


def test_processes_in_a_ring_go_on(fleet: Fleet) -> None:
    processes = [fleet.start("ring", f"{n}", lease_seconds=3) for n in range(2)]
    done(*processes)
    assert {json.loads(notes(fleet.folder / f"told {n}")[-1])["computed"] for n in range(2)} <= {1, 2}


def test_a_plain_call_that_blocks_an_event_loop_counts_for_all_its_tasks(worker: Callable[..., Worker]) -> None:
    """A task of one worker leads `k`; in its loop's thread a plain call waits for `x`, which waits for `k`."""
    here, there = worker(lease_seconds=3), worker(lease_seconds=3)

    async def slow(n: int) -> str:
        while len(there.trips) < 4:  # until the other worker waits for it
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        return "k"

    def asks_for_slow(n: int) -> str:
        return f"x {asyncio.run(slow_there(1))}"

    slow_here, slow_there = (each.decorate(slow, name="k") for each in (here, there))
    plain_here = here.decorate(lambda n: "x alone", name="x")
    plain_there = there.decorate(asks_for_slow, name="x")

    async def story() -> tuple[str, str, str]:
        task = asyncio.create_task(slow_here(1))
        await asyncio.to_thread(until, lambda: here.row(slow_here.cache_key(1)))
        call = asyncio.get_running_loop().run_in_executor(pool, plain_there, 1)
        await asyncio.to_thread(until, lambda: len(there.trips) >= 4)
        plain = str(plain_here(1))  # blocks the loop
        return plain, await task, str(await call)

    with ThreadPoolExecutor(1) as pool:
        plain, *others = asyncio.run(story())
    assert others == ["k", "x k"]
    assert plain in ("x alone", "x k")  # as one or the other worker sees the ring first


def test_who_waits_in_a_chain_looks_along_it_once_for_each_beat(worker: Callable[..., Worker]) -> None:
    one, other, third = worker(), worker(), worker()
    gates = threading.Event(), threading.Event()

    def outer(n: int) -> int:
        result = int(inner_there(n))
        assert gates[1].wait(60)
        return result

    def inner(n: int) -> int:
        assert gates[0].wait(60)
        return n

    inner_there, inner_third = (each.decorate(inner, name="inner") for each in (other, third))
    waiting, outer_there = (each.decorate(outer, name="outer") for each in (one, other))
    with ThreadPoolExecutor(3) as pool:
        deepest = pool.submit(inner_third, 1)
        until(lambda: third.row(inner_third.cache_key(1)))
        middle = pool.submit(outer_there, 1)
        until(lambda: other.trips.count("read") >= 4)
        lease = other.row(outer_there.cache_key(1))
        assert lease is not None
        assert lease.etag is not None
        # As its next renewal, ten seconds later, will say.
        other.cache.store.renew(outer_there.cache_key(1), lease.etag, 2**32, inner_there.cache_key(1))
        call = pool.submit(waiting, 1)
        until(lambda: one.trips.count("read") >= 10)
        along = [key for key in one.keys if key == inner_there.cache_key(1)]
        gates[0].set()
        gates[1].set()
        assert deepest.result() == middle.result() == call.result() == 1
    assert len(along) == 1


def test_a_computation_that_has_ended_is_waited_for_by_nobody(worker: Callable[..., Worker]) -> None:
    """A task that was started within a computation asks after its end for what another worker computes."""
    here, there = worker(lease_seconds=3), worker(lease_seconds=3)
    k_done = threading.Event()
    late: list[asyncio.Task[str]] = []

    async def compute_k(n: int) -> str:
        if not late:
            late.append(asyncio.create_task(ask_late()))
        told = lambda: waits(there, x_there.cache_key(1)) == k_here.cache_key(1)  # noqa: E731
        await asyncio.to_thread(until, told)
        return "k"

    async def compute_x(n: int) -> str:
        found = str(await k_there(1))
        await asyncio.sleep(0.5)
        return f"x {found}"

    async def ask_late() -> str:
        await asyncio.to_thread(k_done.wait, 60)
        return str(await x_here(1))

    k_here, k_there = (each.decorate(compute_k, name="k") for each in (here, there))
    x_here, x_there = (each.decorate(compute_x, name="x") for each in (here, there))

    async def story() -> str:
        task = asyncio.create_task(k_here(1))
        await asyncio.to_thread(until, lambda: here.row(k_here.cache_key(1)))
        other = asyncio.get_running_loop().run_in_executor(pool, lambda: asyncio.run(x_there(1)))
        await task
        k_done.set()
        return await late[0] + str(await other)

    with ThreadPoolExecutor(1) as pool:
        assert asyncio.run(asyncio.wait_for(story(), 50)) == "x kx k"
    assert x_here.cache_info().computed == 0


def test_a_row_that_names_no_key_of_ours_is_no_ring(worker: Callable[..., Worker]) -> None:
    one, other = worker(), worker()
    function = one.decorate(lambda n: n)
    function(1)
    row = one.row(function.cache_key(1))
    assert row is not None
    strange = row._replace(lease_waits="", lease_owner="somebody")
    assert not is_deadlock([], other.cache.store, strange)
    assert not is_deadlock([], other.cache.store, strange._replace(lease_waits="x" * 3_000))
