"""Leases on both stores: claimed by one, finished by its holder only, given up, taken over."""

from __future__ import annotations

import gc
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.errors import StoreUnavailableError, ValueTooLargeError
from dynmemo.item import Expect, Item, Refused
from dynmemo.leases import Lease, Spot, Verdict, Watch
from dynmemo.leases.lease import BEATS_PER_LEASE, TRIES_PER_BEAT
from dynmemo.leases.owner import owner_name
from dynmemo.origin import holder_text
from dynmemo.testing.together import at_once
from tests.leases.helpers import DOWN, FN, GENERATION, START, Bench, held, read, value, verdict_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store, Written
    from dynmemo.stores.sqlite import SqliteStore

DAY = 86_400


# --- what a row means ---


LIVE = Item(etag="e", fn=FN, gen=GENERATION, ttl_date=int(START), lease_owner="o", lease_seconds=30.0, lease_beat=3)
REFUSED = Item(etag="e", fn=FN, gen=GENERATION, ttl_date=int(START), no_store="too large")


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        pytest.param(None, Verdict.CLAIMABLE, id="absent"),
        pytest.param(LIVE, Verdict.HELD, id="lease"),
        pytest.param(LIVE._replace(gen="g0"), Verdict.CLAIMABLE, id="lease of another generation"),
        pytest.param(LIVE._replace(gen=None), Verdict.CLAIMABLE, id="lease of no generation"),
        pytest.param(LIVE._replace(ttl_date=int(START) - 1), Verdict.CLAIMABLE, id="lease expired a day ago"),
        pytest.param(LIVE._replace(lease_owner=None), Verdict.CLAIMABLE, id="lease of nobody"),
        pytest.param(LIVE._replace(lease_seconds=None), Verdict.CLAIMABLE, id="lease without time"),
        pytest.param(REFUSED, Verdict.NO_STORE, id="no_store"),
        pytest.param(REFUSED._replace(gen="g0"), Verdict.CLAIMABLE, id="no_store of another generation"),
        pytest.param(REFUSED._replace(ttl_date=int(START) - 1), Verdict.CLAIMABLE, id="no_store expired"),
        pytest.param(Item(etag="e", gen=GENERATION), Verdict.CLAIMABLE, id="neither value nor lease"),
        pytest.param(Item(), Verdict.CLAIMABLE, id="ghost"),
        pytest.param(Item(b"rubbish", gen=GENERATION), Verdict.CLAIMABLE, id="value that nobody can read"),
    ],
)
def test_a_row_that_is_no_hit_means(row: Item | None, verdict: Verdict) -> None:
    assert verdict_of(row, START + 0.5 if row is None or row.ttl_date != START else START) is verdict


# --- claiming ---


def test_a_lease_row_says_who_computes_and_lives_a_day_longer_than_the_lease(store: Store) -> None:
    bench = Bench(store, seconds=45.5, wall=START + 0.75)
    lease = bench.claim()
    row = read(store)
    assert row.lease_owner is not None
    assert row.lease_owner.rpartition("/")[0] == owner_name().rpartition("/")[0]
    assert row == Item(
        etag=lease.etag,
        ttl_date=int(START) + 46 + DAY,
        fn=FN,
        gen=GENERATION,
        lease_owner=row.lease_owner,
        lease_seconds=45.5,
        lease_beat=0,
        lease_by=holder_text(START, None),
    )
    assert bench.trips.made == ["write"]


def test_of_eight_threads_that_claim_one_key_one_gets_it_and_the_others_its_row(store: Store) -> None:
    bench = Bench(store)
    answers = at_once(8, lambda _: bench.leases.claim(Spot.at("k"), GENERATION, Expect()))
    leases = [answer for answer in answers if isinstance(answer, Lease)]
    assert len(leases) == 1
    assert [answer for answer in answers if isinstance(answer, Refused)] == [Refused(read(store))] * 7
    assert read(store).etag == leases[0].etag


