"""One run of the history checker: workers, a nemesis, a calm end, and what was noted."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynmemo import Cache, parts
from tests.history.check import WITHIN, check
from tests.history.functions import RULES
from tests.history.nemesis import DELAY, ON_POSIX, PROCESSES, BreakingProxy, Nemesis
from tests.history.records import History, Left, Trouble, ended_by_interruption, gather, read

if TYPE_CHECKING:
    from tests.history.check import Violation

ROOT = Path(__file__).resolve().parents[2]

START_SECONDS, QUIET_SECONDS, TASK_SECONDS = 60.0, 90.0, 120.0
"""How long the parent waits; the workers end by themselves a little later."""

AT_ONCE = 0.5
"""Seconds in which a process that goes on has said that it stood still."""


@dataclass(frozen=True)
class Plan:
    """What a run does.

    Args:
        seconds: for which things go wrong.
        seed: from which all chances follow; what the system does in between does not.
        workers: processes at a time.
        lease: seconds.
        pause: seconds between two calls of a thread or task, on average.
        kinds: what goes wrong, see `Nemesis`.
        dies: how often a worker is killed in the middle of storing a result.
        forgets: whether workers clear, invalidate and purge.
        beyond_a_lease: the part of the computations that take longer than a lease.
        mutant: a fault to put into the library, see `tests.history.mutants`.
    """

    seconds: float = 10.0
    seed: int = 0
    workers: int = 3
    lease: float = 1.0
    pause: float = 0.02
    kinds: tuple[str, ...] = (*PROCESSES, "network")
    dies: float = 0.01 if ON_POSIX else 0.0
    forgets: bool = True
    beyond_a_lease: float = 0.08
    mutant: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    history: History
    violations: list[Violation]


class Run:
    """The parent of the workers.

    Args:
        plan: what to do.
        place: the store, as `SqliteStore` or `DynamoDBStore` takes it.
        folder: empty; for logs and signs.
        proxy: before the store, if `place` names it.
    """

    def __init__(self, plan: Plan, place: dict[str, Any], folder: Path, proxy: BreakingProxy | None = None) -> None:
        self.history = History(RULES, plan.lease, lateness=0.0 if proxy is None else DELAY + 1.0)
        self._plan = plan
        self._place = place
        self._folder = folder
        self._proxy = proxy
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: dict[str, subprocess.Popen[bytes]] = {}
        self._began = time.monotonic()
        self._tasks = 0
        chance = random.Random(f"{plan.seed} nemesis")
        self._nemesis = Nemesis(chance, plan.kinds, plan.lease, self._ready, self._will_die, proxy)

    def run(self, inspected: Cache) -> History:
        """Do all of it; `inspected` is the store without a proxy."""
        try:
            for _ in range(self._plan.workers):
                self._start()
            self._wait("ready", START_SECONDS)
            until = time.monotonic() + self._plan.seconds
            while time.monotonic() < until:
                self._nemesis.act()
                self._replace_the_dead()
                time.sleep(0.02)
            self._calm_down(inspected)
        finally:
            self._nemesis.end()
            for process in (*self._processes.values(), *self._ended.values()):
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                process.wait(30)
        self._gather()
        return self.history

    # -- processes ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        name = f"w{len(self._processes) + len(self._ended)}"
        plan = self._plan
        settings = {
            "name": name,
            "folder": str(self._folder),
            "place": self._place,
            "lease": plan.lease,
            "seed": plan.seed,
            "pause": plan.pause,
            "dies": plan.dies,
            "forgets": plan.forgets,
            "beyond_a_lease": plan.beyond_a_lease,
            "mutant": plan.mutant,
            "seconds": plan.seconds + START_SECONDS + QUIET_SECONDS + 4 * TASK_SECONDS,
        }
        command = [sys.executable, "-m", "tests.history.worker", json.dumps(settings)]
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        self._processes[name] = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)

    def _ready(self) -> dict[str, subprocess.Popen[bytes]]:
        return {
            name: process
            for name, process in self._processes.items()
            if process.poll() is None and (self._folder / f"ready {name}").exists()
        }

    def _will_die(self, name: str) -> None:
        self.history.deaths[name] = time.monotonic()

    def _replace_the_dead(self) -> None:
        for name in [name for name, process in self._processes.items() if process.poll() is not None]:
            self._bury(name)
            self._start()

    def _bury(self, name: str) -> None:
        """Take note of the end of a process that has ended by itself or by the nemesis."""
        process = self._ended[name] = self._processes.pop(name)
        if name in self.history.deaths:
            return
        dying = [at for kind, at, *_ in self._log(name) if kind == "dying"]
        self.history.deaths[name] = dying[-1] if dying else time.monotonic()
        if not dying:
            self.history.crashed[name] = f"ended with {process.returncode}"

    # -- the end --------------------------------------------------------------------------------------------------

    def _calm_down(self, inspected: Cache) -> None:
        self._nemesis.end()
        (self._folder / "calm").touch()
        self._wait("ready", START_SECONDS)
        self._wait("quiet", QUIET_SECONDS)
        self._let("close_circuits")
        self.history.calm = time.monotonic()
        time.sleep(self._plan.lease + WITHIN + 0.5)
        self._look_for_leases(inspected, of_living=True)
        self._let("ask")
        # Who waits for less than a lease may only have seen that one of the dead stands there: its time begins then.
        time.sleep(self._plan.lease)
        self._let("ask")
        self.history.hits_from = time.monotonic()
        self._let("ask")
        self._let("recompute", only_first=True)
        self._let("count")
        self._let("end")
        self._look_for_leases(inspected, of_living=False)
        self._look_for_parts(inspected)

    def _let(self, task: str, *, only_first: bool = False) -> None:
        """Let all processes do something, and wait until they have done it."""
        self._tasks += 1
        for n, name in enumerate(self._processes):
            sign = self._folder / f"task {self._tasks} {name}"
            sign.with_suffix(".new").write_text(task if n == 0 or not only_first else "nothing")
            sign.with_suffix(".new").rename(sign)
        if task != "end":
            self._wait(f"done {self._tasks}", TASK_SECONDS)
            return
        for name in list(self._processes):
            process = self._processes[name]
            try:
                code = process.wait(TASK_SECONDS)
            except subprocess.TimeoutExpired:
                self._give_up(name, "does not end")
                continue
            self._ended[name] = self._processes.pop(name)
            if code != 0:
                self.history.crashed[name] = f"ended with {code}"

    def _wait(self, sign: str, seconds: float) -> None:
        """Wait until all processes have given a sign; those that do not are given up."""
        until = time.monotonic() + seconds
        while waited_for := [name for name in self._processes if not (self._folder / f"{sign} {name}").exists()]:
            for name in waited_for:
                if self._processes[name].poll() is not None:
                    self._bury(name)
                elif time.monotonic() > until:
                    self._give_up(name, f"is not {sign} after {seconds:.0f} s")
            time.sleep(0.02)

    def _give_up(self, name: str, why: str) -> None:
        self.history.crashed[name] = why
        process = self._ended[name] = self._processes.pop(name)
        process.kill()

    # -- what is left ---------------------------------------------------------------------------------------------

    def _look_for_leases(self, inspected: Cache, *, of_living: bool) -> None:
        names = {str(process.pid): name for name, process in self._processes.items()}
        for key, row in inspected.store.scan():
            if row.lease_owner is None:
                continue
            name = names.get(row.lease_owner.split("/")[1])
            rules = self.history.rules[(row.fn or "").removeprefix("history.")]
            if name is None and not rules.single_flight:
                continue  # nobody waits for such a function: what a killed recomputation left is left to the TTL
            if name is not None or not of_living:
                self.history.left.append(Left(key, "lease", name))

    def _look_for_parts(self, inspected: Cache) -> None:
        rows = list(inspected.store.scan())
        pointed = {row.parts.write_id for _, row in rows if row.parts is not None}
        lost = {of[1]: of[0] for key, _ in rows if (of := parts.owner(key)) is not None and of[1] not in pointed}
        self.history.left += [Left(key, "part") for key in lost.values()]

    # -- what was noted -------------------------------------------------------------------------------------------

    def _log(self, name: str) -> list[list[Any]]:
        path = self._folder / f"{name}.log"
        return read(path) if path.exists() else []

    def _gather(self) -> None:
        history = self.history
        counts: Counter[str] = Counter()
        for name in {**self._ended, **self._processes}:
            lines = self._log(name)
            gather(history, name, lines)
            counts["killed while storing"] += sum(line[0] == "dying" for line in lines)
            counts["interrupted"] += sum(line[0] == "interrupted" for line in lines)
        ended_by_interruption(history)
        frozen = self._nemesis.frozen
        for name, began, until in frozen:
            # One that is killed as soon as it goes on has no time to say that it stood still.
            if history.deaths.get(name, math.inf) - until < AT_ONCE:
                history.troubles.append(Trouble(name, began, until, "stall"))
        counts["frozen"] = len(frozen)
        counts["frozen while leading"] = sum(
            any(one.process == name and one.begin < began and one.end > until for one in history.computations)
            for name, began, until in frozen
        )
        dead = {one.process for one in history.computations if one.outcome == "none" and one.process in history.deaths}
        counts["killed"] = len(history.deaths)
        counts["killed while computing"] = len(dead)
        counts["exceptions"] = sum(one.outcome == "raised" for one in history.computations)
        counts["cancelled"] = sum(call.outcome == "cancelled" for call in history.calls)
        for forget in history.forgets:
            counts[forget.kind.replace("cache_", "")] += 1
        if self._proxy is not None:
            counts.update({f"requests {kind}": n for kind, n in self._proxy.broken.items()})
        history.faults = dict(counts)


def run_on_sqlite(plan: Plan, folder: Path) -> Outcome:
    """A run on a file of its own."""
    path = str(folder / "cache.db")
    inspected = Cache.sqlite(path)
    try:
        history = Run(plan, {"path": path}, folder).run(inspected)
    finally:
        inspected.close()
    return Outcome(history, check(history))


def run_on_dynamodb(plan: Plan, folder: Path, endpoint: str, table: str) -> Outcome:
    """A run on a table of its own, behind a proxy."""
    place = {
        "table_name": table,
        "region": "eu-west-1",
        "partition_key_name": "id",
        "ttl_attribute_name": "ttl_date",
    }
    inspected = Cache.dynamodb(**place, endpoint_url=endpoint)  # type: ignore[arg-type]
    try:
        with BreakingProxy(endpoint, random.Random(f"{plan.seed} network")) as proxy:
            run = Run(plan, {**place, "endpoint_url": proxy.endpoint}, folder, proxy)
            history = run.run(inspected)
    finally:
        inspected.close()
    return Outcome(history, check(history))
