"""How much of the disk the SQLite file takes, and what goes when it is too much; all values lie in rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import dynmemo.stores.sqlite as statements
from dynmemo.item import Item
from dynmemo.stores.sqlite import SqliteStore, file, upkeep
from dynmemo.testing import Clock
from dynmemo.testing.contract.helpers import existing, put

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT = 20_000_000
VALUE = bytes(100_000)
LOG = 4_500_000
"""What the write-ahead log holds: 1,000 pages of 4,096 bytes, and the write that fills it up."""


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "FILE_FROM", 10**9)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0, step=0.001)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterator[SqliteStore]:
    store = SqliteStore(path, max_bytes=LIMIT, clock=clock)
    yield store
    store.close()


def fill(store: SqliteStore, times: float = 2, ttl_date: int | None = None, prefix: str = "fill") -> list[str]:
    """Write `times` as much as the file may hold; the keys, oldest first."""
    keys = [f"{prefix}:{n}" for n in range(int(times * LIMIT / len(VALUE)))]
    for key in keys:
        put(store, key, Item(value=VALUE, fn="fill", ttl_date=ttl_date))
    return keys


def keys_of(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {key.removeprefix("dc:") for (key,) in connection.execute("SELECT key FROM entries")}


def test_the_file_stays_within_its_limit_and_the_log(path: Path, store: SqliteStore) -> None:
    most = 0
    for n in range(600):
        put(store, f"k{n}", Item(value=VALUE))
        most = max(most, sum(p.stat().st_size for p in path.parent.iterdir()))
    assert LIMIT < most < LIMIT + 2 * LOG
    store.close()
    assert path.stat().st_size < LIMIT + LOG


def test_the_least_recently_stored_rows_go_and_no_more_than_needed(path: Path, store: SqliteStore) -> None:
    keys = fill(store, 3)
    left = keys_of(path)
    assert left == set(keys[-len(left) :])
    assert len(left) * len(VALUE) > LIMIT * 0.9


def test_below_the_limit_nothing_goes(path: Path, store: SqliteStore, clock: Clock) -> None:
    keys = fill(store, 0.9, ttl_date=int(clock.now))
    clock.now += 10
    put(store, "k", Item())
    assert keys_of(path) == {*keys, "k"}


def test_expired_rows_go_first(path: Path, store: SqliteStore, clock: Clock) -> None:
    put(store, "oldest", Item(value=VALUE))
    put(store, "lives", Item(value=VALUE, ttl_date=int(clock.now) + 100))
    keys = fill(store, 0.5, ttl_date=int(clock.now) + 50)
    clock.now += 51
    fill(store, 0.85, prefix="new")
    left = keys_of(path)
    assert {"oldest", "lives"} < left
    assert not left >= set(keys)


def test_a_row_lives_through_the_whole_second_of_its_date(path: Path, store: SqliteStore, clock: Clock) -> None:
    put(store, "oldest", Item(value=VALUE))
    put(store, "expires", Item(value=VALUE, ttl_date=int(clock.now)))
    clock.now = int(clock.now)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(upkeep._EXPIRED, (clock.now, 9)).fetchall() == []
        assert len(connection.execute(upkeep._EXPIRED, (clock.now + 0.1, 9)).fetchall()) == 1


def test_a_row_that_is_stored_again_is_young_again(path: Path, store: SqliteStore) -> None:
    put(store, "again", Item(value=VALUE))
    fill(store, 0.7)
    put(store, "again", Item(value=VALUE))
    fill(store, 0.8, prefix="more")
    assert "again" in keys_of(path)


def test_a_row_that_is_only_read_or_touched_is_not(path: Path, store: SqliteStore) -> None:
    put(store, "used", Item(value=VALUE, ttl_date=2_000_000))
    fill(store, 0.7)
    assert store.touch("used", existing(store, "used"), 2_000_001)
    fill(store, 0.8, prefix="more")
    assert "used" not in keys_of(path)


def test_generations_stay_and_live_leases_too(path: Path, store: SqliteStore, clock: Clock) -> None:
    # Without its generation row every entry of a function is a miss; without its lease a computation runs twice.
    put(store, "f#gen", Item(gen="g", fn="f"))
    put(store, "#gen", Item(gen="g"))
    lease = Item(fn="f", lease_owner="me", lease_seconds=30.0, lease_beat=0, ttl_date=int(clock.now) + 100_000)
    put(store, "leased", lease)
    put(store, "dead", Item(fn="f", lease_owner="me", ttl_date=int(clock.now) - 1))
    fill(store, 2)
    assert {"f#gen", "#gen", "leased"} < keys_of(path)
    assert "dead" not in keys_of(path)


def test_dead_leases_go_wherever_they_lie_when_nothing_else_is_left(path: Path, clock: Clock) -> None:
    with closing(SqliteStore(path, max_bytes=1_000_000, clock=clock)) as store:
        for n in range(200):
            put(store, f"f{n}#gen", Item(gen="g", fn=f"f{n}"))
        for n in range(2_000):
            put(store, f"dead{n}", Item(fn="f", lease_owner="me" * 300, ttl_date=int(clock.now) - 1))
    assert len(keys_of(path)) < 1_700  # of 2,200


def test_dead_leases_go_wherever_they_lie_when_others_are_left(path: Path, clock: Clock) -> None:
    dead = Item(fn="f", lease_owner="me", ttl_date=int(clock.now) - 1)
    with closing(SqliteStore(path, max_bytes=1_000_000, clock=clock)) as store:
        for n in range(200):
            put(store, f"f{n}#gen", Item(gen="g", fn=f"f{n}"))
        for n in range(300):
            put(store, f"dead{n}", dead)
        for n in range(3_000):
            put(store, f"k{n}", Item(value=bytes(1_000), fn="f"))
    assert not any(key.startswith("dead") for key in keys_of(path))


def test_a_lease_that_became_a_value_may_go(path: Path, store: SqliteStore) -> None:
    put(store, "k", Item(lease_owner="me", lease_beat=0))
    put(store, "k", Item(value=VALUE))
    fill(store, 2)
    assert "k" not in keys_of(path)


def test_a_lower_limit_is_reached_in_small_bites(path: Path, store: SqliteStore, clock: Clock) -> None:
    fill(store)
    store.close()
    rows = len(keys_of(path))
    with closing(SqliteStore(path, max_bytes=LIMIT // 4, clock=clock)) as smaller:
        bites = []
        while path.stat().st_size > LIMIT // 4 + LIMIT // 8:
            put(smaller, "k", Item(value=b"v"))
            left = len(keys_of(path))
            bites.append((rows - left) * len(VALUE))
            rows = left
            assert len(bites) < 1_000
    assert max(bites) <= upkeep.BITE_BYTES + len(VALUE)
    assert rows > 10


def test_a_write_that_cannot_make_room_is_still_a_write(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    monkeypatch.setattr(upkeep, "_EXPIRED", "SELECT no such column")
    put(store, "k", Item(value=b"v"))
    with closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
    assert existing(store, "k").value == b"v"


# --- remove_all ---


def test_remove_all_of_a_function_leaves_all_others(path: Path, store: SqliteStore) -> None:
    for key, fn in [("f:1", "f"), ("f:2", "f"), ("g:1", "g"), ("session", None), ("f#gen", "f"), ("g#gen", "g")]:
        put(store, key, Item(value=b"v", fn=fn))
    assert store.remove_all("f:") == 2
    assert keys_of(path) == {"g:1", "session", "f#gen", "g#gen"}
    assert store.remove_all("f:") == 0


def test_remove_all_of_all_functions_leaves_generations_and_rows_of_nobody(path: Path, store: SqliteStore) -> None:
    for key, fn in [("f:1", "f"), ("g:1", "g"), ("session", None), ("f#gen", "f"), ("#gen", None)]:
        put(store, key, Item(value=b"v", fn=fn))
    assert store.remove_all() == 2
    assert keys_of(path) == {"session", "f#gen", "#gen"}


def test_remove_all_leaves_generations_that_end_otherwise(path: Path, store: SqliteStore) -> None:
    for key, gen in [("f:a:1", "g.g.0.mine"), ("f:b:1", "g.g.0.theirs"), ("f:c:1", "g.g"), ("f:d:1", None)]:
        put(store, key, Item(value=b"v", fn="f", gen=gen))
    put(store, "e:b:1", Item(value=b"v", fn="e", gen="g.g.0.mine"))
    assert store.remove_all("f:", ends=".mine") == 1
    assert keys_of(path) == {"f:b:1", "f:c:1", "f:d:1", "e:b:1"}
    assert store.remove_all("f:b:") == 1


def test_remove_all_leaves_leases(store: SqliteStore) -> None:
    store.write("f:1", Item(fn="f", lease_owner="me", lease_seconds=30.0, lease_beat=0))
    assert store.remove_all("f:") == store.remove_all() == 0
    assert store.read("f:1") is not None


def test_remove_all_leaves_what_is_stored_after_it_began(path: Path, clock: Clock) -> None:
    # A call that came after the clearing holds a lease by then, or has stored its result.
    class Late(Clock):
        def __call__(self) -> float:
            return clock() - 1

    with closing(SqliteStore(path, clock=clock)) as store, closing(SqliteStore(path, clock=Late())) as clearing:
        put(store, "old", Item(fn="f"))
        clock.now += 1
        put(store, "new", Item(fn="f"))
        assert clearing.remove_all() == 1
        assert keys_of(path) == {"new"}


def test_remove_all_leaves_what_was_replaced_after_it_was_found(
    path: Path, store: SqliteStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["anew", "claimed", "nobody's", "old"]
    for key in keys:
        put(store, key, Item(value=b"v", fn="f"))
    find = upkeep._first

    def found(*args: Any) -> Any:
        clock.now += 1
        with closing(SqliteStore(path, clock=clock)) as other:
            put(other, "anew", Item(value=b"v", fn="f"))
            put(other, "claimed", Item(fn="f", lease_owner="me"))
            put(other, "nobody's", Item(value=b"v"))
        return find(*args)

    monkeypatch.setattr(upkeep, "_first", found)
    assert store.remove_all() == 1
    assert keys_of(path) == {"anew", "claimed", "nobody's"}


def test_remove_all_goes_in_bites_between_which_others_write(path: Path, store: SqliteStore) -> None:
    rows = 3 * upkeep.CLEAR_ROWS
    for n in range(rows):
        put(store, f"f:{n}", Item(fn="f"))
    seen = []
    run = store._run

    def watched(*args: object) -> object:
        seen.append(len(keys_of(path)))
        return run(*args)  # type: ignore[arg-type]

    store._run = watched  # type: ignore[method-assign, assignment]
    assert store.remove_all("f:") == rows
    assert seen == [rows, rows * 2 // 3, rows // 3, 0, 0]


def test_a_cleared_file_is_short_again(path: Path, store: SqliteStore) -> None:
    fill(store, 0.9)
    assert path.stat().st_size > LIMIT / 2
    store.remove_all()
    assert path.stat().st_size < 100_000
    put(store, "k", Item(value=b"v"))
    assert existing(store, "k").value == b"v"


# --- statements ---


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("_READ", "sqlite_autoindex_entries_1"),
        ("_READ_HIT", "sqlite_autoindex_entries_1"),
        ("_TOUCH", "sqlite_autoindex_entries_1"),
        ("_SCAN", "sqlite_autoindex_entries_1"),
        ("_EXPIRED", "entries_by_expiry"),
        ("_OLDEST", "entries_by_age"),
        ("_CLEARED", "sqlite_autoindex_entries_1"),
        ("_CLEAR", "sqlite_autoindex_entries_1"),
    ],
)
def test_no_statement_reads_the_whole_table_or_sorts(path: Path, store: SqliteStore, name: str, index: str) -> None:
    store.open()
    statement = getattr(statements, name, None) or getattr(upkeep, name)
    with closing(sqlite3.connect(path)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", "x" * statement.count("?")).fetchall()
    assert len(plan) == 1, plan
    assert f"USING INDEX {index}" in plan[0][3]


def test_the_log_is_cut_back_after_a_large_write(
    path: Path, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "LOG_BYTES", 1_000_000)
    put(store, "large", Item(value=bytes(7_000_000)))
    log = path.with_name("cache.db-wal")
    assert log.stat().st_size > 7_000_000
    put(store, "small", Item(value=b"v"))
    assert log.stat().st_size < 1_100_000
