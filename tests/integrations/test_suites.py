"""The tests that frameworks have for cache backends, on ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations import sdists

ROOT = Path(__file__).resolve().parent.parent.parent

# Taken before any test changes the environment.
_REQUIRED = os.environ.get("DYNMEMO_REQUIRE_SUITES") == "1"

EXCEPTIONS = {
    "test_cull": "Culling isn't implemented.",
    "test_zero_cull": "Culling isn't implemented.",
    "test_cull_delete_when_store_empty": "Culling isn't implemented.",
    "test_empty_session_saved": "It looks for the session in a database.",
}
"""Of Django's tests, those that do not hold here, and why: the only ones of both suites."""


def sources(name: str) -> Path:
    try:
        return sdists.fetched(name)
    except sdists.SdistMissingError as error:
        if _REQUIRED:
            pytest.fail(str(error))
        pytest.skip(str(error))


def run(name: str, folders: list[str], *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Python with these folders of a distribution before everything else, so that it is tested as it was fetched."""
    path = os.pathsep.join([str(sources(name) / folder) for folder in folders] + [str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_djangos_tests_of_caches_and_sessions_pass(url: str) -> None:
    done = run("django", [".", "tests"], "-m", "tests.integrations.django_suite", url)
    told = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    assert (told.get("failed"), told.get("skipped")) == ([], EXCEPTIONS), done.stderr
    assert told["ran"] == 276


@pytest.mark.slow
def test_cachelibs_tests_pass(url: str, tmp_path: Path) -> None:
    suite = str(ROOT / "tests/integrations/cachelib_suite.py")
    none_of_ours = tmp_path / "pytest.ini"
    none_of_ours.write_text("[pytest]\n", encoding="ascii")
    options = ["-q", "-n0", "--noconftest", "-c", str(none_of_ours), "-p", "no:cacheprovider"]
    done = run("cachelib", ["src", "tests"], "-m", "pytest", *options, suite, DYNMEMO_SUITE_URL=url)
    assert re.search(r"^15 passed in", done.stdout, re.MULTILINE), done.stdout + done.stderr
