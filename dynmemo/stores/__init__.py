"""Where rows lie, and what a store of one's own is made of: see docs/how-to/write-a-store.md."""

from dynmemo.counters import Meter
from dynmemo.item import Content, Expect, Extent, Finding, Found, Item, Parts, Refused, Store, Written

__all__ = ["Content", "Expect", "Extent", "Finding", "Found", "Item", "Meter", "Parts", "Refused", "Store", "Written"]
