"""`explain()`: why a call hits or misses. It computes nothing, writes nothing, and takes a broken store as it is."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from dynmemo import expiry, views
from dynmemo.codec import origin_told
from dynmemo.defaults import is_disabled
from dynmemo.errors import InvalidOptionError, InvalidTableError, StoreUnavailableError
from dynmemo.explain.differences import Call, History, Known, history, is_small
from dynmemo.explain.explanation import Explanation, headline
from dynmemo.item import Content
from dynmemo.keys import keys_of, lease_key
from dynmemo.leases import Verdict
from dynmemo.origin import read_origin, told_holder
from dynmemo.parts import IN_FILE
from dynmemo.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from dynmemo.codec import Decoded
    from dynmemo.entries import Entries, Looked
    from dynmemo.explain.explanation import State
    from dynmemo.item import Item
    from dynmemo.origin import Origin

__all__ = ["Call", "Explanation", "History", "Known", "explain", "history", "in_short", "is_small"]

MOST_ROWS = 10_000
"""Rows of a local store that are looked at for the nearest call."""


class _Standing(NamedTuple):
    """What the cache holds for a call."""

    state: State
    detail: str
    expires_at: datetime | None = None
    origin: Origin | None = None


def explain(name: str, call: Known, history: History, entries: Callable[[], Entries]) -> Explanation:
    """What the key of a call is made of and what the cache holds for it.

    Args:
        name: of the function.
        call: the call.
        history: what this process knows of other calls of the function.
        entries: gives those of the function in the cache in force; raises `InvalidOptionError` if there is none.
    """
    found: Entries | None = None
    if is_disabled():
        standing = _Standing("disabled", "DYNMEMO_DISABLE is set, so calls just compute")
    else:
        try:
            found = entries()
            standing = _standing(found, call, found.near(call.key, None) or found.read(call.key), history)
        except (InvalidOptionError, StoreUnavailableError, InvalidTableError) as error:
            standing = _Standing("unavailable", str(error))
    nearest = ""
    differences: tuple[str, ...] = ()
    if standing.state == "absent" and not history.was_called(call.code, call.arguments):
        nearest, differences = call.nearest(history, list(_stored(found, call.fn)))
    return Explanation(
        name=name,
        key=call.key,
        code=call.code,
        ingredients=tuple(call.ingredients),
        arguments=tuple(call.each),
        store="" if found is None else found.store.location,
        state=standing.state,
        detail=standing.detail,
        expires_at=standing.expires_at,
        nearest=nearest,
        differences=differences,
        origin=standing.origin,
    )


def in_short(call: Known, looked: Looked, history: History, entries: Entries) -> str:
    """One line that says whether a call that was `looked` up is a hit, and why, or why not."""
    standing = _standing(entries, call, looked, history)
    differences: tuple[str, ...] = ()
    if standing.state == "absent" and not history.was_called(call.code, call.arguments):
        _, differences = call.nearest(history, ())
    return headline(standing.state) + ": " + "; ".join((standing.detail, *differences))


def _standing(entries: Entries, call: Known, looked: Looked, history: History) -> _Standing:
    if looked.decoded is not None and looked.row is not None:
        return _live(looked, looked.row, looked.decoded, entries.cache.near.seconds)
    if looked.unreadable is not None:
        return _Standing("unreadable", str(looked.unreadable))
    generation = entries.generation()
    now = entries.cache.clock()
    lease_row = looked.row
    counts = lease_row is not None and entries.counts(call.key, lease_row, generation)
    held = Verdict.of(lease_row, now, counts=counts)
    if held is Verdict.CLAIMABLE and looked.row is not None and looked.row.is_entry:
        lease_row = entries.store.read(lease_key(call.key))
        is_of_now = lease_row is not None and entries.counts(call.key, lease_row, generation)
        held = Verdict.of(lease_row, now, counts=is_of_now)
    if held is Verdict.HELD and lease_row is not None:
        return _Standing("computing", f"{told_holder(lease_row.lease_by)}; a call waits for the result")
    if held is Verdict.NO_STORE and looked.row is not None:
        return _Standing("not shareable", f"{looked.row.no_store}; so calls compute without waiting")
    return _gone(looked, now, counts=counts, called_before=history.was_called(call.code, call.arguments))


def _live(looked: Looked, row: Item, decoded: Decoded, near: float | None) -> _Standing:
    size, origin = len(row.value or b""), read_origin(origin_told(row.value or b""))
    took = views.duration(decoded.seconds)
    about = f"{views.size(size)}{_outside(row)}, computed {views.moment(decoded.computed_at)} in {took}"
    if looked.is_near:
        read = "before, and nothing has changed since" if near is None else f"within the last {near:g} s"
        about += f"; near: this process has read it {read}, and uses it without a request"
    end = expiry.expires_at(row)
    if end is None:
        return _Standing("live", f"never expires ({about})", None, origin)
    window = "" if row.ttl_window is None else " unless it is used before"
    return _Standing("live", f"until {views.moment(end)}{window} ({about})", views.utc(end), origin)


def _outside(row: Item) -> str:
    """Where the value lies, if not in its row."""
    if row.parts is None:
        return ""
    if row.parts.location == IN_FILE:
        return " in a file"
    is_copy = isinstance(row.value, Content) and row.value.identity is not None
    place = f"in {row.parts.count} parts" if row.parts.location is None else "in S3"
    return f" {place}{', read from the copy on this machine' if is_copy else ''}"


def _gone(looked: Looked, now: float, *, counts: bool, called_before: bool) -> _Standing:
    row = looked.row
    if row is None or not row.is_entry:
        before = "; this process has called it, so it was removed since, or never stored" if called_before else ""
        return _Standing("absent", f"nothing is stored under this key{before}")
    if not counts:
        return _Standing("cleared", "what is stored was computed before the function, or the whole cache, was cleared")
    end = expiry.expires_at(row)
    if end is not None and expiry.is_expired(row, now):
        kept = (
            ""
            if row.stale_for is None or row.ttl_date is None
            else f", kept for errors until {views.moment(row.ttl_date)}"
        )
        return _Standing("expired", f"since {views.moment(end)}{kept}", views.utc(end))
    if row.value is None:
        return _Standing("unreadable", "a part of the value is missing")
    return _Standing("expired", "the deadline that was signed with the value has passed")


def _stored(entries: Entries | None, fn: str) -> Iterator[tuple[str, str]]:
    """Code and arguments parts of the keys in a local store; a shared one would be read, and billed, as a whole."""
    if entries is None or not isinstance(entries.store, SqliteStore):
        return
    try:
        for key, row in islice(entries.store.scan(keys_of(fn)), MOST_ROWS):
            parts = key.split(":")
            if len(parts) == 3 and "#" not in key and row.lease_owner is None and row.no_store is None:
                yield parts[1], parts[2]
    except StoreUnavailableError:
        return  # it says nothing about other calls then
