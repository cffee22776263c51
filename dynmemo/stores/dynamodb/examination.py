"""Looking at a table as a doctor does: what calls need is tried, and nothing is changed."""

from __future__ import annotations

import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from dynmemo.errors import InvalidTableError, StoreUnavailableError
from dynmemo.item import Finding
from dynmemo.stores.dynamodb.connection import KEY_NAME, discover
from dynmemo.stores.dynamodb.errors import ConditionNotMetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynmemo.stores.dynamodb.connection import Call, Connection

MOST_SKEW = 5.0
"""Seconds of another clock by which entries may live too long or too short unnoticed; AWS refuses 5 minutes."""
_READS = 5
_DENIED = "AccessDeniedException"
_NEVER = "attribute_exists(#key) AND attribute_not_exists(#key)"


def examine(
    call: Call,
    connection: Connection,
    table: str,
    key: str,
    given: tuple[str | None, str | None],
    *,
    create: bool,
    quick: bool,
) -> Iterator[Finding]:
    """What is found, one after the other; it ends where nothing further can be tried."""
    try:
        client = connection.client()
    except Exception as error:  # noqa: BLE001 - whatever botocore raises for settings
        yield Finding(
            "client", False, f"{type(error).__name__}: {error}", "give region= or profile=, or set AWS_REGION"
        )
        return
    yield _credentials(client)
    yield Finding("endpoint", True, f"{client.meta.region_name}, {client.meta.endpoint_url}")
    # With the default name a request says by its error whether it is allowed.
    where = {given[0] or KEY_NAME: {"S": key}}
    try:
        names = discover(call, table, *given, create=False)
        where = {names.key: {"S": key}}
        yield Finding("table", True, f"{table}, key {names.key} (S), TTL attribute {names.ttl}")
    except InvalidTableError as error:
        advice = "run `dynmemo table create`, or compute something: create_table_if_not_exists is on"
        yield Finding("table", None if create else False, str(error), advice if create else "`dynmemo table create`")
        return
    except StoreUnavailableError as error:
        if error.code != _DENIED:
            yield Finding("table", False, str(error))
            return
        yield Finding("table", False, str(error), "give both names in the URL, or allow what `dynmemo policy` prints")
    if not quick:
        yield _ttl(call, given[1])
    before = time.time()
    try:
        answer = call("get_item", Key=where)
        yield Finding("GetItem", True, "allowed")
        yield _skew(answer, (before + time.time()) / 2)
    except (StoreUnavailableError, InvalidTableError) as error:
        yield _refused("GetItem", error)
    for name, attempt in _attempts(call, table, where, quick=quick):
        yield _tried(name, attempt)
    if not quick:
        yield from _size_and_latency(call, where)


def _credentials(client: Any) -> Finding:
    """Whose they are only sts:GetCallerIdentity tells, one more permission and request; the key id is known here."""
    signer = getattr(client, "_request_signer", None)
    credentials = getattr(signer, "_credentials", None)
    if credentials is None:
        return Finding("credentials", False, "there are none", "log in (`aws sso login`), or give profile=")
    method, key_id = getattr(credentials, "method", "?"), "?"
    with suppress(Exception):
        key_id = credentials.get_frozen_credentials().access_key
    return Finding("credentials", True, f"access key ...{key_id[-4:]}, found by: {method}")


def _ttl(call: Call, given: str | None) -> Finding:
    try:
        told = call("describe_time_to_live")["TimeToLiveDescription"]
    except StoreUnavailableError as error:
        return Finding("TTL", None, f"cannot be told: {error.code}", "allow dynamodb:DescribeTimeToLive to see it")
    name, status = told.get("AttributeName"), told["TimeToLiveStatus"]
    is_on = status in ("ENABLED", "ENABLING") and given in (None, name)
    advice = "" if is_on else "expired entries stay and are paid for: enable TTL on the attribute of the URL"
    return Finding("TTL", is_on, f"{status} on {name}" if name else status, advice)


def _skew(answer: dict[str, Any], here: float) -> Finding:
    told = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        skew = here - parsedate_to_datetime(told).timestamp() - 0.5  # it tells whole seconds
    except (TypeError, ValueError):
        return Finding("clock", None, "the server does not tell its time")
    advice = "" if abs(skew) <= MOST_SKEW else "set this machine's clock: entries expire by it"
    return Finding("clock", abs(skew) <= MOST_SKEW, f"{abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}", advice)


def _attempts(
    call: Call, table: str, where: dict[str, Any], *, quick: bool
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Requests that change nothing: their condition never holds, or the row that they delete is never written."""
    never = {"ConditionExpression": _NEVER, "ExpressionAttributeNames": {"#key": next(iter(where))}}
    change = {
        "UpdateExpression": "SET #doctor = :one",
        "ConditionExpression": _NEVER,
        "ExpressionAttributeNames": {"#key": next(iter(where)), "#doctor": "doctor"},
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    yield "PutItem", lambda: call("put_item", Item=where, **never)
    yield "UpdateItem", lambda: call("update_item", Key=where, **change)
    yield "DeleteItem", lambda: call("delete_item", Key=where, **never)
    if not quick:
        yield "BatchGetItem", lambda: call("batch_get_item", RequestItems={table: {"Keys": [where]}})
        deletion = {"DeleteRequest": {"Key": where}}
        yield "BatchWriteItem", lambda: call("batch_write_item", RequestItems={table: [deletion]})
        yield "Scan", lambda: call("scan", Limit=1)


_OPTIONAL = {
    "BatchGetItem": "single requests take its place",
    "BatchWriteItem": "single requests take its place",
    "Scan": "purge, ls and stats need it, calls do not",
}


def _tried(name: str, attempt: Callable[[], object]) -> Finding:
    try:
        attempt()
    except ConditionNotMetError:
        pass
    except (StoreUnavailableError, InvalidTableError) as error:
        return _refused(name, error)
    return Finding(name, True, "allowed")


def _refused(name: str, error: Exception) -> Finding:
    if getattr(error, "code", None) != _DENIED:
        return Finding(name, False, str(error))
    if name in _OPTIONAL:
        return Finding(name, None, "not allowed", _OPTIONAL[name])
    return Finding(name, False, "not allowed", "allow what `dynmemo policy` prints")


def _size_and_latency(call: Call, where: dict[str, Any]) -> Iterator[Finding]:
    with suppress(StoreUnavailableError, InvalidTableError):
        took = []
        for _ in range(_READS):
            began = time.perf_counter()
            call("get_item", Key=where)
            took.append(time.perf_counter() - began)
        yield Finding("latency", True, f"{sorted(took)[_READS // 2] * 1e3:.1f} ms for a read, the median of {_READS}")
    try:
        told = call("describe_table")["Table"]
        yield Finding("size", True, f"{told['ItemCount']:,} items, {told['TableSizeBytes']:,} bytes some hours ago")
    except (StoreUnavailableError, InvalidTableError):
        yield Finding("size", None, "cannot be told: dynamodb:DescribeTable is not allowed")
