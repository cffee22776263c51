"""DynamoDB did what a lease asked for, the answer was lost, and the SDK asked again."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Expect, Refused
from dynmemo.leases import Leases, Spot
from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.testing.together import until
from tests.leases.helpers import FN, GENERATION, held, read, value
from tests.proxy import LoseAnswer, error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.proxy import Proxy


@pytest.fixture
def store(proxy: Proxy, dynamodb_table: str) -> Iterator[DynamoDBStore]:
    store = DynamoDBStore(
        dynamodb_table, partition_key_name="id", ttl_attribute_name="ttl_date", endpoint_url=proxy.endpoint
    )
    with closing(store):
        yield store


@pytest.fixture
def leases(store: DynamoDBStore) -> Leases:
    return Leases(store, FN)


def test_a_claim_is_recognised_as_our_own(store: DynamoDBStore, leases: Leases, proxy: Proxy) -> None:
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    lease = held(leases.claim(Spot.at("k"), GENERATION, Expect()))
    assert proxy.counts["PutItem"] == 2
    assert read(store).etag == lease.etag
    assert lease.finish(value())


def test_a_takeover_is_recognised_as_our_own(store: DynamoDBStore, leases: Leases, proxy: Proxy) -> None:
    dead = held(leases.claim(Spot.at("k"), GENERATION, Expect()))
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    lease = held(leases.claim(Spot.at("k"), GENERATION, Expect.seen(read(store))))
    assert lease.finish(value())
    assert not dead.finish(value(b"late"))


def test_a_finish_is_recognised_as_our_own(store: DynamoDBStore, leases: Leases, proxy: Proxy) -> None:
    lease = held(leases.claim(Spot.at("k"), GENERATION, Expect()))
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    assert lease.finish(value())
    assert not lease.lost
    assert read(store).value == b"result"


def test_a_renewal_that_is_done_twice_is_a_renewal(store: DynamoDBStore, proxy: Proxy) -> None:
    lease = held(Leases(store, FN, seconds=0.5).claim(Spot.at("k"), GENERATION, Expect()))
    proxy.breaks("UpdateItem", LoseAnswer(), times=1)
    until(lambda: (read(store).lease_beat or 0) >= 2)
    assert lease.finish(value())


def test_giving_up_leaves_nothing(store: DynamoDBStore, leases: Leases, proxy: Proxy) -> None:
    lease = held(leases.claim(Spot.at("k"), GENERATION, Expect()))
    proxy.breaks("DeleteItem", LoseAnswer(), times=1)
    lease.give_up()
    assert store.read("k") is None


def test_a_claim_lost_to_another_is_still_refused(store: DynamoDBStore, leases: Leases, proxy: Proxy) -> None:
    winner = held(leases.claim(Spot.at("k"), GENERATION, Expect()))
    proxy.breaks("PutItem", LoseAnswer(), times=1)
    assert leases.claim(Spot.at("k"), GENERATION, Expect()) == Refused(read(store))
    assert winner.finish(value())


def test_renewals_go_on_after_a_time_of_throttling(store: DynamoDBStore, proxy: Proxy) -> None:
    lease = held(Leases(store, FN, seconds=0.6).claim(Spot.at("k"), GENERATION, Expect()))
    proxy.breaks("UpdateItem", error("ProvisionedThroughputExceededException"))
    until(lambda: proxy.counts["UpdateItem"] >= 4)
    proxy.heals()
    until(lambda: read(store).lease_beat)
    assert lease.finish(value())


def test_a_finish_whose_outcome_is_unknown_gives_the_lease_up_in_the_background(
    store: DynamoDBStore, proxy: Proxy
) -> None:
    lease = held(Leases(store, FN, seconds=0.9).claim(Spot.at("k"), GENERATION, Expect()))
    proxy.breaks("PutItem", error("InternalServerError", status=500))
    with pytest.raises(StoreUnavailableError), lease:
        lease.finish(value())
    until(lambda: store.read("k") is None)


def test_a_claim_whose_every_answer_was_lost_leaves_nothing(store: DynamoDBStore, proxy: Proxy) -> None:
    proxy.breaks("PutItem", LoseAnswer())
    with pytest.raises(StoreUnavailableError):
        Leases(store, FN).claim(Spot.at("k"), GENERATION, Expect())
    until(lambda: store.read("k") is None)
    assert proxy.counts["DeleteItem"] == 1
