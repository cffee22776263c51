"""DynamoDB did it, the answer was lost, the SDK asked again; or no answer ever comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

from dynmemo import Cache, StoreUnavailableError, dynamo_cached
from tests.fleet.helpers import Work
from tests.proxy import LoseAnswer, Stall

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo import CachedFunction
    from tests.proxy import Proxy


def decorated(cache: Cache, function: Callable[..., str]) -> CachedFunction[..., str]:
    return dynamo_cached(cache=cache, name="f", version=1)(function)


def cache_behind(proxy: Proxy, table: str, **config: Any) -> Cache:
    return Cache.dynamodb(
        table,
        partition_key_name="id",
        ttl_attribute_name="ttl_date",
        endpoint_url=proxy.endpoint,
        config=Config(**config),
    )


def test_a_claim_whose_answer_was_lost_is_recognised_as_our_own(proxy: Proxy, dynamodb_table: str) -> None:
    cache, work = cache_behind(proxy, dynamodb_table), Work()
    function = decorated(cache, work)
    function(1)  # makes the generations
    writes = proxy.counts["PutItem"]
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    assert [function(2), function(2)] == ["result"] * 2
    assert proxy.counts["PutItem"] == writes + 3
    info = function.cache_info()
    assert (work.runs, info.hits, info.bypassed, info.errors) == (2, 1, 0, 0)
    cache.close()


def test_a_result_whose_answer_was_lost_is_recognised_as_our_own(proxy: Proxy, dynamodb_table: str) -> None:
    cache = cache_behind(proxy, dynamodb_table)

    def compute() -> str:
        proxy.breaks("PutItem", LoseAnswer(), times=1)
        return "result"

    function = decorated(cache, compute)
    assert [function(), function()] == ["result"] * 2
    info = function.cache_info()
    assert (info.computed, info.hits, info.bypassed, info.errors) == (1, 1, 0, 0)
    cache.close()


def test_a_request_without_any_answer_is_counted_and_costs_nobody_the_result(proxy: Proxy, dynamodb_table: str) -> None:
    cache = cache_behind(proxy, dynamodb_table, read_timeout=2, retries={"total_max_attempts": 1})
    function = decorated(cache, Work())
    proxy.breaks("GetItem", Stall(), times=1)
    assert function() == "result"
    info = function.cache_info()
    assert (info.computed, info.errors, info.requests) == (1, 1, 1)
    assert function() == "result"
    assert function() == "result"
    assert function.cache_info().hits == 1
    cache.close()


def test_after_a_clear_whose_answer_was_lost_nothing_old_is_served_here(proxy: Proxy, dynamodb_table: str) -> None:
    cache, work = cache_behind(proxy, dynamodb_table, retries={"total_max_attempts": 1}), Work()
    function = decorated(cache, work)
    assert [function(), function()] == ["result"] * 2
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    with pytest.raises(StoreUnavailableError):
        function.cache_clear()
    assert [function(), function()] == ["result"] * 2
    assert work.runs == 2
    cache.close()
