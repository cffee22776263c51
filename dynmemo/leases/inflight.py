"""Single-flight within a process: one computes, the others wait for its outcome in memory.

A flight may be ended from anywhere, the garbage collector included, so nothing here waits while it holds a lock. Which
flight can be joined is decided under one that its own thread can take again and that is new in a forked child; every
other step is one operation of a dict, list or deque that no other thread sees half done.
"""

from __future__ import annotations

import enum
import math
import sys
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dynmemo._process import at_fork, new_lock

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from dynmemo.leases.lease import Hold
    from dynmemo.leases.watch import RowWait

T = TypeVar("T")

# Ctrl-C does not interrupt waiting for a lock on Windows. Elsewhere, how often to see whether the leader still runs.
_LOOK_SECONDS = 0.5 if sys.platform == "win32" else 1.0

_LONGEST_ENTRY = 1.0
"""Seconds between joining a flight and leading it, which follow each other; longer if an interrupt came in between."""

led: ContextVar[tuple[Flight[Any], ...]] = ContextVar("dynmemo_led", default=())
"""The flights that cannot end before the running code returns; copied into the tasks that it starts."""


class Waited(enum.Enum):
    """How a wait for a flight ended."""

    LANDED = "its outcome is there"
    HANDED_OVER = "its leader stopped without an outcome: join again, one of the waiters leads now"
    TIMED_OUT = "it took too long: compute without waiting"
    DEADLOCK = "it could not end before this wait did: compute without waiting"


class Flight(Generic[T]):
    """One computation of this process and the wait for it. The leader calls `leading` and `land`, all others wait."""

    def __init__(self, flights: Flights[T], key: Hashable) -> None:
        self.outcome: T | None = None
        """What the leader published; None before that, and for ever when it handed over."""
        self.is_over = False
        self.thread = threading.get_ident()
        self.awaits: list[Flight[Any]] = []
        """The flights that have to end before this one can: code that belongs to this one waits for them."""
        self.hold: Hold | None = None
        """The lease under which its leader computes."""
        self.row_waits: list[RowWait] = []
        """The waits for leases of other processes that have to end before this flight can."""
        self._flights = flights
        self._key = key
        task = _task()
        self._runs = _of_thread(threading.current_thread()) if task is None else _of_task(task)
        self._is_of_task = task is not None
        self._joined = time.monotonic()
        self._leading: weakref.ref[Leading] | None = None
        self._open = [True]
        self._wakers: deque[Callable[[], object]] = deque()

    def leading(self) -> Leading:
        """Everything that the leader does. Left without `land`, whatever the reason, the flight is handed over."""
        leading = Leading(self, self._flights)
        self._leading = weakref.ref(leading)
        return leading

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for it."""
        return bool(self._wakers)

    def detach(self) -> None:
        """Let nobody join it any more; it goes on for those who have."""
        self._flights.detach(self._key, self)

    def land(self, outcome: T) -> None:
        """Publish the outcome (a result or a failure, never None) to all who wait."""
        self._end(outcome)

    def hand_over(self) -> None:
        """End without outcome: of those who wait and join again one leads. Nothing if the flight has ended."""
        self._end(None)

    def wait(self, timeout: float | None = None, look: Callable[[], object] = lambda: None) -> Waited:
        """Wait in this thread.

        Args:
            timeout: seconds; None for as long as it takes.
            look: called every second or so.
        """
        if self._is_abandoned():
            self.hand_over()
        signal = threading.Lock()
        signal.acquire()
        # While this thread waits, nothing else in it goes on: neither what this call is part of, nor tasks of its loop.
        with self._awaited(signal.release, (*led.get(), *self._flights.of_this_thread())) as may_wait:
            for seconds in self._pauses(timeout) if may_wait else ():
                look()
                signal.acquire(timeout=seconds)
            return self._ending(may_wait)

    async def wait_async(self, timeout: float | None = None, look: Callable[[], object] = lambda: None) -> Waited:
        """Wait in this task, as `wait` does. Cancelling it harms neither the flight nor others who wait."""
        import asyncio

        loop = asyncio.get_running_loop()
        signal: asyncio.Future[None] = loop.create_future()
        with self._awaited(partial(_wake, loop, signal), led.get()) as may_wait:
            for seconds in self._pauses(timeout) if may_wait else ():
                look()
                await asyncio.wait((signal,), timeout=seconds)
            return self._ending(may_wait)

    def _end(self, outcome: T | None) -> None:
        if self.is_over:
            return
        try:
            self._open.pop()
        except IndexError:
            if outcome is not None:
                return
            # Else the one who ended it was interrupted here.
        else:
            self.outcome = outcome
        self.detach()
        self.is_over = True
        if not self._wakers:
            return
        with suppress(IndexError):
            while True:
                self._wakers.popleft()()

    def is_led(self) -> bool:
        """Whether its leader still runs, and neither ended it nor lost it to an interrupt."""
        if self.is_over:
            return False
        if self._leading is None:
            return self._runs() and time.monotonic() - self._joined < _LONGEST_ENTRY
        return self._leading() is not None and self._runs()

    def _is_abandoned(self) -> bool:
        """Whether an interrupt has kept this very thread from leading it, or from ending it."""
        return not self._is_of_task and self.thread == threading.get_ident() and self not in led.get()

    @contextmanager
    def _awaited(self, wake: Callable[[], object], waiting: Sequence[Flight[Any]]) -> Iterator[bool]:
        """Have `wake` called at the end. False if the end could not come while the flights `waiting` wait for it."""
        if not self.is_led():
            self.hand_over()  # nobody else will
        # Announce first, then look for a cycle: of several waits that close one at the same time, at least one sees it.
        for flight in waiting:
            flight.awaits.append(self)
        self._wakers.append(wake)
        try:
            yield {flight for flight in waiting if not flight.is_over}.isdisjoint(self.reached())
        finally:
            with suppress(ValueError):
                self._wakers.remove(wake)
            for flight in waiting:
                flight.awaits.remove(self)

    def reached(self) -> Iterator[Flight[Any]]:
        """All flights whose end the end of this one depends on, itself first."""
        seen: set[Flight[Any]] = set()
        ahead: list[Flight[Any]] = [self]
        while ahead:
            flight = ahead.pop()
            if flight not in seen:
                seen.add(flight)
                ahead.extend(flight.awaits)
                yield flight

    def _pauses(self, timeout: float | None) -> Iterator[float]:
        """How long to wait until the next look, until there is nothing to wait for."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_over:
            left = end - time.monotonic()
            if left <= 0:
                return
            yield min(left, _LOOK_SECONDS)
            if not self.is_led():
                self.hand_over()

    def _ending(self, may_wait: bool) -> Waited:
        if self.is_over:
            return Waited.HANDED_OVER if self.outcome is None else Waited.LANDED
        return Waited.TIMED_OUT if may_wait else Waited.DEADLOCK


