"""`DynamoDBStore`: the store's promises kept by a DynamoDB table."""

from __future__ import annotations

import copy
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from dynmemo import parts as of
from dynmemo._process import new_token
from dynmemo.errors import InvalidTableError, StoreUnavailableError, ValueTooLargeError
from dynmemo.item import FRONT_BYTES, Extent, Found, Refused, Store, Written
from dynmemo.stores.dynamodb import connection, examination, policy, rows
from dynmemo.stores.dynamodb.batches import WRITES, Batches, PartRows, pages
from dynmemo.stores.dynamodb.connection import Connection, Names, discover
from dynmemo.stores.dynamodb.errors import (
    CREDENTIAL_TROUBLE,
    ConditionNotMetError,
    check_answer,
    is_worth_another_try,
    translate,
)
from dynmemo.stores.files import COPIES_MAX_BYTES, Copies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient

    from dynmemo.counters import Meter
    from dynmemo.item import Expect, Finding, Item
    from dynmemo.stores.dynamodb.rows import Row
    from dynmemo.stores.s3 import Bucket

_METERED = {
    **dict.fromkeys(("get_item", "batch_get_item", "scan"), "read"),
    **dict.fromkeys(("put_item", "update_item", "delete_item", "batch_write_item"), "write"),
}
"""The methods that consume capacity, and of which kind."""

_OF_SEVERAL_TABLES = ("batch_get_item", "batch_write_item")

CONFLICT_PAUSES = (0.05, 0.2, 0.8)
"""Seconds at most before a request is tried again that met another write of the same row; half of it at least."""


