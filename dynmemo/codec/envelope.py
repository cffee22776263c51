"""The envelope of a stored value: header, payload, and a sealed trailer (docs/reference/envelope.md).

Writing serializes, compresses, encrypts, seals. Reading checks first, then does the reverse.
"""

from __future__ import annotations

import struct
import sys
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from dynmemo.codec import compression, encryption, serializers
from dynmemo.codec.by_value import Own
from dynmemo.codec.refusal import CannotSerialize
from dynmemo.codec.serializers import BUFFERS, BY_VALUE
from dynmemo.errors import UnreadableValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynmemo.codec.serializers import Bytes, Serializer

MAGIC = b"\x9ddynmemo"
VERSION = 1
TRAILER_SIZE = 32

SIGNED = 0x01
ENCRYPTED = 0x02
ZSTD = 0x04
HAS_DEADLINE = 0x20
_UNKNOWN_FLAGS = ~0x3F

NO_PYTHON = (0, 0)
NO_KEY_ID = bytes(4)

# magic, version, flags, python major, python minor, key id, computed at, seconds, deadline, length, length of the name
_FIXED = struct.Struct("<8sBBBB4sddqQB")
_FIXED_SIZE = _FIXED.size
_unpack = _FIXED.unpack_from

MAX_LENGTH = 2_000_000_000
"""Bytes of the largest payload before compression: what lies beyond is neither written nor decompressed."""

_THIS_PYTHON = (sys.version_info.major, sys.version_info.minor)


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
        raise UnreadableValueError("the stored bytes are too short for an envelope of dynmemo", cause="format")
    magic, version, flags, major, minor, key_id, computed_at, seconds, deadline, length, named = _unpack(data)
    if magic != MAGIC:
        raise UnreadableValueError("the stored bytes are not an envelope of dynmemo", cause="format")
    if version != VERSION or flags & _UNKNOWN_FLAGS:
        raise UnreadableValueError(
            f"the envelope has format version {version} or flags that this release cannot read", cause="format"
        )
    size = _FIXED_SIZE + named
    try:
        name = str(data[_FIXED_SIZE:size], "ascii")
    except UnicodeDecodeError:
        name = ""
    if not name or total < size + TRAILER_SIZE:
        raise UnreadableValueError("the envelope's header is damaged", cause="format")
    known = deadline if flags & HAS_DEADLINE else None
    return Header(flags, (major, minor), key_id, computed_at, seconds, known, length, name)


# One secret, three independent keys. These strings are part of the format.
_MAC_CONTEXT = "dynmemo envelope v1: MAC key"
_ENCRYPTION_CONTEXT = "dynmemo envelope v1: encryption key"
_KEY_ID_CONTEXT = "dynmemo envelope v1: key id"

_MODE = SIGNED | ENCRYPTED


class Seal:
    """Makes the trailer: a plain BLAKE3 digest, or with a secret a keyed one."""

    __slots__ = ("_hasher", "encryption_key", "key_id")

    def __init__(self, secret: bytes | None = None) -> None:
        if secret is None:
            self._hasher = blake3()
            self.key_id = NO_KEY_ID
            self.encryption_key = b""
        else:
            self._hasher = blake3(key=_derive(_MAC_CONTEXT, secret))
            self.key_id = _derive(_KEY_ID_CONTEXT, secret)[:4]
            self.encryption_key = _derive(_ENCRYPTION_CONTEXT, secret)

    def trailer(self, key: bytes, *body: Bytes) -> bytes:
        """Over the key with its length, then everything in the envelope before the trailer."""
        hasher = self._hasher.copy()
        hasher.update(len(key).to_bytes(8, "little") + key)
        for chunk in body:
            hasher.update(chunk)
        return hasher.digest()


class Decoded(NamedTuple):
    """A stored value, and what its envelope tells of it."""

    value: object
    computed_at: float
    """Unix seconds."""
    seconds: float
    """How long computing it took."""


