"""The decorated functions that the workers of the history checker call, and what they note of each computation."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from dynmemo import dynamo_cached
from tests.history.records import Rules

if TYPE_CHECKING:
    from tests.history.records import Log

HOUR = 3600.0
ARGUMENTS = 2
LARGE_BYTES = 450_000
"""More than an item of DynamoDB holds."""

RULES = {
    "plain": Rules(ttl=HOUR),
    "sliding": Rules(ttl=5, sliding=2),
    "stale": Rules(ttl=2, stale_if_error=3),
    "ahead": Rules(ttl=4, refresh_ahead=0.5),
    "impatient": Rules(ttl=HOUR, wait_timeout=0.5),
    "alone": Rules(ttl=3, single_flight=False),
    "failing": Rules(ttl=3),
    "large": Rules(),
    "task": Rules(ttl=HOUR),
    "task_ahead": Rules(ttl=4, stale_if_error=3, refresh_ahead=0.5),
}
ASYNCHRONOUS = ("task", "task_ahead")
RAISING = {"stale": 0.3, "failing": 0.4, "task_ahead": 0.3}
"""How often which of them raise."""

SHORT, LONGER, BEYOND_A_LEASE = (0.01, 0.1), (0.3, 0.8), (1.6, 2.6)
LONGER_PART = 0.12

current_call: ContextVar[str | None] = ContextVar("current_call", default=None)


class Failure(Exception):
    """What a function raises now and then."""

    def __init__(self, token: str) -> None:
        super().__init__(token)
        self.token = token


class Work:
    """What all functions of a process do: note that they begin, take some time, note that they end."""

    def __init__(self) -> None:
        self.log: Log
        self.name = ""
        self.chance = random.Random()
        self.beyond_a_lease = 0.0
        self.is_calm = threading.Event()
        self._numbers = itertools.count()

    def begin(self, fn: str, x: int) -> tuple[str, float, bool]:
        """The token of this computation, how long it takes, and whether it raises."""
        token = f"{self.name}c{next(self._numbers)}"
        if self.is_calm.is_set():
            seconds, raises = 0.01, False
        else:
            parts = (1 - LONGER_PART - self.beyond_a_lease, LONGER_PART, self.beyond_a_lease)
            kind = self.chance.choices((SHORT, LONGER, BEYOND_A_LEASE), parts)[0]
            seconds, raises = self.chance.uniform(*kind), self.chance.random() < RAISING.get(fn, 0.0)
        self.log.say("compute", token, fn, x, current_call.get())
        return token, seconds, raises

    def end(self, fn: str, x: int, token: str, *, raises: bool) -> dict[str, Any]:
        """Note that it ends, and give its value or raise."""
        value = value_of(fn, x, token)
        self.log.say("end", token, "raised" if raises else "value")
        if raises:
            raise Failure(token)
        return value

    def compute(self, fn: str, x: int) -> dict[str, Any]:
        token, seconds, raises = self.begin(fn, x)
        try:
            time.sleep(seconds)
        except BaseException:
            self.log.say("end", token, "stopped")
            raise
        return self.end(fn, x, token, raises=raises)

    async def compute_async(self, fn: str, x: int) -> dict[str, Any]:
        token, seconds, raises = self.begin(fn, x)
        try:
            await asyncio.sleep(seconds)
        except BaseException:
            self.log.say("end", token, "stopped")
            raise
        return self.end(fn, x, token, raises=raises)


work = Work()
"""That of this process."""


def value_of(fn: str, x: int, token: str) -> dict[str, Any]:
    """What a computation makes: its name, and bytes that follow from it and cannot be compressed."""
    body = random.Random(token).randbytes(LARGE_BYTES if fn == "large" else 64)
    return {"fn": fn, "x": x, "token": token, "body": body}


def _decorated(fn: str) -> Any:
    options = {"name": f"history.{fn}", "version": 1, **RULES[fn].options()}
    if fn in ASYNCHRONOUS:

        async def function_async(x: int) -> dict[str, Any]:
            return await work.compute_async(fn, x)

        return dynamo_cached(**options)(function_async)

    def function(x: int) -> dict[str, Any]:
        return work.compute(fn, x)

    return dynamo_cached(**options)(function)


FUNCTIONS = {fn: _decorated(fn) for fn in RULES}
PLAIN = [fn for fn in RULES if fn not in ASYNCHRONOUS]
