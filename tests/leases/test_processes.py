"""Whole calls of several processes on one store: what they ask of it, who computes, and what survives whom."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.item import Expect
from dynmemo.leases import Flights, Leases, Spot
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing.together import at_once, until
from tests.leases.helpers import FN, GENERATION, Bench, Trips, call, held, read, value

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Barrier

    from dynmemo.item import Store

PROCESSES, THREADS, KEYS = 4, 4, 12

on_posix = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system stops no process")
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


class Process:
    """What a process of its own has: its flights, and here its list of trips."""

    def __init__(self, store: Store, seconds: float = 30.0) -> None:
        self.trips = Trips(store)
        self.flights: Flights[bytes | Exception] = Flights()
        self.leases = Leases(self.trips, FN, seconds=seconds)

    def call(self, compute: Callable[[], bytes], key: str = "k") -> bytes:
        return call(self.leases, self.flights, key, compute)


class Computation:
    """Counts how often it runs, and goes on when told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = threading.Event()

    def __call__(self) -> bytes:
        self.runs += 1
        assert self.go.wait(60)
        return b"result"


# --- trips ---


def test_a_miss_makes_three_trips_and_a_hit_one(store: Store) -> None:
    process = Process(store)
    assert process.call(lambda: b"result") == b"result"
    assert process.trips.made == ["read", "write", "write"]
    assert process.call(lambda: b"other") == b"result"
    assert process.trips.made[3:] == ["read"]


def test_threads_of_one_process_make_the_trips_of_one(store: Store) -> None:
    process, compute = Process(store), Computation()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(process.call, compute) for _ in range(8)]
        until(lambda: process.trips.made.count("read") == 8)
        until(lambda: [len(flight._wakers) for flight in process.flights.running()] == [7])
        compute.go.set()
        assert [call.result() for call in calls] == [b"result"] * 8
    assert compute.runs == 1
    assert process.trips.made.count("write") == 2


def test_who_waits_only_reads(store: Store) -> None:
    leader, waiter, compute = Process(store), Process(store), Computation()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(leader.call, compute)
        until(lambda: compute.runs)
        second = pool.submit(waiter.call, compute)
        until(lambda: waiter.trips.made.count("read") >= 3)
        compute.go.set()
        assert first.result() == second.result() == b"result"
    assert compute.runs == 1
    assert set(waiter.trips.made) == {"read"}


def test_who_lost_the_race_goes_on_with_the_winners_row(store: Store) -> None:
    winner, loser = Process(store), Process(store)
    read_first = loser.trips.read

    def read_and_be_overtaken(key: str) -> object:
        row = read_first(key)
        winner.call(lambda: b"result")
        return row

    loser.trips.read = read_and_be_overtaken  # type: ignore[attr-defined]  # found before `__getattr__`
    assert loser.call(lambda: b"other") == b"result"
    assert loser.trips.made == ["read", "write"]


def test_when_the_leader_raises_the_others_take_over_one_at_a_time(store: Store) -> None:
    running = threading.Semaphore(1)
    runs = []

    def fail() -> bytes:
        assert running.acquire(blocking=False), "two computed at once"
        runs.append(1)
        time.sleep(0.02)
        running.release()
        raise ValueError("no such city")

    processes = [Process(store) for _ in range(4)]

    def ask(number: int) -> None:
        with pytest.raises(ValueError, match="no such city"):
            processes[number].call(fail)

    at_once(4, ask)
    assert len(runs) == 4
    assert store.read("k") is None


def test_who_waits_for_a_result_that_cannot_be_shared_computes_at_once(store: Store) -> None:
    lease = held(Leases(store, FN).claim(Spot.at("k"), GENERATION, Expect()))
    waiters = [Process(store) for _ in range(3)]
    together = threading.Barrier(3)

    def compute() -> bytes:
        together.wait(60)  # would break if one waited for another
        return b"own"

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(waiter.call, compute) for waiter in waiters]
        until(lambda: all(len(waiter.trips.made) >= 2 for waiter in waiters))
        assert lease.no_store("not picklable")
        assert [call.result() for call in calls] == [b"own"] * 3
    assert all(set(waiter.trips.made) == {"read"} for waiter in waiters)


def test_a_call_within_a_call_takes_a_lease_of_its_own(store: Store) -> None:
    process = Process(store)
    assert process.call(lambda: process.call(lambda: b"inner", "inner") + b" and outer") == b"inner and outer"
    assert read(store).value == b"inner and outer"
    assert read(store, "inner").value == b"inner"


def test_a_call_that_asks_for_itself_computes_without_storing_that(store: Store) -> None:
    process = Process(store)
    assert process.call(lambda: process.call(lambda: b"inner") + b" and outer") == b"inner and outer"
    assert read(store).value == b"inner and outer"
    assert process.trips.made == ["read", "write", "read", "write"]


# --- real processes ---


def note(path: Path, text: str) -> None:
    """Append a line, in one write that no other process's comes between."""
    with path.open("ab", buffering=0) as file:
        file.write(f"{text}\n".encode())


