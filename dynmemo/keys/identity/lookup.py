"""Facts by code object: from its source, from what travelled along with it, or from its bytecode."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from dynmemo.keys.identity.bytecode import bytecode_facts, structure
from dynmemo.keys.identity.facts import Facts
from dynmemo.keys.identity.own import SENT
from dynmemo.keys.identity.source import source_facts

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable, Mapping

_known: dict[tuple[int, bool], tuple[weakref.ref[types.CodeType], Facts]] = {}
_travelled: dict[str, Facts] = {}
_seen: dict[str, Facts] = {}
_MOST_SEEN = 20_000


def facts_of(function: types.FunctionType, *, own: bool = True) -> Facts:
    """The facts of a function's code. Code that is not `own` is read from its bytecode, which needs no parsing."""
    code = function.__code__
    key = (id(code), own)
    known = _known.get(key)
    if known is not None and known[0]() is code:
        return known[1]
    # Two threads may both look; they find the same.
    facts = _find(code, function.__globals__) if own else bytecode_facts(code)
    _known[key] = (weakref.ref(code, lambda reference: _known.pop(key, None) and None), facts)
    return facts


def _find(code: types.CodeType, namespace: Mapping[str, Any]) -> Facts:
    key = structure(code)
    # What travelled goes first: the sender's source is the one that its keys were made from. Then, for code that came
    # by value, what was found for its original or for an earlier copy: with every one come new code objects.
    known = _travelled.get(key) or (_seen.get(key) if code.co_filename == SENT else None)
    facts = known or source_facts(code, namespace) or bytecode_facts(code)
    if len(_seen) >= _MOST_SEEN:
        _seen.clear()
    _seen[key] = facts
    return facts


def pack(functions: Iterable[types.FunctionType]) -> dict[str, tuple[object, ...]]:
    """The facts of these functions as plain data, by the structure of their code; without those of bytecode alone."""
    found = {structure(function.__code__): facts_of(function) for function in functions}
    return {key: facts.dump() for key, facts in found.items() if facts.from_source}


def install(packed: Mapping[str, tuple[object, ...]]) -> None:
    """Take what `pack` gave in the sending process; it counts for code that was not looked at before."""
    for key, data in packed.items():
        _travelled.setdefault(key, Facts.load(data))
