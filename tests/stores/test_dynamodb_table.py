"""Finding, checking and creating the table, on DynamoDB Local."""

from __future__ import annotations

import logging
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.errors import InvalidOptionError, InvalidTableError, StoreUnavailableError
from dynmemo.item import Item, Written
from dynmemo.stores.dynamodb import DynamoDBStore, connection
from tests.proxy import Rewrite, denied, error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.proxy import Proxy

    NewTable = Callable[..., str]
    OpenStore = Callable[..., DynamoDBStore]


@pytest.fixture
def unused_name(dynamodb_client: DynamoDBClient) -> Iterator[str]:
    name = f"dynmemo-{uuid.uuid4().hex}"
    yield name
    if name in dynamodb_client.list_tables()["TableNames"]:
        dynamodb_client.delete_table(TableName=name)


@pytest.fixture
def new_table(dynamodb_new_table: NewTable, unused_name: str) -> NewTable:
    return partial(dynamodb_new_table, unused_name, ttl=None)


@pytest.fixture
def open_store(own_client: DynamoDBClient) -> OpenStore:
    def make(name: str, **options: Any) -> DynamoDBStore:
        return DynamoDBStore(name, client_factory=lambda: own_client, **options)

    return make


def raw(client: DynamoDBClient, name: str, key: str = "id", row: str = "dc:k") -> dict[str, Any]:
    return dict(client.get_item(TableName=name, Key={key: {"S": row}})["Item"])


# --- finding ---


def test_the_names_of_key_and_ttl_attribute_are_found(
    new_table: NewTable, open_store: OpenStore, dynamodb_client: DynamoDBClient
) -> None:
    name = new_table("pk", ttl="cache_ttl")
    open_store(name).write("k", Item(b"v", 1_900_000_000))
    row = raw(dynamodb_client, name, "pk")
    assert row["cache_ttl"] == {"N": "1900000000"}
    assert "ttl_date" not in row


def test_given_names_need_no_describe_action(proxy: Proxy, dynamodb_table: str) -> None:
    proxy.breaks("DescribeTable", denied("DescribeTable"))
    proxy.breaks("DescribeTimeToLive", denied("DescribeTimeToLive"))
    store = DynamoDBStore(
        dynamodb_table, partition_key_name="id", ttl_attribute_name="ttl_date", endpoint_url=proxy.endpoint
    )
    store.open()
    store.write("k", Item(b"v"))
    assert store.read("k") is not None
    assert set(proxy.counts) == {"GetItem", "PutItem"}


@pytest.mark.parametrize(
    ("given", "asked"),
    [({"partition_key_name": "id"}, "DescribeTimeToLive"), ({"ttl_attribute_name": "ttl_date"}, "DescribeTable")],
)
def test_with_one_given_name_only_the_other_is_asked_for(
    proxy: Proxy, dynamodb_table: str, given: dict[str, str], asked: str
) -> None:
    DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint, **given).read("k")  # type: ignore[arg-type]
    assert proxy.counts == {asked: 1, "GetItem": 1}


def disabling(answer: dict[str, Any]) -> dict[str, Any]:
    answer["TimeToLiveDescription"]["TimeToLiveStatus"] = "DISABLING"
    return answer


def test_while_ttl_is_being_disabled_its_attribute_is_still_written(
    proxy: Proxy, new_table: NewTable, dynamodb_client: DynamoDBClient, caplog: pytest.LogCaptureFixture
) -> None:
    name = new_table(ttl="cache_ttl")
    proxy.breaks("DescribeTimeToLive", Rewrite(disabling))
    DynamoDBStore(name, endpoint_url=proxy.endpoint).write("k", Item(b"v", 1_900_000_000))
    assert raw(dynamodb_client, name)["cache_ttl"] == {"N": "1900000000"}
    assert "has no Time to Live (TTL) enabled on the attribute 'cache_ttl'" in caplog.text


