"""The one record that travels between the rooms, and what a store promises to do with it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, runtime_checkable

from dynmemo.errors import InvalidTableError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

    from dynmemo.counters import Meter

Bytes = bytes | bytearray | memoryview

SEGMENTS = 4
"""Of a table that are scanned at once; a page of each is some 130 read units, and others use the table too."""

LATEST_TIME = 253_402_300_799
"""The last Unix second that .NET's DateTimeOffset can express (9999-12-31T23:59:59Z)."""


@runtime_checkable
class Content(Protocol):
    """A value that is not one bytes object: it lies in a file, or is still in several pieces."""

    __slots__ = ()

    @property
    def identity(self) -> Hashable:
        """What tells these very bytes from all others, so that they need be verified but once; None if nothing does."""
        ...

    def __len__(self) -> int: ...

    def __bytes__(self) -> bytes: ...

    def __eq__(self, other: object) -> bool:
        """Whether the bytes are the same, also those of a bytes object."""
        if isinstance(other, bytes | Content):
            return len(self) == len(other) and bytes(self) == bytes(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(bytes(self))

    def load(self, *, mapped: bool = True) -> memoryview:
        """All bytes, in memory that is the caller's own and may be written to; a map of a file if `mapped` allows it.

        Raises OSError.
        """
        ...

    def pieces(self, end: int) -> Iterator[Bytes]:
        """The bytes up to `end`, one after the other; each is good until the next is asked for. Raises OSError."""
        ...


class Pieces(Content):
    """A value to be written, in pieces that lie in memory already: joining a large one would copy it.

    They are the memory of the result itself. So who writes them `settle`s them, before anybody else gets hold of that.
    """

    __slots__ = ("_length", "_pieces", "_stored")

    def __init__(self, pieces: Sequence[Bytes]) -> None:
        self._pieces = pieces
        self._length = sum(map(len, pieces))
        self._stored: Content | None = None

    @property
    def identity(self) -> Hashable:
        return None if self._stored is None else self._stored.identity

    def settle(self, stored: Content | None) -> None:
        """From now on the bytes are those of `stored`, or a copy."""
        if stored is None and self._stored is None:
            self._pieces = [bytes(self)]
        elif stored is not None:
            self._stored, self._pieces = stored, ()

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces) if self._stored is None else bytes(self._stored)

    def load(self, *, mapped: bool = True) -> memoryview:
        if self._stored is not None:
            return self._stored.load(mapped=mapped)
        return memoryview(bytearray().join(self._pieces))

    def pieces(self, end: int) -> Iterator[Bytes]:
        if self._stored is not None:
            yield from self._stored.pieces(end)
        for piece in self._pieces:
            yield piece[:end]
            end -= min(end, len(piece))


def pieces_of(value: bytes | Content) -> Iterable[Bytes]:
    """All of a value, piece by piece."""
    return [value] if isinstance(value, bytes) else value.pieces(len(value))


def settled(value: bytes | Content) -> bytes:
    """The whole value, which is then no longer the memory of a result."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Pieces):
        value.settle(None)
    return bytes(value)


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the bytes of a value lie that is too large for one row."""

    write_id: str
    """Of the write that put them there, see `dynmemo.parts`."""
    count: int
    """How many parts there are in the table."""
    length: int
    """Bytes of the whole value."""
    digest: bytes
    """BLAKE3 of the whole value, 32 bytes."""
    location: str | None = None
    """The URL of the one object outside the table that holds them, or ``file`` for a file beside the database; `count`
    is then 0."""


class Item(NamedTuple):
    """One row, whatever the store. An attribute that the row does not have is None.

    Times are Unix seconds. `value` is None for a row without value (a lease, a
    generation, a foreign row), which is a miss for every reader; an empty value is ``b""``.
    """

    value: bytes | Content | None = None
    ttl_date: int | None = None
    """When the row expires; it is expired once the clock, with its fraction, is past this second."""
    ttl_deadline: int | None = None
    """The moment past which no refresh moves `ttl_date`."""
    ttl_window: str | None = None
    """The sliding window as it is written in the row: a .NET TimeSpan, see `dynmemo.expiry`."""
    etag: str | None = None
    """Random, new with every write and unchanged by `touch` and `renew`; rows of other programs have none."""
    fn: str | None = None
    """Name of the decorated function that owns the row; rows of `Cache.set` have none."""
    gen: str | None = None
    """Generation under which the value was computed; on a generation row the generation itself."""
    parts: Parts | None = None
    lease_owner: str | None = None
    lease_seconds: float | None = None
    lease_beat: int | None = None
    stale_for: int | None = None
    """Seconds by which both stored dates lie after the real ones (`stale_if_error`)."""
    no_store: str | None = None
    """Why the result of this call is not shared."""
    lease_waits: str | None = None
    """Key of another lease row, for which the one who holds this lease waits; as of the last renewal."""
    lease_by: str | None = None
    """Who holds the lease, for people, as `dynmemo.origin` writes and reads it."""

    @property
    def is_entry(self) -> bool:
        """Whether it is the row of a value, wherever that lies and whether or not it was fetched."""
        return self.value is not None or self.parts is not None


