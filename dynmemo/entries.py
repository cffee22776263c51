"""The entries of one decorated function in one cache: looking one up, keeping one."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dynmemo import expiry, views
from dynmemo._process import chance
from dynmemo.codec import header_told, origin_told
from dynmemo.errors import InvalidTableError, StoreUnavailableError, UnreadableValueError
from dynmemo.item import LATEST_TIME, Item
from dynmemo.keys import lease_key
from dynmemo.leases import Leases, flights
from dynmemo.near import COPIED_FROM, NearEntry, copier, footprint, usable_until
from dynmemo.origin import described, read_origin

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from datetime import datetime

    from dynmemo.cache import Cache
    from dynmemo.codec import Codec, Decoded, Opened
    from dynmemo.expiry import Lifetime
    from dynmemo.failures import Breaker, Trouble
    from dynmemo.generations import Generation
    from dynmemo.item import Content
    from dynmemo.leases import Spot
    from dynmemo.near import Reading
    from dynmemo.origin import Origin, Reach

    _Known = tuple[Generation, float, float]

R = TypeVar("R")

OVERWRITE_SECONDS = 60.0
"""An unreadable entry is replaced at most so often for one cause, so that two environments do not fight."""

MOST_REMEMBERED = 1_000
"""Calls of which it is known how long they took."""

ASK: Any = object()
"""Stands for a version of the store that is still to be asked for."""

REFRESH_AFTER = 0.1
"""Part of a sliding window that goes by before a hit moves the date again; DynamoDB bills the whole item for it."""


THROTTLED_PAUSES = (1.0, 2.0, 4.0, 8.0)
"""Seconds at most, half of it at least, before a request is made again that was throttled, beside those of the SDK."""


@dataclass(slots=True)  # made in a third of the time of a NamedTuple, or of a frozen one
class Computed:
    """What the user's function returned, with what is remembered about it."""

    value: Any
    computed_at: float
    """Unix seconds when computing began."""
    seconds: float
    not_stored: str = ""
    """Why it must not be stored, empty if it may."""


@dataclass(slots=True)  # as `Decoded`
class Looked:
    """What a look-up found: `decoded` is None for a miss."""

    row: Item | None
    decoded: Decoded | None = None
    is_near: bool = False
    """Whether it is a near entry, for which no row was read."""
    unreadable: UnreadableValueError | None = None
    """Why the bytes of an entry that is live could not be turned into the value."""
    is_kept: bool = False
    """Whether the value has expired, and is kept for the case that computing fails."""


@dataclass(frozen=True, slots=True, repr=False)
class Entry(Generic[R]):
    """A stored result, as `entry()` tells of it.

    Example:
        >>> forecast("SEA", 1)
        [12.5]
        >>> entry = forecast.entry("SEA", 1)
        >>> entry.value, entry.computed_at < entry.expires_at
        ([12.5], True)
    """

    value: R
    """A fresh object, as a hit returns it."""
    computed_at: datetime
    """When computing it began (UTC)."""
    expires_at: datetime | None
    """When it expires unless it is used before (UTC); None for never."""
    size: int
    """Bytes as stored."""
    seconds: float
    """How long computing it took, in seconds."""
    origin: Origin | None
    """Where it comes from; None where that was not stored."""

    def __repr__(self) -> str:
        now, end = time.time(), self.expires_at
        computed = f"computed {views.ago(self.computed_at.timestamp(), now)} in {views.duration(self.seconds)}"
        expires = "never expires" if end is None else f"expires {views.ago(end.timestamp(), now)}"
        return f"<dynmemo.Entry {views.shape(self.value)}: {views.size(self.size)}, {computed}, {expires}>"

    def _repr_html_(self) -> str:
        now = time.time()
        rows = (
            ("computed", views.when(self.computed_at.timestamp(), now)),
            ("took", views.duration(self.seconds)),
            ("expires", "never" if self.expires_at is None else views.when(self.expires_at.timestamp(), now)),
            ("size", f"{views.size(self.size)} as stored"),
        )
        return views.page("entry", views.shape(self.value), views.facts(rows))


