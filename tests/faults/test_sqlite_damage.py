"""A damaged file of ours makes way for a new one; one that is not ours stays as it is. A disk may be full."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache, dynamo_cached
from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Item
from dynmemo.stores.sqlite import SqliteStore
from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

ROWS = 200
PROCESSES = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


def fill(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        for n in range(ROWS):
            store.write(f"k{n}", Item(value=bytes(1000)))


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(3 * 4096)


def cut_inside_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(4096 + 100)


def write_garbage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 2 * 4096))


def quarantined(path: Path) -> list[Path]:
    found = path.parent.glob("cache.db.corrupt-*")
    return [file for file in found if not file.name.endswith(("-wal", "-shm"))]


DAMAGES = pytest.mark.parametrize("damage", [truncate, cut_inside_a_page, write_garbage])


@DAMAGES
def test_a_damaged_file_is_moved_beside_the_new_one_with_one_line(
    path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    fill(path)
    damage(path)
    damaged = path.read_bytes()
    with caplog.at_level(logging.WARNING, "dynmemo"), closing(SqliteStore(path)) as store:
        found = [store.read(f"k{n}") for n in range(ROWS)]
        assert found[-1] is None
        store.write("k", Item(value=b"new"))
        assert (row := store.read("k")) is not None
        assert row.value == b"new"
    assert [file.read_bytes() for file in quarantined(path)] == [damaged]
    assert [("is damaged; it was moved to" in record.getMessage()) for record in caplog.records] == [True]


@DAMAGES
def test_calls_go_on_and_are_stored_again(path: Path, damage: Callable[[Path], None]) -> None:
    fill(path)
    damage(path)
    cache = Cache.sqlite(path)

    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        return 2 * x

    assert [double(x) for x in (1, 2, 1, 2)] == [2, 4, 2, 4]
    assert (double.cache_info().hits, double.cache_info().errors) == (2, 0)
    cache.close()


def test_a_file_that_becomes_rubbish_while_it_is_used_makes_way(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.write("k", Item(value=b"old"))
        path.write_bytes(os.urandom(20_000))
        store.write("k", Item(value=b"new"))
        store.write("k", Item(value=b"newer"))
        assert (row := store.read("k")) is not None
        assert row.value == b"newer"


def test_a_damaged_file_of_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.executemany("INSERT INTO theirs VALUES (?)", [(bytes(1000),)] * 100)
        connection.commit()
    write_garbage(path)
    before = path.read_bytes()
    with closing(SqliteStore(path)) as store, pytest.raises(StoreUnavailableError):
        store.read("k")
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_rubbish_that_was_never_seen_as_ours_is_left_alone(path: Path) -> None:
    path.write_bytes(b"my thesis" * 1000)
    with closing(SqliteStore(path)) as store, pytest.raises(StoreUnavailableError, match="left untouched"):
        store.read("k")
    assert list(path.parent.iterdir()) == [path]


def write_own(path: str, barrier: Barrier, number: int) -> None:
    barrier.wait()
    with closing(SqliteStore(path, busy_timeout=30)) as store:
        for n in range(20):
            store.write(f"own-{number}-{n}", Item(value=b"x"))


def test_of_many_processes_one_moves_the_file_and_none_loses_what_it_wrote(path: Path) -> None:
    fill(path)
    write_garbage(path)
    context: Any = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    processes = [context.Process(target=write_own, args=(str(path), barrier, n)) for n in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert len(quarantined(path)) == 1
    with closing(SqliteStore(path)) as store:
        written = {f"own-{number}-{n}" for number in range(PROCESSES) for n in range(20)}
        assert store.read_many(sorted(written)).keys() == written
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


FULL_DISK = """
import logging, resource, signal, sys
from dynmemo import Cache, dynamo_cached
logging.basicConfig(format="%(message)s", stream=sys.stdout)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = Cache.sqlite(sys.argv[1])
@dynamo_cached(cache=cache, version=1, name="f")
def f(x): return bytes([x]) + __import__("random").Random(x).randbytes(int(sys.argv[2]))
f(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
calls = int(sys.argv[3])
assert [f(x)[0] for x in range(calls)] == list(range(calls))
print("HITS", f.cache_info().hits, "ERRORS", f.cache_info().errors > 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there files have no limit")
@pytest.mark.parametrize(("length", "calls"), [(20_000, 60), (700_000, 8)], ids=["in rows", "in files"])
def test_on_a_full_disk_calls_compute_hits_go_on_and_the_log_has_one_line(path: Path, length: int, calls: int) -> None:
    # Few of the large ones, or SQLite's log reaches the limit as well, which is another cause with a line of its own.
    lines = printed("-c", FULL_DISK, str(path), str(length), str(calls)).splitlines()
    assert lines[-1] == "HITS 1 ERRORS True"
    assert sum("computing without the cache" in line for line in lines) == 1


def test_a_file_that_is_deleted_while_it_is_used_is_begun_anew(path: Path) -> None:
    cache = Cache.sqlite(path)

    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        return 2 * x

    double(1)
    if sys.platform == "win32":
        cache.close()
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    cache.store.open()  # looks at once instead of within a second
    assert [double(1), double(1)] == [2, 2]
    assert (double.cache_info().computed, double.cache_info().errors) == (2, 0)
    assert path.exists()
    cache.close()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="here permissions keep nobody out")
def test_in_a_folder_that_cannot_be_written_calls_compute_and_say_so_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.chmod(0o500)
    cache = Cache.sqlite(path)

    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        return 2 * x

    assert [double(1), double(1)] == [2, 2]
    assert sum("computing without the cache" in record.getMessage() for record in caplog.records) == 1
    path.parent.chmod(0o700)
    cache.close()


ODD_PARTS = (
    "no JSON",
    '"file"]',
    "[]",
    '["0123456789abcdef01234567", 0, 1, "no digest", "file"]',
    '["0123456789abcdef01234567", 0, Infinity, "00", "file"]',
    '[[], 0, 1, "00", "file"]',
    b"\xff",
    7,
)


@pytest.mark.parametrize("odd", ODD_PARTS, ids=repr)
def test_a_row_that_says_nonsense_of_where_its_value_lies_is_a_miss_that_heals(path: Path, odd: object) -> None:
    with closing(Cache.sqlite(path)) as cache:

        @dynamo_cached(cache=cache)
        def large(x: int) -> bytes:
            return bytes(300_000)

        large(1)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE entries SET parts = ? WHERE parts IS NOT NULL", (odd,))
            connection.commit()
        assert large.map([1, 1]) == [large(1)] * 2
        assert (large.cache_info().computed, large.cache_info().errors) == (2, 0)


def rotten(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff")


def test_a_schema_with_a_rotten_byte_makes_way(path: Path) -> None:
    fill(path)
    rotten(path, path.read_bytes().index(b"entries_by_age") + 3)
    with closing(SqliteStore(path)) as store:
        assert store.read("k1") is None
        store.write("k", Item(value=b"new"))
    assert len(quarantined(path)) == 1


def test_a_row_whose_text_has_a_rotten_byte_keeps_no_call_from_being_stored(path: Path) -> None:
    with closing(Cache.sqlite(path)) as cache:

        @dynamo_cached(cache=cache)
        def double(x: int) -> int:
            return 2 * x

        double.map([1, 2, 3])
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(
                "UPDATE entries SET gen = CAST(x'ff' || gen AS TEXT) WHERE key LIKE ?", (f"%{double.cache_key(2)}",)
            )
            connection.commit()
        for _ in range(2):
            assert double.map([1, 2, 3]) == [2, 4, 6]
        assert (double.cache_info().errors, double.cache_info().hits) == (0, 3)
    assert len(quarantined(path)) == 1


def test_a_key_with_a_rotten_byte_is_computed_anew(path: Path) -> None:
    with closing(Cache.sqlite(path)) as cache:

        @dynamo_cached(cache=cache, sliding="1h")
        def double(x: int) -> int:
            return 2 * x

        double.map([1, 2, 3])
        key = double.cache_key(2).encode()
        cache.close()
        whole = path.read_bytes()
        places = [at for at in range(len(whole)) if whole.startswith(key, at)]
        assert len(places) == 2, "of the row and of the index"
        for at in places:
            path.write_bytes(whole[:at] + b"g" + whole[at + 1 :])
            assert double.map([1, 2, 3]) == [2, 4, 6]
            cache.close()


def test_a_count_of_bytes_that_is_none_keeps_no_value_from_being_stored(path: Path) -> None:
    with closing(SqliteStore(path)) as store:
        store.open()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE files SET bytes = 'some'")
            connection.commit()
        store.write("k", Item(value=b"v"))
        assert store.read("k") is not None
