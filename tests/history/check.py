"""What has to hold of a history, as pure functions; each gives the violations of one promise."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.history.records import by_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.history.records import Call, Computation, Forget, History, Key, Trouble

Interval = tuple[float, float]

RECHECK = 5.0
"""Seconds for which a process may believe a generation that another has cleared."""
WITHIN = 2.0
"""Seconds beside a lease within which a call goes on when nobody computes for it."""
LOOK = 1.0
"""The longest pause between two looks at a lease of others; those who wait may begin so late one after the other."""
PERMANENT = 60.0
"""A `ttl` from which a value lives longer than any run."""
MOMENT = 0.2
"""Seconds for which a thread may have to wait for its turn on a busy machine."""
SLACK = 0.1
"""Seconds that two clocks, wall and monotonic, may differ by over the life of a value."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that may not be."""

    kind: str
    what: str
    at: float = 0.0


class Known:
    """A history with what the checks look up in it."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.rules = history.rules
        self.calls: dict[Key, list[Call]] = by_key(history.calls)
        self.computations: dict[Key, list[Computation]] = by_key(history.computations)
        self.by_token = {one.token: one for one in history.computations}
        self.by_id = {one.id: one for one in history.calls}
        self.of_call = {one.call: one for one in history.computations if one.call is not None}
        self.troubles: dict[str, list[Trouble]] = defaultdict(list)
        for trouble in sorted(history.troubles, key=lambda trouble: trouble.begin):
            self.troubles[trouble.process].append(trouble)
        self._merged = {process: merged((t.begin, t.end) for t in all_) for process, all_ in self.troubles.items()}
        self._forgets: dict[str, list[Forget]] = defaultdict(list)
        for forget in history.forgets:
            self._forgets[forget.fn].append(forget)

    def forgets(self, key: Key) -> Iterator[Forget]:
        return (forget for forget in self._forgets[key[0]] if forget.touches(key))

    def is_troubled(self, process: str, begin: float, end: float) -> bool:
        """Whether a process could not do what it should at some time between two."""
        intervals = self._merged.get(process, [])
        n = bisect_left(intervals, (begin, -math.inf))
        return any(not (b > end or e < begin) for b, e in intervals[max(0, n - 1) : n + 1])

    def troubled(self, process: str) -> list[Interval]:
        return self._merged.get(process, [])

    def since(self, one: Computation) -> float:
        """From when on the lease of a computation was held, or its call ran."""
        claims = [at for at in self.history.claims.get(one.call or "", ()) if at <= one.begin]
        call = self.by_id.get(one.call or "")
        return max(claims) if claims else one.begin - 2 * self.history.lease if call is None else call.begin

    def asked(self, one: Computation) -> float:
        """When the call for which it was computed began."""
        call = self.by_id.get(one.call or "")
        return one.begin - 2 * self.history.lease if call is None else call.begin

    def stored_by(self, one: Computation) -> float:
        """When a result had been stored at the latest, if it was."""
        call, death = self.by_id.get(one.call or ""), self.history.deaths.get(one.process, math.inf)
        if call is not None and call.outcome == "value" and call.token == one.token:
            return call.end
        end = one.end if call is None or call.end == math.inf else max(one.end, call.end)
        end += 1.0  # in the background, or in a thread after its task was cancelled
        for begin, until in self.troubled(one.process):
            if begin <= end < until:
                end = until + 1.0
        return min(end, death)

    def joined_by(self, one: Computation) -> float:
        """Until when calls of its process may have joined one that raised: its thread runs on for a moment."""
        call = self.by_id.get(one.call or "")
        stalls = [(t.begin, t.end) for t in self.troubles[one.process] if t.kind == "stall"]
        until = one.end + MOMENT
        for begin, end in merged(stalls):
            if begin <= until and end > one.end:
                until = end + MOMENT
        # A call ends after the flight that it leads; one whose result was refreshed ahead has long been over.
        return until if call is None or call.end < one.end else min(until, call.end)

    def was_in_flight(self, call: Call, since: float) -> bool:
        """Whether the process of a call was about the same key already at some time before, and still when it began."""
        calls = ((one.process, one.begin, one.end) for one in self.calls.get(call.key, []) if one is not call)
        computations = self.computations.get(call.key, [])
        computed = ((one.process, one.begin, self.stored_by(one)) for one in computations)
        return any(
            process == call.process and begin < since and end >= call.begin
            for process, begin, end in itertools.chain(calls, computed)
        )

    def is_impatient(self, one: Computation) -> bool:
        """Whether it was begun because waiting took too long."""
        call, wait = self.by_id.get(one.call or ""), self.rules[one.key[0]].wait_timeout
        return wait is not None and call is not None and one.begin - call.begin >= wait


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The union of intervals, in order and without overlaps."""
    union: list[Interval] = []
    for begin, end in sorted(intervals):
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((begin, end))
    return union


