"""What is written in the programs of the sender, for processes that have the bytecode of it and not the source.

A decorated function that is sent by value takes along what is needed for its own fingerprint. But its arguments,
which it does not see, may be instances of any class that is sent by value too: of ``__main__``, or of a module that the
user registered for that. So the facts of everything that is written there go along as well.
"""

from __future__ import annotations

import pickle
import sys
import types
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from dynmemo.keys import source
from dynmemo.keys.own import MAIN_MODULES, SENT, is_own_file
from dynmemo.keys.source import FUTURE_FLAGS, cells_with, text_mark, written_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dynmemo.keys.reading import Reading

_MOST_RECEIVED = 16
_MOST_WRAPPERS = 100

Place = tuple[str, int, object]
"""A file or cell, the flags for its ``__future__`` features, and what changes with its text."""

_texts: dict[Place, dict[str, Reading]] = {}
"""The facts of a text."""
_whole: dict[frozenset[Place], bytes] = {}
"""The one pickle of all that is written now."""
_received: dict[bytes, bytes] = {}
"""What came from others, by its digest, to be passed on."""


def written() -> tuple[bytes, ...]:
    """What is written here, and what others sent; for `take_written`. Quick once it was asked for."""
    try:
        mine = _mine()
    except Exception:  # noqa: BLE001 - what a namespace holds may do anything; then arguments may miss over there
        mine = b""
    return tuple(blob for blob in (mine, *_received.values()) if blob)


def take_written(blobs: Sequence[bytes]) -> None:
    """Take what `written` gave in another process."""
    for blob in blobs:
        mark = blake3(blob).digest()
        if mark in _received:
            continue
        source.install(pickle.loads(blob))
        while len(_received) >= _MOST_RECEIVED:
            _received.pop(next(iter(_received)), None)
        _received[mark] = blob


def _mine() -> bytes:
    places = {place: namespace for namespace in _namespaces() for place in _places(namespace)}
    key = frozenset(places)
    known = _whole.get(key)
    if known is not None:
        return known
    found: dict[str, Reading] = {}
    for place, namespace in places.items():
        if place not in _texts:
            facts = written_in(place[0], namespace, place[1])
            _texts[place] = facts
        found |= _texts[place]
    for place in _texts.keys() - key:
        _texts.pop(place, None)
    blob = pickle.dumps(found, pickle.HIGHEST_PROTOCOL) if found else b""
    _whole.clear()
    _whole[key] = blob
    return blob


def _namespaces() -> Iterator[dict[str, Any]]:
    """Those of the modules whose functions and classes go by value."""
    names = {"__main__"}
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is not None:
        registered = tuple(cloudpickle.list_registry_pickle_by_value())
        names |= {name for name in list(sys.modules) for of in registered if name == of or name.startswith(f"{of}.")}
    for name in sorted(names):
        module = sys.modules.get(name)
        if type(module) is types.ModuleType:
            yield vars(module)


def _places(namespace: dict[str, Any]) -> set[Place]:
    """The files and cells from which the functions of a namespace come."""
    found = {(code.co_filename, code.co_flags & FUTURE_FLAGS) for code in _codes(namespace)}
    if namespace.get("__name__") in MAIN_MODULES:
        of_cells = {flags for _, flags in found} or {0}
        found |= {(name, flags) for name in cells_with("lambda") for flags in of_cells}
    return {(name, flags, text_mark(name, namespace)) for name, flags in found if name != SENT and is_own_file(name)}


def _codes(namespace: dict[str, Any]) -> Iterator[types.CodeType]:
    """Of the functions of a namespace, and of the methods of its classes."""
    for thing in list(namespace.values()):
        # The real type decides: some objects say of themselves that they are something else, or raise when asked.
        for one in list(vars(thing).values()) if issubclass(type(thing), type) else [thing]:
            for function in _functions(one):
                if function.__globals__ is namespace:
                    yield function.__code__


def _functions(thing: Any) -> Iterator[types.FunctionType]:
    if type(thing) in (staticmethod, classmethod):
        thing = thing.__func__
    elif type(thing) is property:
        thing = thing.fget
    for _ in range(_MOST_WRAPPERS):
        if type(thing) is not types.FunctionType:
            return
        yield thing
        thing = thing.__dict__.get("__wrapped__")
