"""The command line, from outside."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

import dynmemo
from dynmemo import Cache
from dynmemo.__main__ import app
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
        ("dynamodb://tab?region=eu-west-1&endpoint_url=http://127.0.0.1:9", "StoreUnavailableError: "),
    ],
)
def test_a_cache_that_does_not_work_is_one_line_and_a_failed_command(url: str, said: str) -> None:
    done = ran("-m", "dynmemo", "demo", "--url", url)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_the_command_says_its_version() -> None:
    assert ran("-m", "dynmemo", "--version").stdout == f"dynmemo {dynmemo.__version__}\n"


def test_clear_forgets_one_function_by_name_or_all(url: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    def hits() -> list[str]:
        return printed(str(program), DYNMEMO_URL=url).split()

    assert hits() == ["0", "0"]
    assert hits() == ["1", "1"]
    assert "Forgot all results of mine.double" in printed("-m", "dynmemo", "clear", "mine.double", "--url", url)
    assert hits() == ["0", "1"]
    assert "Forgot the results of all functions" in printed("-m", "dynmemo", "clear", "--yes", DYNMEMO_URL=url)
    assert hits() == ["0", "0"]


def test_the_command_line_says_what_to_install() -> None:
    done = without("typer", "clear")
    assert done.returncode == 1
    assert done.stderr == 'typer is not installed; run: pip install "dynmemo[cli]"\n'


def test_the_demo_says_what_to_install() -> None:
    done = without("statsmodels", "demo")
    assert done.returncode == 1
    assert done.stderr == 'statsmodels is not installed; run: pip install "dynmemo[demo]"\n'


# --- cost ---


def cost_said(*arguments: str) -> str:
    """What the command prints."""
    done = CliRunner().invoke(app, ["cost", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


EXAMPLE = ("--entries", "1000", "--size", "10_000", "--calls", "10", "--sliding", "1h")


def test_cost_shows_a_month_beside_that_of_the_net_provider_and_whose_prices_these_are() -> None:
    said = printed("-m", "dynmemo", "cost", *EXAMPLE, COLUMNS="80")
    assert max(map(len, said.splitlines())) <= 80
    rows = {line[:20].strip(): line[20:].split() for line in said.splitlines()}
    assert rows["dynmemo"] == ["32,564,348", "79,982,609", "62,843,478", "49.28"]
    assert rows["the .NET algorithm"] == ["52,560,000", "78,840,000", "262,800,000", "174.11"]
    assert "On demand in us-east-1 since 2024-11-01, in dollars: 0.625 a million write" in said


def test_cost_cuts_no_number() -> None:
    many = ("--entries", "1000000", "--size", "1000000", "--calls", "1000000", "--new", "100", "--sliding", "1h")
    said = printed("-m", "dynmemo", "cost", *many)
    assert max(len(word) for word in said.split() if word.replace(",", "").isdecimal()) > len("999,999,999,999")
    assert "\u2026" not in said


def test_cost_as_json_has_all_of_it() -> None:
    said = json.loads(cost_said(*EXAMPLE, "--json"))
    assert (said["workload"]["sliding"], said["prices"]["region"]) == ("1h", "us-east-1")
    assert round(said["dollars"], 2) == 49.28
    assert [share["what"] for share in said["shares"]] == ["hits", "dates moved", "generations", "storage"]
    assert round(said["dotnet"]["dollars"], 2) == 174.11


def test_cost_takes_every_option() -> None:
    prices = ("--region", "mars", "--write-price", "0", "--read-price", "2", "--storage-price", "0")
    use = ("--new", "1", "--ttl", "7d", "--near", "30s", "--processes", "4", "--seconds", "60", "--name", "f")
    cheap = ("--eventually-consistent", "--refresh-after", "0.5")
    said = json.loads(cost_said(*EXAMPLE, *use, *cheap, *prices, "--json"))
    given = {"entries": 1000, "size": 10_000, "calls": 10, "new": 1, "ttl": "7d", "sliding": "1h", "near": "30s"}
    given |= {"processes": 4, "seconds": 60, "name": "f", "consistent": False, "refresh_after": 0.5}
    assert said["workload"] == given
    assert said["dollars"] == pytest.approx(2 * said["read_units"] / 1e6)


def test_cost_of_what_net_cannot_store_says_so() -> None:
    said = cost_said("--entries", "9", "--size", "1_000_000", "--calls", "1")
    assert "The .NET provider cannot store such values" in said
    assert "the .NET algorithm" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--entries", "-1"], "entries=-1 is not allowed; give a whole number from 1"),
        (["--ttl", "soon"], "ttl='soon' is not a time; give seconds"),
        (["--region", "eu-west-1"], "no prices of 'eu-west-1' are known here"),
        (["--region", "x", "--read-price", "1"], "give --write-price, --storage-price, or in Python prices="),
    ],
)
def test_cost_refuses_nonsense_in_one_line(arguments: list[str], message: str) -> None:
    done = ran("-m", "dynmemo", "cost", *EXAMPLE, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.startswith("InvalidOptionError: ")
    assert done.stderr.count("\n") == 1


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
    assert purged("mine.two", "--url", url).startswith("Deleted 1 entries and 0 parts of 1 looked at in ")
    said = purged("--yes", "--url", url)
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
    assert purged_in(tmp_path, *imported, "--dry-run").startswith("Would delete 1 entries and 0 parts of 2 looked")
    assert purged_in(tmp_path, *imported).startswith("Deleted 1 entries")
    assert purged_in(tmp_path, *imported).startswith("Deleted 0 entries and 0 parts of 1 looked")


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


def test_a_module_that_raises_is_said_in_one_line(tmp_path: Path) -> None:
    for code, raised in {
        "def f(:": "SyntaxError: ",
        "1 / 0": "ZeroDivisionError: ",
        "exit(3)": "SystemExit: 3",
    }.items():
        (tmp_path / "broken.py").write_text(code)
        said = purged_in(tmp_path, "broken.f", "--import", exit_code=1)
        assert said.startswith(f"InvalidOptionError: broken.f cannot be imported, for its module raises {raised}")
        assert said.count("\n") == 1


def test_purge_tells_the_units_of_dynamodb(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    url = f"dynamodb://{dynamodb_table}?region=eu-west-1&endpoint_url={dynamodb_endpoint}"
    cache = Cache.from_url(url)
    numbers(cache)(1)
    assert re.search(r"; write units: about [1-5]\.", purged("--dry-run", "--url", url))
    assert "; write units: 1." in purged("--yes", "--url", url)
    cache.close()