def uncovered(begin: float, end: float, cover: Iterable[Interval]) -> float:
    """How much of the time between two none of the intervals covers."""
    clipped = ((max(begin, b), min(end, e)) for b, e in cover if b < end and e > begin)
    return end - begin - sum(e - b for b, e in merged(clipped))


# -- the promises ---------------------------------------------------------------------------------------------------


def values(known: Known) -> Iterator[Violation]:
    """Each value was computed by that function for that argument, and is whole; exceptions are raised once."""
    for call in known.history.calls:
        who = f"{call.id} {call.how} {call.key}"
        if call.outcome not in ("value", "raised", "absent", "failed", "interrupted", "cancelled", "none"):
            yield Violation("unexpected exception", f"{who}: {call.outcome}", call.end)
        if call.outcome not in ("value", "raised"):
            continue
        one = known.by_token.get(call.token or "")
        if one is None or one.key != call.key or one.begin > call.end or one.outcome != call.outcome:
            yield Violation("wrong value", f"{who} {call.outcome} {call.token}, which is of {one}", call.end)
        elif not call.whole:
            yield Violation("wrong value", f"{who} returned {call.token}, but not whole", call.end)
        elif call.outcome == "raised" and (one.process != call.process or known.joined_by(one) < call.begin):
            yield Violation("cached exception", f"{who} raised {call.token}, which was over", call.end)


def overlaps(known: Known) -> Iterator[Violation]:
    """No two computations of a key at once, but for a reason."""
    for key, computations in known.computations.items():
        running: list[Computation] = []
        for one in computations:
            running = [other for other in running if other.end > one.begin]
            for other in running:
                if not _may_overlap(known, other, one):
                    what = f"{one.token} of {one.call} began {one.begin - other.begin:.3f} s after {other.token}"
                    yield Violation("overlap", f"{key}: {what} of {other.call}, which was under way", one.begin)
            running.append(one)


def _may_overlap(known: Known, first: Computation, second: Computation) -> bool:
    rules = known.rules[first.key[0]]
    return (
        not rules.single_flight
        or known.is_impatient(first)
        or known.is_impatient(second)
        or known.is_troubled(first.process, known.asked(first), second.begin)
        or known.is_troubled(second.process, known.asked(second), second.begin)
        or any(_makes_way(known, forget, first, second) for forget in known.forgets(first.key))
    )


def _makes_way(known: Known, forget: Forget, first: Computation, second: Computation) -> bool:
    """Whether something was forgotten between the claim of either and the beginning of the second."""
    if forget.call is not None and forget.call == first.call:
        # Who recomputes holds a lease as any other, and takes it from one who has it and is about to begin.
        return known.since(second) < known.since(first)
    late = known.history.lateness + (0.0 if forget.x is not None else RECHECK)
    return forget.begin < second.begin and forget.end + late > min(known.since(first), known.since(second))


def forgotten(known: Known) -> Iterator[Violation]:
    """Nothing that was computed before it was forgotten is returned to a call that began afterwards."""
    for key, calls in known.calls.items():
        if not known.rules[key[0]].single_flight:
            continue  # who stores without a lease may do so late
        horizons: dict[str, _Horizon] = {}
        for call in calls:
            one = known.by_token.get(call.token or "")
            if one is None or one.key != key:
                continue
            horizon = horizons.get(call.process)
            if horizon is None:
                horizon = horizons[call.process] = _Horizon(known, key, call.process)
            by = horizon.at(call.begin)
            if by is not None and one.begin < (cut := _cut(by)):
                in_flight = known.was_in_flight(call, by.end)
                is_elsewhere = by.process != call.process and call.begin - by.end <= RECHECK
                if in_flight and is_elsewhere and _may_be_alone(known, one, call):
                    continue  # nobody could ask the store, and clears too are known elsewhere only so much later
                kept = in_flight and call.outcome == "value" and _stands_in(known, call)
                yield Violation(
                    "forgotten, kept for errors" if kept else "forgotten, in flight" if in_flight else "forgotten",
                    f"{call.id} {call.how} {key} {call.outcome} {one.token}, which began {cut - one.begin:.3f} s "
                    f"before the {by.kind} of {by.process}, {call.begin - by.end:.3f} s after that had ended",
                    call.begin,
                )
    yield from _purged(known)


