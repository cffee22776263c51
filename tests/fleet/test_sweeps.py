"""`map`, `starmap` and `warm`: many calls, each computed once by all workers."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import InvalidOptionError, Progress, UnhashableArgumentError, clear
from dynmemo.calls import sweep
from dynmemo.calls.sweep import SIZES
from dynmemo.leases import flights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.fleet.helpers import Worker


SCALE = 1


def double(x: int) -> list[int]:
    return [x, x]


def scaled(x: int) -> int:
    return x * SCALE


def test_stored_calls_are_one_look_up_and_missing_ones_cost_claim_and_write(worker: Callable[..., Worker]) -> None:
    one = worker()
    function = one.decorate(double)
    assert function.map(range(20)) == [[x, x] for x in range(20)]
    assert one.trips == ["read_many"] + ["write", "write"] * 20
    one.trips.clear()
    assert function.map(range(20)) == [[x, x] for x in range(20)]
    assert one.trips == ["read_many"]
    info = function.cache_info()
    assert (info.hits, info.misses, info.computed) == (20, 20, 20)


def test_equal_calls_are_computed_once_and_each_gets_an_object_of_its_own(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(double)
    for _ in range(2):
        first, second, third = function.map([1, 1, 1])
        assert first == second == third == [1, 1]
        assert len({id(first), id(second), id(third)}) == 3
    assert function.cache_info().computed == 1


def test_all_hits_are_counted_with_what_they_save(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(double)
    told: list[Progress] = []
    function.warm(range(5))
    for items, hits in (([0, 1, 2], 3), ([3, 3, 4, 4, 4], 8), (range(5), 13)):
        before = function.cache_info().seconds_saved
        assert function.map(items, progress=told.append) == [double(x) for x in items]
        assert (told[-1].found, told[-1].left) == (len(items), 0)
        info = function.cache_info()
        assert (info.hits, info.misses, info.waited) == (hits, 5, 0)
        entries = [function.entry(x) for x in items]
        assert info.seconds_saved - before == pytest.approx(sum(entry.seconds for entry in entries))


def test_no_items_rows_and_generators(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(double)
    assert function.map([]) == []
    assert function.starmap([(1,), {"x": 2}]) == [[1, 1], [2, 2]]
    assert function.warm(iter(range(5))) == 3


def test_nothing_asks_nothing(worker: Callable[..., Worker]) -> None:
    one = worker()
    function = one.decorate(double)
    assert (function.map([]), function.starmap([]), function.warm([]), list(function.map([], lazy=True))) == (
        [],
        [],
        0,
        [],
    )
    assert one.trips == []


def test_a_lazy_sweep_takes_few_items_ahead_and_few_at_first(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(double)
    taken, ahead = [0], []

    def items() -> Iterator[int]:
        for x in range(1_000_000):
            taken[0] += 1
            yield x % 7

    lazy = function.map(items(), lazy=True)
    for given in range(1, 2_001):
        assert next(lazy) == [(given - 1) % 7] * 2
        ahead.append(taken[0] - given)
    assert ahead[0] < SIZES[-1]
    assert max(ahead) < SIZES[0]
    assert function.cache_info().computed == 7


def test_an_item_is_what_it_was_when_it_was_drawn(worker: Callable[..., Worker]) -> None:
    one = worker()
    function = one.decorate(lambda row: sum(row))
    function.warm([[0], [1], [2]])
    one.trips.clear()

    def rows() -> Iterator[list[int]]:
        for x in range(3):
            row = [x]
            yield row
            row[0] = 7

    assert function.map(rows()) == list(function.map(rows(), lazy=True)) == [0, 1, 2]
    assert set(one.trips) == {"read_many"}
    assert function.cache_info().computed == 3


@pytest.mark.parametrize("lazy", [False, True])
def test_one_object_again_and_again_is_refused(worker: Callable[..., Worker], *, lazy: bool) -> None:
    function = worker().decorate(lambda row, scale=1: sum(row) * scale)

    def rows(values: Iterable[int], buffers: int = 1) -> Iterator[list[int]]:
        taken = itertools.cycle([[0] for _ in range(buffers)])
        for x, row in zip(values, taken, strict=False):
            row[0] = x
            yield row

    assert list(function.map(rows([4, 4]), lazy=lazy)) == [4, 4]
    with pytest.raises(InvalidOptionError, match="item 2 has the very objects of an item before"):
        list(function.map(rows([4, 4, 5]), lazy=lazy))
    with pytest.raises(InvalidOptionError, match="item 3 has the very objects of an item before"):
        list(function.map(rows([4, 4, 4, 5], buffers=2), lazy=lazy))
    with pytest.raises(InvalidOptionError, match="item 1 has"):
        list(function.starmap(({"row": each, "scale": 2} for each in rows([4, 5])), lazy=lazy))
    assert function.cache_info().computed == 1


def test_values_outside_of_their_rows_come_whole(worker: Callable[..., Worker]) -> None:
    def large(x: int) -> bytes:
        return random.Random(x).randbytes(900_000)

    expected = [large(x) for x in range(4)]
    assert worker().decorate(large).map(range(4)) == expected
    again = worker().decorate(large)
    assert again.map([*range(4), 0]) == [*expected, expected[0]]
    assert again.cache_info().hits == 5


def test_large_values_are_looked_up_few_at_a_time(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "BYTES_AT_ONCE", 40_000)
    one = worker()
    function = one.decorate(lambda x: random.Random(x).randbytes(1_000))
    function.warm(range(160))
    one.keys.clear()
    assert function.warm(range(160)) == 0
    assert one.keys == ["100", "30", "30"]


@pytest.mark.slow
def test_300_values_of_300_kb_are_never_in_memory_together(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(lambda x: random.Random(x).randbytes(300_000))
    with ThreadPoolExecutor(4) as pool:
        function.warm(range(300), executor=pool)
    tracemalloc.start()
    try:
        assert sum(len(value) for value in function.map(range(300), lazy=True)) == 90_000_000
        _, lazy = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        assert function.warm(range(300)) == 0
        _, warm = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lazy < 60_000_000
    assert warm < 85_000_000


def test_the_code_of_a_key_is_that_after_the_items_were_made(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(scaled, version=None)

    def items() -> Iterator[int]:
        for scale in (2, 3):
            globals()["SCALE"] = scale
            yield scale

    try:
        for _ in range(2):
            assert function.map(items()) == [6, 9]
        assert function.cache_info().hits == 2
        globals()["SCALE"] = 2
        assert function.map([2, 3]) == [4, 6]
    finally:
        globals()["SCALE"] = 1


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


def test_equal_calls_that_fail_are_misses_each(worker: Callable[..., Worker]) -> None:
    def fail(x: int) -> int:
        raise ValueError(str(x))

    function = worker().decorate(fail)
    first, second, _ = function.map([1, 1, 2], on_item_error="return")
    assert first is second
    info = function.cache_info()
    assert (info.hits, info.misses, info.computed) == (0, 3, 2)


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


def test_progress_shows_nothing_where_nobody_looks(
    worker: Callable[..., Worker], capsys: pytest.CaptureFixture[str]
) -> None:
    worker().decorate(double).map(range(3), progress=True)
    assert capsys.readouterr() == ("", "")


def test_progress_says_what_there_is_to_say() -> None:
    assert str(Progress(0, 0, 0, 0, left=0, seconds_left=None)) == "nothing to do"
    assert str(Progress(1_200, 3, 0, 0, left=2, seconds_left=3_601.0)) == "1,200 found, 3 computed, 2 left, 1 h to go"
    assert str(Progress(0, 0, 4, 1, left=None, seconds_left=None)) == "4 elsewhere, 1 failed"
