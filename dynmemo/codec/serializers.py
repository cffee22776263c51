"""The forms in which a value is stored: pickle, JSON, bytes, the user's own; Arrow has a file to itself."""

from __future__ import annotations

import io
import math
import pickle
import struct
import sys
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from dynmemo.codec.by_value import Unpickler, pickler, spawned_main
from dynmemo.codec.refusal import CannotSerialize, refuse, type_name, where
from dynmemo.errors import InvalidOptionError
from dynmemo.item import Bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dynmemo.codec.by_value import Own
    from dynmemo.codec.compression import Reader

Encoded = tuple[list[Bytes], int]
"""What a serializer made of a value: the payload in pieces, and the flags that say how to read it."""

BUFFERS = 0x08
BY_VALUE = 0x10
"""Flags of the envelope that a serializer sets."""

_LONGEST_NAME = 64
_BUILT_IN = ("pickle", "json", "arrow", "bytes")
_ALLOWED = ", ".join(f'"{name}"' for name in _BUILT_IN)
_JSON_ATOMS = (str, int, bool, type(None))


class Serializer(Protocol):
    """What `serializer=` takes beside the built-in names.

    Example:
        >>> class Text:
        ...     name = "text"
        ...     def dumps(self, value: str) -> bytes:
        ...         return value.encode()
        ...     def loads(self, data: bytes) -> str:
        ...         return data.decode()
        >>> @dynamo_cached(serializer=Text())
        ... def title(city: str) -> str:
        ...     return city.title()
        >>> title("seattle"), title("seattle")
        ('Seattle', 'Seattle')
    """

    name: str
    """1 to 64 printable ASCII characters, stored with every value: entries of another name are not read."""

    def dumps(self, value: object, /) -> bytes:
        """The value as bytes, the same in every later release of the program."""

    def loads(self, data: bytes, /) -> object:
        """The value again, equal to the one given to `dumps`."""


class Format(Protocol):
    """A serializer as the codec sees it: bytes in pieces on the way out, a view of them on the way in."""

    @property
    def name(self) -> str: ...

    @property
    def cause(self) -> str:
        """What to call a value that was stored intact and cannot be decoded."""

    def encode(self, value: object) -> Encoded:
        """The payload; raises `CannotSerialize`."""

    def decode(self, payload: Bytes) -> object:
        """The value; may raise anything."""


class _Pickle:
    name = "pickle"
    cause = "pickle"

    def __init__(self, own: Own) -> None:
        self._own = own
        self.decode: Callable[[Bytes], object] = partial(load_pickle, own=own) if own.importable else pickle.loads

    def encode(self, value: object) -> Encoded:
        return dump_pickle(value, self._own)


class _Bytes:
    name = "bytes"
    cause = "decode"

    def encode(self, value: object) -> Encoded:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise CannotSerialize(
                f'the result is of type {type_name(value)}; serializer="bytes" stores bytes, bytearray and memoryview. '
                "Return bytes, or choose another serializer"
            )
        return [bytes(value) if isinstance(value, memoryview) else value], 0

    def decode(self, payload: Bytes) -> object:
        return bytes(payload)


class _Json:
    """JSON that comes back as it went in: what JSON would turn into something else is refused."""

    name = "json"
    cause = "decode"

    def encode(self, value: object) -> Encoded:
        import json

        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            data = text.encode()
        except RecursionError:
            raise CannotSerialize("the result is nested too deeply for JSON. Return a flatter structure") from None
        except (TypeError, ValueError):  # a type, a cycle, NaN, a surrogate, an int of thousands of digits
            raise _not_json(value) from None
        if _foreign_to_json(value):
            raise _not_json(value)
        return [data], 0

    def decode(self, payload: Bytes) -> object:
        import json

        return json.loads(bytes(payload))


class _Own:
    """The user's serializer behind the same face as the built-in ones."""

    cause = "decode"

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self.name = serializer.name

    def encode(self, value: object) -> Encoded:
        try:
            data = self._serializer.dumps(value)
        except Exception as error:
            raise CannotSerialize(
                f"serializer {self.name!r} could not serialize the result ({type_name(value)}): {type(error).__name__}"
            ) from error
        if not isinstance(data, bytes | bytearray | memoryview):
            raise CannotSerialize(f"dumps of serializer {self.name!r} returned {type_name(data)}. It must return bytes")
        return [bytes(data)], 0

    def decode(self, payload: Bytes) -> object:
        return self._serializer.loads(bytes(payload))