class _Horizon:
    """What a process may no longer return of a key, by time."""

    def __init__(self, known: Known, key: Key, process: str) -> None:
        found = [
            (forget.end + (RECHECK if forget.x is None and forget.process != process else 0.0), forget)
            for each in known.forgets(key)
            if each.succeeded and (forget := _settled(known, key, each)) is not None
        ]
        self._times: list[float] = []
        self._latest: list[Forget] = []
        for at, forget in sorted(found, key=lambda pair: pair[0]):
            if not self._latest or _cut(forget) > _cut(self._latest[-1]):
                self._times.append(at)
                self._latest.append(forget)

    def at(self, time: float) -> Forget | None:
        n = bisect_right(self._times, time)
        return self._latest[n - 1] if n else None


def _cut(forget: Forget) -> float:
    return forget.begin if forget.cut is None else forget.cut


def _settled(known: Known, key: Key, forget: Forget) -> Forget | None:
    """A recomputation forgets what began before its own, if nothing kept it from being stored."""
    if forget.kind != "recompute":
        return forget
    one = known.of_call.get(forget.call or "")
    if one is None or one.outcome != "value" or known.is_troubled(forget.process, forget.begin, forget.end):
        return None
    for other in known.forgets(key):
        late = known.history.lateness + (0.0 if other.x is not None else RECHECK)
        if other is not forget and other.begin < forget.end and other.end + late > forget.begin:
            return None
    return replace(forget, cut=one.begin)


def _purged(known: Known) -> Iterator[Violation]:
    """What lay in the store when a purge began is gone when it ends."""
    for forget in known.history.forgets:
        if forget.kind != "purge" or not forget.succeeded:
            continue
        for key, calls in known.calls.items():
            if not forget.touches(key):
                continue
            for call in calls[bisect_right(calls, forget.end, key=lambda call: call.begin) :]:
                one = known.by_token.get(call.token or "")
                maker = None if one is None else known.by_id.get(one.call or "")
                if one is not None and maker is not None and maker.outcome == "value" and maker.end < forget.begin:
                    yield Violation("purged", f"{call.id} {call.how} {key} returned {one.token}", call.begin)


def expired(known: Known) -> Iterator[Violation]:
    """No value past its deadline or its idle window, but an expired one in place of an exception."""
    for key, calls in known.calls.items():
        rules = known.rules[key[0]]
        for call in calls:
            one = known.by_token.get(call.token or "")
            if one is None or call.outcome != "value":
                continue
            age = call.begin - known.stored_by(one) - SLACK
            if rules.ttl is not None and age > rules.ttl and not _may_be_stale(known, call, age - rules.ttl):
                yield Violation(
                    "expired", f"{call.id} {key} {one.token} is {age - rules.ttl:.3f} s too old", call.begin
                )
            elif rules.sliding is not None and age > rules.sliding and not _was_used(known, call, rules.sliding):
                yield Violation("expired", f"{call.id} {key} {one.token} was idle for more than its window", call.begin)


def _may_be_stale(known: Known, call: Call, beyond: float) -> bool:
    kept = known.rules[call.key[0]].stale_if_error
    if kept is None or call.how == "entry" or beyond > kept + 1:
        return False
    return _stands_in(known, call)


def _stands_in(known: Known, call: Call) -> bool:
    """Whether an expired value may stand in for an exception that a call would have raised."""
    if known.rules[call.key[0]].stale_if_error is None or call.how == "entry":
        return False
    failures = [one for one in known.computations.get(call.key, []) if one.outcome == "raised"]
    return any(
        one.begin < call.end and call.process == one.process and known.joined_by(one) >= call.begin for one in failures
    )


def _was_used(known: Known, call: Call, window: float) -> bool:
    since = call.begin - window - SLACK
    others = (other for other in known.calls[call.key] if other is not call and other.how == "call")
    return any(other.begin < call.begin and other.end >= since for other in others)


