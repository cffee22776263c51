"""Values of the language and of its plain containers."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import re
import struct
import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from itertools import chain
from types import EllipsisType, MappingProxyType, MethodType, NotImplementedType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from dynmemo._process import Once
from dynmemo.keys.encoding import (
    ELEMENTS,
    ENTRIES,
    FIELDS,
    ITEMS,
    InWalk,
    Named,
    Refusal,
    double,
    large,
    node,
    seal,
    size,
    tagged,
    text,
)
from dynmemo.keys.own import is_found, type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from zoneinfo import ZoneInfo

    from dynmemo.keys.encoding import Handler, Node, Order
    from dynmemo.keys.walk import Walk

# -- values without parts ------------------------------------------------------------------------------------

_INT = struct.Struct("<cq").pack
_FLOAT = struct.Struct("<cd").pack
_MOMENT = struct.Struct("<HBBBBBIB").pack
_SPAN = struct.Struct("<iII").pack

_STRINGS = tuple(b"s" + size(n) for n in range(255))
_BYTES = tuple(b"b" + size(n) for n in range(255))
_NAN = b"f" + double(float("nan"))


def _int(value: int) -> bytes:
    try:
        return _INT(b"i", value)
    except struct.error:
        return large(b"I", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True))


def _str(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        data = text(value)
    return _STRINGS[len(data)] + data if len(data) < 255 else large(b"s", data)


def _timedelta(value: dt.timedelta) -> bytes:
    return tagged(b"timedelta", _SPAN(value.days, value.seconds, value.microseconds))


LEAVES: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: _int,
    float: lambda value: _FLOAT(b"f", value) if value == value else _NAN,
    str: _str,
    bytes: lambda value: _BYTES[len(value)] + value if len(value) < 255 else large(b"b", value),
    complex: lambda value: b"c" + double(value.real) + double(value.imag),
    EllipsisType: lambda _: b"E",
    NotImplementedType: lambda _: b"n",
    range: lambda value: tagged(b"range", b"%x,%x,%x" % (value.start, value.stop, value.step)),
    dt.date: lambda value: tagged(b"date", value.toordinal().to_bytes(4, "little")),
    dt.timedelta: _timedelta,
    dt.timezone: lambda value: tagged(b"timezone", _timedelta(value.utcoffset(None)) + text(value.tzname(None))),
}
"""Exact types whose values are encoded at once; those of `_LATER` are added when one is met."""

_LATER: Final[dict[str, Callable[[Any], bytes]]] = {
    "decimal.Decimal": lambda value: tagged(b"decimal", str(value).encode()),
    "fractions.Fraction": lambda value: tagged(b"fraction", b"%x/%x" % (value.numerator, value.denominator)),
    "uuid.UUID": lambda value: tagged(b"uuid", value.bytes),
}
"""Such types by name, whose modules take milliseconds to import and are there when a value of theirs is."""


def leaf_of(kind: type) -> Callable[[Any], bytes] | None:
    """How values of the exact type `kind` are encoded at once, from now on in `LEAVES`; None if they are not."""
    leaf = LEAVES.get(kind)
    if leaf is None:
        leaf = _LATER.get(type_name(kind))
        if leaf is None or not is_found(kind):
            return None
        LEAVES[kind] = leaf
    return leaf


def is_zone(kind: type) -> bool:
    """Whether `kind` is `ZoneInfo`, which is not imported here either."""
    return type_name(kind) == "zoneinfo.ZoneInfo" and is_found(kind)


def is_immutable(value: object) -> bool:
    """Whether `value` is built-in and immutable all the way down.

    True for None, booleans, numbers, text, bytes, ranges, dates and times (with a zone of the standard library
    or none), Decimal, Fraction, UUID, members of enums whose value is immutable, and tuples and
    frozensets of such. Subclasses and everything else are not: they can have attributes.
    """
    waiting = [value]
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if leaf_of(kind) or is_zone(kind):
            continue
        # The type decides: proxies say that they are what they stand for, or raise when asked.
        some: Any = value
        if kind in {tuple, frozenset}:
            waiting.extend(some)
        elif issubclass(kind, enum.Enum):
            waiting.append(some.value)
        elif kind in {dt.datetime, dt.time}:
            waiting.append(some.tzinfo)
        else:
            return False
    return True


# -- how large a value is ------------------------------------------------------------------------------------

LARGE: Final = 10_000_000
"""Bytes of mutable data beyond which a call spends more time on it than on everything else."""

_once = Once()


def report_cost(function: str, name: str, value: object) -> None:
    """Log one line per function and name if a global is mutable and so large that digesting it is felt."""
    try:
        bytes_ = 0 if is_immutable(value) else int(size_of(value))
    except Exception:  # noqa: BLE001 - a proxy may raise when it is asked anything
        return
    if bytes_ > LARGE:
        _once.warning(
            (function, name),
            "%s(): the global or closed-over `%s` is digested at every call, because it could have been changed; it "
            "has %.0f MB, at about 1 ms per MB. Pass it as an argument or let the function load it.",
            function,
            name,
            bytes_ / 1e6,
        )


def size_of(value: Any) -> int:
    """About how many bytes of content there are, without looking at every element of long containers."""
    found = getattr(value, "nbytes", None)
    if isinstance(found, int):
        return found
    if hasattr(type(value), "memory_usage"):  # a frame
        return int(value.memory_usage().sum())
    parts = list(value.values()) if isinstance(value, dict) else value
    step = max(len(parts) // 100, 1) if isinstance(parts, (list, tuple, set, frozenset)) else 0
    some = list(parts)[::step] if step else []
    return sys.getsizeof(value) + sum(getattr(one, "nbytes", None) or sys.getsizeof(one) for one in some) * step


# -- few values in containers, and many of one kind ----------------------------------------------------------

_MANY = 32
_DEEP = 6


def _flat(mapping: Any) -> list[object]:
    return list(chain.from_iterable(mapping.items()))


SMALL: Final[dict[type, tuple[bytes, Order]]] = {
    list: (b"l", ITEMS),
    tuple: (b"t", ITEMS),
    dict: (b"d", ENTRIES),
    set: (b"z", ELEMENTS),
    frozenset: (b"Z", ELEMENTS),
}
"""The containers that `small` knows."""


def small(value: Any, depth: int = 0, room: list[int] | None = None) -> bytes | None:
    """The encoding of a container of plain values and such containers, when there are few of them; else None.

    The short way for most arguments. It is bounded, so what is shared or contains itself does no harm.
    """
    room = room or [_MANY]
    room[0] -= len(value)
    if room[0] < 0 or depth > _DEEP:
        return None
    tag, order = SMALL[type(value)]
    parts = []
    for child in _flat(value) if tag == b"d" else value:
        kind = type(child)
        leaf = LEAVES.get(kind)
        data = leaf(child) if leaf is not None else small(child, depth + 1, room) if kind in SMALL else None
        if data is None:
            return None
        parts.append(data)
    return seal(tag + size(len(value)) + order.join(parts))


def _container(kind: type) -> Handler:
    tag, order = SMALL[kind]

    def read(value: Any, walk: Walk) -> bytes | Node:
        count = len(value)
        if count > _MANY and order is ITEMS:
            kinds = set(map(type, value))
            if kinds <= _PACKERS.keys():
                return _packed(tag.upper(), value, kinds)
        # The short way knows only the order that there is.
        found = small(value) if count <= _MANY and not walk.loose else None
        return found or (tag + size(count), _flat(value) if kind is dict else list(value), order)

    return InWalk(read)


def _packed(tag: bytes, values: Sequence[object], kinds: set[type]) -> bytes:
    """Many plain values at once: which types they have, then the content type by type."""
    hasher = blake3(tag + size(len(values)))
    present = [kind for kind in _PACKERS if kind in kinds]
    hasher.update(b"".join(_CODES[kind] for kind in present) + b".")
    if len(present) > 1:
        hasher.update(b"".join(map(_CODES.__getitem__, map(type, values))))
    for kind in present:
        for part in _PACKERS[kind]([value for value in values if type(value) is kind] if len(present) > 1 else values):
            hasher.update(part)
    return b"#" + hasher.digest()


def numbers(code: str, values: Iterable[int | float]) -> bytes:
    """`values` as machine numbers, little-endian."""
    packed = array(code, values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _pack_strings(values: Sequence[str]) -> Iterable[bytes]:
    joined = "".join(values)
    if joined.isascii():
        return numbers("q", map(len, values)), joined.encode()
    encoded = list(map(text, values))
    return numbers("q", map(len, encoded)), b"".join(encoded)


def _pack_ints(values: Sequence[int]) -> Iterable[bytes]:
    try:
        return b"q", numbers("q", values)
    except OverflowError:
        return b"x", b"".join([b"%x," % value for value in values])


def _pack_floats(values: Sequence[float]) -> Iterable[bytes]:
    # One NaN (or two infinities) makes the sum NaN; only then it is worth looking at each.
    total = sum(values)
    return (numbers("d", values) if total == total else b"".join(map(double, values)),)


_PACKERS: Final[dict[type, Callable[[Any], Iterable[bytes]]]] = {
    type(None): lambda _: (),
    bool: lambda values: (bytes(values),),
    int: _pack_ints,
    float: _pack_floats,
    str: _pack_strings,
    bytes: lambda values: (numbers("q", map(len, values)), b"".join(values)),
}
_CODES = {kind: bytes([97 + i]) for i, kind in enumerate(_PACKERS)}

# -- values with parts ---------------------------------------------------------------------------------------


def _moment(kind: bytes) -> Handler:
    def read(value: Any) -> bytes | Node:
        date = (value.year, value.month, value.day) if kind == b"datetime" else (0, 0, 0)
        packed = _MOMENT(*date, value.hour, value.minute, value.second, value.microsecond, value.fold)
        return tagged(kind, packed) if value.tzinfo is None else node(kind, (packed, value.tzinfo))

    return read


def zone(value: ZoneInfo) -> bytes:
    """A time zone of the standard library is its name."""
    if value.key is None:
        raise Refusal(type(value), "a time zone without a key, which has no stable content")
    return tagged(b"zone", text(value.key))


def _memoryview(value: memoryview) -> Node:
    try:
        content = value.tobytes()
    except (NotImplementedError, ValueError) as error:
        raise Refusal(memoryview, "a memory view that cannot be read") from error
    return node(b"memoryview", (value.format, value.shape, content))


def _array(value: array[Any]) -> Node:
    # The same letter has another width elsewhere, so kind and width stand for it.
    kind = {"f": "f", "d": "f", "u": "u", "w": "u"}.get(value.typecode) or ("i" if value.typecode.islower() else "n")
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    return node(b"array", (kind, value.itemsize, memoryview(value).cast("B") if kind != "u" else value.tounicode()))


def _partial(value: functools.partial[Any]) -> Node:
    parts = (value.func, value.args, value.keywords, value.__dict__ or None)
    return node(b"partial", parts, Named(".func", ".args", ".keywords"))


def _slice(value: slice) -> Node:
    return node(b"slice", (value.start, value.stop, value.step), Named(".start", ".stop", ".step"))


BUILTIN: Final[dict[type, Handler]] = {
    dt.datetime: _moment(b"datetime"),
    dt.time: _moment(b"time"),
    bytearray: lambda value: large(b"a", value),
    memoryview: _memoryview,
    array: _array,
    **{kind: _container(kind) for kind in SMALL},
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
    re.Pattern: lambda value: node(b"regex", (value.pattern, value.flags)),
    slice: _slice,
    MethodType: lambda value: node(b"method", (value.__func__, value.__self__), Named(".__func__", ".__self__")),
    staticmethod: lambda value: node(b"staticmethod", (value.__func__,)),
    classmethod: lambda value: node(b"classmethod", (value.__func__,)),
    property: lambda value: node(b"property", (value.fget, value.fset, value.fdel)),
}
"""Exact types, each taken apart by one level."""
