"""What our SQLite file looks like inside, and how it is told from anybody else's."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Item
from dynmemo.parts import IN_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APPLICATION_ID = int.from_bytes(b"dynm", "big")
"""What ``PRAGMA application_id`` answers for a file of ours."""

VERSION = 1
"""The schema, as ``PRAGMA user_version`` says it; a file of a later one is refused."""

OLDEST_SQLITE = (3, 24)
"""The first SQLite with ``ON CONFLICT DO UPDATE``."""

NOT_A_GENERATION = "substr(key, -4) <> '#gen'"
"""The rows that may be removed by other than their own key: a lost generation row would make every entry of its
function a miss."""

BY_AGE = f"lease_owner IS NULL AND {NOT_A_GENERATION}"
"""The rows that may have to go for want of space. A lease goes when it has expired, never before."""

_TYPES = {
    "value": "BLOB",
    "ttl_date": "INTEGER",
    "ttl_deadline": "INTEGER",
    "lease_seconds": "REAL",
    "lease_beat": "INTEGER",
    "stale_for": "INTEGER",
}

ATTRIBUTES = Item._fields
"""The columns of an item, in the order of its fields."""


def _is_in_file(row: str) -> str:
    return f"substr({row}.parts, -7) = '\"{IN_FILE}\"]'"


_FILES = [
    # The bytes of all files, and the files whose row is gone. Whoever replaces or removes a row, in whatever way, notes
    # its file, so that they or the next writer delete it.
    "CREATE TABLE files (bytes INTEGER NOT NULL)",
    "INSERT INTO files SELECT 0",
    "CREATE TABLE gone (parts TEXT PRIMARY KEY)",
    "CREATE INDEX entries_by_parts ON entries (parts) WHERE parts IS NOT NULL",
    f"""CREATE TRIGGER files_added AFTER INSERT ON entries WHEN {_is_in_file("new")}
    BEGIN UPDATE files SET bytes = bytes + new.size; END""",  # noqa: S608
    f"""CREATE TRIGGER files_removed AFTER DELETE ON entries WHEN {_is_in_file("old")}
    BEGIN
        UPDATE files SET bytes = bytes - old.size;
        INSERT OR IGNORE INTO gone VALUES (old.parts);
    END""",  # noqa: S608
    f"""CREATE TRIGGER files_replaced AFTER UPDATE OF parts ON entries WHEN old.parts IS NOT new.parts
    BEGIN
        UPDATE files SET bytes = bytes - old.size WHERE {_is_in_file("old")};
        UPDATE files SET bytes = bytes + new.size WHERE {_is_in_file("new")};
        INSERT OR IGNORE INTO gone SELECT old.parts WHERE {_is_in_file("old")};
    END""",  # noqa: S608
]


def _schema() -> list[str]:
    # With rowid: without it a read of 1 KB took 12 us instead of 7, one of 100 KB 170 instead of 40, and rows
    # of 1 KB three times the space. The value comes last, so that the other columns are read without its pages.
    own = [f"{name} {_TYPES.get(name, 'TEXT')}" for name in ATTRIBUTES if name != "value"]
    columns = ", ".join(["key TEXT NOT NULL UNIQUE", *own, "stored_at INTEGER NOT NULL", "size INTEGER NOT NULL"])
    return [
        f"CREATE TABLE entries (id INTEGER PRIMARY KEY, {columns}, value BLOB)",
        # Not of leases, since every miss would write it twice more. In files of earlier releases they are in it.
        "CREATE INDEX entries_by_expiry ON entries (ttl_date) WHERE ttl_date IS NOT NULL AND lease_owner IS NULL",
        f"CREATE INDEX entries_by_age ON entries (stored_at) WHERE {BY_AGE}",
        *_FILES,
        f"PRAGMA user_version = {VERSION}",
    ]


def check_sqlite() -> None:
    """Refuse an SQLite that does not know our statements."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        raise StoreUnavailableError(
            f"this Python uses SQLite {sqlite3.sqlite_version}, the cache needs {oldest} or later", operation="open"
        )


def uri(path: Path, query: str) -> str:
    """The SQLite URI of a file; also right for a Windows drive and a UNC path."""
    posix = path.as_posix()
    return f"file://{'' if posix.startswith('/') else '/'}{quote(posix, errors='surrogateescape')}?{query}"


