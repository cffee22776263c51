"""Values too large for one item: parts under keys of their own, then the row that points to them."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dynmemo import parts as of
from dynmemo.errors import InvalidTableError, StoreUnavailableError, ValueTooLargeError
from dynmemo.item import Item, Refused
from dynmemo.stores.dynamodb import rows
from dynmemo.stores.dynamodb.batches import in_parallel
from dynmemo.stores.dynamodb.connection import LONGEST_KEY
from dynmemo.stores.dynamodb.errors import is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Parts, Written
    from dynmemo.stores.dynamodb.batches import Batches
    from dynmemo.stores.dynamodb.connection import Names
    from dynmemo.stores.dynamodb.rows import Row

GROUP = 8
"""Parts per request, 3.3 MB. DynamoDB takes 16 MB, but a request takes five times its content in memory, and several
are under way at once."""


class LargeValues:
    """The parts of the values of one table; `prefix` stands before every key."""

    def __init__(self, batches: Batches, names: Names, prefix: str) -> None:
        self._batches = batches
        self._names = names
        self._prefix = prefix

    def write(self, key: str, item: Item, put: Callable[[Item], Written | Refused]) -> Written | Refused:
        """Put the parts of the value, then the row with `put`. A row that is not put takes its parts along."""
        value = item.value or b""
        write_id = of.new_write_id(time.time())
        row = of.with_deadline(replace(item, value=None))
        size = self._part_size(key, row, write_id, len(value))
        parts = of.cut(value, write_id, size)
        try:
            self._put(key, row, value, size, parts)
            answer = put(replace(row, parts=parts))
        except (StoreUnavailableError, InvalidTableError, ValueTooLargeError) as error:
            if is_refusal(error):
                self.delete(key, parts)
            raise
        if isinstance(answer, Refused):
            self.delete(key, parts)
        return answer

    def whole(self, key: str, item: Item, reread: Callable[[], Item | None]) -> Item | None:
        """The row with its value; without one when parts are missing or foreign even after `reread`.

        Parts never change, so the first look is of the cheap kind, whatever the store is set up for.
        """
        if item.parts is None:
            return item
        value = self._fetch(key, item.parts, consistent=False)
        if value is not None:
            return replace(item, value=value)
        row = reread()
        if row is None or row.value is not None or row.parts is None:
            return row
        return replace(row, value=self._fetch(key, row.parts, consistent=True))

    def delete(self, key: str, parts: Parts) -> None:
        """Delete parts that nobody needs; what fails is left to TTL and purge."""
        if of.is_plausible(parts):
            with suppress(StoreUnavailableError, InvalidTableError):
                self._batches.delete([self._key(key, parts, n) for n in range(parts.count)])

    def _put(self, key: str, row: Item, value: bytes, size: int, parts: Parts) -> None:
        view = memoryview(value)

        def put(group: range) -> None:
            pieces = ((n, bytes(view[n * size : (n + 1) * size])) for n in group)
            self._batches.put([self._part(key, row, parts.write_id, n, piece) for n, piece in pieces])

        in_parallel(put, _groups(parts.count))

    def _fetch(self, key: str, parts: Parts, *, consistent: bool) -> bytes | None:
        if not of.is_plausible(parts):
            return None

        def get(group: range) -> list[bytes | None]:
            keys = [self._key(key, parts, n) for n in group]
            found = {
                row[self._names.key]["S"]: rows.decode(row, self._names.ttl).value
                for row in self._batches.get(keys, consistent=consistent)
            }
            return [found.get(key) for key in keys]

        pieces = in_parallel(get, _groups(parts.count))
        return of.join([piece for group in pieces for piece in group], parts)

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
