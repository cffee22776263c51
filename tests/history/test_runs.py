"""Short runs of the history checker on both stores, and that it finds faults put into the library.

`python scripts/history.py` does longer ones.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.history.nemesis import ON_POSIX
from tests.history.run import Plan, run_on_dynamodb, run_on_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.history.run import Outcome

pytestmark = pytest.mark.slow

on_posix = pytest.mark.skipif(not ON_POSIX, reason="this system stops no process")


def check_run(outcome: Outcome) -> None:
    assert outcome.violations == []
    assert len(outcome.history.calls) > len(outcome.history.computations) > 10
    assert len(outcome.history.counters) > 0


def test_a_run_on_sqlite_keeps_every_promise(tmp_path: Path) -> None:
    check_run(run_on_sqlite(Plan(), tmp_path))


def test_a_run_on_dynamodb_keeps_every_promise(tmp_path: Path, dynamodb_endpoint: str, dynamodb_table: str) -> None:
    check_run(run_on_dynamodb(Plan(pause=0.04), tmp_path, dynamodb_endpoint, dynamodb_table))


def found(plan: Plan, folder: Path) -> Counter[str]:
    """What the checker finds."""
    return Counter(violation.kind for violation in run_on_sqlite(plan, folder).violations)


def test_a_clear_that_is_ignored_is_found(tmp_path: Path) -> None:
    assert found(Plan(kinds=(), dies=0, mutant="clear_is_ignored"), tmp_path)["forgotten"] > 0


def test_a_lease_that_is_never_renewed_is_found(tmp_path: Path) -> None:
    # With the usual part of long computations two to seven are found in a run, and sometimes none.
    plan = Plan(kinds=(), dies=0, beyond_a_lease=0.5, mutant="never_renewed")
    assert found(plan, tmp_path)["overlap"] > 0


@on_posix
def test_a_lost_lease_that_writes_all_the_same_is_found(tmp_path: Path) -> None:
    kinds = found(Plan(kinds=("freeze",), dies=0, mutant="lost_lease_writes"), tmp_path)
    assert kinds["forgotten"] + kinds["backwards"] > 0
