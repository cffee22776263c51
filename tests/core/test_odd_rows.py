"""Rows of other programs, and headers that nobody has verified, may say anything: nobody who looks is raised at."""

from __future__ import annotations

import math
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

import dynmemo
from dynmemo import Cache, dynamo_cached
from dynmemo.codec import Codec

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "odd", [{"ttl_date": 10**15, "ttl_deadline": 10**15}, {"ttl_date": -(10**15)}, {"ttl_window": "soon"}], ids=repr
)
def test_rows_with_odd_dates_are_shown(cache: Cache, odd: dict[str, Any]) -> None:
    look_at_all_of_it(cache, **odd)


@pytest.mark.parametrize(
    ("computed_at", "seconds"), [(math.nan, 1), (math.inf, 1), (-1e15, 1), (1e9, math.nan), (1e9, math.inf), (1e9, -5)]
)
def test_headers_with_odd_times_are_unreadable(cache: Cache, computed_at: float, seconds: float) -> None:
    def value(key: str) -> dict[str, Any]:
        place = cache.store.partition_key(key)
        made = Codec().dumps(1, key=place, computed_at=computed_at, seconds=seconds, deadline=None)
        return {"value": bytes(made)}

    info = look_at_all_of_it(cache, value)
    assert (info.hits, info.unreadable) == (0, 1)
    assert info.seconds_saved == 0


@pytest.mark.parametrize("calls", [1, 2], ids=["call", "sweep"])
def test_a_row_without_generation_is_no_hit_either_before_one_is_known(tmp_path: Path, calls: int) -> None:
    def once_more() -> dynmemo.CacheInfo:
        with closing(Cache.sqlite(tmp_path / "cache.db")) as cache:

            @dynamo_cached(cache=cache, name="odd", version="1")
            def f(n: int) -> int:
                return n

            assert [f(0)] if calls == 1 else f.map(range(calls))
            for key in map(f.cache_key, range(calls)):
                row = cache.store.read(key)
                assert row is not None
                cache.store.write(key, row._replace(gen=None))
            return f.cache_info()

    once_more()
    assert once_more().hits == 0


def look_at_all_of_it(cache: Cache, value: Any = None, **odd: Any) -> dynmemo.CacheInfo:
    @dynamo_cached(cache=cache, name="odd", version="1")
    def f(n: int) -> int:
        return n

    f(1)
    key = f.cache_key(1)
    row = cache.store.read(key)
    assert row is not None
    cache.store.write(key, row._replace(**(value(key) if value else odd)))
    for seen in (
        dynmemo.show(f, 1),
        dynmemo.ls(f, expired=True),
        dynmemo.ls(cache=cache),
        dynmemo.stats(cache),
        f.explain(1),
        f.entry(1),
    ):
        assert repr(seen)
        assert seen is None or seen._repr_html_()
    cache.near.drop(key)
    f(1)
    return f.cache_info()
