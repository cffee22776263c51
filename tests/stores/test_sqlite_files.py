"""Values of SQLite that lie in files beside the database: when they come, and when they go."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Expect, Item, Pieces, Refused, Written
from dynmemo.parts import bytes_of, new_write_id
from dynmemo.stores import sqlite
from dynmemo.stores.sqlite import FILE_FROM, SqliteStore
from dynmemo.stores.sqlite.file import Cursor
from dynmemo.testing import Clock
from dynmemo.testing.contract.helpers import existing, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LARGE = bytes(range(256)) * (FILE_FROM // 128)
LIMIT = 20_000_000
HOUR = 3600


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0, step=0.001)


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[SqliteStore]:
    store = SqliteStore(path, max_bytes=LIMIT, clock=clock)
    yield store
    store.close()


def files(path: Path) -> list[Path]:
    folder = path.with_name("cache.db.values")
    return sorted(folder.iterdir()) if folder.exists() else []


def counted(path: Path) -> tuple[int, int]:
    """The bytes that the database believes to lie in files, and the files that it still has to delete."""
    with closing(sqlite3.connect(path)) as connection:
        (total,) = connection.execute("SELECT bytes FROM files").fetchone()
        (gone,) = connection.execute("SELECT count(*) FROM gone").fetchone()
    return total, gone


@pytest.mark.parametrize(("length", "count"), [(FILE_FROM - 1, 0), (FILE_FROM, 1)])
def test_a_value_from_the_bound_on_lies_in_a_file(path: Path, store: SqliteStore, length: int, count: int) -> None:
    put(store, "k", Item(value=bytes(length), fn="f"))
    assert len(files(path)) == count
    assert existing(store, "k").value == bytes(length)


def test_whoever_ends_a_row_ends_its_file(path: Path, store: SqliteStore) -> None:
    for key in ("replaced by small", "replaced by large", "removed", "cleared", "stays"):
        put(store, key, Item(value=LARGE, fn="g" if key == "stays" else "f"))
    assert len(files(path)) == 5
    put(store, "replaced by small", Item(value=b"small", fn="g"))
    assert len(files(path)) == 4
    put(store, "replaced by large", Item(value=LARGE + b"more", fn="g"))
    assert len(files(path)) == 4
    store.remove("removed")
    assert len(files(path)) == 3
    store.remove_all("cleared")
    assert [len(file.read_bytes()) for file in files(path)].count(len(LARGE)) == 1
    assert counted(path) == (2 * len(LARGE) + 4 + len("stays") + len("replaced by large"), 0)


def test_a_refused_write_leaves_no_file(path: Path, store: SqliteStore) -> None:
    put(store, "k", Item(value=b"first"))
    answer = store.write("k", Item(value=LARGE), Expect())
    assert isinstance(answer, Refused)
    assert answer.row is not None
    assert answer.row.value == b"first"
    assert files(path) == []


def test_pieces_are_those_of_the_file_once_they_are_written(store: SqliteStore) -> None:
    memory = bytearray(LARGE)
    value = Pieces([memoryview(memory)[:1000], memoryview(memory)[1000:]])
    put(store, "k", Item(value=value))
    memory[:4] = b"else"
    assert bytes(value) == bytes(value.load()) == LARGE


@pytest.mark.parametrize("harm", ["missing", "short", "damaged"])
def test_a_file_that_is_not_what_it_was_is_no_value(path: Path, store: SqliteStore, harm: str) -> None:
    put(store, "k", Item(value=LARGE))
    (file,) = files(path)
    if harm == "missing":
        file.unlink()
    elif harm == "short":
        os.truncate(file, 1000)
    else:
        file.write_bytes(b"x" * len(LARGE))
    assert bytes_of(existing(store, "k")) is None
    put(store, "k", Item(value=LARGE))
    assert bytes_of(existing(store, "k")) == LARGE


def test_a_row_that_was_replaced_while_it_was_read_leads_to_the_new_file(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "k", Item(value=LARGE))
    stale = existing(store, "k")
    assert stale.parts is not None
    put(store, "k", Item(value=LARGE + b"new"))
    again = store._whole("k", Item(parts=stale.parts))
    assert again is not None
    assert again.value == LARGE + b"new"


def test_files_count_as_room_and_the_oldest_go_first(path: Path, store: SqliteStore) -> None:
    most = 0
    for n in range(300):
        put(store, f"k{n}", Item(value=bytes(FILE_FROM), fn="f"))
        most = max(most, sum(file.stat().st_size for file in files(path)))
    assert LIMIT * 0.9 < most < LIMIT + 500_000
    left = len(files(path))
    assert [f"k{n}" for n in range(300) if store.read(f"k{n}") is not None] == [f"k{n}" for n in range(300 - left, 300)]
    assert path.stat().st_size < 1_000_000


def test_what_a_killed_writer_left_is_found_after_an_hour(path: Path, store: SqliteStore) -> None:
    put(store, "k", Item(value=LARGE))
    old, young = new_write_id(time.time() - 2 * HOUR), new_write_id(time.time())
    for name in (old, f"{old}.12ab34cd.new", young):
        (path.with_name("cache.db.values") / name).write_bytes(b"left")
    assert store.remove_orphans(dry_run=True) == 2
    assert store.remove_orphans() == 2
    assert len(files(path)) == 2
    assert existing(store, "k").value == LARGE


def test_eviction_finds_what_a_killed_writer_left(path: Path, store: SqliteStore) -> None:
    put(store, "k", Item(value=LARGE))
    left = path.with_name("cache.db.values") / new_write_id(time.time() - 2 * HOUR)
    left.write_bytes(b"left")
    with closing(SqliteStore(path, max_bytes=LIMIT)) as other:
        for n in range(2 * LIMIT // 100_000):
            put(other, f"k{n}", Item(value=bytes(100_000)))
    assert not left.exists()


@pytest.mark.parametrize("how", ["a writer was killed", "the database was deleted"])
def test_a_large_value_takes_the_place_of_files_that_no_row_leads_to(
    path: Path, store: SqliteStore, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = path.with_name("cache.db.values")
    put(store, "k", Item(value=LARGE))
    old, new = new_write_id(time.time() - 2 * HOUR), new_write_id(time.time())
    if how == "a writer was killed":
        for write_id in (old, new):
            (folder / f"{write_id}.0a1b2c3d.new").write_bytes(b"left")
    else:
        files(path)[0].rename(folder / old)
        store.close()
        path.unlink()
    kept = {file for file in files(path) if not file.name.startswith(old)}
    with closing(SqliteStore(path, max_bytes=LIMIT)) as other:
        other.open()
        write, left = other._folder.write, []

        def tell_and_write(*args: Any) -> None:
            left.append(set(files(path)))
            write(*args)

        monkeypatch.setattr(other._folder, "write", tell_and_write)
        put(other, "l", Item(value=LARGE + b"new"))
        assert left == [kept], "they may be what fills the disk"
        assert len(files(path)) == len(kept) + 1


def test_a_file_of_an_earlier_release_learns_of_files_and_loses_an_index(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        put(store, "old", Item(value=b"in a row", fn="f"))
    with closing(sqlite3.connect(path)) as connection:
        schema = connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
        connection.execute("CREATE INDEX entries_by_fn ON entries (fn, key) WHERE fn IS NOT NULL")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("DROP TABLE files")
        connection.execute("DROP TABLE gone")
        connection.execute("DROP INDEX entries_by_parts")
        connection.commit()
    with closing(SqliteStore(path)) as store:
        put(store, "new", Item(value=LARGE, fn="f"))
        assert existing(store, "old").value == b"in a row"
        assert existing(store, "new").value == LARGE
        store.remove("new")
    assert files(path) == []
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall() == schema


def test_a_file_of_an_earlier_release_is_read_while_its_index_cannot_be_dropped(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        put(store, "old", Item(value=b"in a row", fn="f"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE INDEX entries_by_fn ON entries (fn, key) WHERE fn IS NOT NULL")
        connection.execute("BEGIN IMMEDIATE")  # as to who may only read the file, or for want of room
        with closing(SqliteStore(path, busy_timeout=0.05)) as store:
            assert existing(store, "old").value == b"in a row"
        connection.execute("ROLLBACK")
        with closing(SqliteStore(path)) as store:
            assert existing(store, "old").value == b"in a row"
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'entries_by_fn'").fetchall() == []


# --- a system that keeps files for now, as Windows and its shares do with those that are open ---


@contextmanager
def kept(file: Path, how: str) -> Iterator[None]:
    """While this block runs, the system does not let the file go."""
    undo: Callable[[], object]
    if how == "its folder is read-only":
        file.parent.chmod(0o500)
        undo = partial(file.parent.chmod, 0o700)
    else:
        do, back = {"immutable": ("chattr +i", "chattr -i"), "busy": (f"mount --bind {file}", "umount")}[how]
        if subprocess.run([*do.split(), str(file)], capture_output=True, check=False).returncode:
            pytest.skip("only root may do that, and not everywhere")
        undo = partial(subprocess.run, [*back.split(), str(file)], check=True)
    try:
        with suppress(OSError):
            file.unlink()
        if not file.exists():
            pytest.skip("here permissions keep nobody out")
        yield
    finally:
        undo()


@pytest.mark.skipif(sys.platform != "linux", reason="these are the ways of Linux")
@pytest.mark.parametrize("how", ["its folder is read-only", "immutable", "busy"])
def test_a_file_that_cannot_be_deleted_yet_keeps_nobody_from_anything_and_goes_later(
    path: Path, store: SqliteStore, how: str
) -> None:
    put(store, "k", Item(value=LARGE, fn="f"))
    (stuck,) = files(path)
    with kept(stuck, how):
        put(store, "k", Item(value=b"new", fn="f"))
        assert existing(store, "k").value == b"new"
        if how != "its folder is read-only":
            put(store, "other", Item(value=LARGE + b"other", fn="f"))
            assert store.remove_all() == 2
        assert files(path) == [stuck]
        assert counted(path) == (0, 1)
    put(store, "next", Item(value=LARGE, fn="f"))
    store.remove("next")
    assert files(path) == []
    assert counted(path) == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="these are the ways of Linux")
@pytest.mark.parametrize("how", ["immutable", "busy"])
def test_an_orphan_that_cannot_be_deleted_yet_does_not_count_as_deleted(
    path: Path, store: SqliteStore, how: str
) -> None:
    put(store, "k", Item(value=LARGE))
    folder = path.with_name("cache.db.values")
    names = [new_write_id(time.time() - 2 * HOUR) for _ in range(3)]
    for name in names:
        (folder / name).write_bytes(b"left")
    with kept(folder / names[1], how):
        assert store.remove_orphans() == 2
    assert store.remove_orphans() == 1


def test_only_files_of_values_are_deleted_whatever_a_database_names(path: Path, store: SqliteStore) -> None:
    put(store, "k", Item(value=LARGE))
    thesis = path.with_name("thesis.tex")
    thesis.write_text("mine")
    with closing(sqlite3.connect(path)) as connection:
        for name in ("../thesis.tex", str(thesis), ""):
            connection.execute("INSERT INTO gone VALUES (?)", (f'["{name}", 0, 1, "00", "file"]',))
        connection.execute("INSERT INTO gone VALUES (?)", (b"\xff",))
        connection.commit()
    put(store, "k", Item(value=LARGE + b"new"))
    assert thesis.read_text() == "mine"
    assert (len(files(path)), counted(path)[1]) == (1, 0)


# --- killed, or without room, in every phase of a write ---

NEW = LARGE + b"new"

REPLACING = [
    "create a file",
    "write to it",
    "write to it",
    "write to it",
    "rename it",
    "UPDATE entries",
    "SELECT CAST(total(bytes)",
    "SELECT parts",
    "remove a file",
    "BEGIN IMMEDIATE",
    "DELETE FROM gone",
    "COMMIT",
]
"""What happens to folder and database, step by step, when a large value takes the place of another."""
ROW_IS_WRITTEN = REPLACING.index("UPDATE entries")


def replace_value(store: SqliteStore, monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None]) -> None:
    """Replace the value of `k`; `before` is told each step."""
    expect = Expect.seen(existing(store, "k"))

    def watch(holder: Any, method: str, step_of: Callable[..., str | None]) -> None:
        do = getattr(holder, method)

        def step(*args: Any, **options: Any) -> Any:
            if (name := step_of(*args)) is not None:
                before(name)
            return do(*args, **options)

        patched.setattr(holder, method, step)

    def statement(_: object, text: str, *values: object) -> str:
        return " ".join(text.split()[: 3 if text.startswith("DELETE") else 2])

    with monkeypatch.context() as patched:
        watch(os, "open", lambda path, flags, *mode: "create a file" if flags & os.O_CREAT else None)
        watch(os, "write", lambda *_: "write to it")
        watch(Path, "replace", lambda *_: "rename it")
        watch(Path, "unlink", lambda *_: "remove a file")
        watch(Cursor, "execute", statement)
        watch(Cursor, "executemany", statement)
        store.write("k", Item(value=Pieces([LARGE[:1000], LARGE[1000:], b"new"])), expect)


def test_these_are_the_steps_of_a_write(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "k", Item(value=LARGE))
    steps: list[str] = []
    replace_value(store, monkeypatch, steps.append)
    assert steps == REPLACING


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("phase", range(len(REPLACING)), ids=lambda n: f"{n}-{REPLACING[n]}")
def test_a_writer_that_is_killed_harms_nobody(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, phase: int
) -> None:
    put(store, "k", Item(value=LARGE))
    store.close()
    child = os.fork()
    if not child:
        left, then = itertools.count(phase, -1), time.time() - 2 * HOUR

        def die(step: str) -> None:
            if next(left) == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(time, "time", lambda: then)
        replace_value(store, monkeypatch, die)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    value = NEW if phase > ROW_IS_WRITTEN else LARGE
    assert existing(store, "k").value == value
    put(store, "other", Item(value=b"small"))
    store.remove_orphans()
    assert [file.read_bytes() for file in files(path)] == [value]
    assert counted(path) == (len(value) + len("k"), 0)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("phase", range(len(REPLACING)), ids=lambda n: f"{n}-{REPLACING[n]}")
def test_a_disk_that_is_full_from_any_phase_on_is_told_and_harms_nothing(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch, phase: int
) -> None:
    put(store, "k", Item(value=LARGE))
    left = itertools.count(phase, -1)

    def fill(step: str) -> None:
        if next(left) > 0 or step.startswith(("SELECT", "remove")):  # which need no room
            return
        if step.islower():
            raise OSError(errno.ENOSPC, "No space left on device")
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
        raise error

    if phase <= ROW_IS_WRITTEN:
        with pytest.raises(StoreUnavailableError, match=r"space|full"):
            replace_value(store, monkeypatch, fill)
        assert [file.read_bytes() for file in files(path)] == [LARGE]
    else:
        replace_value(store, monkeypatch, fill)
    value = NEW if phase > ROW_IS_WRITTEN else LARGE
    assert existing(store, "k").value == value
    store.close()  # the next writer is another process
    put(store, "other", Item(value=b"small"))
    assert [file.read_bytes() for file in files(path)] == [value]
    assert counted(path) == (len(value) + len("k"), 0)


def test_a_disk_without_room_for_the_row_keeps_no_file(path: Path, store: SqliteStore) -> None:
    put(store, "k", Item(value=b"small"))
    with closing(sqlite3.connect(path)) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    store._run(lambda cursor: cursor.execute(f"PRAGMA max_page_count = {pages}").fetchone(), "limit")

    def fill() -> None:
        for n in range(100):
            store.write(f"{n}" * 1000, Item(value=LARGE))

    with pytest.raises(StoreUnavailableError, match="full"):
        fill()
    with closing(sqlite3.connect(path)) as connection:
        (rows,) = connection.execute("SELECT count(*) FROM entries WHERE parts IS NOT NULL").fetchone()
    assert len(files(path)) == rows


@pytest.mark.parametrize("error", [sqlite3.OperationalError("database is locked"), PermissionError(13, "no")])
def test_a_write_that_is_done_is_done_whatever_making_room_meets(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    with closing(SqliteStore(path, max_bytes=1_000_000)) as store:
        for name in ("orphans", "delete_gone"):
            monkeypatch.setattr(sqlite, name, fail)
        for _ in range(20):
            before = store.read("k")
            assert isinstance(store.write("k", Item(value=LARGE), Expect.seen(before)), Written)
            put(store, "other", Item(value=bytes(FILE_FROM - 1)))
        assert existing(store, "k").value == LARGE
        assert store.remove("k")


def test_files_count_as_room_for_rows_too(path: Path, store: SqliteStore) -> None:
    for n in range(75):
        put(store, f"file {n}", Item(value=bytes(FILE_FROM)))
    store._file.tidy_at = 0.0
    for n in range(300):
        put(store, f"row {n}", Item(value=bytes(50_000)))
    assert path.stat().st_size + sum(file.stat().st_size for file in files(path)) < LIMIT * 1.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows lets few users make links")
def test_values_lie_beside_the_file_itself_whatever_link_leads_to_it(path: Path, store: SqliteStore) -> None:
    store.open()
    link = path.with_name("elsewhere") / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with closing(SqliteStore(link)) as linked:
        put(linked, "k", Item(value=LARGE))
    assert existing(store, "k").value == LARGE
    assert len(files(path)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows lets few users make links")
def test_values_follow_the_link_that_leads_to_another_file_now(tmp_path: Path) -> None:
    current, folders = tmp_path / "current", [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    current.symlink_to(folders[0])
    with closing(SqliteStore(current / "cache.db")) as store:
        put(store, "k", Item(value=LARGE + b"first"))
        current.unlink()
        current.symlink_to(folders[1])
        put(store, "k", Item(value=LARGE + b"second"))
    for folder in folders:
        with closing(SqliteStore(folder / "cache.db")) as store:
            assert bytes_of(existing(store, "k")) == LARGE + folder.name.encode()
        assert len(files(folder / "cache.db")) == 1
