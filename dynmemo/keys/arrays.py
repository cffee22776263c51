"""numpy: arrays, scalars, dtypes and random generators.

An array is its dtype with the byte order, its shape and every element. Layout does not count, neither does where the
memory is: workers get large arrays as memory maps.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from blake3 import blake3

from dynmemo.keys.encoding import Columns, InWalk, Named, Refusal, node, seal, size, sized, text, typed
from dynmemo.keys.left_out import hidden_name
from dynmemo.keys.objects import attributes, own_state, read_object, type_within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynmemo.keys.encoding import Handler, Node
    from dynmemo.keys.walk import Walk

Array = np.ndarray[Any, np.dtype[Any]]


def dtype_name(dtype: np.dtype[Any]) -> str:
    """A name that tells `dtype` from every other one, the same on every machine."""
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return f"({dtype_name(base)}){list(shape)}"
    metadata = f" {sorted(dtype.metadata.items())!r}" if dtype.metadata else ""
    if dtype.fields is not None and dtype.names is not None:
        fields = [(name, *dtype.fields[name]) for name in dtype.names]
        inner = [f"{name!r}:{dtype_name(field)}@{','.join(map(str, more))}" for name, field, *more in fields]
        return f"{{{','.join(inner)}}}{dtype.itemsize}{metadata}"
    # Of the letters for one width ("l" and "q") none counts; a width of another system differs by its number.
    width = dtype.str[1:] if dtype.kind != "T" else str(dtype)
    return ("swapped " if dtype.byteorder == _SWAPPED else "") + width + metadata


def array_parts(array: Array) -> bytes | Node:
    """An array of any dtype."""
    dtype = array.dtype
    if dtype.fields is not None and dtype.names is not None:
        fields = [array[name] for name in dtype.names]
        return typed(b"array", dtype_name(dtype), (array.shape, *fields), Columns("", labels=dtype.names))
    if dtype.kind in "OT":
        return typed(b"array", dtype_name(dtype), (array.shape, array.reshape(-1).astype(object, copy=False).tolist()))
    return _plain(b"A", array)


def _plain(tag: bytes, array: Array) -> bytes:
    shape = b"".join(map(size, array.shape))
    return seal(tag + sized(text(dtype_name(array.dtype))) + size(array.ndim) + shape + content_hash(array))


def _scalar(value: np.generic, walk: Walk) -> bytes | Node:
    if not isinstance(_head(value), str):  # of another package, or a class of the user's
        return read_object(value, walk)
    array = np.asarray(value)
    return node(b"numpy scalar", (array,)) if array.dtype.fields is not None else _plain(b"a", array)


def _ufunc(value: np.ufunc) -> Node:
    for package in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(package), value.__name__, None) is value:
            return typed(b"ufunc", package, (value.__name__,))
    # Of `np.frompyfunc` only the collector of garbage knows the function.
    function = next((one for one in gc.get_referents(value) if callable(one)), None)
    if function is None:
        raise Refusal(np.ufunc, "a ufunc of unknown origin, which has no stable content", "Pass the function")
    return typed(b"ufunc", "of Python", (function, value.nin, value.nout, value.identity))


_OF_MASKED = frozenset(
    ["_mask", "_fill_value", "_hardmask", "_sharedmask", "_isfield", "_baseclass", "_basedict", "_optinfo"]
)


def _masked(array: np.ma.MaskedArray[Any, Any]) -> Node:
    mask = np.ma.getmaskarray(array)
    data = np.array(array.data, subok=False)
    _blank(data, mask)
    about = attributes({name: one for name, one in own_state(array).items() if name not in _OF_MASKED})
    parts = (_head(array), data, np.asarray(mask), np.asarray(array.fill_value), (bool(array.hardmask), about))
    return node(b"masked", parts, Named("", "", ".mask", ".fill_value"))


def _blank(data: Array, mask: Array) -> None:
    """What is under the mask is no content."""
    if data.dtype.names is None:
        data[mask] = None if data.dtype.kind == "O" else np.zeros((), data.dtype)
        return
    for name in data.dtype.names:
        _blank(data[name], mask[name])


def _subclass(array: Array) -> bytes | Node:
    if type(array) in {np.ndarray, np.memmap}:
        return array_parts(array)
    return node(b"subclass", (_head(array), array.view(np.ndarray), attributes(own_state(array))))


def _bit_generator(value: np.random.BitGenerator) -> Node:
    # The seeds decide what spawn() gives; before numpy 1.25 they were private.
    return node(b"bit generator", (_head(value), value.state, getattr(value, "seed_seq", None)))


def _random_state(value: np.random.RandomState) -> Node:
    hidden = hidden_name(value)
    return node(b"random state", (hidden,) if hidden else (_head(value), value.get_state(legacy=False)))


def _head(value: object) -> str | type:
    return type_within(type(value), "numpy")


TYPES: Final[dict[type, Handler]] = {
    type(np.ma.masked): lambda _: node(b"masked constant", ()),
    np.ma.MaskedArray: _masked,
    np.ndarray: _subclass,
    np.generic: InWalk(_scalar),
    np.dtype: lambda value: typed(b"dtype", dtype_name(value), ()),
    np.random.Generator: lambda value: node(b"generator", (_head(value), value.bit_generator)),
    np.random.BitGenerator: _bit_generator,
    np.random.RandomState: _random_state,
    np.random.SeedSequence: lambda value: node(b"seeds", (_head(value), value.state)),
    np.ufunc: _ufunc,
    np.busdaycalendar: lambda value: node(b"busdaycalendar", (value.weekmask, value.holidays)),
}
"""The reader of a type and of those made of it; the first that fits."""


# -- content in C order, little-endian, read without a copy where it lies that way ---------------------------

# Chunks that stay in the processor's cache while they are looked at for NaN and then hashed.
_CHUNK = 1 << 19
_FULL_LINE = 16  # so many numbers side by side fill what the processor reads at once
_CHUNK_OF_THREADS = 1 << 24
# Threads of one hasher only: blake3's shared pool does not survive a fork.
_THREADS = min(8, os.cpu_count() or 1)
_WORTH_THREADS = 1 << 25

_SWAPPED = ">" if sys.byteorder == "little" else "<"
"""The byte order that is not this machine's."""


