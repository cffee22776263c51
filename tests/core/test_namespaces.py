"""Teams that share a place and nothing else: each has the names in its namespace to itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

import dynmemo
from dynmemo import Cache, InvalidOptionError, dynamo_cached
from dynmemo.keys import NAMESPACE_END, is_name_in, key_name
from dynmemo.looking import ls, show, stats
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.transfer import transfer
from tests.pythons import printed, ran

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", pytest.param("dynamodb", marks=pytest.mark.dynamodb)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{(tmp_path / 'cache.db').as_posix()}?near_max_bytes=0"
    table, endpoint = (request.getfixturevalue(name) for name in ("dynamodb_table", "dynamodb_endpoint"))
    return f"dynamodb://{table}?region=eu-west-1&endpoint_url={quote(endpoint, safe='')}"


@pytest.fixture
def back() -> Iterator[None]:
    yield
    dynmemo.configure(None)


def of(cache: Cache, name: str = "mod.load") -> Any:
    return dynamo_cached(cache=cache, name=name, version="1")(lambda x: object())


def test_nobody_finds_clears_or_purges_what_another_namespace_has(url: str) -> None:
    caches = [Cache.from_url(url), *(Cache.from_url(f"{url}&namespace={name}") for name in ("sales", "sales.eu"))]
    functions = [of(cache) for cache in caches]
    for function in functions:
        function(1), function(2)
        assert function.cache_info()[:2] == (0, 2)
    for cache in caches:
        cache.region("seen").set("k", b"v")
    for turn in (lambda cache: dynmemo.clear("mod.load"), lambda cache: dynmemo.clear(), lambda cache: dynmemo.purge()):
        for cache, function in zip(caches, functions, strict=True):
            dynmemo.configure(cache)
            for one in functions:
                one(1), one(2)
            turn(cache)
            assert [one.entry(1) is not None for one in functions] == [one is not function for one in functions]
    assert dynmemo.purge(superseded=True, expired=True).rows == 0
    dynmemo.configure(None)
    assert [cache.region("seen").get("k") for cache in caches] == [None] * 3


def test_lists_are_of_one_namespace_and_say_names_as_they_are_taken(url: str) -> None:
    plain, sales = Cache.from_url(url), Cache.from_url(f"{url}&namespace=sales")
    of(plain)(1)
    of(sales)(1), of(sales)(2)
    of(sales, "50%: #1")(1)
    assert [(row.name, row.entries) for row in ls(cache=plain)] == [("mod.load", 1)]
    assert [(row.name, row.entries) for row in ls(cache=sales)] == [("50%: #1", 1), ("mod.load", 2)]
    assert len(ls("mod.load", cache=sales)) == 2
    assert len(ls("50%: #1", cache=sales)) == 1
    shown = show(of(sales).cache_key(1), cache=sales)
    assert shown is not None
    assert (shown.function, shown.state) == ("mod.load", "live")
    assert sum(row.entries for row in stats(sales).functions) == 3


def test_entries_move_from_one_namespace_to_another(url: str, tmp_path: Path) -> None:
    plain, sales = Cache.from_url(url), Cache.from_url(f"{url}&namespace=sales&secret={'s' * 32}")
    mine = Cache.sqlite(tmp_path / "mine.db", namespace="mine")
    for name in ("mod.load", "x" * 300):
        value = of(plain, name)(1)
        assert type(value) is object
    of(sales)(7)
    assert transfer(plain, sales).copied == 2
    assert transfer(plain, sales).kept == 2
    assert transfer(sales, mine).copied == 3
    for cache in (sales, mine):
        assert of(cache).entry(1) is not None
        assert of(cache, "x" * 300).entry(1) is not None
    assert transfer(mine, plain, fn=key_name("mod.load", "mine")).copied == 1
    assert of(plain).entry(7) is not None
    mine.close()


def test_what_set_stores_has_the_key_that_is_given(url: str) -> None:
    plain, sales = Cache.from_url(url), Cache.from_url(f"{url}&namespace=sales")
    sales.set("session", b"v")
    assert plain.get("session") == b"v"
    key = of(sales).cache_key(1)
    assert key.startswith("sales%2Fmod.load:v1:")
    of(sales)(1)
    assert sales.get(key) is not None
    assert sales.store.read("sales%2F#gen") is not None
    assert sales.store.read("sales%2Fmod.load#gen") is not None
    assert plain.store.read("#gen") is None


def test_a_function_follows_the_cache_that_is_configured(tmp_path: Path, back: None) -> None:
    @dynamo_cached(name="mod.follow", version="1")
    def follow(x: int) -> int:
        return x

    url = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    dynmemo.configure(url)
    assert follow(1) == 1
    cache = dynmemo.configure(namespace="sales")
    assert (cache.namespace, os.environ["DYNMEMO_URL"]) == ("sales", f"{url}?namespace=sales")
    assert follow.cache_key(1).startswith("sales%2Fmod.follow:")
    assert follow(1) == 1
    assert follow.cache_info()[:2] == (0, 2)
    assert follow.map([1, 2]) == [1, 2]
    assert follow.cache_info()[:2] == (1, 3)
    assert dynmemo.configure(namespace="").namespace == ""
    assert follow(1) == 1
    assert follow.cache_info()[:2] == (2, 3)
    assert dynmemo.configure(url, namespace="hr") is dynmemo.configure(f"{url}?namespace=hr")


@pytest.mark.parametrize("namespace", ["a/b", "a:b", "", "x" * 31, " ", 5, "é"])
def test_a_namespace_is_a_short_plain_name(tmp_path: Path, namespace: Any) -> None:
    if namespace == "":
        assert Cache.sqlite(tmp_path / "cache.db", namespace="").namespace == ""
        return
    with pytest.raises(InvalidOptionError, match="namespace="):
        Cache.sqlite(tmp_path / "cache.db", namespace=namespace)


def test_a_cache_of_a_store_has_its_namespace_from_the_start(tmp_path: Path, back: None) -> None:
    cache = Cache(SqliteStore(tmp_path / "cache.db"), namespace="sales")
    assert of(cache).cache_key(1).startswith("sales%2F")
    dynmemo.configure(cache)
    with pytest.raises(InvalidOptionError, match="gets its namespace there"):
        dynmemo.configure(namespace="hr")
    cache.close()


def test_no_name_is_taken_for_one_in_a_namespace() -> None:
    for name in ("sales/mod.load", "sales%2Fmod.load", "%2F", "x" * 300):
        assert NAMESPACE_END not in key_name(name)
        assert is_name_in("", key_name(name))
        assert not is_name_in("sales", key_name(name))
        assert is_name_in("sales", key_name(name, "sales"))
        assert not is_name_in("", key_name(name, "sales"))
        assert not is_name_in("sal", key_name(name, "sales"))


def test_the_command_line_is_in_the_namespace_of_its_url(tmp_path: Path) -> None:
    url = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    of(Cache.from_url(url))(1), of(Cache.from_url(f"{url}?namespace=sales"))(1)
    other = ran("-m", "dynmemo", "clear", "mod.lodd", "--url", f"{url}?namespace=sales")
    assert "did you mean mod.load?" in other.stderr
    assert ": 1 entries" in printed("-m", "dynmemo", "clear", "--yes", "--url", f"{url}?namespace=sales")
    assert of(Cache.from_url(url)).entry(1) is not None
    program = "from dynmemo import dynamo_cached; print(dynamo_cached(len, name='f').cache_key('') )"
    assert printed("-c", program, DYNMEMO_URL=f"{url}?namespace=sales").startswith("sales%2Ff:")
