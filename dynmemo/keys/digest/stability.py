"""Whether an object has the same digest after pickle has stored and rebuilt it.

Where it has not, another process would never ask for the same key. That shows at the first object
of a class that has a say in its own pickling; later ones of that class are trusted.
"""

from __future__ import annotations

import importlib
import io
import pickle
from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from dynmemo.keys.digest.code import code_by_name
from dynmemo.keys.digest.refusal import NoStableContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import ReadableBuffer as Buffer

_LARGEST = 1 << 26

_checked: WeakSet[type] = WeakSet()


def is_checked(cls: type) -> bool:
    """Whether an object of `cls` was looked at before."""
    return cls in _checked


def survives(value: object, encode: Callable[[object], bytes], classes: Iterable[type]) -> bool:
    """Whether a rebuilt `value` still has its encoding; from now on its `classes` are trusted.

    An object that cannot be pickled, or takes more than 64 MiB, cannot be checked; its digest stands.
    """
    try:
        copy = _rebuilt(value)
    except Exception:  # noqa: BLE001 - whatever the code of a stranger raises, there is no copy to look at
        stable = True
    else:
        stable = _are_equal(value, copy, encode)
    if stable:
        _checked.update(classes)
    return stable


def _are_equal(value: object, copy: object, encode: Callable[[object], bytes]) -> bool:
    # A function that pickle stored by value comes back as another one with the same code.
    with code_by_name():
        try:
            return encode(value) == encode(copy)
        except NoStableContent:
            return False


class _TooLarge(Exception):  # noqa: N818
    """The object is not worth a copy."""


class _Bounded(io.BytesIO):
    def write(self, data: Buffer, /) -> int:
        if self.tell() + memoryview(data).nbytes > _LARGEST:
            raise _TooLarge
        return super().write(data)


def _rebuilt(value: object) -> object:
    buffers: list[pickle.PickleBuffer] = []
    data, code = _Bounded(), _Code()
    try:
        pickle.Pickler(data, 5, buffer_callback=buffers.append).dump(value)
    except _TooLarge:
        raise
    except Exception:  # noqa: BLE001 - a class in a notebook, a lambda inside: that is cloudpickle's work
        buffers.clear()
        data = _Bounded()
        _pickler_of(code)(data, 5, buffer_callback=buffers.append).dump(value)
    # Large arrays are not copied. They are read-only in the copy: nothing that it does reaches the original.
    data.seek(0)
    return _Unpickler(code, data, buffers=[buffer.raw().toreadonly() for buffer in buffers]).load()


class _Code:
    """Functions and classes that an object and its copy share."""

    def __init__(self) -> None:
        self._known: list[object] = []

    def mark(self, thing: object) -> int | None:
        """What stands for `thing` in the pickle; None for what is no code."""
        if not isinstance(thing, (type, FunctionType)):
            return None
        self._known.append(thing)
        return len(self._known) - 1

    def of(self, mark: int) -> object:
        """What `mark` stands for."""
        return self._known[mark]


def _pickler_of(code: _Code) -> Any:
    """A kind of cloudpickle's pickler that copies no code.

    A class that cloudpickle reads back in its own process gets the copies of its methods for its methods.
    """
    base: Any = importlib.import_module("cloudpickle").Pickler

    class Pickler(base):  # type: ignore[misc]
        def persistent_id(self, thing: object) -> int | None:
            return code.mark(thing)

    return Pickler


class _Unpickler(pickle.Unpickler):
    """Reads what the pickler of `code` wrote."""

    def __init__(self, code: _Code, data: io.BytesIO, buffers: list[memoryview]) -> None:
        super().__init__(data, buffers=buffers)
        self._code = code

    def persistent_load(self, mark: int) -> object:
        return self._code.of(mark)
