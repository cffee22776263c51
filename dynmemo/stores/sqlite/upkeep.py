"""Keeping a file small: what makes room in it, and what clears it."""

from __future__ import annotations

from contextlib import suppress
from sqlite3 import Error
from typing import TYPE_CHECKING, Any

from dynmemo.parts import began_at, is_orphaned
from dynmemo.stores.sqlite.schema import BY_AGE, pragma

if TYPE_CHECKING:
    from collections.abc import Sequence
    from sqlite3 import Cursor

    from dynmemo.stores.files import ValueFiles

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

_EXPIRED = "SELECT id, size FROM entries WHERE ttl_date < ? AND lease_owner IS NULL ORDER BY ttl_date LIMIT ?"
_OLDEST = f"SELECT id, size FROM entries WHERE {BY_AGE} ORDER BY stored_at LIMIT ?"  # noqa: S608
# There is no index of leases. Each bite looks at some rows in a row, somewhere, for those that killed processes left.
_DEAD = (
    "SELECT id, size FROM (SELECT id, size, lease_owner, ttl_date FROM entries WHERE id >= "
    "(SELECT abs(random() % max(1, id + 2 - :at_most)) FROM entries ORDER BY id DESC LIMIT 1) "
    "ORDER BY id LIMIT :at_most) WHERE lease_owner IS NOT NULL AND ttl_date < :now"
)
_PLACES = "SELECT parts FROM entries WHERE parts IS NOT NULL"
_DELETE = "DELETE FROM entries WHERE id = ?"
# A lease stays, so that who does not know of the clearing yet waits instead of computing, as it does on DynamoDB.
# The plus keeps `stored_at` from being looked up in an index.
_IS_CLEARED = f"fn IS NOT NULL AND coalesce(gen, '') GLOB ? AND fn NOT GLOB ? AND +stored_at <= ? AND {BY_AGE}"
_CLEARED = f"SELECT key, size FROM entries WHERE key >= ? AND key < ? AND {_IS_CLEARED} ORDER BY key LIMIT ?"  # noqa: S608
_CLEAR = f"DELETE FROM entries WHERE key = ? AND {_IS_CLEARED}"  # noqa: S608


def make_room(cursor: Cursor, max_bytes: int, added: int, now: float, rows: int) -> None:
    """Remove a bite of rows if database and files hold more than `max_bytes`: more than was `added`, not much more.

    Args:
        added: bytes, in so many `rows`.
    """
    at_most = max(BITE_ROWS, 2 * rows)
    try:
        cursor.execute("BEGIN IMMEDIATE")
        length, _ = _sizes(cursor)
        goal = min(size_in_use(cursor) - max_bytes, 2 * added + BITE_BYTES)
        if goal > 0:
            goal -= _delete(cursor, _EXPIRED, (now, at_most), goal)
        if goal > 0:
            goal -= _delete(cursor, _DEAD, {"at_most": at_most, "now": now}, goal)
        if goal > 0:
            _delete(cursor, _OLDEST, (at_most,), goal)
        cursor.execute("COMMIT")
        # The next writes fill free pages. Only a file that was allowed to be longer once is made shorter.
        if length > max_bytes + max_bytes // 8:
            # Each page is a row without columns, and `execute` stops at the first of those.
            cursor.executescript(f"PRAGMA incremental_vacuum({(added + BITE_BYTES) // PAGE_BYTES})")
    except Error:
        # The write that brought us here is done, and what could not be removed now goes with the next one.
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")


def clear_bite(cursor: Cursor, start: str, end: str, chosen: tuple[str, str, int]) -> tuple[str, int] | None:
    """Delete some of the rows of functions with keys from `start` up to `end`.

    `chosen` are those whose `gen` is like that, whose `fn` is not like that, and that were stored until then.
    The last key that was looked at, and how many were deleted; None where there are no more.
    """
    # Found without keeping writers out, since rows of nobody may lie in between. Some may be others by now.
    found = _first(cursor.execute(_CLEARED, (start, end, *chosen, CLEAR_ROWS)).fetchall(), CLEAR_BYTES)
    if not found:
        return None
    cursor.execute("BEGIN IMMEDIATE")
    cursor.executemany(_CLEAR, [(key, *chosen) for key, _ in found])
    deleted = cursor.rowcount
    cursor.execute("COMMIT")
    return found[-1][0], deleted


def compact(cursor: Cursor, folder: ValueFiles) -> None:
    """Give free pages back to the system where that is quick, elsewhere the next writes fill them; and all files."""
    while delete_gone(cursor, folder):
        pass
    length, free = _sizes(cursor)
    if free > length // 2 and length - free <= COMPACT_BYTES:
        with suppress(Error):  # the rows are gone, which is what was asked
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()


def bytes_in_files(cursor: Cursor) -> int:
    """Bytes of all values that lie in files beside the database."""
    (total,) = cursor.execute("SELECT CAST(total(bytes) AS INTEGER) FROM files").fetchone()
    return int(total)


def size_in_use(cursor: Cursor) -> int:
    """Bytes of database and files without free pages, which is what `make_room` looks at."""
    length, free = _sizes(cursor)
    return length - free + bytes_in_files(cursor)


def delete_gone(cursor: Cursor, folder: ValueFiles) -> int:
    """Delete some of the files whose rows are gone; how many. What cannot be deleted now is left to the next writer."""
    gone = cursor.execute("SELECT parts FROM gone LIMIT 1000").fetchall()
    if not gone:
        return 0
    deleted: list[tuple[str]] = []
    try:
        deleted += [(text,) for (text,) in gone if _is_removed(folder, _name_in(text))]
        cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany("DELETE FROM gone WHERE parts = ?", deleted)
        cursor.execute("COMMIT")
    except (Error, OSError):
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")
        return 0
    return len(deleted)


def _is_removed(folder: ValueFiles, name: str) -> bool:
    """Remove a file if it is one of values: whoever made the database may name any other one."""
    return began_at(name) is None or folder.remove(name)


def orphans(cursor: Cursor, folder: ValueFiles, now: float) -> list[str]:
    """The files that killed writers left, or a database that is gone: no row leads to them."""
    old = {name: write_id for name in folder.names() if is_orphaned(write_id := name.split(".")[0], now)}
    ids = set(old.values())
    if ids:
        ids.difference_update(_name_in(text) for (text,) in cursor.execute(_PLACES))
    return [name for name, write_id in old.items() if write_id in ids]


def _name_in(text: object) -> str:
    """Of a file, from what a row says of its value."""
    return str(text)[2:26]


def _sizes(cursor: Cursor) -> tuple[int, int]:
    """Bytes of the file, once the log is merged into it, and of its free pages."""
    page_size = pragma(cursor.connection, "page_size")
    return page_size * pragma(cursor.connection, "page_count"), page_size * pragma(cursor.connection, "freelist_count")


def _delete(cursor: Cursor, query: str, values: tuple[object, ...] | dict[str, object], goal: int) -> int:
    """Delete the first rows that `query` finds, until they hold `goal` bytes; how many bytes."""
    found = _first(cursor.execute(query, values).fetchall(), goal)
    cursor.executemany(_DELETE, [(row,) for row, _ in found])
    return sum(size + ROW_BYTES for _, size in found)


def _first(found: Sequence[tuple[Any, int]], goal: int) -> list[tuple[Any, int]]:
    """Of rows with their sizes the first, until they hold `goal` bytes."""
    first = []
    for row, size in found:
        if goal <= 0:
            break
        first.append((row, size))
        goal -= size + ROW_BYTES
    return first
