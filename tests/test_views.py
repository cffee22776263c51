"""Sizes, times and values in words, and the tables of notebooks."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dynmemo import Cache, CacheInfo, Purged, dynamo_cached, views
from dynmemo.item import LATEST_TIME

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.testing import Clock

NOW = 1_700_000_000.0
CET = timezone(timedelta(hours=1), "CET")


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (12_400, "12.4 kB"),
        (999_960, "1.0 MB"),
        (12_400_000, "12.4 MB"),
        (5_000_000_000, "5.0 GB"),
        (3_200_000_000_000, "3.2 TB"),
    ],
)
def test_sizes(count: int, words: str) -> None:
    assert views.size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0000036, "0.0036 ms"),
        (0.012, "12 ms"),
        (0.5, "0.5 s"),
        (3.21, "3.2 s"),
        (59.6, "1 min"),
        (192, "3 min 12 s"),
        (14 * 60 + 3, "14 min"),
        (7_500, "2 h 5 min"),
        (86_400, "1 day"),
        (3 * 86_400 + 4 * 3_600 + 60, "3 days 4 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert views.duration(seconds) == words


@pytest.mark.parametrize(
    ("apart", "words"),
    [(0, "now"), (-1, "1 second ago"), (-185, "3 minutes ago"), (76_000, "in 21 hours"), (-700_000, "8 days ago")],
)
def test_how_far_a_moment_is(apart: float, words: str) -> None:
    assert views.ago(NOW + apart, NOW) == words


def test_a_moment_is_told_in_the_zone_of_its_reader() -> None:
    assert views.when(NOW - 185, NOW, CET) == "2023-11-14 23:10:15 CET, 3 minutes ago"
    assert views.moment(LATEST_TIME, CET) == "9999-12-31 23:59:59 UTC"


class Strange:
    @property
    def shape(self) -> object:
        raise RuntimeError("mine")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "None"),
        (1.5, "1.5"),
        ("secret", "str of 6"),
        ([1, 2], "list of 2"),
        (np.zeros((1_000, 12)), "ndarray, 1,000 x 12"),
        (pd.DataFrame({"a": range(3)}), "DataFrame, 3 x 1"),
        (np.float64(2.5), "float64"),
        (Strange(), "Strange"),
    ],
)
def test_a_value_is_told_by_its_shape(value: object, words: str) -> None:
    assert views.shape(value) == words


def test_a_page_escapes_and_has_no_colours_classes_or_variables() -> None:
    page = views.page("<f>", "a & b", views.facts([("<what>", "<text>"), ("nothing", "")]), views.table("<t>", []))
    assert "<f>" not in page
    assert "<what>" not in page
    assert "<text>" not in page
    assert "<t>" not in page
    assert "nothing" not in page
    assert not [word for word in ("#", "rgb", "var(", "class=", "<style") if word in page.replace("&#", "")]


# -- what has such a view -------------------------------------------------------------------------


@pytest.fixture
def forecast(cache: Cache) -> Any:
    @dynamo_cached(cache=cache, name="<forecast>", ttl="24h", sliding=timedelta(hours=1))
    def forecast(city: str) -> pd.DataFrame:
        return pd.DataFrame({"secret": range(1_000)})

    forecast("SEA"), forecast("SEA")
    return forecast


def test_a_function_says_what_it_is_where_it_lies_and_how_it_did(forecast: Any, cache: Cache) -> None:
    told = repr(forecast)
    assert told.startswith(f"<dynmemo.CachedFunction <forecast> in {cache.store.location}: 1 hit, 1 miss, saved ")
    assert told == str(forecast)
    assert "\n" not in told
    page = forecast._repr_html_()
    assert "&lt;forecast&gt;" in page
    assert [text in page for text in ("24h", "1 h", "1 hit, 1 miss", ">saved<")] == [True] * 4


def test_a_function_that_nobody_called_makes_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DYNMEMO_URL", raising=False)
    monkeypatch.setattr("dynmemo.defaults.default_path", lambda: pytest.fail("a file was made"))
    monkeypatch.setattr("dynmemo.defaults._looked_up", None)
    idle = dynamo_cached(name="idle")(lambda: 1)
    assert repr(idle) == "<dynmemo.CachedFunction idle in the default cache, not used yet: 0 hits, 0 misses>"
    assert "not used yet" in idle._repr_html_()


def test_the_lifetime_of_a_function_is_told_in_words(cache: Cache) -> None:
    lasting: Callable[..., Any] = lambda ttl: dynamo_cached(cache=cache, ttl=ttl)(lambda: 1)._repr_html_()  # noqa: E731
    assert "2 min" in lasting(120)
    assert "as the result says" in lasting(lambda result: 5)
    assert ">ttl<" not in lasting(None)


def test_an_entry_of_a_frame_shows_its_shape_and_no_row(forecast: Any) -> None:
    entry = forecast.entry("SEA")
    assert repr(entry).startswith("<dynmemo.Entry DataFrame, 1,000 x 1: ")
    assert "secret" not in repr(entry) + entry._repr_html_()
    assert "as stored" in entry._repr_html_()


def test_counts_are_told_without_what_never_happened(forecast: Any) -> None:
    page = forecast.cache_info()._repr_html_()
    assert ">saved<" in page
    assert "unreadable" not in page
    assert isinstance(forecast.cache_info(), CacheInfo)
    assert repr(forecast.cache_info()).startswith("CacheInfo(hits=1, misses=1, ")


def test_a_cache_shows_no_secret_and_whether_it_works(clock: Clock) -> None:
    cache = Cache.dynamodb("weather", region="eu-west-1", secret="hunter2" * 4, default_ttl="7d")
    assert repr(cache) == "<dynmemo.Cache dynamodb://weather?default_ttl=7d&region=eu-west-1: in order>"
    page = cache._repr_html_()
    assert [text in page for text in ("signed", "7 days", "64.0 MB")] == [True] * 3
    assert "hunter2" not in page
    for _ in range(3):
        cache.write_breaker.failed("it is away")
    assert "writing is out of order" in repr(cache)
    for _ in range(3):
        cache.breaker.failed("it is away")
    assert ": out of order" in repr(cache)


def test_a_purge_is_told_with_its_cost_where_there_is_one() -> None:
    assert "1 entry and 0 parts" in Purged(scanned=3, rows=1)._repr_html_()
    assert "units" not in Purged(scanned=3, rows=1)._repr_html_()
    assert "write units" in Purged(scanned=3, rows=1, read_units=0.5, write_units=2)._repr_html_()