def backwards(known: Known) -> Iterator[Violation]:
    """What another process has read is not followed by what began to be computed before it."""
    for key, calls in known.calls.items():
        if not known.rules[key[0]].single_flight:
            continue
        seen = sorted(
            ((call.end, one) for call in calls if (one := _read_elsewhere(known, call)) is not None),
            key=lambda pair: pair[0],
        )
        latest: list[tuple[float, Computation]] = []
        for end, one in seen:
            if not latest or one.begin > latest[-1][1].begin:
                latest.append((end, one))
        ends = [end for end, _ in latest]
        for call in calls:
            one, n = known.by_token.get(call.token or ""), bisect_left(ends, call.begin)
            if one is None or not n or call.outcome != "value" or one.begin >= latest[n - 1][1].begin:
                continue
            at, newer = latest[n - 1]
            if _has_taken_over(known, one, newer):
                continue
            in_flight = known.was_in_flight(call, at)
            if not (in_flight and _may_be_alone(known, one, call)):
                kind = "backwards, in flight" if in_flight else "backwards"
                what = f"{call.id} {key} {one.token}, though {newer.token} began {newer.begin - one.begin:.3f} s later"
                yield Violation(kind, f"{what} and had been read", call.begin)


def _has_taken_over(known: Known, one: Computation, newer: Computation) -> bool:
    """Whether it is a recomputation, which replaces what others store while it runs, and has not lost its lease."""
    call = known.by_id.get(one.call or "")
    stalls = [t for t in known.troubles[one.process] if t.kind == "stall" and t.begin < newer.end and t.end > one.begin]
    lost = any(stall.end - stall.begin >= known.history.lease for stall in stalls)
    return call is not None and call.how == "recompute" and call.end > newer.begin and not lost


def _read_elsewhere(known: Known, call: Call) -> Computation | None:
    """The computation whose stored result a call has read: that of another process."""
    one = known.by_token.get(call.token or "")
    return one if one is not None and call.outcome == "value" and one.process != call.process else None


def _may_be_alone(known: Known, one: Computation, call: Call) -> bool:
    """Whether those who wait in memory share what was computed without the store, for it did not answer."""
    kinds = {t.kind for t in known.troubles[one.process] if t.begin < call.end and t.end > known.since(one)}
    return bool(kinds & {"failed", "circuit"})


def late(known: Known) -> Iterator[Violation]:
    """No call takes longer than others compute for it, its process stands still or its store takes, and a lease."""
    lease = known.history.lease
    troubles = _all_troubles(known)
    for key, calls in known.calls.items():
        computations = known.computations.get(key, [])
        covers = [(one, _cover(known, one)) for one in computations]
        wait = known.rules[key[0]].wait_timeout
        for call in calls:
            end = call.end if call.end != math.inf else call.begin + 1000
            if call.how == "entry" or end - call.begin <= lease + WITHIN:
                continue
            near = [(one, cover) for one, cover in covers if one.begin < end and one.end > call.begin]
            others = [interval for process, all_ in troubles.items() if process != call.process for interval in all_]
            cover = [*(interval for _, each in near for interval in each), *known.troubled(call.process), *others]
            left = uncovered(call.begin, end, cover)
            if left > lease + WITHIN + LOOK * len(near):
                what = f"{call.id} {call.how} {key} ({call.outcome}) took {end - call.begin:.1f} s"
                kind = "never returned" if call.end == math.inf else "late"
                yield Violation(kind, f"{what}, {left:.1f} s of it for no reason", call.begin)
            own = [(one.begin, one.end) for one, _ in near if one.call == call.id]
            if wait is not None and call.how == "call":
                left = uncovered(call.begin, end, [*own, *known.troubled(call.process)])
                if left > wait + WITHIN:
                    yield Violation("late", f"{call.id} {key} waited {left:.1f} s in place of {wait}", call.begin)


def _cover(known: Known, one: Computation) -> list[Interval]:
    """When others wait for a computation: until it is stored, but only for a lease while its process stands still."""
    call = known.by_id.get(one.call or "")
    end = max(one.end, call.end) if call is not None and call.end != math.inf else one.end
    death = known.history.deaths.get(one.process, math.inf)
    cover, begin = [], one.begin
    for trouble in known.troubles[one.process]:
        if trouble.kind == "stall" and begin < trouble.end and trouble.begin < end:
            cover.append((begin, min(end, trouble.begin + known.history.lease)))
            begin = trouble.end
    return [*cover, (begin, min(end, death))]


