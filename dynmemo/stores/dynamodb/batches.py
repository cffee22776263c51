"""Many rows per request: batches, the pages of scans, and values too large for one item, whose parts they carry."""

from __future__ import annotations

import random
import time
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo import parts as of
from dynmemo._process import Daemons
from dynmemo.errors import InvalidTableError, StoreUnavailableError, ValueTooLargeError
from dynmemo.item import Item, settled
from dynmemo.stores.dynamodb import rows
from dynmemo.stores.dynamodb.connection import LONGEST_KEY
from dynmemo.stores.dynamodb.errors import THROTTLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from dynmemo.item import Content, Parts
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
"""Threads for the requests of one large value, and for those of many rows."""


class Batches:
    """Batch requests on one table. Where IAM does not allow one, its rows go one by one."""

    def __init__(self, call: Call, connection: Connection, table: str, names: Names) -> None:
        self._call = call
        self._denied = connection.denied
        self._table = table
        self._names = names

    def get(self, keys: Sequence[str], *, consistent: bool) -> list[Row]:
        """The rows that exist among these partition keys, in any order."""

        def get(start: int) -> list[Row]:
            wanted = [self._key(key) for key in keys[start : start + GETS]]
            found = self._try("batch_get_item", {"Keys": wanted, "ConsistentRead": consistent})
            if found is None:
                answers = [self._call("get_item", None, Key=key, ConsistentRead=consistent) for key in wanted]
                found = [answer["Item"] for answer in answers if "Item" in answer]
            return found

        return [row for rows in in_parallel(get, range(0, len(keys), GETS)) for row in rows]

    def put(self, rows: Sequence[Row]) -> None:
        """Put up to `WRITES` rows of 16 MB in all, whatever stands there."""
        if self._try("batch_write_item", [{"PutRequest": {"Item": row}} for row in rows]) is None:
            for row in rows:
                self._call("put_item", None, Item=row)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete the rows with these partition keys, those that exist."""
        for start in range(0, len(keys), WRITES):
            batch = [self._key(key) for key in keys[start : start + WRITES]]
            if self._try("batch_write_item", [{"DeleteRequest": {"Key": key}} for key in batch]) is None:
                for key in batch:
                    self._call("delete_item", None, Key=key)

    def _try(self, method: str, requests: Any) -> list[Row] | None:
        """The rows that came of a batch; None if IAM does not allow it."""
        if method not in self._denied:
            try:
                return self._all(method, requests)
            except StoreUnavailableError as error:
                if error.code != "AccessDeniedException":
                    raise
                self._denied.add(method)
        return None

    def _all(self, method: str, left: Any) -> list[Row]:
        """Repeat a batch with what DynamoDB leaves undone, with pauses as long as it does nothing."""
        rest = "UnprocessedKeys" if method == "batch_get_item" else "UnprocessedItems"
        until = time.monotonic() + TOTAL_SECONDS
        found: list[Row] = []
        idle = 0
        while True:
            before, asked = len(found), left
            try:
                response = self._call(method, None, RequestItems={self._table: left})
            except StoreUnavailableError as error:
                if error.code not in THROTTLED:
                    raise
                idle += _SDK_TRIES - 1
            else:
                # Rows beyond 16 MB come with the next request; none at all means that we are too fast.
                found += [row for rows in response.get("Responses", {}).values() for row in rows]
                left = next(iter(response.get(rest, {}).values()), None)  # there is only one table
            if not left:
                return found
            is_less = isinstance(left, list) and len(left) < len(asked)
            idle = 0 if len(found) > before or is_less else idle + 1
            if idle > IDLE_TRIES or time.monotonic() > until:
                operation = "".join(word.capitalize() for word in method.split("_"))
                raise StoreUnavailableError(
                    f"{operation} on the DynamoDB table {self._table!r} failed: DynamoDB left requests undone again "
                    "and again, the table throttles. Wait, or raise its capacity",
                    operation=operation,
                    table=self._table,
                    code=rest,
                    is_throttled=True,
                )
            if idle:
                time.sleep(random.uniform(0.5, 1.0) * min(0.05 * 2**idle, _LONGEST_PAUSE))  # noqa: S311 - no secret

    def _key(self, key: str) -> Row:
        return {self._names.key: {"S": key}}


def in_parallel(act: Callable[[T], U], tasks: Sequence[T]) -> list[U]:
    """The results of `act` for each task, in their order; when one fails, no other is begun any more.

    Nothing runs any more when this raises, but after an interrupt, which waits for no request.
    """
    if len(tasks) < 2:
        return [act(task) for task in tasks]
    pool = Daemons(min(PARALLEL, len(tasks)), "dynmemo-batch")
    futures = [pool.submit(act, task) for task in tasks]
    try:
        return [future.result() for future in futures]
    except Exception:
        for future in futures:
            future.cancel()
        wait(futures)
        raise
    finally:
        pool.end()


def pages(send: Callable[[Page], Page], request: Page, segments: int) -> Iterator[Page]:
    """The answers to `request` and to those that follow it, to the end of the table.

    Args:
        send: makes one request.
        request: its parameters.
        segments: how many parts of the table are read at once, each in a thread. The pages come as they arrive, and
            no more are fetched ahead than one for each segment.
    """
    pool = Daemons(segments, "dynmemo-scan")
    try:
        parts = [{**request, "Segment": segment, "TotalSegments": segments} for segment in range(segments)]
        running: dict[Future[Page], Page] = {pool.submit(send, part): part for part in parts}
        while running:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                page, part = done.result(), running.pop(done)
                if "LastEvaluatedKey" in page:
                    following = {**part, "ExclusiveStartKey": page["LastEvaluatedKey"]}
                    running[pool.submit(send, following)] = following
                yield page
    finally:
        pool.end()


GROUP = 8
"""Parts per request, 3.3 MB. DynamoDB takes 16 MB, but a request takes five times its content in memory, and several
are under way at once."""


class PartRows:
    """Parts of values, in rows of one table with `prefix` before every key; a `dynmemo.parts.Place`."""

    def __init__(self, batches: Batches, names: Names, prefix: str) -> None:
        self._batches = batches
        self._names = names
        self._prefix = prefix

    def plan(self, key: str, row: Item, value: bytes | Content) -> tuple[Item, Parts]:
        row = of.with_deadline(row)
        write_id = of.new_write_id(time.time())
        return row, of.cut(value, write_id, self._part_size(key, row, write_id, len(value)))

    def put(self, key: str, row: Item, parts: Parts, value: bytes | Content) -> None:
        size = self._part_size(key, row, parts.write_id, len(value))
        view = memoryview(settled(value))

        def put(group: range) -> None:
            pieces = ((n, bytes(view[n * size : (n + 1) * size])) for n in group)
            self._batches.put([self._part(key, row, parts.write_id, n, piece) for n, piece in pieces])

        in_parallel(put, _groups(parts.count))

    def get(self, key: str, parts: Parts, *, again: bool = False) -> Content | None:
        if not of.is_plausible(parts):
            return None

        # Parts never change, so the first look is of the cheap kind, whatever the store is set up for.
        def get(group: range) -> list[bytes | None]:
            keys = [self._key(key, parts, n) for n in group]
            found = {
                row[self._names.key]["S"]: row.get("value", {}) for row in self._batches.get(keys, consistent=again)
            }
            return [found.get(key, {}).get("B") for key in keys]

        pieces = in_parallel(get, _groups(parts.count))
        return of.join([piece for group in pieces for piece in group], parts)

    def billed(self, key: str, row: Item, parts: Parts) -> list[int]:
        """The bytes that DynamoDB counts for each part of a value that was planned."""
        size = self._part_size(key, row, parts.write_id, parts.length)
        empty = (self._part(key, row, parts.write_id, n, b"") for n in range(parts.count))
        return [rows.size(part, exact=True) + min(size, parts.length - n * size) for n, part in enumerate(empty)]

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
