"""The bytes API, the same on both stores."""

from __future__ import annotations

import asyncio
import logging
import pickle
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache, InvalidOptionError, ValueTooLargeError, dynamo_cached
from dynmemo._process import Once
from dynmemo.item import Item
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing import Clock

if TYPE_CHECKING:
    from pathlib import Path

    from dynmemo.item import Store

NOW = 1_700_000_000.25


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


MakeCache = Callable[..., Cache]


@pytest.fixture
def make(store: Store, clock: Clock) -> MakeCache:
    def make_cache(**options: Any) -> Cache:
        return Cache(store, clock=clock, **options)

    return make_cache


@pytest.fixture
def cache(make: MakeCache) -> Cache:
    return make()


def row(cache: Cache, key: str) -> Item:
    found = cache.store.read(key)
    assert found is not None
    return found


def test_what_is_set_is_got_and_what_is_removed_is_gone(cache: Cache) -> None:
    assert cache.get("a") is None
    cache.set("a", b"one")
    cache.set("a", b"two")
    assert cache.get("a") == b"two"
    cache.remove("a")
    cache.remove("a")
    assert cache.get("a") is None


@pytest.mark.parametrize("value", [b"", b"\x00\xff" * 1000, bytearray(b"array"), memoryview(b"view")])
def test_every_kind_of_bytes_comes_back_as_bytes(cache: Cache, value: bytes) -> None:
    cache.set("a", value)
    got = cache.get("a")
    assert got == bytes(value)
    assert type(got) is bytes


def test_an_entry_ends_at_its_deadline(cache: Cache, clock: Clock) -> None:
    cache.set("a", b"x", ttl=60)
    clock.now = 1_700_000_060.0
    assert cache.get("a") == b"x"
    clock.now = 1_700_000_060.5
    assert cache.get("a") is None
    cache.set("a", b"y", ttl=datetime.fromtimestamp(clock.now, UTC) + timedelta(hours=1))
    assert row(cache, "a").ttl_deadline == 1_700_003_660


def test_reading_keeps_a_sliding_entry_alive_until_its_deadline(cache: Cache, clock: Clock) -> None:
    cache.set("a", b"x", ttl="5m", sliding="2m")
    for _ in range(4):
        clock.now += 70
        assert cache.get("a") == b"x"
    assert row(cache, "a").ttl_date == row(cache, "a").ttl_deadline == 1_700_000_300
    clock.now = 1_700_000_301.0
    assert cache.get("a") is None


def test_an_idle_sliding_entry_ends(cache: Cache, clock: Clock) -> None:
    cache.set("a", b"x", sliding="2m")
    clock.now += 121
    assert cache.get("a") is None


def test_a_refresh_moves_the_date_and_nothing_else(cache: Cache, clock: Clock) -> None:
    cache.set("a", b"x", sliding="2m", ttl="1h")
    before = row(cache, "a")
    clock.now += 60
    cache.refresh("a")
    after = row(cache, "a")
    assert after.ttl_date == 1_700_000_180
    assert (after.etag, after.ttl_deadline, after.ttl_window) == (before.etag, before.ttl_deadline, before.ttl_window)
    cache.refresh("nothing here")


def test_a_refresh_without_window_or_of_an_expired_entry_changes_nothing(cache: Cache, clock: Clock) -> None:
    cache.set("a", b"x", ttl="1h")
    cache.set("b", b"x", sliding="1m")
    before = row(cache, "a"), row(cache, "b")
    clock.now += 61
    cache.refresh("a")
    cache.refresh("b")
    assert (row(cache, "a"), row(cache, "b")) == before


def test_every_read_moves_the_date_unless_refresh_after_says_later(make: MakeCache, clock: Clock) -> None:
    for cache, moved in ((make(), 1_700_000_101), (make(refresh_after=0.5), 1_700_000_100)):
        clock.now = NOW
        cache.set("a", b"x", sliding=100)
        clock.now += 1
        cache.get("a")
        assert row(cache, "a").ttl_date == moved


def test_the_row_has_the_five_attributes_and_an_etag(cache: Cache) -> None:
    cache.set("a", b"x", ttl="1h", sliding="90s")
    found = row(cache, "a")
    assert found.etag
    assert found == Item(b"x", 1_700_000_090, 1_700_003_600, "00:01:30", etag=found.etag)


def test_default_ttl_is_used_where_no_ttl_is_given(make: MakeCache) -> None:
    cache = make(default_ttl="1h")
    cache.set("a", b"x")
    cache.set("b", b"x", sliding=60)
    cache.set("c", b"x", ttl=10)
    assert [row(cache, key).ttl_deadline for key in "abc"] == [1_700_003_600, 1_700_003_600, 1_700_000_010]


