"""The conditions and changes of our requests, as parameters with DynamoDB expressions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynmemo.stores.dynamodb.rows import WITHOUT_VALUE

if TYPE_CHECKING:
    from dynmemo.item import Expect, Item
    from dynmemo.stores.dynamodb.connection import Names

    Values = dict[str, dict[str, Any]]

# What reading takes for absent, an attribute of another program with another type, counts as absent here too.
_NO_ETAG = "NOT attribute_type(#etag, :text)"
_TEXT: Values = {":text": {"S": "S"}}


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


def scanning(names: Names, prefix: str, fn: str | None) -> dict[str, Any]:
    """Rows with an `fn` whose partition key starts with `prefix`, all attributes but the value."""
    projected = {"#key": names.key, "#ttl": names.ttl, **{f"#{name}": name for name in WITHOUT_VALUE}}
    values: Values = {":prefix": {"S": prefix}}
    if fn is None:
        owned = "attribute_type(#fn, :text)"
        values |= _TEXT
    else:
        owned = "#fn = :fn"
        values[":fn"] = {"S": fn}
    return _parameters(
        projected,
        values,
        FilterExpression=f"begins_with(#key, :prefix) AND {owned}",
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
