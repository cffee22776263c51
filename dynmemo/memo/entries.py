"""The entries of one decorated function in one cache: looking one up, keeping one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from dynmemo import expiry
from dynmemo.clear import generations
from dynmemo.errors import UnreadableValueError
from dynmemo.item import Item

if TYPE_CHECKING:
    from dynmemo.cache import Cache
    from dynmemo.codec import Codec, Decoded
    from dynmemo.expiry import Lifetime
    from dynmemo.stats import Stats

R = TypeVar("R")

REFRESH_AFTER = 0.1
"""Part of a sliding window that goes by before a hit moves the date again; DynamoDB bills the whole item for it."""


class Found(NamedTuple):
    """What a look-up found: `decoded` is None for a miss."""

    row: Item | None
    decoded: Decoded | None = None
    unreadable: UnreadableValueError | None = None
    """Why the bytes of an entry that is live could not be turned into the value."""


@dataclass(frozen=True, slots=True)
class Computed:
    """A result with what is remembered about it."""

    value: Any
    computed_at: float
    """Unix seconds when computing began."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Entry(Generic[R]):
    """A stored result, as `entry()` tells of it."""

    value: R
    computed_at: datetime
    """When computing it began (UTC)."""
    expires_at: datetime | None
    """When it expires unless it is used before (UTC); None for never."""
    size: int
    """Bytes as stored."""
    seconds: float
    """How long computing it took."""


class Entries:
    """Reads and writes the rows of one function in one cache. Store failures are raised, not handled."""

    def __init__(self, cache: Cache, fn: str, codec: Codec, stats: Stats) -> None:
        self.cache = cache
        self._fn = fn
        self._codec = codec
        self._store = cache.store.metered(stats)
        self._generations = generations(cache)
        # The way of every hit: looked up once.
        self._read, self._partition_key = self._store.read, self._store.partition_key
        self._loads, self._clock = codec.loads, cache.clock
        self._refresh_after = REFRESH_AFTER if cache.refresh_after is None else cache.refresh_after

    def find(self, key: str) -> Found:
        """Look the entry up; a hit moves its sliding window."""
        found = self.peek(key)
        row = found.row
        if found.decoded is not None and row is not None and row.ttl_window is not None:
            self.cache.touch(self._store, key, row, self._refresh_after)
        return found

    def peek(self, key: str) -> Found:
        """Look the entry up and leave its sliding window as it is."""
        row = self._read(key)
        if row is None or row.value is None:
            return Found(row)
        now = self._clock()
        if expiry.is_expired(row, now) or not self._is_current(row):
            return Found(row)
        try:
            return Found(row, self._loads(row.value, key=self._partition_key(key), now=now))
        except UnreadableValueError as error:
            # The deadline that the envelope swears to has passed, though the row says otherwise: a plain miss.
            return Found(row, unreadable=None if error.cause == "expired" else error)

    def generation(self) -> str:
        """The generation to stamp a result with, to be known before computing it."""
        return self._generations.ensured(self._store, self._fn)

    def keep(self, key: str, computed: Computed, lifetime: Lifetime, generation: str) -> bool:
        """Store a result; False if its time has run out already.

        Raises:
            CannotSerialize: it cannot be turned into bytes.
            ValueTooLargeError: it is larger than the cache or the store accepts.
        """
        now = self.cache.clock()
        dates = lifetime.dates(now)
        if dates is None:
            return False
        content = self._codec.dumps(
            computed.value,
            key=self._store.partition_key(key),
            computed_at=computed.computed_at,
            seconds=computed.seconds,
            deadline=dates.ttl_deadline,
        )
        self.cache.check_size(len(content))
        row = Item(content, dates.ttl_date, dates.ttl_deadline, dates.ttl_window, fn=self._fn, gen=generation)
        self._store.write(key, row)
        return True

    def remove(self, key: str) -> None:
        """Forget one entry."""
        self._store.remove(key)

    def describe(self, key: str) -> Entry[Any] | None:
        """What is stored under `key`, None for a miss."""
        found = self.peek(key)
        if found.row is None or found.row.value is None or found.decoded is None:
            return None
        end = expiry.expires_at(found.row)
        return Entry(
            value=found.decoded.value,
            computed_at=datetime.fromtimestamp(found.decoded.computed_at, UTC),
            expires_at=None if end is None else datetime.fromtimestamp(end, UTC),
            size=len(found.row.value),
            seconds=found.decoded.seconds,
        )

    def _is_current(self, row: Item) -> bool:
        if row.gen == self._generations.known(self._store, self._fn):
            return True
        return row.gen == self._generations.confirmed(self._store, self._fn)