class Leading:
    """A `with` block, everything in which leads a flight. No generator: an interrupt may come in between anything."""

    __slots__ = ("__weakref__", "_flight", "_flights", "_token")

    def __init__(self, flight: Flight[Any], flights: Flights[Any]) -> None:
        self._flight = flight
        self._flights = flights

    def __enter__(self) -> None:
        self._token = led.set((*led.get(), self._flight))
        self._flights.led[self._flight] = None

    def __exit__(self, *error: object) -> None:
        self._flight.hand_over()
        self._flights.led.pop(self._flight, None)
        with suppress(ValueError):  # a generator or coroutine that is closed by somebody else
            led.reset(self._token)


def _wake(loop: asyncio.AbstractEventLoop, signal: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # the loop is closed, so the task that waited is gone
        loop.call_soon_threadsafe(_settle, signal)


def _settle(signal: asyncio.Future[None]) -> None:
    if not signal.done():
        signal.set_result(None)


class Flights(Generic[T]):
    """The computations that run in this process, by key."""

    def __init__(self) -> None:
        self._lock = new_lock(self)
        self._flights: dict[Hashable, Flight[T]] = {}
        """Those that can be joined."""
        self.led: dict[Flight[T], None] = {}
        """Those that somebody leads, also when they cannot be joined any more."""

    def join(self, key: Hashable) -> tuple[Flight[T], bool]:
        """The flight for `key`, and whether the caller leads it: then `leading` must be entered at once."""
        mine = Flight(self, key)
        with self._lock:
            found = self._flights.setdefault(key, mine)
        return found, found is mine

    def lead(self, key: Hashable) -> Flight[T]:
        """A flight that the caller leads, whoever leads one already: those who join from now on wait for this one.

        For a computation that must not be somebody else's. `leading` must be entered at once.
        """
        flight = Flight(self, key)
        with self._lock:
            self._flights[key] = flight
        return flight

    def of_this_thread(self) -> list[Flight[T]]:
        """Those that are led in this thread, by its tasks too."""
        thread = threading.get_ident()
        return [flight for flight in self.running() if flight.thread == thread]

    def running(self) -> list[Flight[T]]:
        """Those that somebody leads."""
        return list(self.led)

    def detach(self, key: Hashable, flight: Flight[T] | None = None) -> None:
        """Let nobody join the flight for `key` any more, whichever it is or if it is `flight`; it goes on."""
        with self._lock:
            if flight is None or self._flights.get(key) is flight:
                self._flights.pop(key, None)

    def detach_all(self, belongs: Callable[[Any], bool]) -> None:
        """`detach` those with a key that belongs."""
        for key in list(self._flights):
            if belongs(key):
                self.detach(key)

    def forget(self) -> None:
        """Begin anew, in a forked child: what was in flight in its parent is in flight only there."""
        self._flights = {}
        self.led = {}


flights: Flights[Any] = Flights()
"""Those of this process; keys are pairs of a cache and a key in it."""

at_fork(after_in_child=flights.forget)


def running_here() -> list[Flight[Any]]:
    """The flights that the running code is part of, the innermost last."""
    # A generator that was closed in another context, or an interrupt, may leave flights behind that are over.
    return [flight for flight in led.get() if not flight.is_over]


# -- whether a computation still runs, asked from elsewhere --------------------------------------------------------


def witness() -> Callable[[], bool]:
    """A question that any thread may ask later: does the task, or else the thread, that is running now still run?

    A task whose loop was stopped or closed does not run, though nobody told it so. Neither is kept alive.
    """
    task = _task()
    return _of_thread(threading.current_thread()) if task is None else _of_task(task)


def _task() -> asyncio.Task[Any] | None:
    import asyncio

    loop = asyncio._get_running_loop()  # None without one, where `get_running_loop` raises
    return None if loop is None else asyncio.current_task(loop)


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
