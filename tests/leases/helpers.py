"""A clock to turn by hand, a store that writes down its trips, and a call as the decorator makes it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Expect, Item
from dynmemo.leases import Lease, Leases, Spot, Verdict, Waited, Watch
from dynmemo.leases.lease import Schedule
from dynmemo.parts import bytes_of
from dynmemo.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Refused, Store
    from dynmemo.leases import Flights

T = TypeVar("T")

GENERATION = "g1"
FN = "f"
START = float(int(time.time()))
"""The present, because DynamoDB Local deletes what has expired by its own clock."""


def verdict_of(row: Item | None, now: float, generation: str = GENERATION) -> Verdict:
    """What the row means for a function that is in this generation."""
    return Verdict.of(row, now, counts=row is not None and row.gen == generation)


class Trips:
    """A store that writes down what is asked of it, fails when told to, and passes everything on."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.made: list[str] = []
        self.failing: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name in ("location", "partition_key"):  # not asked of the store's place
            return method

        def trip(*args: object, **kwargs: object) -> Any:
            self.made.append(name)
            if self.failing is not None:
                raise self.failing
            return method(*args, **kwargs)

        return trip


DOWN = StoreUnavailableError("down")


class Bench:
    """One process: its store with the trips made, its clocks, and its renewals as far as they are asked for."""

    def __init__(self, store: Store, seconds: float = 30.0, wall: float = START) -> None:
        self.trips = Trips(store)
        self.wall = Clock(wall)
        self.monotonic = Clock(5_000.0)
        self.schedule = Schedule(self.monotonic)
        self.leases = Leases(
            self.trips,
            FN,
            seconds=seconds,
            keeper=self.schedule,
            clock=self.wall,
            monotonic=self.monotonic,
        )

    def go_on(self, seconds: float) -> None:
        """Let time pass, and what is due in it be done."""
        end = self.monotonic.now + seconds
        while (pause := self.schedule.act()) is not None and self.monotonic.now + pause <= end:
            self._turn(pause)
        self._turn(end - self.monotonic.now)
        self.schedule.act()

    def sleep(self, seconds: float) -> None:
        """Let time pass with the process stopped."""
        self._turn(seconds)

    def claim(self, key: str = "k", expect: Expect | None = Expect(), generation: str = GENERATION) -> Lease:  # noqa: B008  frozen
        return held(self.leases.claim(Spot.at(key), generation, expect))

    def _turn(self, seconds: float) -> None:
        self.monotonic.now += seconds
        self.wall.now += seconds


def held(answer: Lease | Refused) -> Lease:
    assert isinstance(answer, Lease), answer
    return answer


def value(content: bytes = b"result", generation: str = GENERATION) -> Item:
    return Item(content, fn=FN, gen=generation)


def read(store: Store, key: str = "k") -> Item:
    row = store.read(key, consistent=True)
    assert row is not None
    return row


def call(leases: Leases, flights: Flights[bytes | Exception], key: str, compute: Callable[[], bytes]) -> bytes:
    """A call of a decorated function with the key `key`: a hit, a wait, or a computation that is shared."""
    row = leases.store.read(key)
    if row is not None and row.value is not None:
        return bytes_of(row) or b""
    while True:
        flight, leads = flights.join(key)
        if leads:
            break
        waited = flight.wait()
        if waited is Waited.LANDED:
            return _given(flight.outcome)
        if waited is not Waited.HANDED_OVER:
            return compute()
    with flight.leading():
        try:
            result = lead(leases, key, row, compute)
        except Exception as error:
            flight.land(error)
            raise
        flight.land(result)
        return result


def lead(leases: Leases, key: str, row: Item | None, compute: Callable[[], bytes]) -> bytes:
    """What the one call of this process does that speaks for all of them."""
    watch = Watch()
    while row is None or row.value is None:
        verdict = verdict_of(row, leases.clock())
        if verdict is Verdict.NO_STORE:
            return compute()
        expect = Expect.seen(row) if row is None or verdict is Verdict.CLAIMABLE else watch.expect_if_dead(row)
        if expect is None and row is not None:
            time.sleep(watch.next_delay(row))
            row = leases.store.read(key)
            continue
        answer = leases.claim(Spot.at(key), GENERATION, expect)
        if isinstance(answer, Lease):
            return under(answer, compute)
        row = answer.row
    return bytes_of(row) or b""


def under(lease: Lease, compute: Callable[[], bytes]) -> bytes:
    """Compute under a lease."""
    with lease:
        try:
            result = compute()
        except BaseException:
            lease.give_up()
            raise
        lease.finish(value(result))
        return result


def _given(outcome: bytes | Exception | None) -> bytes:
    assert outcome is not None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
