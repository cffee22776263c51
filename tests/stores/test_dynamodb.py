"""The store's promises kept by DynamoDB."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from botocore.config import Config

from dynmemo.item import Item
from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.stores.dynamodb.rows import encode
from dynmemo.testing import StoreContract

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    from dynmemo.item import Store


class TestDynamoDBStore(StoreContract):
    PREFIX: str | None = None

    @pytest.fixture
    def open_store(self, dynamodb_table: str, dynamodb_endpoint: str) -> Callable[[], Store]:
        # Time for an engine that shares a small machine with several of us.
        return partial(
            DynamoDBStore,
            dynamodb_table,
            endpoint_url=dynamodb_endpoint,
            partition_key_prefix=self.PREFIX,
            config=Config(connect_timeout=60, read_timeout=60),
        )

    @pytest.fixture
    def store(self, dynamodb_table: str, own_client: DynamoDBClient) -> Store:
        # A client that is made once for all tests, because that takes longer than a test.
        return DynamoDBStore(dynamodb_table, client_factory=lambda: own_client)

    @pytest.fixture
    def put_foreign(
        self, store: Store, dynamodb_client: DynamoDBClient, dynamodb_table: str
    ) -> Callable[[str, Item], None]:
        def put(key: str, item: Item) -> None:
            row = {"id": {"S": store.partition_key(key)}, **encode(item, "ttl_date", "")}
            del row["etag"]
            dynamodb_client.put_item(TableName=dynamodb_table, Item=row)

        return put


class TestDynamoDBStoreWithPrefix(TestDynamoDBStore):
    """Rows without prefix and with a longer one lie in the same table, and must not show."""

    PREFIX = "session"

    @pytest.fixture
    def store(self, dynamodb_table: str, own_client: DynamoDBClient) -> Store:
        for prefix in (None, "sessions", "my:session"):
            neighbour = DynamoDBStore(dynamodb_table, partition_key_prefix=prefix, client_factory=lambda: own_client)
            for key in ("k", "a:1", "session:dc:k"):
                neighbour.write(key, Item(value=b"another's", fn="f"))
        return DynamoDBStore(dynamodb_table, partition_key_prefix=self.PREFIX, client_factory=lambda: own_client)