class Expect(NamedTuple):
    """The state of a row on which a write depends: compare-and-set on `etag`.

    `etag` None means that no etag was seen, be the row absent, another program's, or
    a ghost; `beat`, where given, must be the row's `lease_beat` as well.
    """

    etag: str | None = None
    beat: int | None = None

    @classmethod
    def seen(cls, item: Item | None) -> Expect:
        """The expectation that the row is still the one that was read."""
        return _NO_ETAG if item is None else cls(item.etag, item.lease_beat)


_NO_ETAG = Expect()


class Written(NamedTuple):
    """The write took place; `etag` is the one the row carries now."""

    etag: str


class Refused(NamedTuple):
    """The write did not take place because of its `Expect`; `row` is what stands there instead."""

    row: Item | None


class Found(NamedTuple):
    """A row as a survey of the store finds it."""

    key: str
    row: Item
    """Without its value."""
    size: int | None = None
    """Bytes of the value; None where the store does not tell without reading it."""
    stored_at: float | None = None
    """Unix seconds when the row was written; None where the store does not know."""
    front: bytes = b""
    """The first bytes of the value, enough for what its envelope says; empty where that is not told."""


FRONT_BYTES = 2_000
"""Of a value that a survey tells."""
_SURVEYED = 100
"""Rows that a survey reads at once."""


