"""What ties the values of a cell to this kernel or to each other, and would be lost on a hit."""

from __future__ import annotations

import dis
import gc
import itertools
import sys
import types
from typing import TYPE_CHECKING, Any

from dynmemo.keys.places import place_of, token

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MOST_SEEN = 10_000
"""Objects that are looked through for functions."""
_BY_NAME = (type, types.FunctionType, types.BuiltinFunctionType)


def lost(bound: Mapping[str, Any], namespace: Mapping[str, Any]) -> str:
    """What a hit that binds `bound` would lose, in words; empty if nothing.

    Args:
        bound: values by name.
        namespace: the global names of the notebook.
    """
    for one, other in itertools.combinations(sorted(bound), 2):
        if _share_memory(bound[one], bound[other]):
            return f"`{one}` and `{other}` share memory, which they would not on a hit; copy one of them"
    for name, value in bound.items():
        for function in _functions(value, namespace):
            read = sorted(_globals_read(function.__code__, namespace))
            if read:
                what = f"`{name}` holds the function `{function.__name__}`, which on a hit would keep to `{read[0]}`"
                return f"{what} as it is now; give that as an argument, or bind `{name}` in another cell"
    return ""


def state_of(made: object) -> dict[str, bytes]:
    """What a function or class holds that may change: attributes and defaults; only within this process."""
    if not isinstance(made, type | types.FunctionType):
        return {}
    held = {name: value for name, value in vars(made).items() if not name.startswith(("__", "_abc_"))}
    if isinstance(made, types.FunctionType):
        held["()"] = (made.__defaults__, made.__kwdefaults__)
    return {name: token(place_of(value)) for name, value in held.items()}


def _share_memory(one: object, other: object) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is None or one is other or not (isinstance(one, numpy.ndarray) and isinstance(other, numpy.ndarray)):
        return False
    try:
        return bool(numpy.shares_memory(one, other, max_work=10_000))
    except Exception:  # noqa: BLE001 - too hard to tell
        return True


def _functions(value: object, namespace: Mapping[str, Any]) -> Iterator[types.FunctionType]:
    """The functions of the notebook in a value; they are stored with copies of the globals that they read."""
    seen: set[int] = set()
    todo = [value]
    while todo and len(seen) < _MOST_SEEN:
        one = todo.pop()
        if id(one) in seen or one is namespace or isinstance(one, type | types.ModuleType | types.CodeType):
            continue
        seen.add(id(one))
        if isinstance(one, types.MethodType):  # its function is that of the class
            one = one.__self__
        elif isinstance(one, types.FunctionType):
            if one.__globals__ is not namespace:
                continue
            yield one
        todo += gc.get_referents(one)


def _globals_read(code: types.CodeType, namespace: Mapping[str, Any]) -> Iterator[str]:
    """The names in the notebook that code reads, without what packages define."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in namespace:
            found = namespace[step.argval]
            is_of_package = isinstance(found, _BY_NAME) and found.__module__ != "__main__"
            if not is_of_package and not isinstance(found, types.ModuleType):
                yield step.argval
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _globals_read(one, namespace)
