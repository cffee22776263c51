"""Sweeps whose calls are computed in the workers of an executor: threads, processes, loky's, Dask's."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from dynmemo.calls.memo import value_of
from dynmemo.calls.miss import Elsewhere, Failed
from dynmemo.calls.progress import Tally
from dynmemo.calls.sweep import Sweep
from dynmemo.entries import Computed
from dynmemo.leases import Watch

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from dynmemo.calls.drawn import Call
    from dynmemo.calls.miss import Arguments
    from dynmemo.entries import Looked

PER_WORKER = 2
"""Calls that are submitted at a time for each worker, so that none waits for the next one."""

UNKNOWN_WORKERS = 16
"""How many workers an executor is taken for that does not say how many it has."""


class Task(NamedTuple):
    """What a worker is to do."""

    function: Any
    args: Arguments
    kwargs: dict[str, Any]
    is_counted: bool
    """Whether it has been counted as a miss."""
    waits: bool
    """Whether to wait for who computes the call already, and not come back without result."""
    is_late: bool
    """Whether that was waited for long enough."""
    asks: bool
    """Whether to ask the store."""
    is_told: bool
    """Whether a failure of the store was counted for it."""
    key: str
    looked: Looked | None
    """What was found under `key`; None where the worker is to look it up."""
    keeps: bool
    """Whether the result is wanted here."""


class Ran(NamedTuple):
    """What it answers."""

    kind: str
    """The field of `Progress` that counts the call; ``away`` if somebody else computes it."""
    value: Any = None
    """The result, or the row of who computes it."""


def run_in(executor: Executor, sweep: Sweep) -> None:
    """Compute what is missing in the workers of an executor, so many at a time as these can begin at once."""
    from concurrent.futures import FIRST_COMPLETED, wait

    running: dict[Future[Ran], Call] = {}
    most = PER_WORKER * _workers_of(executor)
    sweep.do(sweep.begin())
    try:
        while sweep.is_going_on():
            sweep.do(sweep.look_ahead())
            while sweep.free and len(running) < most:
                call = sweep.free.popleft()
                if sweep.is_held(call):  # a worker would only come back
                    sweep.away.append(call)
                else:
                    running[executor.submit(run_in_worker, _task(sweep, call))] = call
            pause = sweep.pause()
            if running:
                for future in wait(running, pause, FIRST_COMPLETED).done:
                    _take(sweep, running.pop(future), future)
                pause = None if pause is None else 0.0
            if pause is not None:
                sweep.do(sweep.come_back(pause))
    finally:
        begun = {future: call for future, call in running.items() if not future.cancel()}
    wait(begun)
    for future, call in begun.items():  # one may have been interrupted
        _take(sweep, call, future)
    sweep.end()


def _task(sweep: Sweep, call: Call) -> Task:
    owner, asks, is_late = sweep.function._self_with_owner(()), sweep.may_ask(), sweep.is_late(call)
    return Task(
        sweep.function,
        call.args[len(owner) :],
        dict(call.kwargs),
        is_counted=call.is_counted,
        waits=call.waits,
        is_late=is_late,
        asks=asks,
        is_told=not asks and sweep.was_told(),
        key=call.key,
        looked=_to_go_on_from(call.looked, may_claim=not (call.waits or is_late)),
        keeps=sweep.keeps,
    )


def _to_go_on_from(looked: Looked | None, *, may_claim: bool) -> Looked | None:
    """What a worker needs of what was found: the row that its claim is compared with. No value travels."""
    if looked is None or looked.unreadable is not None or (looked.row is not None and looked.row.value):
        return None
    row = looked.row
    if not may_claim or row is None or row.lease_owner is None or Watch().expect_if_dead(row) is None:
        return looked
    # A lease that is dead, as this process knows which has watched it.
    return replace(looked, row=row._replace(lease_owner=None))


def _take(sweep: Sweep, call: Call, future: Future[Ran]) -> None:
    call.is_counted = True  # there
    error = future.exception()
    if error is not None:
        sweep.take(call, Failed(error, error.__traceback__))
        return
    ran = future.result()
    if ran.kind == "away":
        sweep.take(call, Elsewhere(row=ran.value))
    else:
        sweep.settle(call, Computed(ran.value, time.time(), 0.0), ran.kind)


def run_in_worker(task: Task) -> Ran:
    """Make a call in a worker."""
    sweep = Sweep(task.function, [(task.args, task.kwargs)], Tally())
    [call] = sweep.calls
    call.is_counted, call.waits = task.is_counted, task.waits
    call.key, call.looked = task.key, task.looked
    if task.is_late:
        call.idle_since = -math.inf
    if not task.asks:
        sweep.leave_store_alone(is_told=task.is_told)
    outcome = sweep.do(sweep.attempt(call), call)
    if isinstance(outcome, Elsewhere):
        return Ran("away", outcome.row)
    value = sweep.results[0] if outcome is None else value_of(outcome)
    kind = "found" if outcome is None else "computed" if isinstance(outcome, Computed) else "elsewhere"
    return Ran(kind, value if task.keeps else None)


def _workers_of(executor: Any) -> int:
    """How many calls an executor runs at once."""
    known = getattr(executor, "_max_workers", None)
    if isinstance(known, int):
        return max(1, known)
    threads = getattr(getattr(executor, "_client", None), "nthreads", None)  # Dask's
    return max(1, sum(threads().values())) if callable(threads) else UNKNOWN_WORKERS
