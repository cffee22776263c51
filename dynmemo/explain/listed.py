"""What lies in a cache, as records that read well in notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from dynmemo import views

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.origin import Origin

T = TypeVar("T", bound="ListedEntry | ListedFunction")


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One entry of a function or region, as `ls` finds it. Nothing of its value is unpickled or verified.

    Example:
        >>> forecast("SEA", 1)
        [12.5]
        >>> [entry] = dynmemo.ls(forecast)
        >>> entry.state, entry.key == forecast.cache_key("SEA", 1)
        ('live', True)
    """

    key: str
    """As `Cache.get` takes it."""
    state: str
    """``live``, ``expired``, ``superseded`` (cleared since), ``computing`` (a lease) or ``not shared`` (it has no
    stored form)."""
    size: int | None
    """Bytes as stored; None where that cannot be told without reading the value."""
    stored_at: datetime | None
    """When it was stored (UTC); None in DynamoDB, whose rows do not say."""
    expires_at: datetime | None
    """When it expires unless it is used before (UTC); None for never."""
    seconds: float | None
    """How long computing it took, in seconds; None where that cannot be told without reading the value."""
    origin: Origin | None = None
    """Where it comes from; None where that is not told, or cannot be without reading the value."""

    @property
    def code(self) -> str:
        """The code part of the key, which is another one for each version of the function's code."""
        return self.key.split(":")[1] if self.key.count(":") > 1 else ""

    def in_words(self, now: float) -> dict[str, str]:
        """What a table says of it."""
        return {
            "key": self.key,
            "state": self.state,
            "size": _size(self.size),
            "stored": _ago(self.stored_at, now),
            "expires": _ago(self.expires_at, now, "never"),
            "took": _took(self.seconds),
            "by": "" if self.origin is None else self.origin.who,
        }


@dataclass(frozen=True, slots=True)
class ListedFunction:
    """The entries of one function or region together, as `ls` finds them.

    Example:
        >>> forecast.warm(["SEA", "PDX"])
        2
        >>> [function] = dynmemo.ls()
        >>> function.entries, function.codes
        (2, 1)
    """

    name: str
    """Of the function, as in keys, or of the region."""
    entries: int
    """Live ones."""
    others: int
    """Expired and superseded ones, which `purge` deletes."""
    size: int | None
    """Bytes of all as stored, as far as known; None where nothing is."""
    oldest: datetime | None
    """When the oldest was stored (UTC); None in DynamoDB, whose rows do not say."""
    newest: datetime | None
    """The same of the newest."""
    next_expiry: datetime | None
    """When the first of the live ones expires unless it is used before (UTC)."""
    codes: int
    """Versions of its code of which there are live entries."""
    saved: float | None
    """Seconds that one hit on each live entry saves; None where that is not known."""

    def in_words(self, now: float) -> dict[str, str]:
        """What a table says of it."""
        return {
            "function": self.name,
            "entries": f"{self.entries:,}",
            "others": f"{self.others:,}",
            "size": _size(self.size),
            "oldest": _ago(self.oldest, now),
            "newest": _ago(self.newest, now),
            "next expiry": _ago(self.next_expiry, now, "never" if self.entries else ""),
            "codes": f"{self.codes:,}",
            "saved": _took(self.saved),
        }