@pytest.mark.parametrize("operation", ["read", "write", "remove", "touch", "renew", "read_many"])
def test_a_table_made_anew_with_another_key_is_found_again(
    new_table: NewTable, open_store: OpenStore, dynamodb_client: DynamoDBClient, operation: str
) -> None:
    name = new_table("id", ttl="ttl_date")
    store = open_store(name)
    store.write("k", Item(b"v"))
    dynamodb_client.delete_table(TableName=name)
    assert new_table("pk", ttl="gone_at") == name
    asked: dict[str, Callable[[], object]] = {
        "read": lambda: store.read("k"),
        "write": lambda: store.write("k", Item(b"v")),
        "remove": lambda: store.remove("k"),
        "touch": lambda: store.touch("k", Item(ttl_window="00:01:00"), 1_900_000_000),
        "renew": lambda: store.renew("k", "etag", 1_900_000_000),
        "read_many": lambda: store.read_many(["k"]),
    }
    with pytest.raises(InvalidTableError, match=r"has another key than when it was looked up.*looks it up again"):
        asked[operation]()
    store.write("k", Item(b"new", 1_900_000_000))
    assert raw(dynamodb_client, name, "pk")["gone_at"] == {"N": "1900000000"}


def test_a_table_made_anew_with_another_ttl_attribute_is_noticed_by_a_row_of_somebody_else(
    new_table: NewTable, proxy: Proxy, open_store: OpenStore, dynamodb_client: DynamoDBClient
) -> None:
    name = new_table(ttl="ttl_date")
    store = DynamoDBStore(name, endpoint_url=proxy.endpoint)
    store.write("ours", Item(b"v", 1_800_000_000))
    dynamodb_client.delete_table(TableName=name)
    new_table(ttl="gone_at")
    store.write("ours", Item(b"v", 1_800_000_000))
    assert "gone_at" not in raw(dynamodb_client, name, "id", "dc:ours")  # nothing speaks against it so far
    open_store(name).write("theirs", Item(b"v", 1_900_000_000))
    assert (row := store.read("theirs")) is not None
    assert row.ttl_date == 1_900_000_000
    store.write("ours", Item(b"v", 1_800_000_000))
    assert raw(dynamodb_client, name, "id", "dc:ours")["gone_at"] == {"N": "1800000000"}


def test_a_row_without_ttl_attribute_makes_the_table_be_described_once_a_minute_at_most(
    new_table: NewTable, proxy: Proxy, dynamodb_client: DynamoDBClient
) -> None:
    name = new_table(ttl="ttl_date")
    store = DynamoDBStore(name, endpoint_url=proxy.endpoint)
    row = {"id": {"S": "dc:k"}, "value": {"B": b"v"}, "ttl_deadline": {"NULL": True}}
    dynamodb_client.put_item(TableName=name, Item=row)  # type: ignore[arg-type]
    for _ in range(3):
        assert (item := store.read("k")) is not None
        assert (item.value, item.ttl_date) == (b"v", None)
    assert proxy.counts == {"DescribeTable": 2, "DescribeTimeToLive": 2, "GetItem": 3}


def test_many_threads_find_the_table_once(proxy: Proxy, dynamodb_table: str) -> None:
    store = DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(store.read, ["k"] * 16)) == [None] * 16
    assert proxy.counts == {"DescribeTable": 1, "DescribeTimeToLive": 1, "GetItem": 16}


def test_a_search_that_failed_is_repeated_by_the_next_call(proxy: Proxy, dynamodb_table: str) -> None:
    store = DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint)
    proxy.breaks("DescribeTimeToLive", denied("DescribeTimeToLive"), times=1)
    with pytest.raises(StoreUnavailableError, match=r"allow dynamodb:DescribeTimeToLive.*partition_key_name") as caught:
        store.read("k")
    assert caught.value.operation == "DescribeTimeToLive"
    assert store.read("k") is None
    assert proxy.counts["DescribeTimeToLive"] == 2


# --- checking ---


def test_a_missing_table_is_refused(open_store: OpenStore, unused_name: str) -> None:
    with pytest.raises(InvalidTableError, match=f"{unused_name}.*does not exist.*create_table_if_not_exists"):
        open_store(unused_name).read("k")


