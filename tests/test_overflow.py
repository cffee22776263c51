"""Values beyond `max_value_bytes` in S3, on moto's server."""

from __future__ import annotations

import logging
import random
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache, dynamo_cached
from dynmemo.counters import Meter
from dynmemo.errors import DynmemoError, InvalidOptionError, StoreUnavailableError, ValueTooLargeError
from dynmemo.item import Expect, Item, Refused, Written
from dynmemo.parts import bytes_of
from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.stores.dynamodb.connection import BULK
from dynmemo.stores.s3 import Bucket
from dynmemo.stores.sqlite import SqliteStore
from tests.proxy import LoseAnswer, Proxy, denied, error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dynmemo import CachedFunction
    from dynmemo.item import Store
    from tests.proxy import Fault

LARGE = random.Random(1).randbytes(2_000_000)
LARGER = random.Random(2).randbytes(2_000_001)
ABOVE = 1_000_000


class Objects:
    """The bucket as it is."""

    def __init__(self, endpoint: str) -> None:
        import boto3

        self.endpoint = endpoint
        self._client: Any = boto3.session.Session().client("s3", endpoint_url=endpoint)
        self._client.create_bucket(
            Bucket="large-results", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
        )

    def names(self) -> list[str]:
        listed = self._client.list_objects_v2(Bucket="large-results")
        return [found["Key"] for found in listed.get("Contents", [])]

    def put(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket="large-results", Key=name, Body=content)

    def clear(self) -> None:
        for name in self.names():
            self._client.delete_object(Bucket="large-results", Key=name)

    def close(self) -> None:
        self._client.close()


# One for the session: a worker that runs tests of other files in between would start a second one on the same buckets.
@pytest.fixture(scope="session")
def server() -> Iterator[Objects]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    objects = Objects(f"http://{host}:{port}")
    yield objects
    objects.close()
    server.stop()


@pytest.fixture
def objects(server: Objects, monkeypatch: pytest.MonkeyPatch) -> Objects:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
    server.clear()
    return server


@pytest.fixture
def bucket(objects: Objects) -> Bucket:
    return Bucket("s3://large-results/cache", ABOVE)


@pytest.fixture(params=["sqlite", "dynamodb"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Bucket | None], Store]:
    """Opens a store with or without a bucket, always in the same place."""
    if request.param == "sqlite":
        return lambda overflow: SqliteStore(tmp_path / "cache.db", overflow=overflow, copies_max_bytes=0)
    endpoint, table = request.getfixturevalue("dynamodb_endpoint"), request.getfixturevalue("dynamodb_table")
    return lambda overflow: DynamoDBStore(table, endpoint_url=endpoint, overflow=overflow, copies_max_bytes=0)


@pytest.fixture
def inner(open_store: Callable[[Bucket | None], Store]) -> Store:
    return open_store(None)


@pytest.fixture
def store(open_store: Callable[[Bucket | None], Store], bucket: Bucket) -> Store:
    return open_store(bucket)


def put(store: Store, item: Item, expect: Expect | None = None) -> None:
    assert isinstance(store.write("k", item, expect), Written)


def value(store: Store) -> bytes | None:
    item = store.read("k")
    assert item is not None
    return bytes_of(item)


# --- the store ---


def test_a_value_beyond_the_limit_lies_in_the_bucket_and_comes_back(
    store: Store, inner: Store, objects: Objects
) -> None:
    put(store, Item(LARGE, fn="f", gen="g"))
    row = inner.read("k")
    assert row is not None
    assert row.parts is not None
    assert (row.value, row.fn, row.gen) == (None, "f", "g")
    assert objects.names() == [f"cache/{row.parts.write_id}"]
    assert row.parts.location == f"s3://large-results/cache/{row.parts.write_id}"
    assert value(store) == LARGE
    assert store.read_many(["k", "absent"])["k"].value == LARGE


