"""Who computes and who waits: recursion, failures, what cannot be shared, and how long anybody waits."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from dynmemo import Cache, dynamo_cached
from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Item
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing import Clock
from dynmemo.testing.together import until
from tests.fleet.helpers import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dynmemo.item import Expect
    from tests.fleet.helpers import Worker


# --- calls within calls ---


def test_a_recursive_function_computes_each_step_once(worker: Callable[..., Worker]) -> None:
    def fibonacci(n: int) -> int:
        runs.append(n)
        result: int = n if n < 2 else cached(n - 1) + cached(n - 2)
        return result

    runs: list[int] = []
    cached = worker().decorate(fibonacci)
    assert cached(12) == 144
    assert sorted(runs) == list(range(13))


def test_mutually_recursive_functions_of_two_workers_do_not_wait_for_each_other(worker: Callable[..., Worker]) -> None:
    def even(n: int) -> bool:
        return n == 0 or cached_odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and cached_even(n - 1)

    workers = worker(), worker()
    cached_even = workers[0].decorate(even, name="even")
    cached_odd = workers[1].decorate(odd, name="odd")
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(cached_even, 10), pool.submit(cached_odd, 9)]
        assert [call.result(60) for call in calls] == [True, True]
    computed = cached_even.cache_info().computed + cached_odd.cache_info().computed
    assert 11 <= computed <= 22


def test_a_call_that_asks_for_itself_ends(worker: Callable[..., Worker]) -> None:
    def nested(x: int) -> int:
        depth.append(x)
        result: int = x if len(depth) > 1 else cached(x) + 1
        return result

    depth: list[int] = []
    only = worker()
    cached = only.decorate(nested)
    assert cached(1) == 2
    assert cached(1) == 2
    assert len(depth) == 2
    assert cached.cache_info().bypassed == 1  # the inner one


def test_threads_that_ask_for_each_others_keys_end(worker: Callable[..., Worker]) -> None:
    together = threading.Barrier(2)

    def crossing(x: int, depth: int = 0) -> int:
        runs.append(x)
        if len(runs) <= 2:
            together.wait(60)
            return x + int(cached(1 - x))
        return x

    runs: list[int] = []
    cached = worker().decorate(crossing)
    with ThreadPoolExecutor(2) as pool:
        assert sum(call.result(60) for call in [pool.submit(cached, 0), pool.submit(cached, 1)]) in (2, 3)
    assert 2 <= len(runs) <= 4


# --- failures ---


def test_followers_in_the_process_get_the_leaders_exception(worker: Callable[..., Worker]) -> None:
    error = ValueError("no such city")
    only, work = worker(), Work(error, hold=True)
    function = only.decorate(work)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(function) for _ in range(4)]
        until(lambda: function.cache_info().misses == 4)
        until(lambda: work.runs)
        threading.Timer(0.1, work.go.set).start()  # the last of them may not yet wait
        assert [call.exception() for call in calls] == [error] * 4
    assert work.runs == 1
    assert only.row(function.cache_key()) is None


class SlowToRemove(SqliteStore):
    """What removes a row waits until it is told to go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked, self.goes_on = threading.Event(), threading.Event()

    def remove(self, key: str, expect: Expect | None = None) -> Item | None:
        self.asked.set()
        assert self.goes_on.wait(20)
        return super().remove(key, expect)


def test_a_call_that_begins_after_an_exception_computes_itself_while_the_lease_is_still_being_given_up(
    tmp_path: Path,
) -> None:
    store, work = SlowToRemove(tmp_path / "cache.db"), Work(ValueError("the forecast is down"))
    function: Any = dynamo_cached(cache=Cache(store), name="fleet", version=1)(work)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(function)
        assert store.asked.wait(20)
        work.result = "well again"
        second = pool.submit(function)
        until(lambda: function.cache_info().misses == 2)
        time.sleep(0.1)  # for what comes of a call after it was counted
        store.goes_on.set()
        assert isinstance(first.exception(20), ValueError)
        assert second.result(20) == "well again"
    store.close()


