"""Prints what is read of every function of the corpus as JSON: ``python -m tests.keys.readings``."""

from __future__ import annotations

import json
import sys
import types
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynmemo.keys.source import read

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests/keys/corpus.py", "tests/keys/identity/syntax.py", "dynmemo/keys", "dynmemo/stores")


def functions_in(code: types.CodeType) -> Iterator[types.CodeType]:
    """The code of all functions and lambdas, without those of class bodies and comprehensions."""
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            is_function = value.co_flags & 2 and (value.co_name[0] != "<" or value.co_name == "<lambda>")
            if is_function:
                yield value
            yield from functions_in(value)


def of_corpus() -> dict[str, Any]:
    """What is read of each function, by its file, name and line."""
    found: dict[str, Any] = {}
    for folder in FOLDERS:
        for path in sorted(ROOT.glob(folder if folder.endswith(".py") else f"{folder}/**/*.py")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)
            for code in functions_in(module):
                where = f"{path.relative_to(ROOT).as_posix()}:{code.co_qualname}:{code.co_firstlineno}"
                found.setdefault(where, []).append(read(code))
    return found


if __name__ == "__main__":
    json.dump(of_corpus(), sys.stdout)
