"""Options of the DynamoDB store: what is refused, and that nothing is asked of AWS for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.errors import InvalidOptionError
from dynmemo.item import Item
from dynmemo.stores.dynamodb import DynamoDBStore, rows
from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"table_name": ""}, "table_name=''"),
        ({"table_name": "two words"}, "'two words'"),
        ({"table_name": "x" * 256}, "3 to 255"),
        ({"table_name": "ab"}, "table_name='ab' is no DynamoDB table; give 3 to 255"),
        ({"table_name": 5}, "table_name=5"),
        ({"partition_key_name": ""}, "partition_key_name=''"),
        ({"ttl_attribute_name": 7}, "ttl_attribute_name=7"),
        ({"ttl_attribute_name": "x" * 256}, "1 to 255"),
        ({"partition_key_name": "same", "ttl_attribute_name": "same"}, "is the partition key"),
        ({"partition_key_prefix": 5}, "takes a text, not int"),
        ({"create_table_if_not_exists": "yes"}, "create_table_if_not_exists= takes True or False, not 'yes'"),
        ({"use_consistent_reads": 1}, "use_consistent_reads= takes True or False, not 1"),
        ({"endpoint_url": "localhost:8000"}, "such as http://localhost:8000"),
        ({"endpoint_url": "http://"}, "such as http://localhost:8000"),
        ({"endpoint_url": 8000}, "such as http://localhost:8000"),
        ({"client_factory": "boto3"}, "takes a callable that returns a boto3 client, not str"),
        ({"client": object(), "client_factory": object}, "leave out client_factory"),
        ({"client": object(), "region": "eu-west-1", "profile": "p"}, "client= comes with its own.*region, profile"),
        ({"client_factory": object, "endpoint_url": "http://x"}, "client_factory= comes with.*endpoint_url"),
    ],
)
def test_an_option_that_is_not_allowed_is_refused_at_once(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidOptionError, match=text):
        DynamoDBStore(**{"table_name": "weather", **options})


@pytest.mark.parametrize("option", ["partition_key_name", "ttl_attribute_name"])
@pytest.mark.parametrize("name", sorted(rows.OWN_NAMES))
def test_neither_name_may_be_that_of_another_attribute(option: str, name: str) -> None:
    with pytest.raises(InvalidOptionError, match=f"{option}='{name}' is taken"):
        DynamoDBStore("weather", **{option: name})  # type: ignore[arg-type]


def test_a_password_in_the_endpoint_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidOptionError) as caught:
        DynamoDBStore("weather", endpoint_url="http://user:hunter2@localhost:8000")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["weather_cache", "Weather.Cache-2", "arn:aws:dynamodb:eu-west-1:123456789012:table/weather"]
)
def test_names_and_arns_of_tables_are_taken_as_they_are(name: str) -> None:
    assert name in DynamoDBStore(name).location


@pytest.mark.parametrize(
    ("prefix", "partition_key"),
    [(None, "dc:k"), ("", "dc:k"), ("team", "team:dc:k"), ("a:b", "a:b:dc:k"), ("dc", "dc:dc:k")],
)
def test_the_prefix_stands_before_the_providers_own(prefix: str | None, partition_key: str) -> None:
    assert DynamoDBStore("weather", partition_key_prefix=prefix).partition_key("k") == partition_key


def test_the_location_names_table_region_and_endpoint() -> None:
    store = DynamoDBStore("weather", region="eu-west-1", endpoint_url="http://localhost:8000")
    assert store.location == "DynamoDB table weather in eu-west-1 at http://localhost:8000"


# --- keys ---

OPERATIONS: list[Callable[[DynamoDBStore, str], object]] = [
    lambda store, key: store.read(key),
    lambda store, key: store.read_many([key]),
    lambda store, key: store.write(key, Item(b"v")),
    lambda store, key: store.renew(key, "etag", 1),
    lambda store, key: store.touch(key, Item(), 1),
    lambda store, key: store.remove(key),
]
NAMES = ["read", "read_many", "write", "renew", "touch", "remove"]


def unused() -> Any:
    raise AssertionError("no client is needed to refuse a key")


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("x" * 2_041, "2,041 bytes; DynamoDB takes up to 2,040 after 'team:dc:'"),
        ("\ud800", "UTF-8"),
    ],
    ids=["too long", "lone surrogate"],
)
def test_a_key_that_dynamodb_cannot_hold_is_refused_without_a_request(
    operation: Callable[[DynamoDBStore, str], object], key: str, text: str
) -> None:
    store = DynamoDBStore(
        "weather",
        partition_key_name="id",
        ttl_attribute_name="ttl_date",
        partition_key_prefix="team",
        client_factory=unused,
    )
    with pytest.raises(InvalidOptionError, match=text):
        operation(store, key)


def test_the_length_of_a_key_is_counted_in_bytes(dynamodb_table: str, own_client: Any) -> None:
    store = DynamoDBStore(dynamodb_table, partition_key_prefix="team", client_factory=lambda: own_client)
    longest = "ö" * 1_020
    store.write(longest, Item(b"v"))
    assert store.read(longest) is not None
    with pytest.raises(InvalidOptionError, match="2,042 bytes"):
        store.read(longest + "ö")


# --- nothing before it is needed ---


def test_making_a_store_loads_no_boto3() -> None:
    code = (
        "import sys; from dynmemo.stores.dynamodb import DynamoDBStore; "
        "DynamoDBStore('weather', region='eu-west-1').metered(None); "
        "print([name for name in ('boto3', 'botocore') if name in sys.modules])"
    )
    assert printed("-c", code) == "[]\n"


def test_rows_of_a_prefix_that_looks_like_a_key_are_not_scanned_as_ours(
    own_client: DynamoDBClient, dynamodb_table: str
) -> None:
    plain, dc, nested = (
        DynamoDBStore(dynamodb_table, partition_key_prefix=prefix, client_factory=lambda: own_client)
        for prefix in (None, "dc", "dc:dc")
    )
    for store in (plain, dc, nested):
        for key in ("f:code:arguments", "f#gen", "f:code:arguments#lease"):
            store.write(key, Item(b"", fn="f"))
    for store in (plain, dc, nested):
        assert sorted(key for key, _ in store.scan()) == ["f#gen", "f:code:arguments", "f:code:arguments#lease"]
