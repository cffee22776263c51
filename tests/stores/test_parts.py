"""Values too large for one item: what is written, what is read, and what is left when something is missing."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynmemo import parts as of
from dynmemo.counters import Meter
from dynmemo.errors import StoreUnavailableError, ValueTooLargeError
from dynmemo.item import LATEST_TIME, Expect, Item, Parts, Refused, Written
from dynmemo.stores.dynamodb import DynamoDBStore, batches, rows
from tests.proxy import LoseAnswer, Rewrite, denied, error

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.proxy import Fault, Proxy

DAY = 86_400
WEEK = 7 * DAY
NAMES = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}

OLD = random.Random(1).randbytes(1_000_000)
NEW = random.Random(2).randbytes(5_000_000)
"""Three parts, and thirteen: two requests."""


@pytest.fixture
def store(dynamodb_table: str, bulk_client: DynamoDBClient) -> DynamoDBStore:
    """Straight to the engine."""
    return DynamoDBStore(dynamodb_table, **NAMES, client_factory=lambda: bulk_client, copies_max_bytes=0)  # type: ignore[arg-type]


@pytest.fixture
def proxied(dynamodb_table: str, proxy: Proxy) -> DynamoDBStore:
    return DynamoDBStore(dynamodb_table, **NAMES, endpoint_url=proxy.endpoint, copies_max_bytes=0)  # type: ignore[arg-type]


@pytest.fixture
def table(dynamodb_client: DynamoDBClient, dynamodb_table: str) -> Table:
    return Table(dynamodb_client, dynamodb_table)


class Table:
    """The table as it lies there."""

    def __init__(self, client: DynamoDBClient, name: str) -> None:
        self._client: Any = client
        self._name = name

    def rows(self) -> dict[str, dict[str, Any]]:
        pages = self._client.get_paginator("scan").paginate(TableName=self._name, ConsistentRead=True)
        return {row["id"]["S"]: row for page in pages for row in page["Items"]}

    def part_keys(self) -> list[str]:
        return sorted(key for key in self.rows() if of.owner(key))

    def delete(self, key: str) -> None:
        self._client.delete_item(TableName=self._name, Key={"id": {"S": key}})

    def put(self, row: dict[str, Any]) -> None:
        self._client.put_item(TableName=self._name, Item=row)


def put(store: DynamoDBStore, item: Item, expect: Expect | None = None) -> str:
    answer = store.write("k", item, expect)
    assert isinstance(answer, Written), answer
    return answer.etag


def existing(store: DynamoDBStore) -> Item:
    item = store.read("k")
    assert item is not None
    return item


# --- writing and reading ---


@pytest.mark.parametrize("length", [409_600, 819_001, 5_000_000])
def test_a_value_too_large_for_one_item_comes_back_whole(store: DynamoDBStore, length: int) -> None:
    value = random.Random(length).randbytes(length)
    item = Item(value, 1_800_000_000, 1_800_000_000, fn="f", gen="g")
    etag = put(store, item)
    read = existing(store)
    assert read == item._replace(etag=etag, parts=read.parts)
    assert read.parts is not None
    assert read.parts.length == length
    assert store.read_many(["k", "absent"]) == {"k": read}


@pytest.mark.parametrize("threads", [0, 1])
def test_where_too_few_threads_can_be_started_parts_come_with_those(
    store: DynamoDBStore, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    left, start = list(range(threads)), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't create new thread at interpreter shutdown")
        left.pop()
        start(thread)

    store.write("k", Item(NEW))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    row = store.read("k")
    assert row is not None
    assert row.value is not None
    assert bytes(row.value) == NEW


def test_only_what_does_not_fit_is_split(store: DynamoDBStore, table: Table) -> None:
    taken = rows.size({"id": {"S": "dc:k"}, **rows.encode(Item(b""), "ttl_date", "0" * 16)})
    put(store, Item(bytes(rows.LARGEST_ROW - taken)))
    assert table.part_keys() == []
    put(store, Item(bytes(rows.LARGEST_ROW - taken + 1)))
    assert len(table.part_keys()) == 2


def test_parts_are_filled_and_the_row_comes_last(proxied: DynamoDBStore, proxy: Proxy, table: Table) -> None:
    put(proxied, Item(NEW, 1_800_000_000, 1_800_000_000, fn="f"))
    assert [request.operation for request in proxy.requests] == ["BatchWriteItem", "BatchWriteItem", "PutItem"]
    sizes = sorted(rows.size(row) for key, row in table.rows().items() if of.owner(key))
    assert len(sizes) == -(-len(NEW) // 409_600)
    assert all(rows.LARGEST_ROW - 5 < size <= rows.LARGEST_ROW for size in sizes[1:])


def test_a_part_carries_the_function_and_lives_a_day_longer_than_its_row(store: DynamoDBStore, table: Table) -> None:
    put(store, Item(OLD, 1_800_000_000, 1_800_000_000, fn="f"))
    parts = existing(store).parts
    assert parts is not None
    row = table.rows()[f"dc:k#{parts.write_id}#0"]
    del row["value"]
    null = {"NULL": True}
    assert row == {
        "id": {"S": f"dc:k#{parts.write_id}#0"},
        "ttl_date": {"N": str(1_800_000_000 + DAY)},
        "ttl_deadline": null,
        "ttl_window": null,
        "etag": {"S": parts.write_id},
        "fn": {"S": "f"},
    }


def test_other_programs_see_a_row_without_value(store: DynamoDBStore, table: Table) -> None:
    put(store, Item(OLD))
    row = table.rows()["dc:k"]
    assert "value" not in row
    assert set(row["parts"]["M"]) == {"write_id", "count", "length", "digest"}


def test_a_refused_write_gets_the_standing_value_whole_and_takes_its_parts_along(
    store: DynamoDBStore, table: Table
) -> None:
    put(store, Item(OLD))
    before = table.part_keys()
    assert store.write("k", Item(NEW), Expect()) == Refused(existing(store))
    assert existing(store).value == OLD
    assert table.part_keys() == before


def test_a_claim_over_a_split_row_is_refused_with_its_whole_value(store: DynamoDBStore) -> None:
    put(store, Item(OLD))
    answer = store.write("k", Item(lease_owner="me"), Expect("another"))
    assert isinstance(answer, Refused)
    assert answer.row is not None
    assert answer.row.value == OLD


def test_every_write_has_a_write_id_of_its_own(store: DynamoDBStore) -> None:
    ids = set()
    for _ in range(3):
        put(store, Item(OLD))
        parts = existing(store).parts
        assert parts is not None
        ids.add(parts.write_id)
    assert len(ids) == 3


def test_a_key_that_leaves_no_room_for_those_of_parts_is_refused(store: DynamoDBStore, table: Table) -> None:
    store.write("x" * 2_018, Item(OLD))
    with pytest.raises(ValueTooLargeError, match="1 bytes too long"):
        store.write("x" * 2_019, Item(OLD))
    assert len(table.part_keys()) == 3


def test_a_scan_tells_parts_from_rows(store: DynamoDBStore) -> None:
    put(store, Item(OLD, fn="f"))
    parts = existing(store).parts
    assert parts is not None
    found = dict(store.scan())
    assert [item.parts for key, item in found.items() if of.owner(key) is None] == [parts]
    assert {of.owner(key) for key in found if key != "k"} == {("k", parts.write_id)}
    assert len(found) == 1 + parts.count


# --- what it costs ---


def test_writing_and_reading_cost_no_more_than_the_parts_and_the_row(store: DynamoDBStore) -> None:
    writes, reads = Meter(), Meter()
    store.metered(writes).write("k", Item(NEW, 1_800_000_000, 1_800_000_000))
    store.metered(reads).read("k")
    least = -(-len(NEW) // 1_024) + 1
    assert least <= writes.write_units <= least + 5
    assert writes.requests == 3
    # Parts are read the cheap way, at half a unit per 4 KB, though the store reads consistently.
    assert reads.read_units == pytest.approx(len(NEW) / 8_192 + 1, abs=8)
    assert reads.requests == 3


def test_a_look_that_may_be_behind_reads_the_row_alone(store: DynamoDBStore) -> None:
    put(store, Item(NEW))
    meter = Meter()
    row = store.metered(meter).eventual().read("k")
    assert row is not None
    assert row.parts == existing(store).parts
    assert row.value is None
    assert (meter.requests, meter.read_units) == (1, 0.5)


def test_touching_and_renewing_cost_one_unit_whatever_the_size(store: DynamoDBStore) -> None:
    etag = put(store, Item(NEW, 1_000, 9_000, "00:10:00", lease_beat=0))
    meter = Meter()
    assert store.metered(meter).touch("k", existing(store), 2_000)
    assert store.metered(meter).renew("k", etag, 3_000)
    assert (meter.requests, meter.write_units) == (2, 2)
    assert existing(store).value == NEW


# --- lifetimes ---


def test_a_split_entry_that_slides_without_end_gets_a_deadline(store: DynamoDBStore, table: Table) -> None:
    put(store, Item(OLD, 1_800_003_600, None, "01:00:00"))
    row = existing(store)
    assert row.ttl_deadline == 1_800_000_000 + WEEK
    assert {int(table.rows()[key]["ttl_date"]["N"]) for key in table.part_keys()} == {row.ttl_deadline + DAY}


def test_a_small_entry_that_slides_without_end_gets_none(store: DynamoDBStore) -> None:
    put(store, Item(b"v", 1_800_003_600, None, "01:00:00"))
    assert existing(store).ttl_deadline is None


@pytest.mark.parametrize(
    ("row", "deadline", "parts"),
    [
        (Item(), None, None),
        (Item(ttl_date=1_000, ttl_deadline=1_000), 1_000, 1_000 + DAY),
        (Item(ttl_date=1_090, ttl_window="00:01:30"), 1_000 + WEEK, 1_000 + WEEK + DAY),
        (Item(ttl_date=1_000 + DAY, ttl_window="1.00:00:00"), 1_000 + 30 * DAY, 1_000 + 31 * DAY),
        (Item(ttl_date=1_090, ttl_deadline=5_000, ttl_window="00:01:30"), 5_000, 5_000 + DAY),
        (Item(ttl_date=LATEST_TIME, ttl_deadline=LATEST_TIME), LATEST_TIME, LATEST_TIME),
        (Item(ttl_date=LATEST_TIME, ttl_window="1.00:00:00"), LATEST_TIME, LATEST_TIME),
    ],
    ids=["never", "ttl", "sliding", "a long window", "both", "latest", "sliding into the latest"],
)
def test_parts_outlive_the_furthest_that_their_row_can(row: Item, deadline: int | None, parts: int | None) -> None:
    dated = of.with_deadline(row)
    assert dated.ttl_deadline == deadline
    assert of.ttl_date(dated) == parts


# --- what is deleted with a row ---


@pytest.mark.parametrize("ttl_date", [None, 1_800_000_000])
def test_removing_a_split_row_deletes_its_parts(store: DynamoDBStore, table: Table, ttl_date: int | None) -> None:
    put(store, Item(NEW, ttl_date, ttl_date))
    assert store.remove("k")
    assert table.rows() == {}


def test_a_removal_that_is_refused_leaves_the_parts(store: DynamoDBStore) -> None:
    put(store, Item(OLD))
    assert not store.remove("k", Expect("another"))
    assert existing(store).value == OLD


@pytest.mark.parametrize("new", [NEW, b"small", None], ids=["split", "small", "lease"])
def test_overwriting_a_split_row_without_ttl_deletes_its_parts(
    store: DynamoDBStore, table: Table, new: bytes | None
) -> None:
    put(store, Item(OLD))
    before = set(table.part_keys())
    put(store, Item(new), Expect.seen(existing(store)))
    assert before
    assert not before.intersection(table.part_keys())
    assert existing(store).value == new


def test_overwriting_a_split_row_with_ttl_leaves_its_parts_to_the_engine_which_deletes_for_nothing(
    store: DynamoDBStore,
) -> None:
    put(store, Item(NEW, 1_800_000_000, 1_800_000_000))
    meter = Meter()
    store.metered(meter).write("k", Item(lease_owner="me"))
    assert (meter.requests, meter.write_units) == (1, 1)


# --- parts that are missing, foreign or damaged ---


def test_without_any_one_of_its_parts_a_row_is_a_miss(store: DynamoDBStore, table: Table) -> None:
    etag = put(store, Item(OLD))
    parts = existing(store).parts
    whole = table.rows()
    for key in table.part_keys():
        table.delete(key)
        assert store.read("k") == Item(etag=etag, parts=parts)
        assert store.read_many(["k"]) == {"k": Item(etag=etag, parts=parts)}
        table.put(whole[key])
        assert existing(store).value == OLD


@pytest.mark.parametrize("damage", ["a flipped byte", "shorter", "no value", "swapped", "of another write"])
def test_a_part_that_is_not_the_one_written_is_a_miss(store: DynamoDBStore, table: Table, damage: str) -> None:
    put(store, Item(OLD))
    whole = table.rows()
    first, second, _ = keys = table.part_keys()
    value = whole[first]["value"]["B"]
    changed: dict[str, dict[str, Any]] = {
        "a flipped byte": {first: {"B": bytes([value[0] ^ 1]) + value[1:]}},
        "shorter": {first: {"B": value[:-1]}},
        "no value": {first: {"NULL": True}},
        "swapped": {first: whole[second]["value"], second: whole[first]["value"]},
        "of another write": {key: {"B": bytes(len(whole[key]["value"]["B"]))} for key in keys},
    }[damage]
    for key, attribute in changed.items():
        table.put({**whole[key], "value": attribute})
    row = existing(store)
    assert row.value is None
    assert row.parts is not None


@pytest.mark.parametrize(
    "nonsense",
    [
        Parts("w", 10**9, 10**9, bytes(32)),
        Parts("w", 0, 0, b""),
        Parts("w", -1, -1, b""),
        Parts("w", 1, 10**15, b""),
        Parts("", 3, 10**6, b""),
    ],
    ids=repr,
)
def test_a_row_that_points_to_nonsense_is_a_miss_and_can_be_removed(store: DynamoDBStore, nonsense: Parts) -> None:
    put(store, Item(parts=nonsense))
    assert existing(store).value is None
    assert store.remove("k")
    assert store.read("k") is None


def test_a_row_replaced_while_it_was_read_is_read_once_more(
    proxied: DynamoDBStore, proxy: Proxy, store: DynamoDBStore
) -> None:
    put(store, Item(OLD))

    def replaced_meanwhile(answer: dict[str, Any]) -> dict[str, Any]:
        put(store, Item(NEW))  # deletes the old parts
        return answer

    proxy.breaks("GetItem", Rewrite(replaced_meanwhile), times=1)
    assert existing(proxied).value == NEW
    assert proxy.counts["GetItem"] == 2


def test_a_row_removed_while_it_was_read_is_absent(proxied: DynamoDBStore, proxy: Proxy, store: DynamoDBStore) -> None:
    put(store, Item(OLD))

    def removed_meanwhile(answer: dict[str, Any]) -> dict[str, Any]:
        store.remove("k")
        return answer

    proxy.breaks("GetItem", Rewrite(removed_meanwhile), times=1)
    assert proxied.read("k") is None


def test_parts_that_the_cheap_read_does_not_see_yet_are_read_consistently(proxied: DynamoDBStore, proxy: Proxy) -> None:
    put(proxied, Item(OLD))

    def not_yet(answer: dict[str, Any]) -> dict[str, Any]:
        (table,) = answer["Responses"]
        return {**answer, "Responses": {table: answer["Responses"][table][1:]}}

    proxy.breaks("BatchGetItem", Rewrite(not_yet), times=1)
    assert existing(proxied).value == OLD
    asked = [request.body["RequestItems"] for request in proxy.requests if request.operation == "BatchGetItem"]
    assert [request["ConsistentRead"] for (request,) in (items.values() for items in asked)] == [False, True]


# --- throttling, permissions, lost answers ---


def undone(answer: dict[str, Any], left: list[dict[str, Any]]) -> dict[str, Any]:
    return {**answer, "UnprocessedItems": {"any": left}}


def test_items_that_were_left_undone_are_written_again(proxied: DynamoDBStore, proxy: Proxy) -> None:
    def first_undone(answer: dict[str, Any]) -> dict[str, Any]:
        ((_, requests),) = proxy.requests[-1].body["RequestItems"].items()
        return undone(answer, requests[:1])

    proxy.breaks("BatchWriteItem", Rewrite(first_undone), times=2)
    put(proxied, Item(OLD))
    assert existing(proxied).value == OLD
    asked = [next(iter(r.body["RequestItems"].values())) for r in proxy.requests if r.operation == "BatchWriteItem"]
    assert [len(requests) for requests in asked] == [3, 1, 1]


@pytest.mark.parametrize("fault", ["undone", "refused"])
def test_a_table_that_does_nothing_at_all_fails_after_some_tries(
    proxied: DynamoDBStore, proxy: Proxy, table: Table, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def all_undone(answer: dict[str, Any]) -> dict[str, Any]:
        return undone(answer, next(iter(proxy.requests[-1].body["RequestItems"].values())))

    monkeypatch.setattr(batches, "IDLE_TRIES", 2)
    throttled = error("ProvisionedThroughputExceededException")
    proxy.breaks("BatchWriteItem", Rewrite(all_undone) if fault == "undone" else throttled)
    with pytest.raises(StoreUnavailableError, match="throttles") as caught:
        proxied.write("k", Item(OLD))
    assert (caught.value.operation, caught.value.code) == ("BatchWriteItem", "UnprocessedItems")
    assert proxy.counts["BatchWriteItem"] == 3
    assert "dc:k" not in table.rows()


def test_throttling_that_ends_costs_time_only(proxied: DynamoDBStore, proxy: Proxy) -> None:
    throttled = error("ProvisionedThroughputExceededException")
    proxy.breaks("BatchWriteItem", throttled, times=3)
    put(proxied, Item(OLD))
    proxy.breaks("BatchGetItem", throttled, times=3)
    assert existing(proxied).value == OLD
    assert (proxy.counts["BatchWriteItem"], proxy.counts["BatchGetItem"]) == (4, 4)


def test_without_permission_for_batches_parts_go_one_by_one_from_then_on(
    proxied: DynamoDBStore, proxy: Proxy, table: Table
) -> None:
    for operation in ("BatchWriteItem", "BatchGetItem"):
        proxy.breaks(operation, denied(operation))
    for value in (OLD, OLD[::-1]):
        put(proxied.metered(Meter()), Item(value))
        assert existing(proxied).value == value
    assert proxied.remove("k")
    assert table.rows() == {}
    assert proxy.counts == {
        "BatchWriteItem": 1,
        "BatchGetItem": 1,
        "PutItem": 8,
        "GetItem": 8,
        "DeleteItem": 7,
    }


@pytest.mark.parametrize(
    ("operation", "fault"),
    [("PutItem", denied("PutItem")), ("PutItem", error("ValidationException", "Item size has exceeded"))],
    ids=["denied", "too large"],
)
def test_a_row_that_is_not_accepted_takes_its_parts_along(
    proxied: DynamoDBStore, proxy: Proxy, table: Table, operation: str, fault: Fault
) -> None:
    proxy.breaks(operation, fault)
    with pytest.raises((StoreUnavailableError, ValueTooLargeError)):
        proxied.write("k", Item(OLD))
    assert table.rows() == {}


def test_a_row_whose_every_answer_was_lost_keeps_its_parts(
    proxied: DynamoDBStore, proxy: Proxy, store: DynamoDBStore
) -> None:
    proxy.breaks("PutItem", LoseAnswer())
    with pytest.raises(StoreUnavailableError):
        proxied.write("k", Item(OLD))
    assert existing(store).value == OLD


@pytest.mark.parametrize("expect", [None, Expect()], ids=["put", "claim"])
def test_a_split_write_whose_answer_was_lost_once_keeps_its_parts(
    proxied: DynamoDBStore, proxy: Proxy, expect: Expect | None
) -> None:
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    proxy.breaks("BatchWriteItem", LoseAnswer(), times=1)
    put(proxied, Item(OLD), expect)
    assert existing(proxied).value == OLD


def test_parts_that_cannot_be_deleted_do_not_fail_the_removal(
    proxied: DynamoDBStore, proxy: Proxy, table: Table
) -> None:
    put(proxied, Item(OLD))
    proxy.breaks("BatchWriteItem", error("ValidationException", "no"))
    assert proxied.remove("k")
    assert proxied.read("k") is None
    assert len(table.part_keys()) == 3


# --- pure ---


@given(st.binary(min_size=1, max_size=3_000), st.integers(1, 500))
def test_what_is_cut_joins_again(value: bytes, size: int) -> None:
    parts = of.cut(value, "w", size)
    pieces = [value[n * size : (n + 1) * size] for n in range(parts.count)]
    assert all(pieces)
    assert of.join(pieces, parts) == value
    assert of.join(pieces[:-1], parts) is None
    assert of.join([*pieces[:-1], None], parts) is None
    assert of.join([*pieces, b""], parts) is None


@given(st.text(min_size=1), st.integers(0, 2**32 - 1), st.integers(0, 10_000))
def test_the_key_of_a_part_tells_its_row_and_when_its_write_began(key: str, second: int, n: int) -> None:
    write_id = of.new_write_id(second + 0.5)
    assert of.owner(of.part_key(key, write_id, n)) == (key, write_id)
    assert of.began_at(write_id) == second


@pytest.mark.parametrize("key", ["k", "k#gen", "k#lease", "f:1:2", "k#w#0", f"k#{'0' * 24}#", f"#{'0' * 24}#0"])
def test_other_keys_are_of_no_part(key: str) -> None:
    assert of.owner(key) is None
    assert of.began_at(key) is None
