"""Processes that sweep the same items: each is computed once, also where one of them dies or is interrupted."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache, StoreUnavailableError, dynamo_cached
from dynmemo.purging import clear_functions
from dynmemo.testing.together import until
from tests.fleet.helpers import ROOT, Fleet, done, on_posix
from tests.fleet.worker import ITEMS
from tests.notebooks.kernels import kernel
from tests.proxy import Proxy, denied

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.fleet.helpers import Worker
    from tests.proxy import Request


def same(x: int) -> int:
    return x


def times(fleet: Fleet) -> Counter[str]:
    """How often each item was begun to be computed."""
    return Counter(line.split()[-1] for line in fleet.computed())


def test_each_item_is_computed_once_by_all_of_them(fleet: Fleet) -> None:
    workers = [fleet.start("sweep", f"w{n}") for n in range(3)]
    fleet.go(3, "sweep")
    done(*workers)
    assert times(fleet) == {str(x): 1 for x in range(ITEMS)}
    for n in range(3):
        assert fleet.told(f"w{n}")["results"] == [[x, False] for x in range(ITEMS)]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["threads", "processes", "loky", "dask"])
def test_an_executor_computes_each_item_once_and_all_are_hits_then(tmp_path: Path, way: str) -> None:
    fleet = Fleet(f"sqlite:///{(tmp_path / 'cache.db').as_posix()}", tmp_path)
    done(fleet.start("through", way))
    told = fleet.told(way)
    assert told["results"] == told["again"] == [*(x * x for x in range(ITEMS)), 0]
    assert told["hits"] == ITEMS + 1
    assert times(fleet) == {str(x): 1 for x in range(ITEMS)}


@on_posix
def test_what_a_killed_one_computed_is_computed_by_another(fleet: Fleet) -> None:
    workers = [fleet.start("sweep", f"w{n}", lease_seconds=2) for n in range(3)]
    fleet.go(3, "sweep")
    until(lambda: any(line.startswith("w0 ") for line in fleet.computed()[3:]))
    workers[0].kill()
    done(*workers[1:])
    for n in (1, 2):
        assert fleet.told(f"w{n}")["results"] == [[x, False] for x in range(ITEMS)]
    twice = {x for x, count in times(fleet).items() if count > 1}
    assert len(twice) <= 1, "more than what the dead one was at"


TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))"


def check_interrupted(fleet: Fleet, computed: int) -> None:
    """What was computed is stored, and nobody has to wait for the rest."""
    cache = Cache.from_url(fleet.url)
    rows = [row for _, row in cache.store.scan("fleet.sweep:")]
    assert not [row for row in rows if row.lease_owner is not None]
    assert len(rows) == computed >= 3
    cache.close()


@on_posix
def test_ctrl_c_in_a_terminal_keeps_what_is_stored_leaves_no_lease_and_ends_the_line(fleet: Fleet) -> None:
    command = [sys.executable, "-c", TERMINAL, sys.executable, "-m", "tests.fleet.worker", "sweep", "w0"]
    with subprocess.Popen(
        command, cwd=ROOT, env=fleet.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as terminal:
        fleet.go(1, "sweep")
        until(lambda: len(fleet.computed()) >= 4)
        shown, _ = terminal.communicate(b"\x03")
    assert terminal.returncode == 0
    computed = fleet.told("w0")["interrupted"] - 1  # the last one was begun
    check_interrupted(fleet, computed)
    states = shown.decode().strip().split("\r")
    assert states[-1].strip().endswith(f"{computed} computed, {ITEMS - computed} left")
    assert len(states) > 2
    assert (shown.count(b"\n"), shown[-1:]) == (1, b"\n")


@on_posix
@pytest.mark.slow
def test_the_stop_button_of_a_notebook_keeps_what_is_stored_leaves_no_lease_and_ends_the_one_bar(fleet: Fleet) -> None:
    cell = f"""
        from tests.fleet import worker
        try:
            worker.item.map(range({ITEMS}), progress=True)
        except KeyboardInterrupt:
            worker.tell({{"interrupted": worker.item.cache_info().computed}})
        """
    with kernel(ROOT, **fleet.environment()) as notebook, ThreadPoolExecutor(1) as pool:

        def stop() -> None:
            until(lambda: len(fleet.computed()) >= 4)
            notebook.interrupt()

        stopped = pool.submit(stop)
        html = notebook.shown(cell)
        stopped.result()
    computed = fleet.told("nobody")["interrupted"] - 1
    check_interrupted(fleet, computed)
    assert html.count("<progress") == 1
    assert html.endswith(f"{computed} computed, {ITEMS - computed} left")


def test_nothing_from_before_a_clear_is_given_to_who_begins_after_it(fleet: Fleet) -> None:
    early = fleet.start("sweep", "early")
    fleet.go(1, "sweep")
    until(lambda: len(fleet.computed()) >= ITEMS // 2)
    (fleet.folder / "cleared").touch()
    cache = Cache.from_url(fleet.url)
    clear_functions(cache, "fleet.sweep")
    cache.close()
    late = fleet.start("sweep", "late")
    done(early, late)
    assert fleet.told("late")["results"] == [[x, True] for x in range(ITEMS)]


def test_stored_calls_are_ten_batches_and_a_missing_one_is_two_writes(
    dynamodb_endpoint: str, dynamodb_table: str
) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        cache = Cache.dynamodb(dynamodb_table, endpoint_url=proxy.endpoint, region="eu-west-1")
        function = dynamo_cached(cache=cache, name="fleet", version=1)(same)
        function(-1)  # it finds the table and makes the generations
        for writes in (2000, 0):
            before = len(proxy.requests)
            assert function.map(range(1000)) == list(range(1000))
            made = Counter(request.operation for request in proxy.requests[before:] if not _is_for_generations(request))
            assert made == Counter(BatchGetItem=10, PutItem=writes) + Counter()
        proxy.breaks("BatchGetItem", denied("BatchGetItem"))
        assert function.map(range(20)) == list(range(20))
        cache.close()


def test_a_store_that_fails_costs_a_sweep_its_time_once(worker: Callable[..., Worker]) -> None:
    function = worker().decorate(same)
    tries: list[str] = []

    def fail(*args: Any, **options: Any) -> Any:
        tries.append("")
        raise StoreUnavailableError("the store is down", code="Down")

    store = function._self_memo.entries().store
    for name in ("read", "read_many", "write"):
        setattr(store, name, fail)
    assert function.map(range(50)) == list(range(50))
    assert len(tries) <= 3
    info = function.cache_info()
    assert (info.computed, info.misses, info.errors + info.bypassed) == (50, 50, 50)


def _is_for_generations(request: Request) -> bool:
    """These are read at most every five seconds, in one go."""
    return request.operation == "BatchGetItem" and "#gen" in str(request.body)
