"""The rules of a single call hold in a sweep: `stale_if_error`, `refresh_ahead`, `wait_timeout`, leases."""

from __future__ import annotations

import pickle
import time
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.calls.drawn import single
from dynmemo.calls.progress import Tally
from dynmemo.calls.sweep import Sweep
from dynmemo.entries import Entries
from dynmemo.item import Item
from dynmemo.leases import Watch, watch
from dynmemo.testing import Clock
from dynmemo.testing.together import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from tests.fleet.helpers import Worker


class Forecast:
    """What the fleet computes; it raises, or gives something else, when it is told to."""

    def __init__(self) -> None:
        self.add = 0
        self.fails = False

    def __call__(self, x: int) -> int:
        if self.fails:
            raise ValueError(x)
        return x + self.add


@pytest.fixture
def forecast() -> Forecast:
    return Forecast()


@pytest.mark.parametrize("workers", [0, 2], ids=["here", "threads"])
def test_expired_values_are_given_while_computing_raises(
    worker: Callable[..., Worker], forecast: Forecast, workers: int
) -> None:
    clock = Clock.present()
    function = worker(clock).decorate(forecast, ttl=100, stale_if_error=1000)
    function.warm(range(5))
    clock.now += 101
    forecast.fails = True
    with ThreadPoolExecutor(2) as pool:
        assert function.map(range(5), executor=pool if workers else None) == list(range(5))
    info = function.cache_info()
    assert (info.stale, info.computed, info.hits) == (5, 10, 0)


def test_hits_that_are_due_are_refreshed_behind_the_sweep(worker: Callable[..., Worker], forecast: Forecast) -> None:
    clock = Clock.present()
    function = worker(clock).decorate(forecast, ttl=1000, refresh_ahead=0.1)
    function.warm(range(5))
    clock.now += 901
    forecast.add = 10
    assert function.map(range(5)) == list(range(5))
    until(lambda: function.map(range(5)) == [x + 10 for x in range(5)])
    assert function.cache_info().computed == 10


def leave_a_lease(one: Worker, key: str, generation: str | None, seconds: float = 1.0) -> None:
    """What a worker of another machine writes that computes for a long time, or has died."""
    lease = Item(fn="fleet", gen=generation, lease_owner="of another machine", lease_seconds=seconds, lease_beat=0)
    one.cache.store.write(key, lease)
    one.trips.clear()


def leased(one: Worker, forecast: Forecast, **options: Any) -> Any:
    """A function whose call with 3 another worker computes, and does not end."""
    function = one.decorate(forecast, **options)
    function(0)
    row = one.row(function.cache_key(0))
    assert row is not None
    leave_a_lease(one, function.cache_key(3), row.gen)
    return function


def test_after_wait_timeout_what_another_computes_is_computed_here_and_not_stored(
    worker: Callable[..., Worker], forecast: Forecast
) -> None:
    one = worker()
    function = leased(one, forecast, wait_timeout=0.1)
    assert function.map([3]) == [3]
    assert "write" not in one.trips
    assert function.cache_info().bypassed == 1


def test_a_lease_ages_from_the_first_look_up_that_meets_it(worker: Callable[..., Worker], forecast: Forecast) -> None:
    # Whose worker is dead is taken over so much earlier, once nothing else is left to do.
    one = worker()
    function = leased(one, forecast)
    begun = Sweep(function, single([3]), Tally(None))
    begun.do(begun.begin())
    time.sleep(1.1)
    row = one.row(function.cache_key(3))
    assert row is not None
    assert Watch().expect_if_dead(row) is not None


class Elsewhere(Executor):
    """Workers that know nothing but what is sent to them, as those of another process."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self.submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        assert self.submitted < 10, "it is sent again and again"

        def run() -> Any:
            seen, watch._seen = dict(watch._seen), {}
            try:
                return fn(*args, **kwargs)
            finally:
                watch._seen = seen

        task = args[0]
        assert pickle.loads(pickle.dumps(task[1:])) == task[1:]
        return self._pool.submit(run)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def test_what_a_dead_worker_left_is_taken_over_at_once_by_a_worker_that_never_saw_it(
    worker: Callable[..., Worker], forecast: Forecast
) -> None:
    one = worker()
    function = leased(one, forecast)
    with Elsewhere() as pool:
        assert function.map([3], executor=pool) == [3]
        assert pool.submitted == 1
    assert set(one.trips[:-2]) == {"read_many"}
    assert one.trips[-2:] == ["write", "write"]


@pytest.mark.parametrize("is_over", [False, True], ids=["not read yet", "not believed any more"])
def test_a_live_lease_is_not_taken_over_by_who_does_not_know_the_generation(
    worker: Callable[..., Worker], forecast: Forecast, monkeypatch: pytest.MonkeyPatch, is_over: bool
) -> None:
    one, other = worker(), worker()
    function = one.decorate(forecast)
    function(0)
    row = one.row(function.cache_key(0))
    assert row is not None
    leave_a_lease(one, function.cache_key(3), row.gen, seconds=30.0)
    if is_over:
        monkeypatch.setattr(Entries, "known_generation", lambda entries, row=None: None)
    with Elsewhere() as pool:
        assert other.decorate(forecast, wait_timeout=0.1).map([3], executor=pool) == [3]
    assert "write" not in other.trips
    standing = one.row(function.cache_key(3))
    assert standing is not None
    assert standing.lease_owner == "of another machine"


def test_a_miss_in_a_worker_is_claim_and_write(worker: Callable[..., Worker], forecast: Forecast) -> None:
    one = worker()
    function = one.decorate(forecast)
    with Elsewhere() as pool:
        assert function.map(range(5), executor=pool) == list(range(5))
    assert one.trips == ["read_many"] + ["write", "write"] * 5


def test_what_was_stored_since_the_look_up_is_taken_with_the_refused_claim(
    worker: Callable[..., Worker], forecast: Forecast
) -> None:
    one, other = worker(), worker()
    function, elsewhere = one.decorate(forecast), other.decorate(forecast)

    class Late(Elsewhere):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            elsewhere(7)
            return super().submit(fn, *args, **kwargs)

    with Late() as pool:
        assert function.map([7], executor=pool) == [7]
    assert one.trips == ["read_many", "write"]
    assert function.cache_info().computed == 0
