"""Why a result cannot be stored: which part of it, of what type, and what to return instead."""

from __future__ import annotations

import inspect
import io
import types
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dynmemo.errors import DynmemoError

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOKED_AT = 100_000


class CannotSerialize(DynmemoError):  # noqa: N818 - it tells what the result is, the caller does not see it
    """The result has no stored form. The text says which part and what to return instead, never any content."""


_KINDS: tuple[tuple[Callable[[Any], bool], str, str], ...] = (
    (
        lambda value: isinstance(value, types.GeneratorType | types.AsyncGeneratorType),
        "a generator",
        "Return a list of what it yields",
    ),
    (inspect.isawaitable, "a coroutine", "Await it and return its result"),
    (lambda value: isinstance(value, io.IOBase), "an open file", "Return its content or its path"),
    (lambda value: isinstance(value, memoryview), "a view of memory", "Return bytes"),
    (
        lambda value: _is_called(value, "lock", "condition", "semaphore", "event", "barrier"),
        "a lock",
        "Return the data without it, or leave it out in __getstate__",
    ),
    (
        lambda value: _is_called(value, "connection", "socket", "client", "session", "cursor", "engine", "channel"),
        "a live connection",
        "Return the data that was read through it",
    ),
    (lambda value: isinstance(value, Iterator), "an iterator", "Return a list of what it yields"),
    (
        lambda value: True,
        "an object that cannot be pickled",
        "Return plain data instead, or give its class __getstate__",
    ),
)
"""Kinds of objects, what to call them, and what to do; the first that fits counts."""


def _is_called(value: object, *words: str) -> bool:
    return any(word in type(value).__name__.lower() for word in words)


def refuse(value: object, culprit: object, error: BaseException) -> CannotSerialize:
    """The exception for a result in which pickling stopped at `culprit` (None if that is not known)."""
    if isinstance(error, MemoryError):
        return CannotSerialize("there is not enough memory to serialize the result")
    if isinstance(error, RecursionError) or isinstance(error.__cause__ or error.__context__, RecursionError):
        return CannotSerialize("the result is nested too deeply to be pickled. Return a flatter structure")
    if culprit is None:
        return CannotSerialize(f"the result ({type_name(value)}) cannot be pickled ({type(error).__name__})")
    name, advice = next((name, advice) for fits, name, advice in _KINDS if fits(culprit))
    return CannotSerialize(f"{where(value, culprit)} is {name} ({type_name(culprit)}). {advice}")


def where(value: object, culprit: object) -> str:
    """Where inside the result `culprit` lies, as one would write it in Python."""
    if culprit is value:
        return "the result"
    try:
        path = _path(value, culprit)
    except Exception:  # noqa: BLE001 - attributes of foreign objects may run any code
        path = None
    return f"a part of the result ({type_name(value)})" if path is None else f"`result{path}`"


def type_name(value: object) -> str:
    """The type's full name, without ``builtins``."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _path(value: object, culprit: object) -> str | None:
    """Search breadth first, so that the shortest path is told. Of a large result only the beginning is searched."""
    queue = [(value, "")]
    seen = {id(value)}
    for parent, path in queue:
        for part, step in _parts(parent):
            if part is culprit:
                return path + step
            if len(seen) < _LOOKED_AT and id(part) not in seen:
                seen.add(id(part))
                queue.append((part, path + step))
    return None


def _parts(value: object) -> Iterator[tuple[object, str]]:
    from dynmemo.keys.places import attributes_of  # only for what is refused: it reads code

    if isinstance(value, dict):
        yield from ((part, f"[{_key(key)}]") for key, part in value.items())
        yield from ((key, ".keys()") for key in value)
    elif isinstance(value, list | tuple):
        yield from ((part, f"[{index}]") for index, part in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((part, "{...}") for part in value)
    if isinstance(value, types.FunctionType):
        yield from _closed_over(value)
    elif not isinstance(value, type | types.ModuleType):
        yield from ((part, f".{name}") for name, part in attributes_of(value).items())


def _key(key: object) -> str:
    """A key that is a plain name is a field; any other may be data, which has no place in a log."""
    return repr(key) if type(key) is str and key.isidentifier() and len(key) <= 40 else "..."


def _closed_over(function: types.FunctionType) -> Iterator[tuple[object, str]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # an empty cell
            yield cell.cell_contents, f".<variable {name}>"
    for name in code.co_names:
        if name in function.__globals__:
            yield function.__globals__[name], f".<global {name}>"
