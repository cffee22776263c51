"""Values too large for the table, in S3: the object first, then a row that points to it."""

from __future__ import annotations

import copy
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, Self, TypeGuard, runtime_checkable

from dynmemo import parts as of
from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dynmemo.item import Expect, Item, Parts, Store, Written
    from dynmemo.stats import Meter
    from dynmemo.stores.s3 import Bucket


@runtime_checkable
class TellsRemoved(Protocol):
    """A store that tells where the values of rows lay that it replaces (`Written.replaced`) and removes."""

    def remove_and_tell(self, key: str, expect: Expect | None = None) -> tuple[bool, Parts | None]:
        """As `Store.remove`, with where the value of the removed row lay, if that was outside of it."""
        ...


class OverflowStore:
    """A store whose values of more than `above` bytes lie in a bucket; implements `dynmemo.item.Store`.

    Args:
        store: holds the rows.
        bucket: holds the objects, each under the write id of its value.
        above: bytes of the largest value that the store itself gets.
    """

    def __init__(self, store: Store, bucket: Bucket, above: int) -> None:
        self._store = store
        self._bucket = bucket
        self._above = above
        self._meters: tuple[Meter, ...] = ()

    @property
    def location(self) -> str:
        return f"{self._store.location}, large values in {self._bucket.url}"

    def metered(self, meter: Meter) -> Self:
        twin = copy.copy(self)
        twin._store = self._store.metered(meter)
        twin._meters = (*self._meters, meter)
        return twin

    def partition_key(self, key: str) -> str:
        return self._store.partition_key(key)

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        return self._whole(key, self._store.read(key, consistent=consistent))

    def read_many(self, keys: Sequence[str]) -> dict[str, Item]:
        rows = ((key, self._whole(key, row)) for key, row in self._store.read_many(keys).items())
        return {key: row for key, row in rows if row is not None}

    def write(self, key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        before = None if isinstance(self._store, TellsRemoved) else self._standing(key)
        if item.value is None or len(item.value) <= self._above:
            answer = self._store.write(key, item, expect)
        else:
            answer = self._write_outside(key, item, item.value, expect)
        if isinstance(answer, Refused):
            return Refused(self._whole(key, answer.row))
        self._delete(answer.replaced or before)
        return answer

    def renew(self, key: str, etag: str, ttl_date: int, lease_waits: str | None = None) -> bool:
        return self._store.renew(key, etag, ttl_date, lease_waits)

    def touch(self, key: str, seen: Item, ttl_date: int) -> bool:
        return self._store.touch(key, seen, ttl_date)

    def remove(self, key: str, expect: Expect | None = None) -> bool:
        removed, before = self._remove(key, expect)
        if removed:
            self._delete(before)
        return removed

    def scan(self, prefix: str = "", *, fn: str | None = None, segments: int = 1) -> Iterator[tuple[str, Item]]:
        return self._store.scan(prefix, fn=fn, segments=segments)

    def patient(self) -> Self:
        twin = copy.copy(self)
        twin._store = self._store.patient()
        return twin

    def open(self) -> None:
        self._store.open()

    def close(self) -> None:
        self._store.close()
        self._bucket.close()

    def _write_outside(self, key: str, item: Item, value: bytes, expect: Expect | None) -> Written | Refused:
        write_id = of.new_write_id(time.time())
        parts = of.outside(value, write_id, self._bucket.url + write_id)
        self._count()
        self._bucket.put(write_id, value)
        try:
            answer = self._store.write(key, replace(item, value=None, parts=parts), expect)
        except StoreUnavailableError as error:
            if error.request_id is not None:  # refused for certain; else the row may stand there and needs its object
                self._delete(parts)
            raise
        if isinstance(answer, Refused):
            self._delete(parts)
        return answer

    def _remove(self, key: str, expect: Expect | None) -> tuple[bool, Parts | None]:
        if isinstance(self._store, TellsRemoved):
            return self._store.remove_and_tell(key, expect)
        before = self._standing(key)
        return self._store.remove(key, expect), before

    def _standing(self, key: str) -> Parts | None:
        row = self._store.read(key)
        return None if row is None else row.parts

    def _whole(self, key: str, row: Item | None) -> Item | None:
        """The row with its value; one whose object is gone is read once more, then it is without."""
        if row is None or not _is_outside(row.parts):
            return row
        value = self._fetch(row.parts)
        if value is None:
            row = self._store.read(key, consistent=True)
            if row is None or not _is_outside(row.parts):
                return row
            value = self._fetch(row.parts)
        return replace(row, value=value)

    def _fetch(self, parts: Parts) -> bytes | None:
        if not self._is_ours(parts):
            return None
        self._count()
        value = self._bucket.get(parts.write_id, parts.length)
        return None if value is None else of.checked(value, parts)

    def _delete(self, parts: Parts | None) -> None:
        """Delete an object that nobody needs; what fails is left to the bucket's lifecycle rule."""
        if parts is not None and self._is_ours(parts):
            self._count()
            with suppress(StoreUnavailableError):
                self._bucket.delete(parts.write_id)

    def _is_ours(self, parts: Parts) -> bool:
        """Whether the object lies in our bucket; a row may name any place, and we do not go there."""
        return parts.location == self._bucket.url + parts.write_id and of.began_at(parts.write_id) is not None

    def _count(self) -> None:
        for meter in self._meters:
            meter.count()


class _ClearableOverflowStore(OverflowStore):
    """For a store that can delete all rows of a function; their objects are left to the bucket's lifecycle rule."""

    def remove_all(self, fn: str | None) -> int:
        removed: int = self._store.remove_all(fn)  # type: ignore[attr-defined]  # `overflowing` has looked
        return removed


def overflowing(store: Store, bucket: Bucket, above: int) -> Store:
    """`store` with its values of more than `above` bytes in `bucket`."""
    kind = _ClearableOverflowStore if hasattr(store, "remove_all") else OverflowStore
    return kind(store, bucket, above)


def _is_outside(parts: Parts | None) -> TypeGuard[Parts]:
    return parts is not None and parts.location is not None
