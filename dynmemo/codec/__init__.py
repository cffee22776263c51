"""Results to stored bytes (serialize, compress, encrypt, sign) and back (check first, then the reverse)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from dynmemo.codec import compression, envelope, serializers
from dynmemo.codec.by_value import Own
from dynmemo.codec.envelope import Header
from dynmemo.codec.refusal import CannotSerialize
from dynmemo.codec.serializers import Serializer, choose
from dynmemo.errors import UnreadableValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dynmemo.codec.envelope import Bytes

__all__ = ["MAX_LENGTH", "CannotSerialize", "Codec", "Decoded", "Header", "Own", "Serializer"]

MAX_LENGTH = 2_000_000_000
"""Bytes of the largest payload before compression: what lies beyond is neither written nor decompressed."""

_THIS_PYTHON = (sys.version_info.major, sys.version_info.minor)


class Decoded(NamedTuple):
    """A stored value, and what its envelope tells of it."""

    value: object
    computed_at: float
    """Unix seconds."""
    seconds: float
    """How long computing it took."""
    deadline: int | None
    """Unix seconds past which it is a miss, whatever the row says."""


class Codec:
    """One per decorated function and cache: turns results into stored bytes and back.

    Args:
        serializer: ``"pickle"``, ``"json"``, ``"arrow"``, ``"bytes"``, or an object with `name`, `dumps` and `loads`.
        secrets: the first signs what is written, all are accepted; none, or empty ones only: a plain digest.
        encrypt: encrypt as well (AES-256-GCM); needs a secret and the extra ``crypto``.
        max_length: bytes of the largest payload before compression.
        own: the classes and functions that this program defines, for values that hold some.

    Raises:
        InvalidOptionError: for an option that is not allowed, or an extra that is not installed.
    """

    __slots__ = ("_format", "_keyring", "_max_length", "_own")

    def __init__(
        self,
        serializer: str | Serializer = "pickle",
        *,
        secrets: Sequence[bytes | str] = (),
        encrypt: bool = False,
        max_length: int = MAX_LENGTH,
        own: Own | None = None,
    ) -> None:
        self._own = own or Own()
        self._format = choose(serializer, self._own)
        self._keyring = envelope.Keyring(secrets, encrypt)
        self._max_length = max_length

    def dumps(self, value: object, *, key: str, computed_at: float, seconds: float, deadline: int | None) -> bytes:
        """The envelope of a result, to be stored under the partition key `key` and nowhere else.

        Raises `CannotSerialize` for a result that has no stored form.
        """
        try:
            return self._sealed(value, key.encode(), computed_at, seconds, deadline)
        except MemoryError:
            raise CannotSerialize("there is not enough memory to serialize the result") from None

    def _sealed(self, value: object, key: bytes, computed_at: float, seconds: float, deadline: int | None) -> bytes:
        chunks, flags = self._format.encode(value)
        length = sum(map(len, chunks))
        if length > self._max_length:
            raise CannotSerialize(f"the result takes {length} bytes, more than the {self._max_length} allowed")
        smaller = compression.compress(chunks, length)
        if smaller is not None:
            chunks, flags = smaller, flags | envelope.ZSTD
        python = _THIS_PYTHON if flags & envelope.BY_VALUE else envelope.NO_PYTHON
        flags |= self._keyring.mode
        seal = self._keyring.seal
        header = envelope.write_header(
            Header(flags, python, seal.key_id, computed_at, seconds, deadline, length, self._format.name)
        )
        if flags & envelope.ENCRYPTED:
            chunks = envelope.encrypt(seal, key, header, chunks)
        body = [header, *chunks]
        return b"".join([*body, seal.trailer(key, *body)])

    def loads(self, data: Bytes, *, key: str, now: float) -> Decoded:
        """The result in an envelope that was read under `key` at `now` (Unix seconds).

        Raises `UnreadableValueError`, whatever is wrong with it; its `cause` is one word out of
        ``format``, ``digest``, ``secret``, ``encryption``, ``expired``, ``serializer``, ``python``, ``length``,
        ``pickle`` (``decode`` for other serializers) and ``memory``.
        """
        try:
            header = envelope.read_header(data)
            view = memoryview(data)
            seal = self._keyring.check(header, view, key.encode())
            self._check(header, now)
            payload = view[header.size : -envelope.TRAILER_SIZE]
            if header.flags & envelope.ENCRYPTED:
                payload = envelope.decrypt(seal, key.encode(), view[: header.size], payload)
            value = self._decode(header, payload)
        except (UnreadableValueError, KeyboardInterrupt):
            raise
        except BaseException as error:  # unpickling runs foreign code: panics and exits are failures too
            raise self._undecodable(error) from error
        return Decoded(value, header.computed_at, header.seconds, header.deadline)

    @staticmethod
    def header(data: Bytes) -> Header:
        """What an envelope says of its value, unverified and without decoding it; may raise `UnreadableValueError`."""
        return envelope.read_header(data)

    def _check(self, header: Header, now: float) -> None:
        """Refuse what is intact but not to be decoded here and now."""
        if header.deadline is not None and now > header.deadline:
            raise envelope.unreadable("expired", "the value's deadline has passed")
        if header.serializer != self._format.name:
            raise envelope.unreadable(
                "serializer", f"the value was stored with serializer {header.serializer!r}, not {self._format.name!r}"
            )
        if header.flags & envelope.BY_VALUE and header.python != _THIS_PYTHON:
            was = ".".join(map(str, header.python))
            raise envelope.unreadable("python", f"the value contains code that only Python {was} can load")
        if header.length > self._max_length:
            raise envelope.unreadable("length", f"the value has {header.length} bytes, more than are allowed")

    def _decode(self, header: Header, payload: memoryview) -> object:
        is_pickle, code = self._format.name == "pickle", bool(header.flags & envelope.BY_VALUE)
        if header.flags & envelope.BUFFERS:
            if not is_pickle:  # else bytes for a harmless serializer would be unpickled
                raise envelope.unreadable("format", "only pickled values have buffers")
            kind = compression.ZstdReader if header.flags & envelope.ZSTD else compression.PlainReader
            return serializers.load_with_buffers(kind(payload, header.length), self._own, code=code)
        whole: envelope.Bytes = payload
        if header.flags & envelope.ZSTD:
            whole = compression.decompress(payload, header.length)
        elif len(payload) != header.length:
            raise envelope.unreadable("format", "the payload is not as long as announced")
        return (
            serializers.load_pickle(whole, self._own, code=True) if code and is_pickle else self._format.decode(whole)
        )

    def _undecodable(self, error: BaseException) -> UnreadableValueError:
        if isinstance(error, MemoryError):
            return envelope.unreadable("memory", "there is not enough memory to decode the value")
        return envelope.unreadable(self._format.cause, f"the value cannot be decoded here: {_why(error)}")


def _why(error: BaseException) -> str:
    """What is missing, where the exception names a module or class; its text may hold content otherwise."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"there is no module {error.name!r}"
    text = str(error)
    if isinstance(error, AttributeError) and text.startswith("Can't get attribute"):
        return text.split(" on <", 1)[0]
    return type(error).__name__
