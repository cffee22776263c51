"""Work in threads that nobody has to wait for.

The threads of `concurrent.futures` are joined when the interpreter ends, so an interrupt would have to wait for every
request that is under way. Those here are not.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Daemons:
    """So many daemon threads, which start with the first work and end with the last one after `end`."""

    def __init__(self, threads: int, name: str) -> None:
        self._left = threads
        self._name = name
        self._started = 0
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `function` in one of the threads."""
        future: Future[T] = Future()

        def act() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - for who asks for the result
                future.set_exception(error)
            else:
                future.set_result(result)

        self._work.put(act)
        if self._left:
            self._left -= 1
            self._started += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._started}", daemon=True).start()
        return future

    def end(self) -> None:
        """Begin nothing more; what runs goes on by itself."""
        with suppress(Empty):
            while True:
                self._work.get_nowait()
        for _ in range(self._started):
            self._work.put(None)

    def _run(self) -> None:
        while (act := self._work.get()) is not None:
            act()