def test_other_processes_take_over_one_at_a_time_when_the_leader_raises(worker: Callable[..., Worker]) -> None:
    running = threading.Semaphore(1)

    def fail() -> None:
        assert running.acquire(blocking=False), "two computed at once"
        runs.append(threading.get_ident())
        running.release()
        raise ValueError("no such city")

    runs: list[int] = []
    functions = [worker().decorate(fail) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(function) for function in functions]
        assert [str(call.exception()) for call in calls] == ["no such city"] * 4
    assert len(runs) == 4


def test_a_follower_leads_after_the_leader_was_interrupted(worker: Callable[..., Worker]) -> None:
    only, going = worker(), threading.Event()

    def compute() -> str:
        runs.append(1)
        if len(runs) == 1:
            assert going.wait(60)
            raise KeyboardInterrupt
        return "result"

    runs: list[int] = []
    function = only.decorate(compute)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(function) for _ in range(4)]
        until(lambda: function.cache_info().misses == 4)
        going.set()
        outcomes = [call.exception() or call.result() for call in calls]
    assert sorted(map(str, outcomes)) == ["", "result", "result", "result"]
    assert len(runs) == 2


# --- what cannot be shared ---


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(("later", "runs"), [(1.0, 1), (6.0, 2)])
def test_what_could_not_be_stored_is_shared_in_memory_with_those_who_joined_soon(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch, later: float, runs: int
) -> None:
    leader, work = worker(), Work(hold=True)
    function = leader.decorate(work)

    def down(*args: object) -> NoReturn:
        raise StoreUnavailableError("down", operation="write")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(function)
        until(lambda: work.runs)
        began = time.time()
        monkeypatch.setattr("dynmemo.calls.miss.time.time", lambda: began + later)
        trips = len(leader.trips)
        second = pool.submit(function)
        until(lambda: len(leader.trips) > trips)
        time.sleep(0.05)
        monkeypatch.setattr(type(leader.cache.store), "write", down)
        work.go.set()
        assert [first.result(), second.result()] == ["result", "result"]
    assert work.runs == runs


@pytest.mark.parametrize(
    ("result", "options", "of_cache"),
    [
        (None, {"cache_if": lambda result: result is not None}, {}),
        (generator(), {}, {}),
        (b"x" * 1000, {"serializer": "bytes"}, {"max_value_bytes": 100}),
        (1, {"ttl": lambda result: 0}, {}),
    ],
    ids=["cache_if", "not picklable", "too large", "ttl has run out"],
)
def test_who_waits_for_what_cannot_be_shared_computes_at_once(
    worker: Callable[..., Worker], result: object, options: dict[str, Any], of_cache: dict[str, Any]
) -> None:
    leader, waiters = worker(**of_cache), [worker(**of_cache) for _ in range(3)]
    together, work = threading.Barrier(3), Work(result, hold=True)

    def compute(x: int = 0) -> object:
        together.wait(30)  # breaks if one waited for another
        return result

    computing, waiting = leader.decorate(work, **options), [each.decorate(compute, **options) for each in waiters]
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        calls = [pool.submit(function) for function in waiting]
        until(lambda: all(len(each.trips) >= 3 for each in waiters))
        work.go.set()
        assert [call.result() for call in (first, *calls)] == [result] * 4
    row = leader.row(computing.cache_key())
    assert row is not None
    assert row.value is None
    assert row.no_store
    info = [function.cache_info() for function in (computing, *waiting)]
    assert [each.computed for each in info] == [each.bypassed for each in info] == [1] * 4


@pytest.mark.parametrize(
    ("result", "options"),
    [(generator(), {}), (b"x" * 1000, {"serializer": "bytes"})],
    ids=["not picklable", "too large"],
)
def test_each_thread_computes_what_has_no_stored_form_and_counts_that(
    worker: Callable[..., Worker], result: object, options: dict[str, Any]
) -> None:
    work = Work(result, hold=True)
    function = worker(max_value_bytes=200).decorate(work, **options)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(function) for _ in range(3)]
        until(lambda: function.cache_info().misses == 3)
        until(lambda: work.runs)
        work.go.set()
        assert [call.result() for call in calls] == [result] * 3
    info = function.cache_info()
    assert (info.computed, info.bypassed, info.waited) == (3, 3, 0)


