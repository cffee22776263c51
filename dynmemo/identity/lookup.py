"""Facts by code object: from its source, from what travelled along with it, or from its bytecode."""

from __future__ import annotations

import types
import weakref
from typing import TYPE_CHECKING, Any

from dynmemo.identity.bytecode import bytecode_facts, structure
from dynmemo.identity.facts import Facts
from dynmemo.identity.own import MAIN_MODULES, is_own_function
from dynmemo.identity.source import source_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_known: dict[tuple[int, bool], tuple[weakref.ref[types.CodeType], Facts]] = {}
_travelled: dict[str, Facts] = {}


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
    # What travelled goes first: the sender's source is the one that its keys were made from.
    travelled = _travelled.get(structure(code)) if _travelled else None
    return travelled or source_facts(code, namespace) or bytecode_facts(code)


def functions_in(namespace: Mapping[str, Any]) -> Iterator[types.FunctionType]:
    """The user's functions in a namespace, and the methods of the classes that were defined there."""
    for thing in list(namespace.values()):
        if isinstance(thing, staticmethod | classmethod):
            thing = thing.__func__
        if isinstance(thing, property):
            parts = {"get": thing.fget, "set": thing.fset, "del": thing.fdel}
            yield from functions_in(parts)
        elif type(thing) is types.FunctionType:
            if is_own_function(thing):
                yield thing
        elif isinstance(thing, type) and thing.__module__ in MAIN_MODULES:
            yield from functions_in(vars(thing))


def pack(functions: Iterable[types.FunctionType]) -> dict[str, tuple[object, ...]]:
    """The facts of these functions as plain data, by the structure of their code; without those of bytecode alone."""
    found = {structure(function.__code__): facts_of(function) for function in functions}
    return {key: facts.dump() for key, facts in found.items() if facts.from_source}


def install(packed: Mapping[str, tuple[object, ...]]) -> None:
    """Take what `pack` gave in the sending process; it counts for code that was not looked at before."""
    for key, data in packed.items():
        _travelled.setdefault(key, Facts.load(data))
