"""Bytes by key: what a `Cache` and its regions have in common."""

from __future__ import annotations

import inspect
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from dynmemo import expiry, views
from dynmemo._process import chance
from dynmemo.cache.options import check_key
from dynmemo.errors import InvalidOptionError, StoreUnavailableError
from dynmemo.item import Expect, Item, Written
from dynmemo.keys import key_name
from dynmemo.parts import bytes_of
from dynmemo.tracebacks import short_tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from dynmemo.cache import Cache
    from dynmemo.expiry import Duration, Ttl

UPDATE_SECONDS = 30.0
"""How long a change is tried again while others are first."""

_BLANK = Item()


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What lies under a key, as `Cache.peek` tells of it.

    Example:
        >>> cache = Cache.sqlite("cache.db")
        >>> cache.set("greeting", b"hello", sliding="20m")
        >>> entry = cache.peek("greeting")
        >>> entry.value, entry.window
        (b'hello', datetime.timedelta(seconds=1200))
    """

    value: bytes
    """As it was stored."""
    expires_at: datetime | None
    """When it expires unless it is used before (UTC); None for never."""
    deadline: datetime | None
    """The moment past which no use moves that (UTC); None for never."""
    window: timedelta | None
    """The sliding window: how long it lives on after each use; None without one."""


class ByKey:
    """Reads and writes bytes by key. Every method may be called from any thread.

    All of them raise `StoreUnavailableError` when the store does not answer, `InvalidTableError` when the DynamoDB
    table cannot serve, and `InvalidOptionError` for keys, values and times of a wrong kind. Times are seconds, a
    `timedelta`, or text such as ``"90s"`` and ``"24h"``; `ttl`, the hard deadline, may be an aware `datetime`, too, or
    ``"never"``, which counts also where the cache has a `default_ttl`.
    """

    @property
    def _cache(self) -> Cache:
        """Whose store, clock and defaults are used."""
        raise NotImplementedError

    def _row_key(self, key: str) -> str:
        """The key of the row, as the store takes it."""
        check_key(key)
        return key

    def _blank(self) -> Item:
        """A row of nothing but what says whose it is. May ask the store."""
        return _BLANK

    def _gen(self, row: Item | None = None) -> str | None:
        """The generation of which a live row is, None where that does not matter. May ask the store about `row`."""
        return None

    def partition_key(self, key: str) -> str:
        """The key as it stands in the table."""
        return self._cache.store.partition_key(self._row_key(key))

    def get(self, key: str) -> bytes | None:
        """The value, or None; a sliding window starts anew. Where that fails it is logged, and the value given."""
        where = self._row_key(key)
        return self._used(where, self._cache.store.read(where))

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of those keys that have one, their windows started anew: on DynamoDB one request per 100 keys."""
        places = {key: self._row_key(key) for key in _several(keys)}
        rows = self._cache.store.read_many(list(places.values()))
        values = ((key, self._used(where, rows.pop(where, None))) for key, where in places.items())
        return {key: value for key, value in values if value is not None}

    def peek(self, key: str) -> CacheEntry | None:
        """The entry with its dates, or None; a sliding window does not start anew."""
        row = self._cache.store.read(self._row_key(key))
        value = self._value(row)
        if row is None or value is None:
            return None
        window = expiry.window_seconds(row.ttl_window)
        return CacheEntry(
            value,
            views.utc_or_none(expiry.expires_at(row)),
            views.utc_or_none(row.ttl_deadline),
            None if window is None else timedelta(seconds=window),
        )

    def set(self, key: str, value: bytes, *, ttl: Ttl | None = None, sliding: Duration | None = None) -> None:
        """Store `value` (bytes, bytearray or memoryview) under `key`, replacing what was there.

        Args:
            ttl: hard deadline. Default: the cache's `default_ttl`.
            sliding: idle window: the entry lives on while it is read, never past `ttl`. Default: none.

        Raises:
            ValueTooLargeError: the value is larger than `max_value_bytes` or than the store can hold.
        """
        where, row = self._row_key(key), self._row(value, ttl, sliding)
        with self._changing(where):
            self._cache.store.write(where, row)

    def set_many(self, values: Mapping[str, bytes], *, ttl: Ttl | None = None, sliding: Duration | None = None) -> None:
        """`set` of many keys: on DynamoDB one request per 25, in SQLite one transaction.

        When it fails some are stored and some are not. A value of over 400 KB that had no deadline leaves its parts in
        the table when it is replaced in this way, for a batch does not tell what it replaces.
        """
        contents = {self._row_key(key): self._content(value) for key, value in values.items()}
        row = self._dates(ttl, sliding, self._blank())
        with self._changing(*contents):
            self._cache.store.write_many({where: row._replace(value=content) for where, content in contents.items()})

    def add(self, key: str, value: bytes, *, ttl: Ttl | None = None, sliding: Duration | None = None) -> bool:
        """`set` if nothing live is there; whether it was stored. Of all that try at once, one is told so.

        Example:
            >>> cache = Cache.sqlite("cache.db")
            >>> cache.add("job-7", b"mine", ttl="1h"), cache.add("job-7", b"mine", ttl="1h")
            (True, False)

        Programs that know nothing of dynmemo write without looking: what one of them stores at this very moment may be
        replaced.
        """
        where, new = self._row_key(key), self._row(value, ttl, sliding)
        for _, row in self._tries(where):
            if self._value(row) is not None:
                return False
            if isinstance(self._cache.store.write(where, new, Expect.seen(row)), Written):
                return True
        raise AssertionError("there is always another try, or an error")

    def update(
        self,
        key: str,
        change: Callable[[bytes | None], bytes | None],
        *,
        ttl: Ttl | None = None,
        sliding: Duration | None = None,
    ) -> bytes | None:
        """Put `change(old)` in the place of the old value, and return it. No change that others make meanwhile is lost.

        Example:
            >>> cache = Cache.sqlite("cache.db")
            >>> cache.update("visits", lambda old: b"%d" % (int(old or 0) + 1))
            b'1'

        Args:
            change: gets the value, or None where nothing live is, and returns the new one, or None to remove the entry.
                It is called again when others were first, so it should do nothing else.
            ttl, sliding: as for `set`. Where neither is given, an entry that is there keeps its deadline and window.

        Raises:
            StoreUnavailableError: others have been first again and again, for half a minute.
        """
        where, store = self._row_key(key), self._cache.store
        for blank, row in self._tries(where):
            old = self._value(row)
            new = change(old)
            if new is None:
                if old is None or store.remove(where, Expect.seen(row)) is not None:
                    return None
                continue
            if row is not None and old is not None and blank.gen is not None:
                blank = blank._replace(gen=row.gen)  # which may be a later one than this process knows of
            changed = self._row(new, ttl, sliding, blank)
            if row is not None and old is not None and ttl is None and sliding is None:
                date = expiry.refreshed_date(row, self._cache.clock()) or row.ttl_date
                changed = changed._replace(ttl_date=date, ttl_deadline=row.ttl_deadline, ttl_window=row.ttl_window)
            if isinstance(store.write(where, changed, Expect.seen(row)), Written):
                return bytes(new)
        raise AssertionError("there is always another try, or an error")

    def touch(self, key: str, *, ttl: Ttl | None = None, sliding: Duration | None = None) -> bool:
        """Give what lies under `key` new dates, as `set` would; whether anything live was there.

        One request that does not move the value; but a value of over 400 KB in DynamoDB is written anew.
        """
        where, dates, store = self._row_key(key), self._dates(ttl, sliding), self._cache.store
        with self._changing(where):
            answer = store.redate(where, dates, self._cache.clock(), self._gen())
        if isinstance(answer, Written):
            return True
        if not self._is_live(answer.row):
            return False
        for _, row in self._tries(where):
            value = self._value(row)
            if row is None or value is None:
                return False
            moved = row._replace(value=value, parts=None, stale_for=None, **_dates_of(dates))
            if isinstance(store.write(where, moved, Expect.seen(row)), Written):
                return True
        raise AssertionError("there is always another try, or an error")

    def refresh(self, key: str) -> None:
        """Start the sliding window anew; without entry or window nothing happens."""
        where = self._row_key(key)
        row = self._cache.store.sparing(lambda where, row: False).read(where)
        if row is not None and self._is_live(row):
            self._cache.slide(self._cache.store, where, row, 0.0)

    def remove(self, key: str) -> bool:
        """Remove the entry if it is there; whether a live one went."""
        where = self._row_key(key)
        with self._changing(where):
            return self._is_live(self._cache.store.remove(where))

    def remove_many(self, keys: Iterable[str]) -> None:
        """`remove` of many keys, in as few requests as `set_many`; parts are left as there."""
        places = [self._row_key(key) for key in _several(keys)]
        with self._changing(*places):
            self._cache.store.remove_many(places)

    # -- for async code: in a thread of the cache's own pool ----------------------------------------

    async def aget(self, key: str) -> bytes | None:
        """`get`, as a coroutine."""
        return await self._cache.run(self.get, key)

    async def aget_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """`get_many`, as a coroutine."""
        return await self._cache.run(self.get_many, keys)

    async def apeek(self, key: str) -> CacheEntry | None:
        """`peek`, as a coroutine."""
        return await self._cache.run(self.peek, key)

    async def aset(self, key: str, value: bytes, *, ttl: Ttl | None = None, sliding: Duration | None = None) -> None:
        """`set`, as a coroutine."""
        await self._cache.run(partial(self.set, key, value, ttl=ttl, sliding=sliding))

    async def aset_many(
        self, values: Mapping[str, bytes], *, ttl: Ttl | None = None, sliding: Duration | None = None
    ) -> None:
        """`set_many`, as a coroutine."""
        await self._cache.run(partial(self.set_many, values, ttl=ttl, sliding=sliding))

    async def aadd(self, key: str, value: bytes, *, ttl: Ttl | None = None, sliding: Duration | None = None) -> bool:
        """`add`, as a coroutine."""
        return await self._cache.run(partial(self.add, key, value, ttl=ttl, sliding=sliding))

    async def aupdate(
        self,
        key: str,
        change: Callable[[bytes | None], bytes | None],
        *,
        ttl: Ttl | None = None,
        sliding: Duration | None = None,
    ) -> bytes | None:
        """`update`, as a coroutine; `change` is called in another thread."""
        return await self._cache.run(partial(self.update, key, change, ttl=ttl, sliding=sliding))

    async def atouch(self, key: str, *, ttl: Ttl | None = None, sliding: Duration | None = None) -> bool:
        """`touch`, as a coroutine."""
        return await self._cache.run(partial(self.touch, key, ttl=ttl, sliding=sliding))

    async def arefresh(self, key: str) -> None:
        """`refresh`, as a coroutine."""
        await self._cache.run(self.refresh, key)

    async def aremove(self, key: str) -> bool:
        """`remove`, as a coroutine."""
        return await self._cache.run(self.remove, key)

    async def aremove_many(self, keys: Iterable[str]) -> None:
        """`remove_many`, as a coroutine."""
        await self._cache.run(self.remove_many, keys)

    # -- what they share -----------------------------------------------------------------------------

    def _is_live(self, row: Item | None) -> bool:
        if row is None or not row.is_entry or expiry.is_expired(row, self._cache.clock()):
            return False
        gen = self._gen()
        return gen is None or row.gen == gen or row.gen == self._gen(row)

    def _value(self, row: Item | None) -> bytes | None:
        """The value of a row that was read, if it is live and not lost."""
        return bytes_of(row) if row is not None and self._is_live(row) else None

    def _used(self, where: str, row: Item | None) -> bytes | None:
        """The value of a row that was read, whose window starts anew."""
        value = self._value(row)
        if row is not None and value is not None:
            self._cache.slide(self._cache.store, where, row, self._cache.refresh_after or 0.0)
        return value

    def _dates(self, ttl: Ttl | None, sliding: Duration | None, blank: Item = _BLANK) -> Item:
        """A row with dates, and with what `blank` has."""
        cache = self._cache
        cache.lifetime(ttl, sliding, cache.clock())  # what is wrong with them is said before anything is connected
        cache.store.connect()  # it may take seconds, which are not part of the entry's life
        now = cache.clock()
        row = cache.lifetime(ttl, sliding, now).row(now)
        if row is None:
            raise InvalidOptionError(f"ttl={ttl!r} lies in the past; give a moment in the future, or a duration")
        return blank._replace(**_dates_of(row))

    @contextmanager
    def _changing(self, *places: str) -> Iterator[None]:
        """A block that changes these rows, which may be near entries of decorated functions."""
        try:
            yield
        finally:
            for where in places:
                self._cache.near.drop(where)

    def _content(self, value: bytes) -> bytes:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise InvalidOptionError(f"a cache stores bytes, not {type(value).__name__}; encode the value first")
        content = bytes(value)
        self._cache.check_size(len(content))
        return content

    def _row(self, value: bytes, ttl: Ttl | None, sliding: Duration | None, blank: Item | None = None) -> Item:
        """A row to be written, with what `blank` has."""
        content = self._content(value)
        return self._dates(ttl, sliding, blank or self._blank())._replace(value=content)

    def _tries(self, where: str) -> Iterator[tuple[Item, Item | None]]:
        """The row, anew for each try, for as long as others are first, and before it a blank one.

        In this order: what was made of a value that has been forgotten since must not be stamped as a new one.
        """
        until, longest = time.monotonic() + UPDATE_SECONDS, 0.01
        with self._changing(where):
            while True:
                yield self._blank(), self._cache.store.read(where, consistent=True)
                if time.monotonic() > until:
                    raise StoreUnavailableError(
                        f"others changed the same entry again and again for {UPDATE_SECONDS:g} s, so this change was "
                        "not made; try later, or let fewer writers share one entry",
                        operation="update",
                        table=self._cache.store.location,
                        code="Contention",
                    )
                time.sleep(chance.uniform(0, longest))
                longest = min(2 * longest, 1.0)