class DynamoDBStore(Store):
    """Rows in a DynamoDB table with a string partition key and no sort key; implements `dynmemo.item.Store`.

    Args:
        overflow: where values are kept that are too large for this store.
        config: botocore settings that replace ours: 1 s to connect, 1.5 s without an answer,
            3 attempts, 32 connections. For the parts of large values 10 s and 20 s; for purges 3 s, 5 s and 7 attempts.

    The other options are those of `dynmemo.Cache.dynamodb`. A scan is always eventually consistent.

    Raises:
        InvalidOptionError: for options that are not allowed.
    """

    is_billed = True

    def __init__(
        self,
        table_name: str,
        *,
        partition_key_name: str | None = None,
        ttl_attribute_name: str | None = None,
        partition_key_prefix: str | None = None,
        create_table_if_not_exists: bool = False,
        use_consistent_reads: bool = True,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        config: Config | None = None,
        copies_max_bytes: int = COPIES_MAX_BYTES,
        client: DynamoDBClient | None = None,
        client_factory: Callable[[], DynamoDBClient] | None = None,
        overflow: Bucket | None = None,
    ) -> None:
        connection.check_names(partition_key_name, ttl_attribute_name)
        connection.check_sources(
            client, client_factory, region=region, profile=profile, endpoint_url=endpoint_url, config=config
        )
        self._table = connection.check_table_name(table_name)
        self._prefix = connection.check_prefix(partition_key_prefix)
        self._consistent = connection.check_flag("use_consistent_reads", use_consistent_reads)
        self._create = connection.check_flag("create_table_if_not_exists", create_table_if_not_exists)
        self._given = (partition_key_name, ttl_attribute_name)
        self._place = (region, connection.check_endpoint(endpoint_url))
        names = None
        if partition_key_name and ttl_attribute_name and not self._create:
            names = Names(partition_key_name, ttl_attribute_name)
        make = connection.own("dynamodb", region, profile, endpoint_url, config)
        if client is not None:
            make = connection.live(client)
        elif client_factory is not None:
            make = lambda pace: client_factory()  # noqa: E731 - whatever the pace
        own = client is None and client_factory is None
        self._connection = Connection(make, names, own=own, given_client=client is not None)
        self._pace, self._bulk_pace = connection.QUICK, connection.BULK
        self._overflow = overflow
        self._copies = Copies(copies_max_bytes)
        self._is_wanted: Callable[[str, Item], bool] = lambda key, row: True
        """Whether the value of a row is fetched that lies outside of it."""
        self._meters: tuple[Meter, ...] = ()

    @property
    def location(self) -> str:
        region, endpoint = self._place
        region = self._connection.region or region
        places = [*([f"in {region}"] if region else []), *([f"at {endpoint}"] if endpoint else [])]
        location = " ".join((f"DynamoDB table {self._table}", *places))
        return location if self._overflow is None else f"{location}, large values in {self._overflow.url}"

    def metered(self, meter: Meter) -> Self:
        twin = copy.copy(self)
        twin._meters = (*self._meters, meter)
        twin._overflow = None if self._overflow is None else self._overflow.metered(meter)
        return twin

    def partition_key(self, key: str) -> str:
        return self._prefix + key

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        return self._whole(key, self._read(key, consistent=consistent))

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        names = self._names()
        wanted = [self._partition_key(key) for key in dict.fromkeys(keys)]
        found = {}
        for row in self._batches().get(wanted, consistent=consistent or self._consistent):
            key = row[names.key]["S"][len(self._prefix) :]
            item = self._whole(key, self._decoded(row, names))
            if item is not None:
                found[key] = item
        return found

    def write(self, key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        place: of.Place
        if self._overflow is not None and self._overflow.takes(item.value):
            place = self._overflow
        else:
            row = self._row(key, item)
            if item.value is None or rows.size(row) <= rows.LARGEST_ROW:
                return self._put(key, row, expect)
            place = self._part_rows()

        put = self._copies.keeping(lambda small: self._put(key, self._row(key, small), expect), item.value or b"")
        return of.write_outside(place, key, item, put)

    def billed(self, key: str, item: Item) -> list[int]:
        """The bytes that DynamoDB counts and bills for an item: of its row, then of each part of a large value."""
        row = self._row(key, item)
        if item.value is None or rows.size(row) <= rows.LARGEST_ROW:
            return [rows.size(row, exact=True)]
        place = self._part_rows()
        small, parts = place.plan(key, item._replace(value=None), item.value)
        row = self._row(key, small._replace(parts=parts))
        return [rows.size(row, exact=True), *place.billed(key, small, parts)]

    def renew(self, key: str, etag: str, ttl_date: int, lease_waits: str | None = None) -> bool:
        change = rows.renewal(etag, ttl_date, lease_waits, self._names().ttl)
        return self._conditional("update_item", key, change) is not None

    def touch(self, key: str, seen: Item, ttl_date: int) -> bool:
        return self._conditional("update_item", key, rows.touching(seen, ttl_date, self._names().ttl)) is not None

    def redate(self, key: str, dates: Item, now: float, gen: str | None = None) -> Written | Refused:
        names, etag = self._names(), new_token()[:16]
        # The SDK's second try, when the answer to its first one was lost, finds the row live and changes nothing more.
        change = rows.redating(dates, etag, now, gen, names.ttl)
        where = {names.key: {"S": self._partition_key(key)}}
        try:
            self._call("update_item", key, Key=where, ReturnValuesOnConditionCheckFailure="ALL_OLD", **change)
        except ConditionNotMetError as error:
            return Refused(None if error.row is None else self._whole(key, rows.decode(error.row, names.ttl)))
        return Written(etag)

    def remove(self, key: str, expect: Expect | None = None) -> Item | None:
        # A condition in any case: DynamoDB Local returns the old row to all who delete it at once without one.
        condition = rows.existing(self._names()) if expect is None else rows.expected(expect)
        response = self._conditional("delete_item", key, {**condition, "ReturnValues": "ALL_OLD"}) or {}
        self._delete_outside(key, self._replaced(response))
        row = response.get("Attributes")
        return rows.decode(row, self._names().ttl) if row else None

    def write_many(self, items: Mapping[str, Item]) -> None:
        small = []
        for key, item in items.items():
            row = self._row(key, item)
            if rows.size(row) > rows.LARGEST_ROW or (self._overflow is not None and self._overflow.takes(item.value)):
                self.write(key, item)
            else:
                small.append(row)
        batches = self._batches()
        for start in range(0, len(small), WRITES):
            batches.put(small[start : start + WRITES])

    def remove_many(self, keys: Sequence[str]) -> None:
        self._batches().delete([self._partition_key(key) for key in dict.fromkeys(keys)])

    def scan(self, prefix: str = "", *, segments: int = 1) -> Iterator[tuple[str, Item]]:
        return self._scan(prefix, segments)

    def survey(self, prefix: str = "", *, segments: int = 1, values: bool = False) -> Iterator[Found]:
        if not values:
            yield from super().survey(prefix, segments=segments)
            return
        for key, row in self._scan(prefix, segments, values=True):
            value = row.value if isinstance(row.value, bytes) else b""
            length = len(value) if row.parts is None else row.parts.length
            yield Found(key, row._replace(value=None), length, front=value[:FRONT_BYTES])

    def _scan(self, prefix: str, segments: int, *, values: bool = False) -> Iterator[tuple[str, Item]]:
        names = self._names()
        request = rows.scanning(names, self._prefix + prefix, values=values)
        for page in pages(lambda parameters: self._call("scan", None, **parameters), request, segments):
            for row in page["Items"]:
                key, item = row[names.key]["S"][len(self._prefix) :], rows.decode(row, names.ttl)
                if not _is_of_another_prefix(key, item.fn or ""):
                    yield key, item

    def patient(self) -> Self:
        twin = copy.copy(self)
        twin._pace = twin._bulk_pace = connection.PATIENT
        return twin

    def eventual(self) -> Self:
        twin = copy.copy(self)
        twin._consistent, twin._is_wanted = False, lambda key, row: False
        return twin

    def sparing(self, is_wanted: Callable[[str, Item], bool]) -> Self:
        twin = copy.copy(self)
        twin._is_wanted = is_wanted
        return twin

    def connect(self) -> None:
        self._connection.client()
        self._names()

    def exists(self) -> bool:
        return not self._create or connection.describe(partial(self._call, key=None), create=True) is not None

    def examine(self, *, quick: bool = False) -> Iterator[Finding]:
        def call(method: str, **parameters: Any) -> dict[str, Any]:
            return self._call(method, "#doctor", **parameters)

        where = (self._table, self._partition_key("#doctor"), self._given)
        return examination.examine(call, self._connection, *where, create=self._create, quick=quick)

    def policy(self, *, scans: bool = False, account: str = "*") -> dict[str, Any]:
        """The least IAM policy for these options, see `dynmemo.stores.dynamodb.policy`."""
        region = self._place[0] or self._connection.region or "*"
        names, bucket = (self._given[0], self._given[1]), None if self._overflow is None else self._overflow.url
        place = policy.Place(self._table, region, account)
        return policy.document(place, self._prefix, names, create=self._create, scans=scans, bucket=bucket)

    @property
    def names_given(self) -> tuple[str, tuple[str | None, str | None]]:
        """Of the table, and of its partition key and TTL attribute as far as they were given."""
        return self._table, self._given

    def create_table(self) -> None:
        """Create the table with TTL where it is missing, and check it otherwise."""
        discover(partial(self._call, key=None), self._table, *self._given, create=True)

    def extent(self) -> Extent:
        table = self._call("describe_table", None)["Table"]
        return Extent(table["TableSizeBytes"], table["ItemCount"], is_billed=True)

    def open(self) -> None:
        # One read says whether credentials, table and key are right, also where no Describe action is allowed.
        self.read("#open")

    def close(self) -> None:
        self._connection.close()
        if self._overflow is not None:
            self._overflow.close()

    def _names(self) -> Names:
        return self._connection.names(self._discover)

    def _discover(self) -> Names:
        unmetered = copy.copy(self)  # finding the table serves all callers, and is not counted for the first one
        unmetered._meters = ()
        return discover(partial(unmetered._call, key=None), self._table, *self._given, create=self._create)

    def _partition_key(self, key: str) -> str:
        return connection.check_partition_key(self._prefix + key, self._prefix)

    def _conditional(self, method: str, key: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
        """The answer to a request on one row; None if the row is not as the request expects it."""
        where = {self._names().key: {"S": self._partition_key(key)}}
        try:
            return self._call(method, key, Key=where, **parameters)
        except ConditionNotMetError:
            return None

    def _read(self, key: str, *, consistent: bool) -> Item | None:
        """The row as it stands there, of a value in parts without it."""
        names = self._names()
        response = self._call(
            "get_item",
            key,
            Key={names.key: {"S": self._partition_key(key)}},
            ConsistentRead=consistent or self._consistent,
        )
        row = response.get("Item")
        return None if row is None else self._decoded(row, names)

    def _decoded(self, row: Row, names: Names) -> Item:
        """A row that was read."""
        if names.ttl not in row and "ttl_deadline" in row and self._given[1] is None:
            # Who writes the one writes the other. So the table was made anew with its TTL on another attribute.
            names = self._connection.doubt_names(self._discover) or names
        return rows.decode(row, names.ttl)

    def _whole(self, key: str, item: Item | None) -> Item | None:
        """The row with its value, wherever that lies, if it is wanted."""
        if item is None or item.parts is None or not self._is_wanted(key, item):
            return item
        fetch = partial(of.whole, self._places, key, item, partial(self._read, key, consistent=True))
        return self._copies.whole(item, fetch, self._meters)

    def _put(self, key: str, row: Row, expect: Expect | None) -> Written | Refused:
        """Put one row."""
        size = rows.size(row)
        if size > rows.LARGEST_ROW:
            raise ValueTooLargeError(
                f"the row would have {size:,} bytes; a DynamoDB item holds {rows.LARGEST_ROW:,}, "
                "key and attribute names included. Store a smaller value"
            )
        names = self._names()
        etag: str = row["etag"]["S"]
        condition: dict[str, Any] = {}
        if expect is not None:
            condition = {**rows.expected(expect), "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        try:
            # Returning the replaced row costs no capacity, and the row says which parts to delete.
            response = self._call("put_item", key, Item=row, ReturnValues="ALL_OLD", **condition)
        except ConditionNotMetError as error:
            standing = None if error.row is None else rows.decode(error.row, names.ttl)
            # With our etag it is our own row: the answer to the SDK's first try was lost, and it tried again.
            if standing is None or standing.etag != etag:
                return Refused(None if standing is None else self._whole(key, standing))
            return Written(etag)
        replaced = self._replaced(response)
        # Here too our etag means our own row. Parts in the table that have a date TTL deletes for nothing.
        if replaced is not None and replaced.etag != etag:
            has_date = replaced.ttl_date is not None and replaced.parts is not None and replaced.parts.location is None
            self._delete_outside(key, None if has_date else replaced)
        return Written(etag)

    def _replaced(self, response: dict[str, Any]) -> Item | None:
        """The row that stood there before a put or delete, if its value lay in parts."""
        row = response.get("Attributes")
        if not row or "value" in row:
            return None
        return rows.decode(row, self._names().ttl)

    def _row(self, key: str, item: Item) -> Row:
        """The row as it is to be put, with a new etag."""
        names = self._names()
        return {names.key: {"S": self._partition_key(key)}, **rows.encode(item, names.ttl, new_token()[:16])}

    def _part_rows(self) -> PartRows:
        names = self._names()
        batches = Batches(partial(self._call, bulk=True), self._connection, self._table, names)
        return PartRows(batches, names, self._prefix)

    def _batches(self) -> Batches:
        return Batches(self._call, self._connection, self._table, self._names())

    def _places(self) -> list[of.Place]:
        return [self._part_rows(), *([] if self._overflow is None else [self._overflow])]

    def _delete_outside(self, key: str, row: Item | None) -> None:
        """Delete the value of a row that is gone, if it lay outside of it."""
        if row is not None and row.parts is not None:
            for place in self._places():
                place.delete(key, row.parts)

    def _call(self, method: str, key: str | None, *, bulk: bool = False, **parameters: Any) -> dict[str, Any]:
        """One request, and another one where somebody else was writing the row just then."""
        if method in _METERED:
            parameters["ReturnConsumedCapacity"] = "TOTAL"
        if method not in _OF_SEVERAL_TABLES:
            parameters["TableName"] = self._table
        for pause in CONFLICT_PAUSES:
            try:
                return self._send(method, key, parameters, bulk=bulk)
            except StoreUnavailableError as error:
                if not is_worth_another_try(error):
                    raise
            time.sleep(random.uniform(0.5, 1.0) * pause)  # noqa: S311 - no secret
        return self._send(method, key, parameters, bulk=bulk)

    def _send(self, method: str, key: str | None, parameters: dict[str, Any], *, bulk: bool) -> dict[str, Any]:
        """Every request goes through here, is counted here, and fails with our errors."""
        pace = self._bulk_pace if bulk else self._pace
        requests = 0
        try:
            send = getattr(self._connection.client(pace), method)
            requests = 1
            response: dict[str, Any] = send(**parameters)
            check_answer(response, method)
        except Exception as error:  # noqa: BLE001 - whatever it is, callers get ours
            self._count(method, getattr(error, "response", None) or {}, requests)
            failure = self._failure(error, method, key)
            raise failure from failure.__cause__
        except BaseException:  # Ctrl-C, or what a signal handler raised
            self._connection.abandon(pace)
            raise
        self._count(method, response, requests)
        return response

    def _failure(self, error: Exception, method: str, key: str | None) -> Exception:
        operation = "".join(word.capitalize() for word in method.split("_"))
        failure = translate(error, operation, self._table, key, create=self._create, discovered=self._given[0] is None)
        if isinstance(failure, InvalidTableError):
            self._connection.forget_names()  # the table was made anew with others, or is to be created
        if getattr(failure, "code", None) in CREDENTIAL_TROUBLE:
            self._connection.forget()
        return failure

    def _count(self, method: str, response: dict[str, Any], requests: int) -> None:
        if not self._meters:
            return
        requests += response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        consumed = response.get("ConsumedCapacity", ())
        several = (consumed,) if isinstance(consumed, dict) else consumed
        units = {_METERED.get(method, ""): sum(each["CapacityUnits"] for each in several)}
        for meter in self._meters:
            meter.count(requests, read_units=units.get("read", 0.0), write_units=units.get("write", 0.0))


def _is_of_another_prefix(key: str, fn: str) -> bool:
    """Whether a function's row belongs to a store whose prefix, as "dc" or "a:dc", makes its key look like ours."""
    ends = (":", "#")
    return not key.startswith(tuple(fn + end for end in ends)) and any(f":dc:{fn}{end}" in f":{key}" for end in ends)
