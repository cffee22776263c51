"""What decorated functions and `Cache` do with a store: keys, expiry, forgetting, and one computation for all."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache, dynamo_cached
from dynmemo.item import Expect, Item, Refused, Written
from dynmemo.parts import bytes_of
from dynmemo.testing.clock import Clock
from dynmemo.testing.contract.helpers import LEASE, existing, put
from dynmemo.testing.together import PATIENCE, at_once, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store

GOLDEN: dict[str, tuple[object, ...]] = {
    "v1:16d966f7c122ca82f305ff4715fcdcd2e7d2f5a2": (),
    "v1:8d8ff6992021f04f53a0b3f020dc094bf65866cf": ("SEA",),
    "v1:011e8dd3fdc2a07757c91ad6b7e57327d5b3de1f": ("SEA", 14),
    "v1:005211a66d465963cb82c3931bcac626746686b4": (b"SEA", 14.0, None, True),
    "v1:25e8286c2322f96445cea8274b92fb972355aec5": ({"größe": [1, 2], "日本": (3,)},),
}
"""Arguments by what stands behind the name in their key, in every process and release."""


def _echo(*arguments: object) -> list[object]:
    return list(arguments)


def _square(number: int) -> Any:
    return number * number


class Function:
    """A decorated function that notes its computations, and its clock."""

    def __init__(self, store: Store, compute: Callable[[int], Any] = _square, **options: Any) -> None:
        self.clock = Clock.present()
        self.computed: list[int] = []

        def square(number: int) -> Any:
            self.computed.append(number)
            return compute(number)

        self._square, self._options = square, options
        self._decorate(store)

    def anew(self, store: Store) -> Function:
        """As another process has it."""
        other = copy.copy(self)
        other._decorate(store)
        return other

    def _decorate(self, store: Store) -> None:
        cache = Cache(store, clock=self.clock)
        self.cached = dynamo_cached(cache=cache, name="square", version="1", **self._options)(self._square)

    def __call__(self, number: int) -> Any:
        return self.cached(number)


class Calls:
    """The store does for calls what they ask of it."""

    @pytest.mark.parametrize(
        ("name", "fn"), [("weather.forecast", "weather.forecast"), ("größe:a#b%c", "größe%3Aa%23b%25c")], ids=ascii
    )
    def test_results_lie_under_keys_that_never_change(self, store: Store, name: str, fn: str) -> None:
        forecast = dynamo_cached(cache=Cache(store), name=name, version="1")(_echo)
        keys = [f"{fn}:{rest}" for rest in GOLDEN]
        for key, arguments in zip(keys, GOLDEN.values(), strict=True):
            assert forecast.cache_key(*arguments) == key
            assert forecast(*arguments) == list(arguments)
            assert existing(store, key).fn == fn
        assert sorted(key for key, _ in store.scan(f"{fn}:")) == sorted(keys)

    def test_a_result_is_there_for_whoever_opens_the_place(self, store: Store, open_store: Callable[[], Store]) -> None:
        function = Function(store)
        assert function(3) == 9
        assert function.anew(open_store())(3) == 9
        assert function.computed == [3]

    def test_a_large_result_is_there_as_it_was(self, store: Store, open_store: Callable[[], Store]) -> None:
        function = Function(store, lambda number: bytes(range(256)) * number)
        assert function(3_000) == function.anew(open_store())(3_000) == bytes(range(256)) * 3_000
        assert function.computed == [3_000]

    def test_results_expire_and_live_on_while_they_are_used(self, store: Store) -> None:
        function = Function(store, ttl="1h", sliding="10min")
        function(3)
        for _ in range(5):
            function.clock.tick("9min")
            function(3)
        assert function.computed == [3]
        function.clock.tick("11min")
        function(3)
        assert function.computed == [3, 3]
        for _ in range(8):
            function.clock.tick("9min")
            function(3)
        assert function.computed == [3, 3, 3]

    def test_one_call_is_forgotten_and_all_are(self, store: Store) -> None:
        function = Function(store)
        for number in (1, 2, 1, 2):
            function(number)
        function.cached.invalidate(1)
        assert [function(1), function(2)] == [1, 4]
        assert function.computed == [1, 2, 1]
        put(store, "square", Item(value=b"of another program"))
        function.cached.cache_clear()
        assert [function(1), function(2)] == [1, 4]
        assert function.computed == [1, 2, 1, 1, 2]
        assert bytes_of(existing(store, "square")) == b"of another program"

    def test_who_comes_second_waits_for_the_result_of_the_first(self, store: Store) -> None:
        go = threading.Event()

        def compute(number: int) -> int:
            assert go.wait(PATIENCE)
            return number * number

        first = Function(store, compute)
        second = first.anew(store)  # with a cache of its own, as another process has
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(first, 3)]
            until(lambda: first.computed)
            calls.append(pool.submit(second, 3))
            until(lambda: second.cached.cache_info().misses)
            go.set()
            assert [call.result(PATIENCE) for call in calls] == [9, 9]
        assert first.computed == [3]

    def test_a_lease_goes_from_one_holder_to_the_next(self, store: Store) -> None:
        first = put(store, "k", LEASE, Expect())
        seen = existing(store, "k")
        refused = store.write("k", LEASE._replace(lease_owner="you"), Expect())
        assert refused == Refused(seen)
        assert store.renew("k", first, 2_000)
        assert isinstance(store.write("k", LEASE, Expect.seen(seen)), Refused)  # it is alive
        silent = existing(store, "k")
        taken = store.write("k", LEASE._replace(lease_owner="you"), Expect.seen(silent))
        assert isinstance(taken, Written)
        assert not store.renew("k", first, 3_000)
        assert isinstance(store.write("k", Item(value=b"late"), Expect(first)), Refused)
        assert isinstance(store.write("k", Item(value=b"result"), Expect(taken.etag)), Written)
        assert bytes_of(existing(store, "k")) == b"result"

    def test_of_many_who_add_one_key_one_is_told_that_it_did(self, store: Store) -> None:
        cache = Cache(store)
        assert sum(at_once(16, lambda n: cache.add("k", b"%d" % n))) == 1

    def test_no_update_is_lost(self, store: Store) -> None:
        cache = Cache(store)
        at_once(8, lambda n: [cache.update("k", lambda old: b"%d" % (int(old or 0) + 1)) for _ in range(4)])
        assert cache.get("k") == b"32"

    def test_a_region_is_forgotten_and_nothing_else(self, store: Store) -> None:
        cache = Cache(store)
        region = cache.region("sessions")
        cache.set("k", b"plain")
        region.set_many({"k": b"1", "other": b"2"})
        assert region.get_many(["k", "other", "absent"]) == {"k": b"1", "other": b"2"}
        region.clear()
        assert region.get("k") is None
        assert cache.get("k") == b"plain"