def _all_troubles(known: Known) -> dict[str, list[Interval]]:
    """Those for which others wait: a lease at most where a process stands still."""
    lease = known.history.lease
    return {
        process: merged((t.begin, min(t.end, t.begin + lease) if t.kind == "stall" else t.end) for t in troubles)
        for process, troubles in known.troubles.items()
    }


def health(known: Known) -> Iterator[Violation]:
    """After the faults calls return values, and hit; nothing is left over; nobody crashed."""
    history = known.history
    for call in history.calls:
        if call.begin > history.calm + history.lease + WITHIN and call.how != "entry" and call.outcome != "value":
            yield Violation("not well", f"{call.id} {call.how} {call.key} {call.outcome} after the faults", call.begin)
    for one in history.computations:
        caller = known.by_id.get(one.call or "")
        lives = (known.rules[one.key[0]].ttl or math.inf) > PERMANENT
        if caller is None or caller.how != "call" or not lives or one.begin <= history.hits_from:
            continue
        if not known.is_troubled(one.process, caller.begin, one.begin):
            yield Violation("not well", f"{caller.id} {one.key} computed where it should hit", one.begin)
    leases, lost = ([left for left in history.left if left.kind == kind] for kind in ("lease", "part"))
    for lease in leases:
        # A request that was given up may arrive late, and the one that was sent in its place has long been answered.
        kinds = {trouble.kind for trouble in known.troubles[lease.process or ""]}
        if lease.process is None or not kinds & {"failed", "circuit", "slow"}:
            yield Violation("left over", f"a lease of {lease.process or 'the dead'}: {lease.key}")
    # Whoever is stopped between parts and row leaves them to `purge`, and so does one who could not delete them.
    stopped = len(history.deaths) + sum(call.outcome == "interrupted" for call in history.calls)
    for part in lost[stopped + sum(map(len, map(known.troubled, list(known.troubles)))) :]:
        yield Violation("left over", f"the parts of a write of {part.key}")
    for process, how in history.crashed.items():
        yield Violation("crash", f"{process} {how}")


def counts(known: Known) -> Iterator[Violation]:
    """The counters of each process add up to what it noted."""
    zeroed = {(forget.process, forget.fn) for forget in known.history.forgets if forget.kind == "cache_clear"}
    calls: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in known.history.calls:
        calls[call.process, call.key[0]].append(call)
    computed: dict[tuple[str, str], int] = defaultdict(int)
    for one in known.history.computations:
        computed[one.process, one.key[0]] += 1
    for process, fn, info in known.history.counters:
        if (process, fn) in zeroed:
            continue
        all_ = calls[process, fn]
        mine = [call for call in all_ if call.how == "call"]
        open_ = sum(call.outcome in ("interrupted", "cancelled") for call in all_)
        looked = info["hits"] + info["misses"]
        under = " under faults" if any(t.kind in ("failed", "circuit") for t in known.troubles[process]) else ""
        if not len(mine) - open_ <= looked <= len(mine):
            yield Violation(
                f"counters{under}",
                f"{process} {fn}: {info['hits']} hits + {info['misses']} misses of {len(mine)} calls",
            )
        if not 0 <= info["computed"] - computed[process, fn] <= open_:
            what = f"{process} {fn}: {info['computed']} counted as computed of {computed[process, fn]}"
            yield Violation("counters", what)
        yield from _answers(known, process, fn, mine, info, open_)


def _answers(
    known: Known, process: str, fn: str, calls: list[Call], info: dict[str, int], open_: int
) -> Iterator[Violation]:
    """Who got a value that it did not compute had a hit, waited, or got a stale one."""
    given = [call for call in calls if call.outcome == "value"]
    others = sum((one := known.by_token.get(call.token or "")) is None or one.call != call.id for call in given)
    counted = info["hits"] + info["waited"] + info["stale"]
    ahead = known.rules[fn].refresh_ahead is not None  # what was found in place of refreshing counts as well
    most = math.inf if ahead else others + open_ + sum(call.how == "recompute" for call in known.history.calls)
    if not others <= counted <= most:
        yield Violation("counters", f"{process} {fn}: {counted} answers of others counted, {others} given")


CHECKS: tuple[Callable[[Known], Iterable[Violation]], ...] = (
    values,
    overlaps,
    forgotten,
    expired,
    backwards,
    late,
    health,
    counts,
)


def check(history: History) -> list[Violation]:
    """All violations, in the order of time."""
    known = Known(history)
    return sorted((one for each in CHECKS for one in each(known)), key=lambda one: one.at)