def test_a_value_up_to_the_limit_lies_in_the_store(store: Store, inner: Store, objects: Objects) -> None:
    put(store, Item(LARGE[:ABOVE]))
    assert objects.names() == []
    assert value(inner) == value(store) == LARGE[:ABOVE]


@pytest.mark.parametrize("new", [LARGER, LARGER[:ABOVE], b"small", None], ids=["S3", "store", "small", "lease"])
def test_replacing_a_row_deletes_its_object(store: Store, objects: Objects, new: bytes | None) -> None:
    put(store, Item(LARGE, 1_800_000_000))
    before = objects.names()
    put(store, Item(new), Expect.seen(store.read("k")))
    assert len(before) == 1
    assert before[0] not in objects.names()
    assert value(store) == new


def test_removing_a_row_deletes_its_object(store: Store, objects: Objects) -> None:
    put(store, Item(LARGE))
    assert not store.remove("k", Expect("another"))
    assert value(store) == LARGE
    assert store.remove("k")
    assert objects.names() == []
    assert store.remove("k") is None


def test_a_refused_write_gets_the_standing_value_and_leaves_no_object(store: Store, objects: Objects) -> None:
    put(store, Item(LARGE))
    before = objects.names()
    assert store.write("k", Item(LARGER), Expect()) == Refused(store.read("k"))
    assert objects.names() == before
    assert value(store) == LARGE


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (denied("PutItem"), 0),
        (error("ValidationException", "Item size has exceeded the maximum allowed size"), 0),
        (error("ResourceNotFoundException"), 0),
        (error("InternalServerError", status=500), 1),
        (error("ServiceUnavailable", status=503), 1),
        (LoseAnswer(), 1),
    ],
    ids=["denied", "too large", "no table", "internal error", "unavailable", "no answer"],
)
def test_the_object_of_a_row_that_failed_goes_only_when_the_row_was_refused(
    bucket: Bucket, objects: Objects, dynamodb_endpoint: str, dynamodb_table: str, fault: Fault, left: int
) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        proxy.breaks("PutItem", fault)
        store = DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint, overflow=bucket)
        with pytest.raises(DynmemoError):
            store.write("k", Item(LARGE))
        store.close()
    assert len(objects.names()) == left


