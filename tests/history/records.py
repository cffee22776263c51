"""What a run of the history checker leaves behind: calls, computations, forgettings and troubles, and their logs.

Times are the monotonic clock of the machine, which all its processes share. A call's time is taken before it begins
and after it has returned, so it encloses what really happened.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

Key = tuple[str, int]
"""A function and its argument."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The options of a decorated function that bear on what its calls may return."""

    ttl: float | None = None
    sliding: float | None = None
    stale_if_error: float | None = None
    refresh_ahead: float | None = None
    wait_timeout: float | None = None
    single_flight: bool = True

    def options(self) -> dict[str, Any]:
        """For `dynamo_cached`."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True)
class Call:
    """One call, a recomputation or a look at the entry."""

    process: str
    id: str
    key: Key
    begin: float
    end: float = math.inf
    """When it returned; when its process was killed; never."""
    how: str = "call"
    """``call``, ``recompute``, ``entry``."""
    outcome: str = "none"
    """``value``, ``raised``, ``absent`` and ``failed`` (of a look at the entry), ``interrupted``, ``cancelled``,
    ``none`` (it did not return), or an exception that nobody expects."""
    token: str | None = None
    """Which computation the value, or the exception, comes from."""
    whole: bool = True
    """Whether the value was what that computation made."""


@dataclass(frozen=True, slots=True)
class Computation:
    """One run of a decorated function."""

    process: str
    token: str
    key: Key
    begin: float
    end: float = math.inf
    outcome: str = "none"
    """``value``, ``raised``, ``stopped`` (interrupted or cancelled), ``none`` (it did not end)."""
    call: str | None = None
    """The call for which it ran; None for one in the background."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Something after which earlier results may not be returned."""

    process: str
    kind: str
    """``clear``, ``cache_clear``, ``invalidate``, ``purge``, ``recompute``."""
    fn: str
    x: int | None
    """None for all arguments."""
    begin: float
    end: float = math.inf
    succeeded: bool = False
    call: str | None = None
    """Of a recomputation."""
    cut: float | None = None
    """What began to be computed before this is forgotten. Default: what did before `begin`."""

    def touches(self, key: Key) -> bool:
        return self.fn == key[0] and self.x in (None, key[1])


@dataclass(frozen=True, slots=True)
class Trouble:
    """A time in which a process could not do what it should: it stood still, or its store was slow or failed."""

    process: str
    begin: float
    end: float
    kind: str
    """``stall``, ``slow``, ``failed``, ``circuit``."""


@dataclass(frozen=True, slots=True)
class Left:
    """A row that lies in the store at the end and should not."""

    key: str
    kind: str
    """``lease`` or ``part``."""
    process: str | None = None
    """Whose lease it is, if that process still runs."""


class Counters(NamedTuple):
    """`cache_info()` of a function in a process that ended in order."""

    process: str
    fn: str
    info: dict[str, Any]


@dataclass
class History:
    """All that happened in one run."""

    rules: dict[str, Rules]
    lease: float
    calls: list[Call] = field(default_factory=list)
    computations: list[Computation] = field(default_factory=list)
    forgets: list[Forget] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    counters: list[Counters] = field(default_factory=list)
    claims: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When each call began to take leases that it got."""
    deaths: dict[str, float] = field(default_factory=dict)
    """When the processes that were killed were killed."""
    crashed: dict[str, str] = field(default_factory=dict)
    """Processes that ended as they should not, with how."""
    left: list[Left] = field(default_factory=list)
    calm: float = math.inf
    """When the last fault was over."""
    hits_from: float = math.inf
    """When every process had called every key again after that."""
    lateness: float = 0.0
    """How long after its sender gave it up a request may still arrive at the store."""
    faults: dict[str, int] = field(default_factory=dict)
    """How many there were of each kind."""


class Log:
    """The file of one process; a line is written at once, so that a process that is killed has said it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, kind: str, *what: object, at: float | None = None) -> float:
        """Note what happens now, or happened at a time; gives that time."""
        now = time.monotonic() if at is None else at
        os.write(self._file, f"{json.dumps([kind, now, *what])}\n".encode())
        return now


def read(path: Path) -> list[list[Any]]:
    """The lines of a log; the last may be torn."""
    lines = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines[:-1]]


def gather(history: History, process: str, lines: list[list[Any]]) -> None:
    """Add what one process said of itself."""
    died = history.deaths.get(process, math.inf)
    begun: dict[str, list[Any]] = {}
    ended: dict[str, list[Any]] = {}
    for kind, at, *rest in lines:
        if kind in ("call", "compute", "forget"):
            begun[rest[0]] = [kind, at, *rest[1:]]
        elif kind == "end":
            ended[rest[0]] = [at, *rest[1:]]
        elif kind == "trouble":
            history.troubles.append(Trouble(process, at, *rest))
        elif kind == "claim" and rest[0] is not None:
            history.claims[rest[0]].append(at)
        elif kind == "counters":
            history.counters.append(Counters(process, *rest))
    for name, (kind, begin, *what) in begun.items():
        end, *how = ended.get(name, [died])
        if kind == "call":
            fn, x, manner = what
            call = Call(process, name, (fn, x), begin, end, manner, *how)
            history.calls.append(call)
            if manner == "recompute":
                succeeded = call.outcome == "value"
                history.forgets.append(Forget(process, manner, fn, x, begin, end, succeeded, name))
        elif kind == "compute":
            fn, x, caller = what
            outcome = how[0] if how else "none"
            history.computations.append(Computation(process, name, (fn, x), begin, end, outcome, caller))
        else:
            manner, fn, x = what
            history.forgets.append(Forget(process, manner, fn, x, begin, end, how == ["done"]))


def ended_by_interruption(history: History) -> None:
    """Let computations end with the call that an interruption ended, where it came before they could say so."""
    interrupted = {call.id: call.end for call in history.calls if call.outcome == "interrupted"}
    for n, one in enumerate(history.computations):
        end = interrupted.get(one.call or "")
        if end is not None and one.outcome == "none" and end < one.end:
            history.computations[n] = Computation(one.process, one.token, one.key, one.begin, end, "stopped", one.call)


def by_key(items: list[Any]) -> dict[Key, list[Any]]:
    """In the order in which they began."""
    found: dict[Key, list[Any]] = defaultdict(list)
    for item in sorted(items, key=lambda item: item.begin):
        found[item.key].append(item)
    return found