def test_never_is_said_also_where_there_is_a_default_ttl(make: MakeCache) -> None:
    cache = make(default_ttl="1h")
    cache.set("a", b"x", ttl="never")
    cache.set("b", b"x", ttl="never", sliding=60)
    assert [(row(cache, key).ttl_date, row(cache, key).ttl_deadline) for key in "ab"] == [
        (None, None),
        (1_700_000_060, None),
    ]
    assert cache.touch("b", ttl="never")
    assert row(cache, "b") == row(cache, "a")._replace(etag=row(cache, "b").etag)
    calls = []

    @dynamo_cached(cache=cache, ttl="never")
    def function() -> None:
        calls.append(1)

    function()
    entry = function.entry()
    assert entry is not None
    assert entry.expires_at is None


def test_a_value_over_the_limit_is_refused_and_the_old_one_stays(make: MakeCache) -> None:
    cache = make(max_value_bytes=3)
    cache.set("a", b"abc")
    with pytest.raises(ValueTooLargeError, match=r"4 bytes, max_value_bytes is 3"):
        cache.set("a", b"abcd")
    assert cache.get("a") == b"abc"


@pytest.mark.parametrize(
    "call",
    [
        lambda cache: cache.get(5),
        lambda cache: cache.remove(None),
        lambda cache: cache.refresh(b"a"),
        lambda cache: cache.set("a", "text"),
        lambda cache: cache.set("a", None),
        lambda cache: cache.set("a", b"x", ttl=0),
        lambda cache: cache.set("a", b"x", ttl=datetime(2020, 1, 1, tzinfo=UTC)),
        lambda cache: cache.set("a", b"x", sliding=datetime(2040, 1, 1, tzinfo=UTC)),
        lambda cache: cache.set("a", b"x", sliding="-1h"),
    ],
)
def test_bad_input_is_refused_and_what_is_stored_stays(cache: Cache, call: Callable[[Any], object]) -> None:
    cache.set("a", b"old")
    with pytest.raises(InvalidOptionError):
        call(cache)
    assert cache.get("a") == b"old"


def test_the_async_methods_do_the_same_in_other_threads(cache: Cache, store: Store) -> None:
    threads: set[str] = set()
    original = store.read

    async def story() -> None:
        await cache.aset("a", b"x", sliding=60)
        await cache.arefresh("a")
        assert await cache.aget("a") == b"x"
        await cache.aremove("a")
        assert await cache.aget("a") is None
        threads.add(await cache.run(lambda: threading.current_thread().name))

    asyncio.run(story())
    assert original is not None
    assert all(name.startswith("dynmemo") for name in threads)


def test_many_threads_may_use_one_cache(cache: Cache) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                cache.set(f"{number}", f"{number}.{turn}".encode())
                assert cache.get(f"{number}") == f"{number}.{turn}".encode()
        except BaseException as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"secret": 5}, "secret="),
        ({"secret": [5]}, "secret="),
        ({"encrypt": True}, "needs a secret"),
        ({"encrypt": "yes", "secret": "s"}, "True or False"),
        ({"max_value_bytes": 0}, "max_value_bytes=0"),
        ({"max_value_bytes": True}, "max_value_bytes=True"),
        ({"default_ttl": "soon"}, "default_ttl='soon'"),
        ({"default_ttl": 1e30}, r"default_ttl=1e\+30 ends after the year 9999"),
        ({"refresh_after": 1.5}, "refresh_after=1.5"),
    ],
)
def test_wrong_options_are_refused_at_construction(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        Cache.sqlite(tmp_path / "a.db", **options)
    assert not (tmp_path / "a.db").exists()


def test_equal_caches_with_several_secrets_arrive_as_one(tmp_path: Path) -> None:
    cache = Cache.sqlite(tmp_path / "a.db", secret=["new", "old"])
    first, second = (pickle.loads(pickle.dumps(cache)) for _ in range(2))
    assert first is second
    assert first.secrets == (b"new", b"old")


def test_a_secret_shows_nowhere(tmp_path: Path) -> None:
    cache = Cache.sqlite(tmp_path / "a.db", secret="correct horse battery")
    assert cache.secrets == (b"correct horse battery",)
    assert "horse" not in repr(cache)
    assert "horse" not in str(cache.url)


def test_secrets_come_from_the_environment_and_empty_ones_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNMEMO_SECRET", "new secret, old secret,,")
    assert Cache.sqlite(tmp_path / "a.db").secrets == (b"new secret", b"old secret")
    assert Cache.sqlite(tmp_path / "a.db", secret="").secrets == ()
    assert Cache.sqlite(tmp_path / "a.db", secret=["one", b"two"]).secrets == (b"one", b"two")


def test_a_cache_travels_by_its_options(tmp_path: Path) -> None:
    cache = Cache.sqlite(tmp_path / "a.db", default_ttl="1h", secret="s" * 16)
    cache.set("a", b"x")
    copy = pickle.loads(pickle.dumps(cache))
    assert copy.get("a") == b"x"
    assert (copy.default_ttl, copy.secrets) == (3600.0, cache.secrets)
    assert pickle.loads(pickle.dumps(copy)) is copy


def test_a_cache_from_a_live_client_refuses_to_travel() -> None:
    cache = Cache.dynamodb("tab", client=object())  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="client_factory="):
        pickle.dumps(cache)


