"""Values in files: a private folder of immutable files, one for each value, read into memory or mapped.

A file is written under another name and renamed when it is complete, so nobody ever sees half of one, whoever dies
when. It is not flushed to the disk: what a power failure leaves of it is told by its digest, and is a miss.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynmemo._process import new_token
from dynmemo.errors import InvalidOptionError
from dynmemo.item import Content, Pieces, Written, pieces_of
from dynmemo.parts import IN_FILE, digest
from dynmemo.stores import filesystem

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dynmemo.counters import Meter
    from dynmemo.item import Bytes, Item, Parts, Refused

COPIES_MAX_BYTES = 2_000_000_000

MAP_FROM = 200_000
"""Bytes from which mapping a file takes less time than reading it (a frame of 256 KB: 46 us either way)."""

MOST_MAPS = 256
"""Files that a process maps at once, and that it keeps open beside that; each holds a file descriptor as long as an
array lives on it, and many systems give a process 1,024. Beyond, or beyond a quarter of what it is given, files are
read."""

_PIECE = 4_000_000
_UNFINISHED = ".new"
_UNFINISHED_SECONDS = 3600
"""A writer that began so long ago has died."""
_MOST_VERIFIED = 10_000
_USED_SECONDS = 600
"""How exact the time is at which a copy was last used."""
_BINARY = getattr(os, "O_BINARY", 0)  # Windows
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)
_KEPT = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ETXTBSY)

Identity = tuple[str, int, int, int, int, int]


class _Map(mmap.mmap):
    """A map that can be referred to weakly."""


_maps: weakref.WeakSet[_Map] = weakref.WeakSet()
_open: set[int] = set()
"""The descriptors of values that are open."""


class FileValue(Content):
    """The bytes of a value that lies in a file, open: removing the file does not take them away.

    Every `load` gives memory of its own that may be written to, and nobody else sees what is written.
    """

    __slots__ = ("_fd", "_is_mapped", "_lock", "identity", "length", "written_at")

    def __init__(self, fd: int, name: str, *, is_mapped: bool) -> None:
        self._fd = fd
        _open.add(fd)
        self._lock = threading.Lock()
        status = os.fstat(fd)
        self._is_mapped = is_mapped
        self.length = status.st_size
        self.identity: Identity = (
            name,
            status.st_dev,
            status.st_ino,
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )
        """What tells these bytes from those of any other file, and from what somebody made of this one."""
        self.written_at = status.st_mtime

    def __len__(self) -> int:
        return self.length

    def __bytes__(self) -> bytes:
        return bytes(self._read())

    def load(self, *, mapped: bool = True) -> memoryview:
        """All bytes that are there; mapped privately if that is allowed and worth it. Raises OSError."""
        if mapped and self._is_mapped and self.length >= MAP_FROM and len(_maps) < _most_files():
            with suppress(OSError, ValueError):  # no descriptor or address space left, or cut short since
                return self._mapped()
        return self._read()

    def pieces(self, end: int) -> Iterator[memoryview]:
        """The bytes up to `end`, as far as they are there, through one piece of memory. Raises OSError."""
        memory = memoryview(bytearray(min(end, _PIECE)))
        with self._lock, open(self._fd, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            while end and (count := file.readinto(memory[:end])):
                yield memory[:count]
                end -= count

    def _mapped(self) -> memoryview:
        found = _Map(self._fd, self.length, access=mmap.ACCESS_COPY)
        _maps.add(found)
        return memoryview(found)

    def _read(self) -> memoryview:
        whole = memoryview(bytearray(self.length))
        at = 0
        with self._lock, open(self._fd, "rb", buffering=0, closefd=False) as file:
            file.seek(0)
            while at < self.length and (count := file.readinto(whole[at:])):
                at += count
        return whole[:at]

    def __del__(self) -> None:
        _open.discard(self._fd)
        os.close(self._fd)


class ValueFiles:
    """A folder of values by name, made private to the user (0700, files 0600) when it is first needed.

    Args:
        folder: where the files lie.

    Every method may raise OSError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, pieces: Iterable[Bytes]) -> None:
        """Write a file: whole, or not at all."""
        path = self.folder / f"{name}.{new_token()[:8]}{_UNFINISHED}"
        fd = self._create(path)
        try:
            try:
                for piece in pieces:
                    _write(fd, memoryview(piece))
            finally:
                os.close(fd)
            path.replace(self.folder / name)
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise

    def open(self, name: str, *, mapped: bool = True) -> FileValue | None:
        """A file as it is now, which may be `mapped` or else is read; None if there is none."""
        try:
            fd = os.open(self.folder / name, os.O_RDONLY | _BINARY)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        return FileValue(fd, name, is_mapped=mapped)

    def remove(self, name: str) -> bool:
        """Remove a file; False if the system keeps it for now, as Windows and its shares do with one that is open."""
        try:
            (self.folder / name).unlink()
        except OSError as error:
            if error.errno in _KEPT:
                return False
            if error.errno not in _NOT_THERE:
                raise
        return True

    def names(self) -> list[str]:
        """The names of all files, unfinished ones too."""
        return [entry.name for entry in self._entries()]

    def listing(self) -> Iterator[tuple[str, os.stat_result]]:
        """Their names, with their status."""
        for entry in self._entries():
            with suppress(OSError):
                yield entry.name, entry.stat(follow_symlinks=False)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as entries:
                yield from entries
        except OSError as error:
            if error.errno not in _NOT_THERE:
                raise

    def _create(self, path: Path) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | _BINARY
        try:
            return os.open(path, flags, 0o600)
        except FileNotFoundError:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(path, flags, 0o600)


