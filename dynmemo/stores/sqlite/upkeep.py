"""The upkeep of a file: space is given back, and a damaged file makes way for a new one."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from sqlite3 import Error
from typing import TYPE_CHECKING

from dynmemo._process import logger
from dynmemo.errors import StoreUnavailableError
from dynmemo.stores.sqlite import schema
from dynmemo.stores.sqlite.schema import BY_AGE, pragma

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from dynmemo.stores.sqlite.file import SqliteFile

BITE_BYTES = 256_000
BITE_ROWS = 64
PAGE_BYTES = 4096

CLEAR_BYTES = 8_000_000
CLEAR_ROWS = 256
PAUSE = 0.001
"""Seconds between two bites of clearing, in which other writers get the file."""
COMPACT_BYTES = 32_000_000
"""What may be left of a cleared file if it is to be compacted at once, which takes some 10 ms per MB that is left."""

ROW_BYTES = 300
"""What a row takes beside its key and value, about."""

_EXPIRED = "SELECT id, size FROM entries WHERE ttl_date < ? ORDER BY ttl_date LIMIT ?"
_OLDEST = f"SELECT id, size FROM entries WHERE {BY_AGE} ORDER BY stored_at LIMIT ?"  # noqa: S608
# The plus keeps `stored_at` from being looked up in an index that holds rows of nobody too.
# A lease stays, so that who does not know of the clearing yet waits instead of computing, as it does on DynamoDB.
_CLEARED = f"SELECT id, size FROM entries WHERE fn IS NOT NULL AND +stored_at <= ? AND {BY_AGE} LIMIT ?"  # noqa: S608
_CLEARED_FN = f"SELECT id, size FROM entries WHERE fn = ? AND +stored_at <= ? AND {BY_AGE} LIMIT ?"  # noqa: S608
_DELETE = "DELETE FROM entries WHERE id = ?"


def make_room(cursor: Cursor, max_bytes: int, added: int, now: float) -> None:
    """Remove a bite of rows if the file holds more than `max_bytes`: more than was `added`, but not much more."""
    try:
        cursor.execute("BEGIN IMMEDIATE")
        length, free = _sizes(cursor)
        goal = min(length - free - max_bytes, 2 * added + BITE_BYTES)
        if goal > 0:
            goal -= _delete(cursor, _EXPIRED, (now, BITE_ROWS), goal)[1]
        if goal > 0:
            _delete(cursor, _OLDEST, (BITE_ROWS,), goal)
        cursor.execute("COMMIT")
        # The next writes fill free pages. Only a file that was allowed to be longer once is made shorter.
        if length > max_bytes + max_bytes // 8:
            # Each page is a row without columns, and `execute` stops at the first of those.
            cursor.executescript(f"PRAGMA incremental_vacuum({(added + BITE_BYTES) // PAGE_BYTES})")
    except Error:
        # The write that brought us here is done, and what could not be removed now goes with the next one.
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")


def remove_all(file: SqliteFile, fn: str | None, stored_until: int) -> int:
    """Delete the rows of a function, or of all functions, in bites; how many rows."""
    query, of_fn = (_CLEARED, ()) if fn is None else (_CLEARED_FN, (fn,))

    def bite(cursor: Cursor) -> int:
        cursor.execute("BEGIN IMMEDIATE")
        rows, _ = _delete(cursor, query, (*of_fn, stored_until, CLEAR_ROWS), CLEAR_BYTES)
        cursor.execute("COMMIT")
        return rows

    removed = 0
    while rows := file.run(bite, "remove_all"):
        removed += rows
        time.sleep(PAUSE)
    file.run(_compact, "remove_all")
    return removed


def _compact(cursor: Cursor) -> None:
    """Give free pages back to the system where that is quick; elsewhere the next writes fill them."""
    length, free = _sizes(cursor)
    if free > length // 2 and length - free <= COMPACT_BYTES:
        with suppress(Error):  # the rows are gone, which is what was asked
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def _sizes(cursor: Cursor) -> tuple[int, int]:
    """Bytes of the file, once the log is merged into it, and of its free pages."""
    page_size = pragma(cursor.connection, "page_size")
    return page_size * pragma(cursor.connection, "page_count"), page_size * pragma(cursor.connection, "freelist_count")


def _delete(cursor: Cursor, query: str, values: tuple[object, ...], goal: int) -> tuple[int, int]:
    """Delete the first rows that `query` finds, until they hold `goal` bytes; how many rows and bytes."""
    ids, size = [], 0
    for row, row_size in cursor.execute(query, values).fetchall():
        if size >= goal:
            break
        ids.append((row,))
        size += row_size + ROW_BYTES
    cursor.executemany(_DELETE, ids)
    return len(ids), size


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Identity = tuple[int, int]

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOCK_SECONDS = 5.0


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the content of the file is not what it should be."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def identity_of(path: Path) -> Identity | None:
    """What tells the file that the path names from others, also after it was renamed; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def quarantine(path: Path, damaged: Identity, *, was_ours: bool) -> bool:
    """Rename the damaged file and its log to ``{name}.corrupt-{time}``; whether the path is free now, or was already.

    A file that is not ours stays, and so does one that the system does not let us rename. Who has it open still
    goes on in the renamed one until it looks for the path again; SQLite deletes no log of a file that has moved.
    """
    if not (was_ours or _says_it_is_ours(path)):
        return False
    try:
        with _lock(path):
            if identity_of(path) != damaged:
                return True  # another process was faster
            target = path.with_name(f"{path.name}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
            path.rename(target)
            # The log after the file, since who misses only the log would begin another one. Until both are gone
            # the lock keeps the new file from being created, to which SQLite would apply the old log.
            for end in ("-wal", "-shm", "-journal"):
                with suppress(FileNotFoundError):
                    path.with_name(path.name + end).rename(target.with_name(target.name + end))
    except (OSError, sqlite3.Error):
        return False
    logger.warning("the cache %s is damaged; it was moved to %s, and a new one is begun", path, target)
    return True


@contextmanager
def while_nobody_quarantines(path: Path) -> Iterator[None]:
    """Create the file in here."""
    # Whoever quarantines a file makes the lock before the path becomes free.
    if not _lock_path(path).exists():
        yield
        return
    with _lock(path):
        yield


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Held by one thread of one process; a killed one loses it. SQLite's own lock on a file, for it works everywhere.

    The file stays: to remove it could take it away from under somebody who has just opened it.
    """
    name = schema.uri(_lock_path(path), "mode=rwc")
    with closing(sqlite3.connect(name, uri=True, timeout=_LOCK_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _says_it_is_ours(path: Path) -> bool:
    """Whether the header, which need not be damaged too, has our mark."""
    with closing(
        sqlite3.connect(schema.uri(path, "mode=ro&immutable=1"), uri=True, isolation_level=None)
    ) as connection:
        try:
            connection.execute("PRAGMA writable_schema = ON")  # accept a length that differs from the header's
            schema.check_ours(connection, path)
        except (sqlite3.Error, StoreUnavailableError):
            return False
    return True