def content_hash(*arrays: Array) -> bytes:
    """The hash of every element of one array, or of several as if they were one.

    They hold numbers, times, text or bytes of a fixed width.
    """
    many = _THREADS > 2 and sum(array.nbytes for array in arrays) >= _WORTH_THREADS
    hasher = blake3(max_threads=_THREADS) if many else blake3()
    for array in arrays:
        for chunk in _chunks(array, _CHUNK_OF_THREADS if many else _CHUNK):
            hasher.update(_portable(chunk).view(np.uint8).data)
    return hasher.digest()


def row_hashes(rows: Array) -> list[bytes]:
    """`content_hash` of every row of a table of numbers, however the rows lie in memory."""
    count, length = rows.shape
    group = _CHUNK // max(1, length * rows.itemsize)
    if rows.dtype.char in "gG" or not rows.size or (group < _FULL_LINE and rows.strides[1] == rows.itemsize):
        return list(map(content_hash, rows))
    if group < _FULL_LINE:
        return _interleaved_hashes(rows)
    hashes: list[bytes] = []
    for start in range(0, count, group):
        tile = _portable(np.ascontiguousarray(rows[start : start + group])).view(np.uint8)
        hashes += [blake3(row.data).digest() for row in tile]
    return hashes


def _interleaved_hashes(rows: Array) -> list[bytes]:
    """The same for long rows that lie across each other, as columns of a C-ordered table do: memory is read once."""
    hashers = [blake3() for _ in rows]
    width = max(_FULL_LINE, _CHUNK // (len(rows) * rows.itemsize))
    for start in range(0, rows.shape[1], width):
        tile = _portable(np.ascontiguousarray(rows[:, start : start + width])).view(np.uint8)
        for hasher, part in zip(hashers, tile, strict=True):
            hasher.update(part.data)
    return [hasher.digest() for hasher in hashers]


def _chunks(array: Array, width: int) -> Iterable[Array]:
    """`array` in C order, as contiguous pieces of about `width` bytes."""
    if 0 < array.nbytes <= width and array.flags.c_contiguous:
        return (array.reshape(-1),)
    iterate: Any = np.nditer  # which the stubs know in part
    flags, count = ("external_loop", "buffered", "zerosize_ok"), max(1, width // max(1, array.itemsize))
    pieces: Iterable[Array] = iterate(array, flags, [["readonly", "contig"]], order="C", buffersize=count)
    return pieces


def _portable(chunk: Array) -> Array:
    """`chunk` as every machine has it: little-endian, one NaN, no padding inside numbers."""
    if chunk.dtype.byteorder == _SWAPPED:
        chunk = chunk.astype(chunk.dtype.newbyteorder("="))
    kind = chunk.dtype.kind
    if kind in "fc":
        chunk = _one_nan(chunk)
        if chunk.dtype.char in "gG":
            return _long_doubles(chunk)
    if sys.byteorder == "big" and kind not in "SVb":
        chunk = chunk.byteswap()
    return chunk


def _one_nan(chunk: Array) -> Array:
    parts = chunk.view(chunk.real.dtype) if chunk.dtype.kind == "c" else chunk
    if not np.isnan(parts.min()):
        return chunk
    chunk = chunk.copy()
    parts = chunk.view(chunk.real.dtype) if chunk.dtype.kind == "c" else chunk
    parts[np.isnan(parts)] = np.nan
    return chunk


def _long_doubles(chunk: Array) -> Array:
    """Long doubles are 80 bits in 16 bytes of which 6 are rubbish, or 128 bits, or plain doubles: take them apart."""
    parts = chunk.view(np.longdouble)
    mantissa, exponent = np.frexp(parts)
    pieces = [exponent.astype(np.float64)]
    for _ in range(3):
        piece = mantissa.astype(np.float64)
        pieces.append(piece)
        mantissa = np.where(np.isfinite(piece), mantissa - piece, 0)
    return np.stack(pieces, axis=-1)  # element by element, so that chunks make no difference
