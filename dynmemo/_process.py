"""What a process has one of: the logger, the names of its program, hooks around forks; and threads nobody waits for."""

from __future__ import annotations

import os
import random
import sys
import threading
import weakref
from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from concurrent.futures import Future

P = ParamSpec("P")
T = TypeVar("T")


class _Logger:
    """The logger `dynmemo`, from the first line on: `logging` takes longer to import than most of ours."""

    def __getattr__(self, name: str) -> Any:
        import logging

        return getattr(logging.getLogger("dynmemo"), name)


logger = _Logger()

chance = random.SystemRandom()
"""Not the program's own random numbers: these may be the same in all workers, and the program may count on them."""

NO = frozenset({"", "0", "false", "no"})
"""What a variable of the environment says, in lower case, that is not to be heeded."""

_BACKLOG_THREADS = 8
_BACKLOG = 64

MAIN_MODULES = frozenset({"__main__", "__mp_main__"})
"""Names of the module that a program or notebook is; the second one in spawned children."""


def run_as(main: Mapping[str, Any]) -> str | None:
    """The name of the module that ``python -m`` has run as the main one, of which these are the globals.

    None for a script and a notebook. Who runs a folder, an archive or a script with a profiler gives it a name, too:
    ``__main__``.
    """
    name = getattr(main.get("__spec__"), "name", "__main__")
    return None if name == "__main__" else str(name)


def at_fork(
    *,
    before: Callable[[], object] | None = None,
    after_in_parent: Callable[[], object] | None = None,
    after_in_child: Callable[[], object] | None = None,
) -> None:
    """Call these functions around every fork of this process; on Windows, where nothing forks, never."""
    if hasattr(os, "register_at_fork"):
        given = {"before": before, "after_in_parent": after_in_parent, "after_in_child": after_in_child}
        os.register_at_fork(**{when: call for when, call in given.items() if call is not None})


class Lock(Protocol):
    """What `with` takes."""

    def __enter__(self) -> bool: ...
    def __exit__(self, kind: Any, error: Any, traceback: Any, /) -> None: ...


class _HasLock(Protocol):
    _lock: Lock


_lock_owners: weakref.WeakSet[_HasLock] = weakref.WeakSet()


def new_lock(owner: _HasLock) -> Lock:
    """A lock to be the `_lock` of `owner`, which gets a new one in every forked child.

    The thread that holds it can take it again, for a handler of signals or of log records, or a finalizer, may call
    a cached function in between anything. A fork copies a lock that another thread holds as held, and in the child
    there is no such thread to release it.
    """
    _lock_owners.add(owner)
    return threading.RLock()


def _renew_locks() -> None:
    for owner in _lock_owners:
        owner._lock = threading.RLock()


at_fork(after_in_child=_renew_locks)


_tokens: deque[str] = deque()
at_fork(after_in_child=_tokens.clear)


def new_token() -> str:
    """32 random hexadecimal digits that nobody else has."""
    try:
        return _tokens.pop()
    except IndexError:
        drawn = os.urandom(1024).hex()  # many at once: asking the system takes longer than a read of SQLite
        _tokens.extend(drawn[at : at + 32] for at in range(32, len(drawn), 32))
        return drawn[:32]


class Once:
    """Logs each cause once; a broken store must not fill a log with one line per call."""

    def __init__(self) -> None:
        self._lock = new_lock(self)
        self._said: set[Hashable] = set()

    def warning(self, cause: Hashable, message: str, *details: object) -> None:
        """Log `message % details` as a warning unless `cause` was logged before."""
        with self._lock:
            if cause in self._said:
                return
            self._said.add(cause)
        logger.warning(message, *details)


def ipython() -> Any:
    """The shell of IPython in a terminal or notebook, None where it does not run. Imports nothing."""
    return getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return getattr(ipython(), "kernel", None) is not None


def announce(message: str, *details: object) -> None:
    """Tell people once what is no trouble, in `message % details`.

    As a warning, because nothing below it is shown to somebody who has not set up logging; but in a notebook, where
    that would be a red box, as the output of the cell.
    """
    if in_notebook() and not logger.hasHandlers():
        sys.stdout.write(f"{message % details}\n")
    else:
        logger.warning(message, *details)


class Daemons:
    """A number of daemon threads, which start with the first work and end with the last one after `end`.

    The threads of `concurrent.futures` are joined when the interpreter ends, so an interrupt would have to wait for
    every request that is under way. These are not. Where none can be started, who submits does the work.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._left = threads
        self._name = name
        self._started = 0
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `function` in one of the threads."""
        from concurrent.futures import Future

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

        if self._left:
            self._left -= 1
            with suppress(RuntimeError):  # too many threads, or the interpreter is ending
                threading.Thread(target=self._run, name=f"{self._name}-{self._started + 1}", daemon=True).start()
                self._started += 1
        if self._started:
            self._work.put(act)
        else:
            act()
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


class Backlog(Generic[T]):
    """Work in daemon threads for one pass over something long, with a bounded part of it pending."""

    def __init__(self, name: str, settled: Callable[[T], object]) -> None:
        """`settled` is called with each result, in the thread that submits."""
        self._pool = Daemons(_BACKLOG_THREADS, name)
        self._settled = settled
        self._pending: deque[Future[T]] = deque()

    def __enter__(self) -> Self:
        return self

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `function` in a thread, once enough of what was submitted before is done; what failed raises."""
        self._pending.append(self._pool.submit(function, *args, **kwargs))
        self._settle(_BACKLOG)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Wait for all of it; after an error begin nothing more."""
        try:
            if error is None:
                self._settle(0)
        finally:
            self._pool.end()

    def _settle(self, left: int) -> None:
        while len(self._pending) > left:
            self._settled(self._pending.popleft().result())