@pytest.mark.parametrize(
    "old",
    [value(b"expired"), value(generation="g0"), LIVE._replace(gen="g0"), REFUSED, Item(no_store="why")],
    ids=["expired value", "cleared value", "cleared lease", "no_store", "no_store of nobody"],
)
def test_what_may_be_claimed_is_claimed_as_it_was_seen(store: Store, old: Item) -> None:
    store.write("k", old._replace(ttl_date=int(START) + DAY))
    seen = read(store)
    lease = Bench(store).claim(expect=Expect.seen(seen))
    assert read(store).etag == lease.etag
    assert isinstance(Bench(store).leases.claim(Spot.at("k"), GENERATION, Expect.seen(seen)), Refused)


def test_an_unconditional_claim_takes_the_lease_whoever_has_it(store: Store) -> None:
    first, second = Bench(store), Bench(store)
    lost = first.claim()
    lease = second.claim(expect=None)
    assert not lost.finish(value(b"first"))
    assert lost.lost
    assert lease.finish(value(b"second"))
    assert read(store).value == b"second"


def test_a_refused_claim_brings_the_winners_result(store: Store) -> None:
    winner, loser = Bench(store), Bench(store)
    assert winner.claim().finish(value())
    answer = loser.leases.claim(Spot.at("k"), GENERATION, Expect())
    assert isinstance(answer, Refused)
    assert answer.row is not None
    assert answer.row.value == b"result"
    assert loser.trips.made == ["write"]


# --- ending ---


def test_finishing_puts_the_result_in_place_of_the_lease(store: Store) -> None:
    bench = Bench(store)
    lease = bench.claim()
    with lease:
        assert lease.finish(value())
    assert read(store) == value()._replace(etag=read(store).etag)
    assert not lease.lost
    assert bench.trips.made == ["write", "write"]


def test_a_renewed_lease_is_finished_all_the_same(store: Store) -> None:
    bench = Bench(store)
    lease = bench.claim()
    bench.go_on(25)
    assert read(store).lease_beat == 2
    assert lease.finish(value())


def test_giving_up_removes_the_row_so_that_the_next_one_claims_it(store: Store) -> None:
    assert Bench(store).claim().give_up()
    assert store.read("k") is None


def test_a_result_that_cannot_be_shared_is_said_so_for_one_lease(store: Store) -> None:
    lease = Bench(store).claim()
    assert lease.no_store("cache_if refused it")
    row = read(store)
    assert row == Item(etag=row.etag, ttl_date=int(START) + 30, fn=FN, gen=GENERATION, no_store="cache_if refused it")
    assert verdict_of(row, START + 30) is Verdict.NO_STORE
    assert verdict_of(row, START + 31) is Verdict.CLAIMABLE


ENDINGS = [
    pytest.param(lambda lease: lease.finish(value()), id="finish"),
    pytest.param(lambda lease: lease.no_store("why"), id="no_store"),
    pytest.param(lambda lease: lease.give_up(), id="give_up"),
]


@pytest.mark.parametrize("end", ENDINGS)
def test_a_lease_that_was_taken_over_changes_nothing(store: Store, end: Callable[[Lease], bool]) -> None:
    late, other = Bench(store), Bench(store)
    lease = late.claim()
    with lease:
        assert isinstance(other.leases.claim(Spot.at("k"), GENERATION, Expect.seen(read(store))), Lease)
        before = read(store)
        assert not end(lease)
    assert lease.lost
    assert read(store) == before


@pytest.mark.parametrize("end", ENDINGS)
def test_a_lease_whose_row_was_removed_brings_none_back(store: Store, end: Callable[[Lease], bool]) -> None:
    lease = Bench(store).claim()
    store.remove("k")
    assert not end(lease)
    assert store.read("k") is None


@pytest.mark.parametrize("end", ENDINGS)
def test_a_lease_known_to_be_lost_makes_no_more_trips(store: Store, end: Callable[[Lease], bool]) -> None:
    bench = Bench(store)
    lease = bench.claim()
    store.remove("k")
    bench.go_on(10)
    assert lease.lost
    assert not end(lease)
    assert bench.trips.made == ["write", "renew"]


@pytest.mark.parametrize("end", ENDINGS)
def test_a_lease_ends_once(store: Store, end: Callable[[Lease], bool]) -> None:
    bench = Bench(store)
    lease = bench.claim()
    assert end(lease)
    assert not lease.finish(value(b"again"))
    assert not lease.no_store("again")
    assert not lease.give_up()
    assert bench.trips.made[1:] in (["write"], ["remove"])


