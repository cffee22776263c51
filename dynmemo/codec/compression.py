"""zstd where it pays, and decompression that never yields more than was announced."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dynmemo.errors import UnreadableValueError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

    from dynmemo.item import Bytes

LEVEL = 3
"""Measured on forecast frames (benchmarks/codec.py): higher levels cost much time for hardly a byte."""
SMALLEST = 2048
"""What is smaller is not compressed: setting up a decompressor (10 microseconds) costs a hit more than the bytes."""
WORTH_IT = 0.9
"""Kept only if what comes out is at most this part of what went in."""

_PROBED_FROM = 256 * 1024
_PROBES = 4
_PROBE_SIZE = 16 * 1024
_STEP = 1024 * 1024


def compress(chunks: Sequence[Bytes], length: int) -> list[Bytes] | None:
    """One zstd frame of all `chunks`, `length` bytes together; None where compressing does not pay."""
    if length >= _PROBED_FROM and not _promising(chunks, length):
        return None
    compressor = _zstd().ZstdCompressor(level=LEVEL)
    compressor.set_pledged_input_size(length)
    out: list[Bytes] = [
        piece for chunk in chunks for step in _steps(chunk) if (piece := compressor.compress(step, compressor.CONTINUE))
    ]
    out.append(compressor.flush())
    return out if sum(map(len, out)) <= length * WORTH_IT else None


class Reader:
    """A payload in the pieces that are asked for, together never more than the `length` announced.

    Args:
        data: the envelope without its trailer.
        start: where in it the payload begins.
        length: bytes of the payload as they were announced.
        alignment: at multiples of how many bytes in the envelope buffers begin.
    """

    __slots__ = ("_alignment", "_at", "_data", "_left")

    def __init__(self, data: Bytes, start: int, length: int, *, alignment: int = 1) -> None:
        self._left = length
        self._data = data
        self._at = start
        self._alignment = alignment

    def take(self, count: int) -> Bytes:
        """The next `count` bytes."""
        if count > self._left:
            raise UnreadableValueError("the payload is longer than announced", cause="format")
        self._left -= count
        return self._take(count)

    def take_buffer(self, count: int) -> Bytes:
        """The next `count` bytes that an array may live in."""
        self.take(-self._at % self._alignment)
        return self.take(count)

    def finish(self) -> None:
        """Raise if anything is left."""
        if self._left or self._more():
            raise UnreadableValueError("the payload is not as long as announced", cause="format")

    def _take(self, count: int) -> Bytes:
        if count > len(self._data) - self._at:
            raise UnreadableValueError("the payload is cut off", cause="format")
        self._at += count
        return self._data[self._at - count : self._at]

    def _more(self) -> bool:
        return self._at < len(self._data)


class ZstdReader(Reader):
    """A compressed payload, decompressed no further than what is asked for."""

    __slots__ = ("_decompressor",)

    def __init__(self, data: Bytes, start: int, length: int) -> None:
        super().__init__(data, start, length)
        self._decompressor = _zstd().ZstdDecompressor()

    def _take(self, count: int) -> bytearray:
        taken = bytearray()  # grows with what is really there: the announced length may be a lie
        while len(taken) < count:
            taken += self._next(min(_STEP, count - len(taken)))
        return taken

    def _more(self) -> bool:
        while not self._decompressor.eof:
            if self._next(1):
                return True
        return bool(self._decompressor.unused_data) or self._at < len(self._data)

    def _next(self, limit: int) -> bytes:
        fed: Bytes = b""
        if self._decompressor.eof:
            raise UnreadableValueError("the payload is shorter than announced", cause="format")
        if self._decompressor.needs_input:
            fed = self._data[self._at : self._at + _STEP]
            self._at += len(fed)
            if not fed:
                raise UnreadableValueError("the compressed payload is cut off", cause="format")
        piece: bytes = self._decompressor.decompress(fed, limit)
        return piece


def decompress(data: Bytes, start: int, length: int) -> Bytes:
    """Exactly `length` bytes, or `UnreadableValueError`."""
    reader = ZstdReader(data, start, length)
    whole = reader.take(length)
    reader.finish()
    return whole


def _promising(chunks: Sequence[Bytes], length: int) -> bool:
    """Whether samples from all over the value get smaller: random numbers and images cost much time for nothing."""
    sample = bytearray()
    for probe in range(_PROBES):
        sample += _slice(chunks, (length - _PROBE_SIZE) * probe // (_PROBES - 1))
    return len(_zstd().compress(sample, 1)) <= len(sample) * WORTH_IT


def _slice(chunks: Sequence[Bytes], start: int) -> Bytes:
    """Up to one probe's bytes from `start` on, not across the end of a chunk."""
    for chunk in chunks:
        if start < len(chunk):
            return memoryview(chunk)[start : start + _PROBE_SIZE]
        start -= len(chunk)
    return b""


def _steps(chunk: Bytes) -> list[Bytes]:
    if len(chunk) <= _STEP:
        return [chunk]
    view = memoryview(chunk)
    return [view[start : start + _STEP] for start in range(0, len(view), _STEP)]


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
