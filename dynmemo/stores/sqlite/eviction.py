"""Giving space back: rows that have to go for want of it, rows of cleared functions, free pages at the file's end."""

from __future__ import annotations

import time
from sqlite3 import Error
from typing import TYPE_CHECKING

from dynmemo.stores.sqlite.schema import BY_AGE, NOT_A_GENERATION, pragma

if TYPE_CHECKING:
    from sqlite3 import Cursor

    from dynmemo.stores.sqlite.file import SqliteFile

BITE_BYTES = 256_000
BITE_ROWS = 64
BITE_PAGES = 64

CLEAR_BYTES = 8_000_000
CLEAR_ROWS = 256
CLEAR_PAGES = 1024
PAUSE = 0.001
"""Seconds between two bites of clearing, in which other writers get the file."""

ROW_BYTES = 300
"""What a row takes beside its key and value, about."""

_EXPIRED = "SELECT id, size FROM entries WHERE ttl_date < ?1 ORDER BY ttl_date LIMIT ?2"
_OLDEST = f"SELECT id, size FROM entries WHERE {BY_AGE} ORDER BY stored_at LIMIT ?2"  # noqa: S608
_CLEARED = f"SELECT id, size FROM entries WHERE fn IS NOT NULL AND stored_at <= ?1 AND {NOT_A_GENERATION} LIMIT ?2"  # noqa: S608
_CLEARED_FN = f"SELECT id, size FROM entries WHERE fn = ?3 AND stored_at <= ?1 AND {NOT_A_GENERATION} LIMIT ?2"  # noqa: S608
_DELETE = "DELETE FROM entries WHERE id = ?"


def make_room(cursor: Cursor, max_bytes: int, added: int, now: float) -> None:
    """Remove a bite of rows if the file holds more than `max_bytes`: more than was `added`, but not much more."""
    try:
        cursor.execute("BEGIN IMMEDIATE")
        _evict(cursor, max_bytes, added, now)
        cursor.execute("COMMIT")
    except Error:
        # The write that brought us here is done, and what could not be removed now goes with the next one.
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")


def remove_all(file: SqliteFile, fn: str | None, stored_until: int) -> int:
    """Delete the rows of a function, or of all functions, in bites, then shorten the file; how many rows."""
    query, of_fn = (_CLEARED, ()) if fn is None else (_CLEARED_FN, (fn,))

    def bite(cursor: Cursor) -> int:
        cursor.execute("BEGIN IMMEDIATE")
        rows, _ = _delete(cursor, query, (stored_until, CLEAR_ROWS, *of_fn), CLEAR_BYTES)
        cursor.execute("COMMIT")
        return rows

    removed = 0
    while rows := file.run(bite, "remove_all"):
        removed += rows
        time.sleep(PAUSE)
    while file.run(lambda cursor: _shorten(cursor, CLEAR_PAGES), "remove_all"):
        time.sleep(PAUSE)
    return removed


def _evict(cursor: Cursor, max_bytes: int, added: int, now: float) -> None:
    connection = cursor.connection
    pages, free = pragma(connection, "page_count"), pragma(connection, "freelist_count")
    excess = (pages - free) * pragma(connection, "page_size") - max_bytes
    goal = min(excess, 2 * added + BITE_BYTES)
    for query in (_EXPIRED, _OLDEST):
        if goal > 0:
            goal -= _delete(cursor, query, (now, BITE_ROWS), goal)[1]
    # Free pages are filled by the next writes; the file is made shorter only when there are many.
    if free > pages // 8:
        _shorten(cursor, BITE_PAGES)


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


def _shorten(cursor: Cursor, pages: int) -> int:
    """Give up to `pages` free pages back to the system; how many are left."""
    cursor.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    return pragma(cursor.connection, "freelist_count")
