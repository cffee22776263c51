"""A change of code that gives another result gives another key, however the code is reached; another look does not.

With ``DYNMEMO_ALL_MUTATIONS=1`` in the environment every mutation is tried by every way.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import UnhashableArgumentError
from tests.keys.mutations import MUTATIONS, NOT_YET, WAYS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_folders = itertools.count()
HEAD = "import functools\nfrom dynmemo import dynamo_cached\ncached = functools.partial(dynamo_cached, cache=URL)\n"


class Maker:
    """Writes the package and imports it, each time anew under the same name."""

    def __init__(self, top: Path) -> None:
        self._top = top

    def key_and_result(self, text: str, way: str) -> tuple[str, Any]:
        folder = self._top / str(next(_folders))
        package = folder / "mutated"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "core.py").write_text(text.replace("PKG", "mutated"), encoding="utf-8")
        url = f"sqlite:///{(self._top / 'cache.db').as_posix()}"
        entry = HEAD.replace("URL", repr(url)) + WAYS[way].replace("PKG", "mutated") + "\n"
        (package / "entry.py").write_text(entry, encoding="utf-8")
        forget()
        sys.path.insert(0, str(folder))
        try:
            importlib.invalidate_caches()
            f: Any = importlib.import_module("mutated.entry").f
            return f.cache_key(7), repr(f.__wrapped__(7))
        finally:
            sys.path.remove(str(folder))


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mutated"]:
        del sys.modules[name]


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    yield Maker(tmp_path)
    forget()


def _looks_different(text: str) -> str:
    """The same code with docstrings in functions, comments, other lines and something unrelated."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body.insert(0, ast.Expr(ast.Constant("Says what it does.")))
    lines = ast.unparse(ast.fix_missing_locations(tree)).splitlines()
    commented = "\n".join(f"{line}  # why" if line.startswith("def ") else line for line in lines)
    return f"# A comment.\nUNRELATED = 1\n\n\ndef unrelated(x):\n    return x\n\n\n{commented}\n"


def check(maker: Maker, name: str, way: str) -> None:
    text, old, new = MUTATIONS[name]
    before = maker.key_and_result(text.replace("OLD", old), way)
    after = maker.key_and_result(text.replace("OLD", new), way)
    assert after[1] != before[1], "the mutation shows in the result"
    assert after[0] != before[0]
    assert maker.key_and_result(_looks_different(text.replace("OLD", old)), way) == before


def cases() -> list[Any]:
    """Pairs of a mutation and a way; those of `NOT_YET` are expected to fail, and say so when they no longer do."""
    open_ones = pytest.mark.xfail(raises=(AssertionError, UnhashableArgumentError), strict=True)
    return [
        pytest.param(name, way, marks=[open_ones] if name in NOT_YET else [], id=f"{name}, by {way}")
        for number, name in enumerate(MUTATIONS)
        for way in ways_for(number)
    ]


def ways_for(number: int) -> list[str]:
    """The first way for all, and by turns one of the others."""
    first, *others = WAYS
    return list(WAYS) if os.environ.get("DYNMEMO_ALL_MUTATIONS") else [first, others[number % len(others)]]


@pytest.mark.parametrize(("name", "way"), cases())
def test_a_change_that_shows_in_the_result_changes_the_key(maker: Maker, name: str, way: str) -> None:
    check(maker, name, way)
