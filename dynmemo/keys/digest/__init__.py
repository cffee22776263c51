"""Arguments to hash: equal content has the same digest in every process, different content never.

Equal means: of the same type, with equal parts. ``1``, ``1.0``, ``True`` and ``"1"`` differ, so do a list and a
tuple; dicts and sets have no order; how objects are shared, laid out or sliced does not matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blake3 import blake3

from dynmemo.keys.digest.code import register_code
from dynmemo.keys.digest.dispatch import register_digest
from dynmemo.keys.digest.encoding import FORMAT, size, sized, text
from dynmemo.keys.digest.immutable import is_immutable
from dynmemo.keys.digest.names import module_name, type_name
from dynmemo.keys.digest.refusal import NoStableContent
from dynmemo.keys.digest.scalars import LEAVES
from dynmemo.keys.digest.walk import encode

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "FORMAT",
    "NoStableContent",
    "digest",
    "digest_arguments",
    "is_immutable",
    "module_name",
    "register_code",
    "register_digest",
    "type_name",
]

_BYTES: Final = 20
_VALUE: Final = b"dynmemo value" + size(FORMAT)
_ARGUMENTS: Final = b"dynmemo arguments" + size(FORMAT)

# The names of parameters, as bytes. Those of **kwargs can be any, hence the limit.
_names: Final[dict[str, bytes]] = {}
_MOST_NAMES = 4_096


def digest(value: object, where: str = "value") -> str:
    """The digest of one value: 40 hexadecimal digits (160 bits of BLAKE3).

    Args:
        value: anything that has content.
        where: what error messages call it.

    Raises:
        NoStableContent: when the value, or something inside it, has no content.
    """
    return blake3(_VALUE + encode(value, where)).hexdigest(_BYTES)


def digest_arguments(arguments: Iterable[tuple[str, object]]) -> str:
    """The digest of a call's arguments: 40 hexadecimal digits.

    Args:
        arguments: names and values in the order of the signature; the order counts.

    Raises:
        NoStableContent: its path begins with the name of the argument.
    """
    parts = [_ARGUMENTS]
    for name, value in arguments:
        parts.append(_names.get(name) or _name(name))
        leaf = LEAVES.get(type(value))
        parts.append(leaf(value) if leaf is not None else encode(value, name))
    return blake3(b"".join(parts)).hexdigest(_BYTES)


def _name(name: str) -> bytes:
    if len(_names) >= _MOST_NAMES:
        _names.clear()
    encoded = _names[name] = sized(text(name))
    return encoded
