"""A store of each kind for the tests of this folder."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dynmemo.item import Store


@pytest.fixture(params=["sqlite", pytest.param("dynamodb", marks=pytest.mark.dynamodb)])
def store(request: pytest.FixtureRequest) -> Store:
    """An empty store that belongs to this test; every test with it runs on both kinds."""
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def sqlite_store(sqlite_path: Path) -> Iterator[SqliteStore]:
    with closing(SqliteStore(sqlite_path, busy_timeout=60)) as store:
        yield store


@pytest.fixture(scope="session")
def _table_of_all(dynamodb_new_table: Callable[[], str], dynamodb_endpoint: str) -> Iterator[DynamoDBStore]:
    with closing(DynamoDBStore(dynamodb_new_table(), endpoint_url=dynamodb_endpoint)) as store:
        store.open()
        yield store


@pytest.fixture
def dynamodb_store(_table_of_all: DynamoDBStore) -> DynamoDBStore:
    # The client, which takes long to make, is shared; a prefix keeps the tests apart.
    import copy

    own = copy.copy(_table_of_all)
    own._prefix = f"{uuid.uuid4().hex}:dc:"
    return own