class Codec:
    """One per decorated function and cache: turns results into stored bytes and back.

    Args:
        serializer: ``"pickle"``, ``"json"``, ``"arrow"``, ``"bytes"``, or an object with `name`, `dumps` and `loads`.
        secrets: the first signs what is written, all are accepted; without any the trailer is a plain digest.
        encrypt: encrypt as well (AES-256-GCM), for which there must be a secret.
        own: the classes and functions that this program defines, for values that hold some.

    Raises:
        InvalidOptionError: for an option that is not allowed, or an extra that is not installed.
    """

    __slots__ = ("_format", "_mode", "_own", "_seals")

    def __init__(
        self,
        serializer: str | Serializer = "pickle",
        *,
        secrets: Sequence[bytes] = (),
        encrypt: bool = False,
        own: Own | None = None,
    ) -> None:
        self._own = own or Own()
        self._format = serializers.choose(serializer, self._own)
        self._seals = [Seal(secret) for secret in secrets] or [Seal()]
        # The flags that every envelope must have: the configuration decides, never the bytes.
        self._mode = (SIGNED if secrets else 0) | (ENCRYPTED if encrypt else 0)

    def dumps(self, value: object, *, key: str, computed_at: float, seconds: float, deadline: int | None) -> bytes:
        """The envelope of a result, to be stored under the partition key `key` and nowhere else.

        Raises `CannotSerialize` for a result that has no stored form.
        """
        place, seal = key.encode(), self._seals[0]
        try:
            chunks, flags = self._format.encode(value)
            length = sum(map(len, chunks))
            if length > MAX_LENGTH:
                raise CannotSerialize(f"the result takes {length} bytes, more than the {MAX_LENGTH} allowed")
            smaller = compression.compress(chunks, length) if length >= compression.SMALLEST else None
            if smaller is not None:
                chunks, flags = smaller, flags | ZSTD
            python = _THIS_PYTHON if flags & BY_VALUE else NO_PYTHON
            flags |= self._mode
            header = write_header(
                Header(flags, python, seal.key_id, computed_at, seconds, deadline, length, self._format.name)
            )
            if flags & ENCRYPTED:
                chunks = encryption.encrypt(seal.encryption_key, _about(place, header), chunks)
            body = [header, *chunks]
            return b"".join([*body, seal.trailer(place, *body)])
        except MemoryError:
            raise CannotSerialize("there is not enough memory to serialize the result") from None

    def loads(self, data: Bytes, *, key: str, now: float) -> Decoded:
        """The result in an envelope that was read under `key` at `now` (Unix seconds).

        Raises `UnreadableValueError`, whatever is wrong with it; its `cause` is one word out of
        ``format``, ``digest``, ``secret``, ``encryption``, ``expired``, ``serializer``, ``python``, ``length``,
        ``pickle`` (``decode`` for other serializers) and ``memory``.

        What interrupts it (Ctrl-C, an exit that a signal handler asks for) goes on to the caller, and so does an exit
        that the value's own code asks for, since nothing tells the two apart.
        """
        try:
            header = read_header(data)
            view, place = memoryview(data), key.encode()
            seal = self._seal_of(header, view, place)
            if header.deadline is not None and now > header.deadline:
                raise UnreadableValueError("the value's deadline has passed", cause="expired")
            start = _FIXED_SIZE + len(header.serializer)
            payload = view[start:-TRAILER_SIZE]
            if header.flags & ENCRYPTED:
                payload = encryption.decrypt(seal.encryption_key, _about(place, view[:start]), payload)
            return Decoded(self._decode(header, payload), header.computed_at, header.seconds)
        except UnreadableValueError:
            raise
        except MemoryError as error:
            raise UnreadableValueError("there is not enough memory to decode the value", cause="memory") from error
        except BaseException as error:
            # Unpickling runs foreign code. Extensions in Rust raise a class of their own when they panic.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            message = f"the value cannot be decoded here: {_why(error)}"
            raise UnreadableValueError(message, cause=self._format.cause) from error

    def _seal_of(self, header: Header, data: memoryview, key: bytes) -> Seal:
        """The seal under which `data` was written for `key`; nothing may be decoded before this."""
        if header.flags & _MODE != self._mode:
            raise self._wrong_mode(header)
        is_known = False
        for seal in self._seals:
            if seal.key_id == header.key_id:
                is_known = True
                if compare_digest(seal.trailer(key, data[:-TRAILER_SIZE]), data[-TRAILER_SIZE:]):
                    return seal
        if is_known:
            raise UnreadableValueError(
                "the stored bytes are damaged, or were written under another key", cause="digest"
            )
        raise UnreadableValueError(
            "the value was signed with a secret that is not among those of this cache", cause="secret"
        )

    def _wrong_mode(self, header: Header) -> UnreadableValueError:
        if header.signed != bool(self._mode & SIGNED):
            what = "signed and this cache has no secret" if header.signed else "not signed and this cache has a secret"
            return UnreadableValueError(f"the stored value is {what}", cause="secret")
        what = "encrypted and encrypt= is off" if header.encrypted else "not encrypted and encrypt= is on"
        return UnreadableValueError(f"the stored value is {what}", cause="encryption")

    def _decode(self, header: Header, payload: memoryview) -> object:
        flags, length, stored_with = header.flags, header.length, header.serializer
        if stored_with != self._format.name:
            raise UnreadableValueError(
                f"the value was stored with serializer {stored_with!r}, not {self._format.name!r}", cause="serializer"
            )
        if flags & BY_VALUE and header.python != _THIS_PYTHON:
            was = ".".join(map(str, header.python))
            raise UnreadableValueError(f"the value contains code that only Python {was} can load", cause="python")
        if length > MAX_LENGTH:
            raise UnreadableValueError(f"the value has {length} bytes, more than are allowed", cause="length")
        is_pickle, code = stored_with == "pickle", bool(flags & BY_VALUE)
        if flags & BUFFERS:
            if not is_pickle:  # else bytes for a harmless serializer would be unpickled
                raise UnreadableValueError("only pickled values have buffers", cause="format")
            kind = compression.ZstdReader if flags & ZSTD else compression.Reader
            return serializers.load_with_buffers(kind(payload, length), self._own, code=code)
        whole: Bytes = payload
        if flags & ZSTD:
            whole = compression.decompress(payload, length)
        elif len(payload) != length:
            raise UnreadableValueError("the payload is not as long as announced", cause="format")
        if code and is_pickle:
            return serializers.load_pickle(whole, self._own, code=True)
        return self._format.decode(whole)


def _about(key: bytes, header: Bytes) -> bytes:
    """What an encrypted payload belongs to."""
    return len(key).to_bytes(8, "little") + key + bytes(header)


def _derive(context: str, secret: bytes) -> bytes:
    return blake3(secret, derive_key_context=context).digest()


def _why(error: BaseException) -> str:
    """What is missing, where the exception names a module or class; its text may hold content otherwise."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"there is no module {error.name!r}"
    text = str(error)
    if isinstance(error, AttributeError) and text.startswith("Can't get attribute"):
        return text.split(" on <", 1)[0]
    return type(error).__name__