def notes(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def compute_and_note(path: Path, key: str) -> bytes:
    note(path, key)
    time.sleep(0.05)
    return key.encode()


def ask_for_all(folder: Path, barrier: Barrier) -> None:
    store = SqliteStore(folder / "cache.db", busy_timeout=60)
    process = Process(store)

    def work(number: int) -> None:
        keys = [f"k{n}" for n in range(KEYS)]
        random.Random(f"{os.getpid()} {number}").shuffle(keys)
        for key in keys:
            assert process.call(partial(compute_and_note, folder / "computed", key), key) == key.encode()

    barrier.wait()
    at_once(THREADS, work)
    store.close()


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=can_fork)])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_many_processes_with_many_threads_compute_each_key_once(tmp_path: Path, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    barrier = context.Barrier(PROCESSES)
    processes = [context.Process(target=ask_for_all, args=(tmp_path, barrier)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert sorted(notes(tmp_path / "computed")) == sorted(f"k{n}" for n in range(KEYS))


WORKER = """
import sys, time
from functools import partial
from pathlib import Path
from dynmemo.stores.sqlite import SqliteStore
from tests.leases.test_processes import Process, note

folder, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])

def compute():
    note(folder / "computed", name)
    while (folder / f"hold {name}").exists():
        time.sleep(0.005)
    return name.encode()

process = Process(SqliteStore(folder / "cache.db", busy_timeout=60), seconds)
note(folder / "results", process.call(compute).decode())
"""


def start(folder: Path, name: str, seconds: float, *, hold: bool = False) -> subprocess.Popen[bytes]:
    """A worker that asks once; with `hold` it computes until told otherwise."""
    if hold:
        (folder / f"hold {name}").touch()
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder), name, str(seconds)], cwd=root)


@pytest.fixture
def computed(tmp_path: Path) -> Callable[[], list[str]]:
    return lambda: notes(tmp_path / "computed")


@on_posix
def test_a_killed_leader_has_exactly_one_successor_at_once(
    tmp_path: Path, computed: Callable[[], list[str]], sqlite_store: SqliteStore
) -> None:
    leader = start(tmp_path, "leader", 3600, hold=True)
    until(computed)
    others = [start(tmp_path, f"other {n}", 3600) for n in range(3)]
    leader.kill()  # and not yet waited for
    assert [other.wait(60) for other in others] == [0] * 3
    assert leader.wait() == -signal.SIGKILL
    assert len(computed()) == 2
    assert notes(tmp_path / "results") == [computed()[1]] * 3
    assert read(sqlite_store).value == computed()[1].encode()


def test_the_lease_of_a_leader_that_died_on_another_machine_is_taken_over_after_its_time(store: Store) -> None:
    dead = Bench(store, seconds=1)  # which renews when told to
    lease = dead.claim()
    store.write("k", read(store)._replace(lease_owner="somebody elsewhere"))
    process = Process(store)
    began = time.monotonic()
    assert process.call(lambda: b"successor") == b"successor"
    assert time.monotonic() - began >= 1
    assert process.trips.made[-2:] == ["write", "write"]
    assert set(process.trips.made[:-2]) == {"read"}
    assert not lease.finish(value())


@on_posix
def test_a_stopped_leader_is_succeeded_and_its_late_result_goes_to_its_caller_only(
    tmp_path: Path, computed: Callable[[], list[str]], sqlite_store: SqliteStore
) -> None:
    leader = start(tmp_path, "leader", 1, hold=True)
    until(computed)
    leader.send_signal(signal.SIGSTOP)
    successor = start(tmp_path, "successor", 1)
    assert successor.wait(60) == 0
    (tmp_path / "hold leader").unlink()
    leader.send_signal(signal.SIGCONT)
    assert leader.wait(60) == 0
    assert computed() == ["leader", "successor"]
    assert notes(tmp_path / "results") == ["successor", "leader"]
    assert read(sqlite_store).value == b"successor"


@on_posix
def test_a_leader_that_lives_keeps_its_lease_beyond_its_time(
    tmp_path: Path, computed: Callable[[], list[str]], sqlite_store: SqliteStore
) -> None:
    leader = start(tmp_path, "leader", 1, hold=True)
    until(computed)
    other = start(tmp_path, "other", 1)
    until(lambda: (read(sqlite_store).lease_beat or 0) >= 7)
    (tmp_path / "hold leader").unlink()
    assert [leader.wait(60), other.wait(60)] == [0, 0]
    assert computed() == ["leader"]
    assert notes(tmp_path / "results") == ["leader"] * 2


@on_posix
def test_an_interrupted_leader_gives_its_lease_up(
    tmp_path: Path, computed: Callable[[], list[str]], sqlite_store: SqliteStore
) -> None:
    leader = start(tmp_path, "leader", 3600, hold=True)
    until(computed)
    leader.send_signal(signal.SIGINT)
    assert leader.wait(60) != 0
    assert sqlite_store.read("k") is None


def test_a_removal_during_the_computation_lets_others_compute_and_refuses_the_late_result(store: Store) -> None:
    leader, other, compute = Process(store), Process(store), Computation()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(leader.call, compute)
        until(lambda: compute.runs)
        store.remove("k")
        assert other.call(lambda: b"new") == b"new"
        compute.go.set()
        assert first.result() == b"result"
    assert read(store).value == b"new"


def test_a_lease_of_this_process_is_not_taken_for_that_of_a_dead_one(store: Store) -> None:
    lease = held(Leases(store, FN).claim(Spot.at("k"), GENERATION, Expect()))
    waiter = Process(store)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(waiter.call, lambda: b"taken over")
        until(lambda: len(waiter.trips.made) >= 3)
        assert lease.finish(value())
        assert waiting.result() == b"result"
