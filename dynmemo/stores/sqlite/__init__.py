"""The local store: one SQLite file, shared by every thread and process of a machine."""

from __future__ import annotations

import copy
import os
import sqlite3
import time
from contextlib import suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from dynmemo import parts as of
from dynmemo._process import new_token
from dynmemo.errors import InvalidOptionError, StoreUnavailableError, ValueTooLargeError
from dynmemo.item import (
    FRONT_BYTES,
    Expect,
    Extent,
    Finding,
    Found,
    Item,
    Parts,
    Pieces,
    Refused,
    Store,
    Written,
    pieces_of,
    settled,
)
from dynmemo.stores.files import COPIES_MAX_BYTES, Copies
from dynmemo.stores.sqlite import schema
from dynmemo.stores.sqlite.file import FAILURES, SqliteFile, Tries
from dynmemo.stores.sqlite.upkeep import (
    PAUSE,
    bytes_in_files,
    clear_bite,
    compact,
    delete_gone,
    make_room,
    orphans,
    size_in_use,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dynmemo.counters import Meter
    from dynmemo.item import Content
    from dynmemo.stores.files import ValueFiles
    from dynmemo.stores.s3 import Bucket
    from dynmemo.stores.sqlite.file import Cursor

MAX_BYTES = 5_000_000_000
LEAST_MAX_BYTES = 1_000_000
FILE_FROM = 200_000
"""Bytes from which a value lies in a file: from there on mapping one takes less time than reading a row, and a smaller
row is written faster than a row and a file (100 KB in 0.7 of the time)."""

TIDY_SECONDS = 1.0
"""How often a writer looks for files whose rows are gone."""

SWEEP_SECONDS = 600.0
"""How often a process that writes files or makes room also looks for files that belong to no row."""

BATCH = 300
PAGE = 200
PREFIX = "dc:"

T = TypeVar("T")
_Row = tuple[object, ...]

_COLUMNS = ", ".join(schema.ATTRIBUTES)
_BUT_VALUE = ", ".join("NULL" if name == "value" else name for name in schema.ATTRIBUTES)
_VALUE, _ETAG, _PARTS = map(schema.ATTRIBUTES.index, ("value", "etag", "parts"))

_STORED = (*schema.ATTRIBUTES, "stored_at", "size", "key")
_ASSIGNED = _STORED[:-1]

_READ = f"SELECT {_COLUMNS} FROM entries WHERE key = ?"  # noqa: S608  all of the text is ours, here and below
# Each column fetched takes 0.1 us even if it is NULL, so a hit fetches none of those that only leases and the
# like have; the last one says whether there are any.
_READ_HIT = (
    f"SELECT {', '.join(schema.ATTRIBUTES[: _PARTS + 1])}, CASE WHEN "  # noqa: S608
    f"coalesce({', '.join(schema.ATTRIBUTES[_PARTS + 1 :])}) IS NOT NULL THEN 1 END FROM entries WHERE key = ?"
)
_READ_PARTS = "SELECT parts FROM entries WHERE key = ?"
_READ_MANY = f"SELECT {_COLUMNS}, key FROM entries WHERE key IN (%s)"  # noqa: S608
_UPSERT = (
    "INSERT INTO entries (%s) VALUES (%s) "  # noqa: S608
    f"ON CONFLICT (key) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _ASSIGNED)}"
)
_RENEW = (
    "UPDATE entries SET lease_beat = coalesce(lease_beat, 0) + 1, ttl_date = ?, lease_waits = ? "
    "WHERE key = ? AND etag = ?"
)
_TOUCH = "UPDATE entries SET ttl_date = ? WHERE key = ? AND ttl_date < ? AND etag = ?"
_TOUCH_FOREIGN = (
    "UPDATE entries SET ttl_date = ? WHERE key = ? AND ttl_date < ? AND etag IS NULL "
    "AND ttl_window IS ? AND ttl_deadline IS ?"
)
_REDATE = (
    "UPDATE entries SET ttl_date = ?, ttl_deadline = ?, ttl_window = ?, etag = ? WHERE key = ? "
    "AND (value IS NOT NULL OR parts IS NOT NULL) AND stale_for IS NULL AND (ttl_date IS NULL OR ttl_date >= ?) "
    "AND (? IS NULL OR gen = ?)"
)
_REMOVE = "DELETE FROM entries WHERE key = ?"
_SCAN = (
    f"SELECT key, {_BUT_VALUE} FROM entries "  # noqa: S608
    f"WHERE fn IS NOT NULL AND key >= ? AND key < ? ORDER BY key LIMIT {PAGE}"
)
_SURVEY = _SCAN.replace(" FROM", f", stored_at, size, substr(value, 1, {FRONT_BYTES}) FROM", 1)


class SqliteStore(Store):
    """Rows in one SQLite file, large values in a folder beside it (`dynmemo.item.Store`).

    Args:
        path: the file. It is created private to the user (mode 0600, new folders 0700) when it is missing, and refused
            when it is not ours. On a network filesystem a rollback journal takes the place of the
            write-ahead log: slower, but safe there.
        max_bytes: size of file and folder beyond which a write also removes expired rows, then the least recently
            stored ones, never more than 256 KB beyond twice what it adds, so that nobody waits for it. Generations are
            never removed, leases only when expired. The write-ahead log comes on top, and what it held when the limit
            was reached: some 8 MB together.
        memory_map: whether large values are mapped into memory when they are read, which takes no time and memory until
            they are looked at. On a network filesystem they never are.
        copies_max_bytes: bytes of the copies of values in `overflow` that are kept in the user's cache folder.
        clock: gives Unix seconds.
        busy_timeout: seconds to wait while another process keeps the file locked; a call takes at most twice that.
        overflow: where values are kept that are too large for this store.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = MAX_BYTES,
        memory_map: bool = True,
        copies_max_bytes: int = COPIES_MAX_BYTES,
        clock: Callable[[], float] = time.time,
        busy_timeout: float = 5.0,
        overflow: Bucket | None = None,
    ) -> None:
        if type(max_bytes) is not int or max_bytes < LEAST_MAX_BYTES:
            raise InvalidOptionError(
                f"max_bytes must be a whole number of bytes from {LEAST_MAX_BYTES:,} on, not {max_bytes!r}"
            )
        self._file = SqliteFile(Path(os.path.abspath(path)), busy_timeout)  # noqa: PTH100  collapses ".." too
        self._memory_map = memory_map
        self._max_bytes = max_bytes
        self._clock = clock
        self._overflow = overflow
        self._copies = Copies(copies_max_bytes, mapped=memory_map)
        self._is_wanted: Callable[[str, Item], bool] = lambda key, row: True
        """Whether the value of a row is fetched that lies outside of it."""
        self._meters: tuple[Meter, ...] = ()

    @property
    def _folder(self) -> ValueFiles:
        return self._file.values

    @property
    def location(self) -> str:
        path = str(self._file.path)
        return path if self._overflow is None else f"{path}, large values in {self._overflow.url}"

    def metered(self, meter: Meter) -> Self:
        """The same store that counts one request per call (per page of a scan) in `meter`, and no units."""
        twin = copy.copy(self)
        twin._meters = (*self._meters, meter)
        twin._overflow = None if self._overflow is None else self._overflow.metered(meter)
        return twin

    def sparing(self, is_wanted: Callable[[str, Item], bool]) -> Self:
        twin = copy.copy(self)
        twin._is_wanted = is_wanted
        return twin

    def partition_key(self, key: str) -> str:
        return PREFIX + key

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        for meter in self._meters:
            meter.count()
        # The way of every hit; `_run` is for when anything is not as usual.
        file = self._file
        cursor = self._idle()
        if cursor is not None:
            try:
                row = cursor.execute(_READ_HIT, (PREFIX + key,)).fetchone()
                if row is not None:
                    row = row[:-1] if row[-1] is None else cursor.execute(_READ, (PREFIX + key,)).fetchone()
            except BaseException as error:
                file.drop(cursor)
                if not isinstance(error, FAILURES):
                    raise
            else:
                file.give_back(cursor)
                if row is None:
                    return None
                return Item(*row) if row[_PARTS] is None else self._whole(key, _item(row))
        return self._whole(key, self._reread(key))

    def version(self) -> object:
        # SQLite tells each connection whether others have changed something. What this process did and saw is in
        # `SqliteFile.version`: a new object, so that threads that notice changes at once take no lock to count them.
        file = self._file
        cursor = self._idle()
        if cursor is None:
            return None
        try:
            (version,) = cursor.execute("PRAGMA data_version").fetchone()
        except BaseException as error:
            file.drop(cursor)
            if not isinstance(error, FAILURES):
                raise
            return None
        if version != cursor.version:
            cursor.version = version
            file.version = object()
        known = file.version
        return known if file.give_back(cursor) else None

    def known_version(self) -> object:
        return self._file.version

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        self._count()

        def act(cursor: sqlite3.Cursor) -> dict[str, Item]:
            found: dict[str, Item] = {}
            for start in range(0, len(keys), BATCH):
                batch = [PREFIX + key for key in keys[start : start + BATCH]]
                for row in cursor.execute(_READ_MANY % ", ".join("?" * len(batch)), batch):
                    found[row[-1][len(PREFIX) :]] = _item(row[:-1])
            return found

        found = self._run(act, "read_many")
        for key, row in [(key, row) for key, row in found.items() if row.parts is not None]:
            whole = self._whole(key, row)
            if whole is None:
                del found[key]
            else:
                found[key] = whole
        return found

    def write(self, key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        if self._overflow is not None and self._overflow.takes(item.value):
            put = self._copies.keeping(lambda row: self.write(key, row, expect), item.value or b"")
            return of.write_outside(self._overflow, key, item, put)
        self._count()
        size = self._size(key, item)
        if item.value is not None and len(item.value) >= FILE_FROM:
            return of.write_outside(_Beside(self), key, item, lambda row: self._put(key, row, size, expect))
        return self._put(key, item, size, expect)

    def _put(self, key: str, item: Item, size: int, expect: Expect | None) -> Written | Refused:
        before = None if self._overflow is None else self._outside(key)
        etag = new_token()
        row = self._values(key, item, size, etag)
        nulls, values = tuple([value is None for value in row]), [value for value in row if value is not None]
        if expect is None:
            statement = _upsert(nulls)
        elif expect.etag is None and expect.beat is None:
            statement = _upsert(nulls, " WHERE etag IS NULL")
        else:
            statement = _update(nulls, has_beat=expect.beat is not None)
            values += (expect.etag,) if expect.beat is None else expect

        def act(cursor: sqlite3.Cursor) -> Written | Refused:
            while not cursor.execute(statement, values).rowcount:
                row = _fetch(cursor, PREFIX + key)
                # The row may have changed since it was in the way.
                if expect is None or not _meets(row, expect):
                    return Refused(row)
            self._make_room(cursor, size, is_in_file=item.parts is not None)
            return Written(etag)

        # An etag was seen in the file that is open. In another one that has its place by now it would not be found.
        answer = self._run(act, "write", key, looks=expect is None or expect.etag is None)
        if isinstance(answer, Refused):
            return Refused(self._whole(key, answer.row))
        self._delete_outside(key, before)
        return answer

    def _values(self, key: str, item: Item, size: int, etag: str) -> list[object]:
        """What `_STORED` names, of a row that is written now."""
        values: list[object] = [*item, int(self._clock() * 1e6), size, PREFIX + key]
        values[_ETAG] = etag
        if item.value is not None:
            values[_VALUE] = settled(item.value)
        if item.parts is not None:
            values[_PARTS] = _parts_text(item.parts)
        return values

    def _make_room(self, cursor: sqlite3.Cursor, added: int, *, rows: int = 1, is_in_file: bool = False) -> None:
        """Evict what is too much after a write, which is done, so nothing fails any more: else the next writer does."""
        file = self._file
        is_known = not is_in_file and time.monotonic() < file.tidy_at
        if is_known and file.size + file.size_beside <= self._max_bytes:
            return
        with suppress(sqlite3.Error, OSError):
            if not is_known:
                file.size_beside = bytes_in_files(cursor)
            if file.size + file.size_beside > self._max_bytes:
                self._sweep(cursor)
                make_room(cursor, self._max_bytes, added, self._clock(), rows)

    def renew(self, key: str, etag: str, ttl_date: int, lease_waits: str | None = None) -> bool:
        return self._change("renew", key, _RENEW, ttl_date, lease_waits, PREFIX + key, etag)

    def touch(self, key: str, seen: Item, ttl_date: int) -> bool:
        if seen.etag is None:
            return self._change(
                "touch", key, _TOUCH_FOREIGN, ttl_date, PREFIX + key, ttl_date, seen.ttl_window, seen.ttl_deadline
            )
        return self._change("touch", key, _TOUCH, ttl_date, PREFIX + key, ttl_date, seen.etag)

    def redate(self, key: str, dates: Item, now: float, gen: str | None = None) -> Written | Refused:
        self._count()
        etag = new_token()
        given = (dates.ttl_date, dates.ttl_deadline, dates.ttl_window, etag, PREFIX + key, now, gen, gen)

        def act(cursor: sqlite3.Cursor) -> Written | Refused:
            if cursor.execute(_REDATE, given).rowcount:
                return Written(etag)
            return Refused(_fetch(cursor, PREFIX + key))

        answer = self._run(act, "redate", key)
        return answer if isinstance(answer, Written) else Refused(self._whole(key, answer.row))

    def remove(self, key: str, expect: Expect | None = None) -> Item | None:
        self._count()

        def act(cursor: sqlite3.Cursor) -> Item | None:
            cursor.execute("BEGIN IMMEDIATE")
            row = _fetch(cursor, PREFIX + key)
            if row is None or (expect is not None and not _meets(row, expect)):
                cursor.execute("ROLLBACK")
                return None
            cursor.execute(_REMOVE, (PREFIX + key,))
            cursor.execute("COMMIT")
            return row

        removed = self._run(act, "remove", key)
        self._delete_outside(key, None if removed is None else removed.parts)
        return removed

    def write_many(self, items: Mapping[str, Item]) -> None:
        small: list[list[object]] = []
        added = 0
        for key, item in items.items():
            if self._overflow is not None or len(item.value or b"") >= FILE_FROM:
                self.write(key, item)
            else:
                size = self._size(key, item)
                small.append(self._values(key, item, size, new_token()))
                added += size

        def act(cursor: sqlite3.Cursor) -> None:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(_upsert((False,) * len(_STORED)), small)
            cursor.execute("COMMIT")
            self._make_room(cursor, added, rows=len(small))

        if small:
            self._count()
            self._run(act, "write_many")

    def remove_many(self, keys: Sequence[str]) -> None:
        if self._overflow is not None:  # each row may lead to a value that is to be deleted
            super().remove_many(keys)
            return
        self._count()

        def act(cursor: sqlite3.Cursor) -> None:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(_REMOVE, [(PREFIX + key,) for key in keys])
            cursor.execute("COMMIT")

        self._run(act, "remove_many")

    def remove_all(self, prefix: str = "", *, ends: str = "", without: str = "") -> int:
        # Many short transactions, so that writers come in between; then the file is made shorter.
        self._count()
        start, end = _range(prefix)
        chosen = (f"*{ends}", f"*{without}*" if without else "", int(self._clock() * 1e6))
        bite = partial(clear_bite, end=end, chosen=chosen)
        removed = 0
        while bitten := self._run(partial(bite, start=start), "remove_all"):
            last, rows = bitten
            start, removed = _next(last), removed + rows
            time.sleep(PAUSE)
        self._run(partial(compact, folder=self._folder), "remove_all")
        return removed

    def remove_orphans(self, *, dry_run: bool = False) -> int:
        def act(cursor: sqlite3.Cursor) -> int:
            names = orphans(cursor, self._folder, time.time())
            return len(names) if dry_run else sum(map(self._folder.remove, names))

        return self._run(act, "remove_orphans")

    def scan(self, prefix: str = "", *, segments: int = 1) -> Iterator[tuple[str, Item]]:
        for key, *row in self._pages(_SCAN, prefix):
            yield key.removeprefix(PREFIX), _item(row)

    def _pages(self, statement: str, prefix: str) -> Iterator[Any]:
        start, end = _range(prefix)
        while True:
            self._count()
            # Page by page, so that no read transaction stays open and keeps the log from being reused.
            rows = self._run(partial(_fetch_all, statement=statement, values=(start, end)), "scan")
            yield from rows
            if len(rows) < PAGE:
                return
            start = _next(rows[-1][0])

    def survey(self, prefix: str = "", *, segments: int = 1, values: bool = False) -> Iterator[Found]:
        for key, *row, stored_at, size, front in self._pages(_SURVEY, prefix):
            found = _item(row)
            if found.parts is not None and found.parts.location == of.IN_FILE:
                with suppress(OSError):
                    content = _Beside(self).get(key, found.parts)
                    front = b"" if content is None else b"".join(content.pieces(FRONT_BYTES))
            key = key.removeprefix(PREFIX)
            value_bytes = max(0, size - len(key)) if found.parts is None else found.parts.length
            yield Found(key, found, value_bytes, stored_at / 1e6, front or b"")

    def exists(self) -> bool:
        return self._file.path.exists()

    def examine(self, *, quick: bool = False) -> Iterator[Finding]:
        advice = "give the path of the cache's own file, in a folder and on a disk that can be written to"
        if not self.exists():
            found = f"{self._file.path} is not there"
            above = self._file.path.parents
            folder = next((one for one in above if os.access(one, os.F_OK)), above[0])
            if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
                yield Finding("file", None, found, "the first computation creates it")
            else:
                yield Finding("file", False, f"{found}, and {folder} is no folder that can be written to", advice)
            return
        try:
            size = self.extent().size or 0
            # Nothing is changed by it, but it has to take the lock of writers.
            self._run(lambda cursor: cursor.executescript("BEGIN IMMEDIATE; ROLLBACK"), "examine")
        except StoreUnavailableError as error:
            yield Finding("file", False, str(error), advice)
            return
        yield Finding("file", True, f"{self._file.path} can be read and written to")
        is_full = size > self._max_bytes
        advice = "writes remove entries: give a larger max_bytes, or run `dynmemo purge --expired`" if is_full else ""
        yield Finding("size", not is_full, f"{size:,} of {self._max_bytes:,} bytes", advice)

    def extent(self) -> Extent:
        size = self._run(size_in_use, "extent")
        return Extent(size, max_bytes=self._max_bytes)

    def open(self) -> None:
        self._run(lambda cursor: None, "open")

    def close(self) -> None:
        self._file.close()
        if self._overflow is not None:
            self._overflow.close()

    def _run(
        self, act: Callable[[sqlite3.Cursor], T], operation: str, key: str | None = None, *, looks: bool = True
    ) -> T:
        """What `act` returns for a cursor of its own, in the file that has the path now; if it `looks`, at this moment.

        Raises `StoreUnavailableError` for whatever SQLite or the system reports, after tries for which there is hope.
        """
        return self._try(partial(self._with_cursor, act), operation, key, looks=looks)

    def _try(self, do: Callable[[], T], operation: str, key: str | None, *, looks: bool = True) -> T:
        """`_run` for what takes no cursor, or takes one itself."""
        file = self._file
        tries: Tries | None = None
        began = time.monotonic()
        while True:
            identity = file.identity
            try:
                if looks or began >= file.look_at:
                    identity = file.look()
                return do()
            except (*FAILURES, OSError) as error:
                looks = True
                tries = tries or Tries(file, began, operation, key)
                tries.after(error, identity)

    def _with_cursor(self, act: Callable[[sqlite3.Cursor], T]) -> T:
        file = self._file
        try:
            cursor = file.idle.pop()
        except IndexError:
            cursor = file.connect()
        before = cursor.connection.total_changes
        try:
            result = act(cursor)
            changes = cursor.connection.total_changes - before
            if changes:
                file.version = object()
                self._delete_gone(cursor, changes)
        except BaseException:
            file.drop(cursor)
            raise
        file.give_back(cursor)
        return result

    def _idle(self) -> Cursor | None:
        """A cursor that nobody uses, None where there is none or the path has to be looked at first."""
        file = self._file
        if time.monotonic() >= file.look_at:
            return None
        try:
            return file.idle.pop()
        except IndexError:
            return None

    def _reread(self, key: str) -> Item | None:
        return self._run(partial(_fetch, key=PREFIX + key), "read", key)

    def _whole(self, key: str, row: Item | None) -> Item | None:
        """The row with its value, wherever that lies, if it is wanted."""
        if row is None or row.parts is None or not self._is_wanted(key, row):
            return row
        fetch = partial(of.whole, self._places, key, row, partial(self._reread, key))
        return self._copies.whole(row, fetch, self._meters)

    def _places(self) -> list[of.Place]:
        return [_Beside(self), *([] if self._overflow is None else [self._overflow])]

    def _sweep(self, cursor: sqlite3.Cursor) -> None:
        """Delete the files of writers that were killed, and of a database that is gone, now and then."""
        now = time.monotonic()
        if now >= self._file.sweep_at:
            self._file.sweep_at = now + SWEEP_SECONDS
            with suppress(sqlite3.Error, OSError):
                for name in orphans(cursor, self._folder, time.time()):
                    self._folder.remove(name)

    def _delete_gone(self, cursor: sqlite3.Cursor, changes: int) -> None:
        """Delete the files that so many `changes` made superfluous, and once a second what others have left.

        A trigger that notes a file makes another change beside the row's. What fails the next writer does.
        """
        now = time.monotonic()
        if now >= self._file.tidy_at or changes > 1:
            self._file.tidy_at = now + TIDY_SECONDS
            with suppress(sqlite3.Error, OSError):
                delete_gone(cursor, self._folder)

    def _outside(self, key: str) -> Parts | None:
        """Where the value of the standing row lies, if that can be where nothing here notes it: in S3."""
        rows = self._run(partial(_fetch_all, statement=_READ_PARTS, values=(PREFIX + key,)), "read", key)
        return _parts(rows[0][0]) if rows and rows[0][0] is not None else None

    def _delete_outside(self, key: str, parts: Parts | None) -> None:
        if parts is not None and self._overflow is not None:
            self._overflow.delete(key, parts)

    def _count(self) -> None:
        for meter in self._meters:
            meter.count()

    def _size(self, key: str, item: Item) -> int:
        size = len(item.value or b"") + len(key)
        if size > self._max_bytes:
            raise ValueTooLargeError(
                f"the value has {size:,} bytes with its key; {self.location} takes {self._max_bytes:,}"
            )
        return size

    def _change(self, operation: str, key: str, statement: str, *values: object) -> bool:
        """Whether the statement changed the row."""
        self._count()
        return self._run(lambda cursor: cursor.execute(statement, values).rowcount > 0, operation, key)


class _Beside:
    """The folder beside the file of a store, for values too large for a row; a `dynmemo.parts.Place`.

    The rows are what leads to the files. The database itself notes which files no row leads to any more (see
    `schema`), so `delete` has to do only with values that got no row.
    """

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    def plan(self, key: str, row: Item, value: bytes | Content) -> tuple[Item, Parts]:
        return row, of.in_one(value, of.new_write_id(time.time()), of.IN_FILE)

    def put(self, key: str, row: Item, parts: Parts, value: bytes | Content) -> None:
        store = self._store
        store._run(store._sweep, "write", key)  # nobody counts what that deletes, and it may be what fills the disk
        # Without a cursor: a fork waits for those in use, and this may take long.
        store._try(lambda: store._folder.write(parts.write_id, pieces_of(value)), "write", key)
        if isinstance(value, Pieces):
            value.settle(self.get(key, parts))

    def get(self, key: str, parts: Parts, *, again: bool = False) -> Content | None:
        if parts.location != of.IN_FILE or of.began_at(parts.write_id) is None:
            return None
        with suppress(OSError):  # as good as missing
            is_mapped = self._store._memory_map and not self._store._file.is_remote
            found = self._store._folder.open(parts.write_id, mapped=is_mapped)
            if found is not None and len(found) == parts.length:
                return found
        return None

    def delete(self, key: str, parts: Parts) -> None:
        with suppress(OSError):  # eviction or purge deletes it later
            self._store._folder.remove(parts.write_id)


def _range(prefix: str) -> tuple[str, str]:
    """Of the keys that begin with `prefix`, as they stand in the table: the first, and the first after all of them."""
    start = PREFIX + prefix
    common = start.rstrip("\U0010ffff")
    last = ord(common[-1]) + 1
    return start, common[:-1] + chr(0xE000 if last == 0xD800 else last)


def _next(key: str) -> str:
    """The first key that may come after another one."""
    return f"{key}\0"


# Binding a NULL takes 0.4 us, and most columns of a row are NULL. So these leave them out.


@lru_cache(maxsize=100)
def _upsert(nulls: tuple[bool, ...], condition: str = "") -> str:
    """What puts a row, in which the columns are NULL of which `nulls` says so, over any that meets the condition."""
    given = [name for name, is_null in zip(_STORED, nulls, strict=True) if not is_null]
    return _UPSERT % (", ".join(given), ", ".join("?" * len(given))) + condition


@lru_cache(maxsize=100)
def _update(nulls: tuple[bool, ...], *, has_beat: bool) -> str:
    """What puts such a row over one with a certain etag, and a certain beat if it `has_beat`."""
    assigned = [f"{name} = {'NULL' if is_null else '?'}" for name, is_null in zip(_ASSIGNED, nulls, strict=False)]
    beat = " AND lease_beat IS ?" if has_beat else ""
    return f"UPDATE entries SET {', '.join(assigned)} WHERE key = ? AND etag IS ?{beat}"  # noqa: S608


def _fetch(cursor: sqlite3.Cursor, key: str) -> Item | None:
    row = cursor.execute(_READ, (key,)).fetchone()
    return None if row is None else _item(row)


def _fetch_all(cursor: sqlite3.Cursor, statement: str, values: _Row) -> list[Any]:
    return cursor.execute(statement, values).fetchall()


def _meets(row: Item | None, expect: Expect) -> bool:
    if row is None:
        return expect == Expect()
    return row.etag == expect.etag and expect.beat in (None, row.lease_beat)


def _item(row: Sequence[Any]) -> Item:
    item = Item(*row)
    return item if item.parts is None else item._replace(parts=_parts(row[_PARTS]))


def _parts(text: str) -> Parts | None:
    """None if a disk that rots, or whoever made the file, has put there what no store writes."""
    import json

    try:
        write_id, count, length, digest, *location = json.loads(text)
        return Parts(str(write_id), int(count), int(length), bytes.fromhex(digest), *location)
    except (TypeError, ValueError, OverflowError):
        return None


def _parts_text(parts: Parts) -> str:
    import json

    location = () if parts.location is None else (parts.location,)
    return json.dumps([parts.write_id, parts.count, parts.length, parts.digest.hex(), *location])