class Extent(NamedTuple):
    """How much lies in a store, whoever put it there."""

    size: int | None = None
    """Bytes, with values in files beside it, without those in S3; None where the store does not know."""
    rows: int | None = None
    """None where counting them takes a scan."""
    max_bytes: int | None = None
    """Beyond which the store removes rows; None for no limit."""
    is_billed: bool = False
    """Whether reading costs money. Then size and rows are some hours old."""

    @property
    def read_units(self) -> float:
        """What a scan of all of it takes: half a unit for 4 KB."""
        return -(-(self.size or 0) // 4096) / 2 if self.is_billed else 0.0


class Finding(NamedTuple):
    """One line of an examination by `doctor`.

    Example:
        >>> [finding.what for finding in dynmemo.doctor("sqlite:///cache.db") if finding.is_good is False]
        []
    """

    what: str
    """That was looked at."""
    is_good: bool | None
    """None where it cannot be told, or is neither."""
    found: str
    """What was found, as a sentence."""
    advice: str = ""
    """What to do."""


class Store(Protocol):
    """Rows by key, shared by every thread, process and machine that opens the same place.

    Keys are the cache's own (`Cache.get` takes the same ones); the store puts its prefix
    before them, see `partition_key`. A store knows nothing of expiry: an expired row that
    still lies there is returned like any other.

    Every method may be called from any thread and in a forked or spawned child. Whatever
    goes wrong raises `StoreUnavailableError` (`InvalidTableError` for a table that cannot
    serve), after a bounded time; then the row is either as it was or as the call wanted it.
    A constructor does no I/O.

    A class that derives from this one inherits what not every store can do, at the end.

    Example:
        >>> Cache.sqlite("cache.db").store.read("absent") is None
        True
    """

    is_billed: bool = False
    """Whether requests cost money."""

    @property
    def location(self) -> str:
        """Where the rows lie, for people (a path, or table, region and endpoint)."""
        ...

    def metered(self, meter: Meter) -> Self:
        """The same store, connections included, that also counts its requests in `meter`."""
        ...

    def partition_key(self, key: str) -> str:
        """The key as it stands in the table: ``dc:{key}`` or ``{prefix}:dc:{key}``."""
        ...

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        """The row, or None. `consistent` asks for the latest state where the store is set up not to."""
        ...

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        """The rows that exist among `keys`, any number of them; `consistent` as for `read`."""
        ...

    def write(self, key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        """Put the whole row, with a new etag (`item.etag` is ignored), replacing what is there.

        With `expect` only if the row is as expected; otherwise nothing changes and the
        answer carries the row that stood in the way. A write that was done and whose first answer
        was lost counts as `Written`. Raises `ValueTooLargeError` when the row cannot be
        held whatever is done.
        """
        ...

    def renew(self, key: str, etag: str, ttl_date: int, lease_waits: str | None = None) -> bool:
        """Add one to `lease_beat`, set `ttl_date` and `lease_waits` if the row carries `etag`; whether it was done."""
        ...

    def touch(self, key: str, seen: Item, ttl_date: int) -> bool:
        """Move only `ttl_date`, and only forward, if the row is still the one `seen`; whether it was done.

        A row with an etag is the same while the etag is; one without (another program's) while
        window and deadline are. A removed row is never brought back.
        """
        ...

    def redate(self, key: str, dates: Item, now: float, gen: str | None = None) -> Written | Refused:
        """Give a live row the ttl_date, ttl_deadline and ttl_window of `dates` and a new etag; its value stays there.

        A row is live if it has a value, has not expired `now` (Unix seconds), and is of the generation `gen`, if one is
        given. Another one is not changed and comes back, as does one whose value lies where its dates are kept, too,
        or which is kept beyond its dates (`stale_for`): these have to be written anew.
        """
        ...

    def remove(self, key: str, expect: Expect | None = None) -> Item | None:
        """Remove the row if it is there (and as expected).

        The row that went, without a value that lies outside of it; None if none did.
        """
        ...

    def scan(self, prefix: str = "", *, segments: int = 1) -> Iterator[tuple[str, Item]]:
        """All rows with an `fn` whose key starts with `prefix`, without their values.

        In any order. A store may read so many `segments` at once.
        """
        ...

    def open(self) -> None:
        """Connect, create what was asked to be created, and check that the place can serve."""
        ...

    def close(self) -> None:
        """Give connections back. The next call opens new ones."""
        ...

    def survey(self, prefix: str = "", *, segments: int = 1, values: bool = False) -> Iterator[Found]:
        """What `scan` finds, with what the store knows of it besides.

        With `values` it reads the values that lie in their rows, too, where it does not know sizes and fronts else.
        """
        rows = self.scan(prefix, segments=segments)
        while batch := list(itertools.islice(rows, _SURVEYED)):
            read = self.read_many([key for key, row in batch if row.parts is None]) if values else {}
            for key, row in batch:
                value = read[key].value if key in read else None
                if value is None:
                    yield Found(key, row, None if row.parts is None else row.parts.length)
                else:
                    yield Found(key, row, len(value), front=bytes(value)[:FRONT_BYTES])

    def write_many(self, items: Mapping[str, Item]) -> None:
        """Put many rows, whatever stands there. One that fails leaves some written and some not."""
        for key, item in items.items():
            self.write(key, item)

    def remove_many(self, keys: Sequence[str]) -> None:
        """Remove the rows among `keys` that are there. One that fails leaves some removed and some not."""
        for key in keys:
            self.remove(key)

    def connect(self) -> None:
        """Connect, where that takes time, and find or create the place; the second time nothing is asked of it."""
        return None  # noqa: RET501 - no abstract method

    def patient(self) -> Self:
        """The same store for long jobs that nobody waits for: what is throttled is tried for half a minute or more."""
        return self

    def eventual(self) -> Self:
        """The same store for looks at rows, which may be some moments behind and without what lies outside of them."""
        return self

    def sparing(self, is_wanted: Callable[[str, Item], bool]) -> Self:
        """The same store, which reads a value that lies outside of its row only if `is_wanted(key, row)`.

        Where that costs nothing it may read them all. `is_wanted` may ask the store for other rows, so no lock is held.
        """
        return self

    def exists(self) -> bool:
        """Whether the place is there. Nothing is created, as other calls would."""
        return True

    def examine(self, *, quick: bool = False) -> Iterator[Finding]:
        """Try what calls need, without changing or creating anything; `quick` leaves out what helps only people."""
        try:
            self.open()
        except (StoreUnavailableError, InvalidTableError) as error:
            yield Finding("store", False, str(error))
        else:
            yield Finding("store", True, self.location)

    def extent(self) -> Extent:
        """How much there is, by a request that costs nothing."""
        return Extent()

    def version(self) -> object:
        """An object that is another one after every change in the store, whoever made it.

        None where that cannot be told without a read, be it now or ever: then no process keeps near entries.
        """
        return None

    def known_version(self) -> object:
        """What `version` has told last, or another object: no row that is read from now on is older than it."""
        return None

    def remove_all(self, prefix: str = "", *, ends: str = "", without: str = "") -> int | None:
        """Where that is cheap, delete the rows that `scan` finds and that were stored before.

        With `ends` those whose `gen` ends so, and with `without` those whose `fn` does not contain that.
        Generation rows and leases stay. How many were deleted; None where that is not cheap.
        """
        return None

    def remove_orphans(self, *, dry_run: bool = False) -> int:
        """Delete the values of killed writers as far as no scan of rows finds them; how many."""
        return 0
