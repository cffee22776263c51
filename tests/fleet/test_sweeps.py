"""`map`, `starmap` and `warm`: many calls, each computed once by all workers."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import UnhashableArgumentError, clear
from dynmemo.leases import flights

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo import Progress
    from tests.fleet.helpers import Worker


def double(x: int) -> list[int]:
    return [x, x]


def test_stored_calls_are_one_look_up_and_missing_ones_cost_claim_and_write(worker: Callable[..., Worker]) -> None:
    one = worker()
    function = one.decorate(double)
    assert function.map(range(20)) == [[x, x] for x in range(20)]
    assert one.trips == ["write", "write"] * 20
    assert function.map(range(20)) == [[x, x] for x in range(20)]
    assert len(one.trips) == 40
    info = function.cache_info()
    assert (info.hits, info.misses, info.computed) == (20, 20, 20)


def test_equal_calls_are_computed_once_and_each_gets_an_object_of_its_own(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(double)
    for _ in range(2):
        first, second, third = function.map([1, 1, 1])
        assert first == second == third == [1, 1]
        assert len({id(first), id(second), id(third)}) == 3
    assert function.cache_info().computed == 1


def test_no_items_rows_and_generators(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(double)
    assert function.map([]) == []
    assert function.starmap([(1,), {"x": 2}]) == [[1, 1], [2, 2]]
    assert function.warm(iter(range(5))) == 3
    lazy = function.map((x for x in range(700)), lazy=True)
    assert next(lazy) == [0, 0]
    assert sum(1 for _ in lazy) == 699


def test_a_wrong_item_is_named_before_anything_is_computed(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(double)
    with pytest.raises(UnhashableArgumentError, match="item 1: "):
        function.map([1, sys.stdin])
    assert function.cache_info().computed == 0


def test_workers_that_sweep_the_same_items_compute_each_once(worker: Callable[..., Worker]) -> None:
    computed: list[int] = []

    def note(x: int) -> int:
        computed.append(x)
        threading.Event().wait(0.02)
        return x

    functions = [worker().decorate(note) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda function: function.map(range(20)), functions))
    assert results == [list(range(20))] * 3
    assert sorted(computed) == list(range(20))


def test_errors_are_raised_or_returned(worker: Callable[..., Worker]) -> None:
    def odd(x: int) -> int:
        if x % 2 == 0:
            raise ValueError(str(x))
        return x

    function = worker().decorate(odd)
    results = function.map(range(4), on_item_error="return")
    assert [str(result) for result in results] == ["0", "1", "2", "3"]
    with pytest.raises(ValueError, match=r"[02]"):
        function.map(range(4))


def test_threads_and_tasks_compute_the_same(worker: Callable[..., Worker]) -> None:
    seen: list[Progress] = []
    one = worker()
    function = one.decorate(double)
    with ThreadPoolExecutor(4) as pool:
        assert function.map(range(20), executor=pool, progress=seen.append) == [[x, x] for x in range(20)]
    assert (seen[-1].computed, seen[-1].left) == (20, 0)
    assert function.warm(range(20)) == 0

    async def asynchronous(x: int) -> Any:
        await asyncio.sleep(0)
        return -x

    tasks = one.decorate(asynchronous, name="tasks")
    assert asyncio.run(tasks.map(range(20), concurrency=5)) == [-x for x in range(20)]
    assert asyncio.run(tasks.warm(range(20))) == 0


def test_what_was_cleared_is_computed_anew(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(double)
    function.map(range(5))
    clear(function)
    assert function.warm(range(5)) == 5


def test_a_leader_that_is_gone_does_not_keep_a_sweep(worker: Callable[..., Worker]) -> None:
    one = worker()
    function = one.decorate(double)
    gone = threading.Thread(target=lambda: flights.join((one.cache, function.cache_key(1))))
    gone.start()
    gone.join()
    assert function.map([1]) == [[1, 1]]


def test_equal_calls_whose_result_cannot_be_copied_are_made_with_their_own_arguments(
    worker: Callable[..., Worker],
) -> None:
    def opened(x: int, mark: str) -> Any:
        return threading.Lock(), mark

    function = worker().decorate(opened, ignore="mark")
    assert [mark for _, mark in function.starmap([(1, "a"), (1, "b"), (1, "c")])] == ["a", "b", "c"]


class Stop(BaseException):
    """What interrupts, as Ctrl-C does."""


def test_an_interrupt_is_not_lost_behind_an_error(worker: Callable[..., Worker]) -> None:
    one, begun = worker(), threading.Event()

    def fail(x: int) -> None:
        if x == 0:
            begun.wait(20)
            raise ValueError
        begun.set()
        threading.Event().wait(0.3)
        raise Stop

    async def fail_async(x: int) -> None:
        if x == 0:
            raise ValueError
        await asyncio.sleep(0.3)
        raise Stop

    with ThreadPoolExecutor(2) as pool, pytest.raises(Stop):
        one.decorate(fail).map([0, 1], executor=pool)
    with pytest.raises(Stop):
        asyncio.run(one.decorate(fail_async, name="tasks").map([0, 1], concurrency=2))
