"""Rows for the store contract, and short ways to write and read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynmemo.item import Item, Parts, Written

if TYPE_CHECKING:
    from dynmemo.item import Expect, Store

FULL = Item(
    value=b"\x00\xffbytes",
    ttl_date=1_800_000_000,
    ttl_deadline=1_800_003_600,
    ttl_window="1.12:00:00",
    fn="weather.forecast",
    gen="g1",
    parts=Parts(write_id="w1", count=3, length=1_000_000, digest=bytes(range(32))),
    lease_owner="host:1:2",
    lease_seconds=30.5,
    lease_beat=7,
    stale_for=3600,
    no_store="too large",
    lease_waits="f:c:other",
    lease_by='{"user":"anna"}',
)
"""Every attribute set, though no real row has them all at once."""

LEASE = Item(ttl_date=1_000, fn="f", gen="g", lease_owner="me", lease_seconds=30.0, lease_beat=0)


def put(store: Store, key: str, item: Item, expect: Expect | None = None) -> str:
    """Write and return the etag."""
    answer = store.write(key, item, expect)
    assert isinstance(answer, Written), answer
    return answer.etag


def written(store: Store, key: str, item: Item) -> Item:
    """Write and return the row as it was read back."""
    put(store, key, item)
    return existing(store, key)


def existing(store: Store, key: str) -> Item:
    """Read what must be there."""
    row = store.read(key, consistent=True)
    assert row is not None
    return row
