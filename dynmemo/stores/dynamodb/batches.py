"""Many rows per request: batches, the pages of scans, and values too large for one item, whose parts they carry."""

from __future__ import annotations

import random
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo import parts as of
from dynmemo._process import Daemons
from dynmemo.errors import InvalidTableError, StoreUnavailableError, ValueTooLargeError
from dynmemo.item import Item
from dynmemo.stores.dynamodb import rows
from dynmemo.stores.dynamodb.connection import LONGEST_KEY
from dynmemo.stores.dynamodb.errors import THROTTLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from dynmemo.item import Parts
    from dynmemo.stores.dynamodb.connection import Connection, Names
    from dynmemo.stores.dynamodb.rows import Row

    Call = Callable[..., dict[str, Any]]
    """A request by the name of the client's method, counted and with the store's errors."""
    Page = dict[str, Any]
    """A request's parameters, or the answer to it."""

T = TypeVar("T")
U = TypeVar("U")

GETS = 100
"""Keys that one BatchGetItem takes."""

WRITES = 25
"""Puts and deletes that one BatchWriteItem takes."""

TOTAL_SECONDS = 120.0
"""How long one batch is repeated as long as some of it gets done each time."""

IDLE_TRIES = 8
"""How often in a row nothing may get done (with the pauses about 6 s) before that counts as a failure."""

_SDK_TRIES = 3
_LONGEST_PAUSE = 1.6

PARALLEL = 4
"""Threads for the requests of one large value."""