def check(path: Path) -> None:
    """Refuse a file that is not ours, or of a later release, without changing a byte of it or beside it.

    A database without any table counts as nobody's, as an empty file does. It is SQLite that looks, not we:
    on POSIX, closing a file drops all locks that this process holds on it, and SQLite waits with that.
    """
    log = path.with_name(f"{path.name}-wal")
    has_log = log.exists() and log.stat().st_size > 0
    try:
        with looking_at(path) as connection:
            if has_log or not is_blank(connection):
                check_ours(connection, path)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_NOTADB:
            raise
        raise refusal(path, "is not an SQLite database") from error


@contextmanager
def looking_at(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that takes no lock, rolls nothing back and creates nothing."""
    with closing(sqlite3.connect(uri(path, "mode=ro&immutable=1"), uri=True, isolation_level=None)) as connection:
        # Accept a length that differs from the header's: so it looks when a writer was killed.
        connection.execute("PRAGMA writable_schema = ON")
        yield connection


def check_ours(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what the two numbers in the file's header say is not for us."""
    application_id, version = pragma(connection, "application_id"), pragma(connection, "user_version")
    if application_id != APPLICATION_ID:
        raise refusal(path, f"is an SQLite database of another program (application id {application_id:#x})")
    if version > VERSION:
        found = f"was written by a later release of dynmemo (schema {version}, this one knows {VERSION})"
        raise refusal(path, found, "Upgrade dynmemo")


def refusal(path: Path, found: str, remedy: str = "Move it away") -> StoreUnavailableError:
    """The error for a file that is left as it is."""
    message = f"{path} {found}, so it is left untouched. {remedy}, or choose another path for the cache."
    return StoreUnavailableError(message, operation="open", table=str(path))


def prepare(connection: sqlite3.Connection, path: Path, journal_mode: str) -> None:
    """Make a blank database ours and see that another one is; any number of processes may do so at once."""
    if is_blank(connection):
        # Our mark is in the file itself before there is a log beside it, so `check` needs no log to find it.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("BEGIN EXCLUSIVE")
        if is_blank(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    check_ours(connection, path)
    connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    if not pragma(connection, "user_version"):
        connection.execute("BEGIN IMMEDIATE")
        if not pragma(connection, "user_version"):
            for statement in _schema():
                connection.execute(statement)
        connection.execute("COMMIT")
    _upgrade(connection)


def _upgrade(connection: sqlite3.Connection) -> None:
    """Add what a file of an earlier release lacks, and drop what slows it down. That release can go on with it.

    Columns come after the value, which costs nothing where they are NULL: the row's header says so.
    """
    _change(connection, _missing)
    try:
        _change(connection, _superfluous)
    except sqlite3.OperationalError:  # it serves all the same, as who may only read it, or others while it is locked
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _change(connection: sqlite3.Connection, wanted: Callable[[sqlite3.Connection], list[str]]) -> None:
    """Execute the statements that are wanted, once of any number of processes that want them at once."""
    if wanted(connection):
        connection.execute("BEGIN IMMEDIATE")
        for statement in wanted(connection):
            connection.execute(statement)
        connection.execute("COMMIT")


def _missing(connection: sqlite3.Connection) -> list[str]:
    columns = {row[1] for row in connection.execute("PRAGMA table_info(entries)")}
    new = [f"ALTER TABLE entries ADD COLUMN {n} {_TYPES.get(n, 'TEXT')}" for n in ATTRIBUTES if n not in columns]
    return [*new, *([] if _has(connection, "files") else _FILES)]


def _superfluous(connection: sqlite3.Connection) -> list[str]:
    # Keys say of which function a row is, and every write had to keep that index, too.
    return ["DROP INDEX entries_by_fn"] if _has(connection, "entries_by_fn") else []


def _has(connection: sqlite3.Connection, name: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


def is_blank(connection: sqlite3.Connection) -> bool:
    """Whether the database has neither tables nor the mark of any program."""
    return not any(pragma(connection, name) for name in ("application_id", "user_version", "schema_version"))


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """The number that a pragma answers."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
