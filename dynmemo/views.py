"""What people are shown: sizes and times in words, and tables for notebooks. Pure: `now` and the zone are given.

A table has no colours, classes or variables of its own: notebooks take these away or turn them around, and what is
left looks right on white and on black, trusted or not.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import tzinfo

_SCALARS = frozenset({type(None), bool, int, float, complex})
_LATEST = 253_402_300_799  # where dates end
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


# -- in words ------------------------------------------------------------------------------------------------


def size(count: int) -> str:
    """Bytes: ``108 bytes``, ``12.4 MB``."""
    if count < 1_000:
        return counted(count, "byte")
    scaled = count / 1_000
    for unit in ("kB", "MB", "GB"):
        if scaled < 999.95:
            return f"{scaled:.1f} {unit}"
        scaled /= 1_000
    return f"{scaled:,.1f} TB"


def duration(seconds: float) -> str:
    """``12 ms``, ``3.2 s``, ``14 min``, ``2 h 5 min``, ``3 days 4 h``."""
    if seconds < 0.0995:
        return f"{seconds * 1_000:.2g} ms"
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [counted(days, "day") if days else "", f"{hours} h" if hours else ""]
    if not days:
        parts.append(f"{minutes} min" if minutes else "")
    if not days and not hours and minutes < 10:
        parts.append(f"{rest} s" if rest else "")
    return " ".join(filter(None, parts))


def utc(seconds: float) -> datetime:
    """Unix seconds as a date; where rows of other programs say what is none, the one that is nearest."""
    return datetime.fromtimestamp(min(max(0, seconds), _LATEST), UTC)


def utc_or_none(seconds: float | None) -> datetime | None:
    """`utc` of what may not be."""
    return None if seconds is None else utc(seconds)


def moment(seconds: float, zone: tzinfo | None = None) -> str:
    """Unix seconds as a date in `zone`, or in that of this machine: ``2026-03-01 14:02:10 CET``."""
    date = utc(seconds).replace(microsecond=0)
    with suppress(OverflowError, ValueError, OSError):  # the last hours of the year 9999 are over in the east
        date = date.astimezone(zone)
    return f"{date:%Y-%m-%d %H:%M:%S %Z}"


def clock_time(seconds: float, now: float) -> str:
    """Unix seconds in the zone of this machine: ``14:02:10``, with the date where that is another one than `now`'s."""
    then = datetime.fromtimestamp(int(seconds)).astimezone()
    is_today = then.date() == datetime.fromtimestamp(now).astimezone().date()
    return f"{then:%H:%M:%S}" if is_today else f"{then:%Y-%m-%d %H:%M:%S}"


def ago(seconds: float, now: float) -> str:
    """How far Unix seconds are from `now`: ``3 minutes ago``, ``in 21 hours``, ``now``."""
    apart = abs(round(now - seconds))
    for unit, length in _UNITS:
        if apart >= length:
            words = counted(apart // length, unit)
            return f"{words} ago" if seconds < now else f"in {words}"
    return "now"


def when(seconds: float, now: float, zone: tzinfo | None = None) -> str:
    """`moment`, and how far it is from `now`."""
    return f"{moment(seconds, zone)}, {ago(seconds, now)}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """``1 hit``, ``2 hits``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {plural or noun + 's'}"


def shape(value: object) -> str:
    """What a value is and how large, without its content: ``DataFrame, 1,000 x 12``, ``list of 3``; a number itself."""
    if type(value) in _SCALARS:
        return repr(value)
    name = type(value).__qualname__
    with suppress(Exception):  # objects may do anything when looked at
        given: Any = getattr(value, "shape", None)
        if isinstance(given, tuple) and given:
            return f"{name}, {' x '.join(f'{length:,}' for length in given)}"
        return f"{name} of {len(value):,}"  # type: ignore[arg-type]  # what has no length raises
    return name


# -- in tables -----------------------------------------------------------------------------------------------

_PAGE = "background:transparent;color:inherit;line-height:1.5"
_TABLE = "border-collapse:collapse;margin:6px 0;background:transparent;color:inherit"
_TITLE = "text-align:left;white-space:nowrap;font-weight:bold;color:inherit;padding:2px 0;caption-side:top"
_CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;border:0;overflow-wrap:anywhere"
_FAINT = "opacity:.7"
_LABEL = f"{_FAINT};white-space:nowrap"
_CODE = "font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.92em"


def page(name: str, headline: str, *tables: str) -> str:
    """A name with what is to be said of it in a word, and tables below it."""
    return f'<div style="{_PAGE}"><b>{_span(name, _CODE)}: {_escaped(headline)}</b>{"".join(tables)}</div>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A table of labels and texts; what has no text is left out."""
    return table("", ([label(what), plain(text)] for what, text in rows if text))


def table(title: str, rows: Iterable[Iterable[str]]) -> str:
    """A table of cells that the functions below made."""
    caption = f'<caption style="{_TITLE}">{_escaped(title)}</caption>' if title else ""
    body = "".join(f'<tr style="background:transparent">{"".join(cells)}</tr>' for cells in rows)
    return f'<table style="{_TABLE}">{caption}{body}</table>'


def plain(text: str, style: str = "") -> str:
    """A cell."""
    return f'<td style="{_CELL}">{_span(text, style)}</td>'


def label(text: str) -> str:
    """A cell that says what the next one is."""
    return plain(text, _LABEL)


def code(text: str) -> str:
    """A cell of a name or digest."""
    return plain(text, _CODE)


def note(text: str) -> str:
    """A cell of a remark."""
    return plain(text, _FAINT)


def _span(text: str, style: str) -> str:
    return f'<span style="{style}">{_escaped(text)}</span>' if style else _escaped(text)


def _escaped(text: str) -> str:
    import html

    return html.escape(text)
