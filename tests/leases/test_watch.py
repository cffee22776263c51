"""When another's lease is taken over, and how long to wait before looking again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from dynmemo.item import Expect, Item
from dynmemo.leases.owner import owner_name
from dynmemo.leases.watch import LONGEST_LEASE, Watch
from dynmemo.testing import Clock

if TYPE_CHECKING:
    from dynmemo.leases.watch import Seen

ROW = Item(fn="f", gen="g1", etag="e1", lease_owner="somebody", lease_seconds=30.0, lease_beat=0)
TAKE_OVER = Expect("e1", 0)


@pytest.fixture
def clock() -> Clock:
    return Clock(0.0)


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(clock=clock, gone=lambda owner: owner == "a dead one", uniform=lambda low, high: high)


def test_a_lease_is_alive_until_it_was_seen_unchanged_for_its_own_time(watch: Watch, clock: Clock) -> None:
    assert watch.expect_if_dead(ROW) is None
    clock.now = 29.9
    assert watch.expect_if_dead(ROW) is None
    clock.now = 30.0
    assert watch.expect_if_dead(ROW) == TAKE_OVER


def test_the_time_is_that_of_the_row(watch: Watch, clock: Clock) -> None:
    short = ROW._replace(lease_seconds=2.0)
    assert watch.expect_if_dead(short) is None
    clock.now = 2.0
    assert watch.expect_if_dead(ROW) is None
    assert watch.expect_if_dead(short) == TAKE_OVER


def test_it_counts_from_the_first_look_not_from_the_start_of_the_wait(watch: Watch, clock: Clock) -> None:
    clock.now = 100.0
    assert watch.expect_if_dead(ROW) is None
    clock.now = 129.0
    assert watch.expect_if_dead(ROW) is None


@pytest.mark.parametrize("change", [{"lease_beat": 1}, {"etag": "e2"}], ids=["renewal", "other lease"])
def test_a_sign_of_life_begins_the_time_anew(watch: Watch, clock: Clock, change: dict[str, int | str]) -> None:
    changed = ROW._replace(**change)  # type: ignore[arg-type]  # the names are Item's
    watch.expect_if_dead(ROW)
    clock.now = 29.0
    assert watch.expect_if_dead(changed) is None
    clock.now = 58.9
    assert watch.expect_if_dead(changed) is None
    clock.now = 59.0
    assert watch.expect_if_dead(changed) == Expect(changed.etag, changed.lease_beat)


def test_a_moved_date_alone_is_no_sign_of_life(watch: Watch, clock: Clock) -> None:
    watch.expect_if_dead(ROW)
    clock.now = 30.0
    assert watch.expect_if_dead(ROW._replace(ttl_date=9_999_999_999)) == TAKE_OVER


@pytest.mark.parametrize("ttl_date", [1, 9_999_999_999])
def test_what_the_wall_clocks_say_does_not_count(watch: Watch, ttl_date: int) -> None:
    assert watch.expect_if_dead(ROW._replace(ttl_date=ttl_date)) is None


def test_the_lease_of_a_process_known_to_be_gone_is_taken_over_at_once(watch: Watch) -> None:
    assert watch.expect_if_dead(ROW._replace(lease_owner="a dead one")) == TAKE_OVER


def test_the_lease_of_this_process_is_not_while_it_computes() -> None:
    class Holder:
        is_alive = True

    holder = Holder()
    row = ROW._replace(lease_owner=owner_name(holder))
    assert Watch().expect_if_dead(row) is None
    holder.is_alive = False
    assert Watch().expect_if_dead(row) == TAKE_OVER


@pytest.mark.parametrize("seconds", [None, 0.0, -5.0, math.nan])
def test_a_lease_without_a_sound_time_holds_nobody_up(watch: Watch, seconds: float | None) -> None:
    assert watch.expect_if_dead(ROW._replace(lease_seconds=seconds)) == TAKE_OVER


@pytest.mark.parametrize("seconds", [1e12, math.inf])
def test_nobody_waits_for_ever_for_a_sign_of_life(watch: Watch, clock: Clock, seconds: float) -> None:
    row = ROW._replace(lease_seconds=seconds)
    assert watch.expect_if_dead(row) is None
    clock.now = LONGEST_LEASE
    assert watch.expect_if_dead(row) == TAKE_OVER


def bounds(watch: Watch, row: Item = ROW) -> tuple[float, float]:
    """Between which two the next delay is drawn."""
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    watch._uniform = uniform
    assert watch.next_delay(row) == asked[0][0]
    return asked[0]


def test_delays_are_spread_up_to_a_bound_that_grows_to_a_second_and_later_to_a_part_of_the_lease(
    watch: Watch, clock: Clock
) -> None:
    found = {}
    for clock.now in (0.0, 1.0, 2.0, 3.6, 20.0, 40.0, 100.0, 180.0, 600.0, 1e6):
        found[clock.now] = bounds(watch)
    early = {0.0: (0.05, 0.1), 1.0: (0.05, 0.35), 2.0: (0.05, 0.6), 3.6: (0.05, 1.0), 20.0: (0.05, 1.0)}
    assert found == {**early, 40.0: (1.0, 2.0), 100.0: (2.5, 5.0), **dict.fromkeys((180.0, 600.0, 1e6), (4.5, 9.0))}


@pytest.mark.parametrize(("seconds", "most"), [(1.0, 1.0), (3.0, 1.0), (10.0, 3.0), (600.0, 50.0)])
def test_the_bound_depends_on_the_lease_of_the_row(watch: Watch, clock: Clock, seconds: float, most: float) -> None:
    clock.now = 1000.0
    assert bounds(watch, ROW._replace(lease_seconds=seconds))[1] == most


def test_each_throttled_look_doubles_the_bound_up_to_its_most(watch: Watch, clock: Clock) -> None:
    clock.now = 0.4
    found = [bounds(watch)]
    for _ in range(7):
        watch.throttled()
        found.append(bounds(watch))
    assert found[:4] == [(0.05, 0.2), (0.05, 0.4), (0.05, 0.8), (0.8, 1.6)]
    assert found[-2:] == [(4.5, 9.0)] * 2
    for _ in range(100_000):
        watch.throttled()
    assert bounds(watch) == (4.5, 9.0)


def test_one_look_is_planned_for_the_moment_in_which_the_lease_would_be_dead(watch: Watch, clock: Clock) -> None:
    clock.now = 600.0
    assert watch.expect_if_dead(ROW) is None
    looks = []
    while watch.expect_if_dead(ROW) is None:
        delay = watch.next_delay(ROW)
        clock.now += delay
        looks.append(clock.now - 600.0)
    assert looks == [9.0, 18.0, 27.0, 30.0]


def test_of_several_rows_the_first_to_die_is_looked_at_in_time(watch: Watch, clock: Clock) -> None:
    clock.now = 600.0
    short, other = ROW._replace(etag="e2", lease_seconds=5.0), ROW._replace(etag="e3")
    for row in (ROW, short, other):
        watch.expect_if_dead(row)
    clock.now = 604.5
    assert watch.next_delay(ROW, other) == 9.0
    assert watch.next_delay(ROW, short, other) == 0.5


class Holder:
    """Renews a lease every ten seconds of the watcher's clock, and writes the time of a clock of its own."""

    def __init__(self, began: float, wall: float) -> None:
        self.began = began
        self.ahead = wall - began

    def row(self, beat: int) -> Item:
        date = math.floor(self.began + 10 * beat + self.ahead + 30) + 86_400
        return ROW._replace(lease_beat=beat, ttl_date=date)


