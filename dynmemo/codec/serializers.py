"""The forms a value can be stored in: pickle, JSON, bytes, Arrow, or the user's own."""

from __future__ import annotations

import json
import math
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from dynmemo.codec import pickling
from dynmemo.codec.envelope import Encoded
from dynmemo.codec.refusal import CannotSerialize, type_name, where
from dynmemo.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.codec.by_value import Own
    from dynmemo.codec.envelope import Bytes

_LONGEST_NAME = 64
_BUILT_IN = ("pickle", "json", "arrow", "bytes")
_ALLOWED = ", ".join(f'"{name}"' for name in _BUILT_IN)
_JSON_ATOMS = (str, int, bool, type(None))


class Serializer(Protocol):
    """What `serializer=` takes beside the built-in names."""

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
        self.decode: Callable[[Bytes], object] = partial(pickling.load, own=own) if own.importable else pickle.loads

    def encode(self, value: object) -> Encoded:
        return pickling.dump(value, self._own)


class _Bytes:
    name = "bytes"
    cause = "decode"

    def encode(self, value: object) -> Encoded:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise CannotSerialize(
                f'the result is of type {type_name(value)}; serializer="bytes" stores bytes, bytearray and memoryview. '
                "Return bytes, or choose another serializer"
            )
        return Encoded([bytes(value) if isinstance(value, memoryview) else value])

    def decode(self, payload: Bytes) -> object:
        return bytes(payload)


class _Json:
    """JSON that comes back as it went in: what JSON would turn into something else is refused."""

    name = "json"
    cause = "decode"

    def encode(self, value: object) -> Encoded:
        try:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            data = text.encode()
        except RecursionError:
            raise CannotSerialize("the result is nested too deeply for JSON. Return a flatter structure") from None
        except (TypeError, ValueError):  # a type, a cycle, NaN, a surrogate, an int of thousands of digits
            raise _not_json(value) from None
        if _foreign_to_json(value):
            raise _not_json(value)
        return Encoded([data])

    def decode(self, payload: Bytes) -> object:
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
        return Encoded([bytes(data)])

    def decode(self, payload: Bytes) -> object:
        return self._serializer.loads(bytes(payload))


def choose(serializer: str | Serializer, own: Own) -> Format:
    """The format for the option `serializer=`; `InvalidOptionError` for anything that is none."""
    if isinstance(serializer, str):
        return _built_in(serializer, own)
    if isinstance(serializer, type) or not _has_the_methods(serializer):
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


def _has_the_methods(serializer: object) -> bool:
    methods = (getattr(serializer, "dumps", None), getattr(serializer, "loads", None))
    return hasattr(serializer, "name") and all(map(callable, methods))


def _built_in(name: str, own: Own) -> Format:
    if name == "arrow":
        from dynmemo.codec.arrow import Arrow

        return Arrow()
    found: dict[str, Format] = {"pickle": _Pickle(own), "json": _Json(), "bytes": _Bytes()}
    if name not in found:
        raise InvalidOptionError(
            f"serializer={name!r}: allowed are {_ALLOWED}, or an object with name, dumps and loads"
        )
    return found[name]


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
