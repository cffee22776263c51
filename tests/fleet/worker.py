"""A process of the fleet: ``python -m tests.fleet.worker ACT NAME``.

It finds the store in DYNMEMO_URL and the folder in which all of them note what they do in FLEET_FOLDER.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from botocore.config import Config

from dynmemo import Cache, clear, configure, dynamo_cached
from dynmemo.urls import parse_url
from tests.fleet.helpers import note, until

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


def ask() -> None:
    """Call once, and tell what came and what it took."""
    tell({"result": work(), **work.cache_info()._asdict()})


def ask_again() -> None:
    """Call, and call again whenever it is told to, until it is told to end."""
    clear_recheck()
    for number in range(1000):
        tell({"result": work(), "round": number, **work.cache_info()._asdict()})
        until(lambda number=number: (FOLDER / f"again {number}").exists() or (FOLDER / "end").exists())
        if (FOLDER / "end").exists():
            return


def clear_recheck() -> None:
    """Believe a generation for as long as the environment says."""
    import dynmemo.clear

    dynmemo.clear.RECHECK_SECONDS = float(os.environ.get("FLEET_RECHECK", "5"))


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
    """Call while another thread of this process waits for the same; both tell."""
    follower = threading.Thread(target=lambda: tell({"follower": work()}))
    threading.Thread(target=lambda: (until((FOLDER / "computed").exists), follower.start())).start()
    try:
        work()
    except KeyboardInterrupt:
        note(FOLDER / "interrupted", me)
        (FOLDER / f"hold {me}").unlink()
    follower.join()


def fork() -> None:
    """Fork while a thread computes; the child asks for the same."""
    leader = threading.Thread(target=work)
    leader.start()
    until((FOLDER / "computed").exists)
    child = os.fork()
    if child == 0:
        global me
        me = "child"
        ask()
        os._exit(0)
    until(lambda: (FOLDER / "child waits").exists())
    (FOLDER / f"hold {me}").unlink()
    leader.join()
    assert os.waitpid(child, 0)[1] == 0
    ask()


def arrive(phase: str) -> None:
    (FOLDER / f"here {phase} {me}").touch()
    until((FOLDER / f"go {phase}").exists)


def tell(what: dict[str, Any]) -> None:
    note(FOLDER / f"told {me}", json.dumps(what))


ACTS = {act.__name__: act for act in (ask, ask_again, forget, crowd, interrupted, fork)}


def patient() -> Cache:
    """The cache that the environment names, for an engine that has to share a small machine with all of us."""
    kind, options = parse_url(os.environ["DYNMEMO_URL"])
    given: dict[str, Any] = dict(options)
    if kind == "sqlite":
        return Cache.sqlite(**given)
    return Cache.dynamodb(**given, config=Config(connect_timeout=60, read_timeout=60, max_pool_connections=THREADS))


def main(act: str, name: str) -> None:
    global me
    me = name
    configure(patient())
    ACTS[act]()


if __name__ == "__main__":
    main(*sys.argv[1:])
