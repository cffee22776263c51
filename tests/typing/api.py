"""What static type checkers make of the public API. Never executed; mypy reads it with the rest of the tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

import dynmemo
from dynmemo import Cache, CacheInfo, Entry, Explanation, Origin, dynamo_cached
from dynmemo.integrations import key_value, litestar, starsessions
from dynmemo.integrations.cachelib import DynmemoCache
from dynmemo.testing import IsolatedCache, isolated_cache

if TYPE_CHECKING:
    from cachelib import BaseCache
    from key_value.aio.protocols import AsyncKeyValue
    from litestar.stores.base import Store as LitestarStore
    from starsessions import SessionStore


@dynamo_cached
def bare(city: str, horizon: int = 14) -> list[float]:
    raise NotImplementedError


@dynamo_cached(
    ttl="24h",
    sliding=timedelta(hours=1),
    cache="sqlite:///cache.db",
    name="weather",
    version="1",
    ignore=("horizon",),
    cache_if=lambda result: len(result) > 0,
    on_error="raise",
)
def with_options(city: str, horizon: int = 14) -> list[float]:
    raise NotImplementedError


@dynamo_cached(ttl=datetime(2100, 1, 1, tzinfo=UTC), key=lambda city: city.lower())
def with_key(city: str) -> str | None:
    raise NotImplementedError


@dynamo_cached(ttl=lambda result: 60 if result else None)
def with_computed_ttl(city: str) -> bool:
    raise NotImplementedError


@dynamo_cached(ttl=60)
async def asynchronous(city: str) -> dict[str, int]:
    raise NotImplementedError


class Station:
    @dynamo_cached(ignore="self")
    def method(self, day: int) -> float:
        raise NotImplementedError

    @dynamo_cached
    async def asynchronous(self, day: int) -> float:
        raise NotImplementedError


assert_type(bare("SEA"), list[float])
assert_type(bare(city="SEA", horizon=3), list[float])
assert_type(bare.map(["SEA"]), list[list[float]])
assert_type(bare.map(["SEA"], on_item_error="return"), list[list[float] | Exception])
assert_type(bare.warm(["SEA"]), int)
assert_type(with_options("SEA"), list[float])
assert_type(with_key("SEA"), str | None)
assert_type(with_computed_ttl("SEA"), bool)

bare(1)  # type: ignore[arg-type]
bare("SEA", "3")  # type: ignore[arg-type]
bare("SEA", days=3)  # type: ignore[call-arg]
bare()  # type: ignore[call-arg]

assert_type(bare.cache_info(), CacheInfo)
assert_type(bare.cache_info().hits, int)
assert_type(bare.cache_info().maxsize, None)
assert_type(bare.cache_info().seconds_saved, float)
assert_type(dynmemo.cost(bare.cache_info(), over="1h", prices=dynmemo.Prices("eu-west-1", 0.7, 0.1, 0.3)), dynmemo.Cost)
assert_type(dynmemo.cost(dynmemo.Workload(entries=1, size=1, calls=1, sliding="1h")).dollars, float)
assert_type(bare.cache_key("SEA"), str)
assert_type(bare.recompute("SEA", horizon=3), list[float])
bare.__wrapped__("SEA")
assert_type(bare.cache_parameters(), dict[str, Any])
bare.cache_clear()
bare.invalidate("SEA")
bare.invalidate(1)  # type: ignore[arg-type]

explanation = bare.explain("SEA", horizon=3)
assert_type(explanation, Explanation)
assert_type(explanation.differences, tuple[str, ...])

entry = bare.entry("SEA")
assert_type(entry, Entry[list[float]] | None)
if entry is not None:
    assert_type(entry.size, int)
    assert_type(entry.seconds, float)
    assert_type(entry.origin, Origin | None)
    assert_type(entry.computed_at, datetime)
    assert_type(entry.expires_at, datetime | None)

station = Station()
assert_type(station.method(3), float)
assert_type(station.method.cache_info(), CacheInfo)
station.method.invalidate(3)
station.method("3")  # type: ignore[arg-type]


async def in_a_loop() -> None:
    assert_type(await asynchronous("SEA"), dict[str, int])
    assert_type(await station.asynchronous(3), float)
    assert_type(await asynchronous.recompute("SEA"), dict[str, int])
    assert_type(asynchronous.cache_info(), CacheInfo)
    assert_type(asynchronous.cache_key("SEA"), str)
    await asynchronous.invalidate("SEA")
    await asynchronous.cache_clear()
    assert_type(await asynchronous.explain("SEA"), Explanation)
    found = await asynchronous.entry("SEA")
    assert_type(found, Entry[dict[str, int]] | None)
    cache = Cache.sqlite("cache.db")
    assert_type(await cache.aget("key"), bytes | None)
    await cache.aset("key", b"", ttl=60, sliding="10s")


cache = Cache.from_url("sqlite:///cache.db")
assert_type(cache.get("key"), bytes | None)
cache.set("key", b"value", ttl="1h", sliding=60)
cache.set("key", "text")  # type: ignore[arg-type]
assert_type(dynmemo.configure("sqlite:///cache.db"), Cache)
assert_type(dynmemo.configure(verbose=True), Cache)
assert_type(dynmemo.ls()[0].name, str)
assert_type(dynmemo.ls(bare)[0].key, str)
assert_type(dynmemo.ls("weather.forecast", expired=True, sort="size")[0].size, int | None)
shown = dynmemo.show(bare, "SEA", horizon=3, cache=cache)
assert_type(None if shown is None else shown.origin, Origin | None)
assert_type(dynmemo.stats(cache).max_bytes, int | None)
assert_type(dynmemo.doctor("sqlite:///cache.db").is_good, bool)
of_cachelib: BaseCache = DynmemoCache(cache, region="sessions", sliding="90s")
of_litestar: LitestarStore = litestar.DynmemoStore("sqlite:///cache.db", secret="hush")
of_starsessions: SessionStore = starsessions.DynmemoStore(sliding=90)
of_key_value: AsyncKeyValue = key_value.DynmemoStore(region="tokens")
with isolated_cache() as isolated:
    assert_type(isolated, IsolatedCache)
    isolated.tick("90s")
dynmemo.clear()
dynmemo.clear("weather.forecast")
dynmemo.clear(bare)

dynamo_cached(unknown=1)  # type: ignore[call-overload]
