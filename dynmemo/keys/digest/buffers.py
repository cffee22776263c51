"""The content of numpy arrays, in C order and little-endian, read without a copy where it lies that way."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Iterator

Array = np.ndarray[Any, np.dtype[Any]]

# Chunks that stay in the processor's cache while they are looked at for NaN and then hashed.
_CHUNK = 1 << 19
_FULL_LINE = 16  # so many numbers side by side fill what the processor reads at once
_CHUNK_OF_THREADS = 1 << 24
# Threads of one hasher only: blake3's shared pool does not survive a fork.
_THREADS = min(8, os.cpu_count() or 1)
_WORTH_THREADS = 1 << 25

_SWAPPED = ">" if sys.byteorder == "little" else "<"


def is_swapped(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of `dtype` lie in the byte order that is not this machine's."""
    return dtype.byteorder == _SWAPPED


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


def _chunks(array: Array, width: int) -> Iterator[Array]:
    """`array` in C order, as contiguous pieces of about `width` bytes."""
    count = max(1, width // max(1, array.itemsize))
    if array.flags.c_contiguous:
        flat = array.reshape(-1)
        for start in range(0, flat.size, count):
            yield flat[start : start + count]
    elif array.ndim == 1:
        for start in range(0, array.size, count):
            yield np.ascontiguousarray(array[start : start + count])
    elif array.size:
        rows = max(1, width // (array.nbytes // len(array)))
        for start in range(0, len(array), rows):
            yield from _pieces(array[start : start + rows], width)


def _pieces(rows: Array, width: int) -> Iterator[Array]:
    if len(rows) > 1 or rows.nbytes <= width:
        yield np.ascontiguousarray(rows).reshape(-1)
    else:
        yield from _chunks(rows[0], width)


def _portable(chunk: Array) -> Array:
    """`chunk` as every machine has it: little-endian, one NaN, no padding inside numbers."""
    if is_swapped(chunk.dtype):
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
