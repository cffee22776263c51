"""Many calls in one go, which the whole fleet shares: what `map`, `starmap` and `warm` do.

A sweep looks up all of its calls in batches. Those that miss it plays as the stories of single calls, but of the kind
that does not wait: where somebody else computes already, the call is put off and the next one begins. Only when nothing
else is left does a sweep wait, by looking up in batches what it has put off.

What may take long is told as steps here too (see `dynmemo.calls.miss`), for plain and for async functions.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dynmemo._process import chance
from dynmemo.calls.display import Notice
from dynmemo.calls.drawn import Call, drawn
from dynmemo.calls.memo import value_of
from dynmemo.calls.miss import Elsewhere, Failed, Sleep, Work, compute
from dynmemo.codec import CannotSerialize
from dynmemo.defaults import is_disabled
from dynmemo.entries import Computed
from dynmemo.errors import UnreadableValueError, ValueTooLargeError
from dynmemo.expiry import parse_wait
from dynmemo.failures import OutOfOrder
from dynmemo.item import settled
from dynmemo.leases import Verdict, Watch, waiting_here

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dynmemo.calls.drawn import Row
    from dynmemo.calls.memo import Memo
    from dynmemo.calls.miss import Arguments, Keywords, Outcome, Steps
    from dynmemo.calls.progress import Tally
    from dynmemo.codec import Decoded
    from dynmemo.entries import Entries, Looked
    from dynmemo.item import Content

    Attempt = Steps[Outcome | Elsewhere | None]

SIZES = (300, 100, 30, 10)
"""So many keys one look-up may have. 300 are three requests at once on DynamoDB, and one query on SQLite."""

ONE_REQUEST = 100
"""Keys of the first look-up, and of those after another worker was met: one request."""

BYTES_AT_ONCE = 16_000_000
"""Bytes of values that a look-up shall bring at most, as far as the last one tells: they are in memory at once."""

ASK_AGAIN_SECONDS = 15.0
"""Seconds for which a sweep goes on without a store that failed: each failure takes as long as all retries."""


class Sweep:
    """Many calls of one function.

    `run` and `run_async` make them, as does `run_in` in `dynmemo.calls.executors`.

    Args:
        function: the decorated function, or a method got from an instance or class.
        rows: the arguments of each call.
        tally: counts what becomes of them, for who watches.
        first: position of the first one, for errors.
        keeps: whether to keep the results.
        returns_errors: whether what a call raises takes the place of its result.

    Raises:
        TypeError: the arguments of a call do not fit.
        UnhashableArgumentError: one of them has no stable content.
    """

    def __init__(
        self,
        function: Any,
        rows: Iterable[Row],
        tally: Tally,
        *,
        first: int = 0,
        keeps: bool = True,
        returns_errors: bool = False,
    ) -> None:
        self.function = function
        self.memo: Memo = function._self_memo
        self.tally = tally
        self.keeps = keeps
        self.calls, size = drawn(function, rows, first)
        self.results: list[Any] = [None] * size if keeps else []
        self.free: deque[Call] = deque()
        """Misses that nobody is known to compute."""
        self.away: deque[Call] = deque()
        """What somebody else computes."""
        self.size = ONE_REQUEST
        """How many calls the next look-up takes: fewer where values are large."""
        self._stats = self.memo.stats
        self._returns_errors = returns_errors
        self._entries = self._entries_in_force()
        self._left = len(self.calls)
        self._error: Failed | None = None
        self._due: list[tuple[Any, Arguments, Keywords]] = []
        """Stories that refresh hits in the background."""
        self._has_met = False
        """Whether another worker turned up where nobody was expected."""
        self._ask_at = 0.0
        """From when on (monotonic) a store that failed may be asked again."""
        self._is_told = False
        """Whether a failure was counted that stands for one of the calls."""
        self._watch: Watch | None = None
        timeout = self.memo.options.wait_timeout
        self._timeout = None if timeout is None else parse_wait(timeout, "wait_timeout")
        tally.came(size)

    # -- the ways to run ---------------------------------------------------------------------------

    def run(self) -> None:
        """Compute what is missing in this thread."""
        self.do(self.begin())
        while self.is_going_on():
            self.do(self.look_ahead())
            if self.free:
                call = self.free.popleft()
                self.take(call, self.do(self.attempt(call), call))
            else:
                self.do(self.come_back(self.pause()))
        self.end()

    def do(self, steps: Steps[Any], call: Call | None = None) -> Any:
        """Do steps in this thread, in which `call` is computed if they say so; what they return."""
        result: Any = self.memo.outcome_of(steps, *((), {}) if call is None else (call.args, call.kwargs))
        self._report()
        return result

    async def run_async(self, concurrency: int) -> None:
        """Compute what is missing in so many tasks at a time."""
        running: dict[asyncio.Task[Any], Call] = {}
        await self._do_async(self.begin())
        try:
            while self.is_going_on():
                await self._do_async(self.look_ahead())
                while self.free and len(running) < concurrency:
                    call = self.free.popleft()
                    running[asyncio.create_task(self._do_async(self.attempt(call), call))] = call
                pause = self.pause()
                if running:
                    done, _ = await asyncio.wait(running, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        self.take(running.pop(task), task.result())
                    pause = None if pause is None else 0.0
                if pause is not None:
                    await self._do_async(self.come_back(pause))
            for task, call in running.items():  # one may have been interrupted
                self.take(call, await task)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        self.end()

    async def _do_async(self, steps: Steps[Any], call: Call | None = None) -> Any:
        given = ((), {}) if call is None else (call.args, call.kwargs)
        result: Any = await self.memo.outcome_of_async(steps, *given)
        self._report()
        return result

    def is_going_on(self) -> bool:
        """Whether there is more to do."""
        return self._left > 0 and self._error is None

    def end(self) -> None:
        """Raise the first error, if errors are to be raised."""
        self._report()
        if self._error is not None:
            value_of(self._error)

    def _report(self) -> None:
        """Tell how far it has got, and begin the refreshes that are due, one after the other."""
        self.tally.tell()
        if self._due:
            due, self._due = self._due, []
            self.memo.begin(due)

    # -- looking up ---------------------------------------------------------------------------------

    def begin(self) -> Steps[None]:
        """Look up all calls. Each worker begins to compute at a place of its own, so that they seldom meet."""
        start = 0
        while start < len(self.calls):
            calls = self.calls[start : start + self.size]
            start += len(calls)
            self.free.extend((yield from self._look_up(calls)))
        self._move()

    def look_ahead(self) -> Steps[None]:
        """If another worker was met, go on at another place, and see first what it has done there."""
        if self._has_met and self.free:
            self._move()
            ahead = [self.free.popleft() for _ in range(min(ONE_REQUEST, len(self.free)))]
            self.free.extendleft(reversed((yield from self._look_up(ahead))))
        self._has_met = False

    def _move(self) -> None:
        if self.free:
            self.free.rotate(chance.randrange(len(self.free)))

    def _look_up(self, calls: Sequence[Call]) -> Steps[list[Call]]:
        """Look up calls in one go; those that are no hits."""
        entries = self._entries
        if not calls or entries is None:
            return list(calls)
        found: dict[str, Looked] = yield Work(entries.near_many, [call.key for call in calls])
        missing = [call.key for call in calls if call.key not in found]
        if missing and self.may_ask():
            try:
                found |= yield Work(entries.reading, entries.look_up_many, missing)
            except OutOfOrder:
                self._is_told = True
        return self._settle_hits(entries, calls, found)

    def _settle_hits(self, entries: Entries, calls: Sequence[Call], found: dict[str, Looked]) -> list[Call]:
        """Settle the calls that are hits; all others."""
        hits, waited, misses = list[Call](), list[Call](), list[Call]()
        minds_hits, near, saved, size = self.memo.minds_hits(), 0, 0.0, 0
        for call in calls:
            looked = found.pop(call.key, None)
            if looked is None or looked.decoded is None:
                if looked is not None:
                    call.looked = _without_value(looked)
                    if looked.row is not None and looked.row.lease_owner is not None:
                        Watch().see(looked.row)  # if its holder is dead, that is known so much earlier
                misses.append(call)
                continue
            row, decoded = looked.row, looked.decoded
            content = None if row is None else row.value
            size += 0 if content is None else len(content)
            if call.is_counted:
                self._stats.add("waited", decoded.seconds)
                waited.append(call)
            else:
                near += looked.is_near
                saved += decoded.seconds
                hits.append(call)
                if minds_hits and (story := self.memo.counted(entries, looked, call.key, call.not_stored)) is not None:
                    self._due.append((story, call.args, call.kwargs))
            self._put(call, decoded, content)
        self._stats.hit(saved, near=near, calls=len(hits))
        self._are_settled(hits, "found")
        self._are_settled(waited, "elsewhere")
        settled = len(calls) - len(misses)
        self.size = next((n for n in SIZES if n * size <= BYTES_AT_ONCE * settled), SIZES[-1])
        return misses

    def may_ask(self) -> bool:
        """Whether to ask the store. After a failure each of the calls would wait for it in vain."""
        if self._entries is None:
            return False
        cache, now = self._entries.cache, time.monotonic()
        if (cache.breaker.is_troubled or cache.write_breaker.is_troubled) and now < self._ask_at:
            return False
        self._ask_at = now + ASK_AGAIN_SECONDS
        return True

    def _entries_in_force(self) -> Entries | None:
        if is_disabled():
            return None
        try:
            return self.memo.entries_in_force()
        except OutOfOrder:
            return None

    def leave_store_alone(self, *, is_told: bool) -> None:
        """Compute without asking the store; `is_told` says that this has been counted."""
        self._entries, self._is_told = None, is_told
        self.bypass()

    def bypass(self) -> None:
        """Count a call for which the store is left alone, unless a failure stands for it."""
        if not self.was_told():
            self._stats.add("bypassed")

    def was_told(self) -> bool:
        """Whether a failure stands for the next call."""
        is_told, self._is_told = self._is_told, False
        return is_told

    # -- one call -----------------------------------------------------------------------------------

    def attempt(self, call: Call) -> Attempt:
        """Compute a call if nobody else does, or take what others have stored by now. None if it is settled."""
        try:
            # The code, and what the arguments hold, may be others than when the key was made.
            key, not_stored = self.memo.key_and_reason(call.args, call.kwargs)
            if call.looked is None or key != call.key:
                call.key, call.not_stored, call.looked = key, not_stored, None
                if not (yield from self._look_up([call])):
                    return None
            return (yield from self._missed(call))
        except Elsewhere as elsewhere:
            return elsewhere
        except Exception as error:  # noqa: BLE001 - of this call: its key, or the store where errors are raised
            return Failed(error, error.__traceback__)

    def _missed(self, call: Call) -> Steps[Outcome]:
        """The story of a call that was looked up."""
        entries, looked, is_new = self._entries, call.looked, not call.is_counted
        if is_new:
            call.is_counted = True
            self._stats.add("misses")
        if entries is None or looked is None:
            if entries is not None:  # the store could not be asked
                self.bypass()
            return (yield from compute())
        if is_new:
            self.memo.missed(call.key, looked, call.args, call.kwargs)
        if not self.may_ask():
            self._stats.add("bypassed")
            return (yield from compute())
        is_late = self.is_late(call)
        how = {"waits": call.waits or is_late, "patience": 0.0 if is_late else None}
        return (yield from self.memo.miss(entries, call.key, call.not_stored, looked, **how).story())

    def take(self, call: Call, outcome: Outcome | Elsewhere | None) -> None:
        """Settle a call of which this came, or put it off."""
        if isinstance(outcome, Elsewhere):
            is_known = call.looked is not None and outcome.row is call.looked.row
            self._has_met = self._has_met or not is_known
            call.elsewhere, call.joined = outcome, time.time()
            self.away.append(call)
        elif isinstance(outcome, Failed):
            self._failed(call, outcome)
        elif outcome is not None:
            is_computed = isinstance(outcome, Computed)
            self._has_met = self._has_met or not is_computed
            self.settle(call, outcome, "computed" if is_computed else "elsewhere")

    def _failed(self, call: Call, failed: Failed) -> None:
        if not isinstance(failed.error, Exception):  # Ctrl-C, or a task that was cancelled
            value_of(failed)
        if not self._returns_errors:
            self._error = self._error or failed
        if self.keeps:
            for place in (call.place, *(place for place, _ in call.others or ())):
                self.results[place] = failed.error
        self._stats.add("misses", calls=len(call.others or ()))
        self._are_settled([call], "failed", "failed")

    def settle(self, call: Call, result: Computed | Decoded, kind: str) -> None:
        """Put a result into its places, and count it."""
        self._put(call, result)
        self._are_settled([call], kind)

    def _put(self, call: Call, result: Computed | Decoded, content: bytes | Content | None = None) -> None:
        """Put a result into its places, into each an object of its own, as calls one after the other give it."""
        if self.keeps:
            self.results[call.place] = result.value
        others = call.others
        if not others:
            return
        if self.keeps:
            try:
                values = self._copies(len(others), call, result, content)
            except (CannotSerialize, ValueTooLargeError, UnreadableValueError):
                # It cannot be copied, so the equal calls go on one by one.
                self.free.extend(Call(call.key, call.not_stored, *row, place) for place, row in others)
                self._left += len(others)
                call.others = None
                return
            for (place, _), value in zip(others, values, strict=True):
                self.results[place] = value
        self._stats.hit(len(others) * result.seconds, calls=len(others))

    def _copies(
        self, count: int, call: Call, result: Computed | Decoded, content: bytes | Content | None
    ) -> list[object]:
        """So many objects that are equal to a result."""
        entries = self._entries
        if entries is None:
            raise CannotSerialize
        if content is None:
            content = settled(entries.content(call.key, Computed(result.value, result.computed_at, result.seconds)))
        return [entries.decode(call.key, content).value for _ in range(count)]

    def _are_settled(self, calls: Sequence[Call], kind: str, of_others: str = "found") -> None:
        if not calls:
            return
        self._left -= len(calls)
        self.tally.add(kind, len(calls))
        self.tally.add(of_others, sum(len(call.others) for call in calls if call.others))
        for call in calls:
            call.looked = call.elsewhere = None

    # -- what others compute ------------------------------------------------------------------------

    def pause(self) -> float | None:
        """How long to wait before the next look at what others compute; None while there is something else to do."""
        if self.free or not self.away:
            self._watch = None
            return None
        now = time.monotonic()
        for call in self.away:
            call.idle_since = now if call.idle_since is None else call.idle_since
        if waiting_here(blocks_thread=not self.memo.is_async):
            # Who computes may wait for what this sweep is part of. A story that waits sees that, and ends the ring.
            for call in self.away:
                call.waits = True
            return 0.0
        self._watch = self._watch or Watch()
        return self._watch.next_delay(*(row for call in self.away if (row := call.elsewhere and call.elsewhere.row)))

    def come_back(self, pause: float | None) -> Steps[None]:
        """Look up some of the calls that were put off. Those that are no hits are tried again.

        With a pause nothing else is to be done: then look again and again, after one each, until there is.
        """
        with Notice(self.memo.name) as notice:
            while pause and self.is_going_on():
                first = min(self.away, key=lambda call: call.place).elsewhere
                notice.look(None if first is None else first.row)
                yield Sleep(pause)
                yield from self._look_at_some()
                self._report()
                pause = self.pause()
        if pause == 0.0:
            yield from self._look_at_some()

    def _look_at_some(self) -> Steps[None]:
        again = []
        for _ in range(min(self.size, len(self.away))):
            call = self.away.popleft()
            flight = None if call.elsewhere is None else call.elsewhere.flight
            if flight is not None and not flight.is_led():
                flight.hand_over()  # as who waits for a flight does where its leader is gone
            if call.waits:
                self.free.append(call)
            elif flight is not None and not flight.is_over and not self.is_late(call):
                self.away.append(call)
            elif not (yield from self._shared(call)):
                again.append(call)
        for call in (yield from self._look_up(again)):
            row = None if call.looked is None else call.looked.row
            if self.is_held(call):
                call.elsewhere = Elsewhere(row=row)
                self.away.append(call)
            else:
                self.free.append(call)

    def _shared(self, call: Call) -> Steps[bool]:
        """Settle a call with what another one of this process has computed, if there is such a thing."""
        entries, looked = self._entries, call.looked
        flight = None if call.elsewhere is None else call.elsewhere.flight
        if flight is None or flight.outcome is None or entries is None or looked is None:
            return False
        miss = self.memo.miss(entries, call.key, call.not_stored, looked)
        outcome: Outcome | None = yield Work(miss.shared, flight, call.joined)
        self.take(call, outcome)
        return outcome is not None

    def is_late(self, call: Call) -> bool:
        """Whether the sweep has waited for a call for as long as `wait_timeout` allows."""
        if self._timeout is None or call.idle_since is None:
            return False
        return time.monotonic() - call.idle_since >= self._timeout

    def is_held(self, call: Call) -> bool:
        """Whether the last look says that somebody else computes the call."""
        entries, row = self._entries, None if call.looked is None else call.looked.row
        generation = None if entries is None else entries.known_generation()
        if entries is None or row is None or generation is None:
            return False
        if call.waits or self.is_late(call):
            return False
        counts = entries.counts(call.key, row, generation)
        is_held = Verdict.of(row, entries.cache.clock(), counts=counts) is Verdict.HELD
        return is_held and Watch().expect_if_dead(row) is None


def _without_value(looked: Looked) -> Looked:
    """What a look-up found that is no hit, without the bytes that serve nothing any more: a sweep holds many of them.

    Those of an expired value that is kept for errors may serve still.
    """
    row = looked.row
    if row is None or row.value is None or row.stale_for is not None:
        return looked
    return replace(looked, row=row._replace(value=b""))