class Copies:
    """Copies of values that lie elsewhere, by their digest, for all processes of this user.

    The row says at every call which value is the right one, so a copy is never stale. When there are too many, the
    least recently used ones go. A copy that is missing, damaged or cannot be kept is none: the value is fetched again.
    What lies in a file beside a database needs none.

    Args:
        max_bytes: of all copies together; 0 for no copies at all.
        folder: where they lie. Default: in the user's cache folder.
        mapped: whether they may be mapped. On a network filesystem they never are.

    Raises:
        InvalidOptionError: `max_bytes` is no size.
    """

    def __init__(self, max_bytes: int, folder: Path | None = None, *, mapped: bool = True) -> None:
        if type(max_bytes) is not int or max_bytes < 0:
            raise InvalidOptionError(f"copies_max_bytes={max_bytes!r} is no size; give a number of bytes from 0")
        self._max_bytes = max_bytes
        self._folder = folder
        self._mapped = mapped
        self._opened: ValueFiles | None = None
        self._verified: dict[Identity, None] = {}

    def whole(self, row: Item, fetch: Callable[[], Item | None], meters: Iterable[Meter]) -> Item | None:
        """A row whose value lies outside of it, with that value: the copy, or what `fetch` gives and is copied then."""
        kept = None if row.parts is None else self.get(row.parts)
        if kept is not None:
            for meter in meters:
                meter.count(0, copies=1)
            return _within_reach(row._replace(value=kept))
        found = fetch()
        if found is not None and found.parts is not None and found.value is not None:
            self.keep(found.parts, found.value)
        return found and _within_reach(found)

    def keeping(self, put: Callable[[Item], Written | Refused], value: bytes | Content) -> Callable[[Item], Any]:
        """`put` for the row of `value`, which is copied once its row stands there."""

        def keep(row: Item) -> Written | Refused:
            answer = put(row)
            if isinstance(answer, Written) and row.parts is not None:
                self.keep(row.parts, value)
            return answer

        return keep

    def get(self, parts: Parts) -> FileValue | None:
        """The value that a row speaks of, if there is a copy."""
        files = self._files()
        if files is None or parts.location == IN_FILE:
            return None
        with suppress(OSError):
            name = parts.digest.hex()
            found = files.open(name, mapped=self._mapped)
            if found is None or len(found) != parts.length:
                return None
            if found.identity not in self._verified and digest(found) != parts.digest:
                files.remove(name)
                return None
            if time.time() - found.written_at > _USED_SECONDS:
                with suppress(OSError):  # it may be one that can only be read
                    os.utime(files.folder / name)  # the first to go is the one that was used least recently
                    found = files.open(name, mapped=self._mapped) or found
            if len(self._verified) >= _MOST_VERIFIED:
                self._verified.clear()
            self._verified[found.identity] = None
            return found
        return None

    def keep(self, parts: Parts, value: bytes | Content) -> None:
        """Keep a copy of a value that has been verified."""
        files = self._files()
        if files is None or parts.location == IN_FILE or len(value) > self._max_bytes:
            return
        with suppress(OSError):
            self._make_room(files, len(value))
            files.write(parts.digest.hex(), pieces_of(value))

    def _files(self) -> ValueFiles | None:
        if self._opened is None and self._max_bytes:
            try:
                self._opened = ValueFiles(self._folder or (cache_folder() or temporary_folder()) / "copies")
                self._mapped = self._mapped and not filesystem.is_remote(self._opened.folder)
            except InvalidOptionError:
                self._max_bytes = 0
        return self._opened

    def _make_room(self, files: ValueFiles, needed: int) -> None:
        listing = sorted(files.listing(), key=lambda entry: entry[1].st_mtime)
        too_much = sum(status.st_size for _, status in listing) + needed - self._max_bytes
        for name, status in listing:
            is_left = name.endswith(_UNFINISHED) and status.st_mtime < time.time() - _UNFINISHED_SECONDS
            if (too_much > 0 or is_left) and files.remove(name):
                too_much -= status.st_size


