"""Facts by code object, from what was read of it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from dynmemo.keys.identity.bytecode import MUTATORS, bytecode_facts
from dynmemo.keys.identity.facts import BIND, ITEM, ITEM_CALL, Facts, Write
from dynmemo.keys.source import install, pack, read

if TYPE_CHECKING:
    import types

    from dynmemo.keys.reading import Reading

__all__ = ["facts_of", "install", "pack"]


def facts_of(function: types.FunctionType, *, own: bool = True) -> Facts:
    """The facts of a function's code. Code that is not `own` is read from its bytecode, which needs no parsing."""
    reading = read(function) if own else None
    if reading is None or not reading.from_source:
        return _of_bytecode(function.__code__)
    return _facts(id(reading), reading)


@functools.lru_cache(maxsize=10_000)
def _of_bytecode(code: types.CodeType) -> Facts:
    return bytecode_facts(code)


def _facts(key: int, reading: Reading) -> Facts:
    known = _made.get(key)
    if known is None or known[0] is not reading:
        changing = {BIND, ITEM, *MUTATORS, *(ITEM_CALL + name for name in MUTATORS)}
        writes = tuple(Write(*write) for write in reading.writes if write.how in changing)
        facts = Facts(reading.form, True, tuple(sorted(reading.reads)), writes, reading.attributes)
        known = _made[key] = (reading, facts)
    return known[1]


_made: dict[int, tuple[Reading, Facts]] = {}
