"""What each adapter does beside what its framework's own tests ask of it (test_suites.py)."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import flask
import flask_caching
import flask_session
import pytest
from django.conf import settings

from dynmemo import InvalidOptionError
from dynmemo.integrations import django, key_value, litestar, starsessions
from dynmemo.integrations.cachelib import DynmemoCache
from dynmemo.testing import Clock
from dynmemo.testing.together import at_once

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s" * 32


@pytest.fixture
def clock() -> Clock:
    return Clock.present()


# -- Django ------------------------------------------------------------------------------------------


@pytest.fixture
def backend(url: str, clock: Clock) -> Any:
    if not settings.configured:
        settings.configure()
    options = {"region": "web", "sliding": "90s", "secret": SECRET, "MAX_ENTRIES": 5}
    made = django.DynmemoCache(url, {"OPTIONS": options, "TIMEOUT": 600})
    made.sealed.cache.clock = clock
    return made


def test_django_says_region_window_and_hard_limit(backend: Any, clock: Clock) -> None:
    backend.set("a", 1)
    row = backend.sealed.cache.store.read("web:::1:a")
    now = int(clock.now)
    assert (row.fn, row.ttl_date, row.ttl_deadline, row.ttl_window) == ("web", now + 90, now + 600, "00:01:30")


def test_django_makes_a_backend_for_every_thread_and_they_count_together(backend: Any, url: str) -> None:
    options = {"region": "web", "sliding": "90s", "secret": SECRET, "MAX_ENTRIES": 6}
    at_once(5, lambda _: django.DynmemoCache(url, {"OPTIONS": options}).get("a"))
    assert backend.info().misses == 5
    other = django.DynmemoCache(url, {"OPTIONS": options | {"region": "other"}})
    assert other.info().misses == 0


def test_djangos_coroutines_of_many_keys_take_one_request_each(backend: Any) -> None:
    async def use() -> list[int]:
        await backend.aset("warm", 1)
        requests = [backend.info().requests]
        await backend.aset_many({"a": 1, "b": 2, "c": 3})
        requests.append(backend.info().requests)
        assert await backend.aget_many(["a", "b", "x"]) == {"a": 1, "b": 2}
        requests.append(backend.info().requests)
        await backend.adelete_many(["a", "b"])
        requests.append(backend.info().requests)
        assert not await backend.ahas_key("a")
        assert await backend.aget_or_set("a", 5) == 5
        assert await backend.aadd("a", 6) is False
        assert await backend.atouch("a", 60) is True
        assert await backend.adelete("a") is True
        await backend.aclear()
        assert await backend.aget("c") is None
        return requests

    first, *others = asyncio.run(use())
    assert others == [first + 1, first + 2, first + 3]


def test_no_increment_of_django_is_lost(backend: Any) -> None:
    backend.set("a", 0)

    def count(_: int) -> int:
        return asyncio.run(backend.aincr("a"))  # type: ignore[no-any-return]

    assert sorted(at_once(10, count)) == list(range(1, 11))
    assert asyncio.run(backend.adecr("a", 4)) == 6
    with pytest.raises(ValueError, match="'b' not found"):
        asyncio.run(backend.aincr("b"))


# -- cachelib ----------------------------------------------------------------------------------------


def test_no_increment_of_cachelib_is_lost_not_even_the_first(url: str) -> None:
    cache = DynmemoCache(url, secret=SECRET)
    assert sorted(at_once(10, lambda _: cache.inc("a", 2))) == list(range(2, 21, 2))
    assert cache.dec("b", 3) == -3


def test_flask_caching_makes_one_by_its_name(url: str) -> None:
    app = flask.Flask(__name__)
    config = {
        "CACHE_TYPE": "dynmemo.integrations.cachelib.DynmemoCache",
        "CACHE_ARGS": [url],
        "CACHE_OPTIONS": {"region": "pages", "secret": SECRET},
    }
    pages = flask_caching.Cache(app, config=config)
    computed = []

    @app.get("/")
    @pages.cached(timeout=60)
    def index() -> str:
        computed.append(1)
        return "computed once"

    client = app.test_client()
    assert [client.get("/").text for _ in range(3)] == ["computed once"] * 3
    assert computed == [1]
    made: Any = pages.cache
    assert (made.sealed.region.name, made.info().hits) == ("pages", 2)


# -- Litestar ----------------------------------------------------------------------------------------


def test_a_store_of_litestar(url: str, clock: Clock) -> None:
    async def use() -> None:
        store = litestar.DynmemoStore(url, secret=SECRET)
        store.sealed.cache.clock = clock
        assert await store.get("a") is None
        assert not await store.exists("a")
        assert await store.expires_in("a") is None
        await store.set("a", "text", expires_in=timedelta(minutes=1))
        await store.set("b", b"")
        assert (await store.get("a"), await store.get("b")) == (b"text", b"")
        assert (await store.exists("a"), await store.exists("b")) == (True, True)
        assert (await store.expires_in("a"), await store.expires_in("b")) == (60, None)
        clock.now += 61
        assert await store.get("a") is None
        assert not await store.exists("a")
        await store.delete("b")
        await store.delete("b")
        assert await store.get("b") is None

    asyncio.run(use())


def test_litestars_renewal_begins_the_time_anew_where_there_is_one(url: str, clock: Clock) -> None:
    async def use() -> None:
        store = litestar.DynmemoStore(url, secret=SECRET)
        store.sealed.cache.clock = clock
        await store.set("a", b"x", expires_in=1)
        await store.get("a", renew_for=10)
        await store.set("b", b"y")
        await store.get("b", renew_for=timedelta(seconds=10))
        clock.now += 9
        assert await store.get("a") == b"x"
        clock.now += 2
        assert await store.get("a") is None, "a read alone renews nothing"
        assert await store.get("b") == b"y"
        assert await store.get("c", renew_for=10) is None

    asyncio.run(use())


def test_litestars_renewal_waits_for_the_part_of_the_time_that_refresh_after_says(url: str, clock: Clock) -> None:
    async def use() -> list[int]:
        store = litestar.DynmemoStore(url, secret=SECRET, refresh_after=0.1)
        store.sealed.cache.clock = clock
        await store.set("a", b"x", expires_in=100)
        requests = []
        for seconds in (0, 9, 3, 0):
            clock.now += seconds
            before = store.info().requests
            assert await store.get("a", renew_for=100) == b"x"
            requests.append(store.info().requests - before)
        return requests

    assert asyncio.run(use()) == [1, 1, 2, 1]


def test_litestars_store_takes_no_window_since_its_reads_move_none() -> None:
    with pytest.raises(InvalidOptionError, match="'sliding' is no option of a sqlite cache"):
        litestar.DynmemoStore("sqlite:///web.db", sliding="90s")


def test_litestars_stores_of_other_regions_are_not_deleted(url: str) -> None:
    async def use() -> None:
        sessions, responses = (litestar.DynmemoStore(url, region=name, secret=SECRET) for name in ("a", "b"))
        for store in (sessions, responses):
            await store.set("k", b"x")
        await responses.delete_all()
        assert (await sessions.get("k"), await responses.get("k")) == (b"x", None)

    asyncio.run(use())


# -- starsessions ------------------------------------------------------------------------------------


def test_a_store_of_starsessions(url: str, clock: Clock) -> None:
    async def use() -> None:
        store = starsessions.DynmemoStore(url, secret=SECRET, sliding="90s")
        store.sealed.cache.clock = clock
        assert await store.read("sid", 600) == b""
        assert await store.write("sid", b"{}", 600, 600) == "sid"
        clock.now += 89
        assert await store.read("sid", 600) == b"{}"
        clock.now += 2
        assert await store.read("sid", 600) == b"", "reading alone moves no window: who loads a session writes it"
        await store.write("sid", b"{}", 600, 0)
        assert await store.read("sid", 600) == b"", "its lifetime is over"
        store = starsessions.DynmemoStore(store.sealed.cache)
        await store.write("sid", b"{}", 0, 0)
        assert store.sealed.peek("sid") == (b"{}", starsessions.UNLIMITED_SECONDS)
        await store.remove("sid")
        assert await store.read("sid", 600) == b""

    asyncio.run(use())


# -- py-key-value-aio --------------------------------------------------------------------------------


def test_a_store_of_key_value(url: str) -> None:
    async def use() -> None:
        store = key_value.DynmemoStore(url, secret=SECRET)
        await store.put("a", {"x": [1, None, "ü"]}, collection="mine", ttl=100)
        await store.put_many(["a", "b"], [{}, {"y": 2.5}])
        assert await store.get("a", collection="mine") == {"x": [1, None, "ü"]}
        assert await store.get_many(["a", "b", "c"]) == [{}, {"y": 2.5}, None]
        value, left = await store.ttl("a", collection="mine")
        assert value
        assert 90 < (left or 0) <= 100
        assert await store.ttl("b") == ({"y": 2.5}, None)
        assert await store.delete("a")
        assert not await store.delete("a")
        assert await store.delete_many(["a", "b"]) == 1
        await store.put("b", {})
        assert await store.destroy_collection("mine")
        assert (await store.get("a", collection="mine"), await store.get("b")) == (None, {})
        other = key_value.DynmemoStore(url, secret="t" * 32)
        assert await other.get("b") is None
        assert other.collections["default_collection"].info().unreadable == 1

    asyncio.run(use())


def test_an_entry_of_key_value_ends_with_its_time(url: str, clock: Clock) -> None:
    async def use() -> None:
        store = key_value.DynmemoStore(url, secret=SECRET)
        await store.put("a", {}, ttl=100)
        await store.put_many(["b"], [{}], ttl=100)
        store.collections["default_collection"].cache.clock = clock
        clock.now = time.time() + 101  # a busy machine may have taken a while for all this
        assert await store.get_many(["a", "b"]) == [None, None]

    asyncio.run(use())


# -- what pages cost ---------------------------------------------------------------------------------


def visits(url: str, clock: Clock, seconds: list[int], *, sliding: str = "90s", **options: Any) -> list[int]:
    """Requests of each view of a page that only looks at the session, so many seconds after the one before."""
    refresh_each = options.pop("SESSION_REFRESH_EACH_REQUEST", False)
    cache = DynmemoCache(url, sliding=sliding, secret=SECRET, **options)
    cache.sealed.cache.clock = clock
    app = flask.Flask(__name__)
    app.config.update(
        SESSION_TYPE="cachelib", SESSION_CACHELIB=cache, SESSION_REFRESH_EACH_REQUEST=refresh_each, TESTING=True
    )
    flask_session.Session(app)

    @app.get("/")
    def count() -> str:
        flask.session["visits"] = 1
        return ""

    @app.get("/look")
    def look() -> str:
        return str(flask.session["visits"])

    client = app.test_client()
    client.get("/")
    counts = []
    for pause in seconds:
        clock.now += pause
        before = cache.info().requests
        assert client.get("/look").text == "1"
        counts.append(cache.info().requests - before)
    return counts


def test_flask_session_writes_all_of_it_with_every_page_unless_told_not_to(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    assert visits(url, clock, [1, 1], SESSION_REFRESH_EACH_REQUEST=True) == [3, 3]
    assert visits(url, clock, [1, 1]) == [2, 2]


def test_refresh_after_a_tenth_of_twenty_minutes_moves_one_date_in_four_views(tmp_path: Path, clock: Clock) -> None:
    url = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    assert visits(url, clock, [30] * 8, sliding="20min") == [2] * 8
    assert visits(url, clock, [30] * 8, sliding="20min", refresh_after=0.1) == [1, 1, 1, 2] * 2
