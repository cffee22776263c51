"""One SQLite file used by many processes: started together, forked in the middle, killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Expect, Item, Pieces, Refused
from dynmemo.stores import filesystem
from dynmemo.stores.sqlite import FILE_FROM, SqliteStore, file
from dynmemo.testing.contract.helpers import existing, put
from dynmemo.testing.racing import add_one

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

    from dynmemo.item import Bytes

PROCESSES = 16
INCREMENTS = 20

can_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


def increment_often(path: str, barrier: Barrier) -> None:
    barrier.wait()
    store = SqliteStore(path, busy_timeout=60)
    for _ in range(INCREMENTS):
        add_one(store, "count")


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=can_fork)])
def test_many_processes_open_a_new_file_at_once_and_lose_nothing(path: Path, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    barrier = context.Barrier(PROCESSES)
    processes = [context.Process(target=increment_often, args=(str(path), barrier)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    with closing(SqliteStore(path)) as store:
        assert existing(store, "count").value == str(PROCESSES * INCREMENTS).encode()
    assert intact(path)


# --- fork ---


@can_fork
def test_a_forked_child_uses_the_store_of_its_parent(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        put(store, "parent", Item(value=b"v"))

        def child() -> None:
            assert existing(store, "parent").value == b"v"
            put(store, "child", Item(value=b"v"))

        wait(fork(child))
        put(store, "parent again", Item(value=b"v"))
        assert len(store.read_many(["parent", "child", "parent again"])) == 3


@can_fork
def test_what_a_child_writes_outlives_its_parents_connections(path: Path) -> None:
    # With a connection inherited, SQLite in the child takes the parent's locks for its own: the parent, the last
    # to hold one, removes the log on closing, and what the child writes afterwards is lost.
    store = SqliteStore(path)
    put(store, "parent", Item(value=b"v"))
    closed_read, closed_write = os.pipe()
    ready_read, ready_write = os.pipe()

    def child() -> None:
        put(store, "before", Item(value=b"v"))
        os.write(ready_write, b"x")
        os.read(closed_read, 1)
        put(store, "after", Item(value=b"v"))
        with closing(SqliteStore(path)) as other:
            assert len(other.read_many(["parent", "before", "after"])) == 3

    pid = fork(child)
    os.read(ready_read, 1)
    assert store.read("before") is not None
    store.close()
    os.write(closed_write, b"x")
    wait(pid)
    assert len(store.read_many(["parent", "before", "after"])) == 3
    store.close()
    assert intact(path)


@can_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_in_the_middle_of_calls_of_other_threads_hinders_nobody(path: Path) -> None:
    store = SqliteStore(path, busy_timeout=10)
    stop = threading.Event()
    done = [0] * 4

    def work(n: int) -> None:
        while not stop.is_set():
            add_one(store, f"thread {n}")
            done[n] += 1

    def child() -> None:
        for _ in range(5):
            add_one(store, "children")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        for pid in [fork(child) for _ in range(20)]:
            wait(pid)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert existing(store, "children").value == b"100"
    assert [existing(store, f"thread {n}").value for n in range(4)] == [str(count).encode() for count in done]
    store.close()
    assert intact(path)


@can_fork
def test_a_fork_while_a_large_value_is_written_waits_for_nothing(path: Path) -> None:
    store = SqliteStore(path, busy_timeout=0)
    put(store, "k", Item(value=b"v"))

    def child() -> None:
        assert existing(store, "k").value == b"v"

    class Forking(Pieces):
        def pieces(self, end: int) -> Iterator[Bytes]:
            for piece in super().pieces(end):
                if list(path.with_name("cache.db.values").glob("*.new")):
                    wait(fork(child))
                    forked.append(True)
                yield piece

    forked: list[bool] = []
    put(store, "large", Item(value=Forking([bytes(FILE_FROM)])))
    assert forked
    store.close()


@can_fork
def test_a_connection_that_nobody_closed_hinders_no_fork(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.open()
        # So an interrupt between two steps leaves it; as a part of a reference cycle it stays open.
        store._file.idle.pop()
        wait(fork(lambda: store.open()))
        assert not store._file._open


@can_fork
def test_a_child_that_inherited_a_connection_in_use_keeps_its_hands_off(path: Path) -> None:
    store = SqliteStore(path, busy_timeout=0)
    put(store, "k", Item(value=b"v"))
    in_use = store._file.idle.pop()  # as a call below a signal handler that forks has it
    in_use.execute("BEGIN IMMEDIATE")

    def child() -> None:
        with pytest.raises(StoreUnavailableError, match="forked while"):
            store.read("k")
        wait(fork(grandchild))

    def grandchild() -> None:
        with pytest.raises(StoreUnavailableError, match="forked while"):
            store.write("k", Item(value=b"child"))

    wait(fork(child))
    in_use.execute("UPDATE entries SET value = x'6f757273'")
    in_use.execute("COMMIT")
    assert existing(store, "k").value == b"ours"
    store.close()


@can_fork
def test_a_child_with_a_full_disk_says_so_and_harms_nothing(path: Path) -> None:
    import resource

    store = SqliteStore(path)
    put(store, "k", Item(value=b"v"))

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        with pytest.raises(StoreUnavailableError, match="disk"):
            store.write("k", Item(value=bytes(1_000_000)))
        assert existing(store, "k").value == b"v"

    wait(fork(child))
    assert existing(store, "k").value == b"v"
    store.close()


@can_fork
@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_may_not_be_written_is_said(tmp_path_factory: pytest.TempPathFactory, exists: bool) -> None:
    folder = tmp_path_factory.mktemp("readonly")
    path = folder / "cache.db"
    if exists:
        with closing(SqliteStore(path)) as store:
            put(store, "k", Item(value=b"v"))
        path.chmod(0o444)
    for above in (folder, *folder.parents[:2]):  # pytest's own are private
        above.chmod(0o555)

    def child() -> None:
        if os.geteuid() == 0:
            os.setuid(65534)
        with pytest.raises(StoreUnavailableError, match="ermission"):
            SqliteStore(path).write("k", Item(value=b"v"))

    wait(fork(child))


def fork(act: Callable[[], None]) -> int:
    """Run `act` in a child; its id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        act()
        status = 0
    except BaseException:  # noqa: BLE001
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def wait(pid: int) -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# --- kill ---