def test_what_became_storable_is_stored_by_who_computes_without_a_lease(worker: Callable[..., Worker]) -> None:
    one, other = worker(), worker()
    refusing = one.decorate(Work(), cache_if=lambda result: False)
    accepting = other.decorate(Work("new"))
    assert refusing() == "result"
    assert [accepting(), accepting()] == ["new", "new"]
    assert other.trips == ["read", "write", "read"]


# --- how long ---


def test_who_has_waited_for_its_time_computes_without_storing(worker: Callable[..., Worker]) -> None:
    leader, waiter, work, own = worker(), worker(), Work(hold=True), Work("own")
    computing = leader.decorate(work)
    impatient = waiter.decorate(own, wait_timeout=0.2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        assert impatient() == "own"
        assert set(waiter.trips) == {"read"}
        # The same within the process of the leader.
        here = leader.decorate(own, wait_timeout=0.2)
        assert here() == "own"
        assert impatient.cache_info().bypassed == here.cache_info().bypassed == 1
        work.go.set()
        assert first.result() == "result"
    assert impatient() == "result"
    assert own.runs == 2


def test_without_single_flight_nobody_waits_and_nothing_is_claimed(worker: Callable[..., Worker]) -> None:
    workers = [worker() for _ in range(3)]
    together = threading.Barrier(3)

    def compute() -> str:
        together.wait(60)
        return "result"

    functions = [each.decorate(compute, single_flight=False) for each in workers]
    with ThreadPoolExecutor(3) as pool:
        assert [call.result() for call in [pool.submit(each) for each in functions]] == ["result"] * 3
    assert all(each.trips == ["read", "write"] for each in workers)
    assert functions[0]() == "result"


def test_recompute_stores_its_result_over_who_computes(worker: Callable[..., Worker]) -> None:
    leader, other, waiter = worker(), worker(), worker()
    work, new = Work("old", hold=True), Work("new")
    computing, anew, waiting = leader.decorate(work), other.decorate(new), waiter.decorate(Work("never"))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        second = pool.submit(waiting)
        until(lambda: len(waiter.trips) >= 3)
        assert anew.recompute() == "new"
        assert second.result() == "new"
        work.go.set()
        assert first.result() == "old"
    assert other.trips == ["read", "write", "write"]  # the row, a lease over it whoever has one, the value
    assert computing.cache_info().bypassed == 1
    assert computing() == "new"
    assert (work.runs, new.runs) == (1, 1)


def test_recompute_leaves_the_value_readable_until_it_takes_its_place(worker: Callable[..., Worker]) -> None:
    only, reader, work = worker(), worker(), Work("old")
    function, reading = only.decorate(work), reader.decorate(Work("never"))
    function()
    work.result = "new"
    work.go.clear()
    del only.trips[:]
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function.recompute)
        until(lambda: work.runs == 2)
        assert reading() == "old"
        work.go.set()
        assert call.result() == "new"
    assert reading() == function() == "new"
    # The value, a lease beside it, whether the value is still there, the new value, the lease's end; a renewal before
    # the value is a touch of the lease.
    assert only.trips == ["read", "write", "read", "write", "remove", "read"]


def test_who_misses_waits_for_a_recomputation_of_what_has_expired(worker: Callable[..., Worker]) -> None:
    clock = Clock.present()
    one, other, work = worker(clock), worker(clock), Work("old")
    function, waiting = one.decorate(work, ttl=100), other.decorate(Work("never"), ttl=100)
    function()
    clock.now += 101
    work.result = "new"
    work.go.clear()
    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(function.recompute)
        until(lambda: work.runs == 2)
        waits = pool.submit(waiting)
        until(lambda: len(other.trips) >= 3)
        work.go.set()
        assert call.result() == waits.result() == "new"
    assert set(other.trips) == {"read"}


