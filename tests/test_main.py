"""The command line, from outside."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import dynmemo
from dynmemo import Cache
from dynmemo.__main__ import app
from dynmemo.item import Item
from tests.core.test_purge import numbers
from tests.pythons import printed, ran

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

PROGRAM = """
import sys
from dynmemo import dynamo_cached

@dynamo_cached(name="mine.double")
def double(number):
    return 2 * number

@dynamo_cached(name="mine.triple")
def triple(number):
    return 3 * number

double(1), triple(1)
print(double.cache_info().hits, triple.cache_info().hits)
"""


def without(package: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line where `package` is not installed."""
    start = f"import sys; sys.modules[{package!r}] = None; from dynmemo.__main__ import main; main()"
    return ran("-c", start, *arguments)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://localhost", "InvalidOptionError: a cache URL starts with"),
        ("dynamodb://t?region=eu-west-1&endpoint_url=http://127.0.0.1:9", "StoreUnavailableError: "),
    ],
)
def test_a_cache_that_does_not_work_is_one_line_and_a_failed_command(url: str, said: str) -> None:
    done = ran("-m", "dynmemo", "demo", "--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_clear_forgets_one_function_by_name_or_all(url: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def hits() -> list[str]:
        return printed(str(program), DYNMEMO_URL=url).split()

    assert hits() == ["0", "0"]
    assert hits() == ["1", "1"]
    assert "Forgot all results of mine.double" in printed("-m", "dynmemo", "clear", "mine.double", "--url", url)
    assert hits() == ["0", "1"]
    assert "Forgot the results of all functions" in printed("-m", "dynmemo", "clear", DYNMEMO_URL=url)
    assert hits() == ["0", "0"]


def test_the_command_line_says_what_to_install() -> None:
    done = without("typer", "clear")
    assert done.returncode == 1
    assert done.stderr == 'typer is not installed; run: pip install "dynmemo[cli]"\n'


def test_the_demo_says_what_to_install() -> None:
    done = without("statsmodels", "demo")
    assert done.returncode == 1
    assert done.stderr == 'statsmodels is not installed; run: pip install "dynmemo[demo]"\n'


# --- purge ---


def purged(*arguments: str) -> str:
    """What the command prints."""
    try:
        done = CliRunner().invoke(app, ["purge", *arguments], catch_exceptions=False)
    finally:
        dynmemo.configure(None)
    assert done.exit_code == 0, done.output
    return done.output


def purged_in(folder: Path, *arguments: str, exit_code: int = 0) -> str:
    """The same in a process of its own that starts in `folder`; what it prints, or its error."""
    done = ran("-m", "dynmemo", "purge", *arguments, folder=folder)
    assert done.returncode == exit_code, done.stderr
    return done.stderr if exit_code else done.stdout


def test_purge_counts_deletes_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "cache.db"
    cache, url = Cache.sqlite(file), f"sqlite:///{file.as_posix()}"
    numbers(cache)(1), numbers(cache, "mine.two")(1)
    assert purged("--dry-run", "--url", url).startswith("Would delete 2 entries and 0 parts of 4 looked at in ")
    assert purged("--expired", "--superseded", "--orphans", "--url", url).startswith("Deleted 0 entries and 0 parts")
    assert purged("mine.two", "--url", url).startswith("Deleted 1 entries and 0 parts of 2 looked at in ")
    said = purged("--url", url)
    assert said.startswith("Deleted 1 entries")
    assert "units" not in said
    cache.close()


def test_purge_imports_a_function_to_know_its_present_code(tmp_path: Path) -> None:
    program = (
        "from dynmemo import dynamo_cached\n"
        "class Model:\n"
        "    @dynamo_cached(cache='sqlite:///own.db')\n"
        "    @staticmethod\n"
        "    def fit(x): return x + {}\n"
        "if __name__ == '__main__':\n"
        "    import weather; weather.Model.fit(1)\n"
    )
    for number in (1, 2):  # the second is an edit
        (tmp_path / "weather.py").write_text(program.format(number))
        printed("weather.py", folder=tmp_path)
    by_name = ["weather.Model.fit", "--superseded", "--url", "sqlite:///own.db"]
    assert purged_in(tmp_path, *by_name).startswith("Deleted 0 entries")
    imported = ["weather.Model.fit", "--superseded", "--import"]
    assert purged_in(tmp_path, *imported, "--dry-run").startswith("Would delete 1 entries and 0 parts of 3 looked")
    assert purged_in(tmp_path, *imported).startswith("Deleted 1 entries")
    assert purged_in(tmp_path, *imported).startswith("Deleted 0 entries and 0 parts of 2 looked")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--import"], "--import needs a NAME"),
        (["nowhere.f", "--import"], "nowhere.f cannot be imported from this folder (No module named 'nowhere')"),
        (["json.dumps", "--import"], "purge() takes a function decorated with dynamo_cached"),
    ],
)
def test_purge_says_what_cannot_be_imported(arguments: list[str], message: str, tmp_path: Path) -> None:
    said = purged_in(tmp_path, *arguments, "--url", "sqlite:///own.db", exit_code=1)
    assert said.startswith(f"InvalidOptionError: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "asks"), [([], True), (["--yes"], False), (["f"], False), (["--expired"], False)]
)
def test_purge_asks_on_a_terminal_before_everything_goes(
    arguments: list[str], asks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    Cache.from_url(url).store.write("f:-:a", Item(b"", 1, 1, fn="f", gen="g"))
    monkeypatch.setattr("dynmemo.__main__.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    try:
        done = CliRunner().invoke(app, ["purge", "--url", url, *arguments], input="n\n")
    finally:
        dynmemo.configure(None)
    assert ("Delete the results of all functions" in done.output) is asks
    assert ([key for key, _ in Cache.from_url(url).store.scan()] == ["f:-:a"]) is asks
    assert done.exit_code == int(asks)


def test_purge_tells_the_units_of_dynamodb(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    url = f"dynamodb://{dynamodb_table}?region=eu-west-1&endpoint_url={dynamodb_endpoint}"
    cache = Cache.from_url(url)
    numbers(cache)(1)
    assert re.search(r"; write units: about [1-5]\.", purged("--dry-run", "--url", url))
    assert "; write units: 1." in purged("--url", url)
    cache.close()
