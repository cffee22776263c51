"""The store contract on a SQLite file, and what is special to a file: whose it is, who may read it, what breaks."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.counters import Meter
from dynmemo.errors import InvalidOptionError, StoreUnavailableError, ValueTooLargeError
from dynmemo.item import Expect, Item
from dynmemo.stores import filesystem
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing import StoreContract
from dynmemo.testing.contract.helpers import existing, put
from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

on_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits, pipes or POSIX locks")
can_remove = pytest.mark.skipif(os.name == "nt", reason="Windows does not let an open file be removed")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    yield store
    store.close()


class TestContract(StoreContract):
    @pytest.fixture
    def open_store(self, path: Path) -> Callable[[], SqliteStore]:
        return partial(SqliteStore, path, busy_timeout=60)

    @pytest.fixture
    def put_foreign(self, path: Path, store: SqliteStore) -> Callable[[str, Item], None]:
        store.open()

        def put(key: str, item: Item) -> None:
            with database(path) as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO entries (key, value, ttl_date, ttl_deadline, ttl_window, stored_at, size)"
                    "VALUES (?, ?, ?, ?, ?, 0, 0)",
                    (f"dc:{key}", item.value, item.ttl_date, item.ttl_deadline, item.ttl_window),
                )

        return put


def opened_on_a_network_filesystem(path: Path) -> SqliteStore:
    filesystem.is_remote = lambda path: True
    return SqliteStore(path, busy_timeout=60)


class TestContractOnANetworkFilesystem(TestContract):
    @pytest.fixture
    def open_store(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], SqliteStore]:
        monkeypatch.setattr(filesystem, "is_remote", filesystem.is_remote)  # to be put back afterwards
        return partial(opened_on_a_network_filesystem, path)

    def test_there_is_no_log_that_machines_would_have_to_share(self, store: SqliteStore, path: Path) -> None:
        put(store, "k", Item(value=b"v"))
        assert sorted(entry.name for entry in path.parent.iterdir()) == ["cache.db", "cache.db-journal"]
        assert number(path, "journal_mode") == "delete"  # of another connection: the file is in no lasting log mode


# --- a new file ---


def test_nothing_is_touched_before_the_first_call(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "cache.db"
    store = SqliteStore(path)
    store.metered(Meter())
    store.partition_key("k")
    store.close()
    assert store.location == str(path)
    assert list(tmp_path.iterdir()) == []


def test_a_relative_path_means_the_folder_it_was_given_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("cache.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    store.open()
    store.close()
    assert store.location == str(tmp_path / "cache.db")
    assert (tmp_path / "cache.db").exists()


@on_posix
def test_the_file_its_log_and_new_folders_are_private(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "new" / "folder" / "cache.db")
    before = os.umask(0)
    try:
        put(store, "k", Item(value=b"v"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").rglob("*")}
    assert modes == {"folder": 0o700, "cache.db": 0o600, "cache.db-wal": 0o600, "cache.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    store.close()


@on_posix
def test_the_modes_that_somebody_chose_stay(tmp_path: Path) -> None:
    path = tmp_path / "shared" / "cache.db"
    path.parent.mkdir()
    path.parent.chmod(0o2775)
    path.touch()
    path.chmod(0o664)
    with closing(SqliteStore(path)) as store:
        put(store, "k", Item(value=b"v"))
        modes = [stat.S_IMODE(p.stat().st_mode) for p in (path.parent, path, path.with_name("cache.db-wal"))]
    assert modes == [0o2775, 0o664, 0o664]


def test_an_odd_path_is_a_path(tmp_path: Path) -> None:
    path = tmp_path / ("a b&x=%41#ü.db" if os.name == "nt" else "a b?mode=memory&x=%41#ü.db")
    with closing(SqliteStore(path)) as store:
        put(store, "k", Item(value=b"v"))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    with closing(SqliteStore(path)) as store:
        assert existing(store, "k").value == b"v"


def test_a_file_of_an_earlier_release_gets_the_columns_that_it_lacks_and_serves_both(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        put(store, "k", Item(b"v", fn="f"))
    with database(path) as connection:
        for column in ("lease_waits", "lease_by"):
            connection.execute(f"ALTER TABLE entries DROP COLUMN {column}")
    with closing(SqliteStore(path)) as store:
        assert existing(store, "k").value == b"v"
        etag = put(store, "lease", Item(lease_owner="me", lease_beat=0, lease_by="{}"))
        assert store.renew("lease", etag, 1, "other")
        assert existing(store, "lease").lease_waits == "other"
        assert existing(store, "lease").lease_by == "{}"
    with database(path) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(entries)")]
    assert columns.count("lease_waits") == columns.count("lease_by") == 1
    assert number(path, "user_version") == 1


@pytest.mark.parametrize("content", ["", "CREATE TABLE t (a); DROP TABLE t; PRAGMA schema_version = 0"])
def test_a_file_that_holds_nothing_counts_as_new(path: Path, store: SqliteStore, content: str) -> None:
    path.touch()
    with database(path) as connection:
        connection.executescript(content)
    put(store, "k", Item(value=b"v"))
    assert number(path, "application_id") == int.from_bytes(b"dynm", "big")


def test_it_is_written_in_the_log_mode_for_many_processes(path: Path, store: SqliteStore) -> None:
    store.open()
    assert number(path, "journal_mode") == "wal"
    assert number(path, "user_version") == 1


# --- a file that is not ours ---


def test_a_database_of_another_program_is_left_untouched(path: Path, store: SqliteStore) -> None:
    with database(path) as connection:
        connection.execute("CREATE TABLE precious (a)")
    refused(path, store, "is an SQLite database of another program")


def test_so_is_one_whose_content_is_still_in_its_log(path: Path, store: SqliteStore) -> None:
    # A program that died: its tables are in the log only, and whoever opens the file would merge them.
    script = (
        "import sqlite3, os, sys; connection = sqlite3.connect(sys.argv[1]); connection.executescript("
        "'PRAGMA journal_mode = WAL; CREATE TABLE precious (a)'); os._exit(0)"
    )
    printed("-c", script, str(path))
    assert path.with_name("cache.db-wal").stat().st_size > 0
    refused(path, store, "is an SQLite database of another program")


def test_so_is_one_that_is_marked_as_another_programs(path: Path, store: SqliteStore) -> None:
    with database(path) as connection:
        connection.execute("PRAGMA application_id = 66")
    refused(path, store, "(application id 0x42)")


@pytest.mark.parametrize("size", [1, 2, 99, 100, 512, 12_000])
@pytest.mark.parametrize("content", [b"dear diary, ", b"\0", b"SQLite format 4"], ids=["text", "zeros", "almost"])
def test_so_is_a_file_that_is_no_database(path: Path, store: SqliteStore, content: bytes, size: int) -> None:
    path.write_bytes((content * size)[:size])
    refused(path, store, "is not an SQLite database")


def test_so_is_a_file_of_a_later_release(path: Path, store: SqliteStore) -> None:
    store.open()
    store.close()
    with database(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    refused(path, store, "was written by a later release of dynmemo (schema 2, this one knows 1)")


def test_so_is_one_of_a_later_release_that_says_so_in_its_log(path: Path, store: SqliteStore) -> None:
    store.open()
    with database(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    second = SqliteStore(path)
    with pytest.raises(StoreUnavailableError, match="later release"):
        second.read("k")


def test_a_folder_in_the_place_of_the_file_is_said(path: Path, store: SqliteStore) -> None:
    path.mkdir()
    with pytest.raises(StoreUnavailableError, match="is a folder"):
        store.read("k")
    assert list(path.iterdir()) == []


@on_posix
def test_a_pipe_in_the_place_of_the_file_is_said(path: Path, store: SqliteStore) -> None:
    os.mkfifo(path)
    with pytest.raises(StoreUnavailableError, match="is not a file"):
        store.read("k")


def refused(path: Path, store: SqliteStore, why: str) -> None:
    def content() -> dict[str, bytes]:
        return {entry.name: entry.read_bytes() for entry in path.parent.iterdir()}

    before = content()
    for act in (store.open, lambda: store.read("k"), lambda: store.write("k", Item(value=b"v"))):
        with pytest.raises(StoreUnavailableError) as caught:
            act()
        assert why in str(caught.value)
        assert "choose another path" in str(caught.value)
        assert caught.value.table == str(path)
    assert content() == before


# --- a file that goes away ---


@can_remove
def test_a_write_notices_that_the_file_is_gone(path: Path, store: SqliteStore) -> None:
    put(store, "old", Item(value=b"v"))
    remove_file(path)
    put(store, "new", Item(value=b"v"))
    assert store.read("old") is None
    with closing(SqliteStore(path)) as other:
        assert existing(other, "new").value == b"v"


@can_remove
def test_a_read_notices_soon_that_the_file_is_another(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynmemo.stores.sqlite.file.LOOK_SECONDS", 0)
    put(store, "k", Item(value=b"old"))
    remove_file(path)
    assert store.read("k") is None
    remove_file(path)
    with closing(SqliteStore(path)) as other:
        put(other, "k", Item(value=b"new"))
        assert existing(store, "k").value == b"new"


@can_remove
def test_the_folder_may_go_as_well(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "cache.db"
    with closing(SqliteStore(path)) as store:
        put(store, "k", Item(value=b"v"))
        remove_file(path)
        path.parent.rmdir()
        put(store, "k", Item(value=b"again"))
        assert existing(store, "k").value == b"again"


@can_remove
def test_a_store_that_left_a_removed_file_does_no_harm_to_the_new_one(path: Path) -> None:
    # SQLite names the log by path: who closes the old file must not remove the log of the new one.
    first, second = SqliteStore(path), SqliteStore(path)
    put(first, "k", Item(value=b"old"))
    remove_file(path)
    put(second, "k", Item(value=b"new"))
    first.close()
    put(second, "later", Item(value=b"v"))
    with database(path) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (2,)
    second.close()


# --- a file that cannot be used ---


def test_a_call_waits_while_another_process_writes(path: Path, store: SqliteStore) -> None:
    store.open()
    with database(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=store.write, args=("k", Item(value=b"v")))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        connection.execute("COMMIT")
    thread.join()
    assert existing(store, "k").value == b"v"


def test_a_call_waits_for_a_writer_before_it_switches_the_log_on(path: Path, store: SqliteStore) -> None:
    # Here SQLite does not wait by itself. It happens when many processes open a new file at once.
    put(store, "k", Item(value=b"v"))
    store.close()
    with database(path) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN IMMEDIATE")
        reading = pool.submit(store.read, "k")
        with pytest.raises(TimeoutError):
            reading.result(0.1)
        connection.execute("COMMIT")
        row = reading.result()
    assert row is not None
    assert number(path, "journal_mode") == "wal"


def test_a_lock_that_is_not_given_back_is_an_error_after_the_timeout(path: Path) -> None:
    store = SqliteStore(path, busy_timeout=0.05)
    put(store, "k", Item(value=b"v"))
    with database(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match=r"kept it locked for 0\.05 s") as caught:
            store.write("secret", Item(value=b"new"))
        assert existing(store, "k").value == b"v"  # reads need no lock
    error = caught.value
    assert (error.operation, error.table, error.key, error.code) == ("write", str(path), "secret", "SQLITE_BUSY")
    assert "secret" not in str(error)
    assert isinstance(error.__cause__, sqlite3.OperationalError)
    assert store.read("secret") is None
    store.close()


def test_many_threads_wait_for_a_lock_no_longer_than_one(path: Path) -> None:
    # Each would wait for its turn to connect while the one before waits for the lock: 16 times as long.
    store = SqliteStore(path, busy_timeout=0.2)
    store.open()
    store.close()
    with database(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN EXCLUSIVE")
        threads = [threading.Thread(target=unavailable, args=(store,)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2)
        assert not any(thread.is_alive() for thread in threads)


def unavailable(store: SqliteStore) -> None:
    with pytest.raises(StoreUnavailableError):
        store.read("k")


def test_damage_that_cannot_be_moved_away_is_said_with_what_to_do(path: Path, store: SqliteStore) -> None:
    for n in range(100):
        put(store, f"k{n}", Item(value=bytes(1000)))
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    path.with_name(f"{path.name}.lock").mkdir()
    with pytest.raises(StoreUnavailableError, match="remove it together with its -wal and -shm") as caught:
        store.read("k1")
    assert caught.value.code == "SQLITE_CORRUPT"
    assert path.read_bytes() == content


def test_a_value_that_the_file_cannot_hold_is_too_large(path: Path, store: SqliteStore) -> None:
    with closing(SqliteStore(path, max_bytes=1_000_000)) as small, pytest.raises(ValueTooLargeError, match="1,000,000"):
        small.write("k", Item(value=bytes(1_000_000)))
    put(store, "k", Item(value=bytes(1_000_000)))


def test_many_small_rows_written_at_once_keep_within_the_limit(path: Path) -> None:
    with closing(SqliteStore(path, max_bytes=1_000_000)) as small:
        for batch in range(20):
            small.write_many({f"{batch}-{n}": Item(value=bytes(1_000)) for n in range(500)})
        assert small.read("19-499") is not None
    assert path.stat().st_size < 8_000_000  # of 13 MB, the log at most 8


@pytest.mark.parametrize("max_bytes", [0, -1, 999_999, 5e9, True, "5 GB", None])
def test_a_limit_that_means_nothing_is_refused(path: Path, max_bytes: Any) -> None:
    with pytest.raises(InvalidOptionError, match="1,000,000"):
        SqliteStore(path, max_bytes=max_bytes)


# --- connections ---


def test_threads_that_come_and_go_share_one_connection(store: SqliteStore) -> None:
    for _ in range(10):
        thread = threading.Thread(target=store.read, args=("k",))
        thread.start()
        thread.join()
    assert len(store._file.idle) == 1


def test_a_connection_in_use_is_closed_after_its_call_when_the_store_was_closed_meanwhile(store: SqliteStore) -> None:
    store._run(lambda cursor: store.close(), "test")
    assert not store._file._open


def test_a_failed_call_leaves_no_transaction_open(store: SqliteStore, path: Path) -> None:
    store.open()

    def fail(cursor: sqlite3.Cursor) -> None:
        cursor.execute("BEGIN IMMEDIATE")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store._run(fail, "test")
    put(SqliteStore(path, busy_timeout=0), "k", Item(value=b"v"))


@on_posix
def test_looking_at_a_file_drops_no_lock_that_the_process_holds_on_it(path: Path, store: SqliteStore) -> None:
    # POSIX drops all of a process's locks on a file when any descriptor of it is closed.
    store.open()
    SqliteStore(path).open()
    script = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], timeout=0);"
        "print(connection.execute('PRAGMA journal_mode = DELETE').fetchone())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert "database is locked" in done.stderr


def test_a_refused_write_is_tried_again_when_nothing_is_in_its_way_any_more(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import dynmemo.stores.sqlite as module

    put(store, "k", Item(value=b"1"))
    fetch = module._fetch

    def removed_meanwhile(cursor: sqlite3.Cursor, key: str) -> Item | None:
        cursor.execute("DELETE FROM entries")
        return fetch(cursor, key)

    monkeypatch.setattr(module, "_fetch", removed_meanwhile)
    put(store, "k", Item(value=b"2"), Expect())
    monkeypatch.undo()
    assert existing(store, "k").value == b"2"


def database(path: Path) -> closing[sqlite3.Connection]:
    """Another program's connection, in autocommit mode."""
    return closing(sqlite3.connect(path, isolation_level=None))


def number(path: Path, pragma: str) -> object:
    with database(path) as connection:
        return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


def remove_file(path: Path) -> None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
