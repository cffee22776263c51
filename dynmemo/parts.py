"""Values that lie outside of their rows: how they are written and read, whatever the place, and their parts in a table.

Such a value comes first, complete, and its row last. Every write of a value has a write id of its own, so nothing is
ever overwritten: what one row points to is whole or gone, whoever else writes or dies.

A part lies under ``{key}#{write_id}#{n}`` (n from 0).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Protocol, TypeVar

from blake3 import blake3

from dynmemo._process import new_token
from dynmemo.errors import DynmemoError, StoreUnavailableError
from dynmemo.expiry import TICKS_PER_SECOND, parse_timespan
from dynmemo.item import LATEST_TIME, Content, Parts, Pieces, Refused, pieces_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dynmemo.item import Item, Written

Value = TypeVar("Value", bytes, Content)

DAY = 86_400
LEAST_SLIDING_SECONDS = 7 * DAY
SLIDING_WINDOWS = 30

ORPHAN_SECONDS = 3600
"""A write that began so long ago has ended."""

SMALLEST_PART = 256_000
"""Bytes that every part but the last has at least; a row that announces more parts than that gives is nonsense."""

IN_FILE = "file"
"""The location of a value that lies in a file beside the database."""

THREADS_FROM = 4_000_000
"""Bytes from which waking other threads pays (on 2 processors they take no less time up to 10 MB)."""

THREADS = min(8, os.cpu_count() or 1)
"""Of one hasher only: a forked child that used blake3's shared pool (`AUTO`) would wait for ever for its threads."""

_WRITE_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_PART_KEY = re.compile(r"(?P<row>.+)#(?P<write_id>[0-9a-f]{24})#[0-9]+", re.ASCII | re.DOTALL)


SERVER_FAILED = ("InternalServerError", "InternalFailure", "ServiceUnavailable")
"""Codes of a server that failed itself, perhaps after it had written."""

_DID_NOT_WRITE = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_READONLY")
"""With what the codes begin of an SQLite that did not write."""


class Place(Protocol):
    """Where values lie outside of their rows."""

    def plan(self, key: str, row: Item, value: bytes | Content) -> tuple[Item, Parts]:
        """The row with dates that the place can keep, and where the value will lie. Asks nothing of the place."""
        ...

    def put(self, key: str, row: Item, parts: Parts, value: bytes | Content) -> None:
        """Keep a value as it was planned."""
        ...

    def get(self, key: str, parts: Parts, *, again: bool = False) -> bytes | Content | None:
        """The value; None if it is missing, is not the one that was written, or lies in another place.

        `again` says that the first look may have come too early.
        """
        ...

    def delete(self, key: str, parts: Parts) -> None:
        """Delete what nobody needs. What fails is left to what clears up in that place."""
        ...


def write_outside(place: Place, key: str, item: Item, put: Callable[[Item], Written | Refused]) -> Written | Refused:
    """Put the value into its place, then its row with `put`. A row that is not put takes the value along."""
    value = item.value or b""
    row, parts = place.plan(key, item._replace(value=None), value)
    try:
        place.put(key, row, parts, value)
        answer = put(row._replace(parts=parts))
    except DynmemoError as error:
        # Without the store's word that it did not write, the row may stand there and needs its value.
        was_refused = (
            not isinstance(error, StoreUnavailableError)
            or (error.request_id is not None and error.code not in SERVER_FAILED)
            or (error.code or "").startswith(_DID_NOT_WRITE)
        )
        if was_refused:
            place.delete(key, parts)
        raise
    if isinstance(answer, Refused):
        place.delete(key, parts)
    return answer


def whole(
    places: Callable[[], Sequence[Place]], key: str, row: Item | None, reread: Callable[[], Item | None]
) -> Item | None:
    """The row with its value, wherever that lies; without one when it is gone even after `reread`."""
    again = False
    while row is not None and row.value is None and row.parts is not None:
        for place in places():
            value = place.get(key, row.parts, again=again)
            if value is not None:
                return row._replace(value=value)
        if again:
            return row
        row, again = reread(), True
    return row


