"""Editing and running cells in real kernels: never an old result after an edit, never a needless computation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.notebooks.kernels import Answer, kernel
from tests.notebooks.scenarios import ONE_NOTEBOOK, TWO_KERNELS, Ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.notebooks.kernels import Kernel
    from tests.notebooks.scenarios import Scenario

pytestmark = pytest.mark.slow

SETUP = "from dynmemo import dynamo_cached as cached"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


def started(folder: Path, **variables: str) -> Iterator[Kernel]:
    with kernel(folder, DYNMEMO_URL=f"sqlite:///{(folder / 'cache.db').as_posix()}", **variables) as running:
        running.run(SETUP)
        yield running


@pytest.fixture(scope="module")
def first(folder: Path) -> Iterator[Kernel]:
    yield from started(folder, PYTHONHASHSEED="1")


@pytest.fixture(scope="module")
def second(folder: Path) -> Iterator[Kernel]:
    yield from started(folder, PYTHONHASHSEED="2")


def play(running: Kernel, scenario: Scenario) -> None:
    for step in scenario:
        if isinstance(step, Ask):
            assert running.ask(step.expression) == Answer(repr(step.value), int(step.computes)), step.expression
        else:
            running.run(step)


@pytest.mark.parametrize("scenario", ONE_NOTEBOOK)
def test_in_one_notebook(first: Kernel, scenario: str) -> None:
    play(first, ONE_NOTEBOOK[scenario])


@pytest.mark.parametrize("scenario", TWO_KERNELS)
def test_in_two_kernels(first: Kernel, second: Kernel, scenario: str) -> None:
    one, other = TWO_KERNELS[scenario]
    play(first, one)
    play(second, other)


@pytest.mark.parametrize("where", ["on paths of their own", "nobody knows where"])
def test_a_clear_and_a_purge_leave_the_same_name_in_another_notebook(first: Kernel, second: Kernel, where: str) -> None:
    offset = len(where)  # other code each time
    for running, name, own in ((first, "anna", 1), (second, "ben", 2)):
        session = f"/home/{name}/Untitled.ipynb" if where == "on paths of their own" else ""
        running.run(f"import os; os.environ['JPY_SESSION_NAME'] = {session!r}")
        running.run(f"@cached\ndef load(x):\n    print('computing')\n    return x + {own} - {offset} + {offset}")
        running.run(f"@cached\ndef same(x):\n    print('computing')\n    return x - {offset} + {offset}")
    assert (first.ask("load(1)"), second.ask("load(1)")) == (Answer("2", 1), Answer("3", 1))
    assert (first.ask("same(1)"), second.ask("same(1)")) == (Answer("1", 1), Answer("1", 0))
    first.run("from dynmemo import purge; load.cache_clear(); same.cache_clear()")
    later = "known = load._self_memo.entries().cache.generations; known.clock = lambda now=known.clock() + 6: now"
    second.run(later)  # than the seconds for which a generation is believed
    assert (first.ask("load(1)"), second.ask("load(1)")) == (Answer("2", 1), Answer("3", 0))
    assert (second.ask("same(1)"), first.ask("same(1)")) == (Answer("1", 1), Answer("1", 0))
    assert first.ask("purge(load, superseded=True).rows") == Answer("0", 0)
    assert first.ask("purge(load).rows") == Answer("1", 0)
    assert (second.ask("load(1)"), first.ask("load(1)")) == (Answer("3", 0), Answer("2", 1))
    first.run("import dynmemo; dynmemo.clear('__main__.load')")
    second.run(later)
    assert second.ask("load(1)") == Answer("3", 1)


def test_what_a_notebook_runs_of_a_script_is_its_own(first: Kernel, folder: Path) -> None:
    (folder / "mod.py").write_text(
        "from dynmemo import dynamo_cached\n@dynamo_cached\ndef ran(x):\n    return x\nran(1)"
    )
    assert first.run("%run mod.py\nprint(ran.cache_parameters()['name'])") == "__main__.ran\n"


def test_explain_is_a_table_in_a_notebook_and_names_the_edit(first: Kernel) -> None:
    first.run("def halved(x):\n    return x / 2\n@cached\ndef explained(x):\n    return halved(x)\nexplained(1)")
    first.run("def halved(x):\n    return x // 2")
    assert first.run("print(explained.explain(1).differences)") == "('helper `halved` was edited',)\n"
    assert "helper `halved` was edited" in first.shown("explained.explain(1)")


FORECAST = """
from dynmemo import Cache, dynamo_cached, purge

