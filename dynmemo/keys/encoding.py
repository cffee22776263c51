"""What readers of values work with: bytes, the order of parts, and refusals.

Every encoding starts with a tag and says its own length. So no two values share an encoding, and no encoding is the
beginning of another: encodings can be joined without separators. A large one is replaced by its BLAKE3 hash. Lengths
are one byte below 255, else ``ff`` and eight bytes, little-endian like every number here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

from blake3 import blake3

from dynmemo.keys.own import type_name

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


class Order:
    """Parts one after the other, called ``[0]``, ``[1]``..."""

    def join(self, parts: list[bytes]) -> bytes:
        return b"".join(parts)

    def step(self, children: Sequence[object], index: int) -> str:
        return f"[{index}]"

    def values(self, count: int) -> range:
        """Which of so many parts are values under a name or key."""
        return range(0)

    def left(self, top: Any, walk: Any) -> None:
        """The parts of a value are known."""


class Elements(Order):
    """Parts in no order."""

    def join(self, parts: list[bytes]) -> bytes:
        return b"".join(sorted(parts))

    def step(self, children: Sequence[object], index: int) -> str:
        return "[element]"


class Entries(Order):
    """Keys and values in turn."""

    def values(self, count: int) -> range:
        return range(1, count, 2)

    def step(self, children: Sequence[object], index: int) -> str:
        entry, is_value = divmod(index, 2)
        if not is_value:
            return f".keys()[{entry}]"
        key = children[index - 1]
        if type(key) is int:
            return f"[{key}]"
        # Keys are content as well; only what looks like a field's name is repeated in a message.
        return f'["{key}"]' if type(key) is str and key.isidentifier() and len(key) <= 40 else f"[key {entry}]"


class Fields(Order):
    """Attribute names and values in turn, in no order, after a fixed number of other parts."""

    def __init__(self, first: int = 0) -> None:
        self.first = first

    def join(self, parts: list[bytes]) -> bytes:
        names, values = parts[self.first :: 2], parts[self.first + 1 :: 2]
        return b"".join(chain(parts[: self.first], *sorted(zip(names, values, strict=True))))

    def values(self, count: int) -> range:
        return range(self.first + 1, count, 2)

    def step(self, children: Sequence[object], index: int) -> str:
        return f".{children[index - 1]}" if index > self.first else ""


class Named(Order):
    """A fixed list of parts, called by the attributes or items that they are (empty: as the whole)."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def step(self, children: Sequence[object], index: int) -> str:
        return self.names[index] if index < len(self.names) else ""


class Columns(Named):
    """The same, and then a column for each of some labels."""

    def __init__(self, *names: str, labels: Any) -> None:
        super().__init__(*names)
        self.labels = labels

    def step(self, children: Sequence[object], index: int) -> str:
        place = index - len(self.names)
        if place < 0:
            return self.names[index]
        label = self.labels[place]
        # Labels are content as well; only what looks like a field's name is repeated in a message.
        return f'["{label}"]' if isinstance(label, str) and label.isidentifier() else f"[column {place}]"


ITEMS = Order()
ELEMENTS = Elements()
ENTRIES = Entries()
FIELDS = Fields()
WHOLE = Named()

Node = tuple[bytes, Sequence[object], Order]
"""Tag and whatever else has no parts; the parts; their order."""


class InWalk:
    """A reader that needs the walk as well."""

    __slots__ = ("read",)

    def __init__(self, read: Callable[[Any, Any], bytes | Node]) -> None:
        self.read = read


Handler = Callable[[Any], bytes | Node] | InWalk
"""Takes a value apart: one level of it, never more."""


def node(kind: bytes, children: Sequence[object], order: Order = WHOLE) -> Node:
    """A value of the `kind` that is made of `children`."""
    return b"(" + sized(kind) + size(len(children)), children, order


def typed(kind: bytes, detail: str, children: Sequence[object], order: Order = WHOLE) -> Node:
    """The same for a kind that comes in several types, told apart by `detail`."""
    return b"<" + sized(kind) + sized(text(detail)) + size(len(children)), children, order


# -- values without a content of their own, and what to say about them ---------------------------------------

ADVICE: Final = "ame the parameter in ignore=, or register a digest."


class NoStableContent(Exception):  # noqa: N818 - the room above turns it into the error that users see
    """A value, or something inside it, has no content that could stand for it.

    Attributes:
        path: where it is, for example ``jobs[2].source``.
        type_name: the qualified name of its type.
        reason: what it is: ``a generator, which has no stable content``.
        advice: what to do, as a sentence.
    """

    def __init__(self, path: str, type_name: str, reason: str, advice: str) -> None:
        super().__init__(f"`{path}` is {reason}. {advice}")
        self.path = path
        self.type_name = type_name
        self.reason = reason
        self.advice = advice

    def __reduce__(self) -> tuple[object, ...]:
        return NoStableContent, (self.path, self.type_name, self.reason, self.advice)


class Refusal(Exception):  # noqa: N818 - never leaves this package
    """What `NoStableContent` says, from a place that does not know the path."""

    def __init__(self, cls: type, reason: str, hint: str = "", advice: str = "") -> None:
        super().__init__(reason)
        self.type_name = type_name(cls)
        self.reason = reason
        self.hint = hint
        self.advice = advice

    def at(self, path: str) -> NoStableContent:
        """The same with its path."""
        advice = self.advice or (f"{self.hint}, n{ADVICE}" if self.hint else f"N{ADVICE}")
        return NoStableContent(path, self.type_name, self.reason, advice)

    def __reduce__(self) -> tuple[object, ...]:
        # Dask sends the context of an exception along.
        return self.at("value").__reduce__()