def new_write_id(now: float) -> str:
    """24 hexadecimal digits: the Unix second in which the write began, then 64 random bits."""
    return f"{int(now):08x}{new_token()[:16]}"


def began_at(write_id: str) -> int | None:
    """The Unix second in which a write began; None for what is no write id."""
    return int(write_id[:8], 16) if _WRITE_ID.fullmatch(write_id) else None


def is_orphaned(write_id: str, now: float) -> bool:
    """Whether a value that no row leads to is one that a killed writer left: the row comes last."""
    began = began_at(write_id)
    return began is not None and now - began > ORPHAN_SECONDS


def part_key(key: str, write_id: str, n: int) -> str:
    """The key of part `n` (from 0) of the value of the row `key`."""
    return f"{key}#{write_id}#{n}"


def owner(key: str) -> tuple[str, str] | None:
    """The key of the row and the write id to which the part under `key` belongs; None for a key of no part.

    The names in keys of decorated functions are escaped, so theirs are told apart with certainty.
    """
    match = _PART_KEY.fullmatch(key)
    return None if match is None else (match["row"], match["write_id"])


def cut(value: bytes | Content, write_id: str, size: int) -> Parts:
    """What a row says of `value` when it lies in parts of `size` bytes."""
    return Parts(write_id, -(-len(value) // size), len(value), digest(value))


def in_one(value: bytes | Content, write_id: str, location: str) -> Parts:
    """What a row says of `value` when it lies in one object or file."""
    return Parts(write_id, 0, len(value), digest(value), location)


def digest(value: bytes | Content) -> bytes:
    """BLAKE3 of a value, 32 bytes; of a large one by all processors."""
    hasher = blake3(max_threads=THREADS if len(value) >= THREADS_FROM else 1)
    for piece in pieces_of(value):
        hasher.update(piece)
    return hasher.digest()


def join(pieces: Sequence[bytes | None], parts: Parts) -> Content | None:
    """The value; None when a piece is missing or they are not those that were written."""
    present = [piece for piece in pieces if piece is not None]
    if not len(pieces) == len(present) == parts.count:
        return None
    return checked(Pieces(present), parts)


def checked(value: Value, parts: Parts) -> Value | None:
    """`value` if it is the one that the row speaks of, else None."""
    return value if len(value) == parts.length and digest(value) == parts.digest else None


def bytes_of(row: Item) -> bytes | None:
    """The value of a row as one bytes object; None if it has none, or not the one that the row speaks of.

    A network filesystem may have lost by now what was open.
    """
    if row.value is None or isinstance(row.value, bytes):
        return row.value
    try:
        value = bytes(row.value)
    except OSError:
        return None
    return value if row.parts is None else checked(value, row.parts)


def is_plausible(parts: Parts) -> bool:
    """Whether so many parts can hold that many bytes; rows of other programs may say anything."""
    return 1 <= parts.count <= max(parts.length, 0) // SMALLEST_PART + 1


def with_deadline(item: Item) -> Item:
    """The row of a value in parts: one that slides without end gets a deadline, since its parts need a TTL.

    That is 7 days or 30 windows after the write, whichever is later.
    """
    if item.ttl_window is None or item.ttl_date is None or item.ttl_deadline is not None:
        return item
    window = parse_timespan(item.ttl_window) / TICKS_PER_SECOND
    furthest = item.ttl_date - window + max(LEAST_SLIDING_SECONDS, SLIDING_WINDOWS * window)
    return item._replace(ttl_deadline=min(max(int(furthest), item.ttl_date), LATEST_TIME))


def ttl_date(row: Item) -> int | None:
    """The TTL of the parts of `row`: a day after the furthest that it can live, None if it never expires."""
    if row.ttl_date is None:
        return None
    furthest = row.ttl_date if row.ttl_window is None else max(row.ttl_date, row.ttl_deadline or 0)
    return min(furthest + DAY, LATEST_TIME)
