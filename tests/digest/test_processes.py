"""A digest is the same in every process, on every Python, with other versions of libraries, and in every release."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynmemo.digest import FORMAT, digest, digest_arguments
from tests.codec.pythons import OTHERS, other_python
from tests.digest.golden import golden
from tests.digest.report import digests

ROOT = Path(__file__).parents[2]
HERE = digests()


@functools.cache
def _there(python: str, seed: str) -> dict[str, str]:
    done = subprocess.run(
        [python, "-W", "ignore", "-m", "tests.digest.report"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_every_process_has_the_same_digests(seed: str) -> None:
    assert _there(sys.executable, seed) == HERE


@pytest.mark.parametrize("version", OTHERS)
def test_every_python_has_the_same_digests(version: str) -> None:
    there = _there(other_python(version), "3")
    both = [name for name in HERE if name in there and not name.startswith("~")]
    assert len(both) > 100
    assert [name for name in both if there[name] != HERE[name]] == []


def test_every_release_has_the_same_digests() -> None:
    known = golden()
    assert {name: found for name, found in HERE.items() if not name.startswith("~")}.items() <= known.items()


def test_the_format_is_part_of_every_digest() -> None:
    assert FORMAT == 1
    assert digest(1) == "24212924aee717de62dccba986277c55558d11bd"
    assert digest_arguments([("x", 1)]) == "96ad7383e9073ab4f313b674abbcbb11fc230962"
