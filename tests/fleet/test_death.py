"""Leaders that are killed, stopped, interrupted or forked, and leases of which nobody knows."""

from __future__ import annotations

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dynmemo.item import Item
from dynmemo.testing.together import until
from tests.fleet.helpers import Work, can_fork, done, notes, on_posix

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.helpers import Fleet, Worker


@on_posix
def test_a_killed_leader_has_exactly_one_successor_at_once(fleet: Fleet, worker: Callable[..., Worker]) -> None:
    leader = fleet.start("ask", "leader", hold=True, lease_seconds=3600)
    until(fleet.computed)
    waiters = [fleet.start("ask", f"waiter {n}", lease_seconds=3600) for n in range(2)]
    here = worker(lease_seconds=3600)
    function = here.decorate(Work("here"))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(function)
        until(lambda: len(here.trips) >= 4)
        leader.kill()  # and not yet waited for
        done(*waiters)
        result = waiting.result()
    assert leader.wait() == -signal.SIGKILL
    told = [fleet.told(f"waiter {n}") for n in range(2)]
    assert {each["result"] for each in told} == {result}
    assert sum(each["computed"] for each in told) + function.cache_info().computed == 1


@on_posix
def test_a_stopped_leader_is_succeeded_and_its_late_result_goes_to_its_caller_only(
    fleet: Fleet, worker: Callable[..., Worker]
) -> None:
    leader = fleet.start("ask", "leader", hold=True, lease_seconds=1)
    until(fleet.computed)
    leader.send_signal(signal.SIGSTOP)
    successor = worker()
    function = successor.decorate(Work("successor"))
    assert function() == "successor"
    assert set(successor.trips[:-2]) == {"read"}
    assert successor.trips[-2:] == ["write", "write"]
    fleet.release("leader")
    leader.send_signal(signal.SIGCONT)
    done(leader)
    told = fleet.told("leader")
    assert (told["result"], told["computed"], told["bypassed"], told["errors"]) == ("leader", 1, 1, 0)
    assert function() == "successor"


def test_a_lease_whose_owner_cannot_be_judged_is_taken_over_after_its_own_time(worker: Callable[..., Worker]) -> None:
    one, other = worker(), worker()
    works = Work("one"), Work("other")
    functions = one.decorate(works[0]), other.decorate(works[1])
    key = functions[0].cache_key()
    _strangers_lease(one, functions[0], key)
    one.trips.clear()
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        results = [call.result() for call in [pool.submit(function) for function in functions]]
    assert time.monotonic() - began >= 1
    assert results[0] == results[1]
    assert works[0].runs + works[1].runs == 1
    waiter = other if works[0].runs else one
    assert waiter.trips.count("write") <= 1, "at most a claim that came too late"
    assert set(waiter.trips) <= {"read", "write"}


def _strangers_lease(worker: Worker, function: Callable[[int], object], key: str) -> None:
    function(1)  # learns the generation
    known = worker.row(function.cache_key(1))  # type: ignore[attr-defined]  # it is decorated
    assert known is not None
    far = int(time.time()) + 86_400
    lease = Item(ttl_date=far, fn="fleet", gen=known.gen, lease_owner="a stranger", lease_seconds=1, lease_beat=7)
    worker.cache.store.write(key, lease)
    function.__wrapped__.runs = 0  # type: ignore[attr-defined]


@on_posix
def test_an_interrupted_leader_hands_over_to_who_waits_in_its_process(fleet: Fleet) -> None:
    leader = fleet.start("interrupted", "leader", hold=True)
    until((fleet.folder / "follower waits").exists)
    leader.send_signal(signal.SIGINT)
    done(leader)
    assert notes(fleet.folder / "interrupted") == ["leader"]
    assert fleet.computed() == ["leader"] * 2
    assert fleet.told("leader") == {"follower": "leader"}


@on_posix
def test_an_interrupted_leader_gives_its_lease_up_to_other_processes(
    fleet: Fleet, worker: Callable[..., Worker]
) -> None:
    leader = fleet.start("ask", "leader", hold=True, lease_seconds=3600)
    until(fleet.computed)
    leader.send_signal(signal.SIGINT)
    assert leader.wait(60) != 0
    waiter = worker()
    function = waiter.decorate(Work("here"))
    assert waiter.row(function.cache_key()) is None
    assert function() == "here"


@can_fork
def test_a_child_forked_in_the_middle_waits_for_its_parent_as_another_process(fleet: Fleet) -> None:
    parent = fleet.start("fork", "parent", hold=True)
    done(parent)
    assert fleet.computed() == ["parent"]
    child, told = fleet.told("child"), fleet.told("parent")
    assert child["result"] == told["result"] == "parent"
    assert (child["waited"], told["computed"], told["hits"]) == (1, 1, 1)