@dataclass(frozen=True, slots=True, repr=False)
class Listing(Generic[T]):
    """What `ls` found, as a sequence and as a table.

    Example:
        >>> forecast.warm(["SEA", "PDX"])
        2
        >>> len(dynmemo.ls(forecast)), dynmemo.ls().table()[0][:2]
        (2, ['function', 'entries'])
    """

    location: str
    """A path, or table, region and endpoint."""
    rows: tuple[T, ...]
    """In the order that was asked for."""
    listed_at: float
    """Unix seconds."""

    def __iter__(self) -> Iterator[T]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.rows[index]

    def __repr__(self) -> str:
        return f"<dynmemo.Listing: {len(self.rows):,} in {self.location}>"

    def table(self, *, long: bool = False) -> list[list[str]]:
        """In words: a line of titles, then one for each row. Columns of which nothing is known are left out.

        `long` adds who computed an entry.
        """
        lines = [row.in_words(self.listed_at) for row in self.rows]
        wanted = [title for title in (lines[0] if lines else ()) if long or title != "by"]
        titles = [title for title in wanted if any(line[title] for line in lines)]
        return [titles, *([line[title] for title in titles] for line in lines)]

    def _repr_html_(self) -> str:
        table = self.table(long=True)
        lines = ([views.code(line[0]), *map(views.plain, line[1:])] for line in table[1:])
        cells = [list(map(views.label, table[0])), *lines]
        kind = ("function", "") if isinstance(next(iter(self.rows), None), ListedFunction) else ("entry", "entries")
        return views.page(self.location, views.counted(len(self.rows), *kind), views.table("", cells))


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """One row, as `show` finds it: nothing is unpickled, and nobody has verified what it says.

    Example:
        >>> forecast("SEA", 1)
        [12.5]
        >>> shown = dynmemo.show(forecast, "SEA", 1)
        >>> shown.state, shown.serializer, shown.lies_in
        ('live', 'pickle', 'row')
    """

    key: str
    """As `Cache.get` takes it."""
    function: str | None
    """Of which it is, or the region; None for what `Cache.set` and other programs stored."""
    state: str
    """As of a `ListedEntry`."""
    size: int | None
    """Bytes as stored; None without a value."""
    lies_in: str
    """``row``, ``file``, so many ``parts``, or a URL."""
    computed_at: datetime | None
    """When computing it began (UTC); None where there is no envelope, for this and what follows."""
    seconds: float | None
    """How long computing it took, in seconds."""
    expires_at: datetime | None
    """When it expires unless it is used before (UTC); None for never."""
    deadline: datetime | None
    """Past which no use moves that."""
    window: str | None
    """The sliding window, ``hh:mm:ss``."""
    serializer: str | None = None
    """The name of it."""
    length: int | None = None
    """Bytes before compression and encryption."""
    python: str | None = None
    """The version that alone can load it, since it contains code."""
    is_compressed: bool = False
    """By zstd."""
    is_signed: bool = False
    """With a secret."""
    is_encrypted: bool = False
    """With a secret, too."""
    origin: Origin | None = None
    """Where it comes from, if it says so."""

    def in_words(self) -> dict[str, str]:
        """What a table says of it."""
        now = datetime.now(UTC).timestamp()
        kept = ("compressed", self.is_compressed), ("signed", self.is_signed), ("encrypted", self.is_encrypted)
        return {
            "function": self.function or "",
            "state": self.state,
            "computed": _when(self.computed_at, now),
            "took": _took(self.seconds),
            "by": "" if self.origin is None else str(self.origin),
            "expires": _when(self.expires_at, now, "never"),
            "deadline": _when(self.deadline, now),
            "sliding": self.window or "",
            "size": _size(self.size),
            "before": _size(self.length),
            "lies in": self.lies_in,
            "stored as": ", ".join([self.serializer or "bytes", *(word for word, holds in kept if holds)]),
            "only for": f"Python {self.python}" if self.python else "",
        }

    def _repr_html_(self) -> str:
        return views.page(self.key, self.state, views.facts(self.in_words().items()))


@dataclass(frozen=True, slots=True)
class CacheStats:
    """All of a cache together, as `stats` finds it.

    Example:
        >>> forecast.warm(["SEA", "PDX"])
        2
        >>> found = dynmemo.stats()
        >>> found.functions[0].entries, found.orphans, found.max_bytes
        (2, 0, 5000000000)
    """

    location: str
    """A path, or table, region and endpoint."""
    size: int | None
    """Bytes on disk without free pages, or of the table as DynamoDB last counted (some hours ago); None where it does
    not tell."""
    max_bytes: int | None
    """Beyond which a write also removes expired entries, then the least recently stored ones; None for no limit."""
    functions: Listing[ListedFunction]
    """By name."""
    orphans: int
    """Parts or files of large values to which no entry leads. `purge` with orphans deletes them an hour after they were
    written."""

    def in_words(self) -> dict[str, str]:
        """What a table says of it, beside the functions."""
        return {
            "entries": f"{sum(function.entries for function in self.functions):,}",
            "expired or superseded": f"{sum(function.others for function in self.functions):,}",
            "size": _size(self.size),
            "limit": self._limit(),
            "orphans": f"{self.orphans:,}",
        }

    def _limit(self) -> str:
        if self.max_bytes is None or self.size is None:
            return "" if self.max_bytes is None else _size(self.max_bytes)
        goes = "expired entries, then the least recently stored ones"
        left = self.max_bytes - self.size
        if left > 0:
            return f"{_size(self.max_bytes)}; the next {_size(left)} fit, then writes remove {goes}"
        return f"{_size(self.max_bytes)}; the next writes remove {_size(-left)} of {goes}"

    def _repr_html_(self) -> str:
        return views.page(self.location, _size(self.size), views.facts(self.in_words().items())) + (
            self.functions._repr_html_()
        )


def _size(size: int | None) -> str:
    return "" if size is None else views.size(size)


def _took(seconds: float | None) -> str:
    return "" if seconds is None else views.duration(seconds)


def _when(at: datetime | None, now: float, otherwise: str = "") -> str:
    return otherwise if at is None else views.when(at.timestamp(), now)


def _ago(at: datetime | None, now: float, otherwise: str = "") -> str:
    return otherwise if at is None else views.ago(at.timestamp(), now)
