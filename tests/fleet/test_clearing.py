"""Forgetting while others compute, wait, read and remember."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import dynmemo
from dynmemo.generations import RECHECK_SECONDS, Generations
from dynmemo.item import Item
from dynmemo.testing import Clock
from dynmemo.testing.together import until
from tests.fleet.helpers import Work, done, notes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.helpers import Fleet, Worker


def clocked(worker: Worker) -> Clock:
    """The clock by which a worker believes what it knows of generations."""
    clock = Clock.present()
    worker.cache.generations = Generations(clock, lambda low, high: high)
    return clock


def test_a_result_computed_while_its_function_was_cleared_is_returned_and_not_served(
    worker: Callable[..., Worker],
) -> None:
    one, other = worker(), worker()
    work, again = Work("before", hold=True), Work("after")
    computing, clearing = one.decorate(work), other.decorate(again)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(computing)
        until(lambda: work.runs)
        clearing.cache_clear()
        assert clearing() == "after"
        work.go.set()
        assert call.result() == "before"
    assert (work.runs, again.runs) == (1, 1)
    assert clearing() == "after"
    assert computing() == "after"


def test_who_waits_while_the_function_is_cleared_gets_a_new_result(worker: Callable[..., Worker]) -> None:
    leader, waiters = worker(), [worker(), worker()]
    work, new = Work("before", hold=True), Work("after")
    computing, waiting = leader.decorate(work), [each.decorate(new) for each in waiters]
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        calls = [pool.submit(function) for function in waiting]
        until(lambda: all(len(each.trips) >= 3 for each in waiters))
        waiting[0].cache_clear()
        assert [call.result() for call in calls] == ["after"] * 2
        work.go.set()
        assert first.result() == "before"
    assert [function() for function in (*waiting, computing)] == ["after"] * 3
    assert (work.runs, new.runs) == (1, 1)


def test_others_serve_what_was_cleared_for_the_stated_seconds_at_most(worker: Callable[..., Worker]) -> None:
    one, other = worker(), worker()
    clock = clocked(other)
    clearing, reading = one.decorate(Work("before")), other.decorate(Work("after"))
    clearing()
    assert reading() == "before"
    # The rows of a local file are deleted, those of a table forgotten: so they come back as a table would have them.
    row = one.row(reading.cache_key())
    assert row is not None
    clearing.cache_clear()
    one.cache.store.write(reading.cache_key(), row)
    clock.now += RECHECK_SECONDS - 0.001
    assert reading() == "before"
    clock.now += 0.001
    assert reading() == "after"
    assert clearing() == "after"


def test_a_process_that_reads_learns_that_another_one_cleared(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_RECHECK", "0.2")
    reader = fleet.start("ask_again", "reader")
    (fleet.folder / "again 0").touch()
    until(lambda: fleet.computed() == ["reader"])
    done(fleet.start("forget", "other"))
    rounds = 1
    while len(fleet.computed()) == 1:
        (fleet.folder / f"again {rounds}").touch()
        rounds += 1
        until(partial(_has_told, fleet, rounds))
        assert rounds < 1000
    (fleet.folder / "end").touch()
    done(reader)
    assert fleet.told("reader")["computed"] == 2


def _has_told(fleet: Fleet, times: int) -> bool:
    return len(notes(fleet.folder / "told reader")) == times


def test_processes_that_know_different_generations_do_not_wrest_the_entry_from_each_other(
    worker: Callable[..., Worker],
) -> None:
    one, other = worker(), worker()
    for each in (one, other):
        clocked(each)
    works = Work("one"), Work("other")
    first, second = one.decorate(works[0]), other.decorate(works[1])
    assert first() == second() == "one"
    second.cache_clear()  # and the first one believes the old generation, for its clock stands still
    for _ in range(5):
        assert second() == "other"
        assert first() == "other"
    assert (works[0].runs, works[1].runs) == (1, 1)
    info = first.cache_info()
    # Of the ten look-ups one found another generation than the known one, and read both rows anew, in one go.
    assert info.hits == 5
    assert one.trips == ["read", "write", "write"] + ["read"] * 5
    assert info.requests == len(one.trips) + 3 + 1


def test_who_knows_an_old_generation_waits_for_a_lease_of_the_new_one(worker: Callable[..., Worker]) -> None:
    one, other = worker(), worker()
    clocked(one)
    works = Work("one"), Work("other", hold=True)
    first, second = one.decorate(works[0]), other.decorate(works[1])
    first(1)
    second.cache_clear()
    with ThreadPoolExecutor(2) as pool:
        leading = pool.submit(second)
        until(lambda: works[1].runs)
        waiting = pool.submit(first)
        until(lambda: one.trips[3:].count("read") >= 3)
        works[1].go.set()
        assert leading.result() == waiting.result() == "other"
    assert works[0].runs == 1


def test_clearing_leaves_what_other_programs_stored(worker: Callable[..., Worker]) -> None:
    only = worker()
    one, two = only.decorate(Work(), name="one"), only.decorate(Work(), name="two")
    only.cache.set("session", b"of .NET", sliding="20m")
    foreign = only.row("session")
    dynmemo.configure(only.cache)
    try:
        for what in (one, "two", None):
            one(), two()
            dynmemo.clear(what)
            assert only.row("session") == foreign
        assert one.entry() is None
        assert two.entry() is None
    finally:
        dynmemo.configure(None)


@pytest.mark.parametrize("kept", [None, "1h"], ids=["over the row", "beside an expired value"])
def test_a_result_invalidated_while_it_was_computed_is_returned_and_not_stored(
    worker: Callable[..., Worker], kept: str | None
) -> None:
    clock = Clock.present()
    one, other = worker(clock), worker(clock)
    work, new = Work("expired"), Work("after")
    computing, forgetting = (
        each.decorate(function, ttl=100, stale_if_error=kept) for each, function in ((one, work), (other, new))
    )
    computing()
    clock.now += 101
    work.result = "before"
    work.go.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(computing)
        until(lambda: work.runs == 2)
        forgetting.invalidate()
        work.go.set()
        assert call.result() == "before"
    assert computing.cache_info().bypassed == 1
    assert forgetting.entry() is None
    assert forgetting() == "after"


def test_a_foreign_row_under_the_key_is_a_miss_that_is_overwritten(worker: Callable[..., Worker]) -> None:
    only, work = worker(), Work()
    function = only.decorate(work)
    only.cache.store.write(function.cache_key(), Item(b"rubbish"))
    assert [function(), function()] == ["result"] * 2
    assert work.runs == 1


FORGETTING: dict[str, Any] = {
    "invalidate": lambda function: function.invalidate(),
    "cache_clear": lambda function: function.cache_clear(),
    "purge": dynmemo.purge,
}


@pytest.mark.parametrize("forget", FORGETTING.values(), ids=FORGETTING)
def test_a_call_does_not_wait_for_what_began_before_its_entry_was_forgotten(
    worker: Callable[..., Worker], forget: Callable[[Any], object]
) -> None:
    results, first = ["before", "after"], threading.Event()
    runs: list[str] = []

    def compute() -> str:
        runs.append(results[len(runs)])
        mine = runs[-1]
        assert mine == "after" or first.wait(60)
        return mine

    function = worker().decorate(compute)
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(function)
        until(lambda: runs)
        follower = pool.submit(function)
        until(lambda: function.cache_info().misses == 2)
        forget(function)
        assert function() == "after"
        first.set()
        assert leader.result() == "before"
        assert follower.result() == "after"  # what its leader computed could not be published
    assert function() == "after"
    assert runs == ["before", "after"]


def test_who_follows_a_computation_that_was_forgotten_elsewhere_goes_on_with_one_of_them_leading(
    worker: Callable[..., Worker],
) -> None:
    here, elsewhere = worker(), worker()
    work = Work("before", hold=True)
    function, other = here.decorate(work), elsewhere.decorate(Work())
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(function) for _ in range(4)]
        until(lambda: work.runs and function.cache_info().misses == 4)
        other.invalidate()
        work.result = "after"
        work.go.set()
        results = [call.result() for call in calls]
    assert results == ["after"] * 4
    assert work.runs == 2


def test_a_refresh_ahead_that_was_forgotten_is_not_waited_for(worker: Callable[..., Worker]) -> None:
    clock = Clock.present()
    one = worker(clock=clock)
    work = Work("old")
    function = one.decorate(work, ttl=1000, refresh_ahead=0.5)
    function()
    clock.now += 600
    work.go.clear()
    assert function() == "old"
    until(lambda: work.runs == 2)
    function.invalidate()
    new = one.decorate(Work("new"), ttl=1000, refresh_ahead=0.5)
    assert new() == "new"
    work.go.set()
    assert new() == "new"
