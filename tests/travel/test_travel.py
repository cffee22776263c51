"""Decorated functions arrive decorated, with the same keys and the same cache."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from dynmemo import Cache, InvalidOptionError, dynamo_cached
from tests.travel import program

SCRIPT = Path(program.__file__)


@pytest.mark.parametrize("way", [*multiprocessing.get_all_start_methods(), "loky", "file"])
def test_functions_of_a_script_arrive_whole(way: str, tmp_path: Path) -> None:
    if way == "loky":
        pytest.importorskip("joblib", reason="joblib is not installed")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), way, (tmp_path / "file").as_posix()],
        capture_output=True,
        text=True,
        cwd=SCRIPT.parent.parent.parent,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name}: arrived" for name in program.travellers()]


def test_a_function_of_a_module_travels_by_reference() -> None:
    for pickler in (pickle, cloudpickle):
        assert pickle.loads(pickler.dumps(program.recursive)) is program.recursive
        assert len(pickler.dumps(program.recursive)) < 100


def test_a_function_with_a_cache_from_a_live_client_says_what_to_do() -> None:
    cache = Cache.dynamodb("t", client=object())  # type: ignore[arg-type]
    local = dynamo_cached(cache=cache)(lambda: 1)
    with pytest.raises(InvalidOptionError, match="client_factory="):
        cloudpickle.dumps(local)


def test_what_is_not_there_and_cannot_be_sent_says_so() -> None:
    lock = __import__("threading").Lock()
    local = dynamo_cached(lambda: lock)
    with pytest.raises(TypeError, match="lock"):
        cloudpickle.dumps(local)