def choose(serializer: str | Serializer, own: Own) -> Format:
    """The format for the option `serializer=`; `InvalidOptionError` for anything that is none."""
    if serializer == "arrow":
        from dynmemo.codec.arrow import Arrow

        return Arrow()
    if isinstance(serializer, str):
        found: dict[str, Format] = {"pickle": _Pickle(own), "json": _Json(), "bytes": _Bytes()}
        if serializer in found:
            return found[serializer]
        raise InvalidOptionError(
            f"serializer={serializer!r}: allowed are {_ALLOWED}, or an object with name, dumps and loads"
        )
    methods = (getattr(serializer, "dumps", None), getattr(serializer, "loads", None))
    if isinstance(serializer, type) or not hasattr(serializer, "name") or not all(map(callable, methods)):
        raise InvalidOptionError(
            f"serializer= is of type {type_name(serializer)}: allowed are {_ALLOWED}, "
            "or an object with name, dumps and loads"
        )
    name: object = serializer.name
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME or not (name.isascii() and name.isprintable()):
        raise InvalidOptionError(
            f"the serializer's name is {name!r}: allowed are 1 to {_LONGEST_NAME} printable ASCII characters"
        )
    if name in _BUILT_IN:
        raise InvalidOptionError(f"the serializer's name {name!r} is that of a built-in one: choose another name")
    return _Own(serializer)


def _foreign_to_json(value: object) -> list[object]:
    """The first part found that JSON would change or refuse, in a list; empty if there is none."""
    pending = [value]
    seen = set()
    while pending:
        part: Any = pending.pop()
        kind = type(part)
        if kind is float:
            if not math.isfinite(part):
                return [part]
        elif kind is dict or kind is list:
            if id(part) in seen:
                continue
            seen.add(id(part))
            if kind is dict and any(type(key) is not str for key in part):
                return [part]
            pending.extend(part.values() if kind is dict else part)
        elif kind not in _JSON_ATOMS:
            return [part]
    return []


def _not_json(value: object) -> CannotSerialize:
    advice = (
        "JSON keeps only None, bool, int, finite float, str, list, and dict with str keys. Convert it, or use pickle"
    )
    for part in _foreign_to_json(value):
        what = "a dict with keys that are not str" if type(part) is dict else f"of type {type_name(part)}"
        what = "NaN or infinite" if type(part) is float else what
        return CannotSerialize(f"{where(value, part)} is {what}. {advice}")
    return CannotSerialize(
        f"the result has a cycle, an unpaired surrogate or an int of thousands of digits in it. {advice}"
    )


PROTOCOL = 5
OUT_OF_BAND = 16 * 1024
"""Buffers of arrays from this size on are stored beside the pickle stream, which saves copying them twice."""

_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")


storing: ContextVar[bool] = ContextVar("dynmemo_storing", default=False)
"""Whether this thread pickles for the store: a secret must not get into what it writes."""


def dump_pickle(value: object, own: Own) -> Encoded:
    """The plain pickler, and cloudpickle for what only this process could import."""
    buffers: list[memoryview] = []
    token = storing.set(True)
    try:
        try:
            stream = pickle.dumps(value, PROTOCOL, buffer_callback=_keep_large(buffers))
        except Exception:  # noqa: BLE001 - local classes, lambdas and more: cloudpickle can, or knows what is in the way
            return _dump_by_value(value, own)
        return _dump_by_value(value, own) if _only_importable_here(stream) else _encoded(stream, buffers)
    finally:
        storing.reset(token)


def load_pickle(payload: Bytes, own: Own, *, code: bool = False, buffers: Iterable[Bytes] = ()) -> object:
    """The value of a stream; `code` says that classes and functions may have been pickled by value."""
    if code or own.is_named_in(payload):
        return Unpickler(io.BytesIO(payload), own, buffers).load()
    return pickle.loads(payload, buffers=buffers)


def loader_with_buffers(reader: Reader, own: Own, *, code: bool, copies: bool = False) -> Callable[[], object]:
    """What makes the value of a payload with buffers, which lives in these or, each time, in `copies` of them."""
    _, stream, *buffers = read_with_buffers(reader)
    if copies:
        return lambda: load_pickle(stream, own, code=code, buffers=map(bytearray, buffers))
    return partial(load_pickle, stream, own, code=code, buffers=buffers)


def read_with_buffers(reader: Reader) -> list[Bytes]:
    """The chunks of a payload with buffers.

    Count of buffers, length of the stream, lengths of the buffers, then all of them.
    """
    count = reader.take(_COUNT.size)
    lengths = [reader.take(_LENGTH.size) for _ in range(_COUNT.unpack(count)[0] + 1)]
    stream, *buffers = (_LENGTH.unpack(length)[0] for length in lengths)
    chunks = [b"".join([count, *lengths]), reader.take(stream), *map(reader.take_buffer, buffers)]
    reader.finish()
    return chunks


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
        return [stream], flags
    index = [_COUNT.pack(len(buffers)), _LENGTH.pack(len(stream)), *(_LENGTH.pack(len(b)) for b in buffers)]
    return [b"".join(index), stream, *buffers], flags | BUFFERS


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
