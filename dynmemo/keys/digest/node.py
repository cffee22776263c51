"""What a value with parts is made of, and how its parts are called in an error message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from dynmemo.keys.digest.encoding import size, sized, text


class Order:
    """Parts one after the other, called ``[0]``, ``[1]``..."""

    check = False  # whether the value is digested by a state of its own making, which may not be stable

    def join(self, parts: list[bytes]) -> bytes:
        return b"".join(parts)

    def step(self, children: Sequence[object], index: int) -> str:
        return f"[{index}]"


class Elements(Order):
    """Parts in no order."""

    def join(self, parts: list[bytes]) -> bytes:
        return b"".join(sorted(parts))

    def step(self, children: Sequence[object], index: int) -> str:
        return "[element]"


class Entries(Order):
    """Keys and values in turn, the pairs in no order."""

    def join(self, parts: list[bytes]) -> bytes:
        return b"".join(chain.from_iterable(sorted(zip(parts[::2], parts[1::2], strict=True))))

    def step(self, children: Sequence[object], index: int) -> str:
        entry, is_value = divmod(index, 2)
        if not is_value:
            return f".keys()[{entry}]"
        key = children[index - 1]
        if type(key) is int:
            return f"[{key}]"
        # Keys are content as well; only what looks like a field's name is repeated in a message.
        return f'["{key}"]' if type(key) is str and key.isidentifier() and len(key) <= 40 else f"[key {entry}]"


class OrderedEntries(Entries):
    """Keys and values in turn, where the order of the pairs counts."""

    def join(self, parts: list[bytes]) -> bytes:
        return b"".join(parts)


class Fields(Order):
    """Attribute names and values in turn, in no order, after a fixed number of other parts."""

    def __init__(self, first: int = 0, *, check: bool = False) -> None:
        self.first = first
        self.check = check

    def join(self, parts: list[bytes]) -> bytes:
        names, values = parts[self.first :: 2], parts[self.first + 1 :: 2]
        return b"".join(chain(parts[: self.first], *sorted(zip(names, values, strict=True))))

    def step(self, children: Sequence[object], index: int) -> str:
        return f".{children[index - 1]}" if index > self.first else ""


class Named(Order):
    """A fixed list of parts, called by the attributes or items that they are (empty: as the whole)."""

    def __init__(self, *names: str, check: bool = False) -> None:
        self.names = names
        self.check = check

    def step(self, children: Sequence[object], index: int) -> str:
        return self.names[index] if index < len(self.names) else ""


ITEMS = Order()
ELEMENTS = Elements()
ENTRIES = Entries()
ORDERED_ENTRIES = OrderedEntries()
FIELDS = Fields()
WHOLE = Named()

Node = tuple[bytes, Sequence[object], Order]
"""Tag and whatever else has no parts; the parts; their order."""

Handler = Callable[[Any], bytes | Node]
"""Takes a value apart: one level of it, never more."""


def node(kind: bytes, children: Sequence[object], order: Order = WHOLE) -> Node:
    """A value of the `kind` that is made of `children`."""
    return b"(" + sized(kind) + size(len(children)), children, order


def typed(kind: bytes, detail: str, children: Sequence[object], order: Order = WHOLE) -> Node:
    """The same for a kind that comes in several types, told apart by `detail`."""
    return b"<" + sized(kind) + sized(text(detail)) + size(len(children)), children, order
