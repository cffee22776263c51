"""Many processes with many threads or tasks, and notebooks among them: each key is computed once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

from dynmemo.testing.together import until
from tests.fleet.helpers import ROOT, Work, done
from tests.fleet.worker import KEYS, THREADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fleet.helpers import Fleet, Worker

PROCESSES, KERNELS = 8, 2


async def ask_in_kernels(fleet: Fleet, names: list[str]) -> None:
    await asyncio.gather(*(ask_in_kernel(fleet, name) for name in names))


async def ask_in_kernel(fleet: Fleet, name: str) -> None:
    sources = "from tests.fleet import worker", f"worker.main('crowd', {name!r})"
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}})
    async with client.async_setup_kernel(env=fleet.environment()):
        for index, cell in enumerate(cells):
            await client.async_execute_cell(cell, index)


@pytest.mark.slow
def test_a_crowd_of_processes_and_kernels_computes_each_key_once_in_threads_and_in_tasks(
    fleet: Fleet, kind: str
) -> None:
    names = [f"worker {n}" for n in range(PROCESSES)] + [f"kernel {n}" for n in range(KERNELS)]
    processes = [fleet.start("crowd", name) for name in names[:PROCESSES]]
    with ThreadPoolExecutor(1) as pool:
        kernels = pool.submit(lambda: asyncio.run(ask_in_kernels(fleet, names[PROCESSES:])))
        for phase in ("threads", "tasks"):
            fleet.go(len(names), phase)
        done(*processes)
        kernels.result()
    for phase in ("threads", "tasks"):
        assert sorted(each for each in fleet.computed() if each.startswith(phase)) == sorted(
            f"{phase} {x}" for x in range(KEYS)
        )
        infos = [fleet.told(name)[phase] for name in names]
        assert sum(info["computed"] for info in infos) == KEYS
        for info in infos:
            check(info, kind)


def check(info: dict[str, Any], kind: str) -> None:
    calls = THREADS * KEYS
    assert info["hits"] + info["waited"] + info["computed"] == calls
    assert info["hits"] + info["misses"] == calls
    assert info["errors"] == info["unreadable"] == info["bypassed"] == 0
    # For each key a refused claim at most, or the two rows of what it computes; and two generations.
    if kind == "dynamodb":
        assert info["write_units"] <= (KEYS - info["computed"]) + 2 * info["computed"] + 2


def test_who_waits_in_another_process_makes_reads_only(worker: Callable[..., Worker], kind: str) -> None:
    leader, waiter, work, never = worker(), worker(), Work(hold=True), Work("never")
    computing, waiting = leader.decorate(work), waiter.decorate(never)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(computing)
        until(lambda: work.runs)
        second = pool.submit(waiting)
        until(lambda: len(waiter.trips) >= 4)
        work.go.set()
        assert first.result() == second.result() == "result"
    assert set(waiter.trips) == {"read"}
    info = waiting.cache_info()
    assert (info.computed, info.waited, info.misses, info.write_units) == (0, 1, 1, 0)
    assert info.requests == len(waiter.trips) + 1  # and the two generations, in one go
    if kind == "dynamodb":  # looks cost half a unit, but for the first one and the one that brings the value
        assert info.read_units == 2 + 2 + (len(waiter.trips) - 2) / 2
    assert leader.trips == ["read", "write", "write"]
    assert never.runs == 0


def test_who_waits_in_the_same_process_makes_its_one_read_only(worker: Callable[..., Worker]) -> None:
    only, work = worker(), Work(hold=True)
    function = only.decorate(work)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(function) for _ in range(8)]
        until(lambda: function.cache_info().misses == 8)
        work.go.set()
        assert [call.result() for call in calls] == ["result"] * 8
    assert sorted(only.trips) == ["read"] * 8 + ["write"] * 2
    info = function.cache_info()
    assert (work.runs, info.computed, info.waited) == (1, 1, 7)
