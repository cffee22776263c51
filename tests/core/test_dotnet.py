"""Rows that the real .NET provider wrote, and rows of this project that it read and refreshed (see `dotnet/`).

The files tell what AWS's provider 0.21 did on DynamoDB Local on 2026-11-26, and with what. What it read was written by
this project as `rows_of_ours` writes it today.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache, InvalidOptionError, dynamo_cached
from dynmemo.expiry import parse_timespan
from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.testing import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HERE = Path(__file__).parent / "dotnet"
FROM_NET, SESSION, REFRESHED = (
    json.loads((HERE / f"{name}.json").read_text("utf-8")) for name in ("from-net", "session", "refreshed")
)
ASKED = [asked for asked in FROM_NET["asked"] if "at" in asked]
REFUSED: dict[str, dict[str, Any]] = {
    "edge-past": {"ttl": datetime(2000, 1, 1, tzinfo=UTC)},
    "edge-zero-sliding": {"sliding": 0},
    "edge-negative-relative": {"ttl": timedelta(seconds=-5)},
    "edge-max-sliding": {"sliding": timedelta.max},
}
NULL = {"NULL": True}

Row = dict[str, Any]
MakeCache = Callable[..., Cache]


@pytest.fixture
def table(dynamodb_new_table: Callable[..., str]) -> str:
    """A table whose engine deletes nothing by itself: most dates in the files lie in the past."""
    return dynamodb_new_table(ttl=None)


@pytest.fixture
def make(table: str, dynamodb_endpoint: str) -> MakeCache:
    def make_cache(now: float, prefix: str | None = None) -> Cache:
        store = DynamoDBStore(
            table,
            endpoint_url=dynamodb_endpoint,
            partition_key_name="id",
            ttl_attribute_name="ttl_date",
            partition_key_prefix=prefix,
        )
        return Cache(store, clock=Clock(now))

    return make_cache


@pytest.fixture
def put(table: str, dynamodb_client: DynamoDBClient) -> Callable[[list[Row]], None]:
    def put_rows(rows: list[Row]) -> None:
        for row in rows:
            binary = {"value": {"B": decoded(row["value"]["B"])}} if "value" in row else {}
            dynamodb_client.put_item(TableName=table, Item=row | binary)

    return put_rows


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


def partition_key(asked: Row) -> str:
    return f"{asked['prefix']}:dc:{asked['key']}" if asked["prefix"] else f"dc:{asked['key']}"


def dates(row: Row) -> list[Any]:
    return [row["ttl_date"], row["ttl_deadline"], row["ttl_window"]]


def row_of(client: DynamoDBClient, table: str, key: str) -> Row:
    return client.get_item(TableName=table, Key={"id": {"S": key}}, ConsistentRead=True)["Item"]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: ascii(asked["key"])[:30])
def test_what_the_provider_wrote_is_read_and_written_alike(
    asked: Row,
    make: MakeCache,
    put: Callable[[list[Row]], None],
    table: str,
    dynamodb_client: DynamoDBClient,
) -> None:
    key = partition_key(asked)
    [theirs] = [row for row in FROM_NET["rows"] + FROM_NET["rows_other_names"] if row.get("id") == {"S": key}]
    put([theirs])
    cache = make(math.floor(asked["at"]), asked["prefix"])
    assert cache.get(asked["key"]) == decoded(asked["value"])
    assert dates(row_of(dynamodb_client, table, key)) == dates(theirs), "at the same second no date moves"

    ttl = asked["relative_s"] or (asked["absolute"] and datetime.fromtimestamp(asked["absolute"], UTC))
    window = asked["sliding_s"]
    if window is not None and window < 1:
        with pytest.raises(InvalidOptionError, match="below one second"):
            cache.set(asked["key"], b"", sliding=window)
        return
    cache.set(asked["key"], decoded(asked["value"]), ttl=ttl, sliding=window)
    ours = row_of(dynamodb_client, table, key)
    assert ours["value"]["B"] == decoded(theirs["value"]["B"])
    if window is not None:  # of 100 ns steps, numbers of Python keep microseconds
        texts = (ours["ttl_window"]["S"], theirs["ttl_window"]["S"])
        assert abs(parse_timespan(texts[0]) - parse_timespan(texts[1])) < 10
        ours["ttl_window"] = theirs["ttl_window"]
    assert dates(ours) == dates(theirs)
    cache.close()


def test_the_last_moment_of_both_worlds_is_the_same_second(
    make: MakeCache, table: str, dynamodb_client: DynamoDBClient
) -> None:
    [theirs] = [row for row in FROM_NET["rows"] if row["id"] == {"S": "dc:edge-max-absolute"}]
    cache = make(1_795_693_515.0)
    for latest in (datetime.max, datetime.max.replace(tzinfo=UTC)):
        cache.set("k", b"x", ttl=latest)
        assert dates(row_of(dynamodb_client, table, "dc:k")) == dates(theirs)


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_provider_refuses_is_refused_here(name: str, make: MakeCache) -> None:
    [asked] = [asked for asked in FROM_NET["asked"] if asked["key"] == name]
    assert asked["error"] == "ArgumentOutOfRangeException"
    with pytest.raises(InvalidOptionError):
        make(1_795_693_515.0).set("k", b"x", **REFUSED[name])


def test_what_its_update_leaves_of_a_removed_row_is_a_miss_and_can_be_written_over(
    make: MakeCache, put: Callable[[list[Row]], None]
) -> None:
    put([row for row in FROM_NET["rows"] if row["id"] == {"S": "dc:ghost"}])
    cache = make(1_795_693_515.0)
    assert cache.get("ghost") is None
    assert cache.peek("ghost") is None
    assert not cache.touch("ghost", ttl=60)
    assert cache.add("ghost", b"x")
    assert cache.get("ghost") == b"x"


def test_a_session_of_asp_net_is_read_and_kept_alive_as_it_does(
    make: MakeCache, put: Callable[[list[Row]], None], table: str, dynamodb_client: DynamoDBClient
) -> None:
    [two], [three] = SESSION["rows_after_two_pages"], SESSION["rows_after_three_pages"]
    put([two])
    cache = make(int(three["ttl_date"]["N"]) - SESSION["idle_timeout_s"])
    key = two["id"]["S"].removeprefix("dc:")
    assert cache.get(key) == decoded(two["value"]["B"])
    assert row_of(dynamodb_client, table, two["id"]["S"])["ttl_date"] == three["ttl_date"]


def rows_of_ours(make: MakeCache, now: float) -> None:
    """Write what `refreshed.json` holds, with other clocks."""
    cache, in_app = make(now), make(now, "app")
    end = datetime.fromtimestamp(4_070_908_800, UTC)
    cache.set("plain", b"never expires")
    cache.set("absolute", b"absolute", ttl=end)
    cache.set("relative", b"relative", ttl="365d")
    cache.set("sliding", b"sliding", sliding="365d")
    cache.set("both", b"both", ttl=end, sliding=timedelta(days=400, hours=5, seconds=7.5))
    cache.set("capped", b"capped", ttl=end, sliding="40000d")
    cache.set("Unicode: ключ/🌧 #1%", b"\x00\xff" * 10)
    in_app.set("prefixed", b"with prefix", sliding="365d")

    @dynamo_cached(cache=cache, name="weather.forecast", version="1", ttl=end, sliding="300d", serializer="pickle")
    def forecast(city: str) -> dict[str, Any]:
        return {"city": city, "values": [1.5, 2.5]}

    forecast("SEA")
    cache.close()
    in_app.close()


def test_what_is_written_today_is_laid_out_as_what_the_provider_read(
    make: MakeCache, table: str, dynamodb_client: DynamoDBClient
) -> None:
    before, after = REFRESHED["moved"]["dc:sliding"]
    assert after > before
    rows_of_ours(make, before - 365 * 86_400)
    today = {row["id"]["S"]: row for row in dynamodb_client.scan(TableName=table)["Items"]}
    then = {row["id"]["S"]: row for row in REFRESHED["rows"]}
    held = {key for key in then if "held" in str(then[key].get("fn"))}
    assert {key.rsplit(":", 1)[0] for key in today} == {key.rsplit(":", 1)[0] for key in then.keys() - held}
    for key, row in then.items():
        if key in held or key.count(":") > 2:
            continue
        ours = today[key]
        assert set(ours) == set(row)
        moved = REFRESHED["moved"].get(key)
        if moved is not None:
            row["ttl_date"] = {"N": str(moved[0])}
        assert dates(ours) == dates(row)
        assert ours.get("value", {}).get("B") == (decoded(row["value"]["B"]) if "value" in row else None)
    [ours] = [row for key, row in today.items() if key.count(":") > 2]
    [theirs] = [row for key, row in then.items() if key.count(":") > 2 and key not in held]
    assert {name: list(value) for name, value in ours.items()} == {name: list(value) for name, value in theirs.items()}


def test_what_the_provider_refreshed_is_read_as_before(make: MakeCache, put: Callable[[list[Row]], None]) -> None:
    put(REFRESHED["rows"])
    for expected in REFRESHED["expect"]:
        # A second before the provider came, and in the time that it gave to the rows.
        for now in (1_795_693_000.0, 1_800_000_000.0):
            value = make(now, expected["prefix"]).get(expected["key"])
            assert value == (None if expected["value"] is None else decoded(expected["value"])), expected["kind"]