@pytest.mark.parametrize("stored", [True, False])
def test_what_is_invalidated_while_it_is_recomputed_is_not_stored(worker: Callable[..., Worker], stored: bool) -> None:
    only, other, work = worker(), worker(), Work("old")
    function, forgetting = only.decorate(work), other.decorate(Work("after"))
    if stored:
        function()
    before = work.runs
    work.go.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function.recompute)
        until(lambda: work.runs > before)
        forgetting.invalidate()
        work.go.set()
        assert call.result() == "old"
    assert function.cache_info().bypassed == 1
    assert forgetting() == "after"


@pytest.mark.parametrize("after", ["call", "recompute"])
def test_what_was_computed_after_an_invalidation_stays_when_an_older_recomputation_ends(
    worker: Callable[..., Worker], after: str
) -> None:
    only, other, work = worker(), worker(), Work("old")
    function, newer = only.decorate(work), other.decorate(Work("new"))
    function()
    work.go.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function.recompute)
        until(lambda: work.runs == 2)
        newer.invalidate()
        assert (newer() if after == "call" else newer.recompute()) == "new"
        work.go.set()
        assert call.result() == "old"
    assert [newer(), function()] == ["new"] * 2


def test_an_older_recomputation_leaves_what_a_new_generation_stored(worker: Callable[..., Worker]) -> None:
    only, other, work = worker(), worker(), Work("old")
    function, newer = only.decorate(work), other.decorate(Work("new"))
    function()
    work.go.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function.recompute)
        until(lambda: work.runs == 2)
        newer.cache_clear()
        assert newer() == "new"
        work.go.set()
        assert call.result() == "old"
    assert newer() == "new"
    assert newer.cache_info().computed == 1


def test_of_two_recomputations_the_one_that_began_later_is_stored(worker: Callable[..., Worker]) -> None:
    early, late = worker(), worker()
    slow, quick = Work("first", hold=True), Work("second")
    first, second = early.decorate(slow), late.decorate(quick)
    second()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(first.recompute)
        until(lambda: slow.runs)
        quick.result = "newest"
        assert second.recompute() == "newest"
        slow.go.set()
        assert call.result() == "first"
    assert [first(), second()] == ["newest"] * 2
    assert first.cache_info().bypassed == 1


def test_recompute_stores_over_what_another_stored_meanwhile(worker: Callable[..., Worker]) -> None:
    one, other = worker(), worker()
    work = Work("first")
    function = one.decorate(work)
    function()
    stored = one.row(function.cache_key())
    assert stored is not None
    work.result = "recomputed"
    work.go.clear()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function.recompute)
        until(lambda: work.runs == 2)
        other.cache.store.write(function.cache_key(), stored)  # as one does that was late
        work.go.set()
        assert call.result() == "recomputed"
    assert function() == "recomputed"


# --- beside a value that is gone, or at the end of its time ---


def test_who_waited_beside_a_value_that_was_invalidated_waits_for_who_leads_in_its_place(
    worker: Callable[..., Worker],
) -> None:
    clock = Clock.present()
    first, waiter, third = (worker(clock) for _ in range(3))
    # Who looks between the removals of lease and value finds a value without a lease, and computes.
    gate, read = threading.Lock(), waiter.cache.store.read

    def gated(*what: Any, **how: Any) -> Any:
        with gate:
            return read(*what, **how)

    waiter.cache.store.read = gated  # type: ignore[method-assign]
    old, never, new = Work("old"), Work("never"), Work("new", hold=True)
    leading, waiting, after = (
        each.decorate(work, ttl=100, stale_if_error=1000)
        for each, work in ((first, old), (waiter, never), (third, new))
    )
    leading()
    clock.now += 101
    old.go.clear()
    with ThreadPoolExecutor(3) as pool:
        early = pool.submit(leading)
        until(lambda: old.runs == 2)
        late = pool.submit(waiting)
        until(lambda: len(waiter.trips) >= 3)
        with gate:
            after.invalidate()
        newest = pool.submit(after)
        until(lambda: new.runs == 1)
        until(lambda: waiter.keys[-2:] == [waiting.cache_key()] * 2)  # it looks where the third leads
        new.go.set()
        old.go.set()
        assert [early.result(), late.result(), newest.result()] == ["old", "new", "new"]
    assert never.runs == 0


