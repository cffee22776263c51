"""Forgetting: generations.

Clearing a function by scan and delete would cost the whole table in reads and each entry in writes, and would
miss a writer that is late. So every entry is stamped with the generation under which it was computed, and clearing
writes a new one. A generation row has no TTL and no value: other programs see a clean miss.

Every notebook's functions are ``__main__.load``. So what a notebook or script clears of its own functions is its own
only: what it has stored, and what others have of the same code. The generation row then counts one up and notes at
which count; rows tell the count at which they were stored, and by whom. Nothing more is read or written for that.
"""

from __future__ import annotations

import functools
import math
import time
from typing import TYPE_CHECKING, NamedTuple, Self

import blake3

from dynmemo._process import chance, logger, new_lock, new_token
from dynmemo.errors import InvalidTableError, StoreUnavailableError
from dynmemo.item import Expect, Item, Refused
from dynmemo.keys import NAMESPACE_END, generation_key, keys_of, names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dynmemo.item import Store, Written

RECHECK_SECONDS = 5.0
"""How long a generation is believed: for so long a process may serve what another one has cleared."""

EARLIEST_PART = 0.8
"""Of these seconds, from which on it is read again: processes that begin together do not ask together for ever."""

SETTLED_SECONDS = 1.0
"""For so long after this process has read or written one, it is not read along with others: a read that is behind
would undo a clear of this process."""

NEVER = -math.inf
"""Before all times: until then a row is believed that this process could not change, as far as it knows."""

WAITING_SECONDS = 25.0
"""How much longer it is believed by a call that only waits: what it finds and what it claims is judged anew."""

NO_GENERATION = "-"
"""Stands in a generation for a row that was not there: no result may be stamped with it."""

MOST_SUPERSEDED = 1_000

ALL = ""
"""The name under which the generation of all functions lies."""


EVERYBODY = "*"
"""Has cleared what was stored before, in the row of a function of which too many have cleared their own."""

MOST_CLEARED = 200
"""Notebooks, scripts and codes that a row names: it has less than 4 KB then, and reading it costs what others cost."""

LONGEST_NUMBER = 20


class Generation(str):
    """What is stamped on the entries of a function, and what it takes to tell whether another stamp counts.

    Args:
        tokens: of all functions and of this one. An entry stamped with others is forgotten.
        clears: how often somebody has cleared what is their own since these came into being.
        cleared: who did, and which code they had, and after how many.
    """

    tokens: str
    clears: int
    cleared: Mapping[str, int]
    __slots__ = ("cleared", "clears", "tokens")

    def __new__(cls, tokens: str, clears: int = 0, cleared: Mapping[str, int] | None = None) -> Self:
        self = super().__new__(cls, f"{tokens}.{clears}." if clears else tokens)
        self.tokens, self.clears, self.cleared = tokens, clears, cleared or {}
        return self

    def stamp(self, program: str = "") -> str:
        """For what `program` stores now."""
        return f"{self.tokens}.{self.clears}.{program}" if program else str(self)

    def covers(self, gen: str | None, key: str, program: str = "") -> bool:
        """Whether the row under `key`, stamped `gen`, counts; for `program` nothing does that it has cleared."""
        if gen == self:
            return True
        stamp = Stamp.of(gen)
        if stamp is None or stamp.tokens != self.tokens:
            return False
        of = (EVERYBODY, short(code_of(key)), stamp.program, program) if self.cleared else ()
        return all(stamp.clears >= self.cleared.get(each, 0) for each in of)

    def can_tell(self, gen: str) -> bool:
        """Whether this is no older than what is stamped `gen`; else it takes a newer one to say whether that counts."""
        stamp = Stamp.of(gen)
        return gen == self or (stamp is not None and stamp.tokens == self.tokens and stamp.clears <= self.clears)


class Stamp(NamedTuple):
    """What a row is stamped with."""

    tokens: str
    clears: int = 0
    program: str = ""
    """The notebook or script that has stored it; empty for a function of a module."""

    @staticmethod
    @functools.lru_cache(maxsize=1_000)
    def of(gen: str | None) -> Stamp | None:
        """None for what this library has not written."""
        of_all, token, clears, program = [*(gen or "").split(".", 3), "", "", ""][:4]
        is_number = clears.isdecimal() and len(clears) < LONGEST_NUMBER
        return Stamp(f"{of_all}.{token}", int(clears or 0), program) if is_number or not clears else None


def is_no_later(gen: str | None, than: str) -> bool:
    """Whether nothing was cleared between what is stamped `than` and what is stamped `gen`, if it is at all."""
    one, other = Stamp.of(gen), Stamp.of(than)
    if gen is None or one is None or other is None:
        return gen in (None, than)
    return one.tokens == other.tokens and one.clears <= other.clears


