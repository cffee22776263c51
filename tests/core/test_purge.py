"""Deleting for real: which rows go, which stay, and what it says of it."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

import dynmemo
from dynmemo import Cache, InvalidOptionError, StoreUnavailableError, dynamo_cached
from dynmemo.item import SEGMENTS, Item, Parts, Written
from dynmemo.parts import new_write_id, owner, part_key
from dynmemo.purging import SAMPLE_ROWS, purge
from dynmemo.stores.sqlite import PAGE
from dynmemo.testing.together import until
from tests.proxy import Proxy, denied, error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

    from dynmemo import CachedFunction, Purged
    from dynmemo.item import Expect

NOW = int(time.time()) + 36_000  # ahead of the engine's own clock, by which it deletes what has expired
HOUR = 3600


@pytest.fixture(params=["sqlite", "dynamodb"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cache]:
    if request.param == "sqlite":
        made = Cache.sqlite(tmp_path / "cache.db")
    else:
        endpoint, table = (request.getfixturevalue(name) for name in ("dynamodb_endpoint", "dynamodb_table"))
        made = Cache.dynamodb(
            table, endpoint_url=endpoint, partition_key_name="id", ttl_attribute_name="ttl_date", region="eu-west-1"
        )
    yield made
    made.close()


def numbers(cache: Cache, name: str = "mine.one") -> CachedFunction[[int], int]:
    @dynamo_cached(cache=cache, name=name, code="off")
    def one(number: int) -> int:
        return number

    return one


def keys(cache: Cache) -> set[str]:
    return {key for key, _ in cache.store.scan()}


def put(cache: Cache, key: str, item: Item) -> None:
    assert isinstance(cache.store.write(key, item), Written)


def later() -> float:
    """By which something is over that the engine, which deletes what has expired, leaves alone."""
    return NOW + 100.0


def write_id(age: float) -> str:
    return new_write_id(time.time() - age)


@contextmanager
def default(cache: Cache) -> Iterator[None]:
    dynmemo.configure(cache)
    try:
        yield
    finally:
        dynmemo.configure(None)


def test_all_entries_of_functions_go_and_nothing_else(cache: Cache) -> None:
    one, two = numbers(cache), numbers(cache, "mine.two")
    one(1), one(2), two(1)
    cache.set("session", b"x")
    with default(cache):
        done = dynmemo.purge()
    assert (done.rows, done.parts) == (3, 0)
    assert keys(cache) == {"mine.one#gen", "mine.two#gen"}
    assert cache.get("session") == b"x"
    assert cache.store.read("#gen") is not None


def test_one_function_is_purged_by_itself_or_by_its_name(cache: Cache) -> None:
    one, two = numbers(cache, "a:b"), numbers(cache, "mine.two")
    one(1), two(1)
    assert dynmemo.purge(one).rows == 1
    with default(cache):
        assert dynmemo.purge("a:b").rows == 0
        assert dynmemo.purge("mine.two").rows == 1


def test_what_is_neither_function_nor_name_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match=r"purge\(\) takes a function .*, not int"):
        dynmemo.purge(3)  # type: ignore[arg-type]


def test_expired_only_deletes_what_is_over_and_not_what_is_kept_for_errors(cache: Cache) -> None:
    cache.clock = later
    put(cache, "f:-:over", Item(b"", NOW + 99, NOW + 99, fn="f", gen="g"))
    put(cache, "f:-:live", Item(b"", NOW + 999, NOW + 999, fn="f", gen="g"))
    put(cache, "f:-:kept", Item(b"", NOW + 999, NOW + 999, fn="f", gen="g", stale_for=2000))
    put(cache, "f:-:ever", Item(b"", fn="f", gen="g"))
    put(cache, "other", Item(b"", NOW + 99, NOW + 99))
    assert purge(cache, expired=True).rows == 1
    assert keys(cache) == {"f:-:live", "f:-:kept", "f:-:ever"}
    assert cache.store.read("other") is not None


def test_a_live_lease_stays_and_one_long_over_goes(cache: Cache) -> None:
    lease = {"lease_owner": "somebody", "lease_seconds": 30.0, "lease_beat": 0}
    put(cache, "f:-:a", Item(ttl_date=NOW + 999, fn="f", gen="g", **lease))  # type: ignore[arg-type]
    put(cache, "f:-:b#lease", Item(ttl_date=NOW + 999, fn="f", gen="g", **lease))  # type: ignore[arg-type]
    put(cache, "f:-:c", Item(ttl_date=NOW + 99, fn="f", gen="g", **lease))  # type: ignore[arg-type]
    cache.clock = later
    assert purge(cache).rows == 1
    assert keys(cache) == {"f:-:a", "f:-:b#lease", "f#gen"}  # what is computed under them is forgotten, too


def test_superseded_deletes_what_was_cleared(cache: Cache) -> None:
    one, two = numbers(cache), numbers(cache, "mine.two")
    put(cache, "mine.one:off:old", Item(b"", fn="mine.one", gen="long.gone"))
    one(1), two(1)
    with default(cache):
        assert dynmemo.purge(superseded=True).rows == 1
    assert "mine.one:off:old" not in keys(cache)
    assert len(keys(cache)) == 4


def test_superseded_deletes_other_code_only_of_a_function_that_is_given(cache: Cache) -> None:
    def made(version: int) -> CachedFunction[[], int]:
        return dynamo_cached(cache=cache, name="f", version=version)(lambda: version)

    before, after = made(1), made(2)
    before(), after()
    assert purge(cache, fn="f", superseded=True).rows == 0
    assert dynmemo.purge(after, superseded=True).rows == 1
    assert after.entry() is not None
    assert before.entry() is None


def test_a_generation_that_begins_during_the_purge_is_not_taken_for_an_old_one(tmp_path: Path) -> None:
    cache = Cache.sqlite(tmp_path / "cache.db")
    one = numbers(cache)
    one(1)
    for number in range(PAGE):  # so that the new entries are on the second page
        put(cache, f"mine.one:!:{number}", Item(b"", fn="mine.one", gen="long.gone"))

    def clear_and_compute(now: Purged) -> None:
        if now.scanned == 2:  # the first is the generation's own row
            one.cache_clear()
            one(2), one(3)

    assert purge(cache, superseded=True, progress=clear_and_compute).scanned > PAGE
    assert one.entry(2) is not None
    assert one.entry(3) is not None
    cache.close()


def orphaned(cache: Cache) -> set[str]:
    """Parts as a dead writer leaves them, old and young, and some that belong to a row; the keys to be kept."""
    old, young, used = write_id(2 * HOUR), write_id(60), write_id(2 * HOUR)
    for each in (old, young, used):
        for n in range(2):
            put(cache, part_key("f:-:x", each, n), Item(b"part", fn="f"))
    put(cache, "f:-:x", Item(fn="f", gen="g", parts=Parts(used, 2, 600_000, b"d" * 32)))
    put(cache, part_key("f:-:y", old, 0), Item(b"part", fn="f"))
    put(cache, part_key("z", old, 0), Item(b"part"))
    return {key for key in keys(cache) if (owner(key) or ("", ""))[1] != old}


def test_orphans_go_when_their_write_is_long_over_and_parts_with_a_row_stay(cache: Cache) -> None:
    kept = orphaned(cache)
    done = purge(cache, orphans=True)
    assert (done.rows, done.parts) == (0, 3)
    assert keys(cache) == kept


def test_orphans_are_left_alone_where_they_are_not_asked_for(cache: Cache) -> None:
    orphaned(cache)
    before = keys(cache)
    assert purge(cache, expired=True).parts == 0
    assert keys(cache) == before


def test_a_dry_run_changes_nothing_and_counts_what_would_go(cache: Cache) -> None:
    one = numbers(cache)
    one(1), one(2)
    orphaned(cache)
    before = keys(cache)
    counted = purge(cache, dry_run=True)
    assert keys(cache) == before
    assert (counted.rows, counted.parts) == (3, 5)
    done = purge(cache)
    assert (done.rows, done.scanned) == (3, counted.scanned)


def test_every_page_is_read(tmp_path: Path) -> None:
    cache = Cache.sqlite(tmp_path / "cache.db")
    for number in range(2 * PAGE + 1):
        put(cache, f"f:-:{number}", Item(b"", fn="f", gen="g"))
    told: list[Purged] = []
    done = purge(cache, progress=told.append)
    assert (done.scanned, done.rows) == (2 * PAGE + 1, 2 * PAGE + 1)
    assert keys(cache) == set()
    assert told[-1] == done
    cache.close()


def test_on_dynamodb_large_values_go_with_their_parts_over_many_pages(
    dynamodb_endpoint: str, dynamodb_table: str, dynamodb_client: DynamoDBClient
) -> None:
    cache = Cache.dynamodb(dynamodb_table, endpoint_url=dynamodb_endpoint)
    dotnet: dict[str, Any] = {"id": {"S": "dc:session"}, "value": {"B": b"x"}, "ttl_date": {"N": "1"}}
    dynamodb_client.put_item(TableName=dynamodb_table, Item=dotnet)
    put(cache, "f:-:big", Item(os.urandom(3_000_000), fn="f", gen="g"))
    put(cache, "f:-:small", Item(b"x", fn="f", gen="g"))
    counted = purge(cache, dry_run=True)
    assert (counted.scanned, counted.rows, counted.parts) == (10, 2, 8)
    assert counted.read_units > 300
    done = purge(cache)
    assert (done.rows, done.parts) == (2, 8)
    assert counted.write_units == pytest.approx(done.write_units, rel=0.1)
    left = dynamodb_client.scan(TableName=dynamodb_table)["Items"]
    assert left == [dotnet]
    cache.close()


def mixed(cache: Cache, client: DynamoDBClient, table: str) -> None:
    """Small rows of one function, others of 60 KB, large values in parts, and rows of another program."""
    for number in range(60):
        put(cache, f"small:-:{number}", Item(b"x" * 100, fn="small", gen="g"))
    for number in range(40):
        put(cache, f"middle:-:{number}", Item(os.urandom(60_000), fn="middle", gen="g"))
    for number in range(2):
        put(cache, f"large:-:{number}", Item(os.urandom(3_000_000), fn="large", gen="g"))
    for number in range(20):
        row: dict[str, Any] = {"id": {"S": f"dc:{number}"}, "value": {"B": os.urandom(20_000)}, "ttl_date": {"N": "1"}}
        client.put_item(TableName=table, Item=row)


@pytest.mark.parametrize("fns", [["small", "middle", "large"], [None]], ids=["of one function", "of all"])
def test_a_dry_run_estimates_what_the_purge_then_takes_whatever_else_the_table_holds(
    dynamodb_endpoint: str, dynamodb_table: str, dynamodb_client: DynamoDBClient, fns: list[str | None]
) -> None:
    cache = Cache.dynamodb(dynamodb_table, endpoint_url=dynamodb_endpoint)
    mixed(cache, dynamodb_client, dynamodb_table)
    counted = [purge(cache, fn=fn, dry_run=True) for fn in fns]
    for fn, estimate in zip(fns, counted, strict=True):
        done = purge(cache, fn=fn)
        assert (done.rows, done.parts) == (estimate.rows, estimate.parts)
        assert done.scanned <= estimate.scanned  # what goes with its row while the scan is under way is not met
        assert done.write_units / 1.5 < estimate.write_units < done.write_units * 1.5
    cache.close()


def test_a_dry_run_reads_the_whole_of_a_few_rows_only(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        cache = Cache.dynamodb(dynamodb_table, endpoint_url=proxy.endpoint, region="eu-west-1")
        for number in range(SAMPLE_ROWS + 10):
            put(cache, f"f:-:{number}", Item(b"x", fn="f", gen="g"))
        before = proxy.counts["GetItem"]
        assert purge(cache, dry_run=True).write_units == SAMPLE_ROWS + 10
        assert proxy.counts["GetItem"] - before == 1 + SAMPLE_ROWS  # one to see whether the table can serve
        cache.close()


def test_a_row_replaced_between_scan_and_deletion_stays(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    put(cache, "f:-:a", Item(b"old", fn="f", gen="g"))
    put(cache, "f:-:b", Item(b"old", fn="f", gen="g"))
    store = type(cache.store)
    remove = store.remove

    def late(self: object, key: str, expect: Expect | None = None) -> bool:
        if key == "f:-:a":
            put(cache, key, Item(b"new", fn="f", gen="g"))
        return bool(remove(self, key, expect))  # type: ignore[arg-type]

    monkeypatch.setattr(store, "remove", late)
    assert purge(cache).rows == 1
    assert cache.get("f:-:a") == b"new"
    assert cache.get("f:-:b") is None


def test_purging_while_others_write_changes_no_result(cache: Cache) -> None:
    one, stop = numbers(cache), threading.Event()
    deleted, give_up = 0, time.monotonic() + 30

    def call() -> bool:
        right = True
        while not stop.is_set():
            right = right and [one(number) for number in range(10)] == list(range(10))
        return right

    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(call) for _ in range(2)]
        try:
            while deleted < 30 and time.monotonic() < give_up:
                deleted += purge(cache).rows
        finally:
            stop.set()
        assert all(each.result() for each in calls)
    assert deleted >= 30
    info = one.cache_info()
    assert (info.errors, info.unreadable) == (0, 0)


def filled(cache: Cache, rows: int) -> set[str]:
    """Rows of some KB, so that a table has several pages."""
    for number in range(rows):
        put(cache, f"f:-:{number}", Item(os.urandom(200_000), fn="f", gen="g"))
    return keys(cache)


def test_a_table_of_several_pages_is_read_in_segments_at_once(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        cache = Cache.dynamodb(dynamodb_table, endpoint_url=proxy.endpoint, region="eu-west-1")
        stored = filled(cache, 40)
        before = len(proxy.requests)
        done = purge(cache, expired=True)
        scans = [request.body for request in proxy.requests[before:] if request.operation == "Scan"]
        assert done.scanned == len(stored) == 40
        assert {(body["Segment"], body["TotalSegments"]) for body in scans} == {(n, SEGMENTS) for n in range(SEGMENTS)}
        assert len(scans) > SEGMENTS  # of 8 MB each segment has more than one page
        assert done.read_units == pytest.approx(8_000_000 / 8192, rel=0.1)
        assert purge(cache).rows == 40
        assert keys(cache) == set()
        cache.close()


def test_a_purge_that_is_throttled_is_patient(dynamodb_endpoint: str, dynamodb_table: str, pauses: list[float]) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        cache = Cache.dynamodb(dynamodb_table, endpoint_url=proxy.endpoint, region="eu-west-1")
        for number in range(3):
            put(cache, f"f:-:{number}", Item(b"v", fn="f", gen="g"))
        for operation in ("Scan", "DeleteItem"):
            # More than the attempts of a call.
            proxy.breaks(operation, error("ProvisionedThroughputExceededException", "slow down"), times=4)
        assert purge(cache).rows == 3
        assert proxy.counts["DeleteItem"] == 3 + 4
        assert len(pauses) >= 2 * 4
        cache.close()


def test_a_segment_that_fails_ends_the_purge_and_leaves_no_thread(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        cache = Cache.dynamodb(dynamodb_table, endpoint_url=proxy.endpoint, region="eu-west-1")
        put(cache, "f:-:a", Item(b"v", fn="f", gen="g"))
        proxy.breaks("Scan", denied("Scan"))
        with pytest.raises(StoreUnavailableError, match="allow dynamodb:Scan"):
            purge(cache)
        proxy.heals()
        assert keys(cache) == {"f:-:a"}
        until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("dynmemo-")])
        cache.close()


def test_a_scan_that_is_left_early_fetches_no_more_and_leaves_no_thread(
    dynamodb_endpoint: str, dynamodb_table: str
) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        cache = Cache.dynamodb(dynamodb_table, endpoint_url=proxy.endpoint, region="eu-west-1")
        filled(cache, 40)
        before = proxy.counts["Scan"]
        rows = cache.store.scan(segments=2)
        next(rows)
        rows.close()  # type: ignore[attr-defined]  # it is a generator
        assert proxy.counts["Scan"] - before <= 4
        until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("dynmemo-")])
        cache.close()


def test_an_engine_that_is_not_there_is_said_before_anything_is_tried_for_long() -> None:
    cache = Cache.dynamodb("tab", endpoint_url="http://127.0.0.1:9", region="eu-west-1")
    with pytest.raises(StoreUnavailableError) as caught:
        purge(cache)
    assert caught.value.operation != "Scan"
    cache.close()
