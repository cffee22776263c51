"""An `Item` as DynamoDB's attribute map and back, whatever other programs have put there.

The second half gives the conditions and changes of requests, as parameters with DynamoDB expressions.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dynmemo.item import Item, Parts, settled

if TYPE_CHECKING:
    from dynmemo.item import Expect
    from dynmemo.stores.dynamodb.connection import Names

Row = dict[str, dict[str, Any]]
"""Attribute name -> {type letter: content}, as boto3's low-level client takes and gives it."""

NULL = {"NULL": True}

# The TTL attribute, which may have any name, and the value have rules of their own; so has `parts`.
_TEXTS = ("fn", "gen", "lease_owner", "no_store", "lease_waits", "lease_by")
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
        row["value"] = {"B": settled(item.value)}
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
        _typed(row, "lease_by", "S"),
    )


def size(row: Row, *, exact: bool = False) -> int:
    """The most bytes that DynamoDB may count for a row, now and after its numbers have changed.

    Args:
        exact: the bytes that it counts, and bills, as the numbers are.
    """
    return sum(len(name.encode()) + _size(attribute, exact=exact) for name, attribute in row.items())


def _size(attribute: dict[str, Any], *, exact: bool) -> int:
    for kind, content in attribute.items():
        if kind == "S":
            return len(content.encode())
        if kind == "B":
            return len(content)
        if kind == "M":
            return _MAP_SIZE + size(content, exact=exact) + len(content)
        if exact:
            return _number_size(content) if kind == "N" else 1
    return _NUMBER_SIZE


def _number_size(text: str) -> int:
    """Bytes of a number: one for its length, one for its sign if it is negative, and one for two digits.

    Zeros at both ends count for nothing. The pairs of digits begin at the decimal point: 1.2 has two.
    """
    sign, digits, exponent = Decimal(text).normalize().as_tuple()
    if digits == (0,):
        return 1
    return 1 + sign + (len(digits) + int(exponent) % 2 + 1) // 2


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


# What reading takes for absent, an attribute of another program with another type, counts as absent here too.
_NO_ETAG = "NOT attribute_type(#etag, :text)"
Values = dict[str, dict[str, Any]]
_TEXT: Values = {":text": {"S": "S"}}


def existing(names: Names) -> dict[str, Any]:
    """The condition that the row is there."""
    return {"ExpressionAttributeNames": {"#key": names.key}, "ConditionExpression": "attribute_exists(#key)"}


def expected(expect: Expect) -> dict[str, Any]:
    """The condition that the row is as a compare-and-set expects it."""
    condition, values = _etag_is(expect.etag)
    names = {"#etag": "etag"}
    if expect.beat is not None:
        condition += " AND #beat = :beat"
        names["#beat"] = "lease_beat"
        values = {**values, ":beat": {"N": str(expect.beat)}}
    return _parameters(names, values, ConditionExpression=condition)


def renewal(etag: str, ttl_date: int, lease_waits: str | None, ttl_name: str) -> dict[str, Any]:
    """Beat and date of the lease with that etag, and for what its holder waits."""
    condition, values = _etag_is(etag)
    update = "SET #ttl = :ttl REMOVE #waits ADD #beat :one"
    if lease_waits is not None:
        update = "SET #ttl = :ttl, #waits = :waits ADD #beat :one"
        values = {**values, ":waits": {"S": lease_waits}}
    return _parameters(
        {"#etag": "etag", "#beat": "lease_beat", "#ttl": ttl_name, "#waits": "lease_waits"},
        {**values, ":one": {"N": "1"}, ":ttl": {"N": str(ttl_date)}},
        ConditionExpression=condition,
        UpdateExpression=update,
    )


def touching(seen: Item, ttl_date: int, ttl_name: str) -> dict[str, Any]:
    """A later date for the row that was seen; a date of another type than a number is never earlier."""
    condition, values = _etag_is(seen.etag)
    names = {"#etag": "etag", "#ttl": ttl_name}
    if seen.etag is None:
        window, of_window = _is(seen.ttl_window, "#window", "S")
        deadline, of_deadline = _is(seen.ttl_deadline, "#deadline", "N")
        condition = f"{condition} AND {window} AND {deadline}"
        names |= {"#window": "ttl_window", "#deadline": "ttl_deadline"}
        values = {**values, **of_window, **of_deadline}
    return _parameters(
        names,
        {**values, ":ttl": {"N": str(ttl_date)}},
        ConditionExpression=f"{condition} AND #ttl < :ttl",
        UpdateExpression="SET #ttl = :ttl",
    )


def redating(dates: Item, etag: str, now: float, gen: str | None, ttl_name: str) -> dict[str, Any]:
    """Other dates and etag for a row that is live `now`, in which or outside of the table its value lies."""
    changed = {"ttl": ttl_name, "deadline": "ttl_deadline", "window": "ttl_window", "etag": "etag"}
    others = {"value": "value", "parts": "parts", "location": "location", "stale": "stale_for"}
    names = {f"#{word}": name for word, name in (changed | others).items()}
    row = encode(dates, ttl_name, etag)
    values: Values = {f":{word}": row[name] for word, name in changed.items()}
    values |= {":bytes": {"S": "B"}, ":number": {"S": "N"}, ":now": {"N": str(math.ceil(now))}}
    condition = (
        "(attribute_type(#value, :bytes) OR attribute_exists(#parts.#location)) AND attribute_not_exists(#stale) "
        "AND (NOT attribute_type(#ttl, :number) OR #ttl >= :now)"
    )
    if gen is not None:
        condition += " AND #gen = :gen"
        names["#gen"], values[":gen"] = "gen", {"S": gen}
    update = "SET #ttl = :ttl, #deadline = :deadline, #window = :window, #etag = :etag"
    return _parameters(names, values, ConditionExpression=condition, UpdateExpression=update)


def scanning(names: Names, prefix: str, *, values: bool = False) -> dict[str, Any]:
    """Rows with an `fn` whose partition key starts with `prefix`, all attributes, or all but the value."""
    projected = {"#key": names.key, "#ttl": names.ttl, **{f"#{name}": name for name in WITHOUT_VALUE}}
    if values:
        projected["#value"] = "value"
    return _parameters(
        projected,
        {":prefix": {"S": prefix}, **_TEXT},
        FilterExpression="begins_with(#key, :prefix) AND attribute_type(#fn, :text)",
        ProjectionExpression=", ".join(projected),
    )


def _etag_is(etag: str | None) -> tuple[str, Values]:
    if etag is None:
        return _NO_ETAG, _TEXT
    return "#etag = :etag", {":etag": {"S": etag}}


def _is(seen: str | int | None, name: str, kind: str) -> tuple[str, Values]:
    value = name.replace("#", ":")
    if seen is None:
        return f"NOT attribute_type({name}, {value})", {value: {"S": kind}}
    return f"{name} = {value}", {value: {kind: str(seen)}}


def _parameters(names: dict[str, str], values: Values, **expressions: str) -> dict[str, Any]:
    return {"ExpressionAttributeNames": names, "ExpressionAttributeValues": values, **expressions}
