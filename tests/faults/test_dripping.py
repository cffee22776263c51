"""Answers that come byte by byte: the one case in which a request may outlast its stated bound."""

from __future__ import annotations

from botocore.config import Config

from dynmemo.stores.dynamodb import DynamoDBStore
from tests.proxy import Drip, Proxy


def store_at(endpoint: str, table: str) -> DynamoDBStore:
    config = Config(read_timeout=0.3, retries={"total_max_attempts": 2, "mode": "standard"})
    names = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
    return DynamoDBStore(table, endpoint_url=endpoint, config=config, **names)  # type: ignore[arg-type]


def test_an_answer_is_waited_for_as_long_as_it_drips(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        store = store_at(proxy.endpoint, dynamodb_table)
        proxy.breaks("*", Drip(0.01))  # some 200 bytes: 2 s in all, each within the 0.3 s that a read may take
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
