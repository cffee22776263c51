"""The envelope of a stored value: header, payload, and a sealed trailer (docs/reference/envelope.md).

Writing serializes, compresses, encrypts, seals. Reading checks first, then does the reverse.
"""

from __future__ import annotations

import math
import operator
import os
import struct
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from blake3 import blake3

from dynmemo.codec import compression, serializers
from dynmemo.codec.by_value import Own
from dynmemo.codec.refusal import CannotSerialize
from dynmemo.codec.serializers import BUFFERS, BY_VALUE
from dynmemo.errors import UnreadableValueError
from dynmemo.item import LATEST_TIME, Content, Pieces
from dynmemo.parts import THREADS, THREADS_FROM

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    from dynmemo.codec.serializers import Serializer
    from dynmemo.item import Bytes

MAGIC = b"\x9ddynmemo"
VERSION = 1
TRAILER_SIZE = 32

SIGNED = 0x01
ENCRYPTED = 0x02
ZSTD = 0x04
HAS_DEADLINE = 0x20
ALIGNED = 0x40
HAS_ORIGIN = 0x80

NO_PYTHON = (0, 0)
NO_KEY_ID = bytes(4)

# magic, version, flags, python major, python minor, key id, computed at, seconds, deadline, length, length of the name
_FIXED = struct.Struct("<8sBBBB4sddqQB")
_FIXED_SIZE = _FIXED.size
_unpack = _FIXED.unpack_from
_LENGTH_SIZE = 2
"""Bytes of the length that stands before the origin."""
_LONGEST_FRONT = _FIXED_SIZE + 255 + _LENGTH_SIZE + 65_535 + TRAILER_SIZE
"""Bytes in which the header of a long envelope is."""

ALIGNMENT = 64
"""Buffers of arrays begin at multiples of so many bytes, as NumPy, Arrow and processors like them."""

MAX_LENGTH = 2_000_000_000
"""Bytes of the largest payload that is compressed, or decompressed: a few stored bytes may announce any length."""

WHOLE_BELOW = 32_000
"""Bytes below which an envelope is joined; a larger one stays in pieces, so that a file can be written from them."""

SLICED_BELOW = 4_000
"""Bytes below which pieces of an envelope are copied: views of it take longer to make, and to collect as garbage."""

_MOST_VERIFIED = 10_000

_SALT_SIZE = 16
_NONCE_SIZE = 12
_TAG_SIZE = 16

_THIS_PYTHON = (sys.version_info.major, sys.version_info.minor)


@dataclass(slots=True)  # made in less time than a NamedTuple, or a frozen one, as `Opened` and at every hit `Decoded`
class Header:
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
    size: int = 0
    """Bytes of this header, as it was read; the payload begins there."""

    @property
    def signed(self) -> bool:
        return bool(self.flags & SIGNED)

    @property
    def encrypted(self) -> bool:
        return bool(self.flags & ENCRYPTED)


def size_of(serializer: str, origin: bytes) -> int:
    """The size of a header."""
    return _FIXED_SIZE + len(serializer) + (_LENGTH_SIZE + len(origin) if origin else 0)


def write_header(header: Header, origin: bytes = b"") -> bytes:
    """The header as it stands at the front of the envelope, with where the value comes from."""
    flags = header.flags if header.deadline is None else header.flags | HAS_DEADLINE
    name = header.serializer.encode("ascii")
    fixed = _FIXED.pack(
        MAGIC,
        VERSION,
        flags | HAS_ORIGIN if origin else flags,
        *header.python,
        header.key_id,
        header.computed_at,
        header.seconds,
        header.deadline or 0,
        header.length,
        len(name),
    )
    return fixed + name + (len(origin).to_bytes(_LENGTH_SIZE, "little") + origin if origin else b"")


