"""How values become bytes: every encoding starts with a tag and says its own length.

So no two values share an encoding, and no encoding is the beginning of another: encodings can be
joined without separators. A large one is replaced by its BLAKE3 hash. Lengths are one byte below
255, else ``ff`` and eight bytes, little-endian like every number here.
"""

from __future__ import annotations

import struct
from typing import Final

from blake3 import blake3

FORMAT: Final = 1
"""The number of this format. It goes into every digest; another format never shares a key with this one."""

_INLINE = 64
_SIZES = tuple(bytes([n]) for n in range(255))
_DOUBLE = struct.Struct("<d").pack

NAN = _DOUBLE(float("nan"))
"""The one NaN: which of its bit patterns a NaN has depends on the processor that computed it."""


def size(count: int) -> bytes:
    """The bytes of a length or count."""
    return _SIZES[count] if count < 255 else b"\xff" + count.to_bytes(8, "little")


def sized(data: bytes) -> bytes:
    """`data` after its length."""
    return size(len(data)) + data


def seal(payload: bytes) -> bytes:
    """The encoding `payload`, or its hash when that is shorter."""
    return payload if len(payload) <= _INLINE else b"#" + blake3(payload).digest()


def tagged(kind: bytes, content: bytes) -> bytes:
    """The encoding of a value that `content` describes among those of its `kind`."""
    return seal(b":" + sized(kind) + sized(content))


def large(head: bytes, content: bytes | bytearray | memoryview) -> bytes:
    """The encoding of `content` under the tag `head`, hashed without a copy of the content."""
    hasher = blake3(head + b"\xff" + len(content).to_bytes(8, "little"))
    hasher.update(content)
    return b"#" + hasher.digest()


def text(value: str) -> bytes:
    """UTF-8, in which lone surrogates (file names have them) keep their own bytes."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")


def double(value: float) -> bytes:
    """Eight bytes; 0.0 and -0.0 differ, every NaN is the same."""
    return _DOUBLE(value) if value == value else NAN
