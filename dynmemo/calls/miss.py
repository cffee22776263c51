"""The story of a miss: one computes, in this process and in the fleet, and the others wait for its result."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dynmemo.calls.steps import Blocking, Failed, Found, Sleep, Step, Wait, compute
from dynmemo.codec import CannotSerialize
from dynmemo.entries import Computed, Looked
from dynmemo.errors import (
    InvalidOptionError,
    InvalidTableError,
    StoreUnavailableError,
    UnreadableValueError,
    ValueTooLargeError,
)
from dynmemo.expiry import Dates
from dynmemo.item import Expect, Refused
from dynmemo.leases import (
    Lease,
    Spot,
    Verdict,
    Waited,
    Watch,
    flights,
    is_deadlock,
    judge,
    waiting_for_row,
    waiting_here,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.calls.options import Options
    from dynmemo.calls.steps import Outcome, Story
    from dynmemo.entries import Entries
    from dynmemo.failures import Trouble
    from dynmemo.item import Item, Store

T = TypeVar("T")
Steps = Generator[Step, Any, T]


class Landed(NamedTuple):
    """What the leader of this process hands to those who wait in memory."""

    outcome: Outcome
    content: bytes | None = None
    """The result as stored, from which each of them makes an object of its own; None where it has no stored form."""
    is_stale: bool = False
    """Whether it has expired and stands in for a result that could not be computed."""


class Miss:
    """One call for which the cache holds nothing live.

    Args:
        entries: of its function in the cache in force.
        key: of the call.
        looked: what the look-up found.
        options: of the function.
        trouble: counts failures and says them, or raises them.
        blocks_thread: whether nothing else in the thread goes on while the call waits.
    """

    def __init__(
        self, entries: Entries, key: str, looked: Looked, options: Options, trouble: Trouble, *, blocks_thread: bool
    ) -> None:
        self._entries = entries
        self._key = key
        self._value_row = looked.row
        self._unreadable = looked.unreadable
        self._options = options
        self._trouble = trouble
        self._reading = partial(trouble.guarded, entries.cache.breaker)
        self._writing = partial(trouble.guarded, entries.cache.write_breaker)
        self._beside = partial(trouble.beside, entries.cache.write_breaker)
        self._blocks_thread = blocks_thread
        wait = options.wait_seconds()
        self._deadline = None if wait is None else time.monotonic() + wait

    def story(self) -> Story:
        """Wait for who leads in this process, or lead."""
        if not self._options.single_flight:
            return (yield from self._unled(None)).outcome
        while True:
            flight, leads = flights.join((self._entries.cache, self._key))
            if leads:
                break
            ended = yield Wait(flight, self._time_left())
            if ended is Waited.LANDED:
                shared: Outcome | None = yield Blocking(partial(self._share, flight.outcome))
                return shared if shared is not None else (yield from self._bypassing())
            if ended is not Waited.HANDED_OVER:
                return (yield from self._bypassing())
        with flight.leading():
            landed = yield from self._lead()
            if not _is_interruption(landed.outcome):
                flight.land(landed)
            return landed.outcome

    def story_ahead(self) -> Story:
        """Recompute a value that is live still, unless somebody does; who asks for it meanwhile hits."""
        flight, leads = flights.join((self._entries.cache, self._key))
        if not leads:
            return Found(None)
        with flight.leading():
            lease = yield from self._claim_ahead()
            if lease is None:
                return Found(None)
            landed = yield from self._under(lease)
            if not _is_interruption(landed.outcome):
                flight.land(landed)
            return landed.outcome

    def story_anew(self) -> Story:
        """Compute and store whatever lies there or is being computed; who asks meanwhile waits for this result."""
        flight = flights.lead((self._entries.cache, self._key))
        with flight.leading():
            landed = yield from self._anew()
            if not _is_interruption(landed.outcome):
                flight.land(landed)
            return landed.outcome

    def _anew(self) -> Steps[Landed]:
        generation = yield Blocking(self._generation)
        spot = None if generation is None else (yield self._read(self._spot_anew))
        if spot is not None:
            lease = yield self._write(self._entries.leases.claim, spot, generation, None)
            if isinstance(lease, Lease):
                return (yield from self._under(lease))
        return Landed((yield from compute()))

    def _spot_anew(self) -> Spot:
        """Beside a value that may be served still, so that it is not lost if computing raises.

        Over anything else, leases too: then who misses waits.
        """
        looked = self._entries.peek(self._key, consistent=True)
        if looked.decoded is None and self._entries.stale(self._key, looked.row) is None:
            return Spot.at(self._key)
        return Spot.beside(self._key, looked.row, insists=True)

    # -- in this process ---------------------------------------------------------------------------

    def _share(self, landed: Landed | None) -> Outcome | None:
        """What the leader of this process landed, as an object of our own; None if it cannot be copied."""
        if landed is None:
            return None
        outcome, content, is_stale = landed
        if isinstance(outcome, Failed):
            return outcome
        try:
            if content is None and isinstance(outcome, Computed):
                content = self._entries.content(self._key, outcome, Dates(None, None, None))
            if content is None:
                return None
            decoded = self._entries.decode(self._key, content)
        except (CannotSerialize, ValueTooLargeError, UnreadableValueError):
            return None
        if is_stale:
            self._trouble.stats.add("stale")
        else:
            self._trouble.stats.share(decoded.seconds)
        return Found(decoded.value)

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    # -- in the fleet -------------------------------------------------------------------------------

    def _lead(self) -> Steps[Landed]:
        if self._unreadable is not None and not self._entries.may_overwrite(self._key, self._unreadable.cause):
            return Landed((yield from self._bypassing()))
        spot = self._spot()
        waiting = waiting_here(blocks_thread=self._blocks_thread)
        with waiting_for_row(waiting, self._entries.store, spot.key):
            found = yield from self._claim(spot, partial(is_deadlock, waiting, self._entries.store))
        if isinstance(found, Lease):
            return (yield from self._under(found))
        if isinstance(found, Looked):
            return self._first_was(found)
        if isinstance(found, Expect):
            return (yield from self._unled(found))
        return Landed((yield from (compute() if found is None else self._bypassing())))

    def _claim(self, spot: Spot, is_deadlock: Callable[[Item], bool]) -> Steps[Lease | Looked | Expect | Waited | None]:
        """Wait until the lease is ours, or somebody's result is there.

        Or the row as it is expected where the result cannot be shared. Otherwise compute without storing: the time to
        wait is over, or who holds the lease waits for what runs here (`Waited`), or the store is out of order (None).
        """
        row = self._value_row if spot.key == self._key else None
        watch, asked = Watch(), None
        while True:
            generation = yield Blocking(partial(self._generation, row))
            if generation is None:
                return None
            verdict = judge(row, self._entries.cache.clock(), generation)
            expect: Expect | None = Expect.seen(row)
            if verdict is Verdict.NO_STORE:
                return expect
            if verdict is Verdict.HELD and row is not None:
                expect = watch.may_take_over(row)
            if expect is not None:
                claimed = yield self._write(self._entries.leases.claim, spot, generation, expect)
                if isinstance(claimed, Lease):
                    return claimed
                if claimed is None:
                    return None
                looked = yield self._read(self._judge, spot, claimed)
            elif self._time_left() == 0.0:
                return Waited.TIMED_OUT
            elif row is not None and row.lease_waits is not None and asked != (row.etag, row.lease_beat):
                asked = (row.etag, row.lease_beat)  # what it waits for changes with a beat only
                is_ring = yield self._read(is_deadlock, row)
                if is_ring is not False:
                    return None if is_ring is None else Waited.DEADLOCK
                continue
            else:
                yield Sleep(watch.next_delay())
                looked = yield self._read(self._look_again, spot)
            if looked is None or looked.decoded is not None:
                return looked  # type: ignore[no-any-return]
            row = looked.row

    def _spot(self) -> Spot:
        """Where to claim: beside a value that must stay readable or may be refreshed just now, over everything else."""
        row = self._value_row
        is_kept = self._options.stale_if_error is not None and self._entries.stale(self._key, row) is not None
        may_be_refreshed = self._options.refresh_ahead is not None and row is not None and row.value is not None
        return Spot.beside(self._key, row) if is_kept or may_be_refreshed else Spot.at(self._key)

    def _judge(self, spot: Spot, refused: Refused) -> Looked:
        """The row that refused a claim: a hit, or what to go on from."""
        return self._entries.judge(self._key, refused.row) if spot.key == self._key else Looked(refused.row)

    def _look_again(self, spot: Spot) -> Looked:
        if spot.key == self._key:
            return self._entries.look(self._key)
        lease_row = self._entries.store.read(spot.key)
        looked = self._entries.look(self._key) if lease_row is None else Looked(lease_row)
        return looked if looked.decoded is not None else Looked(lease_row)

    def _first_was(self, looked: Looked) -> Landed:
        """Somebody else's result stands there now."""
        if looked.decoded is None or looked.row is None:
            raise AssertionError("no hit")
        self._trouble.stats.share(looked.decoded.seconds)
        return Landed(Found(looked.decoded.value), looked.row.value)

    def _claim_ahead(self) -> Steps[Lease | None]:
        spot = Spot.beside(self._key, self._value_row)
        generation = yield Blocking(partial(self._generation, self._value_row))
        if generation is None:
            return None
        claimed = yield self._write_beside(self._entries.leases.claim, spot, generation, Expect())
        if isinstance(claimed, Refused) and claimed.row is not None:
            expect = Watch().may_take_over(claimed.row)
            if expect is not None:
                claimed = yield self._write_beside(self._entries.leases.claim, spot, generation, expect)
        return claimed if isinstance(claimed, Lease) else None

    # -- computing ----------------------------------------------------------------------------------

    def _under(self, lease: Lease) -> Steps[Landed]:
        """Compute under a lease."""
        with lease.renewed():
            if (
                lease.spot.over is not None and not lease.spot.insists
            ):  # what lay beside the lease may have been renewed before it was ours
                looked = yield self._read(self._entries.peek, self._key)
                if looked is not None and looked.decoded is not None and Expect.seen(looked.row) != lease.spot.over:
                    yield Blocking(partial(self._give_up, lease))
                    return self._first_was(looked)
            outcome = yield from compute()
            landed: Landed = yield Blocking(partial(self._end, lease, outcome))
        return landed

    def _bypassing(self) -> Story:
        """Compute without storing, though the store works."""
        outcome = yield from compute()
        if isinstance(outcome, Computed):
            self._trouble.stats.add("bypassed")
        return outcome

    def _unled(self, expect: Expect | None) -> Steps[Landed]:
        """Compute without waiting or being waited for, and store if the row is as expected (None: whatever it is)."""
        generation = yield Blocking(self._generation)
        outcome = yield from compute()
        if generation is None:
            return Landed(outcome)
        unled = Unled(self._entries.store, self._key, generation, expect)
        landed: Landed = yield Blocking(partial(self._end, unled, outcome))
        return landed

    def _end(self, lease: Lease | Unled, outcome: Outcome) -> Landed:
        if isinstance(outcome, Computed):
            return Landed(outcome, self._store(lease, outcome))
        self._give_up(lease)
        if isinstance(outcome, Failed) and isinstance(outcome.error, Exception):
            stale = self._entries.stale(self._key, self._value_row) if self._options.stale_if_error else None
            if stale is not None:
                self._trouble.stale(outcome.error)
                content = None if self._value_row is None else self._value_row.value
                return Landed(Found(stale.value), content, is_stale=True)
        return Landed(outcome)

    def _store(self, lease: Lease | Unled, computed: Computed) -> bytes | None:
        """Store a result; its stored form, None where it has none."""
        cache_if, cache = self._options.cache_if, self._entries.cache
        try:
            is_wanted = cache_if is None or bool(cache_if(computed.value))
            lifetime = self._options.lifetime_of(cache, computed.value) if is_wanted else None
        except InvalidOptionError as error:
            self._not_stored(lease, "ttl", str(error))
            return None
        except Exception as error:  # noqa: BLE001 - the result is there, and worth more than a word on storing it
            kind = type(error).__name__
            self._not_stored(lease, f"raised {kind}", f"cache_if= or ttl= raised {kind} for it")
            return None
        if not is_wanted:
            self._trouble.stats.add("bypassed")
            self._no_store(lease, "cache_if")
            return None
        dates = None if lifetime is None else self._entries.dates(lifetime)
        if dates is None:
            self._not_stored(lease, "ttl", "its ttl has run out")
            return None
        content = None
        try:
            content = self._entries.content(self._key, computed, dates)
            row = self._entries.row(content, dates, lease.generation)
            if self._entries.is_forgotten(lease.generation):
                self._give_up(lease)  # cleared meanwhile: nobody would be served it
                self._trouble.stats.add("bypassed")
            elif lease.lost or self._writing(lease.finish, row) is False:
                self._trouble.stats.add("bypassed")  # somebody removed the row or took the lease over
        except (CannotSerialize, ValueTooLargeError) as error:
            self._not_stored(lease, type(error).__name__, str(error))
        return content

    def _not_stored(self, lease: Lease | Unled, cause: str, reason: str) -> None:
        self._trouble.not_stored(cause, reason)
        self._no_store(lease, cause)

    def _give_up(self, lease: Lease | Unled) -> None:
        # What asks nobody must not count as a write that succeeded. A failure is counted, and hides no outcome.
        with suppress(StoreUnavailableError, InvalidTableError):
            if isinstance(lease, Lease) and not lease.lost:
                self._beside(lease.give_up)

    def _no_store(self, lease: Lease | Unled, cause: str) -> None:
        with suppress(StoreUnavailableError, InvalidTableError):
            if isinstance(lease, Lease) and not lease.lost:
                self._beside(lease.no_store, cause)

    # -- steps that are answered with None when the store is out of order and the call may go on without it ----------

    def _read(self, do: Any, *args: Any) -> Blocking:
        return Blocking(partial(self._reading, do, *args))

    def _write(self, do: Any, *args: Any) -> Blocking:
        return Blocking(partial(self._writing, do, *args))

    def _write_beside(self, do: Any, *args: Any) -> Blocking:
        return Blocking(partial(self._beside, do, *args))

    def _generation(self, row: Item | None = None) -> str | None:
        """The generation to stamp a result with; its rows are written where they are missing."""
        known = self._reading(self._entries.generation, row)
        if known is None or self._entries.is_begun(known):
            return known
        return self._writing(self._entries.begun)


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


def _is_interruption(outcome: Outcome) -> bool:
    """Whether the leader was cancelled or interrupted, which is nobody else's outcome."""
    return isinstance(outcome, Failed) and not isinstance(outcome.error, Exception)