class OfProgram(NamedTuple):
    """What of a function's entries is one notebook's or script's own."""

    program: str
    """By this it is known, see `dynmemo.origin.program_id`."""
    codes: tuple[str, ...]
    """The code parts of keys that the function has had in this process."""

    def has(self, key: str, gen: str | None) -> bool:
        """Whether the row under `key`, stamped `gen`, is its own: stored by it, or by others with the same code."""
        stamp = Stamp.of(gen)
        return code_of(key) in self.codes or (stamp is not None and stamp.program == self.program)


class Known(NamedTuple):
    """What one row was when it was last read or written."""

    asked: float
    until: float
    """Until when it is believed."""
    token: str | None
    """None where there was no row."""
    clears: int = 0
    cleared: Mapping[str, int] = {}
    doubted: float = NEVER
    """When a change of it failed last that may have been made: what was asked before is not believed."""


class Generations:
    """The generations of one cache as this process last read them.

    Args:
        clock: monotonic, in seconds.
        uniform: gives a random number between two.
        namespace: whose functions they are of.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = chance.uniform,
        *,
        namespace: str = "",
    ) -> None:
        self.clock = clock
        self._namespace = namespace
        self.last: dict[str, tuple[Generation, float]] = {}
        """What `known` said last of each function, and until when (by `clock`) that is believed."""
        self._uniform = uniform
        self._rows: dict[str, Known] = {}
        self._lock = new_lock(self)
        """Held by who compares what was read with what is known, or a clear of another thread might be lost."""
        self._called: set[str] = set()
        """The functions asked for since all were read."""
        self.superseded: set[str] = set()
        """Of entries that were met, those that were over by then: none comes back, so nobody asks again."""

    def known(self, store: Store, fn: str, *, grace: float = 0.0) -> Generation:
        """The generation in which `fn` is, at most `RECHECK_SECONDS` old, or so many seconds of `grace` more.

        With the generation of all functions, those of each that was asked for since the last time are read in one go,
        also where they are believed still, unless for a moment only: so they are due together from then on.
        """
        now = self.clock() - grace
        last = self.last.get(fn)
        if last is not None and last[1] > now:
            return last[0]
        if not self._is_believed(ALL, now):
            self._read(store, {each for each in (ALL, fn, *tuple(self._called)) if not self._is_settling(each, now)})
            self._called = set()
        elif not self._is_believed(fn, now):
            self._read(store, {fn})
        self._called.add(fn)
        return self._join(fn)

    def confirmed(self, store: Store, fn: str, *, doubted: str | None = None) -> Generation:
        """The generation as it is now, by a consistent read of its two rows.

        Args:
            doubted: the generation of an entry, which is another than the known one.
        """
        found = self._read(store, {ALL, fn}, consistent=True)
        stamp = Stamp.of(doubted)
        if doubted is not None and (stamp is None or stamp.tokens != _joined(found[ALL], found[fn])):
            if len(self.superseded) >= MOST_SUPERSEDED:
                self.superseded.clear()
            self.superseded.add(doubted)
        return self._join(fn)

    def ensured(self, store: Store, fn: str) -> Generation:
        """The generation for what is stored now; its rows are created where they are missing.

        They are created with the first entry, because an entry stamped with no generation would
        come back to life when a generation row is lost.
        """
        self.known(store, fn)
        for each in (ALL, fn):
            if self._rows[each].token is None:
                self._create(store, each)
        return self._join(fn)

    def renew(self, store: Store, fn: str) -> None:
        """Begin a new generation: what was stored before is forgotten by every process."""
        generation = new_token()[:16]
        self._change(store, fn, generation)
        self._learn({fn: generation}, self.clock())

    def renew_own(self, store: Store, fn: str, own: OfProgram) -> None:
        """Count one up: of what was stored before, every process forgets what is `own`, and the owner all of it."""
        key = self._key(fn)
        row = store.read(key, consistent=True)
        while True:
            asked = self.clock()  # before the write: what another thread has written after it must count
            text = _cleared(row.gen, own) if row is not None and row.gen is not None else new_token()[:16]
            answer = self._change(store, fn, text, Expect.seen(row))
            if not isinstance(answer, Refused):
                break
            row = answer.row
        self._learn({fn: text}, asked)

    def forget(self, store: Store, fn: str, own: OfProgram | None = None) -> int | None:
        """Begin a new generation, and let the store delete what it can delete cheaply; how many rows it deleted.

        None where none are deleted or counted. If it fails, this process asks the store before it serves what was
        stored before: the new generation may stand there, and only the answer was lost.
        Where rows that nobody is served any more cannot be deleted, as on a full disk, that is logged.

        Args:
            own: forget only that.
        """
        if own is None:
            self.renew(store, fn)
        else:
            self.renew_own(store, fn, own)
        try:
            prefix, ends = keys_of(fn, self._namespace), "" if own is None else f".{own.program}"
            removed = [store.remove_all(prefix, ends=ends, without="" if prefix else NAMESPACE_END)]
            removed += [store.remove_all(f"{prefix}{code}:") for code in (() if own is None else own.codes)]
            return None if None in removed else sum(filter(None, removed))
        except (StoreUnavailableError, InvalidTableError) as error:
            logger.warning(
                "the entries are forgotten, but their rows still take room, for deleting them failed: %s. To delete "
                "them later, call dynmemo.purge(..., superseded=True).",
                error,
            )
            return None

    def _key(self, fn: str) -> str:
        return generation_key(fn or names_in(self._namespace))

    def _is_believed(self, fn: str, now: float) -> bool:
        row = self._rows.get(fn)
        return row is not None and row.until > now

    def _is_settling(self, fn: str, now: float) -> bool:
        row = self._rows.get(fn)
        return row is not None and row.until > now and row.asked > self.clock() - SETTLED_SECONDS

    def _change(self, store: Store, fn: str, text: str, expect: Expect | None = None) -> Written | Refused:
        """Write the row. If that fails, what is known of it is believed no more: it may have been written."""
        try:
            return store.write(self._key(fn), _row(fn, text), expect)
        except BaseException:
            with self._lock:
                known = self._rows.get(fn, Known(NEVER, NEVER, None))
                self._rows[fn] = known._replace(until=NEVER, doubted=self.clock())
            self.last = {}
            raise

    def _read(self, store: Store, fns: Iterable[str], *, consistent: bool = False) -> dict[str, Known]:
        asked, keys = self.clock(), {fn: self._key(fn) for fn in fns}
        # A change that seems to have failed must not be missed by a read that is behind.
        consistent = consistent or any(fn in self._rows and self._rows[fn].until == NEVER for fn in keys)
        rows = store.read_many(list(keys.values()), consistent=consistent)
        found = {fn: rows[key].gen if key in rows else None for fn, key in keys.items()}
        return self._learn(found, asked)

    def _create(self, store: Store, fn: str) -> None:
        asked = self.clock()
        generation = new_token()[:16]
        answer = store.write(self._key(fn), _row(fn, generation), Expect())
        if isinstance(answer, Refused) and answer.row is not None and answer.row.gen is not None:
            generation = answer.row.gen
        self._learn({fn: generation}, asked)

    def _learn(self, texts: Mapping[str, str | None], asked: float) -> dict[str, Known]:
        """What was found, which is believed unless something newer is known."""
        # Not in step with other processes that began at the same time.
        until = asked + RECHECK_SECONDS * self._uniform(EARLIEST_PART, 1.0)
        found = {fn: Known(asked, until, *_told(text)) for fn, text in texts.items()}
        with self._lock:
            for fn, row in found.items():
                known = self._rows.get(fn, row)
                # Another thread may have cleared or read in the meantime, and counts tell which of the two is behind.
                newest = row if known.asked <= asked else known
                latest = max(known, row, key=lambda each: each.clears) if known.token == row.token else newest
                until = newest.until if newest.asked >= known.doubted else NEVER
                self._rows[fn] = Known(newest.asked, until, newest.token, latest.clears, latest.cleared, known.doubted)
        self.last = {}  # another one, for `_join` may still be about to write into that
        return found

    def _join(self, fn: str) -> Generation:
        last = self.last  # before the rows: who learns something replaces it after them
        of_all, of_function = self._rows[ALL], self._rows[fn]
        joined = Generation(_joined(of_all, of_function), of_function.clears, of_function.cleared)
        last[fn] = (joined, min(of_all.until, of_function.until))
        return joined


def code_of(key: str) -> str:
    """The code part of the key of a function's row."""
    return key.split(":", 2)[1] if ":" in key else ""


