"""A process of the history checker: ``python -m tests.history.worker SETTINGS``.

It calls until it is told to be calm, then does what it is told, one thing after the other (see `TASKS`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dynmemo
from dynmemo.errors import DynmemoError
from tests.history import mutants
from tests.history.functions import (
    ARGUMENTS,
    ASYNCHRONOUS,
    FUNCTIONS,
    PLAIN,
    RULES,
    Failure,
    current_call,
    value_of,
    work,
)
from tests.history.records import Log
from tests.history.store import Watch, cache_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dynmemo import Cache

BEAT = 0.05
STALL = 0.2
"""Seconds by which a beat may come late before that counts as a stall."""
THREADS, TASKS = 2, 3
"""Beside the main thread, which alone is interrupted; and in a loop of their own."""
CANCELLED, CANCELLED_WITHIN = 0.1, 0.15
HOT, HOT_SECONDS = 0.6, 0.5
"""How often all ask for the same key at the same time, and how long for the same one."""
FORGETTING = {"invalidate": 0.035, "clear": 0.006, "purge": 0.001}
RECOMPUTED, LOOKED_AT = 0.03, 0.02
CIRCUIT_SECONDS = 70.0
"""How long a circuit may stay open when the store is well: a minute, and some."""


class Worker:
    """What a process does.

    Args:
        settings: ``name``, ``folder``, ``place``, ``lease``, ``seed``, ``pause``, ``dies``, ``forgets``,
            ``beyond_a_lease``, ``seconds`` and ``mutant``, see `tests.history.run`.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.name: str = settings["name"]
        self.folder = Path(settings["folder"])
        self.log = Log(self.folder / f"{self.name}.log")
        self.watch = Watch(self.log, self._chance("store"), settings["dies"])
        self.cache: Cache = cache_at(settings["place"], self.watch, settings["lease"])
        self._numbers = itertools.count()
        self._is_armed = False
        self._stops = threading.Event()

    def run(self) -> None:
        mutants.apply(self.settings["mutant"])
        dynmemo.configure(self.cache)
        with contextlib.suppress(DynmemoError):  # who starts anew may find the store broken
            self.cache.store.open()
        work.log, work.name, work.chance = self.log, self.name, self._chance("work")
        work.beyond_a_lease = self.settings["beyond_a_lease"]
        signal.signal(signal.SIGINT, self._interrupted)
        threading.Thread(target=self._beat, daemon=True).start()
        others = [threading.Thread(target=self._calls, args=(f"thread {n}",)) for n in range(THREADS)]
        others.append(threading.Thread(target=self._loop))
        for other in others:
            other.start()
        self._said("ready")
        self._calls("main", interruptible=True)
        for other in others:
            other.join()
        self._said("quiet")
        done = 0
        while True:
            done += 1
            task = self._told(f"{done}")
            if task == "end":
                return
            getattr(self, f"do_{task}")()
            self._said(f"done {done}")

    # -- what it is told to do at the end ---------------------------------------------------------------------

    def do_nothing(self) -> None:
        """Others do something."""

    def do_close_circuits(self) -> None:
        """Call until the store is asked again."""
        end = time.monotonic() + CIRCUIT_SECONDS
        while self.cache.breaker.is_open or self.cache.write_breaker.is_open:
            for x in range(ARGUMENTS):
                self._call("plain", x)
                self._call("plain", x, "recompute")
            if time.monotonic() > end:
                raise TimeoutError("a circuit stays open")
            time.sleep(0.1)

    def do_ask(self, how: str = "call") -> None:
        """Call every function with every argument."""

        async def ask_async() -> None:
            for fn in ASYNCHRONOUS:
                for x in range(ARGUMENTS):
                    await self._call_async(fn, x, how)

        for fn in PLAIN:
            for x in range(ARGUMENTS):
                self._call(fn, x, how)
        asyncio.run(ask_async())

    def do_recompute(self) -> None:
        """Recompute everything, which leaves no lease of the dead."""
        self.do_ask()
        self.do_ask("recompute")

    def do_count(self) -> None:
        for fn, function in FUNCTIONS.items():
            self.log.say("counters", fn, function.cache_info()._asdict())

    # -- while all goes wrong ---------------------------------------------------------------------------------

    def _calls(self, thread: str, *, interruptible: bool = False) -> None:
        chance = self._chance(thread)
        while not self._is_over():
            fn, x = self._key(chance, PLAIN)
            what = self._choose(chance)
            if what in FORGETTING:
                self._forget(what, chance.choice(list(RULES)) if what != "invalidate" else fn, x, chance)
            else:
                self._call(fn, x, what, interruptible=interruptible)
            time.sleep(chance.uniform(0, 2 * self.settings["pause"]))

    def _loop(self) -> None:
        async def all_tasks() -> None:
            await asyncio.gather(*(self._calls_async(n) for n in range(TASKS)))
            while len(asyncio.all_tasks()) > 1:  # what is refreshed in the background
                await asyncio.sleep(0.01)

        asyncio.run(all_tasks())

    async def _calls_async(self, number: int) -> None:
        chance = self._chance(f"task {number}")
        while not self._is_over():
            fn, x = self._key(chance, ASYNCHRONOUS)
            what = self._choose(chance)
            if what == "invalidate":
                await self._invalidate_async(fn, x)
            else:
                call = asyncio.create_task(self._call_async(fn, x, "call" if what in FORGETTING else what))
                if chance.random() < CANCELLED:
                    await asyncio.sleep(chance.uniform(0, CANCELLED_WITHIN))
                    call.cancel()
                await asyncio.wait([call])
            await asyncio.sleep(chance.uniform(0, 2 * self.settings["pause"]))

    def _key(self, chance: random.Random, functions: Sequence[str]) -> tuple[str, int]:
        if chance.random() < HOT:  # the clock is the same for all
            chance = random.Random(f"{self.settings['seed']} {time.monotonic() // HOT_SECONDS}")
        return chance.choice(functions), chance.randrange(ARGUMENTS)

    def _choose(self, chance: random.Random) -> str:
        number = chance.random()
        for what, part in (*(FORGETTING.items() if self.settings["forgets"] else ()), ("recompute", RECOMPUTED)):
            if number < part:
                return str(what)
            number -= part
        return "entry" if number < LOOKED_AT else "call"

    # -- one call ---------------------------------------------------------------------------------------------

    def _call(self, fn: str, x: int, how: str = "call", *, interruptible: bool = False) -> None:
        name, function = self._called(fn, x, how)
        value: Any = None
        error: BaseException | None = None
        try:
            try:
                self._is_armed = interruptible
                value = function(x)
            finally:
                self._is_armed = False
        except BaseException as caught:  # noqa: BLE001 - all of them are noted
            self._is_armed = False
            error = caught
        self._returned(name, fn, x, how, value, error)

    async def _call_async(self, fn: str, x: int, how: str = "call") -> None:
        name, function = self._called(fn, x, how)
        value: Any = None
        error: BaseException | None = None
        try:
            value = await function(x)
        except BaseException as caught:  # noqa: BLE001 - all of them are noted
            error = caught
        self._returned(name, fn, x, how, value, error)

    def _called(self, fn: str, x: int, how: str) -> tuple[str, Callable[[int], Any]]:
        name = self._next()
        current_call.set(name)
        self.log.say("call", name, fn, x, how)
        function = FUNCTIONS[fn]
        return name, function if how == "call" else getattr(function, how)

    def _returned(self, name: str, fn: str, x: int, how: str, value: Any, error: BaseException | None) -> None:
        if isinstance(error, Failure):
            self.log.say("end", name, "raised", error.token)
        elif isinstance(error, KeyboardInterrupt):
            self.log.say("end", name, "interrupted")
        elif isinstance(error, asyncio.CancelledError):
            self.log.say("end", name, "cancelled")
        elif how == "entry" and isinstance(error, DynmemoError):  # which says that the store did not answer
            self.log.say("end", name, "failed")
        elif error is not None:
            self.log.say("end", name, f"{type(error).__name__}: {error}")
        elif how == "entry" and value is None:
            self.log.say("end", name, "absent")
        else:
            result = value.value if how == "entry" else value
            token = result["token"]
            self.log.say("end", name, "value", token, result == value_of(fn, x, token))

    def _forget(self, kind: str, fn: str, x: int, chance: random.Random) -> None:
        function = FUNCTIONS[fn]
        if kind == "clear" and fn in PLAIN and chance.random() < 0.3:
            kind = "cache_clear"  # this one sets the counters to zero as well
        name = self._next()
        self.log.say("forget", name, kind, fn, x if kind == "invalidate" else None)
        with self._forgetting(name):
            if kind == "invalidate":
                function.invalidate(x)
            elif kind == "cache_clear":
                function.cache_clear()
            elif kind == "clear":
                dynmemo.clear(f"history.{fn}")
            else:
                dynmemo.purge(f"history.{fn}")

    async def _invalidate_async(self, fn: str, x: int) -> None:
        name = self._next()
        self.log.say("forget", name, "invalidate", fn, x)
        with self._forgetting(name):
            await FUNCTIONS[fn].invalidate(x)

    @contextlib.contextmanager
    def _forgetting(self, name: str) -> Iterator[None]:
        """Note whether the store took it."""
        try:
            yield
        except DynmemoError:
            self.log.say("end", name, "failed")
        else:
            self.log.say("end", name, "done")

    # -- beside the calls -------------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Note when this process stood still, when its circuits were open, and end with who started it."""
        parent, started = os.getppid(), time.monotonic()
        last, closed_beats = started, 2
        while True:
            time.sleep(BEAT)
            now = time.monotonic()
            if now - last > BEAT + STALL:
                self.log.say("trouble", now, "stall", at=last)
            is_open = self.cache.breaker.is_open or self.cache.write_breaker.is_open
            # A probe that fails opens it again, perhaps for less than a beat.
            closed_beats = 0 if is_open else closed_beats + 1
            if closed_beats <= 2:
                self.log.say("trouble", now, "circuit", at=last)
            self.watch.pending()
            last = now
            if (self.folder / "calm").exists():
                work.is_calm.set()
                self.watch.dies = 0
            if os.getppid() != parent or now - started > self.settings["seconds"]:
                os._exit(3)

    def _is_over(self) -> bool:
        return work.is_calm.is_set()

    def _interrupted(self, *signal: object) -> None:
        if self._is_armed:
            self._is_armed = False
            self.log.say("interrupted")
            raise KeyboardInterrupt

    def _next(self) -> str:
        return f"{self.name}n{next(self._numbers)}"

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self.settings['seed']} {self.name} {what}")

    def _said(self, what: str) -> None:
        (self.folder / f"{what} {self.name}").touch()

    def _told(self, number: str) -> str:
        path = self.folder / f"task {number} {self.name}"
        while not path.exists():
            time.sleep(0.01)
        return path.read_text()


def main(settings: str) -> None:
    logging.getLogger("dynmemo").setLevel(logging.CRITICAL)
    Worker(json.loads(settings)).run()


if __name__ == "__main__":
    main(sys.argv[1])
