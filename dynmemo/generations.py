"""Forgetting: generations.

Clearing a function by scan and delete would cost the whole table in reads and each entry in writes, and would
miss a writer that is late. So every entry is stamped with the generation under which it was computed, and clearing
writes a new one. A generation row has no TTL and no value: other programs see a clean miss.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dynmemo._process import logger, new_token
from dynmemo.errors import InvalidTableError, StoreUnavailableError
from dynmemo.item import Expect, Item, Refused
from dynmemo.keys import generation_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store

RECHECK_SECONDS = 5.0
"""How long a generation is believed: for so long a process may serve what another one has cleared."""

NO_GENERATION = "-"
"""Stands in a generation for a row that was not there: no result may be stamped with it."""

ALL = ""
"""The name under which the generation of all functions lies."""


class Generations:
    """The generations of one cache as this process last read them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.last: dict[str, tuple[str, float]] = {}
        """What `known` said last of each function, and until when (by `clock`) that is believed."""
        self._rows: dict[str, tuple[str | None, float]] = {}

    def known(self, store: Store, fn: str) -> str:
        """The generation in which `fn` is, at most `RECHECK_SECONDS` old. Reads at most two rows."""
        now = self.clock()
        last = self.last.get(fn)
        if last is not None and last[1] > now:
            return last[0]
        return self._join(fn, self._read(store, ALL, now), self._read(store, fn, now))

    def confirmed(self, store: Store, fn: str) -> str:
        """The generation as it is now, by two consistent reads."""
        return self._join(fn, self._reread(store, ALL, consistent=True), self._reread(store, fn, consistent=True))

    def ensured(self, store: Store, fn: str) -> str:
        """The generation for what is stored now; its rows are created where they are missing.

        They are created with the first entry, because an entry stamped with no generation would
        come back to life when a generation row is lost.
        """
        now = self.clock()
        return self._join(
            fn,
            self._read(store, ALL, now) or self._create(store, ALL),
            self._read(store, fn, now) or self._create(store, fn),
        )

    def renew(self, store: Store, fn: str) -> None:
        """Begin a new generation: what was stored before is forgotten by every process."""
        generation = new_token()[:16]
        store.write(generation_key(fn), _row(fn, generation))
        self._learn(fn, generation, self.clock())

    def forget(self, store: Store, fn: str) -> None:
        """Begin a new generation, and let the store delete what it can delete cheaply.

        Where rows that nobody is served any more cannot be deleted, as on a full disk, that is logged.
        """
        self.renew(store, fn)
        try:
            store.remove_all(fn or None)
        except (StoreUnavailableError, InvalidTableError) as error:
            logger.warning(
                "the entries are forgotten, but their rows still take room, for deleting them failed: %s. To delete "
                "them later, call dynmemo.purge(..., superseded=True).",
                error,
            )

    def _read(self, store: Store, fn: str, now: float) -> str | None:
        known = self._rows.get(fn)
        if known is not None and known[1] > now:
            return known[0]
        return self._reread(store, fn)

    def _reread(self, store: Store, fn: str, *, consistent: bool = False) -> str | None:
        asked = self.clock()
        row = store.read(generation_key(fn), consistent=consistent)
        return self._learn(fn, None if row is None else row.gen, asked)

    def _create(self, store: Store, fn: str) -> str:
        asked = self.clock()
        generation = new_token()[:16]
        answer = store.write(generation_key(fn), _row(fn, generation), Expect())
        if isinstance(answer, Refused) and answer.row is not None and answer.row.gen is not None:
            generation = answer.row.gen
        self._learn(fn, generation, asked)
        return generation

    def _learn(self, fn: str, generation: str | None, asked: float) -> str | None:
        known = self._rows.get(fn)
        if known is not None and known[1] > asked + RECHECK_SECONDS:
            return known[0]  # another thread cleared or read while this answer was on its way
        self._rows[fn] = (generation, asked + RECHECK_SECONDS)
        self.last = {}  # another one, for `_join` may still be about to write into that
        return generation

    def _join(self, fn: str, of_all: str | None, of_function: str | None) -> str:
        joined = f"{of_all or NO_GENERATION}.{of_function or NO_GENERATION}"
        last = self.last
        rows = (self._rows.get(ALL), self._rows.get(fn))
        # Another thread may have cleared meanwhile; then the next call joins again.
        if all(row is not None and row[0] == part for row, part in zip(rows, (of_all, of_function), strict=True)):
            last[fn] = (joined, min(row[1] for row in rows if row is not None))
        return joined


def _row(fn: str, generation: str) -> Item:
    return Item(gen=generation, fn=fn or None)