def cache_folder() -> Path | None:
    """The user's folder for what can be made anew; None where there is none that is theirs."""
    import platformdirs

    if os.environ.get("HOME") == "" and not os.environ.get("XDG_CACHE_HOME"):
        return None
    try:
        folder = platformdirs.user_cache_path("dynmemo", appauthor=False)
        if not folder.is_absolute():  # it would be another one in every working directory
            return None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: no HOME; older releases of platformdirs leave "~" as it is instead
        return None
    return folder


def temporary_folder() -> Path:
    """A folder of this user's own below the temporary one.

    Raises:
        InvalidOptionError: somebody else could write into it.
    """
    import tempfile

    try:
        folder = Path(tempfile.gettempdir(), f"dynmemo-{os.getuid() if hasattr(os, 'getuid') else 'user'}")
    except OSError:
        raise InvalidOptionError(
            "there is neither a home folder nor a temporary one to keep results in; set DYNMEMO_URL"
        ) from None
    with suppress(OSError):  # it is there, or what follows says what is wrong
        folder.mkdir(mode=0o700)
    try:
        status = folder.lstat()
    except OSError:
        status = None
    is_private = status is not None and stat.S_ISDIR(status.st_mode)
    if status is not None and hasattr(os, "getuid"):  # on Windows the temporary folder is the user's own
        is_private = is_private and status.st_uid == os.getuid() and not status.st_mode & 0o077
    if not is_private:
        raise InvalidOptionError(
            f"there is no home folder of ours to keep results in, and {folder} is not a folder of this user alone; "
            "set HOME, XDG_CACHE_HOME or DYNMEMO_URL"
        )
    return folder


def _within_reach(row: Item) -> Item:
    """The row with a value that is open, but in memory where many are: who reads many rows has all of them at once."""
    if isinstance(row.value, FileValue) and len(_open) > _most_files():
        with suppress(OSError):
            return row._replace(value=Pieces([row.value.load(mapped=False)]))
    return row


def _most_files() -> int:
    if sys.platform == "win32":  # where neither maps nor files are so few
        return MOST_MAPS
    given, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_MAPS if given == resource.RLIM_INFINITY else min(MOST_MAPS, given // 4)


def _write(fd: int, piece: memoryview[Any]) -> None:
    piece = piece.cast("B")
    while piece:
        piece = piece[os.write(fd, piece) :]
