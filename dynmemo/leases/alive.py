"""Whether a computation still runs, asked from elsewhere."""

from __future__ import annotations

import asyncio
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def witness() -> Callable[[], bool]:
    """A question that any thread may ask later: does the task, or else the thread, that is running now still run?

    A task whose loop was stopped or closed does not run, though nobody told it so. Neither is kept alive.
    """
    task = _task()
    return _of_thread(threading.current_thread()) if task is None else _of_task(task)


def _task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None


def _of_thread(thread: threading.Thread) -> Callable[[], bool]:
    reference = weakref.ref(thread)

    def is_alive() -> bool:
        thread = reference()
        return thread is not None and thread.is_alive()

    return is_alive


def _of_task(task: asyncio.Task[Any]) -> Callable[[], bool]:
    reference = weakref.ref(task)

    def is_alive() -> bool:
        task = reference()
        return task is not None and not task.done() and task.get_loop().is_running()

    return is_alive
