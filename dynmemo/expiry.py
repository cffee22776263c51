"""Expiration, as pure functions of options and `now` (Unix seconds, a float).

The rules are those of the AWS .NET Distributed Cache Provider for DynamoDB: a row carries the second
at which it expires (`ttl_date`), the second past which no refresh moves that (`ttl_deadline`)
and the sliding window (`ttl_window`). A row is expired once the clock is past `ttl_date`.
"""

from __future__ import annotations

import functools
import math
import numbers
import re
from datetime import datetime, timedelta
from typing import NamedTuple

from dynmemo.errors import InvalidOptionError
from dynmemo.item import LATEST_TIME, Item

Duration = float | timedelta | str
Ttl = Duration | datetime

NEVER = "never"
"""As `ttl`: without a hard deadline, whatever the cache's default is."""

DURATIONS = "seconds, a timedelta, or text such as '90s', '5min', '1h30m', '24 hours', '7d' or '1w'"
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_UNITS = {
    "w": "w|weeks?|W",
    "d": "d|days?|D",
    "h": "h|hr|hrs|hours?|H",
    "m": "m|min|mins|minutes?",  # not M, which is a month to pandas
    "s": "s|sec|secs|seconds?|S",
}
"""How each unit is written, as pandas and people do."""
# Compiled when it is used first, here and below: that takes longer than most modules, and `re` keeps it.
_TEXT = r"(?a)\s*" + "".join(
    rf"(?:(?P<{unit}>\d+(?:\.\d+)?)\s*(?:{words})(?![a-zA-Z])\s*)?" for unit, words in _UNITS.items()
)


def parse_duration(value: object, option: str) -> float:
    """Seconds from a number, a `timedelta`, or text of weeks, days, hours, minutes and seconds in that order.

    Raises:
        InvalidOptionError: with `option`, what was given and what is allowed; also for less than
            a second, since rows count whole seconds.
    """
    seconds = _seconds(value, option)
    if not math.isfinite(seconds):
        raise InvalidOptionError(f"{option}={value!r} is not a finite time; give {DURATIONS}, or None for no limit")
    if seconds < 1:
        raise InvalidOptionError(
            f"{option}={value!r} is below one second, the smallest time that is kept; give {DURATIONS}"
        )
    return seconds


def parse_lasting(value: object, option: str, now: float) -> float:
    """Seconds of the same forms that end before the year 10000 when they begin `now`."""
    seconds = parse_duration(value, option)
    _refuse_after_9999(now + seconds, option, value)
    return seconds


def parse_wait(value: object, option: str) -> float:
    """Seconds to wait, of the same forms; zero and fractions are allowed."""
    seconds = _seconds(value, option)
    if not math.isfinite(seconds) or seconds < 0:
        raise InvalidOptionError(f"{option}={value!r} is no time to wait; give {DURATIONS}, 0, or None for no limit")
    return seconds


def _seconds(value: object, option: str) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        match = re.fullmatch(_TEXT, value)
        if match is None or not any(match.groups()):
            raise InvalidOptionError(f"{option}={value!r} is not a time; give {DURATIONS}")
        return math.fsum(float(number) * _SECONDS[unit] for unit, number in match.groupdict(default="0").items())
    # numpy calls its timedelta64 a number, whatever its unit.
    is_count = getattr(getattr(value, "dtype", None), "kind", "") != "m"
    if is_count and not isinstance(value, bool) and isinstance(value, numbers.Real):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    raise InvalidOptionError(f"{option}={value!r} is a {type(value).__name__}; give {DURATIONS}")


class Lifetime(NamedTuple):
    """Checked expiration options: `relative` seconds or `absolute` Unix seconds, and the window in ticks of 100 ns."""

    relative: float | None = None
    absolute: float | None = None
    window: int | None = None

    @classmethod
    def parse(cls, ttl: Ttl | None, sliding: Duration | None, now: float) -> Lifetime:
        """Check and normalise the options `ttl` and `sliding`.

        Raises:
            InvalidOptionError: for zero and negative times, those below a second, naive or past datetimes, NaN,
                infinity, booleans, other types, nonsense text and anything past the year 9999.
        """
        window = None
        if sliding is not None:
            window = round(parse_lasting(sliding, "sliding", now) * TICKS_PER_SECOND)
        if isinstance(ttl, datetime):
            return cls(absolute=_absolute(ttl, now), window=window)
        if ttl is None or (isinstance(ttl, str) and ttl == NEVER):
            return cls(window=window)
        return cls(relative=parse_lasting(ttl, "ttl", now), window=window)

    def row(self, now: float) -> Item | None:
        """A row of nothing but its dates when it is written at `now`; None if the absolute time has passed."""
        deadline = None
        if self.absolute is not None:
            if now > self.absolute:
                return None
            deadline = math.floor(self.absolute)
        elif self.relative is not None:
            deadline = min(math.floor(now + self.relative), LATEST_TIME)
        if self.window is None:
            return Item(ttl_date=deadline, ttl_deadline=deadline)
        end = math.floor(now + self.window / TICKS_PER_SECOND)
        date = min(end, LATEST_TIME if deadline is None else deadline)
        return Item(ttl_date=date, ttl_deadline=deadline, ttl_window=format_timespan(self.window))