@dynamo_cached(ttl="24h")
def forecast(city, horizon=14):
    "Sales by day."
    return 1 / horizon

class Loader:
    @dynamo_cached
    def load(self, id):
        return 1 / id

loader = Loader()
"""


@pytest.fixture(scope="module")
def hands(first: Kernel) -> Kernel:
    """A kernel in which there are a function and a method."""
    first.run(FORECAST)
    return first


@pytest.mark.parametrize("text", ["forecast.", "loader.load."])
def test_the_tab_key_offers_the_methods_of_a_decorated_function(hands: Kernel, text: str) -> None:
    offered = {one.rpartition(".")[2] for one in hands.completions(text)}
    assert {"cache_info", "explain", "entry", "map", "recompute", "invalidate"} <= offered


def test_the_tab_key_offers_options_and_parameters(hands: Kernel) -> None:
    assert hands.completions("dynamo_cached(tt") == ["ttl="]
    assert hands.completions("forecast(hor") == ["horizon="]


def test_a_question_mark_shows_options_and_the_function_s_own_words(hands: Kernel) -> None:
    assert "ttl: 'TtlOption | None' = None" in hands.about("dynamo_cached")
    about = hands.about("forecast")
    assert "forecast(city, horizon=14)" in about
    assert "Sales by day." in about


OWN_ERRORS = {
    "of the function": ("forecast('SEA', 0)", "ZeroDivisionError: division by zero", "return 1 / horizon"),
    "of a method": ("loader.load(0)", "ZeroDivisionError: division by zero", "return 1 / id"),
    "of one of many": ("list(forecast.starmap([('SEA', 0)], lazy=True))", "ZeroDivisionError", "return 1 / horizon"),
    "computed anew": ("forecast.recompute('SEA', 0)", "ZeroDivisionError", "return 1 / horizon"),
    "a missing argument": ("forecast()", "TypeError: forecast() missing 1 required positional argument: 'city'", ""),
    "an unknown option": ("dynamo_cached(tll=5)", "InvalidOptionError: dynamo_cached has no option tll", ""),
    "a wrong option": ("@dynamo_cached(ttl='soon')\ndef f(): ...", "InvalidOptionError: ttl='soon'", ""),
    "an argument without content": ("forecast(open('cache.db'))", "UnhashableArgumentError: forecast(): arg", ""),
    "a cache of nothing": ("Cache()", "InvalidOptionError: Cache() takes a store, not nothing; make a cache with", ""),
}


@pytest.mark.parametrize("error", OWN_ERRORS)
def test_a_traceback_shows_the_user_s_own_lines_alone(hands: Kernel, error: str) -> None:
    source, said, line = OWN_ERRORS[error]
    shown = hands.failure(source)
    assert said in shown
    assert line in shown
    assert "File " not in shown  # of a module, that is: cells are called by their numbers
    assert len(shown.splitlines()) <= 13


def test_what_a_store_says_is_short_and_keeps_its_cause(hands: Kernel) -> None:
    hands.run("import os; os.environ.pop('AWS_DEFAULT_REGION', None)")
    shown = hands.failure("@dynamo_cached(cache='dynamodb://table')\ndef f(): ...\nf.entry()")
    assert "StoreUnavailableError: DescribeTable on the DynamoDB table 'table' failed: no AWS region is set" in shown
    assert "File " not in shown
    assert len(shown.splitlines()) <= 15
    caught = "try:\n    f.entry()\nexcept Exception as error:\n    print(type(error.__cause__).__name__)"
    assert hands.run(caught) == "NoRegionError\n"


def test_everything_is_a_table_in_a_notebook(hands: Kernel) -> None:
    hands.run("forecast('SEA'); forecast('SEA')")
    for source in ("forecast", "forecast.cache_info()"):
        assert "1 hit, " in hands.shown(source)
    assert "computed" in hands.shown("forecast.entry('SEA')")
    assert "cache.db</span>: in order" in hands.shown("Cache.sqlite('cache.db')")
    assert "1 entry and 0 parts" in hands.shown("purge(forecast, dry_run=True)")


def test_the_first_line_about_the_own_file_is_not_red(hands: Kernel) -> None:
    wrote = hands.streams(
        """
        import os, pathlib, dynmemo.defaults
        url = os.environ.pop("DYNMEMO_URL")
        dynmemo.defaults.default_path = lambda: pathlib.Path("own.db").absolute()
        forecast("first line")
        os.environ["DYNMEMO_URL"] = url
        """
    )
    assert wrote.keys() == {"stdout"}
    assert wrote["stdout"].startswith("dynmemo keeps results in ")