@pytest.mark.parametrize("moment", ["before-send", "body"])
def test_after_an_interrupt_no_call_uses_that_client(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    row, parts = bucket.plan("k", Item(), LARGE)
    bucket.put("k", row, parts, LARGE)
    before: Any = bucket._connection.client(BULK)

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if moment == "body":
        monkeypatch.setattr("urllib3.response.HTTPResponse.read", interrupt)
    else:
        before.meta.events.register("before-send.s3.GetObject", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bucket.get("k", parts)
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", before.meta.endpoint_url)
    assert bucket._connection.client(BULK) is not before
    assert bucket.get("k", parts) == LARGE


@pytest.mark.parametrize("damage", ["missing", "shorter", "another of the same length"])
def test_an_object_that_is_not_the_one_written_is_a_miss(store: Store, objects: Objects, damage: str) -> None:
    put(store, Item(LARGE))
    (key,) = objects.names()
    if damage == "missing":
        objects.clear()
    else:
        objects.put(key, LARGE[:-1] if damage == "shorter" else LARGER[:-1])
    assert value(store) is None


@pytest.mark.parametrize(
    "place", ["s3://large-results/secrets/{0}", "s3://large-results/cache/../{0}", "s3://others/cache/{0}", "{0}", ""]
)
def test_a_row_that_points_elsewhere_is_a_miss_and_nothing_is_asked_or_deleted_there(
    store: Store, inner: Store, place: str
) -> None:
    put(store, Item(LARGE))
    row = inner.read("k")
    assert row is not None
    assert row.parts is not None
    inner.write("k", row._replace(parts=replace(row.parts, location=place.format(row.parts.write_id))))
    meter = Meter()
    metered = store.metered(meter)
    assert value(metered) is None
    assert metered.remove("k")
    assert meter.requests <= 4  # the row, once more, and its removal


def test_without_overflow_a_row_that_points_to_s3_is_a_miss(store: Store, inner: Store) -> None:
    put(store, Item(LARGE))
    assert value(inner) is None


def test_requests_to_s3_are_counted(store: Store) -> None:
    store.open()
    meter, in_row = Meter(), Meter()
    store.metered(in_row).write("k", Item(b"small"))
    store.remove("k")
    store.metered(meter).write("k", Item(LARGE))
    assert meter.requests == in_row.requests + 1


def test_a_touch_moves_the_row_alone(store: Store) -> None:
    put(store, Item(LARGE, 1_000, None, "01:00:00"))
    seen = store.read("k")
    assert seen is not None
    assert store.touch("k", seen, 2_000)
    assert value(store) == LARGE


# --- when S3 fails ---


def test_a_missing_bucket_is_said_and_nothing_is_written(
    open_store: Callable[[Bucket | None], Store], objects: Objects
) -> None:
    store = open_store(Bucket("s3://nowhere-to-be", ABOVE))
    with pytest.raises(StoreUnavailableError, match=r"PutObject in s3://nowhere-to-be/.*does not exist") as caught:
        store.write("k", Item(LARGE))
    assert caught.value.code == "NoSuchBucket"
    assert store.read("k") is None


def test_an_s3_out_of_reach_is_one_of_our_errors(
    open_store: Callable[[Bucket | None], Store], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(open_store(bucket), Item(LARGE))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    store = open_store(Bucket("s3://large-results/cache", ABOVE))
    for act in (lambda: store.read("k"), lambda: store.write("k", Item(LARGER))):
        with pytest.raises(StoreUnavailableError, match="could not be reached"):
            act()
    assert store.remove("k"), "the object that cannot be deleted is left to the lifecycle rule"


@pytest.mark.parametrize(
    "url", ["", "large-results", "s3://", "s3://B/x", "https://large-results/x", "s3://ab", "s3://large-results/a?b", 7]
)
def test_another_place_than_a_bucket_is_refused(url: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="s3://bucket/prefix"):
        Cache.sqlite(tmp_path / "cache.db", overflow=url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://large-results", "s3://large-results/"),
        ("s3://large-results/", "s3://large-results/"),
        ("s3://large-results/a/b", "s3://large-results/a/b/"),
        ("s3://large-results/a/b/", "s3://large-results/a/b/"),
    ],
)
def test_a_bucket_may_have_a_prefix(url: str, shown: str) -> None:
    assert Bucket(url).url == shown


# --- caches ---


@pytest.fixture(params=["sqlite", "dynamodb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of a cache of either kind with these options."""
    if request.param == "sqlite":
        start = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}?"
    else:
        endpoint, table = request.getfixturevalue("dynamodb_endpoint"), request.getfixturevalue("dynamodb_table")
        start = f"dynamodb://{table}?endpoint_url={endpoint}&"
    return lambda options: start + options


@pytest.fixture
def make(url: Callable[[str], str]) -> Callable[[str], Cache]:
    """Makes a cache of either kind with these options, from a URL."""
    return lambda options: Cache.from_url(url(options))


def test_a_cache_keeps_large_values_in_s3(make: Callable[[str], Cache], objects: Objects) -> None:
    cache = make("max_value_bytes=1000000&overflow=s3://large-results/cache")
    cache.set("k", LARGE, ttl="1h")
    cache.set("small", b"v")
    assert len(objects.names()) == 1
    assert (cache.get("k"), cache.get("small")) == (LARGE, b"v")
    cache.remove("k")
    assert objects.names() == []
    assert cache.url is not None
    assert Cache.from_url(cache.url) is cache


def test_a_function_keeps_large_results_in_s3(make: Callable[[str], Cache], objects: Objects) -> None:
    @dynamo_cached(cache=make("max_value_bytes=1000000&overflow=s3://large-results/cache&secret=a-good-long-secret"))
    def load(seed: int) -> bytes:
        return random.Random(seed).randbytes(2_000_000)

    assert load(1) == load(1) == LARGE
    assert load.cache_info()[:2] == (1, 1)
    assert len(objects.names()) == 1
    load.invalidate(1)
    assert objects.names() == []
    load(1)
    load.cache_clear()
    load(1)
    assert load.cache_info().computed == 1


IN_S3 = "max_value_bytes=1000000&overflow=s3://large-results/cache"


def computed_at(load: Callable[[int], bytes], options: str) -> CachedFunction[[int], bytes]:
    return dynamo_cached(cache=options, name="load", version=1)(load)


@pytest.mark.parametrize("secret", ["", "&secret=a-good-long-secret"], ids=["plain", "signed"])
def test_a_hit_reads_the_row_and_the_copy_of_what_lies_in_s3(
    url: Callable[[str], str], objects: Objects, secret: str
) -> None:
    def load(seed: int) -> bytes:
        return random.Random(seed).randbytes(2_000_000)

    writer = computed_at(load, url(IN_S3 + secret))
    reader = computed_at(load, url(f"{IN_S3}{secret}&lease_seconds=20"))  # a cache of its own, as another process has
    assert writer(1) == LARGE
    objects.clear()
    assert writer(1) == reader(1) == LARGE
    before = reader.cache_info()
    assert reader(1) == LARGE
    after = reader.cache_info()
    assert (after.requests - before.requests, after.copies - before.copies) == (1, 1)
    assert after.computed == 0


def test_a_value_that_was_fetched_from_s3_is_copied(url: Callable[[str], str], objects: Objects) -> None:
    def load(seed: int) -> bytes:
        return random.Random(seed).randbytes(2_000_000)

    assert computed_at(load, url(f"{IN_S3}&copies_max_bytes=0"))(1) == LARGE
    reader = computed_at(load, url(IN_S3))
    assert [(reader(1) == LARGE, reader.cache_info().copies) for _ in range(3)] == [(True, 0), (True, 1), (True, 2)]
    assert len(objects.names()) == 1


def test_a_copy_is_served_for_the_row_that_stands_there_alone(url: Callable[[str], str], objects: Objects) -> None:
    cache, other = Cache.from_url(url(IN_S3)), Cache.from_url(url(f"{IN_S3}&lease_seconds=20"))
    cache.set("k", LARGE)
    assert other.get("k") == LARGE
    cache.set("k", LARGER)
    assert other.get("k") == LARGER
    cache.remove("k")
    assert other.get("k") is None
    assert objects.names() == []


def test_a_value_beside_the_database_is_not_copied(tmp_path: Path, clean_environment: Path, objects: Objects) -> None:
    with closing(Cache.sqlite(tmp_path / "cache.db", overflow="s3://large-results/cache")) as cache:
        cache.set("k", LARGE)
        assert cache.get("k") == LARGE
    assert objects.names() == []
    assert not (clean_environment / "dynmemo" / "copies").exists()


def test_a_large_value_is_refused_with_size_limit_and_both_ways_out(make: Callable[[str], Cache]) -> None:
    cache = make("max_value_bytes=1000000")
    with pytest.raises(ValueTooLargeError) as caught:
        cache.set("k", LARGE)
    for text in ("2,000,000", "1,000,000", "max_value_bytes", 'overflow="s3://bucket/prefix"'):
        assert text in str(caught.value)
    assert cache.get("k") is None


def test_a_large_result_is_returned_and_not_stored_which_is_said_once(
    make: Callable[[str], Cache], caplog: pytest.LogCaptureFixture
) -> None:
    @dynamo_cached(cache=make("max_value_bytes=1000000"))
    def load(seed: int) -> bytes:
        return random.Random(seed).randbytes(2_000_000)

    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert load(1) == load(1) == LARGE
        load(2)
    (record,) = caplog.records
    for text in ("load", "not stored", "1,000,000", "max_value_bytes", 'overflow="s3://bucket/prefix"'):
        assert text in record.getMessage()
    info = load.cache_info()
    assert (info.hits, info.computed, info.bypassed) == (0, 3, 3)
