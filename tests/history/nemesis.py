"""What goes wrong in a run, by a schedule that follows from a seed."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from tests.proxy import Delay, LoseAnswer, Proxy, Refuse, Reset, Stall, error

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from random import Random

    from tests.proxy import Fault, Request

ON_POSIX = sys.platform != "win32"
PROCESSES = ("freeze", "kill", "interrupt") if ON_POSIX else ("kill",)

DELAY = 2.0
"""Seconds; longer than a client waits for an answer, so that a request may arrive after it was given up."""
FAULTS: dict[str, Fault] = {
    "delayed": Delay(DELAY),
    "dropped": Stall(),
    "reset": Reset(),
    "refused": Refuse(),
    "answer lost": LoseAnswer(),
    "failed (500)": error("InternalServerError", status=500),
    "throttled": error("ProvisionedThroughputExceededException", "slow down"),
}
WRITES = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")


class BreakingProxy(Proxy):
    """Breaks a part of the requests in one way for some time, and counts what it broke."""

    def __init__(self, upstream: str, chance: Random) -> None:
        super().__init__(upstream)
        self.broken: Counter[str] = Counter()
        self._chance = chance
        self._kind: str | None = None
        self._part = 0.0
        self._until = 0.0
        self._guard = threading.Lock()

    def breaks_for(self, kind: str, part: float, seconds: float) -> None:
        self._kind, self._part, self._until = kind, part, time.monotonic() + seconds

    def heals(self) -> None:
        self._kind = None

    def arrived(self, request: Request) -> Fault | None:
        kind = self._kind
        if kind is None or time.monotonic() > self._until:
            return None
        if kind == "answer lost" and request.operation not in WRITES:
            return None
        with self._guard:
            if self._chance.random() >= self._part:
                return None
            self.broken[kind] += 1
        return FAULTS[kind]


class Nemesis:
    """Does harm to processes and requests.

    Args:
        chance: of its own.
        kinds: some of `PROCESSES` and ``network``.
        lease: seconds.
        running: gives the processes that can be harmed.
        killed: is told of each that is about to be killed.
        proxy: stands before the store.
    """

    def __init__(
        self,
        chance: Random,
        kinds: tuple[str, ...],
        lease: float,
        running: Callable[[], dict[str, subprocess.Popen[bytes]]],
        killed: Callable[[str], None],
        proxy: BreakingProxy | None,
    ) -> None:
        self.frozen: list[tuple[str, float, float]] = []
        """Who stood still, from when to when."""
        self._chance = chance
        self._kinds = kinds if proxy is not None else tuple(kind for kind in kinds if kind != "network")
        self._lease = lease
        self._running = running
        self._killed = killed
        self._proxy = proxy
        self._next = time.monotonic() + 1.0
        self._thaws: dict[str, tuple[float, float, subprocess.Popen[bytes]]] = {}

    def act(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for name, (_, until, _) in list(self._thaws.items()):
            if now >= until:
                self._thaw(name)
        if now < self._next or not self._kinds:
            return
        self._next = now + self._chance.uniform(0.2, 0.8)
        kinds = [kind for kind in self._kinds if kind != "freeze" or not self._thaws]
        kind, number = self._chance.choice(kinds or ["nothing"]), self._chance.random()
        if kind == "network":
            fault, part = self._chance.choice(list(FAULTS)), self._chance.choice((0.1, 0.2, 0.3, 1.0))
            if self._proxy is not None:
                self._proxy.breaks_for(fault, part, 0.3 + number)
            return
        names = sorted(self._running().keys() - self._thaws.keys())
        if not names:
            return
        name = self._chance.choice(names)
        process = self._running()[name]
        if kind == "freeze":
            self._thaws[name] = (now, now + self._lease * (1.2 + 1.3 * number), process)
            process.send_signal(signal.SIGSTOP)
        elif kind == "kill" and number < 0.4:  # they take long to start
            self._killed(name)
            process.kill()
        elif kind == "interrupt":
            process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Do no more harm."""
        for name in list(self._thaws):
            self._thaw(name)
        if self._proxy is not None:
            self._proxy.heals()

    def _thaw(self, name: str) -> None:
        began, _, process = self._thaws.pop(name)
        self.frozen.append((name, began, time.monotonic()))
        process.send_signal(signal.SIGCONT)