def test_a_value_too_large_leaves_the_lease_to_say_so(sqlite_store: SqliteStore) -> None:
    sqlite_store._max_bytes = 1_000_000
    lease = Bench(sqlite_store).claim()
    with lease:
        with pytest.raises(ValueTooLargeError):
            lease.finish(value(random.Random(1).randbytes(1_000_001)))
        assert lease.no_store("too large")
    assert read(sqlite_store).no_store == "too large"


# --- abandoned ---


def test_a_lease_that_is_left_without_an_end_is_given_up(store: Store) -> None:
    bench = Bench(store)
    lease = bench.claim()
    with pytest.raises(KeyboardInterrupt), lease:
        raise KeyboardInterrupt
    assert bench.schedule.act() is None
    assert store.read("k") is None
    assert bench.trips.made == ["write", "remove"]


def test_a_lease_that_nobody_refers_to_any_more_is_given_up(store: Store) -> None:
    bench = Bench(store)
    bench.claim()
    gc.collect()
    assert bench.schedule.act() is None
    assert store.read("k") is None


def test_an_abandoned_lease_of_somebody_elses_now_is_left_alone(store: Store) -> None:
    bench = Bench(store)
    lease = bench.claim()
    Bench(store).claim(expect=None).finish(value())
    with lease:
        pass
    assert bench.schedule.act() is None
    assert read(store).value == b"result"


def test_a_lease_whose_store_broke_at_the_end_is_given_up_when_it_works_again(store: Store) -> None:
    bench = Bench(store)
    lease = bench.claim()
    bench.trips.failing = DOWN
    with pytest.raises(StoreUnavailableError), lease:
        lease.finish(value())
    bench.go_on(10)
    assert read(store).etag == lease.etag
    bench.trips.failing = None
    bench.go_on(10)
    assert store.read("k") is None
    assert bench.schedule.act() is None


def test_giving_up_is_tried_for_the_time_of_the_lease(store: Store) -> None:
    bench = Bench(store)
    lease = bench.claim()
    bench.trips.failing = DOWN
    with lease:
        pass
    bench.go_on(100)
    assert bench.schedule.act() is None
    assert bench.trips.made.count("remove") == BEATS_PER_LEASE * TRIES_PER_BEAT + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_ends_no_lease_of_its_parent(sqlite_store: SqliteStore) -> None:
    lease = Bench(sqlite_store).claim()
    pid = os.fork()
    if pid == 0:
        with lease:
            ended = lease.finish(value(b"child")), lease.no_store("child"), lease.give_up()
        os._exit(any(ended))
    assert os.waitpid(pid, 0)[1] == 0
    assert read(sqlite_store).etag == lease.etag
    assert lease.finish(value(b"parent"))


