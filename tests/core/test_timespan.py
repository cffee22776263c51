from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynmemo.expiry import MAX_TICKS, TICKS_PER_SECOND, format_timespan, parse_timespan

SECOND = TICKS_PER_SECOND
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("00:01:30", 90 * SECOND),
        ("1.12:00:00", 36 * HOUR),
        ("00:00:00.0000001", 1),
        ("00:00:01.5", SECOND + SECOND // 2),
        ("6", 6 * DAY),
        ("6:12", 6 * HOUR + 12 * MINUTE),
        ("6.12:14", 6 * DAY + 12 * HOUR + 14 * MINUTE),
        ("6.12:14:45", 6 * DAY + 12 * HOUR + 14 * MINUTE + 45 * SECOND),
        ("6:12:14:45", 6 * DAY + 12 * HOUR + 14 * MINUTE + 45 * SECOND),
        ("6:12:14:45.3448", 6 * DAY + 12 * HOUR + 14 * MINUTE + 45 * SECOND + 3_448_000),
        ("  00:01:30 ", 90 * SECOND),
        ("-00:01:30", -90 * SECOND),
        ("0023:0059:0059", 23 * HOUR + 59 * MINUTE + 59 * SECOND),
        ("10675199.02:48:05.4775807", MAX_TICKS),
    ],
)
def test_reads_what_dotnet_reads(text: str, ticks: int) -> None:
    assert parse_timespan(text) == ticks


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "6.",
            ".5",
            "6.12",
            "1:2:3:4:5",
            "::",
            "a",
            "1h",
            "+1:00",
            "1e3",
            "00:00:00.12345678",
            "00:01:30\x00",
        ),
        *(
            "24:00",
            "24:00:00",
            "00:60",
            "00:00:60",
            "10675199.02:48:05.4775808",
            "99999999",
            "\u0663",
            "--1",
            "1 .00:00:01",
        ),
    ],
)
def test_refuses_what_is_no_timespan(text: str) -> None:
    with pytest.raises(ValueError, match="not a TimeSpan"):
        parse_timespan(text)


@pytest.mark.parametrize(
    ("ticks", "text"),
    [
        (0, "00:00:00"),
        (90 * SECOND, "00:01:30"),
        (36 * HOUR, "1.12:00:00"),
        (SECOND // 2, "00:00:00.5000000"),
        (-90 * SECOND, "-00:01:30"),
        (MAX_TICKS, "10675199.02:48:05.4775807"),
    ],
)
def test_writes_the_constant_format(ticks: int, text: str) -> None:
    assert format_timespan(ticks) == text


@given(st.integers(-MAX_TICKS, MAX_TICKS))
def test_text_round_trips(ticks: int) -> None:
    assert parse_timespan(format_timespan(ticks)) == ticks
