"""Decorated functions and `Cache` in one DynamoDB table with rows of the .NET provider."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

import dynmemo
from dynmemo import Cache, dynamo_cached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.proxy import Proxy


@pytest.fixture
def cache(dynamodb_table: str, proxy: Proxy) -> Iterator[Cache]:
    made = Cache.dynamodb(
        dynamodb_table, endpoint_url=proxy.endpoint, partition_key_name="id", ttl_attribute_name="ttl_date"
    )
    yield made
    made.close()


def rows(client: DynamoDBClient, table: str) -> dict[str, Any]:
    return {item["id"]["S"]: item for item in client.scan(TableName=table, ConsistentRead=True)["Items"]}


def put_dotnet(client: DynamoDBClient, table: str, key: str, **attributes: Any) -> None:
    row: dict[str, Any] = {
        "id": {"S": f"dc:{key}"},
        "value": {"B": b"from .NET"},
        "ttl_date": {"NULL": True},
        "ttl_deadline": {"NULL": True},
        "ttl_window": {"NULL": True},
    }
    client.put_item(TableName=table, Item=row | attributes)


def test_what_a_decorated_function_writes(cache: Cache, dynamodb_client: DynamoDBClient, dynamodb_table: str) -> None:
    @dynamo_cached(cache=cache, name="weather:forecast", ttl="24h", sliding="1h30m")
    def forecast(city: str) -> list[str]:
        return [city]

    before = int(time.time())
    forecast("SEA")
    found = rows(dynamodb_client, dynamodb_table)
    row = found.pop(f"dc:{forecast.cache_key('SEA')}")
    assert set(row) == {"id", "value", "ttl_date", "ttl_deadline", "ttl_window", "etag", "fn", "gen"}
    assert row["ttl_window"] == {"S": "01:30:00"}
    assert before + 5400 <= int(row["ttl_date"]["N"]) <= time.time() + 5400
    assert before + 86_400 <= int(row["ttl_deadline"]["N"]) <= time.time() + 86_400
    assert row["fn"] == {"S": "weather%3Aforecast"}
    generations = {"dc:#gen", "dc:weather%3Aforecast#gen"}
    assert set(found) == generations
    assert all("value" not in found[key] and found[key]["ttl_date"] == {"NULL": True} for key in generations)


def test_an_entry_without_times_carries_them_as_null(
    cache: Cache, dynamodb_client: DynamoDBClient, dynamodb_table: str
) -> None:
    cache.set("a", b"x")
    row = rows(dynamodb_client, dynamodb_table)["dc:a"]
    assert row.pop("etag")["S"]
    null = {"NULL": True}
    assert row == {
        "id": {"S": "dc:a"},
        "value": {"B": b"x"},
        "ttl_date": null,
        "ttl_deadline": null,
        "ttl_window": null,
    }


def test_a_hit_is_one_request_and_no_describe_is_made(cache: Cache, proxy: Proxy) -> None:
    @dynamo_cached(cache=cache)
    def one(x: int) -> int:
        return x

    one(1)
    at_first, before = proxy.counts, one.cache_info()
    assert not any(operation.startswith("Describe") for operation in at_first)
    for _ in range(5):
        one(1)
    info = one.cache_info()
    assert proxy.counts - at_first == {"GetItem": 5}
    assert (info.hits, info.requests - before.requests, info.write_units - before.write_units) == (5, 5, 0.0)
    assert info.read_units - before.read_units == 5.0
    one(2)
    assert proxy.counts - at_first == {"GetItem": 6, "PutItem": 2}
    assert one.cache_info().write_units - before.write_units == 2.0


def test_rows_of_dotnet_are_read_refreshed_and_expire(
    cache: Cache, dynamodb_client: DynamoDBClient, dynamodb_table: str
) -> None:
    now = int(time.time())
    put_dotnet(dynamodb_client, dynamodb_table, "plain")
    put_dotnet(
        dynamodb_client,
        dynamodb_table,
        "sliding",
        ttl_date={"N": str(now + 60)},
        ttl_deadline={"N": str(now + 90)},
        ttl_window={"S": "1.12:00:00"},
        note={"S": "of another program"},
    )
    put_dotnet(dynamodb_client, dynamodb_table, "over", ttl_date={"N": str(now - 1)})
    assert [cache.get(key) for key in ("plain", "sliding", "over", "none")] == [b"from .NET", b"from .NET", None, None]
    row = rows(dynamodb_client, dynamodb_table)["dc:sliding"]
    assert row["ttl_date"] == row["ttl_deadline"] == {"N": str(now + 90)}
    assert (row["ttl_window"], row["note"]) == ({"S": "1.12:00:00"}, {"S": "of another program"})
    assert "etag" not in row


def test_clearing_leaves_the_rows_of_others_alone(
    cache: Cache, dynamodb_client: DynamoDBClient, dynamodb_table: str, proxy: Proxy
) -> None:
    other = Cache.dynamodb(dynamodb_table, endpoint_url=proxy.endpoint, partition_key_prefix="other")
    put_dotnet(dynamodb_client, dynamodb_table, "session")
    cache.set("mine", b"x")
    one, two = (dynamo_cached(cache=place, name="one")(lambda: 1) for place in (cache, other))
    one(), two()
    before = rows(dynamodb_client, dynamodb_table)
    try:
        dynmemo.configure(cache)
        dynmemo.clear()
        dynmemo.clear("one")
    finally:
        dynmemo.configure(None)
    after = rows(dynamodb_client, dynamodb_table)
    changed = {key for key in before if before[key] != after.get(key)}
    assert changed == {"dc:#gen", "dc:one#gen"}
    assert one.entry() is None
    assert two.entry() is not None
    other.close()


def test_a_lease_lies_where_the_value_will_be(
    cache: Cache, dynamodb_client: DynamoDBClient, dynamodb_table: str
) -> None:
    seen: dict[str, Any] = {}

    @dynamo_cached(cache=cache, code="off")
    def one() -> int:
        seen.update(rows(dynamodb_client, dynamodb_table)[f"dc:{one.cache_key()}"])
        return 1

    one()
    assert set(seen) == {
        *("id", "ttl_date", "ttl_deadline", "ttl_window", "etag", "fn", "gen"),
        *("lease_owner", "lease_seconds", "lease_beat", "lease_by"),
    }
    assert (seen["lease_seconds"], seen["lease_beat"]) == ({"N": "30"}, {"N": "0"})
    assert int(seen["ttl_date"]["N"]) > time.time() + 86_400
