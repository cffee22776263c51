"""The binary frame around every stored value: header, payload, trailer (docs/reference/envelope.md)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from dynmemo.errors import UnreadableValueError

MAGIC = b"\x9ddynmemo"
VERSION = 1
TRAILER_SIZE = 32

SIGNED = 0x01
ENCRYPTED = 0x02
ZSTD = 0x04
BUFFERS = 0x08
BY_VALUE = 0x10
HAS_DEADLINE = 0x20
_UNKNOWN_FLAGS = ~0x3F

NO_PYTHON = (0, 0)
NO_KEY_ID = bytes(4)

# magic, version, flags, python major, python minor, key id, computed at, seconds, deadline, length, length of the name
_FIXED = struct.Struct("<8sBBBB4sddqQB")
_FIXED_SIZE = _FIXED.size
_unpack = _FIXED.unpack_from

Bytes = bytes | bytearray | memoryview


class Encoded(NamedTuple):
    """What a serializer made of a value: the payload in pieces, and the flags that say how to read it."""

    chunks: list[Bytes]
    flags: int = 0


class Header(NamedTuple):
    """What an envelope says of its value before anything is decoded."""

    flags: int
    python: tuple[int, int]
    """The Python (major, minor) that can load code pickled by value; (0, 0) where there is none."""
    key_id: bytes
    computed_at: float
    """Unix seconds at which the value was computed."""
    seconds: float
    """How long computing it took."""
    deadline: int | None
    """Unix seconds past which the value is a miss, whatever the row says."""
    length: int
    """Bytes of the payload before compression and encryption."""
    serializer: str

    @property
    def size(self) -> int:
        """Bytes of this header; the payload begins there."""
        return _FIXED_SIZE + len(self.serializer)

    @property
    def compression(self) -> str:
        return "zstd" if self.flags & ZSTD else "none"

    @property
    def signed(self) -> bool:
        return bool(self.flags & SIGNED)

    @property
    def encrypted(self) -> bool:
        return bool(self.flags & ENCRYPTED)


def write_header(header: Header) -> bytes:
    """The header as it stands at the front of the envelope."""
    flags = header.flags if header.deadline is None else header.flags | HAS_DEADLINE
    name = header.serializer.encode("ascii")
    fixed = _FIXED.pack(
        MAGIC,
        VERSION,
        flags,
        *header.python,
        header.key_id,
        header.computed_at,
        header.seconds,
        header.deadline or 0,
        header.length,
        len(name),
    )
    return fixed + name


def read_header(data: Bytes) -> Header:
    """The header of an envelope, unverified; `UnreadableValueError` if the bytes are none."""
    total = len(data)
    if total < _FIXED_SIZE + TRAILER_SIZE:
        raise unreadable("format", "the stored bytes are too short for an envelope of dynmemo")
    magic, version, flags, major, minor, key_id, computed_at, seconds, deadline, length, named = _unpack(data)
    if magic != MAGIC:
        raise unreadable("format", "the stored bytes are not an envelope of dynmemo")
    if version != VERSION or flags & _UNKNOWN_FLAGS:
        raise unreadable("format", f"the envelope has format version {version} or flags that this release cannot read")
    size = _FIXED_SIZE + named
    try:
        name = str(data[_FIXED_SIZE:size], "ascii")
    except UnicodeDecodeError:
        name = ""
    if not name or total < size + TRAILER_SIZE:
        raise unreadable("format", "the envelope's header is damaged")
    known = deadline if flags & HAS_DEADLINE else None
    return Header(flags, (major, minor), key_id, computed_at, seconds, known, length, name)


def unreadable(cause: str, message: str) -> UnreadableValueError:
    """The exception for stored bytes that cannot be read, with its `cause`."""
    return UnreadableValueError(message, cause=cause)
