from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dynmemo import InvalidOptionError
from dynmemo.expiry import Lifetime, expires_at, is_expired, parse_duration, refreshed_date
from dynmemo.item import LATEST_TIME, Item

NOW = 1_700_000_000.75


def dates(ttl: Any = None, sliding: Any = None, now: float = NOW) -> Item:
    found = Lifetime.parse(ttl, sliding, now).row(now)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (90, 90.0),
        (1.5, 1.5),
        (timedelta(minutes=2), 120.0),
        ("90s", 90.0),
        ("1h30m", 5400.0),
        ("24h", 86_400.0),
        ("7d", 604_800.0),
        ("2w", 1_209_600.0),
        ("1.5h", 5400.0),
        (" 1d 12h ", 129_600.0),
        ("1 day", 86_400.0),
        ("24 hours", 86_400.0),
        ("5min", 300.0),
        ("1h 30min", 5400.0),
        ("24H", 86_400.0),
        ("1D", 86_400.0),
        ("1 week 2 days 3 hrs 4 minutes 5 sec", 788_645.0),
        (1, 1.0),
    ],
)
def test_durations_are_seconds_timedeltas_or_text(given: object, seconds: float) -> None:
    assert parse_duration(given, "ttl") == seconds


@pytest.mark.parametrize(
    "given",
    [
        *(0, -1, 0.5, "0s", "0.4s", timedelta(0), timedelta(seconds=-5), timedelta(milliseconds=999)),
        *(math.nan, math.inf, -math.inf, 10**400, "9" * 400 + "d"),
        *(True, False, None, b"1h", [1], 1j, object()),
        *(np.timedelta64(1, "h"), np.timedelta64(60_000_000_000, "ns"), np.bool_(True)),
        *("", " ", "soon", "1", "1x", "1h1h", "30m1h", "-1h", "1h-5m", "h", "1 000s", "\u0661h", "1,5h"),
        *("1M", "1 month", "500ms", "1hour30", "1daily"),
    ],
)
def test_other_durations_are_refused_with_what_is_allowed(given: object) -> None:
    with pytest.raises(InvalidOptionError, match=r"sliding=.*(seconds, a timedelta.*'1w')"):
        parse_duration(given, "sliding")


def test_without_options_an_entry_never_expires() -> None:
    assert dates() == Item(None, None, None, None)


def test_a_relative_ttl_is_the_deadline_in_whole_seconds() -> None:
    assert dates(ttl=90) == Item(None, 1_700_000_090, 1_700_000_090, None)


def test_an_absolute_ttl_is_the_deadline() -> None:
    moment = datetime.fromtimestamp(1_700_000_500, timezone(timedelta(hours=9)))
    assert dates(ttl=moment) == Item(None, 1_700_000_500, 1_700_000_500, None)


def test_a_sliding_window_alone_has_no_deadline() -> None:
    assert dates(sliding="90s") == Item(None, 1_700_000_090, None, "00:01:30")


def test_a_sliding_window_ends_at_the_deadline() -> None:
    assert dates(ttl=60, sliding="36h") == Item(None, 1_700_000_060, 1_700_000_060, "1.12:00:00")
    assert dates(ttl=7200, sliding="1h") == Item(None, 1_700_003_600, 1_700_007_200, "01:00:00")


def test_the_date_is_the_floor_of_now_and_window() -> None:
    assert dates(sliding=1.5).ttl_date == math.floor(NOW + 1.5)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2030, 1, 1),
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime.fromtimestamp(NOW - 0.5, UTC),
    ],
)
def test_naive_and_past_datetimes_are_refused(moment: datetime) -> None:
    with pytest.raises(InvalidOptionError, match=r"ttl=.*(time zone|in the past)"):
        Lifetime.parse(moment, None, NOW)


