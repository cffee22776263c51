"""What lies in a cache, as people ask for it."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from dynmemo import Cache, InvalidOptionError, dynamo_cached
from dynmemo.explain.inventory import header_of, list_entries, list_functions, show_entry
from dynmemo.item import Item
from dynmemo.stores.sqlite import SqliteStore

RANDOM = random.Random(1)

if TYPE_CHECKING:
    from dynmemo.item import Store
    from dynmemo.testing import Clock


@pytest.fixture
def cache(store: Store, clock: Clock) -> Cache:
    return Cache(store, clock=clock)


def test_functions_and_regions_are_listed_with_what_lies_there(cache: Cache, clock: Clock) -> None:
    @dynamo_cached(cache=cache, name="small", version="1", ttl="1h")
    def small(n: int) -> int:
        return n

    @dynamo_cached(cache=cache, name="large", version="1")
    def large(n: int) -> bytes:
        return RANDOM.randbytes(700_000)

    begin = clock.now
    for n in range(3):
        small(n)
        clock.now += 10
    large(0)
    cache.region("sessions").set("a", b"x", ttl=5)
    clock.now += 6
    cache.set("plain", b"nobody's")
    cache.store.write("small:v1:x", Item(fn="small", gen="g", lease_owner="me", lease_seconds=30.0, ttl_date=2**33))
    found = {listed.name: listed for listed in list_functions(cache)}
    assert list(found) == ["large", "sessions", "small"]
    assert [(each.entries, each.others, each.codes) for each in found.values()] == [(1, 0, 1), (0, 1, 0), (3, 0, 1)]
    assert found["small"].next_expiry == datetime.fromtimestamp(begin + 3600, UTC)
    assert found["large"].size is not None
    assert 700_000 < found["large"].size < 703_000
    if isinstance(cache.store, SqliteStore):
        assert (found["small"].oldest, found["small"].newest) == (
            datetime.fromtimestamp(begin, UTC),
            datetime.fromtimestamp(begin + 20, UTC),
        )
        assert found["small"].saved is not None
    small.cache_clear()
    assert [listed.entries for listed in list_functions(cache) if listed.name == "small"] in ([], [0])


def test_the_entries_of_one_function_are_listed_in_the_order_asked_for(cache: Cache, clock: Clock) -> None:
    @dynamo_cached(cache=cache, name="sized", version="1", serializer="bytes")
    def sized(n: int) -> bytes:
        return RANDOM.randbytes(n)

    sizes = [500_000, 10, 600_000]
    for n in sizes:
        sized(n)
        clock.now += 1
    keys = {sized.cache_key(n): n for n in sizes}
    assert [keys[entry.key] for entry in list_entries(cache, "sized", sort="size")][:2] == [600_000, 500_000]
    assert [entry.key for entry in list_entries(cache, "sized", sort="name")] == sorted(keys)
    assert {(entry.state, entry.code) for entry in list_entries(cache, "sized")} == {("live", "v1")}
    if isinstance(cache.store, SqliteStore):
        assert [keys[entry.key] for entry in list_entries(cache, "sized")] == sizes[::-1]
    with pytest.raises(InvalidOptionError, match="there are name, size, age, saved"):
        list_entries(cache, "sized", sort="color")


def test_a_region_is_listed_by_the_name_that_it_was_given_and_its_small_values_by_their_bytes(cache: Cache) -> None:
    cache.region("web:100%").set("a", b"12345")
    [listed] = list_functions(cache)
    assert listed.name == "web:100%"
    [entry] = list_entries(cache, listed.name)
    assert entry.size == (5 if isinstance(cache.store, SqliteStore) else None)


def test_a_row_is_shown_by_what_its_envelope_says(cache: Cache) -> None:
    @dynamo_cached(cache=cache, name="f", version="1")
    def function() -> bytes:
        return bytes(700_000)

    function()
    cache.set("plain", b"bytes")
    found = header_of(cache, function.cache_key())
    assert found is not None
    assert found[1] is not None
    assert found[1].serializer == "pickle"
    assert header_of(cache, "nowhere") is None
    plain = header_of(cache, "plain")
    assert plain is not None
    assert plain[1] is None


def test_an_entry_says_who_has_computed_it_and_one_of_a_cache_without_origins_does_not(store: Store) -> None:
    @dynamo_cached(cache=Cache(store), name="told", version="1")
    def told() -> int:
        return 1

    @dynamo_cached(cache=Cache(store, origin=False), name="untold", version="1")
    def untold() -> int:
        return 1

    for function, is_told in ((told, True), (untold, False)):
        function()
        cache = Cache(store)
        shown, [listed] = show_entry(cache, function.cache_key()), list_entries(cache, function.__name__)
        assert shown is not None
        assert (shown.origin is not None) is is_told
        if isinstance(store, SqliteStore):
            assert listed.origin == shown.origin
        who = f"(pid {os.getpid()}" if is_told else ""
        assert who in shown.in_words()["by"]
