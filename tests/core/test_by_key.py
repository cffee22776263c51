"""What `Cache` does beside get and set: conditional changes, new dates, many keys at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from botocore.config import Config

import dynmemo
from dynmemo import Cache, CacheEntry, InvalidOptionError, StoreUnavailableError, dynamo_cached
from dynmemo.cache import by_key
from dynmemo.generations import Generations
from dynmemo.item import LATEST_TIME, Item, Parts
from dynmemo.purging import purge
from dynmemo.testing import Clock
from dynmemo.testing.together import at_once
from tests.proxy import denied

if TYPE_CHECKING:
    from pathlib import Path

    from dynmemo.item import Store
    from tests.proxy import Proxy


@pytest.fixture
def cache(store: Store, clock: Clock) -> Cache:
    return Cache(store, clock=clock)


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_add_stores_only_where_nothing_live_is(cache: Cache, clock: Clock) -> None:
    assert cache.add("a", b"first", ttl=60)
    assert not cache.add("a", b"second")
    assert cache.get("a") == b"first"
    clock.now += 61
    assert cache.add("a", b"third")
    assert cache.get("a") == b"third"


def test_of_fifty_that_add_one_key_at_once_one_is_told_that_it_did(cache: Cache) -> None:
    told = at_once(50, lambda n: cache.add("a", b"%d" % n))
    assert sum(told) == 1
    assert cache.get("a") == b"%d" % told.index(True)


def test_peek_tells_the_dates_and_moves_none(cache: Cache, clock: Clock) -> None:
    assert cache.peek("a") is None
    cache.set("a", b"x", ttl="1h", sliding="90s")
    clock.now += 60
    first = cache.peek("a")
    clock.now += 10
    assert first == cache.peek("a")
    begin = clock.now - 70
    assert first == CacheEntry(b"x", moment(begin + 90), moment(begin + 3600), timedelta(seconds=90))
    clock.now += 21
    assert cache.peek("a") is None
    cache.set("b", b"y")
    assert cache.peek("b") == CacheEntry(b"y", None, None, None)


def test_peek_takes_any_date_that_another_program_wrote(cache: Cache) -> None:
    cache.store.write("a", Item(b"x", ttl_date=1_764_227_011_000, ttl_deadline=-(10**17)))
    assert cache.peek("a") == CacheEntry(b"x", moment(LATEST_TIME), moment(0), None)


def test_touch_gives_new_dates_as_set_would_and_leaves_the_value(cache: Cache, clock: Clock) -> None:
    cache.set("a", b"x", ttl=60)
    begin = clock.now
    assert cache.touch("a", ttl="1h", sliding="10m")
    assert cache.peek("a") == CacheEntry(b"x", moment(begin + 600), moment(begin + 3600), timedelta(minutes=10))
    assert cache.touch("a")
    assert cache.peek("a") == CacheEntry(b"x", None, None, None)
    assert cache.touch("a", ttl=5)
    clock.now += 6
    assert not cache.touch("a", ttl="1h")
    assert not cache.touch("nowhere", ttl="1h")
    assert cache.get("a") is None
    assert cache.get("nowhere") is None


def test_a_value_too_large_for_its_row_gets_new_dates_too(cache: Cache, clock: Clock) -> None:
    large = bytes(700_000)
    cache.set("a", large, ttl=60)
    assert cache.touch("a", ttl="30d")
    clock.now += 20 * 86_400
    assert cache.get("a") == large


def test_touch_makes_no_use_of_a_window_of_before(cache: Cache, clock: Clock) -> None:
    cache.set("a", b"x", sliding="1h")
    assert cache.touch("a", ttl=60)
    clock.now += 61
    assert cache.get("a") is None


def test_update_changes_what_is_there_and_returns_it(cache: Cache, clock: Clock) -> None:
    assert cache.update("a", lambda old: b"new" if old is None else b"wrong", ttl=60) == b"new"
    clock.now += 50
    assert cache.update("a", lambda old: (old or b"") + b"er") == b"newer"
    assert cache.get("a") == b"newer"
    clock.now += 11
    assert cache.get("a") is None, "the deadline stayed"
    assert cache.update("a", lambda old: old) is None


def test_update_keeps_deadline_and_window_unless_it_gives_others(cache: Cache, clock: Clock) -> None:
    cache.set("a", b"x", ttl="1h", sliding="10m")
    begin, clock.now = clock.now, clock.now + 60
    cache.update("a", lambda old: b"y")
    assert cache.peek("a") == CacheEntry(b"y", moment(begin + 660), moment(begin + 3600), timedelta(minutes=10))
    cache.update("a", lambda old: b"z", ttl="2h")
    assert cache.peek("a") == CacheEntry(b"z", moment(begin + 7260), moment(begin + 7260), None)


def test_update_removes_what_is_to_be_nothing(cache: Cache) -> None:
    cache.set("a", b"x")
    assert cache.update("a", lambda old: None) is None
    assert cache.get("a") is None
    assert not cache.remove("a")


def test_what_others_do_while_a_change_is_made_up_is_not_lost(cache: Cache) -> None:
    cache.set("a", b"1")
    seen = []

    def change(old: bytes | None) -> bytes | None:
        seen.append(old)
        if len(seen) == 1:
            cache.set("a", b"2")
        elif len(seen) == 2:
            cache.remove("a")
        return (old or b"0") + b"!"

    assert cache.update("a", change) == b"0!"
    assert seen == [b"1", b"2", None]


def test_add_and_update_find_nothing_where_a_value_is_lost(cache: Cache) -> None:
    for key in ("a", "b"):
        cache.store.write(key, Item(parts=Parts("0" * 24, 1, 300_000, bytes(32), None), ttl_date=2**33))
    assert cache.add("a", b"new")
    assert cache.update("b", lambda old: b"new" if old is None else b"old") == b"new"
    assert [cache.peek(key) for key in "ab"] == [CacheEntry(b"new", None, None, None)] * 2


def test_a_change_that_raises_changes_nothing(cache: Cache) -> None:
    cache.set("a", b"1")
    with pytest.raises(ZeroDivisionError):
        cache.update("a", lambda old: b"%d" % (1 // 0))
    with pytest.raises(InvalidOptionError, match="stores bytes, not str"):
        cache.update("a", lambda old: "text")  # type: ignore[arg-type, return-value]
    assert cache.get("a") == b"1"


def test_an_update_that_always_comes_second_ends(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_key, "UPDATE_SECONDS", 0.05)
    cache.set("a", b"mine")

    def change(old: bytes | None) -> bytes:
        cache.set("a", b"theirs")
        return b"lost"

    with pytest.raises(StoreUnavailableError, match="again and again") as caught:
        cache.update("a", change)
    assert caught.value.code == "Contention"
    assert cache.get("a") == b"theirs"


COUNT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dynmemo import Cache
from dynmemo.cache import by_key
by_key.UPDATE_SECONDS = 300.0  # a busy machine must not fail the test
cache = Cache.from_url(sys.argv[1])
with ThreadPoolExecutor(5) as pool:
    list(pool.map(lambda n: cache.update("count", lambda old: b"%d" % (int(old or 0) + 1)), range(50)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "dynamodb"])
def test_two_hundred_changes_by_four_processes_are_all_there(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path / 'cache.db'}"
    if kind == "dynamodb":
        table, endpoint = map(request.getfixturevalue, ("dynamodb_table", "dynamodb_endpoint"))
        url = f"dynamodb://{table}?endpoint_url={endpoint}"
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, url]) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert Cache.from_url(url).get("count") == b"200"


def test_remove_says_whether_a_live_entry_went(cache: Cache, clock: Clock) -> None:
    cache.set("a", b"x", ttl=60)
    assert cache.remove("a")
    assert not cache.remove("a")
    cache.set("a", b"x", ttl=60)
    clock.now += 61
    assert not cache.remove("a")
    cache.set("large", bytes(700_000))
    assert cache.remove("large")


def test_many_keys_are_set_got_and_removed_at_once(cache: Cache, clock: Clock) -> None:
    values = {f"k{n}": b"%d" % n for n in range(130)}
    cache.set_many(values, ttl="1h", sliding="2m")
    clock.now += 90
    assert cache.get_many([*values, "absent", "k0"]) == values
    clock.now += 90
    assert cache.get_many(iter(values)) == values, "the windows began anew"
    cache.remove_many(list(values)[1:])
    assert cache.get_many(values) == {"k0": b"0"}
    clock.now += 121
    assert cache.get_many(values) == {}


def test_one_text_is_not_taken_for_many_keys(cache: Cache) -> None:
    for many in (cache.get_many, cache.remove_many):
        with pytest.raises(InvalidOptionError, match="takes several keys"):
            many("abc")


def test_of_many_values_a_wrong_one_is_refused_before_any_is_stored(cache: Cache) -> None:
    with pytest.raises(InvalidOptionError, match="stores bytes, not int"):
        cache.set_many({"a": b"x", "b": 1})  # type: ignore[dict-item]
    assert cache.get("a") is None


def cache_behind(proxy: Proxy, table: str) -> Cache:
    """That asks once, however long a busy machine takes to answer."""
    config = Config(connect_timeout=60, read_timeout=60)
    names = {"partition_key_name": "id", "ttl_attribute_name": "expires"}
    return Cache.dynamodb(table, endpoint_url=proxy.endpoint, config=config, **names)  # type: ignore[arg-type]


def test_many_keys_take_few_requests_and_go_singly_where_batches_are_not_allowed(
    dynamodb_table: str, proxy: Proxy
) -> None:
    cache = cache_behind(proxy, dynamodb_table)
    values = {f"k{n}": b"x" for n in range(101)}
    cache.set_many(values)
    assert cache.get_many(values) == values
    cache.remove_many(values)
    assert proxy.counts == {"BatchWriteItem": 10, "BatchGetItem": 2}
    proxy.breaks("BatchWriteItem", denied("BatchWriteItem"))
    proxy.breaks("BatchGetItem", denied("BatchGetItem"))
    some = {"a": b"1", "b": b"2"}
    cache.set_many(some)
    assert cache.get_many(some) == some
    cache.remove_many(some)
    assert cache.get_many(some) == {}
    cache.close()


def test_new_dates_are_one_request_that_carries_no_value(dynamodb_table: str, proxy: Proxy) -> None:
    cache = cache_behind(proxy, dynamodb_table)
    cache.set("a", bytes(100_000), ttl=60)
    assert cache.touch("a", ttl="1h")
    assert not cache.touch("b", ttl="1h")
    assert cache.remove("a")
    assert proxy.counts == {"PutItem": 1, "UpdateItem": 2, "DeleteItem": 1}
    assert all(len(str(request.body)) < 2_000 for request in proxy.requests if request.operation == "UpdateItem")
    cache.close()


def test_each_has_a_coroutine(cache: Cache) -> None:
    async def use() -> None:
        assert await cache.aadd("a", b"1", ttl=60)
        assert (await cache.apeek("a") or CacheEntry(b"", None, None, None)).value == b"1"
        assert await cache.aupdate("a", lambda old: (old or b"") + b"2", sliding=60) == b"12"
        assert await cache.atouch("a", ttl="1h")
        await cache.aset_many({"b": b"3"}, ttl=60)
        assert await cache.aget_many(["a", "b"]) == {"a": b"12", "b": b"3"}
        assert await cache.aremove("a")
        await cache.aremove_many(["b"])
        assert await cache.aget_many(["a", "b"]) == {}

    asyncio.run(use())


# -- regions -----------------------------------------------------------------------------------------


def test_a_region_has_keys_of_its_own(cache: Cache) -> None:
    sessions, others = cache.region("sessions"), cache.region("others")
    sessions.set("a", b"mine")
    others.set("a", b"theirs")
    cache.set("a", b"plain")
    assert (sessions.get("a"), others.get("a"), cache.get("a")) == (b"mine", b"theirs", b"plain")
    assert cache.region("sessions").get("a") == b"mine"
    assert others.remove("a")
    assert (sessions.get("a"), others.get("a"), cache.get("a")) == (b"mine", None, b"plain")


def test_the_partition_key_is_the_one_in_the_table(cache: Cache) -> None:
    assert cache.partition_key("a#1") == "dc:a#1"
    assert cache.region("web:sessions").partition_key("a#1") == "dc:web%3Asessions::a%231"


def test_the_rows_of_a_region_say_whose_they_are(cache: Cache) -> None:
    cache.region("web:sessions").set("a", b"x", ttl=60)
    row = cache.store.read("web%3Asessions::a")
    assert row is not None
    assert row.fn == "web%3Asessions"
    assert row.gen is not None
    assert row.gen.count(".") == 1


def test_clearing_a_region_forgets_its_entries_everywhere_and_no_others(cache: Cache, store: Store) -> None:
    sessions, others = cache.region("sessions"), cache.region("sessions2")

    @dynamo_cached(cache=cache, name="sessions", version="1")
    def function() -> int:
        return 1

    function()
    others.set("a", b"theirs")
    cache.set("sessions", b"plain")
    cache.set("a", b"plain")
    sessions.set("a", b"mine", sliding="1h")
    elsewhere = Cache(store, clock=cache.clock).region("sessions")
    sessions.clear()
    for region in (sessions, elsewhere):
        assert region.get("a") is None
        assert region.peek("a") is None
        assert region.get_many(["a"]) == {}
        assert not region.touch("a", ttl=60)
        assert not region.remove("a")
    assert sessions.update("a", lambda old: b"new" if old is None else b"of before") == b"new"
    assert elsewhere.get("a") == b"new"
    assert not sessions.add("a", b"late")
    assert (others.get("a"), cache.get("sessions"), cache.get("a")) == (b"theirs", b"plain", b"plain")


def test_what_is_made_of_a_value_that_is_forgotten_meanwhile_is_forgotten_too(cache: Cache) -> None:
    counts = cache.region("counts")
    counts.set("a", b"1")

    def change(old: bytes | None) -> bytes:
        counts.clear()
        return (old or b"0") + b"1"

    counts.update("a", change)
    assert counts.get("a") is None


def test_a_change_by_a_process_that_does_not_know_of_the_clearing_yet_is_not_lost(cache: Cache, store: Store) -> None:
    here, elsewhere = (Cache(store, clock=cache.clock).region("counts") for _ in range(2))
    elsewhere.set("a", b"1")
    here.clear()
    here.set("a", b"5")
    assert elsewhere.update("a", lambda old: b"%d" % (int(old or 0) + 1)) == b"6"
    assert here.get("a") == b"6"


@pytest.mark.parametrize("key", ["page#gen", "page#lease", "page#0123456789abcdef01234567#1", "50%23", "a::b"])
def test_a_region_takes_keys_that_look_like_those_of_other_rows(cache: Cache, key: str) -> None:
    pages = cache.region("pages")
    pages.set(key, b"x")
    assert purge(cache, fn="pages", orphans=True).parts == 0
    assert pages.get_many([key]) == {key: b"x"}
    assert pages.get(key.replace("%23", "#") + "!") is None
    assert purge(cache, fn="pages").rows == 1
    assert pages.get(key) is None


def test_other_processes_may_serve_a_forgotten_entry_for_five_seconds(cache: Cache, store: Store) -> None:
    monotonic = Clock(0.0)
    elsewhere = Cache(store, clock=cache.clock)
    elsewhere.generations = Generations(monotonic)
    there = elsewhere.region("sessions")
    there.set("a", b"x")
    cache.region("sessions").clear()
    if store.read("sessions::a") is not None:  # SQLite deletes the rows, too
        assert there.get("a") == b"x"
    monotonic.now = 5.5
    assert there.get("a") is None


def test_purging_a_function_for_its_code_leaves_the_region_of_its_name(cache: Cache) -> None:
    @dynamo_cached(cache=cache, name="shared")
    def function() -> int:
        return 1

    function()
    cache.region("shared").set("a", b"x")
    assert dynmemo.purge(function, superseded=True).rows == 0
    assert cache.region("shared").get("a") == b"x"
    assert dynmemo.purge(function).rows == 2
    assert cache.region("shared").get("a") is None


@pytest.mark.parametrize("name", ["", None, 1, "\ud800"])
def test_a_region_without_a_name_is_refused(cache: Cache, name: str) -> None:
    with pytest.raises(InvalidOptionError, match=r"a region has a name|surrogate"):
        cache.region(name)


def test_regions_have_coroutines(cache: Cache) -> None:
    async def use() -> None:
        region = cache.region("sessions")
        await region.aset("a", b"x")
        assert await region.aget("a") == b"x"
        await region.aclear()
        assert await region.aget("a") is None

    asyncio.run(use())