def read_header(data: Bytes) -> Header:
    """The header of an envelope, unverified; `UnreadableValueError` if the bytes are none."""
    total = len(data)
    if total < _FIXED_SIZE + TRAILER_SIZE:
        raise UnreadableValueError("the stored bytes are too short for an envelope of dynmemo", cause="format")
    magic, version, flags, major, minor, key_id, computed_at, seconds, deadline, length, named = _unpack(data)
    if magic != MAGIC:
        raise UnreadableValueError("the stored bytes are not an envelope of dynmemo", cause="format")
    if version != VERSION:
        raise UnreadableValueError(
            f"the envelope has format version {version}, which this release cannot read", cause="format"
        )
    size = end = _FIXED_SIZE + named
    if flags & HAS_ORIGIN and end + _LENGTH_SIZE <= total:
        size += _LENGTH_SIZE + data[end] + 256 * data[end + 1]
    are_times = 0 <= computed_at <= LATEST_TIME and 0 <= seconds < math.inf  # else nobody could tell them
    if not named or size + TRAILER_SIZE > total or not are_times:
        raise UnreadableValueError("the envelope's header is damaged", cause="format")
    try:
        name = str(data[_FIXED_SIZE:end], "ascii")
    except UnicodeDecodeError:
        raise UnreadableValueError("the envelope's header is damaged", cause="format") from None
    known = deadline if flags & HAS_DEADLINE else None
    return Header(flags, (major, minor), key_id, computed_at, seconds, known, length, name, size)


def header_told(data: Bytes | Content) -> Header | None:
    """What the front of an envelope says, which nobody has verified; None where there is none."""
    with suppress(OSError, UnreadableValueError):
        return read_header(_front(data))
    return None


def origin_told(data: Bytes | Content) -> bytes:
    """Where a value comes from, as `dynmemo.origin` reads it; empty where its envelope does not tell."""
    with suppress(OSError, UnreadableValueError):
        front = _front(data)
        header = read_header(front)
        return bytes(front[size_of(header.serializer, b"") + _LENGTH_SIZE : header.size])
    return b""


def _front(data: Bytes | Content) -> Bytes:
    return b"".join(data.pieces(_LONGEST_FRONT)) if isinstance(data, Content) else data


# One secret, three independent keys. These strings are part of the format.
_MAC_CONTEXT = "dynmemo envelope v1: MAC key"
_ENCRYPTION_CONTEXT = "dynmemo envelope v1: encryption key"
_KEY_ID_CONTEXT = "dynmemo envelope v1: key id"

_MODE = SIGNED | ENCRYPTED

_IN_MEMORY = (bytes, bytearray, memoryview)


class Seal:
    """Makes the trailer: a plain BLAKE3 digest, or with a secret a keyed one."""

    __slots__ = ("_hasher", "_new_hasher", "encryption_key", "equals", "key_id")

    def __init__(self, secret: bytes | None = None) -> None:
        self._new_hasher = blake3 if secret is None else partial(blake3, key=_derive(_MAC_CONTEXT, secret))
        self._hasher = self._new_hasher()
        if secret is None:
            self.key_id = NO_KEY_ID
            self.encryption_key = b""
            self.equals: Callable[[Bytes, Bytes], bool] = operator.eq  # everybody can make a plain digest
        else:
            from hmac import compare_digest

            self.equals = compare_digest
            self.key_id = _derive(_KEY_ID_CONTEXT, secret)[:4]
            self.encryption_key = _derive(_ENCRYPTION_CONTEXT, secret)

    def trailer(self, key: bytes, body: Iterable[Bytes], *, is_large: bool = False) -> bytes:
        """Over the key with its length, then everything in the envelope before the trailer."""
        hasher = self._new_hasher(max_threads=THREADS) if is_large else self._hasher.copy()
        hasher.update(len(key).to_bytes(8, "little") + key)
        for chunk in body:
            hasher.update(chunk)
        return hasher.digest()


@dataclass(slots=True)
class Opened:
    """A verified envelope, ready to be decoded."""

    make: Callable[[Any], object]
    """Makes the value, a new object each time (once only, where the envelope lies in memory that is the value's own);
    may raise anything."""
    source: object
    """What it makes it of. A function that knows it would be one object more for the garbage collector to look at."""
    computed_at: float
    seconds: float
    deadline: int | None
    """All as in its `Header`."""
    beside: int
    """Bytes in memory that it holds beside the envelope."""


class Unsealed(NamedTuple):
    """A verified envelope whose payload is to be sealed anew."""

    header: Header
    front: bytes
    """The header as it was verified."""
    payload: Bytes
    """What ends before the trailer, decrypted."""
    start: int
    """Where in it the payload begins."""


