"""What `explain()` answers, as text and as a table for notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dynmemo import views

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from dynmemo.keys.arguments import Argument
    from dynmemo.keys.identity import Ingredient
    from dynmemo.origin import Origin

State = Literal[
    "live", "expired", "absent", "cleared", "unreadable", "computing", "not shareable", "unavailable", "disabled"
]

_SHORT = 12
_KINDS = {
    "function": "helper",
    "closure": "closed over",
    "state": "own state",
    "opaque": "by name only",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the key of a call is made of and what the cache holds for it; `print` it, or let a notebook show it.

    It holds names, types and digests, never the content of an argument or of a global.

    Example:
        >>> explanation = forecast.explain("SEA")
        >>> explanation.state, [argument.name for argument in explanation.arguments]
        ('absent', ['city', 'horizon'])
    """

    name: str
    """The function's name in keys, before it is escaped."""
    key: str
    """The key of the call, as `Cache.get` takes it."""
    code: str
    """The code part of the key: a fingerprint, ``v...`` for ``version=``, or ``off``."""
    ingredients: tuple[Ingredient, ...]
    """What the fingerprint was made of, the function itself first, and what was left out of it on purpose."""
    arguments: tuple[Argument, ...]
    """The parameters with a digest of each that counts."""
    store: str
    """Where was looked: a path, or table, region and endpoint."""
    state: State
    """What the store holds; only ``"live"`` is a hit."""
    detail: str
    """The same as a sentence."""
    expires_at: datetime | None
    """When a live entry expires unless it is used before, or when an expired one did (UTC); None for never."""
    nearest: str
    """With what a missing call was compared, the nearest known one; empty if none is known."""
    differences: tuple[str, ...]
    """In what it differs from that: ``argument `horizon` differs``, ``helper `smooth` was edited``."""
    origin: Origin | None
    """Where a live entry comes from; None where that was not stored."""

    def __str__(self) -> str:
        return "\n".join(_text(self))

    __repr__ = __str__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))

    def _repr_html_(self) -> str:
        return _html(self)


Explanation.__module__ = "dynmemo"  # as for all public names; see there


class _Row(NamedTuple):
    """A line of either form; `quiet` ones are notes."""

    what: str
    name: str
    digest: str = ""
    note: str = ""


def headline(state: State) -> str:
    """What a state means for a call."""
    if state in {"unavailable", "disabled"}:
        return state
    return "hit" if state == "live" else f"miss, {state}"


def _outline(explanation: Explanation) -> Iterator[_Row]:
    yield _Row("key", explanation.key)
    if explanation.store:
        yield _Row("store", explanation.store)
    yield _Row("state", f"{explanation.state}: {explanation.detail}")
    if explanation.origin is not None:
        yield _Row("origin", str(explanation.origin))
    for difference in explanation.differences:
        yield _Row("differs", difference)
    if explanation.nearest:
        yield _Row("nearest", explanation.nearest)


def _code_title(explanation: Explanation) -> str:
    if explanation.code == "off":
        return 'code: does not count (code="off")'
    pinned = explanation.code.startswith("v")
    return f"code: pinned by version= ({explanation.code})" if pinned else f"code: {explanation.code}"


def _sections(explanation: Explanation) -> Iterator[tuple[str, list[_Row]]]:
    code = []
    for index, one in enumerate(explanation.ingredients):
        kind = "function" if index == 0 and one.kind == "function" else _KINDS.get(one.kind, one.kind)
        code.append(_Row(kind, one.name, one.digest or "", one.note))
    yield _code_title(explanation), code
    of_each = [_Row(one.name, one.type_name, (one.digest or "")[:_SHORT], one.note) for one in explanation.arguments]
    yield f"arguments: {explanation.key.rpartition(':')[2]}", of_each


def _text(explanation: Explanation) -> Iterator[str]:
    yield f"{explanation.name}: {headline(explanation.state)}"
    for row in _outline(explanation):
        yield f"  {row.what:<8} {row.name}"
    for title, rows in _sections(explanation):
        yield title
        kind = max((len(row.what) for row in rows), default=0)
        name = max((len(row.name) for row in rows), default=0)
        for row in rows:
            yield f"  {row.what:<{kind}}  {row.name:<{name}}  {row.digest:<{_SHORT}}  {row.note}".rstrip()


def _html(explanation: Explanation) -> str:
    outline = views.facts((row.what, row.name) for row in _outline(explanation))
    sections = (views.table(title, map(_cells, rows)) for title, rows in _sections(explanation))
    return views.page(explanation.name, headline(explanation.state), outline, *sections)


def _cells(row: _Row) -> tuple[str, ...]:
    return views.label(row.what), views.code(row.name), views.code(row.digest), views.note(row.note)
