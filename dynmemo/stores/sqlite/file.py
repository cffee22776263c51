"""One SQLite file and the connections of this process to it: opened, kept apart by forks, begun anew when damaged."""

from __future__ import annotations

import gc
import os
import random
import sqlite3
import stat
import threading
import time
import weakref
from collections import deque
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from dynmemo._process import at_fork, logger
from dynmemo.errors import StoreUnavailableError
from dynmemo.stores import filesystem
from dynmemo.stores.files import ValueFiles
from dynmemo.stores.sqlite import schema

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
Identity = tuple[int, int]
"""Device and inode, which tell a file from others, also after it was renamed."""

LOG_BYTES = 16_000_000
"""To what size the write-ahead log is cut back after a large write."""

LOOK_SECONDS = 1.0
"""How long reads, and writes over an etag, may go on in a file that was removed or replaced; others notice at once."""

_LOCK_SECONDS = 5.0

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL})
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_PERMISSIONS = "check the permissions of the file and its folder"
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, or give a smaller max_bytes",
    sqlite3.SQLITE_READONLY: f"it cannot be written: {_PERMISSIONS}",
    sqlite3.SQLITE_CANTOPEN: f"it cannot be opened: {_PERMISSIONS}",
    sqlite3.SQLITE_CORRUPT: "its content is damaged, and it could not be moved away: "
    "remove it together with its -wal and -shm files",
    sqlite3.SQLITE_IOERR: "reading or writing the disk failed",
}

FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; the second where its message quotes text of the file's schema that is damaged."""

_files: weakref.WeakValueDictionary[int, SqliteFile] = weakref.WeakValueDictionary()
_creating = threading.RLock()


class _Connection(sqlite3.Connection):
    """A connection that can be referred to weakly and closes itself without a ResourceWarning."""

    def __del__(self) -> None:
        with suppress(sqlite3.Error):
            self.close()


class Cursor(sqlite3.Cursor):
    """A cursor, the only one of its connection, that knows which file the connection is to."""

    identity: Identity
    version: int | None = None
    """What SQLite last said of the changes that others have made."""