def test_a_table_with_a_sort_key_is_refused(new_table: NewTable, open_store: OpenStore) -> None:
    with pytest.raises(InvalidTableError, match="sort key"):
        open_store(new_table(sort_key="sort")).read("k")


@pytest.mark.parametrize("kind", ["N", "B"])
def test_a_table_whose_key_is_no_string_is_refused(new_table: NewTable, open_store: OpenStore, kind: str) -> None:
    with pytest.raises(InvalidTableError, match=f"type {kind}; a cache needs a string"):
        open_store(new_table(kind=kind)).read("k")


def test_another_partition_key_than_the_given_one_is_refused(new_table: NewTable, open_store: OpenStore) -> None:
    name = new_table("pk")
    with pytest.raises(InvalidTableError, match=r"must be the given partition_key_name.*leave partition_key_name out"):
        open_store(name, partition_key_name="id").read("k")
    with pytest.raises(InvalidTableError, match="is 'pk', not 'id'"):  # where the table is described
        open_store(name, partition_key_name="id", create_table_if_not_exists=True).read("k")


def test_a_partition_key_with_the_name_of_an_attribute_of_ours_is_refused(
    new_table: NewTable, open_store: OpenStore
) -> None:
    with pytest.raises(InvalidTableError, match="'fn', which holds something else"):
        open_store(new_table("fn")).read("k")


@pytest.mark.parametrize("ttl", ["value", "lease_seconds", "id"])
def test_a_ttl_on_an_attribute_that_holds_something_else_is_refused(
    new_table: NewTable, open_store: OpenStore, ttl: str
) -> None:
    with pytest.raises(InvalidTableError, match=f"TTL on the attribute '{ttl}'"):
        open_store(new_table(ttl=ttl)).read("k")


NAMES = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}


@pytest.mark.parametrize(
    "table_options", [{"sort_key": "sort"}, {"kind": "N"}, {"key": "pk"}], ids=["sort key", "number key", "other name"]
)
@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.read("k"),
        lambda store: store.read_many(["k"]),
        lambda store: store.write("k", Item(b"v")),
        lambda store: store.renew("k", "etag", 1),
        lambda store: store.remove("k"),
    ],
    ids=["read", "read_many", "write", "renew", "remove"],
)
def test_a_table_that_cannot_serve_shows_without_any_describe(
    new_table: NewTable,
    open_store: OpenStore,
    table_options: dict[str, str],
    use: Callable[[DynamoDBStore], object],
) -> None:
    store = open_store(new_table(**table_options), **NAMES)
    with pytest.raises(InvalidTableError, match="key must be the given partition_key_name"):
        use(store)


def test_a_missing_table_shows_without_any_describe(unused_name: str, open_store: OpenStore) -> None:
    with pytest.raises(InvalidTableError, match="does not exist"):
        open_store(unused_name, **NAMES).read("k")


