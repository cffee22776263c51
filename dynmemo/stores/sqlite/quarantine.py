"""A damaged file of ours makes way for a new one: by one process, while no other creates the new one."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dynmemo._process import logger
from dynmemo.errors import StoreUnavailableError
from dynmemo.stores.sqlite import schema

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
