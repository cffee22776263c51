"""A store of each kind for the tests of this folder."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from botocore.config import Config

from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dynmemo.item import Store
    from dynmemo.testing import Clock


@pytest.fixture
def store(kind: str, request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty store that belongs to this test; every test with it runs on both kinds."""
    made: Store
    if kind == "sqlite":
        made = SqliteStore(tmp_path / "cache.db", clock=clock)
    else:
        made = DynamoDBStore(
            request.getfixturevalue("dynamodb_table"),
            endpoint_url=request.getfixturevalue("dynamodb_endpoint"),
            partition_key_name="id",
            ttl_attribute_name="expires",  # not the table's own: its engine would delete what lies in the clock's past
            config=Config(connect_timeout=60, read_timeout=60),  # a busy machine takes longer than ours allow
        )
    with closing(made):
        yield made