class Batches:
    """Batch requests on one table."""

    def __init__(self, call: Call, connection: Connection, table: str, names: Names) -> None:
        self._call = call
        self._connection = connection
        self._table = table
        self._names = names

    def get(self, keys: Sequence[str], *, consistent: bool) -> Iterator[Row]:
        """The rows that exist among these partition keys, in any order."""
        for start in range(0, len(keys), GETS):
            yield from self._get(keys[start : start + GETS], consistent=consistent)

    def put(self, rows: Sequence[Row]) -> None:
        """Put up to `WRITES` rows of 16 MB in all, whatever stands there."""
        self._write([{"PutRequest": {"Item": row}} for row in rows])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the rows with these partition keys, those that exist."""
        requests = [{"DeleteRequest": {"Key": self._key(key)}} for key in keys]
        for start in range(0, len(requests), WRITES):
            self._write(requests[start : start + WRITES])

    def _get(self, keys: Sequence[str], *, consistent: bool) -> Iterator[Row]:
        if not self._connection.batches_denied:
            try:
                # All of it before the first is given out, so that a denial leaves nothing half done.
                yield from list(self._get_batch(keys, consistent=consistent))
            except StoreUnavailableError as error:
                if error.code != "AccessDeniedException":
                    raise
                self._connection.batches_denied = True
            else:
                return
        for key in keys:
            response = self._call("get_item", None, Key=self._key(key), ConsistentRead=consistent)
            if "Item" in response:
                yield response["Item"]

    def _get_batch(self, keys: Sequence[str], *, consistent: bool) -> Iterator[Row]:
        left: Any = {"Keys": [self._key(key) for key in keys], "ConsistentRead": consistent}
        patience = _Patience("BatchGetItem", self._table, "UnprocessedKeys")
        while left:
            response = self._try("batch_get_item", left, patience)
            got = [row for of_table in response.get("Responses", {}).values() for row in of_table]
            yield from got
            # Rows beyond 16 MB come with the next request; none at all means that we are too fast.
            left = _left(response, "UnprocessedKeys", left)
            patience.after(done=bool(got), more=bool(left))

    def _write(self, requests: list[dict[str, Any]]) -> None:
        if not self._connection.batch_writes_denied:
            try:
                return self._write_batch(requests)
            except StoreUnavailableError as error:
                if error.code != "AccessDeniedException":
                    raise
                self._connection.batch_writes_denied = True
        for request in requests:
            if "PutRequest" in request:
                self._call("put_item", None, **request["PutRequest"])
            else:
                self._call("delete_item", None, **request["DeleteRequest"])
        return None

    def _write_batch(self, requests: list[dict[str, Any]]) -> None:
        left: Any = requests
        patience = _Patience("BatchWriteItem", self._table, "UnprocessedItems")
        while left:
            before = len(left)
            left = _left(self._try("batch_write_item", left, patience), "UnprocessedItems", left)
            patience.after(done=len(left) < before, more=bool(left))

    def _try(self, method: str, requests: Any, patience: _Patience) -> dict[str, Any]:
        """One request; a throttled one is an answer that says nothing."""
        try:
            return self._call(method, None, RequestItems={self._table: requests})
        except StoreUnavailableError as error:
            if error.code not in THROTTLED:
                raise
            patience.throttled()
            return {}

    def _key(self, key: str) -> Row:
        return {self._names.key: {"S": key}}


def _left(response: dict[str, Any], name: str, asked: Any) -> Any:
    """What is still to be done: all that was asked when there was no answer. There is only one table."""
    if name not in response:
        return asked if not response else []
    return next(iter(response[name].values()), [])


class _Patience:
    """Pauses between the requests of one batch, until it is time to give up."""

    def __init__(self, operation: str, table: str, code: str) -> None:
        self._operation = operation
        self._code = code
        self._table = table
        self._until = time.monotonic() + TOTAL_SECONDS
        self._idle = 0

    def throttled(self) -> None:
        """A request was refused as a whole, after the tries of the SDK."""
        self._idle += _SDK_TRIES - 1

    def after(self, *, done: bool, more: bool) -> None:
        """Wait if there is more to do and nothing was done just now."""
        if not more:
            return
        self._idle = 0 if done else self._idle + 1
        if self._idle > IDLE_TRIES or time.monotonic() > self._until:
            raise StoreUnavailableError(
                f"{self._operation} on the DynamoDB table {self._table!r} failed: DynamoDB left requests undone again "
                "and again, the table throttles. Wait, or raise its capacity",
                operation=self._operation,
                table=self._table,
                code=self._code,
            )
        if self._idle:
            time.sleep(random.uniform(0.5, 1.0) * min(0.05 * 2**self._idle, _LONGEST_PAUSE))  # noqa: S311 - no secret


def in_parallel(act: Callable[[T], U], tasks: Sequence[T]) -> list[U]:
    """The results of `act` for each task, in their order; when one fails, no other is begun any more."""
    if len(tasks) < 2:
        return [act(task) for task in tasks]
    with ThreadPoolExecutor(min(PARALLEL, len(tasks)), thread_name_prefix="dynmemo-parts") as pool:
        futures = [pool.submit(act, task) for task in tasks]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def pages(send: Callable[[Page], Page], request: Page, segments: int) -> Iterator[Page]:
    """The answers to `request` and to those that follow it, to the end of the table.

    Args:
        send: makes one request.
        request: its parameters.
        segments: how many parts of the table are read at once, each in a thread. The pages come as they arrive, and
            no more are fetched ahead than one for each segment.
    """
    if segments == 1:
        following: Page | None = request
        while following is not None:
            page = send(following)
            following = _next(following, page)
            yield page
        return
    pool = Daemons(segments, "dynmemo-scan")
    try:
        parts = [{**request, "Segment": segment, "TotalSegments": segments} for segment in range(segments)]
        running: dict[Future[Page], Page] = {pool.submit(send, part): part for part in parts}
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                page = done.result()
                following = _next(running.pop(done), page)
                if following is not None:
                    running[pool.submit(send, following)] = following
                yield page
    finally:
        pool.end()


def _next(request: Page, page: Page) -> Page | None:
    """The request for the page after `page`; None after the last one."""
    return {**request, "ExclusiveStartKey": page["LastEvaluatedKey"]} if "LastEvaluatedKey" in page else None


GROUP = 8
"""Parts per request, 3.3 MB. DynamoDB takes 16 MB, but a request takes five times its content in memory, and several
are under way at once."""


class PartRows:
    """Parts of values, in rows of one table with `prefix` before every key; a `dynmemo.parts.Place`."""

    def __init__(self, batches: Batches, names: Names, prefix: str) -> None:
        self._batches = batches
        self._names = names
        self._prefix = prefix

    def plan(self, key: str, row: Item, value: bytes) -> tuple[Item, Parts]:
        row = of.with_deadline(row)
        write_id = of.new_write_id(time.time())
        return row, of.cut(value, write_id, self._part_size(key, row, write_id, len(value)))

    def put(self, key: str, row: Item, parts: Parts, value: bytes) -> None:
        size = self._part_size(key, row, parts.write_id, len(value))
        view = memoryview(value)

        def put(group: range) -> None:
            pieces = ((n, bytes(view[n * size : (n + 1) * size])) for n in group)
            self._batches.put([self._part(key, row, parts.write_id, n, piece) for n, piece in pieces])

        in_parallel(put, _groups(parts.count))

    def get(self, key: str, parts: Parts, *, again: bool = False) -> bytes | None:
        if not of.is_plausible(parts):
            return None

        # Parts never change, so the first look is of the cheap kind, whatever the store is set up for.
        def get(group: range) -> list[bytes | None]:
            keys = [self._key(key, parts, n) for n in group]
            found = {
                row[self._names.key]["S"]: rows.decode(row, self._names.ttl).value
                for row in self._batches.get(keys, consistent=again)
            }
            return [found.get(key) for key in keys]

        pieces = in_parallel(get, _groups(parts.count))
        return of.join([piece for group in pieces for piece in group], parts)

    def delete(self, key: str, parts: Parts) -> None:
        if of.is_plausible(parts):
            with suppress(StoreUnavailableError, InvalidTableError):  # TTL or purge deletes them later
                self._batches.delete([self._key(key, parts, n) for n in range(parts.count)])

    def _part(self, key: str, row: Item, write_id: str, n: int, piece: bytes) -> Row:
        item = Item(piece, of.ttl_date(row), fn=row.fn)
        where = self._prefix + of.part_key(key, write_id, n)
        return {self._names.key: {"S": where}, **rows.encode(item, self._names.ttl, write_id)}

    def _part_size(self, key: str, row: Item, write_id: str, length: int) -> int:
        """Bytes of the value in one part: what an item leaves beside key and attributes."""
        last = length // of.SMALLEST_PART
        part = self._part(key, row, write_id, last, b"")
        taken = len(part[self._names.key]["S"].encode())
        if taken > LONGEST_KEY:
            raise ValueTooLargeError(
                f"a value of {length:,} bytes is stored in parts, and the key is {taken - LONGEST_KEY:,} bytes too "
                "long to make theirs from; use a shorter key"
            )
        return max(rows.LARGEST_ROW - rows.size(part), of.SMALLEST_PART)

    def _key(self, key: str, parts: Parts, n: int) -> str:
        return self._prefix + of.part_key(key, parts.write_id, n)


def _groups(count: int) -> list[range]:
    return [range(start, min(start + GROUP, count)) for start in range(0, count, GROUP)]
