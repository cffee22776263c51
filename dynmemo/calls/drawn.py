"""What is drawn of the items of a sweep: rows of arguments, and of these calls with keys, equal ones once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynmemo.errors import InvalidOptionError, UnhashableArgumentError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dynmemo.calls.memo import Memo
    from dynmemo.calls.miss import Arguments, Elsewhere, Keywords
    from dynmemo.entries import Looked

    Row = tuple[Arguments, Keywords]


@dataclass(slots=True, eq=False)
class Call:
    """One call of a sweep, and all others that are equal to it."""

    key: str
    not_stored: str
    args: Arguments
    kwargs: Keywords
    place: int
    """Where in the list of results its result goes."""
    others: list[tuple[int, Row]] = field(default_factory=list)
    """Places and arguments of the equal calls: what is no part of the key may differ."""
    looked: Looked | None = None
    """What the last look-up found; None where the store could not be asked."""
    is_counted: bool = False
    """Whether it has been counted as a miss."""
    elsewhere: Elsewhere | None = None
    """Why it was put off."""
    joined: float = 0.0
    """When (Unix seconds) it was put off."""
    idle_since: float | None = None
    """Since when (monotonic) the sweep has had nothing to do but to wait for calls such as this."""
    waits: bool = False
    """Whether to wait for who computes it, as a call by itself does."""


def drawn(function: Any, rows: Iterable[Row], first: int) -> tuple[list[Call], int]:
    """The calls of a sweep, equal ones once, and how many rows there are. Each has its key before the next is drawn."""
    memo: Memo = function._self_memo
    with_owner = function._self_with_owner
    calls: dict[str, Call] = {}
    keys: dict[tuple[object, ...], str] = {}  # by the very objects, which the calls keep
    fn, place = memo.fn, 0
    for args, kwargs in rows:
        given = with_owner(args)
        try:
            call = Call(*memo.key_and_reason(given, kwargs, fn), given, kwargs, place)
        except Exception as error:
            if type(error) not in (TypeError, UnhashableArgumentError):
                error.add_note(f"This was item {first + place}.")
                raise
            raise type(error)(f"item {first + place}: {error}") from None
        known = calls.setdefault(call.key, call)
        if known is not call:
            known.others.append((place, (given, kwargs)))
        if keys.setdefault((*map(id, given), *kwargs, *map(id, kwargs.values())), call.key) != call.key:
            raise InvalidOptionError(
                f"item {first + place} has the very objects of an item before, and they, or what the function reads, "
                "were changed in between. Items are drawn before they are computed: let each have objects of its own"
            )
        place += 1
    return list(calls.values()), place


def single(items: Iterable[Any]) -> Iterator[Row]:
    """The arguments of each call of `map`."""
    __tracebackhide__ = True  # what is no iterable is the caller's error
    return (((item,), {}) for item in items)


def spread(rows: Iterable[Any]) -> Iterator[Row]:
    """Those of `starmap`."""
    for place, row in enumerate(rows):
        if isinstance(row, tuple):
            yield row, {}
        elif isinstance(row, Mapping):
            yield (), dict(row)
        else:
            raise InvalidOptionError(
                f"item {place} is a {type(row).__name__}; starmap takes tuples of arguments, or dicts of keyword "
                "arguments. For functions of one argument there is map"
            )
