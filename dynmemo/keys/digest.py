"""Values to hash: equal content has the same digest in every process, different content never.

Equal means: of the same type, with equal parts. ``1``, ``1.0``, ``True`` and ``"1"`` differ, so do a list and a
tuple, and two dicts in another order; sets have no order; how objects are shared, laid out or sliced does not matter.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from blake3 import blake3

from dynmemo.keys.builtin import LEAVES, SMALL, is_immutable, small
from dynmemo.keys.code import by_name
from dynmemo.keys.encoding import FORMAT, NoStableContent, Refusal, size, sized, text
from dynmemo.keys.own import type_name
from dynmemo.keys.snapshots import by_snapshot
from dynmemo.keys.walk import Walk, register_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed import ReadableBuffer as Buffer

__all__ = [
    "FORMAT",
    "NoStableContent",
    "digest",
    "digest_arguments",
    "digests_of_parts",
    "is_immutable",
    "register_digest",
]

MOST_PARTS = 100
"""Attributes or items of one value that are digested one by one."""

_BYTES: Final = 20
_VALUE: Final = b"dynmemo value" + size(FORMAT)
_ARGUMENTS: Final = b"dynmemo arguments" + size(FORMAT)

# The names of parameters, as bytes. Those of **kwargs can be any, hence the limit.
_names: Final[dict[str, bytes]] = {}
_MOST_NAMES = 4_096


def digest(value: object, where: str = "value", *, loose: bool = False) -> str:
    """The digest of one value: 40 hexadecimal digits (160 bits of BLAKE3).

    Args:
        value: anything that has content.
        where: what error messages call it.
        loose: leave the order of dicts out.

    Raises:
        NoStableContent: when the value, or something inside it, has no content.
    """
    leaf = LEAVES.get(type(value))
    data = leaf(value) if leaf else Walk(where, by_snapshot, loose=loose, check=insist_on_stability).encode(value)
    return blake3(_VALUE + data).hexdigest(_BYTES)


def digest_arguments(
    arguments: Iterable[tuple[str, object]], code: Callable[[Any, Walk], Any] = by_snapshot
) -> tuple[str, str]:
    """The digest of a call's arguments, 40 hexadecimal digits, and why its result must not be stored if so.

    Args:
        arguments: names and values in the order of the signature; the order counts.
        code: says what stands for functions and classes in them.

    Raises:
        NoStableContent: its path begins with the name of the argument.
    """
    parts, not_stored = [_ARGUMENTS], ""
    for name, value in arguments:
        parts.append(_names.get(name) or _name(name))
        kind = type(value)
        leaf = LEAVES.get(kind)
        data = leaf(value) if leaf is not None else small(value) if kind in SMALL else None
        if data is None:
            walk = Walk(name, code, check=insist_on_stability)
            data = walk.encode(value)
            not_stored = not_stored or walk.not_stored
        parts.append(data)
    return blake3(b"".join(parts)).hexdigest(_BYTES), not_stored


def digests_of_parts(value: object) -> tuple[tuple[str, str], ...]:
    """The digests of the attributes of an object, or of the items of a dict, after the steps that lead to them.

    Empty for other values, and where there are more of them than one reads.
    """
    taken = Walk("", by_snapshot, loose=True).take_apart(value)  # the short way of small dicts knows no parts
    if isinstance(taken, bytes):
        return ()
    _, children, order = taken
    values = order.values(len(children))
    if len(values) > MOST_PARTS:
        return ()
    return tuple((order.step(children, index), digest(children[index])) for index in values)


def _name(name: str) -> bytes:
    if len(_names) >= _MOST_NAMES:
        _names.clear()
    encoded = _names[name] = sized(text(name))
    return encoded


# -- whether an object has the same digest after pickle has stored and rebuilt it ----------------------------
# Where it has not, another process would never ask for the same key. That shows at the first object of a class that has
# a say in its own pickling; later ones of that class are trusted, and so is what cannot be pickled or takes too much.

LARGEST = 1 << 26
"""Bytes of a pickle that is worth a look."""

_checked: WeakSet[type] = WeakSet()


def insist_on_stability(value: object) -> None:
    """Refuse a value whose content changes when it is pickled and read back."""
    cls = type(value)
    if cls not in _checked and not _survives(value):
        raise Refusal(
            cls, f"an object of type {type_name(cls)}, whose content changes when it is pickled and read back"
        )
    _checked.add(cls)


def _survives(value: object) -> bool:
    data, buffers = _Bounded(), list[pickle.PickleBuffer]()
    try:
        pickle.Pickler(data, 5, buffer_callback=buffers.append).dump(value)
        # Large arrays are not copied. They are read-only in the copy: nothing that it does reaches the original.
        copy = pickle.loads(data.getbuffer(), buffers=[buffer.raw().toreadonly() for buffer in buffers])
    except Exception:  # noqa: BLE001 - whatever the code of a stranger raises, there is no copy to look at
        return True
    try:
        before = Walk("value", by_name).encode(value)
    except NoStableContent:  # something inside, which is refused with its own path
        return True
    try:
        return Walk("value", by_name).encode(copy) == before
    except NoStableContent:
        return False


class _Bounded(io.BytesIO):
    def write(self, data: Buffer, /) -> int:
        if self.tell() + memoryview(data).nbytes > LARGEST:
            raise OverflowError
        return super().write(data)
