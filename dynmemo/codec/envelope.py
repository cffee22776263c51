"""The frame around a stored value: header, payload, and a sealed trailer (docs/reference/envelope.md)."""

from __future__ import annotations

import os
import struct
from hmac import compare_digest
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from dynmemo._process import Once
from dynmemo.errors import InvalidOptionError, UnreadableValueError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography.hazmat.primitives.ciphers import Cipher, modes

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


SHORTEST_GOOD_SECRET = 16
_SALT_SIZE = 16
_NONCE_SIZE = 12
_TAG_SIZE = 16

# One secret, three independent keys. These strings are part of the format.
_MAC_CONTEXT = "dynmemo envelope v1: MAC key"
_ENCRYPTION_CONTEXT = "dynmemo envelope v1: encryption key"
_KEY_ID_CONTEXT = "dynmemo envelope v1: key id"

_MODE = SIGNED | ENCRYPTED

_once = Once()


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
        hasher.update(_with_length(key))
        for chunk in body:
            hasher.update(chunk)
        return hasher.digest()


class Keyring:
    """The secrets of one cache. The first signs, all are accepted; without any the trailer is a plain digest."""

    __slots__ = ("_seals", "mode", "seal")

    def __init__(self, secrets: Sequence[bytes | str], encrypt: bool) -> None:
        given = _checked(secrets)
        if encrypt:
            _require_encryption(given)
        self._seals = [Seal(secret) for secret in given] or [Seal()]
        self.seal = self._seals[0]
        self.mode = (SIGNED if given else 0) | (ENCRYPTED if encrypt else 0)
        """The flags that every envelope must have: the configuration decides, never the bytes."""

    def check(self, header: Header, data: memoryview, key: bytes) -> Seal:
        """The seal under which `data` was written for `key`; nothing may be decoded before this."""
        if (header.flags & _MODE) != self.mode:
            raise self._wrong_mode(header)
        body, trailer = data[:-TRAILER_SIZE], data[-TRAILER_SIZE:]
        known = False
        for seal in self._seals:
            if seal.key_id == header.key_id:
                known = True
                if compare_digest(seal.trailer(key, body), trailer):
                    return seal
        if known:
            raise unreadable("digest", "the stored bytes are damaged, or were written under another key")
        raise unreadable("secret", "the value was signed with a secret that is not among those of this cache")

    def _wrong_mode(self, header: Header) -> UnreadableValueError:
        if header.signed != bool(self.mode & SIGNED):
            what = "signed and this cache has no secret" if header.signed else "not signed and this cache has a secret"
            return unreadable("secret", f"the stored value is {what}")
        what = "encrypted and encrypt= is off" if header.encrypted else "not encrypted and encrypt= is on"
        return unreadable("encryption", f"the stored value is {what}")


def encrypt(seal: Seal, key: bytes, header: bytes, chunks: Iterable[Bytes]) -> list[Bytes]:
    """AES-256-GCM with a key of its own for this one envelope: salt, nonce, ciphertext, tag."""
    salt, nonce = os.urandom(_SALT_SIZE), os.urandom(_NONCE_SIZE)
    encryptor = _cipher(seal, salt, nonce).encryptor()
    encryptor.authenticate_additional_data(_with_length(key) + header)
    sealed: list[Bytes] = [salt, nonce]
    sealed += [encryptor.update(chunk) for chunk in chunks]
    sealed.append(encryptor.finalize())
    sealed.append(encryptor.tag)
    return sealed


def decrypt(seal: Seal, key: bytes, header: Bytes, payload: memoryview) -> memoryview:
    """The compressed payload; raises if it, the key or the header was changed."""
    start = _SALT_SIZE + _NONCE_SIZE
    if len(payload) < start + _TAG_SIZE:
        raise unreadable("format", "the encrypted payload is cut off")
    salt, nonce = bytes(payload[:_SALT_SIZE]), bytes(payload[_SALT_SIZE:start])
    decryptor = _cipher(seal, salt, nonce, tag=bytes(payload[-_TAG_SIZE:])).decryptor()
    decryptor.authenticate_additional_data(_with_length(key) + bytes(header))
    plain = decryptor.update(payload[start:-_TAG_SIZE])
    decryptor.finalize()
    return memoryview(plain)


def _cipher(seal: Seal, salt: bytes, nonce: bytes, tag: bytes | None = None) -> Cipher[modes.GCM]:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    # A fresh key for each envelope: random nonces under a single key are only safe for some 2**32 writes.
    once = blake3(salt, key=seal.encryption_key).digest()
    return Cipher(algorithms.AES256(once), modes.GCM(nonce, tag))


def _derive(context: str, secret: bytes) -> bytes:
    return blake3(secret, derive_key_context=context).digest()


def _with_length(key: bytes) -> bytes:
    return len(key).to_bytes(8, "little") + key


def _require_encryption(secrets: Sequence[bytes]) -> None:
    if not secrets:
        raise InvalidOptionError("encrypt=True needs a secret: give secret= to the cache or set DYNMEMO_SECRET")
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise InvalidOptionError('encrypt=True needs the extra "crypto": pip install "dynmemo[crypto]"') from None


def _checked(secrets: Sequence[bytes | str]) -> list[bytes]:
    """The secrets as bytes, without the empty ones."""
    if isinstance(secrets, str | bytes):
        secrets = [secrets]
    for secret in secrets:
        if not isinstance(secret, str | bytes):
            raise InvalidOptionError(f"a secret is of type {type(secret).__name__}: allowed are str and bytes")
    given = [secret.encode() if isinstance(secret, str) else secret for secret in secrets if secret]
    if any(len(secret) < SHORTEST_GOOD_SECRET for secret in given):
        _once.warning(
            "short secret",
            "a secret is shorter than %d bytes and could be guessed; "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes a good one",
            SHORTEST_GOOD_SECRET,
        )
    return given
