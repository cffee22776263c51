"""Prints the fingerprints of all programs here as JSON: ``python -m tests.keys.identity.fingerprints FOLDER``."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

from dynmemo.keys.identity import CodeIdentity, class_identity
from tests.keys.identity import syntax
from tests.keys.identity.helpers import Lab
from tests.keys.identity.programs import DIFFERENT, SAME
from tests.keys.identity.programs_state import INPUT, STATE


def of_syntax() -> dict[str, str]:
    """By name, of all that `syntax` defines."""
    found = {}
    things: dict[str, Any] = vars(syntax)
    for name, thing in things.items():
        if isinstance(thing, types.FunctionType) and thing.__module__ == syntax.__name__:
            found[name] = CodeIdentity(getattr(syntax, name)).current()
        elif isinstance(thing, type) and thing.__module__ == syntax.__name__:
            found[name] = class_identity(thing)
    lambdas: list[Any] = list(syntax.lambdas)
    for number, function in enumerate(lambdas):
        found[f"lambda {number}"] = CodeIdentity(function).current()
    return found


def of_programs(folder: Path) -> dict[str, str]:
    """By name, of all programs that need nothing but the standard library."""
    lab = Lab(folder)
    texts = {
        f"{name}, {when}": text
        for table in (SAME, DIFFERENT)
        for name, pair in table.items()
        for when, text in enumerate(pair)
    }
    texts |= {name: text for name, (text, _) in STATE.items()} | INPUT
    return {name: lab.fingerprint(text) for name, text in texts.items() if "numpy" not in text and "pandas" not in text}


if __name__ == "__main__":
    json.dump(of_syntax() | of_programs(Path(sys.argv[1])), sys.stdout)