def test_times_past_the_year_9999_are_refused() -> None:
    room = LATEST_TIME - int(NOW) - 1
    assert dates(ttl=room).ttl_date == LATEST_TIME - 1
    for ttl, sliding in ((room + 2, None), (None, timedelta.max)):
        with pytest.raises(InvalidOptionError, match="9999"):
            Lifetime.parse(ttl, sliding, NOW)


def test_a_fixed_moment_that_has_passed_since_decoration_gives_no_dates() -> None:
    lifetime = Lifetime.parse(datetime.fromtimestamp(NOW + 10, UTC), None, NOW)
    assert lifetime.row(NOW + 9) is not None
    assert lifetime.row(NOW + 11) is None


def test_an_entry_is_expired_once_the_clock_with_its_fraction_is_past_the_date() -> None:
    item = Item(b"", ttl_date=1000)
    assert not is_expired(item, 1000.0)
    assert is_expired(item, 1000.001)
    assert not is_expired(Item(b""), 1e12)


def test_a_row_kept_for_errors_is_expired_before_its_stored_date() -> None:
    item = Item(b"", ttl_date=1000, stale_for=100)
    assert expires_at(item) == 900
    assert is_expired(item, 900.5)
    assert not is_expired(item, 900.0)


def test_without_a_window_a_refresh_changes_nothing() -> None:
    assert refreshed_date(Item(b"", ttl_date=1000, ttl_deadline=2000), 990.0) is None


def test_a_window_that_is_no_timespan_changes_nothing() -> None:
    assert refreshed_date(Item(b"", ttl_date=1000, ttl_window="soon"), 990.0) is None
    assert refreshed_date(Item(b"", ttl_date=1000, ttl_window="-00:01:30"), 990.0) is None


def test_a_refresh_ends_at_the_deadline() -> None:
    item = Item(b"", ttl_date=1000, ttl_deadline=1010, ttl_window="00:01:00")
    assert refreshed_date(item, 990.0) == 1010
    assert refreshed_date(Item(b"", ttl_date=1010, ttl_deadline=1010, ttl_window="00:01:00"), 1005.0) is None


def test_a_refresh_waits_for_its_part_of_the_window() -> None:
    item = Item(b"", ttl_date=1100, ttl_window="00:01:40")
    assert refreshed_date(item, 1009.0, refresh_after=0.1) is None
    assert refreshed_date(item, 1010.0, refresh_after=0.1) == 1110
    assert refreshed_date(item, 1001.0, refresh_after=0.0) == 1101


def test_the_window_of_a_row_kept_for_errors_moves_the_shifted_date() -> None:
    item = Item(b"", ttl_date=1200, ttl_deadline=5000, ttl_window="00:01:40", stale_for=100)
    assert refreshed_date(item, 1050.0) == 1250


SECONDS = st.floats(1, 1e9)
CLOCK = st.floats(0, 4e9)


@given(ttl=SECONDS, sliding=SECONDS, now=CLOCK, later=st.floats(0, 1e9), part=st.floats(0, 1))
def test_no_refresh_is_later_than_the_deadline_or_earlier_than_before(
    ttl: float, sliding: float, now: float, later: float, part: float
) -> None:
    first = dates(ttl, sliding, now)
    assert first.ttl_date is not None
    assert first.ttl_deadline is not None
    assert first.ttl_date <= first.ttl_deadline <= now + ttl
    item = Item(b"", first.ttl_date, first.ttl_deadline, first.ttl_window)
    moved = refreshed_date(item, now + later, part)
    assume(moved is not None)
    assert moved is not None
    assert first.ttl_date < moved <= first.ttl_deadline


@given(sliding=SECONDS, now=CLOCK)
def test_a_refresh_at_once_gives_the_date_of_a_new_entry(sliding: float, now: float) -> None:
    first = dates(None, sliding, now)
    later = refreshed_date(Item(b"", first.ttl_date, None, first.ttl_window), now + 10)
    assert later == dates(None, sliding, now + 10).ttl_date
