"""The story of a miss: one computes, in this process and in the fleet, and the others wait for its result.

A story is a generator, so that it is told once for plain and for async functions: it yields steps, and is sent what
came of them. `Memo.go_on` does them in place, `Memo.play_async` awaits them. What goes wrong in a step is raised where
the story has yielded it.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo import views
from dynmemo.calls.display import Notice
from dynmemo.codec import CannotSerialize, Decoded
from dynmemo.entries import Computed
from dynmemo.errors import InvalidOptionError, UnreadableValueError, ValueTooLargeError
from dynmemo.expiry import parse_wait
from dynmemo.failures import OutOfOrder
from dynmemo.generations import NO_GENERATION, RECHECK_SECONDS, WAITING_SECONDS
from dynmemo.item import Expect, Refused, Written, settled
from dynmemo.leases import (
    Lease,
    Spot,
    Verdict,
    Waited,
    Watch,
    flights,
    is_deadlock,
    waiting_for_row,
    waiting_here,
)
from dynmemo.origin import told_holder
from dynmemo.telling import INFO, tell, tells

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from dynmemo.calls import Options
    from dynmemo.entries import Entries, Looked
    from dynmemo.generations import Generation
    from dynmemo.item import Content, Item
    from dynmemo.leases import Flight, Leading


T = TypeVar("T")
Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]

Work = partial
"""Call this, which may take long; answered with what it returns."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The user's function raised."""

    error: BaseException
    traceback: TracebackType | None
    """Of the user's own frames."""


# An outcome instead of an exception, because a StopIteration of the user's function must not end the story.
Outcome = Computed | Decoded | Failed


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a flight of this process, at most so many seconds; answered with `Waited`."""

    flight: Flight[Any]
    timeout: float | None
    look: Callable[[], object]
    """Called every second or so while it waits."""


class Elsewhere(Exception):  # noqa: N818 - it never leaves this library
    """Somebody else computes the result, and this call was told not to wait for it.

    Args:
        flight: of this process, if it is computed here.
        row: the lease row of another process.
    """

    def __init__(self, flight: Flight[Any] | None = None, row: Item | None = None) -> None:
        super().__init__()
        self.flight = flight
        self.row = row


@dataclass(frozen=True, slots=True)
class Compute:
    """Run the user's function; answered with `Computed` or `Failed`."""


Step = Work[Any] | Sleep | Wait | Compute
Steps = Generator[Step, Any, T]
Story = Steps[Outcome]


def compute() -> Story:
    """The story of a call that goes without the cache."""
    outcome: Outcome = yield Compute()
    return outcome


@dataclass(slots=True)  # not frozen for the reason of `Computed`
class Landed:
    """What the leader of this process hands to those who wait in memory."""

    outcome: Outcome
    content: bytes | Content | None = None
    """The result as stored, from which each of them makes an object of its own; None where it has no stored form."""
    is_stale: bool = False
    """Whether it has expired and stands in for a result that could not be computed."""
    is_for_all: bool = True
    """False when the call was forgotten or taken over meanwhile: then only its own caller gets the result."""
    is_known: bool = True
    """False when the store did not answer, so that nobody knows whether the call was forgotten meanwhile."""


@dataclass(slots=True)
class Form:
    """What a result is stored as."""

    content: bytes | Content | None = None
    """The value as bytes; None when it has no stored form, or `cache_if` refused it."""
    row: Item | None = None
    """What to write; None if it is not to be stored."""
    cause: str = ""
    """Why it is not stored, as the `no_store` of a row."""
    reason: str = ""
    """Why it is not stored, for the log; empty when the user asked for that."""