def test_every_store_takes_keys_of_the_same_length(tmp_path: Path) -> None:
    here = Cache.sqlite(tmp_path / "cache.db")
    here.set("\u00fc" * 1_022 + "x", b"v")
    assert here.get("\u00fc" * 1_022 + "x") == b"v"
    for cache in (here, Cache.dynamodb("weather", region="eu-west-1")):
        with pytest.raises(InvalidOptionError, match=r"at most 2,045 bytes .* the given one has 2,046"):
            cache.get("\u00fc" * 1_023)
        with pytest.raises(InvalidOptionError, match="at most 2,045 bytes"):
            cache.set("x" * 2_046, b"v")
        with pytest.raises(InvalidOptionError, match="at most 2,045 bytes"):
            cache.region("r").get("x" * 2_045)


def test_the_constructor_names_the_makers() -> None:
    for given, wrong in ((None, "nothing"), ("sqlite:///cache.db", "str")):
        with pytest.raises(InvalidOptionError, match=rf"takes a store, not {wrong}; .*Cache\.sqlite\(.*from_url"):
            Cache(given)  # type: ignore[arg-type]


def test_a_relative_path_stays_where_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = Cache.sqlite("here.db")
    monkeypatch.chdir("/")
    cache.set("a", b"x")
    assert (tmp_path / "here.db").exists()


def test_a_failed_refresh_never_fails_the_read(tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    path = tmp_path / "a.db"
    cache = Cache(SqliteStore(str(path), busy_timeout=0.05), clock=clock)
    cache.set("a", b"x", sliding=60)
    clock.now += 30
    import sqlite3

    with sqlite3.connect(path, isolation_level=None) as other, caplog.at_level(logging.WARNING, "dynmemo"):
        other.execute("BEGIN IMMEDIATE")
        assert cache.get("a") == b"x"
        assert cache.get("a") == b"x"
        other.execute("ROLLBACK")
    other.close()
    assert len([record for record in caplog.records if "sliding window" in record.message]) == 1


def test_a_decorated_function_may_use_a_cache_which_counts_by_its_place(tmp_path: Path) -> None:
    def key_beside(other: Cache) -> str:
        @dynamo_cached(cache=Cache.sqlite(tmp_path / "results.db"), name="f")
        def f() -> bytes | None:
            return other.get("k")

        f()
        f()
        assert f.cache_info().hits >= 1
        return f.cache_key()

    one, two = (Cache.sqlite(tmp_path / f"{name}.db") for name in ("one", "two"))
    assert key_beside(one) == key_beside(Cache.sqlite(tmp_path / "one.db")) != key_beside(two)


def test_an_entrys_life_begins_once_the_store_is_connected(store: Store, clock: Clock, make: MakeCache) -> None:
    class SlowToConnect:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def connect(self) -> None:
            store.connect()
            clock.now += 60  # credentials, network, a table that is created

    slow = Cache(SlowToConnect(), clock=clock)
    slow.set("k", b"v", ttl=5)
    assert slow.get("k") == b"v"
    clock.now += 6
    assert slow.get("k") is None


def test_a_short_secret_works_and_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dynmemo.cache.options._once", Once())
    for secret in ("hunter2", "hunter3", "x" * 16):
        Cache.sqlite(tmp_path / "a.db", secret=secret)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "16 bytes" in caplog.text
    assert "hunter" not in caplog.text


def test_encryption_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(InvalidOptionError, match=r'pip install "dynmemo\[crypto\]"'):
        Cache.sqlite(tmp_path / "a.db", secret="sixteen bytes or more", encrypt=True)