def test_who_recomputes_what_was_invalidated_before_its_claim_is_waited_for(worker: Callable[..., Worker]) -> None:
    one, other = worker(), worker()
    forgets: list[Any] = []
    write = one.cache.store.write

    def forgetting(key: str, *rest: Any) -> Any:
        if forgets and key.endswith("#lease"):
            forgets.pop()()
        return write(key, *rest)

    one.cache.store.write = forgetting  # type: ignore[assignment, method-assign]
    work, never = Work("old"), Work("never")
    function, waiting = one.decorate(work), other.decorate(never)
    function()
    work.result = "new"
    work.go.clear()
    forgets.append(waiting.invalidate)
    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(function.recompute)
        until(lambda: work.runs == 2)
        waits = pool.submit(waiting)
        until(lambda: other.trips.count("read") >= 2)
        work.go.set()
        assert call.result() == waits.result() == "new"
    assert not forgets
    assert never.runs == 0


@pytest.mark.parametrize("options", [{}, {"stale_if_error": 100}])
def test_who_finds_a_value_at_the_end_of_its_time_waits_for_who_computes_beside_it(
    worker: Callable[..., Worker], options: dict[str, int]
) -> None:
    clock = Clock.present()
    one, other = worker(clock), worker(clock)
    work, never = Work("old"), Work("never")
    function, waiting = one.decorate(work, ttl=100, **options), other.decorate(never, ttl=100, **options)
    function()
    clock.now += 101 if options else 0
    work.result = "new"
    work.go.clear()
    with ThreadPoolExecutor(2) as pool:
        call = pool.submit(function if options else function.recompute)
        until(lambda: work.runs == 2)
        clock.now += 101
        waits = pool.submit(waiting)
        until(lambda: len(other.trips) >= 4)
        work.go.set()
        assert call.result() == waits.result() == "new"
    assert never.runs == 0
    assert set(other.trips) == {"read"}


def test_a_miss_looks_beside_an_expired_value_only(worker: Callable[..., Worker]) -> None:
    clock = Clock.present()
    only, work = worker(clock), Work()
    function = only.decorate(work, ttl=100)
    function()
    assert only.trips == ["read", "write", "write"]
    clock.now += 101
    function()
    key = function.cache_key()
    assert only.trips[3:] == ["read", "read", "write", "write"]
    assert only.keys[3:] == [key, f"{key}#lease", key, key]
    function.cache_clear()
    del only.trips[:]
    function()
    assert only.trips == ["read", "write", "write"]


def test_a_dead_lease_is_found_by_calls_that_wait_for_less_than_it_lasts(worker: Callable[..., Worker]) -> None:
    alive, work = worker(lease_seconds=1), Work()
    function = alive.decorate(work, wait_timeout=0.3)
    function(0)
    key, entry = function.cache_key(1), alive.row(function.cache_key(0))
    assert entry is not None
    dead = Item(
        ttl_date=int(time.time()) + 1000,
        fn=entry.fn,
        gen=entry.gen,
        lease_owner="elsewhere/1/1/dead",
        lease_seconds=1.0,
        lease_beat=3,
    )
    alive.cache.store.write(key, dead)
    calls = 0
    while (row := alive.row(key)) is None or row.value is None:
        assert function(1) == "result"
        calls += 1
        assert calls < 20
    assert calls > 1


def test_who_waits_for_what_is_not_stored_sees_nothing_of_what_the_leaders_caller_does_to_it(
    worker: Callable[..., Worker],
) -> None:
    one, go = worker(), threading.Event()

    def load(x: int = 0) -> list[int]:
        assert go.wait(30)
        return [1] * 100_000

    function = one.decorate(load, cache_if=lambda value: False)

    def call() -> bool:
        result = function()
        was_right = bool(result == [1] * 100_000)
        result.clear()
        return was_right

    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(call) for _ in range(4)]
        until(lambda: len(one.trips) >= 4)
        time.sleep(0.2)
        go.set()
        assert [each.result() for each in calls] == [True] * 4
