"""Built-in values with parts."""

from __future__ import annotations

import functools
import re
import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from itertools import chain
from types import MappingProxyType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from dynmemo.keys.encoding import ELEMENTS, ENTRIES, FIELDS, ITEMS, InWalk, Named, double, node, seal, size, text
from dynmemo.keys.scalars import LEAVES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence, Set

    from dynmemo.keys.encoding import Handler, Node, Order
    from dynmemo.keys.walk import Walk

_MANY = 32
_DEEP = 6


def _flat(mapping: Any) -> list[object]:
    return list(chain.from_iterable(mapping.items()))


def _sequence(tag: bytes) -> Handler:
    def take_apart(value: Sequence[object], walk: Walk) -> bytes | Node:
        if len(value) > _MANY:
            kinds = set(map(type, value))
            if kinds <= PACKERS.keys():
                return packed(tag.upper(), value, kinds)
        return (None if walk.loose else _small(value)) or (tag + size(len(value)), value, ITEMS)

    return InWalk(take_apart)


def _dict(value: dict[object, object], walk: Walk) -> bytes | Node:
    # The short way knows only the order that there is.
    return (None if walk.loose else _small(value)) or (b"d" + size(len(value)), _flat(value), ENTRIES)


def _set(tag: bytes) -> Handler:
    def take_apart(value: Set[object]) -> bytes | Node:
        return _small(value) or (tag + size(len(value)), list(value), ELEMENTS)

    return take_apart


def _small(value: Any, depth: int = 0, room: list[int] | None = None) -> bytes | None:
    """The encoding of a container of plain values and such containers, when there are few of them; else None.

    The short way for most arguments. It is bounded, so what is shared or contains itself does no harm.
    """
    room = room or [_MANY]
    room[0] -= len(value)
    if room[0] < 0 or depth > _DEEP:
        return None
    tag, order = _SMALL[type(value)]
    parts = []
    for child in _flat(value) if tag == b"d" else value:
        kind = type(child)
        leaf = LEAVES.get(kind)
        data = leaf(child) if leaf is not None else _small(child, depth + 1, room) if kind in _SMALL else None
        if data is None:
            return None
        parts.append(data)
    return seal(tag + size(len(value)) + order.join(parts))


_SMALL: dict[type, tuple[bytes, Order]] = {
    list: (b"l", ITEMS),
    tuple: (b"t", ITEMS),
    dict: (b"d", ENTRIES),
    set: (b"z", ELEMENTS),
    frozenset: (b"Z", ELEMENTS),
}


def packed(tag: bytes, values: Sequence[object], kinds: set[type]) -> bytes:
    """Many plain values at once: which types they have, then the content type by type."""
    hasher = blake3(tag + size(len(values)))
    present = [kind for kind in PACKERS if kind in kinds]
    hasher.update(b"".join(_CODES[kind] for kind in present) + b".")
    if len(present) > 1:
        hasher.update(b"".join(map(_CODES.__getitem__, map(type, values))))
    for kind in present:
        for part in PACKERS[kind]([value for value in values if type(value) is kind] if len(present) > 1 else values):
            hasher.update(part)
    return b"#" + hasher.digest()


def numbers(code: str, values: Iterable[int | float]) -> bytes:
    """`values` as machine numbers, little-endian."""
    packed_values = array(code, values)
    if sys.byteorder == "big":
        packed_values.byteswap()
    return packed_values.tobytes()


def _pack_strings(values: Sequence[str]) -> Iterable[bytes]:
    joined = "".join(values)
    if joined.isascii():
        return numbers("q", map(len, values)), joined.encode()
    encoded = list(map(text, values))
    return numbers("q", map(len, encoded)), b"".join(encoded)


def _pack_bytes(values: Sequence[bytes]) -> Iterable[bytes]:
    return numbers("q", map(len, values)), b"".join(values)


def _pack_ints(values: Sequence[int]) -> Iterable[bytes]:
    try:
        return b"q", numbers("q", values)
    except OverflowError:
        return b"x", b"".join([b"%x," % value for value in values])


def _pack_floats(values: Sequence[float]) -> Iterable[bytes]:
    # One NaN (or two infinities) makes the sum NaN; only then it is worth looking at each.
    total = sum(values)
    return (numbers("d", values) if total == total else b"".join(map(double, values)),)


PACKERS: Final[dict[type, Callable[[Any], Iterable[bytes]]]] = {
    type(None): lambda _: (),
    bool: lambda values: (bytes(values),),
    int: _pack_ints,
    float: _pack_floats,
    str: _pack_strings,
    bytes: _pack_bytes,
}
_CODES = {kind: bytes([97 + i]) for i, kind in enumerate(PACKERS)}


def _partial(value: functools.partial[Any]) -> Node:
    extra = value.__dict__ or None
    return node(b"partial", (value.func, value.args, value.keywords, extra), Named(".func", ".args", ".keywords"))


def _pattern(value: re.Pattern[Any]) -> Node:
    return node(b"regex", (value.pattern, value.flags))


def _slice(value: slice) -> Node:
    return node(b"slice", (value.start, value.stop, value.step), Named(".start", ".stop", ".step"))


def _method(value: MethodType) -> Node:
    return node(b"method", (value.__func__, value.__self__), Named(".__func__", ".__self__"))


CONTAINERS: Final[dict[type, Handler]] = {
    list: _sequence(b"l"),
    tuple: _sequence(b"t"),
    dict: InWalk(_dict),
    set: _set(b"z"),
    frozenset: _set(b"Z"),
    OrderedDict: lambda value: node(b"OrderedDict", _flat(value), ENTRIES),
    defaultdict: lambda value: node(b"defaultdict", (value.default_factory, dict(value)), Named(".default_factory")),
    Counter: lambda value: node(b"Counter", _flat(value), ENTRIES),
    MappingProxyType: lambda value: node(b"mappingproxy", _flat(value), ENTRIES),
    SimpleNamespace: lambda value: node(b"namespace", _flat(vars(value)), FIELDS),
    deque: lambda value: node(b"deque", (list(value), value.maxlen)),
    type({}.keys()): lambda value: node(b"keys", list(value), ITEMS),
    type({}.values()): lambda value: node(b"values", list(value), ITEMS),
    type({}.items()): lambda value: node(b"items", list(value), ITEMS),
    functools.partial: _partial,
    re.Pattern: _pattern,
    slice: _slice,
    MethodType: _method,
    staticmethod: lambda value: node(b"staticmethod", (value.__func__,)),
    classmethod: lambda value: node(b"classmethod", (value.__func__,)),
    property: lambda value: node(b"property", (value.fget, value.fset, value.fdel)),
}
"""Exact types, each taken apart by one level."""
