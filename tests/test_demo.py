"""The demo, from outside."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from rich.console import Console

from dynmemo import Cache, demo
from tests.pythons import ran

if TYPE_CHECKING:
    from pathlib import Path


def shell(text: str, purpose: str) -> str:
    """What the command that `text` proposes for `purpose` prints."""
    proposed = re.search(rf"{purpose}:\n  python (.*)", text)
    assert proposed is not None
    command = f'"{sys.executable}" {proposed[1]}'
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"


@pytest.mark.slow
def test_workers_compute_each_forecast_once_and_the_next_run_computes_nothing(url: str) -> None:
    first = ran("-m", "dynmemo", "demo", "--url", url, "--workers", "3", COLUMNS="80")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "4 forecasts computed, each once; " in first.stdout
    assert len(re.findall(r"computed \d", first.stdout)) == 4
    assert len(re.findall(r"(hit|waited) \d", first.stdout)) == 3 * 4 * 2 - 4

    second = ran("-m", "dynmemo", "demo", "--url", url, "--workers", "2", COLUMNS="80")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Nothing computed" in second.stdout
    assert len(re.findall(r"hit \d", second.stdout)) == 2 * 4 * 2

    assert shell(second.stdout, "look at them").count("dynmemo.demo.forecast:") == 4
    assert "Forgot all results of dynmemo.demo.forecast" in shell(second.stdout, "forget them")
    assert list(Cache.from_url(url).store.scan("dynmemo.demo.forecast:")) == []


def call(pid: int, variable: str, *, computed: bool = False, again: bool = False, mean: float = 1.0) -> demo.Call:
    result = pd.DataFrame({"mean": [mean], "lower": [0.0], "upper": [2.0]})
    seconds, saved = (0.5, 0.0) if computed else (0.001, 0.5)
    return demo.Call(pid, variable, again, computed, False, seconds, saved, result)


def worker(pid: int, *, computes: bool = False, mean: float = 1.0) -> list[demo.Call]:
    calls = [call(pid, variable, computed=computes, mean=mean) for variable in demo.VARIABLES]
    return calls + [call(pid, variable, again=True, mean=mean) for variable in demo.VARIABLES]


def told(url: str, *works: list[demo.Call]) -> tuple[bool, str]:
    """The verdict and the text of the report about these workers."""
    seconds = dict.fromkeys(demo.VARIABLES, 0.5)
    screen = io.StringIO()
    succeeded = demo.report(demo.Run(Cache.from_url(url), works, seconds), Console(file=screen, width=80))
    return succeeded, screen.getvalue()


def test_a_forecast_computed_twice_fails_and_names_the_processes(url: str) -> None:
    succeeded, text = told(url, worker(11, computes=True), worker(12, computes=True))
    assert not succeeded
    assert "wind was computed 2 times, by the processes 11, 12" in text


def test_a_forecast_computed_twice_by_one_process_fails() -> None:
    calls = [call(11, "wind", computed=True), call(11, "wind", computed=True, again=True)]
    assert demo.problems(calls) == ["wind was computed 2 times, by the processes 11 (2 times)"]


def test_workers_that_got_different_forecasts_fail(url: str) -> None:
    succeeded, text = told(url, worker(11, computes=True), worker(12, mean=1.000001))
    assert not succeeded
    assert "wind differs" in text
    assert "12" in text


def test_one_computation_and_equal_forecasts_pass(url: str) -> None:
    succeeded, text = told(url, worker(11, computes=True), worker(12))
    assert succeeded
    assert "500 x" in text


def test_a_failed_demo_is_a_failed_command(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from dynmemo.__main__ import app

    works = (worker(11, computes=True), worker(12, computes=True))
    # The real thing would compute for a minute to get there.
    monkeypatch.setattr(demo, "run", lambda *_: demo.Run(Cache.from_url(url), works, {}))
    assert CliRunner().invoke(app, ["demo"]).exit_code == 1
