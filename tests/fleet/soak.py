"""A mixed load for a while: ``python scripts/soak.py`` and the short version in the tests."""

from __future__ import annotations

import asyncio
import gc
import mmap
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynmemo import dynamo_cached
from dynmemo.testing.together import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynmemo import Cache

KEYS = 40


@dataclass(frozen=True)
class Usage:
    """What this process holds."""

    memory: int
    """Bytes that are resident."""
    threads: int
    files: int
    leases: int
    """Lease rows in the store."""

    @classmethod
    def now(cls, caches: Sequence[Cache]) -> Usage:
        """What is held once all that was given up is gone, and pools and connections are given back."""
        until(lambda: not any(thread.name.startswith("dynmemo-") for thread in threading.enumerate()))
        leases = sum(1 for _, row in caches[0].store.scan() if row.lease_owner is not None)
        for cache in caches:
            cache.close()
        until(lambda: not any(thread.name.startswith("dynmemo") for thread in threading.enumerate()))
        gc.collect()
        return cls(_resident(), threading.active_count(), _open_files(), leases)


class Load:
    """Calls of every kind: hits, misses, expiry, failures, cancellations, clears, refreshes and recomputations.

    Args:
        caches: of the workers, on one store.
    """

    def __init__(self, caches: Sequence[Cache]) -> None:
        self.calls = 0
        self.wrong = 0
        self._plain = [dynamo_cached(cache=cache, name="soak", ttl=1, stale_if_error=5)(_plain) for cache in caches]
        self._ahead = [dynamo_cached(cache=cache, name="ahead", ttl=2, refresh_ahead=0.5)(_ahead) for cache in caches]
        self._tasks = [dynamo_cached(cache=cache, name="tasks", sliding=2)(_in_task) for cache in caches]
        self._computed = 0

    @property
    def computed(self) -> int:
        infos = [function.cache_info() for functions in (self._plain, self._ahead) for function in functions]
        infos += [function.cache_info() for function in self._tasks]
        return self._computed + sum(info.computed for info in infos)

    def run(self, seconds: float, threads: int = 6) -> None:
        """Ask for so long from so many threads, a third of them with event loops."""
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(self._tasks_until if n % 3 == 2 else self._until, end, n) for n in range(threads)]:
                done.result()

    def _until(self, end: float, number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < end:
            self._ask(chance)

    def _ask(self, chance: random.Random) -> None:
        x, which, what = chance.randrange(KEYS), chance.randrange(len(self._plain)), chance.random()
        self.calls += 1
        try:
            if what < 0.003:
                function = self._plain[which]
                self._computed += function.cache_info().computed
                function.cache_clear()
            elif what < 0.02:
                self._plain[which].invalidate(x)
            elif what < 0.04:
                self.wrong += self._ahead[which].recompute(x) != -x
            else:
                self.wrong += self._plain[which](x) != x * x
                self.wrong += self._ahead[which](x) != -x
        except ConnectionError:  # of the function that is asked for
            pass

    def _tasks_until(self, end: float, number: int) -> None:
        asyncio.run(self._ask_in_tasks(end, random.Random(number)))

    async def _ask_in_tasks(self, end: float, chance: random.Random) -> None:
        while time.monotonic() < end:
            function = chance.choice(self._tasks)
            calls = [asyncio.create_task(function(x)) for x in chance.choices(range(KEYS), k=8)]
            await asyncio.sleep(0.01)
            calls[0].cancel()
            for outcome in await asyncio.gather(*calls, return_exceptions=True):
                self.wrong += not isinstance(outcome, (list, asyncio.CancelledError))
            self.calls += 8
            await function.invalidate(chance.randrange(KEYS))


def _plain(x: int) -> int:
    time.sleep(0.002)
    if random.random() < 0.05:
        raise ConnectionError
    return x * x


def _ahead(x: int) -> int:
    time.sleep(0.002)
    return -x


async def _in_task(x: int) -> list[int]:
    await asyncio.sleep(0.02)
    return [x] * 1000


def _resident() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        pages = int(statm.read_text().split()[1])
        return pages * mmap.PAGESIZE
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # of macOS: bytes


def _open_files() -> int:
    folder = Path("/dev/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
