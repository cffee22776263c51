"""Workers whose clocks differ, and an engine that deletes by its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from dynmemo.item import Item
from dynmemo.testing.together import until
from tests.fleet.helpers import Work

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.helpers import Worker

HOUR = 3600.0


@pytest.mark.parametrize(("leads", "waits"), [(-HOUR, HOUR), (HOUR, -HOUR)], ids=["slow leads", "fast leads"])
def test_workers_an_hour_or_two_apart_compute_once(worker: Callable[..., Worker], leads: float, waits: float) -> None:
    leader = worker(lambda: time.time() + leads, lease_seconds=1)  # shorter than the difference by far
    waiter = worker(lambda: time.time() + waits, lease_seconds=1)
    work, never = Work(hold=True), Work("never")
    computing = leader.decorate(work, ttl="6h")
    waiting = waiter.decorate(never, ttl="6h")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        second = pool.submit(waiting)
        until(lambda: _beat(leader, computing.cache_key()) >= 4)  # beyond the lease's own time
        work.go.set()
        assert first.result() == second.result() == "result"
    assert never.runs == 0
    assert set(waiter.trips) == {"read"}
    assert waiting() == computing() == "result"


def _beat(worker: Worker, key: str) -> int:
    row = worker.row(key)
    return 0 if row is None else row.lease_beat or 0


@pytest.mark.parametrize("kind", [pytest.param("dynamodb", marks=pytest.mark.dynamodb)])
def test_the_engine_deletes_no_live_lease_of_a_worker_whose_clock_is_slow(
    worker: Callable[..., Worker], kind: str
) -> None:
    leader, work = worker(lambda: time.time() - HOUR, lease_seconds=1), Work(hold=True)
    function = leader.decorate(work)
    leader.cache.store.write("control", Item(b"expired", ttl_date=int(time.time() - 1)))
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(function)
        until(lambda: work.runs)
        until(lambda: leader.row("control") is None)  # the engine has looked for what has expired
        row = leader.row(function.cache_key())
        assert row is not None
        assert row.lease_owner is not None
        work.go.set()
        assert call.result() == "result"
    assert function() == "result"
    assert work.runs == 1
