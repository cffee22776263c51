"""Answers that come byte by byte end at a deadline, and count as failures."""

from __future__ import annotations

import time

import pytest
from botocore.config import Config

from dynmemo import StoreUnavailableError
from dynmemo.stores.dynamodb import DynamoDBStore
from tests.proxy import Drip, Proxy


def store_at(endpoint: str, table: str) -> DynamoDBStore:
    config = Config(read_timeout=0.3, retries={"total_max_attempts": 2, "mode": "standard"})
    names = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
    return DynamoDBStore(table, endpoint_url=endpoint, config=config, **names)  # type: ignore[arg-type]


def test_an_answer_that_drips_is_given_up_in_each_attempt(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        store = store_at(proxy.endpoint, dynamodb_table)
        proxy.breaks("*", Drip(0.05))  # some 200 bytes: 10 s each if nobody looked at the clock
        with pytest.raises(StoreUnavailableError) as caught:
            store.read("k")
        assert caught.value.code == "ReadTimeoutError"
        assert proxy.counts == {"GetItem": 2}
        proxy.heals()
        assert store.read("k") is None
        store.close()


def test_an_answer_that_drips_to_its_end_within_the_deadline_is_taken(
    dynamodb_endpoint: str, dynamodb_table: str
) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        store = store_at(proxy.endpoint, dynamodb_table)
        proxy.breaks("*", Drip(0.0))
        assert store.read("k") is None
        assert proxy.counts == {"GetItem": 1}
        store.close()


def test_the_deadline_does_not_shorten_the_next_request(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    with Proxy(dynamodb_endpoint) as proxy:
        store = store_at(proxy.endpoint, dynamodb_table)
        for _ in range(4):  # one connection, for longer than one answer may take
            assert store.read("k") is None
            time.sleep(0.2)
        assert proxy.counts == {"GetItem": 4}
        store.close()
