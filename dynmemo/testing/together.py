"""Threads and processes that do something at the same moment, and waiting for them."""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Barrier

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which what does not come has failed."""

_barrier: Barrier


def until(condition: Callable[[], object]) -> None:
    """Return as soon as another thread or process has made the condition true."""
    end = time.monotonic() + PATIENCE
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


def in_processes(processes: int, act: Callable[..., T], *arguments: object) -> list[T]:
    """What so many new processes got that called `act`, with their number behind `arguments`; it may `line_up`."""
    context: Any = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, initializer=_begin, initargs=(barrier,)) as pool:
        # Each process takes one, for all of them wait until the last one has come.
        calls = [pool.submit(_act, act, (*arguments, number)) for number in range(processes)]
        return [call.result(2 * PATIENCE) for call in calls]


def line_up() -> None:
    """Wait until all processes are here."""
    _barrier.wait(PATIENCE)


def _begin(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _act(act: Callable[..., T], arguments: tuple[object, ...]) -> T:
    line_up()
    return act(*arguments)
