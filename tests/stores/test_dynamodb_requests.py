"""How many requests are made and what they cost, what is retried, and what a lost answer does."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.counters import Meter
from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Expect, Item, Refused, Written
from dynmemo.stores.dynamodb import CONFLICT_PAUSES, DynamoDBStore, batches
from dynmemo.stores.dynamodb.connection import Names
from tests.proxy import LoseAnswer, Rewrite, denied, error

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.proxy import Proxy

NAMES = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}


@pytest.fixture
def store(dynamodb_table: str, own_client: DynamoDBClient) -> DynamoDBStore:
    """Straight to the engine."""
    return DynamoDBStore(dynamodb_table, **NAMES, client_factory=lambda: own_client)  # type: ignore[arg-type]


@pytest.fixture
def proxied(dynamodb_table: str, proxy: Proxy) -> DynamoDBStore:
    return DynamoDBStore(dynamodb_table, **NAMES, endpoint_url=proxy.endpoint)  # type: ignore[arg-type]


def existing(store: DynamoDBStore, key: str) -> Item:
    item = store.read(key, consistent=True)
    assert item is not None
    return item


# --- counting ---


def test_every_operation_is_one_request_on_the_wire(proxied: DynamoDBStore, proxy: Proxy) -> None:
    meter = Meter()
    store = proxied.metered(meter)
    store.write("k", Item(b"v", 1_000, fn="f"))
    seen = existing(store, "k")
    assert store.touch("k", seen, 1_001)
    assert store.renew("k", seen.etag or "", 1_002)
    assert isinstance(store.write("k", Item(), Expect()), Refused)
    store.read_many([f"k{n}" for n in range(100)])
    list(store.scan())
    store.remove("k")
    assert proxy.counts == {
        "PutItem": 2,
        "GetItem": 1,
        "UpdateItem": 2,
        "BatchGetItem": 1,
        "Scan": 1,
        "DeleteItem": 1,
    }
    assert meter.requests == len(proxy.requests) == 8


def test_one_request_per_hit_by_botocores_own_count(dynamodb_table: str, dynamodb_endpoint: str) -> None:
    from dynmemo.stores.dynamodb import connection

    client = connection.own("dynamodb", None, None, dynamodb_endpoint, None)(connection.QUICK)
    sent: list[str] = []
    client.meta.events.register(
        "before-send.dynamodb", lambda event_name, **_: sent.append(event_name.rpartition(".")[2])
    )
    store = DynamoDBStore(dynamodb_table, client=client)
    store.write("k", Item(b"v"))
    for _ in range(3):
        assert existing(store, "k").value == b"v"
    assert sent == ["DescribeTable", "DescribeTimeToLive", "PutItem", "GetItem", "GetItem", "GetItem"]


def test_retries_of_the_sdk_are_counted(proxied: DynamoDBStore, proxy: Proxy) -> None:
    proxy.breaks("GetItem", error("InternalServerError", status=500), times=2)
    meter = Meter()
    assert proxied.metered(meter).read("k") is None
    assert meter.requests == len(proxy.requests) == 3


def test_requests_that_fail_are_counted(proxied: DynamoDBStore, proxy: Proxy) -> None:
    proxy.breaks("GetItem", error("InternalServerError", status=500))
    meter = Meter()
    with pytest.raises(StoreUnavailableError):
        proxied.metered(meter).read("k")
    assert meter.requests == len(proxy.requests) == 3


@pytest.mark.parametrize(
    ("act", "read_units", "write_units"),
    [
        (lambda store, item: store.read("k"), 3, 0),
        (lambda store, item: store.read_many(["k"]), 3, 0),
        (lambda store, item: list(store.scan()), 1.5, 0),
        (lambda store, item: store.write("k", item), 0, 10),
        (lambda store, item: store.touch("k", item, 1_001), 0, 10),
        (lambda store, item: store.remove("k"), 0, 10),
        (lambda store, item: store.write("lease", Item(ttl_date=1, lease_owner="me", lease_beat=0), Expect()), 0, 1),
        (lambda store, item: store.read("absent"), 1, 0),
    ],
    ids=["read", "read_many", "scan", "write", "touch", "remove", "claim", "miss"],
)
def test_capacity_is_counted_as_dynamodb_bills_it(
    store: DynamoDBStore, act: Callable[[DynamoDBStore, Item], object], read_units: float, write_units: float
) -> None:
    store.write("k", Item(bytes(10_000), 1_000, fn="f"))
    meter = Meter()
    act(store.metered(meter), existing(store, "k"))
    assert (meter.requests, meter.read_units, meter.write_units) == (1, read_units, write_units)


@pytest.mark.parametrize(
    ("use_consistent_reads", "consistent", "units"), [(True, False, 3), (False, False, 1.5), (False, True, 3)]
)
def test_eventually_consistent_reads_cost_half(
    dynamodb_table: str, own_client: DynamoDBClient, use_consistent_reads: bool, consistent: bool, units: float
) -> None:
    meter = Meter()
    store = DynamoDBStore(
        dynamodb_table, use_consistent_reads=use_consistent_reads, client_factory=lambda: own_client
    ).metered(meter)
    store.write("k", Item(bytes(10_000)))
    assert store.read("k", consistent=consistent) is not None
    assert meter.read_units == units


def test_finding_the_table_is_not_charged_to_the_first_caller(dynamodb_table: str, own_client: DynamoDBClient) -> None:
    meter = Meter()
    DynamoDBStore(dynamodb_table, client_factory=lambda: own_client).metered(meter).read("k")
    assert meter.requests == 1


# --- lost answers ---


@pytest.mark.parametrize("expect", [None, Expect()], ids=["put", "claim"])
def test_a_write_whose_answer_was_lost_counts_as_written(
    proxied: DynamoDBStore, proxy: Proxy, expect: Expect | None
) -> None:
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    answer = proxied.write("k", Item(b"v"), expect)
    assert proxy.counts["PutItem"] == 2
    assert answer == Written(existing(proxied, "k").etag or "")


def test_a_take_over_whose_answer_was_lost_counts_as_written(proxied: DynamoDBStore, proxy: Proxy) -> None:
    proxied.write("k", Item(lease_owner="them", lease_beat=0))
    seen = existing(proxied, "k")
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    answer = proxied.write("k", Item(lease_owner="me", lease_beat=0), Expect.seen(seen))
    now = existing(proxied, "k")
    assert (answer, now.lease_owner) == (Written(now.etag or ""), "me")


def test_a_refusal_whose_answer_was_lost_stays_one(proxied: DynamoDBStore, proxy: Proxy) -> None:
    proxied.write("k", Item(b"theirs"))
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    assert proxied.write("k", Item(b"ours"), Expect()) == Refused(existing(proxied, "k"))


def test_a_connection_that_the_server_closed_costs_a_retry_at_most(proxied: DynamoDBStore, proxy: Proxy) -> None:
    proxied.write("k", Item(b"v"))
    proxy.disconnect()
    assert existing(proxied, "k").value == b"v"
    assert proxy.counts["GetItem"] <= 2


# --- batches ---


def test_rows_beyond_the_16_mb_of_one_answer_are_fetched_too(store: DynamoDBStore) -> None:
    keys = [f"k{n}" for n in range(50)]
    for key in keys:
        store.write(key, Item(bytes(400_000)))
    meter = Meter()
    found = store.metered(meter).read_many(keys)
    assert sorted(found) == sorted(keys)
    assert {len(item.value or b"") for item in found.values()} == {400_000}
    assert meter.requests == 2


def nothing_done(answer: dict[str, Any]) -> dict[str, Any]:
    """BatchGetItem's answer where the table throttles."""
    (table, got), *_ = answer["Responses"].items()
    keys = [{"id": row["id"]} for row in got]
    return {"Responses": {table: []}, "UnprocessedKeys": {table: {"Keys": keys, "ConsistentRead": True}}}


