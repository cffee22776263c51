"""A fingerprint is the same in every process, on every Python, and in every release."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.keys.identity.fingerprints import of_programs, of_syntax
from tests.pythons import OTHERS, other_python, printed

GOLDEN = Path(__file__).parent / "golden.json"


def _run(python: str, folder: Path, seed: str) -> dict[str, str]:
    command = ("-W", "ignore", "-m", "tests.keys.identity.fingerprints", str(folder))
    found: dict[str, str] = json.loads(printed(*command, python=python, PYTHONHASHSEED=seed))
    return found


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_every_process_has_the_same_fingerprints(tmp_path: Path, seed: str) -> None:
    (tmp_path / "there").mkdir()
    assert _run(sys.executable, tmp_path / "there", seed) == of_syntax() | of_programs(tmp_path)


@pytest.mark.parametrize("version", OTHERS)
def test_every_python_has_the_same_fingerprints(tmp_path: Path, version: str) -> None:
    python = other_python(version)
    (tmp_path / "there").mkdir()
    there, here = _run(python, tmp_path / "there", "0"), of_syntax() | of_programs(tmp_path)
    assert {name: value for name, value in there.items() if here[name] != value} == {}


def test_later_releases_have_the_fingerprints_of_this_one() -> None:
    assert of_syntax() == json.loads(GOLDEN.read_text())
