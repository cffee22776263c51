"""When another's lease is taken over, and how long to wait before looking again."""

from __future__ import annotations

import math

import pytest

from dynmemo.item import Expect, Item
from dynmemo.leases.owner import owner_name
from dynmemo.leases.watch import LONGEST_LEASE, Watch
from tests.clock import Clock

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


def test_delays_are_spread_from_50_ms_up_to_a_bound_that_grows_to_a_second(clock: Clock) -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low

    watch = Watch(clock=clock, uniform=uniform)
    for clock.now in (0.0, 1.0, 2.0, 3.6, 1_000.0):
        assert watch.next_delay() == 0.05
    assert asked == [(0.05, bound) for bound in (0.1, 0.35, 0.6, 1.0, 1.0)]


def test_delays_are_random_by_default() -> None:
    watch = Watch()
    delays = {watch.next_delay() for _ in range(50)}
    assert len(delays) == 50
    assert 0.05 <= min(delays) <= max(delays) <= 1.0


def test_the_time_waited_is_told(watch: Watch, clock: Clock) -> None:
    clock.now = 12.5
    assert watch.waited == 12.5