def test_unprocessed_keys_are_asked_for_again(proxied: DynamoDBStore, proxy: Proxy) -> None:
    for key in "abc":
        proxied.write(key, Item(b"v"))
    proxy.breaks("BatchGetItem", Rewrite(nothing_done), times=2)
    assert sorted(proxied.read_many(["a", "b", "c", "absent"])) == ["a", "b", "c"]
    assert proxy.counts["BatchGetItem"] == 3


def test_a_batch_that_brings_nothing_again_and_again_counts_as_throttled(
    proxied: DynamoDBStore, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "IDLE_TRIES", 2)
    proxied.write("k", Item(b"v"))
    proxy.breaks("BatchGetItem", Rewrite(nothing_done))
    with pytest.raises(StoreUnavailableError, match="throttles") as caught:
        proxied.read_many(["k"])
    assert proxy.counts["BatchGetItem"] == 3
    assert (caught.value.operation, caught.value.code) == ("BatchGetItem", "UnprocessedKeys")


def test_without_permission_for_batches_rows_are_read_one_by_one_from_then_on(
    proxied: DynamoDBStore, proxy: Proxy
) -> None:
    for key in "abc":
        proxied.write(key, Item(key.encode()))
    proxy.breaks("BatchGetItem", denied("BatchGetItem"))
    for _ in range(2):
        found = proxied.metered(Meter()).read_many(["a", "b", "c", "absent"])
        assert {key: item.value for key, item in found.items()} == {"a": b"a", "b": b"b", "c": b"c"}
    assert (proxy.counts["BatchGetItem"], proxy.counts["GetItem"]) == (1, 8)


