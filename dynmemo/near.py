"""Near entries: small entries that this process has read and verified, kept as long as the store has not changed.

They change nothing that anybody can see but time: before one is used, the store says whether anything in it has
changed since (`Store.version`), and dates and generations are compared as for a row that was just read.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from dynmemo._process import new_lock

if TYPE_CHECKING:
    from dynmemo.item import Item

T = TypeVar("T")

NEAR_MAX_BYTES = 32_000_000

LARGEST = 200_000
"""Bytes of the largest value that is kept: beyond, SQLite has it in a file, which is mapped and takes no memory."""

_BESIDE = 1_000
"""Bytes that an entry takes beside its value, about."""


class NearEntry(NamedTuple, Generic[T]):
    """A row as it was read, with what the codec made of its value when it had verified it."""

    row: Item
    opened: T
    version: object


class Near(Generic[T]):
    """The near entries of one cache. The least recently used ones go when they are more than `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.entries: OrderedDict[str, NearEntry[T]] = OrderedDict()
        """By key, the least recently used first."""
        self._size = 0
        self._lock = new_lock(self)

    def put(self, key: str, row: Item, opened: T, version: object) -> None:
        """Keep what was read when the store had this version, or before."""
        if _size_of(row) > min(LARGEST, self._max_bytes):
            return
        with self._lock:
            former = self.entries.pop(key, None)
            self.entries[key] = NearEntry(row, opened, version)
            self._size += _size_of(row) - (0 if former is None else _size_of(former.row))
            while self._size > self._max_bytes:
                # In one step: reads, which take no lock, change the order at any time.
                _, oldest = self.entries.popitem(last=False)
                self._size -= _size_of(oldest.row)


def _size_of(row: Item) -> int:
    return _BESIDE + len(row.value or b"")