class Region(ByKey):
    """A part of a cache with keys of its own, as `Cache.region` gives it; it has the methods of the cache for these.

    Example:
        >>> pages = Cache.sqlite("cache.db").region("pages")
        >>> pages.set("/index", b"<html>", ttl="1h")
        >>> pages.clear()
        >>> pages.get("/index") is None
        True

    Its rows carry its name (`fn`) and the generation (`gen`) under which they were stored, as those of decorated
    functions do; the key of a row is ``{name}::{key}``.
    """

    def __init__(self, cache: Cache, name: object) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidOptionError(f"a region has a name of at least one character, not {name!r}")
        check_key(name)
        self.cache = cache
        self.name: str = name
        self._fn = key_name(name, cache.namespace)

    @property
    def _cache(self) -> Cache:
        return self.cache

    def __repr__(self) -> str:
        return f"<dynmemo.Region {self.name} of {self.cache.url or self.cache.store.location}>"

    def clear(self) -> None:
        """Forget all entries of this region, in every process, by one write.

        Other processes may serve what they know for at most five seconds more, and where they know of no later entry,
        what they store in that time is forgotten, too. The rows of the forgotten entries stay
        in a DynamoDB table until their time is over, or `dynmemo.purge` deletes them.
        """
        self.cache.generations.forget(self.cache.store, self._fn)

    async def aclear(self) -> None:
        """`clear`, as a coroutine."""
        await self.cache.run(self.clear)

    def _row_key(self, key: str) -> str:
        check_key(key)
        # Functions have a code part between the colons. What follows a # says which kind of row it is.
        row_key = f"{self._fn}::{key.replace('%', '%25').replace('#', '%23')}"
        check_key(row_key)  # which may be too long
        return row_key

    def _blank(self) -> Item:
        return Item(fn=self._fn, gen=self.cache.generations.ensured(self.cache.store, self._fn))

    def _gen(self, row: Item | None = None) -> str | None:
        generations, store = self.cache.generations, self.cache.store
        return (generations.known if row is None else generations.confirmed)(store, self._fn)


for _kind in (ByKey, Region):
    for _name, _method in list(vars(_kind).items()):
        if inspect.isfunction(_method) and not _name.startswith("_"):
            setattr(_kind, _name, short_tracebacks(_method))


def _several(keys: Iterable[str]) -> Iterable[str]:
    if isinstance(keys, (str, bytes)):
        raise InvalidOptionError("keys= takes several keys, such as a list; the given one is a single text")
    return keys


def _dates_of(row: Item) -> dict[str, Any]:
    return {"ttl_date": row.ttl_date, "ttl_deadline": row.ttl_deadline, "ttl_window": row.ttl_window}
