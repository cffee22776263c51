"""Waiting for other threads and processes, and starting many of them at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def until(condition: Callable[[], object]) -> None:
    """Return as soon as another thread or process has made the condition true."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)


def at_once(threads: int, act: Callable[[int], T]) -> list[T]:
    """What `threads` threads got that started `act` behind one barrier."""
    barrier = threading.Barrier(threads)

    def run(number: int) -> T:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))
