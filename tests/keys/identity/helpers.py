"""Modules made from text, in real files, as a user edits them."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from dynmemo.keys.identity import CodeIdentity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynmemo.keys.identity import Ingredient

_numbers = itertools.count()


class Lab:
    """Writes modules into a folder and imports them, each edit in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def module(self, text: str, name: str | None = None) -> Any:
        number = next(_numbers)
        name = name or f"lab{number}"
        folder = self._folder / str(number)
        folder.mkdir()
        path = folder / f"{name}.py"
        path.write_text(textwrap.dedent(text))
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    def fingerprint(self, text: str, function: str = "f", **options: Any) -> str:
        return CodeIdentity(getattr(self.module(text), function), **options).current()

    def ingredients(self, text: str, function: str = "f") -> list[Ingredient]:
        return CodeIdentity(getattr(self.module(text), function)).ingredients()


def changed_meanwhile(identity: CodeIdentity, run: Callable[[], object]) -> str:
    """What was changed while `run` computed and not by the code itself; empty if nothing was."""
    watching = identity.watching()
    watching.begin()
    run()
    return watching.end()


def without_source(text: str) -> dict[str, Any]:
    """The names that a text defines which nobody stored."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(textwrap.dedent(text), "<nowhere>", "exec"), names)
    return names


def listed(ingredients: list[Ingredient]) -> dict[str, set[str]]:
    """The names by kind."""
    found: dict[str, set[str]] = {}
    for one in ingredients:
        found.setdefault(one.kind, set()).add(one.name)
    return found
