"""One SQLite file and the connections of this process to it: created, checked, waited for, kept apart by forks."""

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
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from dynmemo._process import at_fork
from dynmemo.errors import StoreUnavailableError
from dynmemo.stores.sqlite import schema
from dynmemo.stores.sqlite.upkeep import identity_of, is_damage, quarantine, while_nobody_quarantines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")

LOOK_SECONDS = 1.0
"""How long reads may go on in a file that was removed or replaced; writes notice at once."""

LOG_BYTES = 16_000_000
"""To what size the write-ahead log is cut back after a large write."""

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PROTOCOL})

_PERMISSIONS = "check the permissions of the file and its folder"
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, or give a smaller max_bytes",
    sqlite3.SQLITE_READONLY: f"it cannot be written: {_PERMISSIONS}",
    sqlite3.SQLITE_CANTOPEN: f"it cannot be opened: {_PERMISSIONS}",
    sqlite3.SQLITE_CORRUPT: "its content is damaged, and it could not be moved away: "
    "remove it together with its -wal and -shm files",
    sqlite3.SQLITE_IOERR: "reading or writing the disk failed",
}

_files: weakref.WeakValueDictionary[int, SqliteFile] = weakref.WeakValueDictionary()
_creating = threading.Lock()


class _Connection(sqlite3.Connection):
    """A connection that can be referred to weakly and closes itself without a ResourceWarning."""

    def __del__(self) -> None:
        with suppress(sqlite3.Error):
            self.close()


