"""A store of each kind by its URL, and workers that share it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.fleet.helpers import Fleet, SpiedDynamoDB, SpiedSqlite, Worker, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(params=["sqlite", pytest.param("dynamodb", marks=pytest.mark.dynamodb)])
def kind(request: pytest.FixtureRequest) -> str:
    """Every test with it, or with what follows, runs on both kinds of store."""
    kind: str = request.param
    return kind


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty store that belongs to this test."""
    if kind == "sqlite":
        return f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    table, endpoint = (request.getfixturevalue(name) for name in ("dynamodb_table", "dynamodb_endpoint"))
    names = "partition_key_name=id&ttl_attribute_name=ttl_date"
    return f"dynamodb://{table}?region=eu-west-1&endpoint_url={quote(endpoint, safe='')}&{names}"


@pytest.fixture
def fleet(url: str, tmp_path: Path) -> Iterator[Fleet]:
    """Processes of their own that share the store."""
    fleet = Fleet(url, tmp_path)
    yield fleet
    fleet.end()


@pytest.fixture(scope="session")
def _client(dynamodb_endpoint: str) -> Iterator[DynamoDBClient]:
    import boto3
    from botocore.config import Config

    config = Config(max_pool_connections=64)
    client = boto3.session.Session().client("dynamodb", endpoint_url=dynamodb_endpoint, config=config)
    yield client
    client.close()


@pytest.fixture
def worker(kind: str, url: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Makes workers in this process that share the store; takes the options of `Cache`."""
    made: list[Worker] = []

    def make(clock: Callable[[], float] = time.time, **options: Any) -> Worker:
        store: SpiedSqlite | SpiedDynamoDB
        if kind == "sqlite":
            store = SpiedSqlite(tmp_path / "cache.db", clock=clock, busy_timeout=60)
        else:
            table, client = (request.getfixturevalue(name) for name in ("dynamodb_table", "_client"))
            store = SpiedDynamoDB(table, partition_key_name="id", ttl_attribute_name="ttl_date", client=client)
        made.append(Worker(store, clock=clock, **options))
        return made[-1]

    yield make
    # What runs in the background still needs the table, and logs into the next test when that is gone.
    until(lambda: not any(thread.name == "dynmemo-ahead" for thread in threading.enumerate()))
    for each in made:
        each.cache.close()
