"""numpy: arrays, scalars, dtypes and random generators.

An array is its dtype, its shape and every element. Layout does not count, neither does where the
memory is: workers get large arrays as memory maps, and pickle turns foreign byte order into the machine's own.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from dynmemo.keys.digest.buffers import content_hash, is_swapped
from dynmemo.keys.digest.code import type_within
from dynmemo.keys.digest.encoding import seal, size, sized, text
from dynmemo.keys.digest.node import Named, node, typed
from dynmemo.keys.digest.objects import State
from dynmemo.keys.digest.refusal import Refusal

if TYPE_CHECKING:
    from dynmemo.keys.digest.buffers import Array
    from dynmemo.keys.digest.node import Handler, Node


def handler(cls: type) -> Handler | None:
    """The handler of a numpy type or of a subclass of one."""
    if cls in {np.ndarray, np.memmap}:
        return take_array_apart
    if cls is type(np.ma.masked):
        return lambda _: node(b"masked constant", ())
    if issubclass(cls, np.ma.MaskedArray):
        return _masked_handler(cls)
    if issubclass(cls, np.ndarray):
        return _subclass_handler(cls)
    if issubclass(cls, np.generic) and type_within(cls, "numpy") == cls.__name__:
        return _scalar
    if issubclass(cls, np.dtype):
        return lambda value: typed(b"dtype", dtype_name(value, order=True), ())
    if issubclass(cls, np.random.Generator):
        return _generator_handler(cls)
    if issubclass(cls, np.random.BitGenerator):
        return _bit_generator_handler(cls)
    if issubclass(cls, np.random.RandomState):
        return _random_state_handler(cls)
    if issubclass(cls, np.random.SeedSequence):
        return _seed_handler(cls)
    if cls is np.ufunc:
        return _ufunc
    if cls is np.busdaycalendar:
        return lambda value: node(b"busdaycalendar", (value.weekmask, value.holidays))
    return None


def dtype_name(dtype: np.dtype[Any], *, order: bool = False) -> str:
    """A name that tells `dtype` from every other one, the same on every machine; with byte order only if asked."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return f"({dtype_name(base, order=order)}){list(shape)}"
    if dtype.fields is not None and dtype.names is not None:
        fields = [(name, *dtype.fields[name][:2]) for name in dtype.names]
        inner = [f"{name!r}:{dtype_name(field, order=order)}@{offset}" for name, field, offset in fields]
        return f"{{{','.join(inner)}}}{dtype.itemsize}"
    # Of the letters for one width ("l" and "q") none counts; a width of another system differs by its number.
    width = dtype.str[1:] if dtype.kind != "T" else str(dtype)
    return f"swapped {width}" if order and is_swapped(dtype) else width


def take_array_apart(array: Array) -> bytes | Node:
    """An array of any dtype."""
    dtype = array.dtype
    if dtype.fields is not None and dtype.names is not None:
        children = [array[name] for name in dtype.names]
        return typed(b"array", dtype_name(dtype), (array.shape, *children), _fields_order(dtype.names))
    if dtype.kind == "O":
        return typed(b"array", "O", (array.shape, array.reshape(-1).tolist()))
    if dtype.kind == "T":
        return typed(b"array", dtype_name(dtype), (array.shape, array.reshape(-1).astype(object).tolist()))
    return _plain_array(b"A", array)


def _fields_order(names: tuple[str, ...]) -> Named:
    return Named("", *[f'["{name}"]' for name in names])


def _plain_array(tag: bytes, array: Array) -> bytes:
    shape = b"".join(map(size, array.shape))
    return seal(tag + sized(text(dtype_name(array.dtype))) + size(array.ndim) + shape + content_hash(array))


def _scalar(value: np.generic) -> bytes | Node:
    array = np.asarray(value)
    if array.dtype.fields is not None:
        return node(b"numpy scalar", (array,))
    return _plain_array(b"a", array)


def _ufunc(value: np.ufunc) -> Node:
    for package in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(package), value.__name__, None) is value:
            return typed(b"ufunc", package, (value.__name__,))
    raise Refusal(np.ufunc, "a ufunc of unknown origin, which has no stable content")


def _masked_handler(cls: type) -> Handler:
    head = type_within(cls, "numpy")
    order = Named("", "", ".mask", ".fill_value")

    def take_apart(array: np.ma.MaskedArray[Any, Any]) -> Node:
        mask = np.ma.getmaskarray(array)
        data = np.array(array.data, subok=False)
        _blank(data, mask)
        return node(b"masked", (head, data, np.asarray(mask), np.asarray(array.fill_value)), order)

    return take_apart


def _blank(data: Array, mask: Array) -> None:
    """What is under the mask is no content."""
    if data.dtype.names is None:
        data[mask] = None if data.dtype.kind == "O" else np.zeros((), data.dtype)
        return
    for name in data.dtype.names:
        _blank(data[name], mask[name])


def _subclass_handler(cls: type) -> Handler:
    head = type_within(cls, "numpy")

    def take_apart(array: Array) -> Node:
        return node(b"subclass", (head, array.view(np.ndarray), State(getattr(array, "__dict__", {}))))

    return take_apart


def _generator_handler(cls: type) -> Handler:
    head = type_within(cls, "numpy")
    return lambda value: node(b"generator", (head, value.bit_generator))


def _bit_generator_handler(cls: type) -> Handler:
    # The seeds decide what spawn() gives; before numpy 1.25 they were private.
    head = type_within(cls, "numpy")
    return lambda value: node(b"bit generator", (head, value.state, getattr(value, "seed_seq", None)))


def _random_state_handler(cls: type) -> Handler:
    head = type_within(cls, "numpy")
    return lambda value: node(b"random state", (head, value.get_state(legacy=False)))


def _seed_handler(cls: type) -> Handler:
    head = type_within(cls, "numpy")
    return lambda value: node(b"seeds", (head, value.state))
