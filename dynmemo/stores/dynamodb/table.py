"""Finding, checking and creating the table."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dynmemo._process import logger
from dynmemo.errors import InvalidTableError, StoreUnavailableError
from dynmemo.stores.dynamodb.connection import Names
from dynmemo.stores.dynamodb.errors import TableMissingError
from dynmemo.stores.dynamodb.rows import OWN_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Call = Callable[..., dict[str, Any]]
    """A request on the table by the name of the client's method, with the store's errors."""

KEY_NAME = "id"
TTL_NAME = "ttl_date"

CREATION_SECONDS = 60.0
"""How long a table may take to be created; DynamoDB needs about ten seconds."""


def discover(call: Call, table: str, key_name: str | None, ttl_name: str | None, *, create: bool) -> Names:
    """The names of partition key and TTL attribute of a table that can serve, creating it when `create` is set.

    Asks for what was not given, as the .NET provider does, so a role needs no more than that; with `create` for both.

    Raises:
        InvalidTableError: the table is missing, or its key is no string, not `key_name`, or has a sort key.
        StoreUnavailableError: DynamoDB did not answer or did not allow it.
    """
    if create or key_name is None:
        key_name = _key_name(call, table, key_name, ttl_name, create=create)
    if create or ttl_name is None:
        ttl_name = _ttl_name(call, table, ttl_name)
    names = Names(key_name, ttl_name)
    if names.ttl in OWN_NAMES or names.ttl == names.key:
        raise InvalidTableError(
            f"the DynamoDB table {table!r} has its TTL on the attribute {names.ttl!r}, which holds something else "
            "in a cache; use another table, or another TTL attribute"
        )
    return names


def _key_name(call: Call, table: str, given: str | None, ttl_name: str | None, *, create: bool) -> str:
    """The partition key of the table, which is created when it is missing and `create` is set."""
    description = _describe(call, create=create)
    if description is None:
        logger.info("dynmemo creates the DynamoDB table %r", table)
        with _unless("ResourceInUseException"):  # somebody else creates it right now
            call(
                "create_table",
                AttributeDefinitions=[{"AttributeName": given or KEY_NAME, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": given or KEY_NAME, "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
    if description is None or (create and description["TableStatus"] == "CREATING"):
        description = _wait_until_active(call, table)
        specification = {"Enabled": True, "AttributeName": ttl_name or TTL_NAME}
        # A concurrent creator has enabled it already, or is doing so; what came of it is described next.
        with _unless("ValidationException", "ResourceInUseException"):
            call("update_time_to_live", TimeToLiveSpecification=specification)
    return _checked_key(description, given)


@contextmanager
def _unless(*codes: str) -> Iterator[None]:
    """What fails with one of these codes is done by somebody else."""
    try:
        yield
    except StoreUnavailableError as error:
        if error.code not in codes:
            raise


def _describe(call: Call, *, create: bool) -> dict[str, Any] | None:
    """DescribeTable's answer; None for a missing table that may be created."""
    try:
        description: dict[str, Any] = call("describe_table")["Table"]
    except TableMissingError:
        if create:
            return None
        raise
    return description


def _wait_until_active(call: Call, table: str) -> dict[str, Any]:
    until = time.monotonic() + CREATION_SECONDS
    pause = 0.1
    while True:
        # Just after CreateTable the description may not be there yet.
        description = _describe(call, create=True)
        if description is not None and description["TableStatus"] == "ACTIVE":
            return description
        if time.monotonic() > until:
            raise StoreUnavailableError(
                f"the DynamoDB table {table!r} was not ready {CREATION_SECONDS:.0f} s after its creation; try later",
                operation="CreateTable",
                table=table,
            )
        time.sleep(pause)
        pause = min(pause * 2, 2.0)


def _checked_key(description: dict[str, Any], key_name: str | None) -> str:
    table = description["TableName"]
    if len(description["KeySchema"]) > 1:
        raise InvalidTableError(
            f"the DynamoDB table {table!r} has a sort key; a cache needs one with a partition key only"
        )
    name: str = description["KeySchema"][0]["AttributeName"]
    types = {
        attribute["AttributeName"]: attribute["AttributeType"] for attribute in description["AttributeDefinitions"]
    }
    if types[name] != "S":
        raise InvalidTableError(
            f"the partition key {name!r} of the DynamoDB table {table!r} has the type {types[name]}; "
            "a cache needs a string (S)"
        )
    if key_name is not None and key_name != name:
        raise InvalidTableError(
            f"the partition key of the DynamoDB table {table!r} is {name!r}, not {key_name!r}; "
            "correct partition_key_name or leave it out"
        )
    if name in OWN_NAMES:
        raise InvalidTableError(
            f"the partition key of the DynamoDB table {table!r} is {name!r}, which holds something else in a cache; "
            "use another table"
        )
    return name


def _ttl_name(call: Call, table: str, given: str | None) -> str:
    """The TTL attribute: the given one, else the table's, else the default."""
    description = call("describe_time_to_live")["TimeToLiveDescription"]
    # While TTL is being disabled the description still names its attribute, and the .NET provider still writes it.
    described = description.get("AttributeName")
    name: str = given or described or TTL_NAME
    if described != name or description["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
        logger.warning(
            "The DynamoDB table %r has no Time to Live (TTL) enabled on the attribute %r: expired entries are not "
            "served, but they stay and are paid for. Enable TTL on that attribute.",
            table,
            name,
        )
    return name
