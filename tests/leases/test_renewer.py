"""Leases are renewed as long as somebody computes under them, and no longer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from dynmemo.item import Expect
from dynmemo.leases import Leases, Spot
from dynmemo.leases.lease import Renewer, renewer
from dynmemo.parts import DAY
from dynmemo.testing.together import at_once, until
from tests.leases.helpers import DOWN, FN, GENERATION, START, Bench, Trips, held, read, value

if TYPE_CHECKING:
    from pathlib import Path

    from dynmemo.item import Store
    from dynmemo.leases import Lease
    from dynmemo.stores.sqlite import SqliteStore

SHORT = 0.09
"""Seconds of a lease that the thread renews every 30 ms."""


# --- when, by a clock turned by hand ---


def test_a_lease_is_renewed_every_third_of_its_time(store: Store) -> None:
    bench = Bench(store, seconds=30.0)
    lease = bench.claim()
    bench.go_on(9.9)
    assert bench.trips.made == ["write"]
    bench.go_on(0.1)
    row = read(store)
    assert (row.etag, row.lease_beat, row.ttl_date) == (lease.etag, 1, int(START) + 10 + 30 + DAY)
    bench.go_on(590)
    assert read(store).lease_beat == 60
    assert bench.trips.made == ["write"] + ["renew"] * 60


def test_leases_are_renewed_each_in_its_own_time(sqlite_store: SqliteStore) -> None:
    bench = Bench(sqlite_store, seconds=30.0)
    slow = bench.claim("slow")
    bench.leases.seconds = 3.0
    fast = bench.claim("fast")
    bench.go_on(10)
    assert read(sqlite_store, "slow").lease_beat == 1
    assert read(sqlite_store, "fast").lease_beat == 10
    assert not slow.lost
    assert not fast.lost


def test_an_ended_lease_is_not_renewed(sqlite_store: SqliteStore) -> None:
    bench = Bench(sqlite_store)
    lease = bench.claim()
    lease.finish(value())
    bench.go_on(100)
    assert bench.trips.made == ["write", "write"]


def test_a_lease_that_is_no_longer_ours_is_marked_lost_and_left_alone(store: Store) -> None:
    bench = Bench(store)
    lease = bench.claim()
    Bench(store).claim(expect=None)
    bench.go_on(100)
    assert lease.lost
    assert bench.trips.made == ["write", "renew"]
    assert read(store).lease_beat == 0


@pytest.mark.parametrize("error", [DOWN, OSError("a bug somewhere")], ids=["store", "bug"])
def test_a_failed_renewal_is_tried_again_before_the_next_beat_and_harms_no_other_lease(
    sqlite_store: SqliteStore, error: Exception
) -> None:
    broken, sound = Bench(sqlite_store), Bench(sqlite_store)
    sound.leases = Leases(sqlite_store, FN, keeper=broken.schedule, clock=broken.wall, monotonic=broken.monotonic)
    failing, other = broken.claim("failing"), sound.claim("other")
    broken.trips.failing = error
    broken.go_on(20)
    assert read(sqlite_store, "failing").lease_beat == 0
    assert read(sqlite_store, "other").lease_beat == 2
    assert broken.trips.made == ["write"] + ["renew"] * 5
    broken.trips.failing = None
    broken.go_on(2.5)
    assert read(sqlite_store, "failing").lease_beat == 1
    assert not failing.lost
    assert not other.lost


# --- for whom ---


def test_a_lease_is_not_renewed_when_its_loop_was_stopped_and_is_again_when_it_runs(sqlite_store: SqliteStore) -> None:
    bench = Bench(sqlite_store)
    loop = asyncio.new_event_loop()
    entered = asyncio.Event()
    leave = asyncio.Event()

    async def compute() -> bool:
        with bench.claim() as lease:
            entered.set()
            await leave.wait()
            return lease.finish(value())

    async def beat() -> None:
        bench.go_on(10)

    task = loop.create_task(compute())
    loop.run_until_complete(entered.wait())
    bench.go_on(50)
    assert bench.trips.made == ["write"]
    loop.run_until_complete(beat())
    assert bench.trips.made == ["write", "renew"]
    leave.set()
    assert loop.run_until_complete(task)
    loop.close()


def test_a_task_that_is_cancelled_gives_its_lease_up(sqlite_store: SqliteStore) -> None:
    bench = Bench(sqlite_store)

    async def compute() -> None:
        with bench.claim():
            await asyncio.sleep(3600)

    async def main() -> None:
        task = asyncio.create_task(compute())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())
    assert bench.schedule.act() is None
    assert sqlite_store.read("k") is None


def test_a_lease_that_arrives_for_a_cancelled_task_is_given_up(sqlite_store: SqliteStore) -> None:
    bench = Bench(sqlite_store)
    may_claim = threading.Event()

    def claim() -> Lease:
        may_claim.wait()
        return bench.claim()

    async def main() -> None:
        task = asyncio.create_task(asyncio.to_thread(claim))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        may_claim.set()  # asyncio.run waits for the thread

    asyncio.run(main())
    assert bench.trips.made == ["write"]
    until(lambda: bench.schedule.act() is None)
    assert sqlite_store.read("k") is None


def test_a_generator_that_is_thrown_away_gives_its_lease_up(sqlite_store: SqliteStore) -> None:
    bench = Bench(sqlite_store)

    def story() -> object:
        with bench.claim():
            yield

    steps = story()
    next(steps)  # type: ignore[call-overload]
    bench.go_on(10)
    del steps
    assert bench.schedule.act() is None
    assert bench.trips.made == ["write", "renew", "remove"]


# --- the thread ---


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dynmemo-renewer"]


def test_one_thread_renews_all_leases_of_the_process_and_ends_with_the_last(sqlite_store: SqliteStore) -> None:
    leases = Leases(sqlite_store, FN, seconds=SHORT)
    mine = at_once(8, lambda n: held(leases.claim(Spot.at(f"k{n}"), GENERATION, Expect())))
    assert len(threads()) == 1
    until(lambda: all((read(sqlite_store, f"k{n}").lease_beat or 0) >= 2 for n in range(8)))
    assert all(lease.finish(value()) for lease in mine)
    until(lambda: not threads())


def test_the_thread_starts_again_for_the_next_lease(sqlite_store: SqliteStore) -> None:
    leases = Leases(sqlite_store, FN, seconds=SHORT)
    for _ in range(3):
        lease = held(leases.claim(Spot.at("k"), GENERATION, None))
        until(lambda: read(sqlite_store).lease_beat)
        lease.give_up()
        until(lambda: not threads())


def test_a_short_lease_is_renewed_in_time_beside_a_long_one(sqlite_store: SqliteStore) -> None:
    # Longer than any system waits.
    long = held(Leases(sqlite_store, FN, seconds=1e12).claim(Spot.at("long"), GENERATION, Expect()))
    short = held(Leases(sqlite_store, FN, seconds=SHORT).claim(Spot.at("short"), GENERATION, Expect()))
    until(lambda: (read(sqlite_store, "short").lease_beat or 0) >= 2)
    with short, long:
        pass
    until(lambda: not threads())
    assert sqlite_store.read_many(["long", "short"]) == {}


def test_the_thread_survives_a_store_that_fails(sqlite_store: SqliteStore) -> None:
    trips = Trips(sqlite_store)
    leases = Leases(trips, FN, seconds=SHORT)
    lease = held(leases.claim(Spot.at("k"), GENERATION, Expect()))
    trips.failing = OSError("broken")
    until(lambda: trips.made.count("renew") >= 3)
    trips.failing = None
    until(lambda: read(sqlite_store).lease_beat)
    assert lease.finish(value())


def test_many_leases_taken_and_left_by_many_threads_leave_nothing_behind(sqlite_store: SqliteStore) -> None:
    leases = Leases(sqlite_store, FN, seconds=SHORT)

    def work(number: int) -> None:
        for n in range(20):
            lease = held(leases.claim(Spot.at(f"{number}:{n}"), GENERATION, Expect()))
            if n % 2:
                with lease:
                    pass

    at_once(8, work)
    until(lambda: not threads())
    assert list(sqlite_store.scan()) == []


def test_a_process_has_one_renewer() -> None:
    assert len(set(at_once(8, lambda _: renewer()))) == 1
    assert isinstance(renewer(), Renewer)


FORK = """
import os, sys, threading, time
from dynmemo.leases import Leases, Spot
from dynmemo.item import Expect
from dynmemo.stores.sqlite import SqliteStore

store = SqliteStore(sys.argv[1])
leases = Leases(store, "f", seconds=0.09)

def beat(key):
    return store.read(key).lease_beat

def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)

mine = leases.claim(Spot.at("parent"), "g", Expect())
until(lambda: beat("parent"))
if os.fork() == 0:
    assert "dynmemo-renewer" not in [thread.name for thread in threading.enumerate()]
    child = leases.claim(Spot.at("child"), "g", Expect())
    until(lambda: beat("child") >= 2)
    del mine, child
    until(lambda: store.read("child") is None)
    assert beat("parent")
    os._exit(0)
assert os.wait()[1] == 0
before = beat("parent")
until(lambda: beat("parent") > before)
assert mine.give_up()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system does not fork")
def test_a_forked_child_renews_its_own_leases_and_none_of_its_parents(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path / "cache.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