def _absolute(moment: datetime, now: float) -> float:
    if moment.replace(tzinfo=None) == datetime.max:  # what .NET's DateTimeOffset.MaxValue is there, in every time zone
        return LATEST_TIME
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidOptionError(
            f"ttl={moment!r} has no time zone, so it means another moment on every machine; "
            "give an aware datetime, for example datetime(2030, 1, 1, tzinfo=timezone.utc)"
        )
    seconds = moment.timestamp()
    if not now <= seconds:
        raise InvalidOptionError(f"ttl={moment!r} lies in the past; give a moment in the future, or a duration")
    _refuse_after_9999(seconds, "ttl", moment)
    return seconds


def _refuse_after_9999(moment: float, option: str, given: object) -> None:
    if moment > LATEST_TIME:
        raise InvalidOptionError(
            f"{option}={given!r} ends after the year 9999, the last that .NET knows; use None for no limit"
        )


def expires_at(item: Item) -> int | None:
    """The second after which the entry is expired for us, None for never.

    Rows kept for `stale_if_error` carry dates that lie `stale_for` seconds later.
    """
    return None if item.ttl_date is None else item.ttl_date - (item.stale_for or 0)


def is_expired(item: Item, now: float) -> bool:
    """Whether the entry is over, be the row deleted by the engine already or not."""
    end = expires_at(item)
    return end is not None and now > end


def refresh_due(item: Item, refresh_after: float = 0.0) -> float | None:
    """The Unix second from which on a read moves the `ttl_date` of a row; None where none does.

    None does without a window or date, when the deadline is reached, and where the window is not a TimeSpan.
    """
    date, deadline = item.ttl_date, item.ttl_deadline
    window = window_seconds(item.ttl_window)
    if window is None or date is None or (deadline is not None and date >= deadline):
        return None
    return date - (item.stale_for or 0) - window * (1.0 - refresh_after)


def refreshed_date(item: Item, now: float, refresh_after: float = 0.0) -> int | None:
    """The `ttl_date` to which a read at `now` moves the row, or None when it stays where it is.

    It stays until the part `refresh_after` (0 to 1) of the window has gone by since it was last moved, and for ever
    where `refresh_due` says so. It is never earlier than the present one and never later than the deadline.
    """
    due, window = refresh_due(item, refresh_after), window_seconds(item.ttl_window)
    if due is None or window is None or now < due:
        return None
    end = min(math.floor(now + window) + (item.stale_for or 0), LATEST_TIME)
    if item.ttl_deadline is not None:
        end = min(end, item.ttl_deadline)
    return end if end > (item.ttl_date or 0) else None


@functools.lru_cache(maxsize=256)
def window_seconds(text: str | None) -> float | None:
    """The sliding window of a row in seconds; None without one, or where it is not a TimeSpan."""
    if text is None:
        return None
    try:
        ticks = parse_timespan(text)
    except ValueError:
        return None
    return ticks / TICKS_PER_SECOND if ticks > 0 else None


TICKS_PER_SECOND = 10_000_000
MAX_TICKS = 2**63 - 1

_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60

_PATTERN = r"""(?ax)
    \s* (?P<sign>-)?
    (?: (?P<only_days>\d+)
      | (?: (?P<days>\d+) [.:] (?= \d+:\d+:\d+ | (?<=\.) \d+:\d+ ) )?
        (?P<hours>\d+) : (?P<minutes>\d+)
        (?: : (?P<seconds>\d+) (?: \. (?P<fraction>\d{1,7}) )? )?
    ) \s*"""


def format_timespan(ticks: int) -> str:
    """The text of `ticks` (100 ns each) in format "c", as .NET's ``TimeSpan.ToString()`` writes it."""
    seconds, fraction = divmod(abs(ticks), TICKS_PER_SECOND)
    days, rest = divmod(seconds, _DAY)
    hours, rest = divmod(rest, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    text = f"{hours:02}:{minutes:02}:{rest:02}"
    if days:
        text = f"{days}.{text}"
    if fraction:
        text = f"{text}.{fraction:07}"
    return f"-{text}" if ticks < 0 else text


def parse_timespan(text: str) -> int:
    """The ticks (100 ns each) of a text that ``TimeSpan.Parse`` accepts.

    Besides format "c" these are ``d`` (``6`` is six days), ``hh:mm``, ``d.hh:mm`` and
    ``d:hh:mm:ss[.f]``, with white space around and a sign. .NET reads an hour beyond 23 in
    ``hh:mm:ss`` as days; nobody writes that into a table, so it is refused here.

    Raises:
        ValueError: for any other text, and for a number that is out of its range.
    """
    match = re.fullmatch(_PATTERN, text)
    if match is None:
        raise ValueError(f"not a TimeSpan: {text!r}; the form is [d.]hh:mm:ss[.fffffff], for example 00:01:30")
    part = {
        name: int(digits) for name, digits in match.groupdict(default="0").items() if name not in {"sign", "fraction"}
    }
    for name, limit in (("hours", 23), ("minutes", 59), ("seconds", 59)):
        if part[name] > limit:
            raise ValueError(f"not a TimeSpan: {text!r}; {name} go from 0 to {limit}")
    seconds = (
        (part["only_days"] + part["days"]) * _DAY + part["hours"] * _HOUR + part["minutes"] * _MINUTE + part["seconds"]
    )
    fraction = (match["fraction"] or "").ljust(7, "0")
    ticks = seconds * TICKS_PER_SECOND + int(fraction)
    if ticks > MAX_TICKS:
        raise ValueError(f"not a TimeSpan: {text!r}; .NET ends at {format_timespan(MAX_TICKS)}")
    return -ticks if match["sign"] else ticks
