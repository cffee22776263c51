"""What lies in the table: what we write attribute by attribute, and what we make of others' rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynmemo.counters import Meter
from dynmemo.errors import ValueTooLargeError
from dynmemo.item import LATEST_TIME, Expect, Item, Parts, Refused, Written
from dynmemo.stores.dynamodb import DynamoDBStore, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    PutRow = Callable[..., None]
    ReadRow = Callable[[], dict[str, Any]]

NULL = {"NULL": True}
DOTNET = {"value": {"B": b"v"}, "ttl_date": NULL, "ttl_deadline": NULL, "ttl_window": NULL}
"""The attributes that the .NET provider writes on every set, of an entry that never expires."""


@pytest.fixture
def store(dynamodb_table: str, own_client: DynamoDBClient) -> DynamoDBStore:
    return DynamoDBStore(dynamodb_table, client_factory=lambda: own_client)


@pytest.fixture
def put_row(dynamodb_client: DynamoDBClient, dynamodb_table: str) -> PutRow:
    """Puts a row under the key `k` as the given attributes say."""

    def put(**attributes: Any) -> None:
        dynamodb_client.put_item(TableName=dynamodb_table, Item={"id": {"S": "dc:k"}, **attributes})

    return put


@pytest.fixture
def read_row(dynamodb_client: DynamoDBClient, dynamodb_table: str) -> ReadRow:
    return lambda: dict(dynamodb_client.get_item(TableName=dynamodb_table, Key={"id": {"S": "dc:k"}})["Item"])


def written(store: DynamoDBStore, item: Item, expect: Expect | None = None) -> str:
    answer = store.write("k", item, expect)
    assert isinstance(answer, Written), answer
    return answer.etag


# --- what we write ---


def test_an_entry_that_never_expires_has_the_five_attributes_and_an_etag(
    store: DynamoDBStore, read_row: ReadRow
) -> None:
    etag = written(store, Item(b"bytes"))
    assert read_row() == {
        "id": {"S": "dc:k"},
        "value": {"B": b"bytes"},
        "ttl_date": NULL,
        "ttl_deadline": NULL,
        "ttl_window": NULL,
        "etag": {"S": etag},
    }


def test_an_entry_of_a_function_with_all_times_has_their_types(store: DynamoDBStore, read_row: ReadRow) -> None:
    item = Item(b"", 1_800_000_090, 1_800_003_600, "00:01:30", fn="weather.forecast", gen="7f.83", stale_for=60)
    etag = written(store, item)
    assert read_row() == {
        "id": {"S": "dc:k"},
        "value": {"B": b""},
        "ttl_date": {"N": "1800000090"},
        "ttl_deadline": {"N": "1800003600"},
        "ttl_window": {"S": "00:01:30"},
        "etag": {"S": etag},
        "fn": {"S": "weather.forecast"},
        "gen": {"S": "7f.83"},
        "stale_for": {"N": "60"},
    }


def test_a_lease_has_no_value(store: DynamoDBStore, read_row: ReadRow) -> None:
    item = Item(
        ttl_date=1_800_000_000,
        fn="f",
        gen="g",
        lease_owner="host:1",
        lease_seconds=30.5,
        lease_beat=0,
        no_store="large",
    )
    etag = written(store, item)
    assert store.renew("k", etag, 1_800_000_010)
    assert read_row() == {
        "id": {"S": "dc:k"},
        "ttl_date": {"N": "1800000010"},
        "ttl_deadline": NULL,
        "ttl_window": NULL,
        "etag": {"S": etag},
        "fn": {"S": "f"},
        "gen": {"S": "g"},
        "lease_owner": {"S": "host:1"},
        "lease_seconds": {"N": "30.5"},
        "lease_beat": {"N": "1"},
        "no_store": {"S": "large"},
    }


def test_a_split_entry_has_parts_and_no_value(store: DynamoDBStore, read_row: ReadRow) -> None:
    written(store, Item(parts=Parts("w1", 3, 1_000_000, b"\x00\x01"), fn="f"))
    row = read_row()
    assert "value" not in row
    assert row["parts"] == {
        "M": {"write_id": {"S": "w1"}, "count": {"N": "3"}, "length": {"N": "1000000"}, "digest": {"B": b"\x00\x01"}}
    }


def test_a_touch_writes_a_number_and_nothing_else(store: DynamoDBStore, put_row: PutRow, read_row: ReadRow) -> None:
    put_row(**{**DOTNET, "ttl_date": {"N": "1000"}, "ttl_window": {"S": "00:01:30"}, "tenant": {"S": "blue"}})
    before = read_row()
    seen = store.read("k")
    assert seen is not None
    assert store.touch("k", seen, 1_090)
    assert read_row() == {**before, "ttl_date": {"N": "1090"}}


# --- what others wrote ---


@pytest.mark.parametrize(
    ("attributes", "item"),
    [
        ({}, Item(b"v")),
        (
            {"ttl_date": {"N": "1800000000"}, "ttl_deadline": {"N": "1800000000"}},
            Item(b"v", 1_800_000_000, 1_800_000_000),
        ),
        (
            {"ttl_date": {"N": "1800000090"}, "ttl_window": {"S": "00:01:30"}},
            Item(b"v", 1_800_000_090, None, "00:01:30"),
        ),
        (
            {"ttl_date": {"N": "5"}, "ttl_deadline": {"N": "9"}, "ttl_window": {"S": "1.12:00:00"}},
            Item(b"v", 5, 9, "1.12:00:00"),
        ),
        ({"other": {"M": {"a": {"L": [{"BOOL": True}]}}}, "fnord": {"SS": ["x"]}}, Item(b"v")),
    ],
    ids=["no expiry", "absolute", "sliding", "both", "attributes of others"],
)
def test_rows_of_the_net_provider_are_read(
    store: DynamoDBStore, put_row: PutRow, attributes: dict[str, Any], item: Item
) -> None:
    put_row(**{**DOTNET, **attributes})
    assert store.read("k") == item
    assert store.read_many(["k"]) == {"k": item}


@pytest.mark.parametrize(
    ("number", "date"),
    [
        ("1.5", 1),
        ("-1.5", -1),
        ("1e9", 1_000_000_000),
        ("3000000000", 3_000_000_000),
        (str(LATEST_TIME), LATEST_TIME),
        ("1e125", 10**125),
        ("1e-130", 0),
        ("0", 0),
    ],
)
def test_odd_numbers_are_read_as_net_reads_them(store: DynamoDBStore, put_row: PutRow, number: str, date: int) -> None:
    put_row(**{**DOTNET, "ttl_date": {"N": number}})
    assert store.read("k") == Item(b"v", date)


@pytest.mark.parametrize(
    "rubbish",
    [{"S": "soon"}, {"BOOL": True}, {"L": []}, {"M": {}}, {"SS": ["x"]}, {"NS": ["1"]}, {"BS": [b"x"]}],
    ids=lambda attribute: next(iter(attribute)),
)
def test_attributes_of_another_type_count_as_absent(
    store: DynamoDBStore, put_row: PutRow, rubbish: dict[str, Any]
) -> None:
    own = ("etag", "fn", "gen", "lease_owner", "no_store", "lease_waits", "lease_by")
    texts = () if "S" in rubbish else ("ttl_window", *own)
    numbers = ("ttl_date", "ttl_deadline", "lease_seconds", "lease_beat", "stale_for")
    put_row(**dict.fromkeys((*numbers, *texts, "value", "parts"), rubbish))
    assert store.read("k") == Item()


def test_a_row_with_nothing_but_its_key_is_read(store: DynamoDBStore, put_row: PutRow) -> None:
    put_row()
    assert store.read("k") == Item()


@pytest.mark.parametrize("missing", ["write_id", "count", "length", "digest"])
def test_incomplete_parts_count_as_absent(missing: str) -> None:
    row = rows.encode(Item(parts=Parts("w", 1, 2, b"d")), "ttl_date", "e")
    del row["parts"]["M"][missing]
    assert rows.decode(row, "ttl_date").parts is None


@pytest.mark.parametrize("etag", [None, NULL, {"N": "1"}], ids=["absent", "null", "number"])
def test_a_row_without_an_etag_of_ours_can_be_claimed_and_removed(
    store: DynamoDBStore, put_row: PutRow, etag: dict[str, Any] | None
) -> None:
    for act in (lambda seen: store.write("k", Item(b"ours"), seen), lambda seen: store.remove("k", seen)):
        put_row(**DOTNET, **({"etag": etag} if etag else {}))
        assert isinstance(act(Expect.seen(store.read("k"))), Written | Item)


@pytest.mark.parametrize("absent", [None, NULL, {"BOOL": True}], ids=["absent", "null", "bool"])
def test_a_touch_takes_absent_for_absent_however_it_is_written(
    store: DynamoDBStore, put_row: PutRow, absent: dict[str, Any] | None
) -> None:
    nothing = {} if absent is None else {"ttl_deadline": absent, "ttl_window": absent, "etag": absent}
    put_row(value={"B": b"v"}, ttl_date={"N": "1000"}, **nothing)
    seen = store.read("k")
    assert seen == Item(b"v", 1_000)
    assert store.touch("k", seen, 1_001)
    assert not store.touch("k", seen._replace(ttl_window="00:01:30"), 1_002)
    assert not store.touch("k", seen._replace(ttl_deadline=2_000), 1_002)


@pytest.mark.parametrize("date", [NULL, {"S": "1"}, {"BOOL": False}], ids=["null", "text", "bool"])
def test_a_touch_leaves_a_date_alone_that_is_no_number(
    store: DynamoDBStore, put_row: PutRow, read_row: ReadRow, date: dict[str, Any]
) -> None:
    put_row(**{**DOTNET, "ttl_date": date})
    assert not store.touch("k", Item(b"v"), 2_000_000_000)
    assert read_row()["ttl_date"] == date


def test_a_refused_write_returns_the_whole_foreign_row(store: DynamoDBStore, put_row: PutRow) -> None:
    put_row(**{**DOTNET, "value": {"B": bytes(range(256))}, "ttl_date": {"N": "1.5"}})
    assert store.write("k", Item(b"ours"), Expect("seen before")) == Refused(Item(bytes(range(256)), 1))


# --- there and back ---

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.none() | st.integers(0, LATEST_TIME)
ITEMS = st.builds(
    Item,
    value=st.none() | st.binary(max_size=50),
    ttl_date=TIMES,
    ttl_deadline=TIMES,
    ttl_window=TEXTS,
    etag=st.just("e"),
    fn=TEXTS,
    gen=TEXTS,
    parts=st.none() | st.builds(Parts, st.text(max_size=5), st.integers(0, 99), st.integers(0), st.binary(max_size=32)),
    lease_owner=TEXTS,
    lease_seconds=st.none() | st.floats(0, 1e6),
    lease_beat=st.none() | st.integers(0),
    stale_for=st.none() | st.integers(0),
    no_store=TEXTS,
)


@given(ITEMS, st.sampled_from(["ttl_date", "cache_ttl"]))
def test_every_item_comes_back_from_its_row(item: Item, ttl_name: str) -> None:
    assert rows.decode(rows.encode(item, ttl_name, "e"), ttl_name) == item


# --- size ---

FULL = Item(b"", 1, 2, "1.12:00:00", None, "größe", "g", Parts("w", 1, 2, bytes(32)), "host", 30.5, 1, 0, "too large")


@pytest.mark.parametrize("item", [Item(b""), FULL], ids=["plain", "full"])
def test_the_largest_row_that_we_accept_can_be_written_touched_and_renewed(store: DynamoDBStore, item: Item) -> None:
    taken = rows.size({"id": {"S": "dc:k"}, **rows.encode(item._replace(ttl_date=1), "ttl_date", "0" * 16)})
    room = rows.LARGEST_ROW - taken
    assert room > rows.LARGEST_ROW - 500, "little is given away"
    largest = item._replace(value=bytes(room), ttl_date=1)
    etag = written(store, largest)
    assert store.touch("k", largest._replace(etag=etag), LATEST_TIME - 1)
    assert store.renew("k", etag, LATEST_TIME)
    row = store.read("k")
    assert row is not None
    assert row.value == largest.value


def test_a_row_that_is_too_large_without_its_value_is_refused_without_a_request(store: DynamoDBStore) -> None:
    taken = rows.size({"id": {"S": "dc:k"}, **rows.encode(Item(no_store=""), "ttl_date", "0" * 16)})
    meter = Meter()
    with pytest.raises(ValueTooLargeError, match=r"409,601 bytes.*holds 409,600"):
        store.metered(meter).write("k", Item(no_store="x" * (rows.LARGEST_ROW - taken + 1)))
    assert meter.requests == 0


# --- the engine's own expiry ---


@pytest.mark.slow
def test_the_engine_deletes_what_has_expired_and_nothing_else(store: DynamoDBStore) -> None:
    now = int(time.time())
    store.write("expired", Item(b"v", now - 60))
    store.write("live", Item(b"v", now + 3_600))
    store.write("forever", Item(b"v"))
    until = time.monotonic() + 60
    while store.read("expired") is not None:
        assert time.monotonic() < until, "the engine looks every ten seconds"
        time.sleep(0.2)
    assert sorted(store.read_many(["expired", "live", "forever"])) == ["forever", "live"]
