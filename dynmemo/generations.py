"""Forgetting: generations.

Clearing a function by scan and delete would cost the whole table in reads and each entry in writes, and would
miss a writer that is late. So every entry is stamped with the generation under which it was computed, and clearing
writes a new one. A generation row has no TTL and no value: other programs see a clean miss.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from dynmemo._process import chance, logger, new_token
from dynmemo.errors import InvalidTableError, StoreUnavailableError
from dynmemo.item import Expect, Item, Refused
from dynmemo.keys import generation_key, keys_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dynmemo.item import Store

RECHECK_SECONDS = 5.0
"""How long a generation is believed: for so long a process may serve what another one has cleared."""

EARLIEST_PART = 0.8
"""Of these seconds, from which on it is read again: processes that begin together do not ask together for ever."""

SETTLED_SECONDS = 1.0
"""For so long after this process has read or written one, it is not read along with others: a read that is behind
would undo a clear of this process."""

WAITING_SECONDS = 25.0
"""How much longer it is believed by a call that only waits: what it finds and what it claims is judged anew."""

NO_GENERATION = "-"
"""Stands in a generation for a row that was not there: no result may be stamped with it."""

MOST_SUPERSEDED = 1_000

ALL = ""
"""The name under which the generation of all functions lies."""


class Known(NamedTuple):
    """What one row was when it was last read or written."""

    generation: str | None
    """None where there was no row."""
    asked: float
    until: float
    """Until when it is believed."""


class Generations:
    """The generations of one cache as this process last read them.

    Args:
        clock: monotonic, in seconds.
        uniform: gives a random number between two.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = chance.uniform,
    ) -> None:
        self.clock = clock
        self.last: dict[str, tuple[str, float]] = {}
        """What `known` said last of each function, and until when (by `clock`) that is believed."""
        self._uniform = uniform
        self._rows: dict[str, Known] = {}
        self._called: set[str] = set()
        """The functions asked for since all were read."""
        self.superseded: set[str] = set()
        """Of entries that were met, those that were over by then: none comes back, so nobody asks again."""

    def known(self, store: Store, fn: str, *, grace: float = 0.0) -> str:
        """The generation in which `fn` is, at most `RECHECK_SECONDS` old, or so many seconds of `grace` more.

        With the generation of all functions, those of each that was asked for since the last time are read in one go,
        also where they are believed still, unless for a moment only: so they are due together from then on.
        """
        now = self.clock() - grace
        last = self.last.get(fn)
        if last is not None and last[1] > now:
            return last[0]
        if not self._is_believed(ALL, now):
            settled = self.clock() - SETTLED_SECONDS
            self._read(store, {each for each in (ALL, fn, *tuple(self._called)) if not self._is_newer(each, settled)})
            self._called = set()
        elif not self._is_believed(fn, now):
            self._read(store, {fn})
        self._called.add(fn)
        return self._join(fn)

    def confirmed(self, store: Store, fn: str, *, doubted: str | None = None) -> str:
        """The generation as it is now, by a consistent read of its two rows.

        Args:
            doubted: the generation of an entry, which is another than the known one.
        """
        found = self._read(store, {ALL, fn}, consistent=True)
        if doubted is not None and doubted != _joined(found[ALL], found[fn]):
            if len(self.superseded) >= MOST_SUPERSEDED:
                self.superseded.clear()
            self.superseded.add(doubted)
        return self._join(fn)

    def ensured(self, store: Store, fn: str) -> str:
        """The generation for what is stored now; its rows are created where they are missing.

        They are created with the first entry, because an entry stamped with no generation would
        come back to life when a generation row is lost.
        """
        self.known(store, fn)
        for each in (ALL, fn):
            if self._rows[each].generation is None:
                self._create(store, each)
        return self._join(fn)

    def renew(self, store: Store, fn: str) -> None:
        """Begin a new generation: what was stored before is forgotten by every process."""
        generation = new_token()[:16]
        store.write(generation_key(fn), _row(fn, generation))
        self._learn({fn: generation}, self.clock())

    def forget(self, store: Store, fn: str) -> int | None:
        """Begin a new generation, and let the store delete what it can delete cheaply; how many rows it deleted.

        None where none are deleted or counted.
        Where rows that nobody is served any more cannot be deleted, as on a full disk, that is logged.
        """
        self.renew(store, fn)
        try:
            return store.remove_all(keys_of(fn))
        except (StoreUnavailableError, InvalidTableError) as error:
            logger.warning(
                "the entries are forgotten, but their rows still take room, for deleting them failed: %s. To delete "
                "them later, call dynmemo.purge(..., superseded=True).",
                error,
            )
            return None

    def _is_believed(self, fn: str, now: float) -> bool:
        row = self._rows.get(fn)
        return row is not None and row.until > now

    def _is_newer(self, fn: str, than: float) -> bool:
        row = self._rows.get(fn)
        return row is not None and row.asked > than

    def _read(self, store: Store, fns: Iterable[str], *, consistent: bool = False) -> dict[str, str | None]:
        asked, keys = self.clock(), {fn: generation_key(fn) for fn in fns}
        rows = store.read_many(list(keys.values()), consistent=consistent)
        found = {fn: rows[key].gen if key in rows else None for fn, key in keys.items()}
        self._learn(found, asked)
        return found

    def _create(self, store: Store, fn: str) -> None:
        asked = self.clock()
        generation = new_token()[:16]
        answer = store.write(generation_key(fn), _row(fn, generation), Expect())
        if isinstance(answer, Refused) and answer.row is not None and answer.row.gen is not None:
            generation = answer.row.gen
        self._learn({fn: generation}, asked)

    def _learn(self, found: dict[str, str | None], asked: float) -> None:
        # Not in step with other processes that began at the same time.
        until = asked + RECHECK_SECONDS * self._uniform(EARLIEST_PART, 1.0)
        for fn, generation in found.items():
            known = self._rows.get(fn)
            if known is None or known.asked <= asked:  # else another thread has cleared or read in the meantime
                self._rows[fn] = Known(generation, asked, until)
        self.last = {}  # another one, for `_join` may still be about to write into that

    def _join(self, fn: str) -> str:
        last = self.last  # before the rows: who learns something replaces it after them
        rows = self._rows[ALL], self._rows[fn]
        joined = _joined(*(row.generation for row in rows))
        last[fn] = (joined, min(row.until for row in rows))
        return joined


def _joined(of_all: str | None, of_function: str | None) -> str:
    return f"{of_all or NO_GENERATION}.{of_function or NO_GENERATION}"


def _row(fn: str, generation: str) -> Item:
    return Item(gen=generation, fn=fn or None)
