"""Programs edited between two runs, through the real decorator on SQLite: what still hits and what does not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.pythons import printed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

MODULE = """\
STEPS = {"a": [1, 2], "b": {3, 4}}

def scale(x):
    return x * sum(STEPS["a"])

def unused(x):
    return x
"""

PROGRAM = """\
import own
from dynmemo import dynamo_cached

RATE = 2

def smooth(x):
    return x + RATE

def unrelated():
    return 1

class Model:
    factor = 1

    def apply(self, x):
        return x * self.factor

@dynamo_cached
def forecast(x, tags=frozenset({"a", "b", "c"}), horizon=3):
    print("computing")
    return [own.scale(Model().apply(smooth(y))) * horizon for y in [x]]

if __name__ == "__main__":
    print(forecast(5))
"""


class Edit(NamedTuple):
    """A text in one of the files and what stands in its place afterwards."""

    file: str
    old: str
    new: str


SAME: dict[str, list[Edit]] = {
    "nothing": [],
    "a comment": [Edit("program.py", "    return x + RATE", "    # plus\n    return x + RATE  # more")],
    "a comment in the other module": [Edit("own.py", "def scale", "# by\n\n\ndef scale")],
    "a docstring": [Edit("program.py", "    print(", '    """Look ahead."""\n    print(')],
    "type hints": [
        Edit("program.py", "def forecast(x, tags=", "def forecast(x: float, tags: frozenset[str] ="),
        Edit("program.py", "def smooth(x):", "def smooth(x: float) -> float:"),
    ],
    "formatting": [Edit("program.py", "    return x + RATE", "    return (\n        x\n        + RATE\n    )")],
    "an option of the decorator": [
        Edit("program.py", "@dynamo_cached\n", '@dynamo_cached(ttl="7d", on_error="raise")\n')
    ],
    "the order of functions": [
        Edit("program.py", "def smooth(x):\n    return x + RATE\n", ""),
        Edit("program.py", "class Model:", "def smooth(x):\n    return x + RATE\n\nclass Model:"),
    ],
    "an unrelated function": [Edit("program.py", "return 1", "return 2")],
    "a function of the other module that is not used": [Edit("own.py", "    return x\n", "    return -x\n")],
    "an unrelated global and import": [Edit("program.py", "RATE = 2", "import json\n\nOTHER = 3\nRATE = 2")],
    "the spelling of the call": [Edit("program.py", "forecast(5)", "forecast(horizon=3, x=5)")],
    "the order of sets": [
        Edit("own.py", '"b": {3, 4}}', '"b": {4, 3}}'),
        Edit("program.py", '{"a", "b", "c"}', '{"c", "b", "a"}'),
    ],
}

OTHER: dict[str, tuple[list[Edit], object]] = {
    "a helper": ([Edit("program.py", "x + RATE", "x - RATE")], [27]),
    "a helper in the other module": ([Edit("own.py", "x * sum", "-x * sum")], [-63]),
    "a global": ([Edit("program.py", "RATE = 2", "RATE = 3")], [72]),
    "the order of a dict in the other module": (
        [Edit("own.py", '{"a": [1, 2], "b": {3, 4}}', '{"b": {3, 4}, "a": [1, 2]}')],
        [63],
    ),
    "data in the other module": ([Edit("own.py", "[1, 2]", "[1, 3]")], [84]),
    "a method": ([Edit("program.py", "x * self.factor", "x * self.factor + 1")], [72]),
    "an attribute of a class": ([Edit("program.py", "factor = 1", "factor = 2")], [126]),
    "a default": ([Edit("program.py", "horizon=3", "horizon=1")], [21]),
    "the function": ([Edit("program.py", "* horizon", "+ horizon")], [24]),
    "an argument": ([Edit("program.py", "forecast(5)", "forecast(6)")], [72]),
    "the type of an argument": ([Edit("program.py", "forecast(5)", "forecast(5.0)")], [63.0]),
    "the function's name": (
        [Edit("program.py", "def forecast", "def predict"), Edit("program.py", "forecast(5)", "predict(5)")],
        [63],
    ),
}


class Project:
    """A folder with programs of the user's, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, edits: list[Edit]) -> None:
        texts = {"program.py": PROGRAM, "own.py": MODULE}
        for edit in edits:
            assert edit.old in texts[edit.file], "the edit changes nothing"
            texts[edit.file] = texts[edit.file].replace(edit.old, edit.new)
        for name, text in texts.items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, *command: str, seed: str = "0") -> tuple[list[str], int]:
        """The lines that a Python command prints, without "computing", and how many of those there were."""
        url = f"sqlite:///{(self.folder / 'cache.db').as_posix()}"
        lines = printed(*command, folder=self.folder, DYNMEMO_URL=url, PYTHONHASHSEED=seed).splitlines()
        return [line for line in lines if line != "computing"], lines.count("computing")


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the program has run."""
    project = Project(tmp_path_factory.mktemp("computed"))
    project.write([])
    assert project.run("program.py") == (["[63]"], 1)
    return project.folder


@pytest.fixture
def project(computed: Path, tmp_path: Path) -> Project:
    shutil.copytree(computed, tmp_path / "copy")
    return Project(tmp_path / "copy")


@pytest.mark.parametrize("edited", SAME)
def test_the_result_is_still_there_after_an_edit_of(project: Project, edited: str) -> None:
    project.write(SAME[edited])
    assert project.run("program.py", seed="7") == (["[63]"], 0)


@pytest.mark.parametrize("edited", OTHER)
def test_the_result_is_a_new_one_after_an_edit_of(project: Project, edited: str) -> None:
    edits, value = OTHER[edited]
    project.write(edits)
    assert project.run("program.py") == ([repr(value)], 1)
    assert project.run("program.py", seed="7") == ([repr(value)], 0)


def test_the_old_result_is_back_when_the_edit_is_taken_back(project: Project) -> None:
    project.write(OTHER["a helper"][0])
    project.run("program.py")
    project.write([])
    assert project.run("program.py") == (["[63]"], 0)


def test_a_module_that_is_run_and_one_that_is_imported_share(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write([])
    (tmp_path / "pkg").mkdir()
    for name in ("program.py", "own.py"):
        (tmp_path / name).rename(tmp_path / "pkg" / name)
    module = tmp_path / "pkg" / "program.py"
    module.write_text(module.read_text(encoding="utf-8").replace("import own", "from pkg import own"), encoding="utf-8")
    assert project.run("-m", "pkg.program") == (["[63]"], 1)
    assert project.run("-c", "import pkg.program; print(pkg.program.forecast(5))") == (["[63]"], 0)


CHILDREN = """
    import multiprocessing, sys
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(1) as pool:
        print(pool.apply(forecast, (5,)))
        print(pool.apply(own.scale, (1,)))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_a_child_hits_what_the_parent_computed(tmp_path: Path, method: str) -> None:
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    project = Project(tmp_path)
    project.write([Edit("program.py", "    print(forecast(5))\n", "    print(forecast(5))\n" + CHILDREN)])
    assert project.run("program.py", method) == (["[63]", "[63]", "3"], 1)
