"""Pickle, by value where another kernel could not import the class or function."""

from __future__ import annotations

import io
import pickle
import struct
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

from dynmemo.codec.by_value import Unpickler, pickler, spawned_main
from dynmemo.codec.envelope import BUFFERS, BY_VALUE, Encoded
from dynmemo.codec.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dynmemo.codec.by_value import Own
    from dynmemo.codec.compression import Reader
    from dynmemo.codec.envelope import Bytes

PROTOCOL = 5
OUT_OF_BAND = 16 * 1024
"""Buffers of arrays from this size on are stored beside the pickle stream, which saves copying them twice."""

_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")


storing: ContextVar[bool] = ContextVar("dynmemo_storing", default=False)
"""Whether this thread pickles for the store: a secret must not get into what it writes."""


def dump(value: object, own: Own) -> Encoded:
    """The plain pickler, and cloudpickle for what only this process could import."""
    token = storing.set(True)
    try:
        return _dump(value, own)
    finally:
        storing.reset(token)


def _dump(value: object, own: Own) -> Encoded:
    buffers: list[memoryview] = []
    try:
        stream = pickle.dumps(value, PROTOCOL, buffer_callback=_keep_large(buffers))
    except Exception:  # noqa: BLE001 - local classes, lambdas and more: cloudpickle can, or knows what is in the way
        return _dump_by_value(value, own)
    if _only_importable_here(stream):
        return _dump_by_value(value, own)
    return _encoded(stream, buffers)


def load(payload: Bytes, own: Own, *, code: bool = False, buffers: Iterable[bytearray] = ()) -> object:
    """The value of a stream; `code` says that classes and functions may have been pickled by value."""
    if code or own.is_named_in(payload):
        return Unpickler(io.BytesIO(payload), own, buffers).load()
    return pickle.loads(payload, buffers=buffers)


def load_with_buffers(reader: Reader, own: Own, *, code: bool) -> object:
    """Count of buffers, length of the stream, lengths of the buffers, then all of them. The value owns the buffers."""
    (count,) = _COUNT.unpack(reader.take(_COUNT.size))
    lengths = [_LENGTH.unpack(reader.take(_LENGTH.size))[0] for _ in range(count + 1)]
    stream, *buffers = [reader.take(length) for length in lengths]
    reader.finish()
    return load(stream, own, code=code, buffers=buffers)


def _dump_by_value(value: object, own: Own) -> Encoded:
    buffers: list[memoryview] = []
    out = io.BytesIO()
    writer = pickler()(out, PROTOCOL, buffer_callback=_keep_large(buffers))
    writer.own = own
    try:
        with spawned_main.by_value():
            writer.dump(value)
    except Exception as error:  # noqa: BLE001 - objects may raise anything while they are pickled
        raise refuse(value, writer.last, error) from None
    return _encoded(out.getvalue(), buffers)


def _encoded(stream: bytes, buffers: list[memoryview]) -> Encoded:
    # What was pickled by value names cloudpickle's functions, be it nested in bytes that an object made itself.
    # A text that merely mentions the word is taken for code as well: it is then computed anew on another Python.
    flags = BY_VALUE if b"cloudpickle" in stream else 0
    if not buffers:
        return Encoded([stream], flags)
    index = [_COUNT.pack(len(buffers)), _LENGTH.pack(len(stream)), *(_LENGTH.pack(len(b)) for b in buffers)]
    return Encoded([b"".join(index), stream, *buffers], flags | BUFFERS)


def _only_importable_here(stream: bytes) -> bool:
    """Whether the stream may refer to the running script or notebook, or to a module registered to go by value."""
    if b"_main__" in stream:  # __main__ and, in spawned workers, __mp_main__
        return True
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is not None and any(
        name.encode() in stream for name in cloudpickle.list_registry_pickle_by_value()
    )


def _keep_large(buffers: list[memoryview]) -> Callable[[pickle.PickleBuffer], bool]:
    def in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if len(raw) < OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    return in_band