WRITE = """
import sys
from dynmemo.item import Item
from dynmemo.stores import filesystem
from dynmemo.stores.sqlite import SqliteStore
if sys.argv[2] == "remote":
    filesystem.is_remote = lambda path: True
store = SqliteStore(sys.argv[1])
print("ready", flush=True)
for n in range(1_000_000):
    store.write(f"k{n}", Item(value=bytes(20_000)))
    print(n, flush=True)
"""


@pytest.mark.parametrize("place", ["local", "remote"])
def test_what_a_killed_writer_had_written_is_there_and_others_go_on(
    path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "is_remote", lambda path: place == "remote")
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITE, str(path), place], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(30)]
        writer.kill()
        said += writer.communicate()[0].splitlines()
        with closing(SqliteStore(path)) as store:
            assert existing(store, f"k{int(said[-1])}").value == bytes(20_000)
            put(store, "other", Item(value=b"v"))
        assert intact(path)


@can_fork
def test_a_writer_that_dies_within_its_commit_leaves_a_file_that_others_can_use(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only without a log can the first page be there and say that the file is longer than it is.
    import resource

    monkeypatch.setattr(filesystem, "is_remote", lambda path: True)
    monkeypatch.setattr("dynmemo.stores.sqlite.FILE_FROM", 10**9)
    store = SqliteStore(path)
    put(store, "k", Item(value=bytes(100_000)))
    length = path.stat().st_size

    def child() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (length, length))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        store.write("large", Item(value=bytes(300_000)))

    assert os.waitstatus_to_exitcode(os.waitpid(fork(child), 0)[1]) == -signal.SIGXFSZ
    assert path.with_name("cache.db-journal").stat().st_size > 0
    assert int.from_bytes(path.read_bytes()[28:32], "big") * 4096 > length
    store.close()
    assert existing(store, "k").value == bytes(100_000)
    assert store.read("large") is None
    store.close()
    assert intact(path)


@can_fork
@pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
def test_a_creator_that_dies_at_any_moment_leaves_a_file_that_others_can_use(
    tmp_path: Path, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "is_remote", lambda path: remote)
    left = 0

    class Dying(file._Connection):
        def execute(self, *args: Any) -> sqlite3.Cursor:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            return super().execute(*args)

    def child() -> None:
        monkeypatch.setattr(file, "_Connection", Dying)
        SqliteStore(tmp_path / f"{left}.db").open()

    exit_code = 9
    while exit_code == 9:
        exit_code = os.waitstatus_to_exitcode(os.waitpid(fork(child), 0)[1])
        with closing(SqliteStore(tmp_path / f"{left}.db")) as store:
            put(store, "k", Item(value=b"v"))
        assert intact(tmp_path / f"{left}.db")
        left += 1
    assert left > 10


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot stop a process")
def test_a_stopped_reader_keeps_nobody_from_writing(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        put(store, "k", Item(value=b"v"))
        script = "import sys; from dynmemo.stores.sqlite import SqliteStore; store = SqliteStore(sys.argv[1])\n"
        script += "print(store.read('k') is not None, flush=True)\nwhile True: store.read('k')"
        reader = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
        assert reader.stdout is not None
        assert reader.stdout.readline() == "True\n"
        reader.send_signal(signal.SIGSTOP)
        put(store, "k", Item(value=b"new"))
        assert existing(store, "k").value == b"new"
        reader.kill()
        reader.communicate()


def test_of_many_processes_that_claim_one_key_exactly_one_gets_it(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    with context.Pool(4, initializer=keep, initargs=(str(path), barrier)) as pool:
        owners = pool.map(claim, range(4), chunksize=1)
    assert len(set(owners)) == 1


def keep(path: str, barrier: Barrier) -> None:
    global _path, _barrier
    _path, _barrier = path, barrier


_path: str
_barrier: Barrier


def claim(n: int) -> str | None:
    """Who got the key, as this process sees it."""
    _barrier.wait()
    item = Item(lease_owner=str(n), lease_beat=0)
    answer = SqliteStore(_path).write("k", item, Expect())
    row = answer.row if isinstance(answer, Refused) else item._replace(etag=answer.etag)
    return None if row is None else row.lease_owner


def intact(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))