def test_a_table_without_ttl_serves_with_one_warning(
    new_table: NewTable,
    open_store: OpenStore,
    dynamodb_client: DynamoDBClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = new_table()
    store = open_store(name)
    store.write("k", Item(b"v", 1_900_000_000))
    store.read("k")
    assert raw(dynamodb_client, name)["ttl_date"] == {"N": "1900000000"}
    assert [(record.name, record.levelno) for record in caplog.records] == [("dynmemo", logging.WARNING)]
    assert "'ttl_date'" in caplog.text


def test_a_given_ttl_attribute_is_used_and_warned_of_where_the_tables_is_another(
    new_table: NewTable,
    open_store: OpenStore,
    dynamodb_client: DynamoDBClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = new_table(ttl="expires")
    store = open_store(name, ttl_attribute_name="cache_ttl", create_table_if_not_exists=True)  # which always describes
    store.write("k", Item(b"v", 1_900_000_000))
    assert raw(dynamodb_client, name)["cache_ttl"] == {"N": "1900000000"}
    assert "'cache_ttl'" in caplog.text


def test_a_table_with_ttl_is_not_warned_of(
    dynamodb_table: str, open_store: OpenStore, caplog: pytest.LogCaptureFixture
) -> None:
    open_store(dynamodb_table).read("k")
    assert caplog.records == []


# --- creating ---


@pytest.mark.parametrize(
    ("given", "key", "ttl"),
    [({}, "id", "ttl_date"), ({"partition_key_name": "pk", "ttl_attribute_name": "cache_ttl"}, "pk", "cache_ttl")],
    ids=["default names", "given names"],
)
def test_a_missing_table_is_created_on_demand_and_with_ttl(
    unused_name: str,
    open_store: OpenStore,
    dynamodb_client: DynamoDBClient,
    caplog: pytest.LogCaptureFixture,
    given: dict[str, str],
    key: str,
    ttl: str,
) -> None:
    store = open_store(unused_name, create_table_if_not_exists=True, **given)
    assert isinstance(store.write("k", Item(b"v", 1_900_000_000)), Written)
    description = dynamodb_client.describe_table(TableName=unused_name)["Table"]
    assert description["KeySchema"] == [{"AttributeName": key, "KeyType": "HASH"}]
    assert description["AttributeDefinitions"] == [{"AttributeName": key, "AttributeType": "S"}]
    assert description["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert dynamodb_client.describe_time_to_live(TableName=unused_name)["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED",
        "AttributeName": ttl,
    }
    assert raw(dynamodb_client, unused_name, key)[ttl] == {"N": "1900000000"}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_table_that_exists_is_left_as_it_is(
    new_table: NewTable, open_store: OpenStore, dynamodb_client: DynamoDBClient
) -> None:
    name = new_table("pk")
    before = dynamodb_client.describe_table(TableName=name)["Table"]
    open_store(name, create_table_if_not_exists=True).write("k", Item(b"v"))
    after = dynamodb_client.describe_table(TableName=name)["Table"]
    assert [after["KeySchema"], after["CreationDateTime"]] == [before["KeySchema"], before["CreationDateTime"]]
    ttl = dynamodb_client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == "DISABLED"


def test_a_table_that_exists_is_checked_although_it_might_be_created(
    new_table: NewTable, open_store: OpenStore
) -> None:
    store = open_store(new_table(sort_key="sort"), create_table_if_not_exists=True, **NAMES)
    with pytest.raises(InvalidTableError, match="sort key"):
        store.read("k")


def test_of_many_creators_at_once_all_can_use_the_table(unused_name: str, open_store: OpenStore) -> None:
    stores = [open_store(unused_name, create_table_if_not_exists=True) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda numbered: numbered[1].write(str(numbered[0]), Item(b"v")), enumerate(stores)))
    assert sorted(stores[0].read_many([str(n) for n in range(8)])) == [str(n) for n in range(8)]


def test_a_table_that_another_creates_in_between_is_taken(proxy: Proxy, dynamodb_table: str) -> None:
    proxy.breaks("DescribeTable", error("ResourceNotFoundException"), times=1)
    store = DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint, create_table_if_not_exists=True)
    assert store.read("k") is None
    assert proxy.counts == {
        "DescribeTable": 2,
        "CreateTable": 1,  # answered: ResourceInUseException
        "UpdateTimeToLive": 1,  # answered: TimeToLive is already enabled
        "DescribeTimeToLive": 1,
        "GetItem": 1,
    }


def creating(answer: dict[str, Any]) -> dict[str, Any]:
    answer["Table"]["TableStatus"] = "CREATING"
    return answer


def test_a_table_that_another_is_creating_is_waited_for(proxy: Proxy, dynamodb_table: str) -> None:
    proxy.breaks("DescribeTable", Rewrite(creating), times=3)
    store = DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint, create_table_if_not_exists=True)
    assert store.read("k") is None
    assert (proxy.counts["DescribeTable"], proxy.counts["CreateTable"]) == (4, 0)