class Unknown:
    """Writes, then fails all the same: the answer was lost for good."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._write = bench.trips.write

    def __call__(self, *args: object) -> None:
        self._bench.trips.write = self._write  # type: ignore[attr-defined]  # found before `__getattr__`
        self._write(*args)
        raise DOWN


def claim_of_unknown_outcome(bench: Bench) -> Item:
    bench.trips.write = Unknown(bench)  # type: ignore[attr-defined]  # found before `__getattr__`
    with pytest.raises(StoreUnavailableError):
        bench.claim()
    return read(bench.trips)


def test_a_claim_of_unknown_outcome_is_given_up_in_the_background(store: Store) -> None:
    bench = Bench(store)
    claim_of_unknown_outcome(bench)
    assert bench.schedule.act() is None
    assert store.read("k") is None


def test_a_claim_of_unknown_outcome_keeps_nobody_in_this_process_waiting(store: Store) -> None:
    bench = Bench(store)
    row = claim_of_unknown_outcome(bench)
    assert Watch().expect_if_dead(row) == Expect(row.etag, 0)
    bench.schedule.act()
    assert store.read("k") is None


def test_a_claim_that_did_not_take_place_takes_nothing_from_others(store: Store) -> None:
    bench, other = Bench(store), Bench(store)
    bench.trips.failing = DOWN
    with pytest.raises(StoreUnavailableError):
        bench.claim()
    bench.trips.failing = None
    lease = other.claim()
    bench.go_on(100)
    assert bench.trips.made == ["write", "read"]
    assert lease.finish(value())


# --- taking over ---


def test_of_eight_watchers_of_a_dead_lease_one_takes_it_over_and_the_others_see_it(store: Store) -> None:
    dead = Bench(store, seconds=30.0)
    dead.claim()
    row = read(store)
    watchers = [Watch(clock=dead.monotonic, gone=lambda owner: False) for _ in range(8)]
    assert [watch.expect_if_dead(row) for watch in watchers] == [None] * 8
    dead.sleep(30)
    expected = [watch.expect_if_dead(row) for watch in watchers]
    assert expected == [Expect(row.etag, 0)] * 8
    answers = at_once(8, lambda n: dead.leases.claim(Spot.at("k"), GENERATION, expected[n]))
    assert sum(isinstance(answer, Lease) for answer in answers) == 1
    winner = read(store)
    for watch, answer in zip(watchers, answers, strict=True):
        if isinstance(answer, Refused):
            assert answer.row == winner
            assert watch.expect_if_dead(winner) is None


def test_a_renewal_between_look_and_claim_saves_the_lease(store: Store) -> None:
    alive, watcher = Bench(store), Bench(store)
    lease = alive.claim()
    row = read(store)
    alive.go_on(10)
    assert watcher.leases.claim(Spot.at("k"), GENERATION, Expect.seen(row)) == Refused(read(store))
    assert lease.finish(value())


def test_a_leader_that_was_stopped_too_long_is_refused(store: Store) -> None:
    stopped, other = Bench(store), Bench(store)
    lease = stopped.claim()
    watch = Watch(clock=other.monotonic, gone=lambda owner: False)
    watch.expect_if_dead(read(store))
    stopped.sleep(31)
    other.sleep(31)
    successor = other.claim(expect=watch.expect_if_dead(read(store)))
    assert not lease.finish(value(b"late"))
    assert successor.finish(value(b"in time"))
    assert read(store).value == b"in time"


def test_a_leader_that_was_stopped_and_missed_by_nobody_goes_on(store: Store) -> None:
    bench = Bench(store)
    lease = bench.claim()
    bench.sleep(1_000)
    bench.go_on(10)
    assert lease.finish(value())


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0], ids=["an hour behind", "an hour ahead"])
def test_wall_clocks_an_hour_apart_keep_a_living_lease_alive(store: Store, ahead: float) -> None:
    leader, watcher = Bench(store), Bench(store, wall=START + ahead)
    lease = leader.claim()
    watch = Watch(clock=watcher.monotonic, gone=lambda owner: False)
    for _ in range(20):
        leader.go_on(10)
        watcher.go_on(10)
        row = read(store)
        assert verdict_of(row, watcher.wall()) is Verdict.HELD
        assert watch.expect_if_dead(row) is None
        assert row.ttl_date is not None
        assert row.ttl_date > watcher.wall() + DAY / 2  # the engine's clock may be that one
    assert lease.finish(value())


def test_a_generation_begun_during_the_computation_lets_the_next_one_claim_at_once(store: Store) -> None:
    old, new = Bench(store), Bench(store)
    lease = old.claim(generation="g1")
    row = read(store)
    assert verdict_of(row, START, "g2") is Verdict.CLAIMABLE
    successor = new.claim(expect=Expect.seen(row), generation="g2")
    assert not lease.finish(value(generation="g1"))
    assert successor.finish(value(generation="g2"))
    assert read(store).gen == "g2"


# --- beside a value that stays readable ---


def beside(store: Store) -> Spot:
    store.write("k", value(b"old"))
    return Spot.beside("k", read(store))


def test_a_lease_beside_a_value_leaves_it_readable_until_the_new_one_is_there(store: Store) -> None:
    bench, spot = Bench(store), beside(store)
    lease = held(bench.leases.claim(spot, GENERATION, Expect()))
    assert read(store, "k#lease").etag == lease.etag
    assert read(store).value == b"old"
    assert lease.finish(value(b"new"))
    assert read(store).value == b"new"
    assert store.read("k#lease") is None
    assert bench.trips.made == ["write", "write", "remove"]


def test_of_eight_that_claim_beside_a_value_one_gets_it(store: Store) -> None:
    bench, spot = Bench(store), beside(store)
    answers = at_once(8, lambda _: bench.leases.claim(spot, GENERATION, Expect()))
    assert sum(isinstance(answer, Lease) for answer in answers) == 1


@pytest.mark.parametrize("change", ["replaced", "removed"])
def test_a_result_beside_a_value_that_changed_meanwhile_is_not_stored(store: Store, change: str) -> None:
    lease = held(Bench(store).leases.claim(beside(store), GENERATION, Expect()))
    store.remove("k") if change == "removed" else store.write("k", value(b"other"))
    before = store.read("k")
    assert not lease.finish(value(b"new"))
    assert store.read("k") == before
    assert store.read("k#lease") is None


def test_a_result_that_is_forgotten_as_soon_as_it_is_stored_is_nobody_elses(store: Store) -> None:
    bench = Bench(store)
    lease = held(bench.leases.claim(beside(store), GENERATION, Expect()))
    write = bench.leases.store.write

    def forgotten(*args: Any) -> Written | Refused:
        answer = write(*args)
        store.remove("k#lease")
        store.remove("k")
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.leases.store, "write", forgotten)
        assert not lease.finish(value(b"new"))
    assert store.read("k") is None


def test_a_moved_date_of_the_old_value_is_no_change(store: Store) -> None:
    store.write("k", value(b"old")._replace(ttl_date=int(START) + 90, ttl_window="00:01:30"))
    seen = read(store)
    lease = held(Bench(store).leases.claim(Spot.beside("k", seen), GENERATION, Expect()))
    assert store.touch("k", seen, int(START) + 180)
    assert lease.finish(value(b"new"))


@pytest.mark.parametrize("known", [False, True], ids=["found out at the end", "found out by a renewal"])
def test_a_result_late_beside_a_value_is_refused_before_the_successor_has_written(store: Store, known: bool) -> None:
    stopped, spot = Bench(store), beside(store)
    lease = held(stopped.leases.claim(spot, GENERATION, Expect()))
    stopped.sleep(31)
    successor = held(Bench(store).leases.claim(spot, GENERATION, Expect.seen(read(store, "k#lease"))))
    if known:
        stopped.schedule.act()
    assert not lease.finish(value(b"late"))
    assert read(store).value == b"old"
    assert successor.finish(value(b"in time"))
    assert read(store).value == b"in time"


def test_a_lease_beside_a_value_that_was_renewed_in_time_asks_nobody_before_it_writes(store: Store) -> None:
    bench, spot = Bench(store), beside(store)
    lease = held(bench.leases.claim(spot, GENERATION, Expect()))
    bench.go_on(45)
    assert lease.finish(value(b"new"))
    assert bench.trips.made == ["write", *["renew"] * 4, "write", "remove"]


def test_giving_up_beside_a_value_leaves_it_as_it_was(store: Store) -> None:
    lease = held(Bench(store).leases.claim(beside(store), GENERATION, Expect()))
    assert lease.give_up()
    assert read(store).value == b"old"
    assert store.read("k#lease") is None


def test_no_store_beside_a_value_is_said_beside_it(store: Store) -> None:
    lease = held(Bench(store).leases.claim(beside(store), GENERATION, Expect()))
    assert lease.no_store("too large")
    assert read(store).value == b"old"
    assert read(store, "k#lease").no_store == "too large"


def test_a_result_is_stored_though_its_lease_beside_cannot_be_removed(store: Store) -> None:
    bench, spot = Bench(store), beside(store)
    lease = held(bench.leases.claim(spot, GENERATION, Expect()))
    write = store.write

    def write_then_fail(key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        answer = write(key, item, expect)
        bench.trips.failing = DOWN
        return answer

    bench.trips.write = write_then_fail  # type: ignore[attr-defined]  # found before `__getattr__`
    with lease:
        assert lease.finish(value(b"new"))
    bench.trips.failing = None
    bench.go_on(10)
    assert read(store).value == b"new"
    assert store.read("k#lease") is None
