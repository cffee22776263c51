"""What is drawn of the items of a sweep: rows of arguments, and of these calls with keys, equal ones once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    others: list[tuple[int, Row]] | None = None
    """Places and arguments of the equal calls, if there are any: what is no part of the key may differ."""
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
    with_owner, fn, code_now, key_of = function._self_with_owner, memo.fn, memo.identity.current, memo.arguments.key
    calls: dict[str, Call] = {}
    keys: dict[tuple[object, ...], str] = {}  # by the very objects, which the calls keep
    place = -1
    for place, (args, kwargs) in enumerate(rows):
        given = with_owner(args)
        try:
            key, not_stored = key_of(fn, code_now(), given, kwargs)
        except Exception as error:
            if type(error) not in (TypeError, UnhashableArgumentError):
                error.add_note(f"This was item {first + place}.")
                raise
            raise type(error)(f"item {first + place}: {error}") from None
        known = calls.get(key)
        if known is None:
            calls[key] = Call(key, not_stored, given, kwargs, place)
        else:
            known.others = known.others or []
            known.others.append((place, (given, kwargs)))
        objects: tuple[object, ...] = tuple(map(id, given))
        if kwargs:
            objects += (*kwargs, *map(id, kwargs.values()))
        if keys.setdefault(objects, key) != key:
            raise InvalidOptionError(
                f"item {first + place} has the very objects of an item before, and they, or what the function reads, "
                "were changed in between. Items are drawn before they are computed: let each have objects of its own"
            )
    return list(calls.values()), place + 1


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