def test_several_batches_are_asked_for_at_once() -> None:
    both = threading.Barrier(2)

    def call(method: str, key: str | None, *, RequestItems: dict[str, Any]) -> dict[str, Any]:
        both.wait(60)
        return {"Responses": {"t": RequestItems["t"]["Keys"]}}

    connection: Any = SimpleNamespace(denied=set())
    keys = [f"{n}" for n in range(200)]
    found = batches.Batches(call, connection, "t", Names("id", "ttl_date")).get(keys, consistent=True)
    assert [row["id"]["S"] for row in found] == keys


def test_another_failure_of_a_batch_is_one(proxied: DynamoDBStore, proxy: Proxy) -> None:
    proxy.breaks("BatchGetItem", error("ValidationException", "no"))
    with pytest.raises(StoreUnavailableError, match="BatchGetItem"):
        proxied.read_many(["k"])
    assert proxy.counts["GetItem"] == 0


def test_a_scan_asks_for_no_values(proxied: DynamoDBStore, proxy: Proxy) -> None:
    proxied.write("k", Item(b"v", fn="f"))
    assert [key for key, _ in proxied.scan()] == ["k"]
    request = proxy.requests[-1].body
    projected = {request["ExpressionAttributeNames"][name] for name in request["ProjectionExpression"].split(", ")}
    assert "value" not in projected
    assert {"id", "ttl_date", "fn", "gen", "etag", "parts"} <= projected


# --- others that write the same row ---

CONFLICTS = ["TransactionConflictException", "ReplicatedWriteConflictException"]


def write(store: DynamoDBStore) -> bool:
    return isinstance(store.write("k", Item(b"new"), Expect.seen(store.read("k"))), Written)


@pytest.mark.parametrize("code", CONFLICTS)
@pytest.mark.parametrize(
    ("operation", "act"),
    [
        ("PutItem", write),
        ("UpdateItem", lambda store: store.touch("k", existing(store, "k"), 2_000)),
        ("UpdateItem", lambda store: store.renew("k", existing(store, "k").etag or "", 2_000)),
        ("DeleteItem", lambda store: store.remove("k")),
    ],
    ids=["write", "touch", "renew", "remove"],
)
def test_what_met_another_write_of_its_row_is_tried_again(
    proxied: DynamoDBStore, proxy: Proxy, code: str, operation: str, act: Callable[[DynamoDBStore], bool]
) -> None:
    proxied.write("k", Item(b"v", 1_000))
    meter, before = Meter(), proxy.counts
    proxy.breaks(operation, error(code, "try again"), times=2)
    assert act(proxied.metered(meter))
    assert proxy.counts[operation] - before[operation] == 3
    assert meter.requests == (proxy.counts - before).total()


@pytest.mark.parametrize("code", CONFLICTS)
def test_so_is_a_batch(proxied: DynamoDBStore, proxy: Proxy, code: str) -> None:
    proxy.breaks("BatchWriteItem", error(code, "try again"), times=2)
    assert isinstance(proxied.write("k", Item(bytes(1_000_000))), Written)
    assert existing(proxied, "k").value == bytes(1_000_000)


@pytest.mark.parametrize("code", CONFLICTS)
def test_a_row_that_others_never_let_go_is_a_failure(proxied: DynamoDBStore, proxy: Proxy, code: str) -> None:
    proxy.breaks("PutItem", error(code, "in AWS's words"))
    with pytest.raises(StoreUnavailableError, match=r"try again.*in AWS's words") as caught:
        proxied.write("k", Item(b"v"))
    assert caught.value.code == code
    # botocore's later releases try some of them again by themselves, three times in all.
    assert 3 <= proxy.counts["PutItem"] <= 1 + len(CONFLICT_PAUSES)
