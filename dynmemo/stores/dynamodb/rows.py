"""An `Item` as DynamoDB's attribute map, and back, whatever other programs have put there."""

from __future__ import annotations

from typing import Any

from dynmemo.item import Item, Parts

Row = dict[str, dict[str, Any]]
"""Attribute name -> {type letter: content}, as boto3's low-level client takes and gives it."""

NULL = {"NULL": True}

# The TTL attribute, which may have any name, and the value have rules of their own; so has `parts`.
_TEXTS = ("fn", "gen", "lease_owner", "no_store", "lease_waits")
_NUMBERS = ("lease_seconds", "lease_beat", "stale_for")
WITHOUT_VALUE = ("ttl_deadline", "ttl_window", "etag", "parts", *_TEXTS, *_NUMBERS)
"""All attributes of an item with a fixed name, but the value."""

OWN_NAMES = frozenset((*WITHOUT_VALUE, "value"))
"""Names that neither the partition key nor the TTL attribute may have."""

LARGEST_ROW = 409_600
"""Bytes that DynamoDB accepts for one item, attribute names included."""

# An upper bound, whatever the number is now: so a later touch or renewal of a row that was accepted fits as well.
_NUMBER_SIZE = 21
_MAP_SIZE = 3


def encode(item: Item, ttl_name: str, etag: str) -> Row:
    """The attributes of a row but its partition key: the provider's always, ours and `value` if there are any."""
    row: Row = {
        ttl_name: _number(item.ttl_date),
        "ttl_deadline": _number(item.ttl_deadline),
        "ttl_window": NULL if item.ttl_window is None else {"S": item.ttl_window},
        "etag": {"S": etag},
    }
    if item.value is not None:
        row["value"] = {"B": item.value}
    for name in _TEXTS:
        text = getattr(item, name)
        if text is not None:
            row[name] = {"S": text}
    for name in _NUMBERS:
        number = getattr(item, name)
        if number is not None:
            row[name] = {"N": repr(number)}
    if item.parts is not None:
        row["parts"] = {"M": _encode_parts(item.parts)}
    return row


def decode(row: Row, ttl_name: str) -> Item:
    """The item of a row; an attribute of another type than ours counts as absent."""
    return Item(
        _typed(row, "value", "B"),
        _integer(row, ttl_name),
        _integer(row, "ttl_deadline"),
        _typed(row, "ttl_window", "S"),
        _typed(row, "etag", "S"),
        _typed(row, "fn", "S"),
        _typed(row, "gen", "S"),
        _decode_parts(row) if "parts" in row else None,
        _typed(row, "lease_owner", "S"),
        _real(row, "lease_seconds"),
        _integer(row, "lease_beat"),
        _integer(row, "stale_for"),
        _typed(row, "no_store", "S"),
        _typed(row, "lease_waits", "S"),
    )


def size(row: Row) -> int:
    """The most bytes that DynamoDB may count for a row, now and after its numbers have changed."""
    return sum(len(name.encode()) + _size(attribute) for name, attribute in row.items())


def _size(attribute: dict[str, Any]) -> int:
    for kind, content in attribute.items():
        if kind == "S":
            return len(content.encode())
        if kind == "B":
            return len(content)
        if kind == "M":
            return _MAP_SIZE + size(content) + len(content)
    return _NUMBER_SIZE


def _number(number: int | None) -> dict[str, Any]:
    return NULL if number is None else {"N": str(number)}


def _typed(row: Row, name: str, kind: str) -> Any:
    attribute = row.get(name)
    return None if attribute is None else attribute.get(kind)


def _integer(row: Row, name: str) -> int | None:
    text = _typed(row, name, "N")
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return int(float(text))  # as .NET reads it: (long)double.Parse(text)


def _real(row: Row, name: str) -> float | None:
    text = _typed(row, name, "N")
    return None if text is None else float(text)


def _encode_parts(parts: Parts) -> Row:
    row: Row = {
        "write_id": {"S": parts.write_id},
        "count": {"N": str(parts.count)},
        "length": {"N": str(parts.length)},
        "digest": {"B": parts.digest},
    }
    if parts.location is not None:
        row["location"] = {"S": parts.location}
    return row


def _decode_parts(row: Row) -> Parts | None:
    parts = _typed(row, "parts", "M") or {}
    write_id, digest = _typed(parts, "write_id", "S"), _typed(parts, "digest", "B")
    count, length = _integer(parts, "count"), _integer(parts, "length")
    if write_id is None or digest is None or count is None or length is None:
        return None
    return Parts(write_id, count, length, digest, _typed(parts, "location", "S"))