@functools.lru_cache(maxsize=1_000)
def short(code: str) -> str:
    """A code part as a row names it. Two that look the same there are cleared together."""
    return blake3.blake3(code.encode()).hexdigest(4)


def _joined(of_all: Known, of_function: Known) -> str:
    return f"{of_all.token or NO_GENERATION}.{of_function.token or NO_GENERATION}"


def _told(text: str | None) -> tuple[str | None, int, Mapping[str, int]]:
    """What a generation row says: a token, or ``token clears name=clears name=clears`` once some cleared their own."""
    token, *rest = (text or "").split(" ")
    try:
        clears = int(rest[0]) if rest else 0
        cleared = {name: int(at) for name, _, at in (each.partition("=") for each in rest[1:])}
    except ValueError:  # of another program: no entry counts but by this very text
        return text, 0, {}
    return token or None, clears, cleared


def _cleared(text: str, own: OfProgram) -> str:
    """The text of a generation row once what is `own` was cleared."""
    token, clears, before = _told(text)
    clears += 1
    cleared = {**before, own.program: clears, **{short(code): clears for code in own.codes}}
    latest = sorted(cleared.items(), key=lambda each: each[1])
    if len(latest) > MOST_CLEARED:
        dropped = latest[: len(latest) - MOST_CLEARED // 2]
        latest = [(EVERYBODY, dropped[-1][1]), *latest[len(dropped) :]]
    return " ".join((str(token), str(clears), *(f"{name}={at}" for name, at in latest)))


def _row(fn: str, generation: str) -> Item:
    return Item(gen=generation, fn=fn or None)