def test_waiting_for_a_table_has_an_end(proxy: Proxy, dynamodb_table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CREATION_SECONDS", 0.0)
    proxy.breaks("DescribeTable", Rewrite(creating))
    store = DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint, create_table_if_not_exists=True)
    with pytest.raises(StoreUnavailableError, match="was not ready"):
        store.read("k")
    assert proxy.counts["DescribeTable"] == 2


@pytest.mark.parametrize("operation", ["CreateTable", "UpdateTimeToLive"])
def test_creating_without_permission_names_the_missing_action(proxy: Proxy, unused_name: str, operation: str) -> None:
    proxy.breaks(operation, denied(operation))
    store = DynamoDBStore(unused_name, endpoint_url=proxy.endpoint, create_table_if_not_exists=True)
    with pytest.raises(StoreUnavailableError, match=f"allow dynamodb:{operation}"):
        store.read("k")


def test_a_table_that_is_deleted_meanwhile_is_created_again(
    unused_name: str, open_store: OpenStore, dynamodb_client: DynamoDBClient
) -> None:
    store = open_store(unused_name, create_table_if_not_exists=True)
    store.write("k", Item(b"v"))
    dynamodb_client.delete_table(TableName=unused_name)
    with pytest.raises(InvalidTableError, match="the next call looks for it again, and creates it") as caught:
        store.read("k")
    assert "create_table_if_not_exists" not in str(caught.value)
    assert isinstance(store.write("k", Item(b"new")), Written)
    ttl = dynamodb_client.describe_time_to_live(TableName=unused_name)["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == "ENABLED"


def test_a_table_that_is_deleted_and_made_anew_with_other_names_is_found(
    new_table: NewTable, open_store: OpenStore, dynamodb_client: DynamoDBClient
) -> None:
    name = new_table("pk", ttl="expires")
    store = open_store(name)
    store.write("k", Item(b"v"))
    dynamodb_client.delete_table(TableName=name)
    with pytest.raises(InvalidTableError, match="give create_table_if_not_exists=True"):
        store.read("k")
    new_table("id", ttl="ttl_date")
    assert store.read("k") is None


def test_given_names_outlive_the_table(
    new_table: NewTable, open_store: OpenStore, dynamodb_client: DynamoDBClient
) -> None:
    name = new_table(ttl="ttl_date")
    store = open_store(name, **NAMES)
    dynamodb_client.delete_table(TableName=name)
    with pytest.raises(InvalidTableError, match="give create_table_if_not_exists=True"):
        store.read("k")
    new_table()  # of which Describe* would find no TTL
    assert isinstance(store.write("k", Item(b"v", 1_900_000_000)), Written)


# --- names beside rows of other programs ---


def test_rows_of_a_table_with_other_names_travel_both_ways(
    new_table: NewTable, open_store: OpenStore, dynamodb_client: DynamoDBClient
) -> None:
    name = new_table("pk", ttl="cache_ttl")
    dynamodb_client.put_item(
        TableName=name,
        Item={
            "pk": {"S": "dc:k"},
            "value": {"B": b"theirs"},
            "cache_ttl": {"N": "1800000000"},
            "ttl_deadline": {"N": "1800003600"},
            "ttl_window": {"S": "00:01:30"},
            "ttl_date": {"S": "nobody's"},
            "tenant": {"S": "blue"},
        },
    )
    store = open_store(name)
    seen = store.read("k")
    assert seen == Item(b"theirs", 1_800_000_000, 1_800_003_600, "00:01:30")
    assert store.touch("k", seen, 1_800_000_030)
    assert store.read("k") == seen._replace(ttl_date=1_800_000_030)
    row = raw(dynamodb_client, name, "pk")
    assert (row["ttl_date"], row["tenant"]) == ({"S": "nobody's"}, {"S": "blue"})


def test_an_option_that_names_one_of_our_attributes_is_refused_without_asking_the_table() -> None:
    with pytest.raises(InvalidOptionError, match="ttl_attribute_name='stale_for'"):
        DynamoDBStore("weather", ttl_attribute_name="stale_for")
