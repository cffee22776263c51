"""Near entries: small entries that this process has read and verified, and uses again without reading them.

How long depends on the store. One that can tell whether anything in it has changed (`Store.version`) is asked that
before each use, so nobody can see a near entry but by the time it saves. For one that cannot, the user says for how
many seconds after a row was read it may be used (``near=``): for so long others' changes may go unseen. What this
process itself writes or removes is dropped at once.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar, cast

from dynmemo import expiry
from dynmemo._process import new_lock
from dynmemo.keys.builtin import LEAVES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynmemo.item import Item

T = TypeVar("T")

NEAR_MAX_BYTES = 32_000_000

LARGEST = 200_000
"""Bytes of the largest object that is kept beside the bytes of its value, which are never more than a row holds."""

COPIED_FROM = 30
"""Uses of an entry from which on its value is copied, if it can be: finding out how takes as long as so many save."""

_DEEPEST = 10
"""Dicts and lists in each other that are copied."""

_BESIDE = 1_000
"""Bytes that an entry takes beside its value, about."""

_MOST_DROPPED = 1_000
"""Keys of which it is remembered when they were dropped. Of others no row is kept whose reading began before that."""


_HOLDERS = frozenset({tuple, frozenset})
"""Exact types that nothing can change but what they hold."""


class Reading(NamedTuple):
    """What was known when the reading of a row began that may become a near entry."""

    version: object
    """Of the store, None if it cannot tell."""
    fresh_until: float
    """In seconds of a monotonic clock."""
    drops: int
    """How often something had been dropped."""


@dataclass(slots=True)  # as `Decoded`
class NearEntry(Generic[T]):
    """A row as it was read, with what came of it."""

    row: Item
    opened: T
    """What the codec made of its value when it had verified it."""
    version: object
    fresh_until: float
    """Both of its `Reading`."""
    until: float
    """See `usable_until`."""
    size: int
    """Bytes of the values in memory."""
    found: Any = None
    """What a look-up gives, where everybody may be given the same: nobody can change the value."""
    codec: object = None
    """Who has read it; another one may read the same bytes otherwise, or not at all."""
    generation: str | None = None
    """The last one for which it was found to count."""
    uses: int = 0
    """How often an object was made of it."""

    def again(self, reading: Reading) -> Self:
        """The same, for the row was read once more and is still what it was."""
        self.version, self.fresh_until = reading.version, reading.fresh_until
        return self


class Near(Generic[T]):
    """The near entries of one cache. The least recently used ones go when they are more than `max_bytes`.

    Args:
        max_bytes: of all entries.
        seconds: for how long after a row was read it may be used, where the store cannot tell whether it has changed.
            None: not at all.
    """

    def __init__(self, max_bytes: int, seconds: float | None = None) -> None:
        self.seconds = seconds
        self.entries: OrderedDict[str, NearEntry[T]] = OrderedDict()
        """By key, the least recently used first."""
        self._max_bytes = max_bytes
        self._size = 0
        self._drops = self._forgotten = 0
        self._dropped: OrderedDict[str, int] = OrderedDict()
        self._lock = new_lock(self)

    def reading(self, version: object, now: float) -> Reading | None:
        """To be asked `now` (monotonic) before a row is read that may be `put`; None if none may.

        Such a read has to be consistent: an old row would be used on and on, though this very process has changed it.
        """
        if version is None and self.seconds is None:
            return None
        fresh_until = math.inf if self.seconds is None else now + self.seconds
        return Reading(version, fresh_until, self._drops)

    def put(self, read: Mapping[str, NearEntry[T]], drops: int) -> None:
        """Keep what was read, unless this process has dropped it since the reading began, when there were `drops`.

        What another thread began to read later stays: nobody sees an older row after it.
        """
        with self._lock:
            for key, entry in read.items():
                size = _BESIDE + entry.size
                if size > self._max_bytes or drops < self._dropped.get(key, self._forgotten):
                    continue
                known = self.entries.get(key)
                if known is not None:
                    if known.fresh_until > entry.fresh_until:
                        continue
                    self._remove(key)
                self.entries[key] = entry
                self._grow(size)

    def grow(self, key: str, entry: NearEntry[T], size: int) -> None:
        """So many bytes more are kept with an entry."""
        with self._lock:
            if self.entries.get(key) is entry:
                entry.size += size
                self._grow(size)

    def _grow(self, size: int) -> None:
        self._size += size
        while self._size > self._max_bytes:
            # In one step: reads, which take no lock, change the order at any time.
            _, oldest = self.entries.popitem(last=False)
            self._size -= _BESIDE + oldest.size

    def drop(self, key: str) -> None:
        """Forget what this process has changed, also if somebody is reading it just now: to be called after that."""
        with self._lock:
            self._drops += 1
            self._dropped.pop(key, None)
            self._dropped[key] = self._drops
            if len(self._dropped) > _MOST_DROPPED:
                _, self._forgotten = self._dropped.popitem(last=False)
            self._remove(key)

    def _remove(self, key: str) -> None:
        former = self.entries.pop(key, None)
        self._size -= 0 if former is None else _BESIDE + former.size


def usable_until(row: Item, deadline: int | None, refresh_after: float) -> float:
    """The Unix second from which on a row is to be read again.

    Then it, or its value by the deadline that was signed with it, has expired, or use is to move its sliding window.
    """
    until = math.inf if deadline is None else deadline
    if row.ttl_date is None:  # then nothing moves, either
        return until
    ends = (expiry.expires_at(row), expiry.refresh_due(row, refresh_after))
    return min(until, *(end for end in ends if end is not None))


def footprint(value: object) -> int | None:
    """Bytes in memory of a value that nobody can change; None if somebody could, or if it takes more than `LARGEST`."""
    if type(value) not in _HOLDERS:
        size = sys.getsizeof(value) if type(value) in LEAVES else None
        return None if size is None or size > LARGEST else size
    size, seen, waiting = 0, set[int](), [value]
    while waiting:
        one: Any = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        size += sys.getsizeof(one)
        if size > LARGEST:
            return None
        if type(one) in _HOLDERS:
            waiting.extend(one)
        elif type(one) not in LEAVES:
            return None
    return size


def copier(value: object) -> tuple[Callable[[Any], object], int] | None:
    """What copies `value` in half of the time in which its like are unpickled, and its bytes in memory.

    There is such a thing for a dict or list of what nobody can change and of such dicts and lists, each of which is in
    there once. From then on `value` belongs to it.
    """
    copies = _Copies()
    try:
        copy = copies.of(value)
    except _NotCopiedError:
        return None
    return None if copy is None else (copy, copies.size)


class _NotCopiedError(Exception):
    """There is more to a value."""


class _Copies:
    """Finds out how to copy a value and what is in it, and how large that is."""

    def __init__(self) -> None:
        self.size = 0
        self._seen: set[int] = set()

    def of(self, value: Any, depth: int = 0) -> Callable[[Any], object] | None:
        """What copies it; None if everybody may have the same."""
        if self._is_shared(value):
            return None
        kind = type(value)
        if kind not in (dict, list) or id(value) in self._seen or depth == _DEEPEST:
            raise _NotCopiedError
        self._seen.add(id(value))
        self._add(sys.getsizeof(value))
        if kind is dict and not all(map(self._is_shared, value)):
            raise _NotCopiedError
        places = value.items() if kind is dict else enumerate(value)
        copied = [(at, copy) for at, child in places if (copy := self.of(child, depth + 1)) is not None]
        ways = {copy for _, copy in copied}
        if not copied:
            return cast("Callable[[Any], object]", kind.copy)
        if kind is list and len(ways) == 1 and len(copied) == len(value):
            return partial(_all_copied, ways.pop())
        return partial(_some_copied, copied)

    def _is_shared(self, value: object) -> bool:
        beside = footprint(value)
        self._add(beside or 0)
        return beside is not None

    def _add(self, size: int) -> None:
        self.size += size
        if self.size > LARGEST:
            raise _NotCopiedError


def _all_copied(copy: Callable[[Any], object], values: list[Any]) -> list[object]:
    return list(map(copy, values))


def _some_copied(copied: list[tuple[Any, Callable[[Any], object]]], values: Any) -> object:
    made = values.copy()
    for at, copy in copied:
        made[at] = copy(values[at])
    return made
