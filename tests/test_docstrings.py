"""What `help()` and the reference say of the public names: complete, and with examples that run."""

from __future__ import annotations

import ast
import doctest
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import dynmemo
from dynmemo import Cache, dynamo_cached

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [name for name in dynmemo.__all__ if name != "__version__"]


@dynamo_cached(ttl="24h", name="weather.forecast")
def forecast(city: str, horizon: int = 14) -> list[float]:
    """The function of the examples."""
    return [12.5] * horizon


def documented(name: str) -> Iterator[tuple[str, str]]:
    """A public name and, of a class, its public methods and properties, with their docstrings."""
    public = getattr(dynmemo, name)
    yield name, inspect.getdoc(public) or ""
    if inspect.isclass(public):
        for attribute in dir(public):
            found: Any = inspect.getattr_static(public, attribute)
            if not attribute.startswith("_") and isinstance(found, (property, classmethod)) | inspect.isfunction(found):
                yield f"{name}.{attribute}", inspect.getdoc(found) or ""


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (inspect.getdoc(getattr(dynmemo, name)) or "")


@pytest.mark.parametrize("name", NAMES)
def test_every_public_method_says_what_it_does(name: str) -> None:
    assert [which for which, doc in documented(name) if not doc] == []


def fields(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """The public fields of public records, and whether a text stands below each."""
    for record in ast.walk(tree):
        if isinstance(record, ast.ClassDef) and record.name in NAMES:
            for statement, below in zip(record.body, [*record.body[1:], ast.Pass()], strict=True):
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                    yield f"{record.name}.{statement.target.id}", is_text


def test_every_public_field_says_what_it_is() -> None:
    sources = Path(dynmemo.__file__).parent.rglob("*.py")
    found = dict(field for file in sources for field in fields(ast.parse(file.read_text(encoding="utf-8"))))
    assert len(found) > 100
    assert [name for name, says in found.items() if not says] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    for which, doc in documented(name):
        dynmemo.configure(f"sqlite:///{(tmp_path / f'{which}.db').as_posix()}")
        forecast.cache_clear()
        names = {"dynmemo": dynmemo, "dynamo_cached": dynamo_cached, "Cache": Cache, "forecast": forecast}
        runner.run(doctest.DocTestParser().get_doctest(doc, names, which, None, None), out=said.append)
    dynmemo.configure(None)
    assert not said, "".join(said)