class SqliteFile:
    """A file and a pool of connections to it.

    A call takes a connection out of the pool and puts it back. So no two threads use one at the same
    time, there are as many as calls have run at once, and those of a thread that is gone serve the others.

    A forked child inherits no connection: all are closed before a fork. SQLite would take the
    parent's locks for the child's own, also in connections that the child opens to the same file, and
    what the child writes would be lost once the parent, seeing no lock, deletes the log.
    """

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self.path = path
        self._name = str(path)
        self.values = _beside(path)
        """The large values of the file."""
        self.busy_timeout = busy_timeout
        self.identity: Identity | None = None
        """The file that the path names, as this very object; cursors with another one are to another file."""
        self.idle: deque[Cursor] = deque()
        """Cursors that nobody uses now."""
        self.version = object()
        """Another object after each change that this process has made or seen."""
        self.look_at = 0.0
        """When (monotonic) a read has to look again which file the path names."""
        self.tidy_at = 0.0
        """When (monotonic) a writer has to look again for files whose rows are gone."""
        self.sweep_at = 0.0
        """When (monotonic) to look again for files that belong to no row."""
        self.size = 0
        """Bytes of the file when it was last looked at."""
        self.size_beside = 0
        """Bytes of all values in files beside it when that was last looked at."""
        self._ours: Identity | None = None
        """The last file that was seen to be ours."""
        self._lock = threading.RLock()
        self._held = False
        self.is_remote = False
        """Whether it lies on a network filesystem; known once there is a connection."""
        self._open: weakref.WeakValueDictionary[int, _Connection] = weakref.WeakValueDictionary()
        self._lost: list[_Connection] = []
        _files[id(self)] = self

    def look(self) -> Identity | None:
        """See which file has the path now, and close the connections to another one."""
        identity = None
        self.look_at = time.monotonic() + LOOK_SECONDS
        try:
            status = os.stat(self._name)  # noqa: PTH116  the pathlib way takes longer
            identity, self.size = (status.st_dev, status.st_ino), status.st_size
        except (FileNotFoundError, NotADirectoryError):
            pass
        if identity != self.identity:
            self.close()
        return identity

    def close(self) -> None:
        """Close the connections; those in use as soon as they are not."""
        with self._lock:
            self.identity = None
            self.tidy_at = 0.0
        self.close_idle()

    def give_back(self, cursor: Cursor) -> bool:
        """Let other calls have a cursor; whether it is to the file that the path names."""
        # In this order: either this finds that the file has been closed meanwhile, or `close` finds the cursor.
        self.idle.append(cursor)
        if cursor.identity is self.identity:
            return True
        self.close_idle()
        return False

    def drop(self, cursor: sqlite3.Cursor) -> None:
        """Close a cursor's connection, and with it whatever transaction is open.

        Never leave that to the last reference: connections are parts of reference cycles,
        and tracebacks keep cursors for long.
        """
        connection = cursor.connection
        with suppress(sqlite3.Error):
            connection.close()
        self._open.pop(id(connection), None)

    def make_way(self, damaged: Identity | None) -> bool:
        """Quarantine the damaged file if it is ours."""
        self.close()  # Windows renames no file that is open
        return damaged is not None and _quarantine(self.path, damaged, was_ours=damaged == self._ours)

    def close_idle(self) -> None:
        """Close the connections that nobody uses now."""
        with suppress(IndexError):
            while True:
                self.drop(self.idle.pop())

    def connect(self) -> Cursor:
        """The cursor of a new connection. The file is created when it is missing, and refused when it is not ours."""
        # Nothing done under this lock waits for a lock of SQLite, so no thread here waits for one that waits there.
        with self._lock:
            if self._lost:
                raise StoreUnavailableError(
                    f"this process was forked while {self.path} was in use, and cannot use it safely. "
                    "Start the workers earlier, or with the spawn method.",
                    operation="open",
                    table=str(self.path),
                )
            identity = self.identity = self.identity or self._prepare()
            connection = sqlite3.connect(
                schema.uri(self.path, "mode=rw"),
                uri=True,
                timeout=self.busy_timeout,
                isolation_level=None,
                check_same_thread=False,
                factory=_Connection,
            )
            self._open[id(connection)] = connection
        cursor = connection.cursor(Cursor)
        cursor.identity = identity
        try:
            self._configure(connection)
            (cursor.version,) = cursor.execute("PRAGMA data_version").fetchone()
            self.version = object()
        except BaseException:
            self.drop(cursor)
            raise
        self._ours = identity
        return cursor

    def _prepare(self) -> Identity:
        """Create the file, or see that it is ours; what tells it from others."""
        schema.check_sqlite()
        _create_private(self.path)
        status = self.path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise schema.refusal(self.path, "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a file")
        if status.st_size == 1:  # to SQLite such a file is as good as empty
            raise schema.refusal(self.path, "is not an SQLite database")
        if status.st_size:
            schema.check(self.path)
        self.is_remote = filesystem.is_remote(self.path)
        self.values = _beside(self.path)  # the links may lead to another file now
        return (status.st_dev, status.st_ino)

    def _configure(self, connection: sqlite3.Connection) -> None:
        # A network filesystem shares no memory between machines, and the write-ahead log needs that. There the
        # journal is truncated rather than deleted: a client that has cached the journal's absence would miss the one
        # that a crashed client left, but not one that is always there.
        schema.prepare(connection, self.path, "TRUNCATE" if self.is_remote else "WAL")
        # No PRAGMA mmap_size, though it would halve the time of reading 100 KB: who truncates a mapped file kills
        # every process that reads it.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        # Some distributions overwrite whatever is deleted, which would write every evicted page once more.
        connection.execute("PRAGMA secure_delete = FAST")

    def before_fork(self) -> None:
        """Close all connections, those in use as soon as they are not, and keep new ones from being opened."""
        # A call in another thread ends within twice the busy timeout. A call of this very thread, below a
        # signal handler that forks, does not.
        patience = 2 * self.busy_timeout + 1
        start = time.monotonic()
        self._held = self._lock.acquire(timeout=patience)
        self.close_idle()
        collected = False
        while self._open and (waited := time.monotonic() - start) < patience:
            if waited > 0.1 and not collected:
                gc.collect()  # connections that nobody closed, as an interrupt at the wrong moment leaves them
                collected = True
            time.sleep(0.0002)
            self.close_idle()

    def after_fork_in_parent(self) -> None:
        if self._held:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        # Kept for ever: to close them in this child would undo what the parent is doing.
        self._lost += _referents(self._open)
        self._open = weakref.WeakValueDictionary()
        self._lock = threading.RLock()