@pytest.mark.parametrize("wall", [0.0, 1_700_000_000.4, 1_800_000_000.9])
def test_who_looks_seldom_knows_from_the_dates_when_the_last_renewal_was(
    watch: Watch, clock: Clock, wall: float
) -> None:
    holder = Holder(0.3, wall)
    for clock.now, beat in ((0.5, 0), (10.5, 1), (200.0, 19), (209.0, 20), (219.9, 21)):
        assert watch.expect_if_dead(holder.row(beat)) is None
    # The last renewal was at 210.3, after the look at 209, and seen at 219.9.
    dies = clock.now
    while watch.expect_if_dead(holder.row(21)) is None:
        dies = clock.now = clock.now + watch.next_delay(holder.row(21))
    assert 240.3 <= dies <= 242.5


@pytest.mark.parametrize("step", [-3600.0, -5.0, 5.0, 3600.0])
def test_a_holder_whose_clock_is_set_while_it_computes_is_not_taken_for_dead(
    watch: Watch, clock: Clock, step: float
) -> None:
    holder = Holder(0.3, 1_700_000_000.0)
    for now in range(1, 400):
        clock.now = now * 8.9
        if now == 100:
            holder.ahead += step
        assert watch.expect_if_dead(holder.row(int((clock.now - 0.3) / 10))) is None


def test_what_other_watches_of_the_process_have_seen_counts(clock: Clock) -> None:
    """A sweep looks at each lease with a watch of its own, and as seldom."""
    holder = Holder(0.3, 1_700_000_000.4)
    seen: dict[object, Seen] = {}

    def expected(beat: int) -> Expect | None:
        watch = Watch(clock=clock, gone=lambda _: False)
        watch._seen = seen
        return watch.expect_if_dead(holder.row(beat))

    for clock.now, beat in ((0.5, 0), (10.5, 1), (209.0, 20), (219.9, 21)):
        assert expected(beat) is None
    clock.now = 240.2
    assert expected(21) is None
    clock.now = 242.5
    assert expected(21) is not None


def test_nor_is_one_where_looks_were_throttled_meanwhile(watch: Watch, clock: Clock) -> None:
    holder = Holder(0.3, 1_700_000_000.0)
    assert watch.expect_if_dead(holder.row(0)) is None
    holder.ahead -= 3600
    clock.now = 29.9
    assert watch.expect_if_dead(holder.row(2)) is None
    clock.now = 30.2
    assert watch.expect_if_dead(holder.row(2)) is None


def test_delays_are_random_by_default() -> None:
    watch = Watch()
    delays = {watch.next_delay(ROW) for _ in range(50)}
    assert len(delays) == 50
    assert 0.05 <= min(delays) <= max(delays) <= 1.0


def test_the_time_waited_is_told(watch: Watch, clock: Clock) -> None:
    clock.now = 12.5
    assert watch.waited == 12.5