class Entries:
    """Reads and writes the rows of one function in one cache. Store failures are raised; `ask` handles them."""

    def __init__(
        self,
        cache: Cache,
        fn: str,
        codec: Codec,
        trouble: Trouble,
        *,
        stale_for: int | None = None,
        lifetime: Lifetime | None = None,
        reach: Callable[[], Reach] | None = None,
        program: str = "",
    ) -> None:
        self.lifetime = lifetime
        """Of every result, where it is known beforehand."""
        self.cache = cache
        self.trouble = trouble
        self.store = cache.store.metered(trouble.stats).sparing(self._may_serve)
        self.leases = Leases(self.store, fn, seconds=cache.lease_seconds, tells=cache.origin, clock=cache.clock)
        self.fn = fn
        """The function's key name."""
        self._program = program
        self._codec = codec
        self._stale_for = stale_for
        self._generations = cache.generations
        self._reach = reach if cache.origin else None
        self._overwritten: dict[Hashable, float] = {}
        self._took: dict[str, float] = {}
        # The way of every hit: looked up once.
        self._read, self._partition_key = self.store.read, self.store.partition_key
        self._look = self.store.eventual().read
        self._open, self._decode, self._clock = codec.open, codec.decode, cache.clock
        self._near, self._near_entries = cache.near, cache.near.entries
        self._breaker, self._stats = cache.breaker, trouble.stats
        self._version = self.store.version
        self._refresh_after = REFRESH_AFTER if cache.refresh_after is None else cache.refresh_after
        self.reading = partial(self.ask, cache.breaker)
        """`ask` for what reads."""
        self.writing = partial(self.ask, cache.write_breaker)
        """`ask` for what writes."""

    def ask(
        self,
        circuit: Breaker,
        do: Callable[..., Any],
        *args: Any,
        is_needed: bool = True,
        gives_way: bool = False,
        tries: int = 0,
        **kwargs: Any,
    ) -> Any:
        """Let `do` ask the store for a call, heed the circuit, and count what goes wrong: no call asks it elsewhere.

        Raises `OutOfOrder` when the store fails and the call goes on without it, or returns None where it `is_needed`
        for nothing. What is throttled raises `Throttled`, to be asked again for some 15 s by who can wait without
        holding up a thread of a pool, but in a store that was in trouble before; where it `gives_way` to others that
        ask, the answer is None at once, and no failure.

        Args:
            tries: how often it was throttled before.
        """
        if circuit.is_open and not circuit.may_try():
            if not is_needed:
                return None
            raise self.trouble.left_alone(circuit)
        try:
            answer = do(*args, **kwargs)
        except (StoreUnavailableError, InvalidTableError) as error:
            if isinstance(error, StoreUnavailableError) and error.is_throttled:
                if gives_way:
                    circuit.let_go()
                    return None
                if tries < len(THROTTLED_PAUSES) and not circuit.is_troubled:
                    again = partial(self.ask, circuit, do, *args, is_needed=is_needed, tries=tries + 1, **kwargs)
                    raise Throttled(chance.uniform(0.5, 1.0) * THROTTLED_PAUSES[tries], again) from None
            if is_needed:
                raise self.trouble.failed(circuit, error) from None
            with suppress(type(error)):
                self.trouble.failed(circuit, error)
            return None
        except BaseException:
            circuit.let_go()
            raise
        if circuit.is_troubled:
            self.trouble.worked(circuit)
        return answer

    # -- reading ----------------------------------------------------------------------------------

    def near(self, key: str, version: object = ASK, known: _Known | None = None) -> Looked | None:
        """The hit of a near entry, None without one that may be used. No row is read.

        Args:
            version: of the store; by default it is asked for it, if there is an entry for which that counts.
            known: where it was asked for already.
        """
        entry = self._near_entries.get(key)
        if entry is None:
            return None
        if known is None:  # as `_known`, without the call
            last, moment = self._generations.last.get(self.fn), self._generations.clock()
            if last is None or moment >= last[1]:
                return None
            generation, now = last[0], self._clock()
        else:
            generation, now, moment = known
        if now >= entry.until or moment >= entry.fresh_until or entry.codec is not self._codec:
            return None
        if entry.generation is not generation:  # the one for which it was found to count
            if not generation.covers(entry.row.gen, key, self._program):
                return None
            entry.generation = generation
        if entry.version is not None:
            if version is ASK and not self._breaker.is_open:
                version = self._version()
                self._stats.requests += 1  # as `count`, without the call
            if version is not entry.version:
                return None
        try:
            self._near_entries.move_to_end(key)
            if entry.found is not None:
                return entry.found  # type: ignore[no-any-return]
            looked = Looked(entry.row, self._decode(entry.opened, now=now), True)
            entry.uses += 1
            if entry.uses == COPIED_FROM:
                self._copy_near(key, entry)
        except (KeyError, UnreadableValueError):  # another thread has removed it, or it can no longer be read here
            return None
        return looked

    def _copy_near(self, key: str, entry: NearEntry[Opened]) -> None:
        """Let further objects be copied, where that takes less time than unpickling."""
        value = self._decode(entry.opened, now=-math.inf).value
        copied = copier(value)
        if copied is not None:
            copy, size = copied
            entry.opened = replace(entry.opened, make=copy, source=value)
            self._near.grow(key, entry, size)

    def near_many(self, keys: Sequence[str]) -> dict[str, Looked]:
        """`near` of many keys, those that are hits."""
        kept, known = self._near_entries, self._known()
        keys = [] if known is None else [key for key in keys if key in kept]
        version = self._version() if keys and not self._breaker.is_open else None
        if version is not None:
            self._stats.count()
        return {key: looked for key in keys if (looked := self.near(key, version, known)) is not None}

    def _known(self) -> _Known | None:
        """The generation, as far as it is known without a read, and the time by both clocks."""
        last, moment = self._generations.last.get(self.fn), self._generations.clock()
        return None if last is None or moment >= last[1] else (last[0], self._clock(), moment)

    def look_up(self, key: str) -> Looked:
        """What a call finds for which there was no near entry that may be used. A hit moves its sliding window."""
        if key in self._near_entries and self.known_generation() is None:
            self.generation()
            looked = self.near(key)
            if looked is not None:
                return looked
        reading = self._near.reading(self.store.known_version(), self._generations.clock())
        row = self._read(key, consistent=self._near.seconds is not None)
        looked = self.judge(key, row, reading=reading)
        self._slide(key, looked)
        return looked

    def look_up_many(self, keys: Sequence[str]) -> dict[str, Looked]:
        """`look_up` of many keys, with as few reads as the store can do it with."""
        near: dict[str, Looked] = {}
        if self._near_entries and self.known_generation() is None:
            self.generation()
            near = self.near_many(keys)
        reading = self._near.reading(self.store.known_version(), self._generations.clock())
        missing = [key for key in keys if key not in near]
        rows = self.store.read_many(missing, consistent=self._near.seconds is not None)
        if any(row.lease_owner is not None for row in rows.values()):
            self.generation()  # whether these leases count
        found = self._judged({key: rows.get(key) for key in missing}, reading=reading)
        for key, looked in found.items():
            if looked.row is not None and looked.row.ttl_window is not None:
                self._slide(key, looked)
        return near | found if near else found

    def read(self, key: str, *, consistent: bool = False, kept: bool = False) -> Looked:
        """What the row under `key` means now. Its sliding window stays where it is."""
        return self.judge(key, self._read(key, consistent=consistent), kept=kept)

    def _slide(self, key: str, looked: Looked) -> None:
        """Move the sliding window of a hit."""
        row = looked.row
        if row is None or row.ttl_window is None or looked.decoded is None:
            return
        if not self.cache.write_breaker.is_open:  # a hit does not wait for a write that will fail
            self.cache.slide(self.store, key, row, self._refresh_after)

    def look_up_at(self, spot: Spot) -> Looked:
        """Look up while another process computes: read the lease row, and the entry once that row is gone.

        A look that may be behind is good enough to see that the lease still stands: to claim it is conditional. What it
        shows instead may be older than that lease, such as a value that was forgotten before, and is read as ever; so
        the look brings no parts of it. Nothing in such a row could tell that it is newer: etags are random, and its
        dates are by clocks that differ. Where looks are as good as reads, as in SQLite, a second one costs next to
        nothing, once a wait.
        """
        lease_row = self._look(spot.key)
        if lease_row is not None and lease_row.lease_owner is not None:
            return Looked(lease_row)
        if spot.key == spot.value_key:
            return self.look_up(spot.key)
        lease_row = self._read(spot.key)
        looked = Looked(lease_row) if lease_row is not None else self.look_up(spot.value_key)
        return looked if looked.decoded is not None else Looked(lease_row)

    def judge_at(self, spot: Spot, row: Item | None) -> Looked:
        """What the row that refused a claim at `spot` means: a hit, or what to go on from."""
        return self.judge(spot.key, row) if spot.key == spot.value_key else Looked(row)

    def judge(self, key: str, row: Item | None, *, kept: bool = False, reading: Reading | None = None) -> Looked:
        """What the row read under `key` means. With `kept`, an expired value that is kept for errors is a hit, too.

        Args:
            reading: what was known before it was read, where it may become a near entry.
        """
        return self._judged({key: row}, kept=kept, reading=reading)[key]

    def _may_serve(self, key: str, row: Item) -> bool:
        """Whether it is worth fetching the value of a row, which costs up to 1,000 times what the row does."""
        return (row.ttl_date is None or self._clock() <= row.ttl_date) and self.counts(key, row)

    def _judged(
        self, rows: Mapping[str, Item | None], *, kept: bool = False, reading: Reading | None = None
    ) -> dict[str, Looked]:
        """`judge` of many rows."""
        now, generation = self._clock(), self.known_generation()
        near: dict[str, NearEntry[Opened]] = {}
        found = {key: self._judge(key, row, now, generation, kept, reading, near) for key, row in rows.items()}
        if reading is not None and near:
            self._near.put(near, reading.drops)
        return found

    def _judge(
        self,
        key: str,
        row: Item | None,
        now: float,
        generation: Generation | None,
        kept: bool,
        reading: Reading | None,
        near: dict[str, NearEntry[Opened]],
    ) -> Looked:
        """`judge` of one of many rows, `now` and with the `generation` known; it goes to the `near` entries to keep."""
        if row is None or not row.is_entry:
            return Looked(row)
        date = row.ttl_date
        if date is not None and now > date:
            return Looked(row)
        is_kept = date is not None and row.stale_for is not None and now > date - row.stale_for
        is_of_it = generation is not None and row.gen == generation
        if (is_kept and not kept) or not (is_of_it or self.counts(key, row)):
            return Looked(row)
        if row.value is None:
            message = "the value lies outside of its row, and is missing there or is not the one that was written"
            return Looked(row, unreadable=UnreadableValueError(message, cause="missing"))
        known = None if reading is None else self._near_entries.get(key)
        if known is not None and (known.row != row or known.codec is not self._codec):
            known = None  # else these bytes have been verified, and something else in the store has changed
        try:
            opened = self._open(row.value, key=self._partition_key(key)) if known is None else known.opened
            decoded = self._decode(opened, now=now)
        except UnreadableValueError as error:
            # The deadline that the envelope swears to has passed, though the row says otherwise: a plain miss.
            return Looked(row, unreadable=None if error.cause == "expired" else error)
        if reading is not None and row.parts is None and not is_kept and isinstance(row.value, bytes):
            near[key] = self._near_entry(row, decoded, opened, reading) if known is None else known.again(reading)
        return Looked(row, decoded, is_kept=is_kept)

    def _near_entry(self, row: Item, decoded: Decoded, opened: Opened, reading: Reading) -> NearEntry[Opened]:
        """What is to be kept of a hit."""
        beside = footprint(decoded.value)
        found = None if beside is None else Looked(row, decoded, True)
        size = len(row.value or b"") + opened.beside + (beside or 0)
        until = usable_until(row, opened.deadline, self._refresh_after)
        return NearEntry(row, opened, reading.version, reading.fresh_until, until, size, found, self._codec)

    def decode(self, key: str, content: bytes | Content) -> Decoded:
        """An object of its own from stored bytes. Raises `UnreadableValueError`."""
        return self._decode(self._open(content, key=self._partition_key(key)), now=self._clock())

    def is_due(self, looked: Looked, part: float) -> bool:
        """Whether the last `part` (0 to 1) of a hit's life, from computing to deadline, has begun."""
        row, decoded = looked.row, looked.decoded
        if row is None or decoded is None or row.ttl_deadline is None:
            return False
        end = row.ttl_deadline - (row.stale_for or 0)
        return self._clock() > end - part * (end - decoded.computed_at)

    def took(self, key: str, looked: Looked) -> float | None:
        """How many seconds computing a call took last time, to tell people, also under other code.

        Known from the value that was read, or from what this process has computed.
        """
        if looked.decoded is not None:
            return looked.decoded.seconds
        value = None if looked.row is None else looked.row.value
        told = None if value is None else header_told(value)
        return self._took.get(key.rpartition(":")[2]) if told is None else told.seconds

    def entry(self, key: str) -> Entry[Any] | None:
        """What is stored under `key`, None for a miss."""
        looked = self.read(key)
        if looked.row is None or looked.row.value is None or looked.decoded is None:
            return None
        end = expiry.expires_at(looked.row)
        return Entry(
            value=looked.decoded.value,
            computed_at=views.utc(looked.decoded.computed_at),
            expires_at=views.utc_or_none(end),
            size=len(looked.row.value),
            seconds=looked.decoded.seconds,
            origin=read_origin(origin_told(looked.row.value)),
        )

    # -- writing ----------------------------------------------------------------------------------

    def known_generation(self, row: Item | None = None) -> Generation | None:
        """The generation if it, and whether `row` is of it, is known without a read, else None."""
        last = self._generations.last.get(self.fn)
        known = last[0] if last is not None and last[1] > self._generations.clock() else None
        return None if known is None or self._is_doubtful(row, known) else known

    def generation(self, row: Item | None = None, *, grace: float = 0.0) -> Generation:
        """The generation in which the function is, with which a result is stamped as known before computing it.

        It is read anew when `row` is of another one. A process that still believes an old generation would otherwise
        miss what lies there, or take over a live lease of the new one.

        Args:
            grace: seconds by which it may be older than usual.
        """
        known = self._generations.known(self.store, self.fn, grace=grace)
        if row is None or not self._is_doubtful(row, known):
            return known
        return self._generations.confirmed(self.store, self.fn, doubted=row.gen)

    def _is_doubtful(self, row: Item | None, known: Generation) -> bool:
        """Whether it takes a read to say that the row is of the generation known, or of none that counts."""
        gen = None if row is None else row.gen
        return gen is not None and not known.can_tell(gen) and gen not in self._generations.superseded

    def counts(self, key: str, row: Item, generation: Generation | None = None) -> bool:
        """Whether a row under `key` is of the generation given, or of the present one, for which it may be read."""
        if generation is None:
            last = self._generations.last.get(self.fn)
            if last is not None and row.gen == last[0] and last[1] > self._generations.clock():
                return True
            generation = self.generation(row)
        return generation.covers(row.gen, key, self._program)

    def stamp(self, generation: Generation) -> str:
        """For the rows that are stored in this generation."""
        return generation.stamp(self._program)

    def begin(self) -> Generation:
        """The generation, its missing rows written."""
        return self._generations.ensured(self.store, self.fn)

    def row(self, key: str, computed: Computed, lifetime: Lifetime, stamp: str) -> Item | None:
        """The row of a result that is stored now; None if its time has run out. Raises as `content`.

        The time for which errors keep it is part of its dates.
        """
        dates = lifetime.row(self._clock())
        if dates is None:
            return None
        date, deadline, stale_for = dates.ttl_date, dates.ttl_deadline, self._stale_for
        if date is None or stale_for is None:
            stale_for = None
        else:
            date = min(date + stale_for, LATEST_TIME)
            deadline = None if deadline is None else min(deadline + stale_for, LATEST_TIME)
        content = self.content(key, computed, deadline)
        return Item(content, date, deadline, dates.ttl_window, None, self.fn, stamp, stale_for=stale_for)

    def content(self, key: str, computed: Computed, deadline: int | None = None) -> bytes | Content:
        """A result as it is stored.

        Raises:
            CannotSerialize: it cannot be turned into bytes.
            ValueTooLargeError: it is larger than the cache accepts.
        """
        content = self._codec.dumps(
            computed.value,
            key=self._partition_key(key),
            computed_at=computed.computed_at,
            seconds=computed.seconds,
            deadline=deadline,
            origin=b"" if self._reach is None else described(self._reach()),
        )
        self.cache.check_size(len(content))
        if len(self._took) >= MOST_REMEMBERED:
            self._took.clear()
        self._took[key.rpartition(":")[2]] = computed.seconds
        return content

    def may_overwrite(self, key: str, cause: str) -> bool:
        """Whether an unreadable entry may be replaced now."""
        return is_first(self._overwritten, (key, cause), OVERWRITE_SECONDS)

    def remove(self, key: str) -> None:
        """Forget one entry. A computation of it under a lease goes on, and its result is not stored."""
        self.store.remove(lease_key(key))
        self.change(key, self.store.remove, key)
        flights.detach((self.cache, key))

    def change(self, key: str, do: Callable[..., Any], *args: Any) -> Any:
        """Let `do` change the row under `key`. From then on nobody is given what was read of it before."""
        try:
            return do(*args)
        finally:  # it may have done so though it raises
            self._near.drop(key)


class Throttled(Exception):  # noqa: N818 - it never leaves this library
    """More was asked of the store than it has the capacity for.

    Args:
        seconds: to wait, and then
        again: asks the same once more, which may raise this again.
    """

    def __init__(self, seconds: float, again: Callable[[], Any]) -> None:
        super().__init__()
        self.seconds = seconds
        self.again = again


def insist(ask: Callable[[], Any]) -> Any:
    """Do what may ask the store, again and again as long as it is `Throttled`."""
    while True:
        try:
            return ask()
        except Throttled as throttled:
            time.sleep(throttled.seconds)
            ask = throttled.again


def is_first(times: dict[Hashable, float], what: Hashable, seconds: float) -> bool:
    """Whether nobody has asked this of `what`, noting the time in `times`, for so many seconds."""
    now = time.monotonic()
    for known in [known for known, at in list(times.items()) if now - at >= seconds]:
        times.pop(known, None)
    return times.setdefault(what, now) == now
