"""Answers that come byte by byte: the one case in which a request may outlast its stated bound."""

from __future__ import annotations

from botocore.config import Config

from dynmemo.stores.dynamodb import DynamoDBStore
from tests.proxy import Drip, Proxy

READ_SECONDS = 2.0


def store_at(endpoint: str, table: str) -> DynamoDBStore:
    config = Config(read_timeout=READ_SECONDS, retries={"total_max_attempts": 2, "mode": "standard"})
    names = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
    return DynamoDBStore(table, endpoint_url=endpoint, config=config, **names)  # type: ignore[arg-type]


def test_an_answer_is_waited_for_as_long_as_it_drips(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        store = store_at(proxy.endpoint, dynamodb_table)
        # Some 200 bytes: longer in all than a read may take, each of them far within that, also on a busy machine.
        proxy.breaks("*", Drip(READ_SECONDS / 100))
        assert store.read("k") is None
        assert proxy.counts == {"GetItem": 1}
        store.close()


def test_an_answer_that_comes_byte_by_byte_is_taken(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        store = store_at(proxy.endpoint, dynamodb_table)
        proxy.breaks("*", Drip(0.0))
        assert store.read("k") is None
        assert proxy.counts == {"GetItem": 1}
        store.close()
