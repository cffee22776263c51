"""The text form of a .NET TimeSpan, in which sliding windows stand in the table.

The constant format "c" is ``[-][d.]hh:mm:ss[.fffffff]``: 90 seconds are ``00:01:30``, 36 hours
``1.12:00:00``. Values are integers of 100 nanoseconds (ticks), because seven decimals do not
survive in a float. See Microsoft's "Standard TimeSpan format strings" and `TimeSpan.Parse`.
"""

from __future__ import annotations

import re

TICKS_PER_SECOND = 10_000_000
MAX_TICKS = 2**63 - 1

_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60

_PATTERN = re.compile(
    r"""\s* (?P<sign>-)?
    (?: (?P<only_days>\d+)
      | (?: (?P<days>\d+) [.:] (?= \d+:\d+:\d+ | (?<=\.) \d+:\d+ ) )?
        (?P<hours>\d+) : (?P<minutes>\d+)
        (?: : (?P<seconds>\d+) (?: \. (?P<fraction>\d{1,7}) )? )?
    ) \s*""",
    re.VERBOSE | re.ASCII,
)


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
    match = _PATTERN.fullmatch(text)
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