class _Cursor(sqlite3.Cursor):
    """A cursor, the only one of its connection, that knows which file the connection is to."""

    identity: tuple[int, int]


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
        self.busy_timeout = busy_timeout
        self.identity: tuple[int, int] | None = None
        """The file that the path names, as this very object; cursors with another one are to another file."""
        self.idle: deque[_Cursor] = deque()
        """Cursors that nobody uses now."""
        self.look_at = 0.0
        """When (monotonic) a read has to `look` again."""
        self.size = 0
        """Bytes of the file when it was last looked at."""
        self._ours: tuple[int, int] | None = None
        """The last file that was seen to be ours."""
        self._lock = threading.Lock()
        self._held = False
        self._remote = False
        self._open: weakref.WeakValueDictionary[int, _Connection] = weakref.WeakValueDictionary()
        self._lost: list[_Connection] = []
        _files[id(self)] = self

    def run(self, act: Callable[[sqlite3.Cursor], T], operation: str, key: str | None = None) -> T:
        """What `act` returns for a cursor of its own; begun anew while the file is locked, until `busy_timeout`.

        Raises `StoreUnavailableError` for whatever SQLite or the system reports.
        """
        # The busy handler inside SQLite does most of the waiting, but not all: where waiting could be a
        # deadlock, as when the log is switched on, SQLite says "busy" at once.
        deadline = time.monotonic() + self.busy_timeout
        may_begin_anew, looks_again = True, 3
        while True:
            before = identity_of(self.path)
            try:
                return self._run_once(act)
            except (sqlite3.Error, OSError) as error:
                if may_begin_anew and is_damage(error) and self._made_way(before):
                    may_begin_anew = False
                    continue
                now = identity_of(self.path)
                if looks_again and _is_not_found(error) and (now is None or now != before):
                    looks_again -= 1  # another process has moved a damaged file away since we looked
                    self.close()
                    continue
                if not _is_busy(error) or time.monotonic() >= deadline:
                    raise self._unavailable(error, operation, key) from error
            time.sleep(random.uniform(0.001, 0.02))  # noqa: S311

    def look(self) -> None:
        """Notice that the file was removed or replaced, and leave the old one. Costs one stat."""
        self.look_at = time.monotonic() + LOOK_SECONDS
        try:
            status = os.stat(self.path)  # noqa: PTH116  the pathlib way takes longer
        except (FileNotFoundError, NotADirectoryError):
            self.close()
            return
        self.size = status.st_size
        if (status.st_dev, status.st_ino) != self.identity:
            self.close()

    def close(self) -> None:
        """Close the connections; those in use as soon as they are not."""
        with self._lock:
            self.identity = None
        self._close_idle()

    def give_back(self, cursor: _Cursor) -> None:
        """Let other calls have a cursor that `_take` gave."""
        self.idle.append(cursor)
        # In this order: either this finds that the file has been closed meanwhile, or `close` finds the cursor.
        if cursor.identity is not self.identity:
            self._close_idle()

    def drop(self, cursor: sqlite3.Cursor) -> None:
        """Close a cursor's connection, and with it whatever transaction is open.

        Never leave that to the last reference: connections are parts of reference cycles,
        and tracebacks keep cursors for long.
        """
        connection = cursor.connection
        with suppress(sqlite3.Error):
            connection.close()
        self._open.pop(id(connection), None)

    def _run_once(self, act: Callable[[sqlite3.Cursor], T]) -> T:
        self.look()
        cursor = self._take()
        try:
            result = act(cursor)
        except BaseException:
            self.drop(cursor)
            raise
        self.give_back(cursor)
        return result

    def _made_way(self, damaged: tuple[int, int] | None) -> bool:
        """Quarantine the damaged file if it is ours."""
        self.close()  # Windows renames no file that is open
        return damaged is not None and quarantine(self.path, damaged, was_ours=damaged == self._ours)

    def _take(self) -> _Cursor:
        with suppress(IndexError):
            return self.idle.pop()
        cursor = self._connect()
        try:
            self._configure(cursor.connection)
        except BaseException:
            self.drop(cursor)
            raise
        self._ours = cursor.identity
        return cursor

    def _connect(self) -> _Cursor:
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
        cursor = connection.cursor(_Cursor)
        cursor.identity = identity
        return cursor

    def _prepare(self) -> tuple[int, int]:
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
        self._remote = schema.is_remote(self.path)
        return (status.st_dev, status.st_ino)

    def _configure(self, connection: sqlite3.Connection) -> None:
        # A network filesystem shares no memory between machines, and the write-ahead log needs that. There the
        # journal is truncated rather than deleted: a client that has cached the journal's absence would miss the one
        # that a crashed client left, but not one that is always there.
        schema.prepare(connection, self.path, "TRUNCATE" if self._remote else "WAL")
        # No PRAGMA mmap_size, though it would halve the time of reading 100 KB: who truncates a mapped file kills
        # every process that reads it.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        # Some distributions overwrite whatever is deleted, which would write every evicted page once more.
        connection.execute("PRAGMA secure_delete = FAST")

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self.drop(self.idle.pop())

    def _unavailable(self, error: Exception, operation: str, key: str | None) -> StoreUnavailableError:
        code, name = getattr(error, "sqlite_errorcode", None), getattr(error, "sqlite_errorname", None)
        text = str(error) if code is None else _ADVICE.get(code & 0xFF, str(error))
        if _is_busy(error):
            text = f"another process has kept it locked for {self.busy_timeout:g} s"
        message = f"{operation} on {self.path} failed: {text}" + (f" ({name})" if name else "")
        return StoreUnavailableError(message, operation=operation, table=str(self.path), key=key, code=name)

    def before_fork(self) -> None:
        """Close all connections, those in use as soon as they are not, and keep new ones from being opened."""
        # A call in another thread ends within twice the busy timeout. A call of this very thread, below a
        # signal handler that forks, does not.
        patience = 2 * self.busy_timeout + 1
        start = time.monotonic()
        self._held = self._lock.acquire(timeout=patience)
        self._close_idle()
        collected = False
        while self._open and (waited := time.monotonic() - start) < patience:
            if waited > 0.1 and not collected:
                gc.collect()  # connections that nobody closed, as an interrupt at the wrong moment leaves them
                collected = True
            time.sleep(0.0002)
            self._close_idle()

    def after_fork_in_parent(self) -> None:
        if self._held:
            self._lock.release()

    def after_fork_in_child(self) -> None:
        # Kept for ever: to close them in this child would undo what the parent is doing.
        self._lost += _referents(self._open)
        self._open = weakref.WeakValueDictionary()
        self._lock = threading.Lock()


def _is_busy(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def _is_not_found(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, FileNotFoundError) or code == sqlite3.SQLITE_CANTOPEN


def _create_private(path: Path) -> None:
    """Create the file, empty and readable by nobody else, and the folders above it, unless it is there."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    if path.exists():
        return
    # One thread at a time: closing a file drops all POSIX locks that the process has on it.
    with _creating, while_nobody_quarantines(path), suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


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
    _creating = threading.Lock()
    for file in _referents(_files):
        file.after_fork_in_child()


at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
