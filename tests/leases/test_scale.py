"""A hundred workers on one key or sweep, by a virtual clock and a model of DynamoDB: see `benchmarks/scale.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "scale.py"
WORKERS = 100


def simulated(what: str) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), "--workers", str(WORKERS), "--only", what, "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


@pytest.mark.slow
def test_a_hundred_workers_that_wait_ten_minutes_compute_once_and_ask_seldom() -> None:
    found = simulated("wait")
    assert (found["workers"], found["computations"]) == (WORKERS, 1)
    assert found["reads_max"] <= 250
    assert found["throttled_early"] == found["throttled_late"] == 0
    assert found["read_units"] < 0.7 * found["requests"]  # looks cost half a unit
    assert found["picked_up_median"] <= 5
    assert found["picked_up_max"] <= 10
    assert found["between_renewals_max"] < 11


@pytest.mark.slow
def test_a_leader_that_dies_just_after_a_renewal_is_replaced_by_one_within_its_lease_and_two_seconds() -> None:
    found = simulated("death")
    assert found["computations"] == 2
    assert 20 < found["taken_over_after"] <= 32


@pytest.mark.slow
def test_those_who_share_a_sweep_compute_each_item_once_and_look_more_seldom_the_longer_they_wait() -> None:
    found = simulated("sweep")
    assert found["computations"] == 1_000
    assert found["seconds"] <= 130  # 100 where nobody ever waits
    assert found["read_units"] < 320_000
    assert found["throttled_early"] == found["throttled_late"] == 0
