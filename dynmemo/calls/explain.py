"""`explain()`: why a call hits or misses. It computes nothing, writes nothing, and takes a broken store as it is."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from dynmemo import expiry
from dynmemo.calls.differences import Known, Stored
from dynmemo.calls.explanation import Explanation
from dynmemo.defaults import is_disabled
from dynmemo.errors import InvalidOptionError, InvalidTableError, StoreUnavailableError
from dynmemo.generations import generations
from dynmemo.keys import lease_key
from dynmemo.leases import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.calls.entries import Entries, Looked
    from dynmemo.calls.explanation import State
    from dynmemo.calls.steps import Arguments, Keywords
    from dynmemo.calls.story import Memo
    from dynmemo.item import Item

MOST_ROWS = 10_000
"""Rows of a local store that are looked at for the nearest call."""


class _Seen(NamedTuple):
    state: State
    detail: str
    expires_at: datetime | None = None


def explain(memo: Memo, args: Arguments, kwargs: Keywords) -> Explanation:
    """What the key of a call is made of and what the cache holds for it.

    Raises:
        UnhashableArgumentError: an argument has no stable content, so there is no key.
    """
    key = memo.key(args, kwargs)
    _, code, arguments = key.rsplit(":", 2)
    ingredients, each = memo.ingredients(), memo.each(args, kwargs)
    entries, seen = _look(memo, key)
    nearest = None
    if seen.state == "absent" and not memo.was_called(key):
        call = Known(code, arguments, ingredients, each)
        nearest = call.nearest(memo.recent, list(_stored(entries, memo.fn)))
    return Explanation(
        name=memo.name,
        key=key,
        code=code,
        ingredients=tuple(ingredients),
        arguments=tuple(each),
        store="" if entries is None else entries.store.location,
        state=seen.state,
        detail=seen.detail,
        expires_at=seen.expires_at,
        nearest="" if nearest is None else nearest.what,
        differences=() if nearest is None else nearest.differences,
    )


def _look(memo: Memo, key: str) -> tuple[Entries | None, _Seen]:
    """The entries in the cache in force, if there is one, and what it holds."""
    if is_disabled():
        return None, _Seen("disabled", "DYNMEMO_DISABLE is set, so calls just compute")
    try:
        entries = memo.entries()
    except InvalidOptionError as error:
        return None, _Seen("unavailable", str(error))
    try:
        return entries, _seen(entries, memo, key)
    except (StoreUnavailableError, InvalidTableError) as error:
        return entries, _Seen("unavailable", str(error))


def _seen(entries: Entries, memo: Memo, key: str) -> _Seen:
    looked = entries.peek(key)
    if looked.decoded is not None and looked.row is not None:
        return _live(looked.row, looked.decoded.computed_at, looked.decoded.seconds)
    if looked.unreadable is not None:
        return _Seen("unreadable", str(looked.unreadable))
    generation = generations(entries.cache).known(entries.store, memo.fn)
    now = entries.cache.clock()
    held = judge(looked.row, now, generation)
    if held is Verdict.CLAIMABLE and memo.options.keeps_old_values():
        held = judge(entries.store.read(lease_key(key)), now, generation)
    if held is Verdict.HELD:
        return _Seen("computing", "somebody computes it now, and a call waits for the result")
    if held is Verdict.NO_STORE and looked.row is not None:
        return _Seen("not shareable", f"{looked.row.no_store}; so calls compute without waiting")
    return _gone(looked, now, generation, called_before=memo.was_called(key))


def _live(row: Item, computed_at: float, seconds: float) -> _Seen:
    size = len(row.value or b"")
    about = f"{size:,} bytes, computed {_when(computed_at)} in {seconds:.3g} s"
    end = expiry.expires_at(row)
    if end is None:
        return _Seen("live", f"never expires ({about})")
    window = "" if row.ttl_window is None else " unless it is used before"
    return _Seen("live", f"until {_when(end)}{window} ({about})", datetime.fromtimestamp(end, UTC))


def _gone(looked: Looked, now: float, generation: str, *, called_before: bool) -> _Seen:
    row = looked.row
    if row is None or (row.value is None and row.parts is None):
        before = "; this process has called it, so it was removed since, or never stored" if called_before else ""
        return _Seen("absent", f"nothing is stored under this key{before}")
    if row.gen != generation:
        return _Seen("cleared", "what is stored was computed before the function, or the whole cache, was cleared")
    end = expiry.expires_at(row)
    if end is not None and expiry.is_expired(row, now):
        kept = "" if row.stale_for is None or row.ttl_date is None else f", kept for errors until {_when(row.ttl_date)}"
        return _Seen("expired", f"since {_when(end)}{kept}", datetime.fromtimestamp(end, UTC))
    if row.value is None:
        return _Seen("unreadable", "a part of the value is missing")
    return _Seen("expired", "the deadline that was signed with the value has passed")


def _when(moment: float) -> str:
    return f"{datetime.fromtimestamp(int(moment), UTC):%Y-%m-%d %H:%M:%S} UTC"


def _stored(entries: Entries | None, fn: str) -> Iterator[Stored]:
    """The calls in a local store; a shared one would be read, and billed, as a whole."""
    from dynmemo.stores.sqlite import SqliteStore

    if entries is None or not isinstance(entries.store, SqliteStore):
        return
    try:
        for key, row in islice(entries.store.scan(f"{fn}:", fn=fn), MOST_ROWS):
            parts = key.split(":")
            if len(parts) == 3 and "#" not in key and row.lease_owner is None and row.no_store is None:
                yield Stored(parts[1], parts[2])
    except StoreUnavailableError:
        return  # it says nothing about other calls then
