"""Python in processes of their own: this one, and other versions for what one writes and another reads."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("blake3", "cloudpickle", "wrapt", "platformdirs")
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHERS = [version for version in ("3.11", "3.12", "3.13", "3.14") if version != THIS]

# Taken before any test changes the environment. Paths, separated as in PATH.
_GIVEN = [path for path in os.environ.get("DYNMEMO_OTHER_PYTHONS", "").split(os.pathsep) if path]


def ran(
    *arguments: str, python: str = sys.executable, folder: Path = ROOT, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Python after it ran in `folder` with these arguments and these variables of the environment."""
    return subprocess.run(
        [python, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1", **variables},
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def printed(
    *arguments: str, python: str = sys.executable, folder: Path = ROOT, stdin: str = "", **variables: str
) -> str:
    """What Python prints when it ran so; it must not fail."""
    done = ran(*arguments, python=python, folder=folder, stdin=stdin, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


def other_python(version: str) -> str:
    """An interpreter of that version with what dynmemo needs; the test is skipped if there is none."""
    for path in (*_GIVEN, shutil.which(f"python{version}")):
        if path and version == _usable(path):
            return path
    pytest.skip(f"no Python {version} with {', '.join(NEEDED)} on PATH or in DYNMEMO_OTHER_PYTHONS")


def other_pandas(than: str) -> str:
    """An interpreter whose pandas is of another major version; the test is skipped if there is none."""
    for path in _GIVEN:
        major = _output(path, "import pandas; print(pandas.__version__.split('.')[0])")
        if major and major != than.split(".")[0] and _usable(path):
            return path
    pytest.skip("no interpreter with another major version of pandas in DYNMEMO_OTHER_PYTHONS")


@functools.cache
def _usable(python: str) -> str:
    """The version of the interpreter if it has all that is needed."""
    return _output(python, f"import sys, {', '.join(NEEDED)}; print('%d.%d' % sys.version_info[:2])")


def _output(python: str, program: str) -> str:
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    return done.stdout.strip()
