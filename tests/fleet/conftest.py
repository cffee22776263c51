"""Workers that share a store."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.testing.together import until
from tests.fleet.helpers import Fleet, SpiedDynamoDB, SpiedSqlite, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient


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
