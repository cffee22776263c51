"""A process of the fleet: ``python -m tests.fleet.worker ACT NAME``.

It finds the store in DYNMEMO_URL and the folder in which all of them note what they do in FLEET_FOLDER.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import random
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dynmemo import clear, configure, dynamo_cached, generations
from dynmemo.testing.together import until
from tests.fleet.helpers import note, patient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOLDER = Path(os.environ.get("FLEET_FOLDER", "."))
THREADS, KEYS = 8, 50
SECONDS = 0.5
"""What each key takes to compute: more than what lies between the first worker and the last one to ask."""

me = "nobody"


@dynamo_cached(name="fleet", version=1)
def work(x: int = 0) -> str:
    note(FOLDER / "computed", me)
    while (FOLDER / f"hold {me}").exists():
        time.sleep(0.005)
    return me


@dynamo_cached(name="fleet.threads", version=1)
def slow(x: int) -> int:
    note(FOLDER / "computed", f"threads {x}")
    time.sleep(SECONDS)
    return x * x


@dynamo_cached(name="fleet.tasks", version=1)
async def slow_async(x: int) -> int:
    note(FOLDER / "computed", f"tasks {x}")
    await asyncio.sleep(SECONDS)
    return x * x


@dynamo_cached(name="fleet.ring", version=1, ignore="depth")
def crossing(x: int, depth: int = 0) -> int:
    if depth:
        return x
    arrive(f"ring {x}")
    return x + crossing(1 - x, 1)


def ring() -> None:
    """One of two that compute a key each and then ask for that of the other."""
    other = 1 - int(me)
    _say(f"go ring {me}", lambda: (FOLDER / f"here ring {other} {other}").exists())
    crossing(int(me))
    tell(crossing.cache_info()._asdict())


def ask() -> None:
    """Call once, and tell what came and what it took."""
    tell({"result": work(), **work.cache_info()._asdict()})


def ask_again() -> None:
    """Call whenever it is told to, until it is told to end."""
    generations.RECHECK_SECONDS = float(os.environ["FLEET_RECHECK"])
    for number in itertools.count():
        while not (FOLDER / f"again {number}").exists():
            if (FOLDER / "end").exists():
                return
            time.sleep(0.005)
        ask()


def forget() -> None:
    """Clear."""
    clear(work)


def crowd() -> None:
    """Ask for all keys in as many threads, then in as many tasks."""
    arrive("threads")
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(ask_for_all, range(THREADS)):
            pass
    threads = slow.cache_info()._asdict()
    with ThreadPoolExecutor(1) as pool:  # in the main thread of a kernel a loop runs already
        tasks = pool.submit(lambda: asyncio.run(ask_in_tasks())).result()
    tell({"threads": threads, "tasks": tasks})


def ask_for_all(number: int) -> None:
    for x in shuffled(number):
        assert slow(x) == x * x


async def ask_in_tasks() -> dict[str, Any]:
    async def ask_all(number: int) -> None:
        for x in shuffled(number):
            assert await slow_async(x) == x * x

    await asyncio.to_thread(arrive, "tasks")
    await asyncio.gather(*map(ask_all, range(THREADS)))
    return slow_async.cache_info()._asdict()


def shuffled(number: int) -> list[int]:
    keys = list(range(KEYS))
    random.Random(f"{me} {number}").shuffle(keys)
    return keys


def interrupted() -> None:
    """Compute until Ctrl-C while another thread of this process waits for the same."""
    follower = threading.Thread(target=_follow)
    follower.start()
    try:
        work()
    except KeyboardInterrupt:
        note(FOLDER / "interrupted", me)
        (FOLDER / f"hold {me}").unlink()
    follower.join()


def _follow() -> None:
    until((FOLDER / "computed").exists)
    _say("follower waits", lambda: work.cache_info().misses >= 2)
    tell({"follower": work()})


ITEMS, ITEM_SECONDS = 24, 0.1


@dynamo_cached(name="fleet.sweep", version=1)
def item(x: int) -> list[object]:
    note(FOLDER / "computed", f"{me} {x}")
    time.sleep(ITEM_SECONDS)
    return [x, (FOLDER / "cleared").exists()]


def sweep() -> None:
    """Compute all items together with the others; Ctrl-C ends it."""
    arrive("sweep")
    try:
        tell({"results": item.map(range(ITEMS), progress=True)})
    except KeyboardInterrupt:
        tell({"interrupted": item.cache_info().computed})


@dynamo_cached(name="fleet.square", version=1)
def square(x: int) -> int:
    note(FOLDER / "computed", f"{x}")
    return x * x


def through() -> None:
    """Compute in the workers of an executor; the name says which."""
    with executor(me) as pool:
        results = square.map([*range(ITEMS), 0], executor=pool)
        first = square.cache_info()
        again = square.map([*range(ITEMS), 0], executor=pool)
    tell({"results": results, "again": again, "hits": square.cache_info().hits - first.hits})


@contextmanager
def executor(way: str) -> Iterator[Any]:
    """An executor of that kind."""
    if way == "threads":
        with ThreadPoolExecutor(2) as pool:
            yield pool
    elif way == "processes":
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
            yield processes
    elif way == "loky":
        from joblib.externals.loky import get_reusable_executor

        loky = get_reusable_executor(2)
        yield loky
        loky.shutdown()
    else:
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster,
            Client(cluster) as client,
        ):
            yield client.get_executor()


def fork() -> None:
    """Fork while a thread computes; the child asks for the same."""
    leader = threading.Thread(target=work)
    leader.start()
    until((FOLDER / "computed").exists)
    child = os.fork()
    if child == 0:
        ask_in_child()
    until(lambda: (FOLDER / "child waits").exists())
    (FOLDER / f"hold {me}").unlink()
    leader.join()
    assert os.waitpid(child, 0)[1] == 0
    ask()


def ask_in_child() -> None:
    """Ask, say so once the second look was taken, and end."""
    global me
    me = "child"
    before = work.cache_info()
    _say("child waits", lambda: work.cache_info().requests >= before.requests + 3)
    tell({"result": work(), "waited": work.cache_info().waited - before.waited})
    os._exit(0)


def _say(what: str, when: Callable[[], bool]) -> None:
    def watch() -> None:
        until(when)
        (FOLDER / what).touch()

    threading.Thread(target=watch, daemon=True).start()


def arrive(phase: str) -> None:
    (FOLDER / f"here {phase} {me}").touch()
    until((FOLDER / f"go {phase}").exists)


def tell(what: dict[str, Any]) -> None:
    note(FOLDER / f"told {me}", json.dumps(what))


ACTS = {act.__name__: act for act in (ask, ask_again, forget, crowd, interrupted, fork, ring, sweep, through)}


def main(act: str, name: str) -> None:
    global me
    me = name
    url = os.environ["DYNMEMO_URL"]
    configure(patient(url))
    refused: list[str] = []
    if url.startswith("dynamodb:"):
        from tests.permissions import Permissions

        refused = Permissions(SimpleNamespace(setattr=setattr)).refused
    ACTS[act]()
    assert refused == []


if __name__ == "__main__":
    main(*sys.argv[1:])