class Miss:
    """One call for which the cache holds nothing live.

    Args:
        entries: of its function in the cache in force.
        key: of the call.
        looked: what the look-up found.
        options: of the function.
        blocks_thread: whether nothing else in the thread goes on while the call waits.
        not_stored: why the result must not be stored, as its key says; empty where it may be.
        waits: whether to wait for who computes already. If not, the story raises `Elsewhere` in place of that.
        patience: how long to wait at most, instead of the function's `wait_timeout`: seconds.
    """

    def __init__(
        self,
        entries: Entries,
        key: str,
        looked: Looked,
        options: Options,
        *,
        blocks_thread: bool,
        not_stored: str = "",
        waits: bool = True,
        patience: float | None = None,
    ) -> None:
        self._entries = entries
        self._reading, self._writing = entries.reading, entries.writing
        self._key = key
        self._looked = looked
        self._options = options
        self._trouble = entries.trouble
        self._stats = entries.trouble.stats
        self._blocks_thread = blocks_thread
        self._not_stored = not_stored
        self._waits = waits
        self._flight: Flight[Landed] | None = None
        """The one that this call leads."""
        if patience is None and options.wait_timeout is not None:
            patience = parse_wait(options.wait_timeout, "wait_timeout")
        self._deadline: float | None = None if patience is None else time.monotonic() + patience

    def story(self) -> Story:
        """Lead, or wait for the call of this process that leads."""
        if not self._options.single_flight:
            return (yield from self._compute_unled(None)).outcome
        while True:
            flight, leads = flights.join((self._entries.cache, self._key))
            if leads:
                with self._leading(flight):
                    return (yield from self._land(flight, (yield from self._lead())))
            if not self._waits:
                raise Elsewhere(flight)
            joined = time.time()
            with Notice(self._trouble.name) as notice:
                ended: Waited = yield Wait(flight, self._time_left(), notice.look)
            if ended is Waited.LANDED:
                shared: Outcome | None = yield Work(self.shared, flight, joined)
                return shared if shared is not None else (yield from self._compute_unstored())
            if ended is not Waited.HANDED_OVER:
                return (yield from self._compute_unstored())

    def story_ahead(self) -> Steps[Outcome | None]:
        """Recompute a live value, which others go on to hit. None when somebody recomputes it already."""
        flight, leads = flights.join((self._entries.cache, self._key))
        if not leads:
            return None
        with self._leading(flight):
            try:
                lease = yield from self._claim_ahead()
            except OutOfOrder:
                return None
            landed = None if lease is None else (yield from self._compute_under(lease))
            return None if landed is None else (yield from self._land(flight, landed))

    def story_anew(self) -> Story:
        """Compute and store, whatever is stored or being computed. Calls that come meanwhile wait for this result."""
        flight = flights.lead((self._entries.cache, self._key))
        with self._leading(flight):
            landed: Landed | None = None
            while landed is None:
                try:
                    lease = yield from self._claim_anew()
                except OutOfOrder:
                    lease = None
                if lease is None:
                    landed = Landed((yield Compute()), is_known=False)
                else:
                    landed = yield from self._compute_under(lease)
            return (yield from self._land(flight, landed))

    # -- in this process ---------------------------------------------------------------------------

    def _leading(self, flight: Flight[Landed]) -> Leading:
        self._flight = flight
        return flight.leading()

    def shared(self, flight: Flight[Landed], joined: float) -> Outcome | None:
        """The leader's result as an object of this call's own; None when it cannot be copied, or may be too old.

        Without the store nobody knows what others have forgotten. So what was computed without it is shared with those
        alone who joined within the time for which a process may not know of a clear in any case.
        """
        landed = flight.outcome
        if landed is None:
            raise AssertionError("it has not landed")
        outcome, content = landed.outcome, landed.content
        if isinstance(outcome, Failed):
            return outcome
        if not landed.is_known and joined - outcome.computed_at > RECHECK_SECONDS:
            return None
        if content is None:
            return None
        try:
            decoded = self._entries.decode(self._key, content)
        except UnreadableValueError:
            return None
        if landed.is_stale:
            self._stats.add("stale")
        else:
            self._stats.add("waited", decoded.seconds)
        return decoded

    def _land(self, flight: Flight[Landed], landed: Landed) -> Story:
        """Publish an outcome that those who wait share. Where nothing is published, `leading` hands over."""
        if not landed.is_for_all or _is_interruption(landed.outcome):
            return landed.outcome
        # Now, since the leader's caller may do with the result what it likes as soon as it has it.
        if landed.content is None and isinstance(landed.outcome, Computed) and flight.is_awaited:
            landed.content = yield Work(self._copy, landed.outcome)
        flight.land(landed)
        return landed.outcome

    def _copy(self, computed: Computed) -> bytes | None:
        try:
            return settled(self._entries.content(self._key, computed))
        except (CannotSerialize, ValueTooLargeError):
            return None

    def _time_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    # -- in the fleet -------------------------------------------------------------------------------

    def _lead(self) -> Steps[Landed]:
        """Compute under a lease, or take the result of another process that was first."""
        unreadable = self._looked.unreadable
        if unreadable is not None and not self._entries.may_overwrite(self._key, unreadable.cause):
            return Landed((yield from self._compute_unstored()))
        while self._looked.decoded is None or self._looked.is_kept:
            try:
                turn = yield from self._turn()
            except OutOfOrder:
                return Landed((yield Compute()), is_known=False)
            if turn is None:
                return Landed((yield from self._compute_unstored()))
            if isinstance(turn, Expect):
                return (yield from self._compute_unled(turn))
            if isinstance(turn, Lease):
                landed = yield from self._compute_under(turn)
                if landed is not None:
                    return landed
            else:
                self._looked = turn
        return self._of_another(self._looked)

    def _turn(self) -> Steps[Lease | Looked | Expect | None]:
        """Wait until this call has the lease, or another's result is there.

        Where the row says that the result cannot be shared, nobody waits, and it is stored over this very row only
        (`Expect`). Where this call must not wait, it stores nothing (None).
        """
        spot, row = yield from self._spot()
        watch: Watch | None = None
        while True:
            generation = yield from self._generation(row)
            found = Verdict.CLAIMABLE if row is None else self._verdict(spot, row, generation)
            expect = Expect.seen(row)
            if found is Verdict.NO_STORE:
                return expect
            looked: Looked | None = None
            if found is Verdict.HELD and row is not None:
                watch = watch or Watch()
                if watch.expect_if_dead(row) is None:
                    looked = yield from self._wait(watch, spot, row, generation)
                    if looked is None:
                        return None
            if looked is None:
                claimed: Lease | Refused = yield self._claim(spot, generation, expect)
                if isinstance(claimed, Lease):
                    if row is not None and row.lease_owner and self._entries.counts(spot.key, row, generation):
                        by = told_holder(row.lease_by)
                        tell(INFO, "%s(): taken over, without a sign of life; it was %s", self._trouble.name, by)
                    return claimed
                looked = yield Work(self._reading, self._entries.judge_at, spot, claimed.row)
            if looked.decoded is not None:
                return looked
            row = looked.row

    def _wait(self, watch: Watch, spot: Spot, row: Item, generation: Generation) -> Steps[Looked | None]:
        """Wait as long as the lease `row` lives: what is there then. None where this call must not wait any longer."""
        if not self._waits:
            raise Elsewhere(row=row)
        waiting = waiting_here(blocks_thread=self._blocks_thread)
        with waiting_for_row(waiting, self._entries.store, spot.key), Notice(self._trouble.name) as notice:
            while (yield from self._may_wait(watch, row, waiting)):
                notice.look(row)
                delay, left = watch.next_delay(row), self._time_left()
                yield Sleep(delay if left is None else min(delay, left))
                looked: Looked | None = yield Work(self._reading, self._entries.look_up_at, spot, gives_way=True)
                if looked is None:
                    watch.throttled()
                    continue
                if looked.row is None or looked.decoded is not None:
                    return looked
                row = looked.row
                generation = yield from self._generation(row, believed=generation)
                is_held = self._verdict(spot, row, generation) is Verdict.HELD
                if not is_held or watch.expect_if_dead(row) is not None:
                    return looked
        return None

    def _may_wait(self, watch: Watch, row: Item, waiting: Sequence[Flight[object]]) -> Steps[bool]:
        """Whether to go on waiting: there is time left, and the holder of the lease `row` does not wait for us."""
        if self._time_left() == 0.0:
            return False
        if not watch.is_news_of_waiting(row):
            return True
        is_ring: bool = yield Work(self._reading, is_deadlock, waiting, self._entries.store, row, gives_way=True)
        return not is_ring

    def _spot(self) -> Steps[tuple[Spot, Item | None]]:
        """Where to claim, and the row there: beside a value that is kept or computed anew there, else in its place."""
        row = self._looked.row
        if row is None or not row.is_entry:
            return Spot.at(self._key), row
        known = self._entries.known_generation()
        if known is not None and not self._entries.counts(self._key, row, known):
            return Spot.at(self._key), row
        beside = Spot.beside(self._key, row)
        kept: Looked = yield Work(self._reading, self._entries.judge, self._key, row, kept=True)
        if kept.decoded is not None:
            return beside, None
        # Who began before it expired, or before the time ended for which it is kept, computes beside it still.
        lease_row: Item | None = yield Work(self._reading, self._entries.store.read, beside.key)
        generation = yield from self._generation(lease_row)
        is_held = lease_row is not None and self._verdict(beside, lease_row, generation) is Verdict.HELD
        return (beside, lease_row) if is_held else (Spot.at(self._key), row)

    def _verdict(self, spot: Spot, row: Item, generation: Generation) -> Verdict:
        return Verdict.of(row, self._entries.cache.clock(), counts=self._entries.counts(spot.key, row, generation))

    def _generation(self, row: Item | None = None, *, believed: Generation | None = None) -> Steps[Generation]:
        """The generation to stamp a result with; its rows are written where they are missing.

        A call that only waits for a lease, under the generation `believed`, seldom asks for it. Where the row is of
        another one, or no lease, it is known for sure before it means anything.
        """
        known = self._entries.known_generation(row)
        lease_row = None if row is None or row.lease_owner is None else row
        if known is None and lease_row and believed and self._entries.counts(self._key, lease_row, believed):
            ask = Work(self._reading, self._entries.generation, row, grace=WAITING_SECONDS, gives_way=True)
            known = (yield ask) or believed
        elif known is None:
            known = yield Work(self._reading, self._entries.generation, row)
        if NO_GENERATION in known:
            known = yield Work(self._writing, self._entries.begin)
        return known

    def _of_another(self, looked: Looked) -> Landed:
        """Somebody else's result stands there now."""
        if looked.decoded is None or looked.row is None:
            raise AssertionError("no hit")
        self._stats.add("waited", looked.decoded.seconds)
        return Landed(looked.decoded, looked.row.value)

    def _claim(self, spot: Spot, generation: Generation, expect: Expect | None, *, is_needed: bool = True) -> Work[Any]:
        claim, stamp = self._entries.leases.claim, self._entries.stamp(generation)
        took = self._entries.took(self._key, self._looked)
        return Work(self._writing, claim, spot, stamp, expect, took=took, is_needed=is_needed)

    def _claim_ahead(self) -> Steps[Lease | None]:
        """A lease beside the value, if nobody has one."""
        spot = Spot.beside(self._key, self._looked.row)
        generation = yield from self._generation(self._looked.row)
        claimed: Lease | Refused | None = yield self._claim(spot, generation, Expect(), is_needed=False)
        if isinstance(claimed, Refused) and claimed.row is not None:
            expect = Watch().expect_if_dead(claimed.row)
            if expect is not None:
                claimed = yield self._claim(spot, generation, expect, is_needed=False)
        return claimed if isinstance(claimed, Lease) else None

    def _claim_anew(self) -> Steps[Lease | None]:
        """A lease beside a value that may be served still, so that it is not lost if computing raises.

        Over anything else, leases too: then who misses waits.
        """
        generation = yield from self._generation()
        looked: Looked = yield Work(self._reading, self._entries.read, self._key, consistent=True, kept=True)
        is_kept = looked.decoded is not None
        spot = Spot.beside(self._key, looked.row, insists=True) if is_kept else Spot.at(self._key)
        claimed: Lease | Refused = yield self._claim(spot, generation, None)
        return claimed if isinstance(claimed, Lease) else None

    # -- computing ----------------------------------------------------------------------------------

    def _compute_unstored(self) -> Story:
        """Compute without storing, though the store works."""
        outcome: Outcome = yield Compute()
        if isinstance(outcome, Computed):
            self._stats.add("bypassed")
        return outcome

    def _compute_unled(self, over: Expect | None) -> Steps[Landed]:
        """Compute without waiting or being waited for, and store over the row expected (None: whatever is there)."""
        try:
            stamp = self._entries.stamp((yield from self._generation()))
        except OutOfOrder:
            return Landed((yield Compute()), is_known=False)
        return (yield from self._publish((yield Compute()), stamp, over=over))

    def _compute_under(self, lease: Lease) -> Steps[Landed | None]:
        """Compute under a lease. None if it lies beside a value that others no longer find there: then start over."""
        with lease:
            spot = lease.spot
            if spot.over is not None:
                # Since it was seen, the value may have been replaced, or be gone, or have reached the end of its time:
                # then others claim in its place.
                read = Work(self._entries.read, self._key, kept=True)
                looked: Looked | None = yield Work(self._reading, read, is_needed=False)
                if looked is not None and (
                    looked.decoded is None or not (spot.insists or Expect.seen(looked.row) == spot.over)
                ):
                    yield Work(self._writing, lease.give_up, is_needed=False)
                    self._looked = looked
                    return None
            return (yield from self._publish((yield Compute()), lease.stamp, lease))

    def _publish(
        self, outcome: Outcome, stamp: str, lease: Lease | None = None, over: Expect | None = None
    ) -> Steps[Landed]:
        """Store a result, or do what is to be done instead."""
        if not isinstance(outcome, Computed):
            return (yield from self._failed(outcome, lease))
        form: Form = yield Work(self._form, outcome, stamp)
        if form.row is None:
            return (yield from self._kept_back(outcome, form, lease))
        try:
            is_stored = yield from self._store(form.row, lease, over)
        except OutOfOrder:
            return Landed(outcome, settled(form.content) if form.content is not None else None, is_known=False)
        except ValueTooLargeError as error:
            form = Form(form.content, cause=type(error).__name__, reason=str(error))
            return (yield from self._kept_back(outcome, form, lease))
        if not is_stored:
            self._stats.add("bypassed")
            tell(INFO, "%s(): not stored, since it was forgotten or taken over meanwhile", self._trouble.name)
        elif tells(INFO):
            tell(INFO, "%s(): stored %s", self._trouble.name, views.size(len(form.content or b"")))
        return Landed(outcome, form.content, is_for_all=is_stored)

    def _form(self, computed: Computed, stamp: str) -> Form:
        """What a result is stored as, if it is."""
        options, entries, value = self._options, self._entries, computed.value
        reason = self._not_stored or computed.not_stored
        if reason:
            return Form(cause=reason, reason=reason)
        try:
            if options.cache_if is not None and not options.cache_if(value):
                return Form(cause="cache_if")
            lifetime = entries.lifetime or options.lifetime_of(entries.cache, value)
        except InvalidOptionError as error:
            return Form(cause="ttl", reason=str(error))
        except Exception as error:  # noqa: BLE001 - the result is there, and worth more than a word on storing it
            kind = type(error).__name__
            return Form(cause=f"raised {kind}", reason=f"cache_if= or ttl= raised {kind} for it")
        try:
            row = None if lifetime is None else entries.row(self._key, computed, lifetime, stamp)
        except (CannotSerialize, ValueTooLargeError) as error:
            return Form(cause=type(error).__name__, reason=str(error))
        return Form(cause="ttl", reason="its ttl has run out") if row is None else Form(row.value, row)

    def _store(self, row: Item, lease: Lease | None, over: Expect | None) -> Steps[bool]:
        """Write the row of a result; False if it was forgotten or taken over while it was computed."""
        if not self._entries.counts(self._key, row, (yield from self._generation())):
            if lease is not None:
                yield Work(self._writing, lease.give_up, is_needed=False)
            return False
        change = Work(self._writing, self._entries.change, self._key)
        if lease is None:
            answer: Written | Refused = yield Work(change, self._entries.store.write, self._key, row, over)
            return isinstance(answer, Written)
        is_stored: bool = yield Work(change, lease.finish, row)
        return is_stored

    def _kept_back(self, computed: Computed, form: Form, lease: Lease | None) -> Steps[Landed]:
        """Write a row that says why the result is not stored. For one lease nobody waits for this call then."""
        if form.reason:
            self._trouble.not_stored(form.cause, form.reason)
        else:
            self._stats.add("bypassed")
        if lease is not None:
            yield Work(self._writing, lease.no_store, form.cause, is_needed=False)
        content = None if form.content is None else settled(form.content)
        return Landed(computed, content, is_for_all=lease is None or not lease.lost)

    def _failed(self, outcome: Outcome, lease: Lease | None) -> Steps[Landed]:
        """Give the lease up, so that another may compute at once. An expired value kept for errors stands in."""
        # Exceptions are not cached: however long the store takes now, a call that begins later computes by itself.
        if self._flight is not None:
            self._flight.detach()
        if lease is not None:  # where that is throttled, the renewing thread does it later
            yield Work(self._writing, lease.give_up, is_needed=False, gives_way=True)
        is_for_all = lease is None or not lease.lost
        if self._options.stale_if_error is not None and isinstance(outcome, Failed) and not _is_interruption(outcome):
            # Read anew: it may have been forgotten since this call saw it, and those who wait began after that.
            read = Work(self._entries.read, self._key, consistent=True, kept=True)
            kept: Looked | None = yield Work(self._reading, read, is_needed=False)
            if kept is not None and kept.is_kept and kept.decoded is not None and kept.row is not None:
                self._trouble.stale(outcome.error)
                return Landed(kept.decoded, kept.row.value, is_stale=True, is_for_all=is_for_all)
        return Landed(outcome, is_for_all=is_for_all)


def _is_interruption(outcome: Outcome) -> bool:
    """Whether the leader was cancelled or interrupted: an outcome that those who wait do not share."""
    return isinstance(outcome, Failed) and not isinstance(outcome.error, Exception)
