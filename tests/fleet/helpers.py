"""Workers of a fleet: caches of their own in this process, and processes of their own."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from dynmemo import Cache, dynamo_cached
from dynmemo.cache.options import parse_url
from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing.together import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dynmemo.item import Expect, Item, Refused, Written

ROOT = Path(__file__).resolve().parents[2]

on_posix = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system stops no process")
can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


class _Spied:
    """Writes down the trips to a store that are made for calls."""

    trips: list[str]
    keys: list[str]

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        self._made("read", key)
        found: Item | None = super().read(key, consistent=consistent)  # type: ignore[misc]  # of the store mixed in
        return found

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        self._made("read_many", "#gen" if all(key.endswith("#gen") for key in keys) else f"{len(keys)}")
        found: dict[str, Item] = super().read_many(keys, consistent=consistent)  # type: ignore[misc]
        return found

    def write(self, key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        self._made("write", key)
        answer: Written | Refused = super().write(key, item, expect)  # type: ignore[misc]
        return answer

    def remove(self, key: str, expect: Expect | None = None) -> Item | None:
        self._made("remove", key)
        removed: Item | None = super().remove(key, expect)  # type: ignore[misc]
        return removed

    def _made(self, trip: str, key: str) -> None:
        if not key.endswith("#gen"):
            self.trips.append(trip)
            self.keys.append(key)


class SpiedSqlite(_Spied, SqliteStore):
    """A file whose trips are written down."""


class SpiedDynamoDB(_Spied, DynamoDBStore):
    """A table whose trips are written down."""


class Worker:
    """What another process has: a cache of its own, so flights and generations of its own; its trips are known."""

    def __init__(self, store: SpiedSqlite | SpiedDynamoDB, **options: Any) -> None:
        self.trips: list[str] = []
        self.keys: list[str] = []
        """For which keys the trips were made."""
        store.trips, store.keys = self.trips, self.keys
        self._unspied = copy.copy(store)
        self._unspied.trips, self._unspied.keys = [], []
        # Without near entries, so that each look at a row is seen.
        self.cache = Cache(store, near_max_bytes=0, **options)

    def decorate(self, function: Callable[..., Any], **options: Any) -> Any:
        """The function as every worker of the fleet has it, whatever it does here."""
        return dynamo_cached(cache=self.cache, **{"name": "fleet", "version": 1, **options})(function)

    def row(self, key: str) -> Item | None:
        """What lies under a key, without a trip."""
        return self._unspied.read(key, consistent=True)


class Work:
    """A computation that counts its runs and, when it is told to, waits to be told to go on."""

    def __init__(self, result: Any = "result", *, hold: bool = False) -> None:
        self.runs = 0
        self.result = result
        self.go = threading.Event()
        if not hold:
            self.go.set()

    def __call__(self, x: int = 0) -> Any:
        self.runs += 1
        assert self.go.wait(60)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result

    async def asynchronously(self, x: int = 0) -> Any:
        import asyncio

        self.runs += 1
        while not self.go.is_set():
            await asyncio.sleep(0.005)
        if isinstance(self.result, BaseException):
            raise self.result
        return self.result


class Fleet:
    """Processes that share a store, and the folder in which they note what they do.

    Args:
        url: of the store.
        folder: theirs.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def environment(self, **options: object) -> dict[str, str]:
        """What a process has to find in its environment; the options go into the URL."""
        more = "&".join(f"{name}={value}" for name, value in options.items())
        url = self.url + (("&" if "?" in self.url else "?") + more if more else "")
        return {**os.environ, "DYNMEMO_URL": url, "FLEET_FOLDER": str(self.folder)}

    def start(self, act: str, name: str, *, hold: bool = False, **options: object) -> subprocess.Popen[bytes]:
        """Start a worker (see `tests.fleet.worker`); with `hold` it computes until it is released."""
        if hold:
            (self.folder / f"hold {name}").touch()
        command = [sys.executable, "-m", "tests.fleet.worker", act, name]
        process = subprocess.Popen(command, cwd=ROOT, env=self.environment(**options))
        self._processes.append(process)
        return process

    def release(self, name: str) -> None:
        (self.folder / f"hold {name}").unlink()

    def go(self, workers: int, phase: str) -> None:
        """Lift the barrier once so many workers stand before it."""
        until(lambda: len(list(self.folder.glob(f"here {phase} *"))) == workers)
        (self.folder / f"go {phase}").touch()

    def computed(self) -> list[str]:
        """Who computed what, in the order in which they began."""
        return notes(self.folder / "computed")

    def told(self, name: str) -> Any:
        """What a worker that is done said last."""
        return json.loads(notes(self.folder / f"told {name}")[-1])

    def end(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait(60)


def note(path: Path, text: str) -> None:
    """Append a line, in one write that no other process's comes between."""
    with path.open("ab", buffering=0) as file:
        file.write(f"{text}\n".encode())


def notes(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def done(*processes: subprocess.Popen[bytes]) -> None:
    """Wait for workers that are to end well."""
    assert [process.wait(120) for process in processes] == [0] * len(processes)


def patient(url: str) -> Cache:
    """A cache of one's own, for an engine that has to share a small machine with all of us."""
    kind, options = parse_url(url)
    given: dict[str, Any] = dict(options)
    if kind == "sqlite":
        return Cache.sqlite(**given)
    return Cache.dynamodb(**given, config=Config(connect_timeout=60, read_timeout=60, max_pool_connections=64))