class Tries:
    """What one call does about the errors that it meets: begin anew where that may help, else tell."""

    def __init__(self, file: SqliteFile, began: float, operation: str, key: str | None) -> None:
        self._file = file
        self._until = began + file.busy_timeout
        self._operation = operation
        self._key = key
        self._may_begin_anew, self._looks_again = True, 3

    def after(self, error: Exception, before: Identity | None) -> None:
        """Return when to try again, after an error in the file that had the path `before`, if it had any.

        Raises `StoreUnavailableError` when not.
        """
        code = getattr(error, "sqlite_errorcode", None)
        kind = sqlite3.SQLITE_CORRUPT if _is_of_rotten_text(error) else (code or 0) & 0xFF
        if self._may_begin_anew and kind in _DAMAGE and self._file.make_way(before):
            self._may_begin_anew = False
            return
        now = _identity_of(self._file.path)
        is_not_found = isinstance(error, FileNotFoundError) or kind == sqlite3.SQLITE_CANTOPEN
        if self._looks_again and is_not_found and (now is None or now != before):
            self._looks_again -= 1  # another process has moved a damaged file away since we looked
            self._file.close()
            return
        # The busy handler inside SQLite does most of the waiting, but not all: where waiting could be a
        # deadlock, as when the log is switched on, SQLite says "busy" at once.
        if kind not in _BUSY or time.monotonic() >= self._until:
            name, path = getattr(error, "sqlite_errorname", None), str(self._file.path)
            text = _ADVICE.get(kind, str(error))
            if kind in _BUSY:
                text = f"another process has kept it locked for {self._file.busy_timeout:g} s"
            message = f"{self._operation} on {path} failed: {text}" + (f" ({name})" if name else "")
            raise StoreUnavailableError(
                message, operation=self._operation, table=path, key=self._key, code=name
            ) from error
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311


def _is_of_rotten_text(error: Exception) -> bool:
    """Whether text in the file, which SQLite itself does not look at, is no UTF-8."""
    return isinstance(error, UnicodeDecodeError) or str(error).startswith("Could not decode to UTF-8")


def _create_private(path: Path) -> None:
    """Create the file, empty and readable by nobody else, and the folders above it, unless it is there."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    if path.exists():
        return
    # One thread at a time: closing a file drops all POSIX locks that the process has on it.
    with _creating, _while_nobody_quarantines(path), suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _beside(path: Path) -> ValueFiles:
    """The folder of values beside the file itself, where SQLite has its log too, whatever links lead to it."""
    itself = Path(os.path.realpath(path))
    return ValueFiles(itself.with_name(f"{itself.name}.values"))


def _identity_of(path: Path) -> Identity | None:
    """Of the file that the path names; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _quarantine(path: Path, damaged: Identity, *, was_ours: bool) -> bool:
    """Rename the damaged file and its log to ``{name}.corrupt-{time}``; whether the path is free now, or was already.

    A file that is not ours stays, and so does one that the system does not let us rename. Who has it open still
    goes on in the renamed one until it looks for the path again; SQLite deletes no log of a file that has moved.
    """
    if not (was_ours or _says_it_is_ours(path)):
        return False
    try:
        with _lock(path):
            if _identity_of(path) != damaged:
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
def _while_nobody_quarantines(path: Path) -> Iterator[None]:
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
    try:
        with schema.looking_at(path) as connection:
            schema.check_ours(connection, path)
    except (sqlite3.Error, StoreUnavailableError):
        return False
    return True


def _referents(references: weakref.WeakValueDictionary[int, T]) -> list[T]:
    """The values, whatever other threads do meanwhile."""
    return [value for reference in references.valuerefs() if (value := reference()) is not None]


def _before_fork() -> None:
    for file in _referents(_files):
        file.before_fork()


def _after_fork_in_parent() -> None:
    for file in _referents(_files):
        file.after_fork_in_parent()


def _after_fork_in_child() -> None:
    global _creating
    _creating = threading.RLock()
    for file in _referents(_files):
        file.after_fork_in_child()


at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
