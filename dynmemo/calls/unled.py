"""Storing a result without a lease."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynmemo.item import Refused

if TYPE_CHECKING:
    from dynmemo.item import Expect, Item, Store


class Unled:
    """What a `Lease` is to a call that was not led: its result is stored if the row is as expected still.

    Args:
        store: where the row lies.
        key: of the call.
        generation: known before computing.
        expect: of the row; None to replace whatever is there.
    """

    def __init__(self, store: Store, key: str, generation: str, expect: Expect | None) -> None:
        self.generation = generation
        self._store = store
        self._key = key
        self._expect = expect

    @property
    def lost(self) -> bool:
        """Whether the result will not be stored; that is known only then."""
        return False

    def finish(self, item: Item) -> bool:
        """Store the result; False if the row has changed."""
        return not isinstance(self._store.write(self._key, item, self._expect), Refused)