@dataclass(slots=True)
class Decoded:
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
        compress: compress what gets smaller by it.
        own: the classes and functions that this program defines, for values that hold some.

    Raises:
        InvalidOptionError: for an option that is not allowed, or an extra that is not installed.
    """

    __slots__ = ("_compress", "_format", "_mode", "_own", "_seals", "_verified_files")

    def __init__(
        self,
        serializer: str | Serializer = "pickle",
        *,
        secrets: Sequence[bytes] = (),
        encrypt: bool = False,
        compress: bool = True,
        own: Own | None = None,
    ) -> None:
        self._own = own or Own()
        self._format = serializers.choose(serializer, self._own)
        self._seals = [Seal(secret) for secret in secrets] or [Seal()]
        # The flags that every envelope must have: the configuration decides, never the bytes.
        self._mode = (SIGNED if secrets else 0) | (ENCRYPTED if encrypt else 0)
        self._compress = compress
        self._verified_files: dict[tuple[str, Hashable], None] = {}

    def dumps(
        self,
        value: object,
        *,
        key: str,
        computed_at: float,
        seconds: float,
        deadline: int | None,
        origin: bytes = b"",
    ) -> bytes | Pieces:
        """The envelope of a result, to be stored under the partition key `key` and nowhere else.

        That of a large one lies in the memory of `value`, so it is to be stored before `value` is handed out.
        Raises `CannotSerialize` for a result that has no stored form.
        """
        try:
            chunks, flags = self._format.encode(value)
            python, length = _THIS_PYTHON if flags & BY_VALUE else NO_PYTHON, sum(map(len, chunks))
            mode, key_id = flags | self._mode, self._seals[0].key_id
            about = Header(mode, python, key_id, computed_at, seconds, deadline, length, self._format.name)
            return self._sealed(about, chunks, origin, key)
        except MemoryError:
            raise CannotSerialize("there is not enough memory to serialize the result") from None

    def reseal(self, unsealed: Unsealed, *, key: str) -> bytes | Pieces:
        """The envelope of a value that another codec has unsealed, as this one writes it for that key.

        Nothing is decoded. Raises `UnreadableValueError` if the payload is not what its header says.
        """
        header, front, data, start = unsealed
        if header.flags & ZSTD and self._compress:
            chunks: list[Bytes] = [data[start:]]
        else:
            _check_length(header)
            reader = _reader(header, data, start)
            chunks = serializers.read_with_buffers(reader) if header.flags & BUFFERS else [reader.take(header.length)]
            reader.finish()
            header = replace(header, flags=header.flags & ~ZSTD, length=sum(map(len, chunks)))
        origin = front[size_of(header.serializer, b"") + _LENGTH_SIZE :]
        flags = header.flags & ~(_MODE | ALIGNED | HAS_ORIGIN) | self._mode
        return self._sealed(replace(header, flags=flags, key_id=self._seals[0].key_id), chunks, origin, key)

    def _sealed(self, about: Header, chunks: list[Bytes], origin: bytes, key: str) -> bytes | Pieces:
        """The envelope of a payload, which is compressed if that pays, or as `about` says is so already."""
        place, seal, flags, length = key.encode(), self._seals[0], about.flags, about.length
        if self._compress and not flags & ZSTD and compression.SMALLEST <= length <= MAX_LENGTH:
            smaller = compression.compress(chunks, length)
            if smaller is not None:
                chunks, flags = smaller, flags | ZSTD
        if flags & BUFFERS and not flags & ZSTD and not flags & ENCRYPTED:
            chunks, flags = _aligned(chunks, size_of(about.serializer, origin)), flags | ALIGNED
            about = replace(about, length=sum(map(len, chunks)))
        header = write_header(about if flags == about.flags else replace(about, flags=flags), origin)
        if flags & ENCRYPTED:
            chunks = _encrypt(seal.encryption_key, _about(place, header), chunks)
        body = [header, *chunks]
        body.append(seal.trailer(place, body, is_large=length >= THREADS_FROM))
        return b"".join(body) if length < WHOLE_BELOW else Pieces(body)

    def loads(self, data: Bytes | Content, *, key: str, now: float) -> Decoded:
        """The result in an envelope that was read under `key` at `now` (Unix seconds): `open` and `decode`."""
        return self.decode(self.open(data, key=key), now=now)

    def open(self, data: Bytes | Content, *, key: str) -> Opened:
        """An envelope that was read under `key`, verified and decrypted.

        A file is mapped, and found right once for as long as it is that file. With a secret it is read and verified
        every time, since what was verified must be what is unpickled.

        Raises `UnreadableValueError`, whatever is wrong with it; its `cause` is one word out of
        ``format``, ``digest``, ``secret``, ``encryption``, ``expired``, ``serializer``, ``python``, ``length``,
        ``pickle`` (``decode`` for other serializers) and ``memory``.

        What interrupts it (Ctrl-C, an exit that a signal handler asks for) goes on to the caller, and so does an exit
        that the value's own code asks for, since nothing tells the two apart.
        """
        try:
            header, view, seal, is_own = self._verified(data, key)
            start, beside = header.size, len(view) if type(view) is bytes else 0
            if header.flags & ENCRYPTED:
                view, start = _decrypted(header, view, seal, key)
                beside, is_own = len(view), False
            make, source = self._maker(header, view, start, is_own)
            return Opened(make, source, header.computed_at, header.seconds, header.deadline, beside)
        except UnreadableValueError:
            raise
        except BaseException as error:
            raise self._undecodable(error) from error

    def unseal(self, data: Bytes | Content, *, key: str) -> Unsealed:
        """`open` for who wants to `reseal` the value, and not the value itself."""
        try:
            header, view, seal, _ = self._verified(data, key)
            start, front = header.size, bytes(view[: header.size])
            if header.flags & ENCRYPTED:
                view, start = _decrypted(header, view, seal, key)
            return Unsealed(header, front, view, start)
        except UnreadableValueError:
            raise
        except BaseException as error:
            raise self._undecodable(error) from error

    def _verified(self, data: Bytes | Content, key: str) -> tuple[Header, Bytes, Seal, bool]:
        """The header of an envelope, all of it but the trailer, and the seal under which it was written for `key`.

        The last says whether the memory is this reader's alone, so that a value may live in it.
        """
        if isinstance(data, _IN_MEMORY):
            whole: Bytes = data if type(data) is bytes and len(data) < SLICED_BELOW else memoryview(data)
            header, view = read_header(whole), whole[:-TRAILER_SIZE]
            return header, view, self._seal_of(header, key.encode(), [view], whole[-TRAILER_SIZE:]), False
        whole = data.load(mapped=not self._mode)
        header, view = read_header(whole), whole[:-TRAILER_SIZE]
        identity = None if self._mode else data.identity
        if identity is not None and (key, identity) in self._verified_files:
            return header, view, self._seals[0], True
        # What may be a map is not read through it: all of the file would count as memory of this process.
        body: Iterable[Bytes] = [view] if identity is None else data.pieces(len(view))
        seal = self._seal_of(header, key.encode(), body, whole[-TRAILER_SIZE:])
        if identity is not None:
            if len(self._verified_files) >= _MOST_VERIFIED:
                self._verified_files.clear()
            self._verified_files[key, identity] = None
        return header, view, seal, True

    def decode(self, opened: Opened, *, now: float) -> Decoded:
        """The result in an envelope, a new object each time (once only, where the envelope lies in memory of its own).

        Raises `UnreadableValueError`, as `open`.
        """
        deadline = opened.deadline
        if deadline is not None and now > deadline:
            raise UnreadableValueError("the value's deadline has passed", cause="expired")
        try:
            return Decoded(opened.make(opened.source), opened.computed_at, opened.seconds)
        except UnreadableValueError:
            raise
        except BaseException as error:
            raise self._undecodable(error) from error

    def _undecodable(self, error: BaseException) -> UnreadableValueError:
        """What to raise for an error of foreign code, which unpickling runs; what interrupts it is raised again."""
        if isinstance(error, MemoryError):
            return UnreadableValueError("there is not enough memory to decode the value", cause="memory")
        # Extensions in Rust raise a class of their own when they panic.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise error
        return UnreadableValueError(f"the value cannot be decoded here: {_why(error)}", cause=self._format.cause)

    def _seal_of(self, header: Header, key: bytes, body: Iterable[Bytes], trailer: Bytes) -> Seal:
        """The seal under which an envelope was written for `key`; nothing may be decoded before this."""
        if header.flags & _MODE != self._mode:
            raise self._wrong_mode(header)
        is_known = False
        for seal in self._seals:
            if seal.key_id == header.key_id:
                is_known = True
                if seal.equals(seal.trailer(key, body, is_large=header.length >= THREADS_FROM), trailer):
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

    def _maker(self, header: Header, data: Bytes, start: int, is_own: bool) -> tuple[Callable[[Any], object], object]:
        """What makes the value of the payload from `start` of `data` on, and of what; what can be done once is done.

        Args:
            is_own: the memory of `data` is this reader's alone, so that a value may live in it.
        """
        flags, length, stored_with = header.flags, header.length, header.serializer
        if stored_with != self._format.name:
            raise UnreadableValueError(
                f"the value was stored with serializer {stored_with!r}, not {self._format.name!r}", cause="serializer"
            )
        if flags & BY_VALUE and header.python != _THIS_PYTHON:
            was = ".".join(map(str, header.python))
            raise UnreadableValueError(f"the value contains code that only Python {was} can load", cause="python")
        _check_length(header)
        is_pickle, code = stored_with == "pickle", bool(flags & BY_VALUE)
        if flags & BUFFERS:
            if not is_pickle:  # else bytes for a harmless serializer would be unpickled
                raise UnreadableValueError("only pickled values have buffers", cause="format")
            read = partial(_reader, header, data, start)
            if flags & ZSTD:
                return (lambda read: serializers.loader_with_buffers(read(), self._own, code=code)()), read
            return operator.call, serializers.loader_with_buffers(read(), self._own, code=code, copies=not is_own)
        decode = (
            partial(serializers.load_pickle, own=self._own, code=True) if code and is_pickle else self._format.decode
        )
        if flags & ZSTD:
            return (lambda data: decode(compression.decompress(data, start, length))), data
        if len(data) - start != length:
            raise UnreadableValueError("the payload is not as long as announced", cause="format")
        return decode, data[start:]


def _check_length(header: Header) -> None:
    if header.flags & ZSTD and header.length > MAX_LENGTH:
        raise UnreadableValueError(f"the value has {header.length} bytes, more than are allowed", cause="length")


def _reader(header: Header, data: Bytes, start: int) -> compression.Reader:
    """Of the payload from `start` of `data` on."""
    if header.flags & ZSTD:
        return compression.ZstdReader(data, start, header.length)
    alignment = ALIGNMENT if header.flags & ALIGNED else 1
    return compression.Reader(data, start, header.length, alignment=alignment)


def _aligned(chunks: Sequence[Bytes], start: int) -> list[Bytes]:
    """Index, pickle and buffers, which begin at `start` of the envelope, with zeros before each buffer."""
    padded: list[Bytes] = list(chunks[:2])
    at = start + sum(map(len, padded))
    for buffer in chunks[2:]:
        padded += (bytes(-at % ALIGNMENT), buffer)
        at += -at % ALIGNMENT + len(buffer)
    return padded


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


def _encrypt(secret_key: bytes, about: bytes, chunks: Iterable[Bytes]) -> list[Bytes]:
    """Salt, nonce, ciphertext, tag; only who knows what they are `about` can decrypt them."""
    salt, nonce = os.urandom(_SALT_SIZE), os.urandom(_NONCE_SIZE)
    encryptor = _cipher(secret_key, salt, nonce).encryptor()
    encryptor.authenticate_additional_data(about)
    sealed: list[Bytes] = [salt, nonce]
    sealed += [encryptor.update(chunk) for chunk in chunks]
    sealed.append(encryptor.finalize())
    sealed.append(encryptor.tag)
    return sealed


def _decrypted(header: Header, view: Bytes, seal: Seal, key: str) -> tuple[memoryview, int]:
    """What a verified envelope holds, and where in that the payload begins."""
    start = header.size
    plain = _decrypt(seal.encryption_key, _about(key.encode(), view[:start]), memoryview(view)[start:])
    if header.flags & ALIGNED:  # it was not encrypted when it was written, and counts from its header
        return memoryview(bytes(start) + plain), start
    return plain, 0


def _decrypt(secret_key: bytes, about: bytes, payload: memoryview) -> memoryview:
    """What was encrypted; raises if it or what it is `about` was changed."""
    start = _SALT_SIZE + _NONCE_SIZE
    if len(payload) < start + _TAG_SIZE:
        raise UnreadableValueError("the encrypted payload is cut off", cause="format")
    salt, nonce = bytes(payload[:_SALT_SIZE]), bytes(payload[_SALT_SIZE:start])
    decryptor = _cipher(secret_key, salt, nonce, tag=bytes(payload[-_TAG_SIZE:])).decryptor()
    decryptor.authenticate_additional_data(about)
    plain = decryptor.update(payload[start:-_TAG_SIZE])
    decryptor.finalize()
    return memoryview(plain)


def _cipher(secret_key: bytes, salt: bytes, nonce: bytes, tag: bytes | None = None) -> Cipher[modes.GCM]:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    # A fresh key for each envelope: random nonces under a single key are only safe for some 2**32 writes.
    once = blake3(salt, key=secret_key).digest()
    return Cipher(algorithms.AES256(once), modes.GCM(nonce, tag))
