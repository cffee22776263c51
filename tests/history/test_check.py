"""What the checks find in made-up histories, and what they let pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.history.check import check, merged, uncovered
from tests.history.records import (
    Call,
    Computation,
    Counters,
    Forget,
    History,
    Left,
    Log,
    Rules,
    Trouble,
    ended_by_interruption,
    gather,
    read,
)

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("f", 0)


class Story:
    """A history that is told step by step; the process of a name such as ``p1`` is ``p``.

    story.computes("a1", 0.0, 1.0) is a call of process a that computes `ca1`, and story.gets("b1", 2.0, "ca1") one of b
    that gets its value.
    """

    def __init__(self, **rules: Any) -> None:
        self.history = History({"f": Rules(**rules)}, lease=1.0)

    def computes(self, name: str, begin: float, end: float, outcome: str = "value", **call: Any) -> None:
        token = f"c{name}"
        self.history.computations.append(Computation(name[0], token, KEY, begin, end, outcome, name))
        self.returns(name, begin, end, outcome, token, **call)

    def gets(self, name: str, begin: float, token: str, outcome: str = "value", **call: Any) -> None:
        self.returns(name, begin, begin + 0.01, outcome, token, **call)

    def returns(self, name: str, begin: float, end: float, outcome: str, token: str | None = None, **call: Any) -> None:
        if outcome == "none":
            token = None
        self.history.calls.append(Call(name[0], name, KEY, begin, end, outcome=outcome, token=token, **call))

    def forgets(self, kind: str, process: str, begin: float, end: float, **forget: Any) -> None:
        x = 0 if kind in ("invalidate", "recompute") else None
        self.history.forgets.append(Forget(process, kind, "f", x, begin, end, succeeded=True, **forget))

    def troubles(self, process: str, begin: float, end: float, kind: str = "stall") -> None:
        self.history.troubles.append(Trouble(process, begin, end, kind))

    def kinds(self) -> list[str]:
        return [violation.kind for violation in check(self.history)]


def test_a_miss_and_hits_are_well() -> None:
    story = Story()
    story.computes("a1", 0.0, 0.5)
    story.gets("b1", 0.1, "ca1")
    story.gets("b2", 1.0, "ca1")
    assert story.kinds() == []


# -- values ---------------------------------------------------------------------------------------------------------


def test_a_value_that_nobody_computed_is_found() -> None:
    story = Story()
    story.gets("a1", 0.0, "nobody's")
    assert story.kinds() == ["wrong value"]


def test_a_value_of_another_argument_is_found() -> None:
    story = Story()
    story.history.computations.append(Computation("a", "other", ("f", 1), 0.0, 0.1, "value"))
    story.gets("a1", 1.0, "other")
    assert story.kinds() == ["wrong value"]


def test_a_value_that_is_not_whole_is_found() -> None:
    story = Story()
    story.computes("a1", 0.0, 0.1, whole=False)
    assert story.kinds() == ["wrong value"]


def test_an_exception_is_shared_with_who_waits_and_not_with_who_comes_later() -> None:
    story = Story()
    story.computes("a1", 0.0, 0.5, "raised")
    story.gets("a2", 0.495, "ca1", "raised")
    assert story.kinds() == []
    story.gets("a3", 0.51, "ca1", "raised")
    assert story.kinds() == ["cached exception"]


def test_an_exception_of_another_process_is_found() -> None:
    story = Story()
    story.computes("a1", 0.0, 0.5, "raised")
    story.gets("b1", 0.1, "ca1", "raised")
    assert story.kinds() == ["cached exception"]


def test_an_exception_of_the_library_is_found() -> None:
    story = Story()
    story.returns("a1", 0.0, 0.1, "OSError: gone")
    assert story.kinds() == ["unexpected exception"]


# -- overlaps -------------------------------------------------------------------------------------------------------


def overlapping(**rules: Any) -> Story:
    story = Story(**rules)
    story.computes("a1", 0.0, 3.0)
    story.computes("b1", 2.0, 4.0)
    return story


def test_two_computations_at_once_are_found() -> None:
    assert overlapping().kinds() == ["overlap"]


def test_two_computations_one_after_the_other_are_well() -> None:
    story = Story()
    story.computes("a1", 0.0, 1.0, "raised")
    story.computes("b1", 1.0, 2.0)
    assert story.kinds() == []


def test_without_single_flight_all_compute() -> None:
    assert overlapping(single_flight=False).kinds() == []


@pytest.mark.parametrize("process", ["a", "b"])
def test_a_process_that_stood_still_may_lose_its_lease(process: str) -> None:
    story = overlapping()
    story.troubles(process, 0.5 if process == "a" else 2.0, 1.8 if process == "a" else 2.1)
    assert story.kinds() == []


def test_the_trouble_of_a_third_process_and_one_at_another_time_excuse_nothing() -> None:
    story = overlapping()
    story.troubles("c", 0.5, 1.8)
    story.troubles("a", 2.5, 2.8)
    assert story.kinds() == ["overlap"]


def test_a_computation_ends_with_its_process() -> None:
    story = Story()
    story.computes("a1", 0.0, 1.0, "none")
    story.computes("b1", 1.0, 2.0)
    story.history.deaths["a"] = 1.0
    assert story.kinds() == []


@pytest.mark.parametrize("kind", ["invalidate", "clear", "cache_clear", "purge", "recompute"])
def test_what_is_forgotten_may_be_computed_at_once(kind: str) -> None:
    story = overlapping()
    story.forgets(kind, "c", 1.0, 1.1)
    assert story.kinds() == []


def test_a_clear_makes_way_for_as_long_as_it_may_be_unknown_and_an_invalidation_at_once() -> None:
    story = Story()
    story.forgets("clear", "c", -3.0, -2.9)
    story.computes("a1", 0.0, 3.0)
    story.computes("b1", 2.0, 4.0)
    assert story.kinds() == []
    story.history.forgets.clear()
    story.forgets("invalidate", "c", -3.0, -2.9)
    assert story.kinds() == ["overlap"]


def test_who_waited_beside_a_value_that_was_forgotten_meanwhile_may_not_compute_along() -> None:
    story = Story(stale_if_error=3)
    story.forgets("invalidate", "c", 0.5, 0.6)
    story.computes("a1", 1.0, 3.0)
    story.history.computations.append(Computation("b", "cb1", KEY, 2.0, 3.0, "value", "b1"))
    story.returns("b1", 0.0, 3.0, "value", "cb1")
    story.history.claims["b1"].append(1.9)
    assert story.kinds() == ["overlap"]


def test_a_recomputation_is_waited_for_as_any_other_computation() -> None:
    story = Story()
    story.computes("a1", 0.0, 3.0, how="recompute")
    story.forgets("recompute", "a", 0.0, 3.0, call="a1")
    story.computes("b1", 2.0, 4.0)
    assert story.kinds() == ["overlap"]


def test_a_recomputation_takes_the_lease_from_who_is_about_to_begin() -> None:
    story = Story()
    story.computes("a1", 1.0, 3.0, how="recompute")
    story.forgets("recompute", "a", 1.0, 3.0, call="a1")
    story.computes("b1", 1.1, 2.0)
    story.history.claims["a1"].append(0.95)
    story.history.claims["b1"].append(0.9)
    assert story.kinds() == []


@pytest.mark.parametrize(("how", "rules"), [("recompute", {"ttl": 3}), ("call", {"ttl": 1, "stale_if_error": 2})])
def test_what_runs_out_while_it_is_computed_anew_is_no_reason_to_compute_it(how: str, rules: dict[str, int]) -> None:
    story = Story(**rules)
    story.computes("c1", -1.6, -1.5)
    story.computes("a1", 1.0, 3.0, how=how)
    story.computes("b1", 2.0, 4.0)
    assert story.kinds() == ["overlap"]


def test_who_recomputes_beside_what_was_forgotten_meanwhile_may_not_compute_along() -> None:
    story = Story()
    story.computes("a1", 0.0, 3.0, how="recompute")
    story.history.computations[0] = Computation("a", "ca1", KEY, 1.0, 3.0, "value", "a1")
    story.history.claims["a1"].append(0.9)
    story.forgets("invalidate", "c", 0.5, 0.6)
    story.computes("b1", 2.0, 4.0)
    assert story.kinds() == ["overlap"]


def test_what_was_forgotten_before_a_lease_was_taken_excuses_nothing() -> None:
    story = Story()
    story.computes("a1", 0.0, 3.0)
    story.forgets("invalidate", "c", 0.5, 0.6)
    story.computes("b1", 2.0, 4.0)
    assert story.kinds() == []
    story.history.computations[0] = Computation("a", "ca1", KEY, 1.0, 3.0, "value", "a1")
    story.history.claims["a1"].append(0.9)
    assert story.kinds() == ["overlap"]


def test_a_lease_that_was_removed_before_computing_began_is_no_lease() -> None:
    story = Story()
    story.computes("a1", 1.0, 3.0)
    story.forgets("invalidate", "b", 0.5, 0.6)
    story.history.computations.append(Computation("b", "cb1", KEY, 2.0, 4.0, "value", "b1"))
    story.returns("b1", 0.3, 4.0, "value", "cb1")
    story.history.claims["b1"].append(0.4)
    assert story.kinds() == []


def test_who_has_waited_long_enough_computes() -> None:
    story = Story(wait_timeout=0.5)
    story.computes("a1", 0.0, 2.0)
    story.history.computations.append(Computation("b", "cb1", KEY, 1.0, 1.5, "value", "b1"))
    story.returns("b1", 0.5, 1.5, "value", "cb1")
    assert story.kinds() == []
    story.history.computations.append(Computation("c", "cc1", KEY, 0.9, 1.5, "value", "c1"))
    story.returns("c1", 0.5, 1.5, "value", "cc1")
    assert story.kinds() == ["overlap"]


# -- forgotten ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["invalidate", "clear"])
def test_what_was_forgotten_is_found_in_the_same_process_at_once(kind: str) -> None:
    story = Story()
    story.computes("a1", 0.0, 0.5)
    story.forgets(kind, "b", 1.0, 1.1)
    story.gets("b1", 1.05, "ca1")
    assert story.kinds() == []
    story.gets("b2", 1.2, "ca1")
    assert story.kinds() == ["forgotten"]


def test_elsewhere_a_clear_is_known_after_five_seconds_and_an_invalidation_at_once() -> None:
    story = Story()
    story.computes("a1", 0.0, 0.5)
    story.forgets("clear", "b", 1.0, 1.1)
    story.gets("c1", 6.0, "ca1")
    assert story.kinds() == []
    story.gets("c2", 6.2, "ca1")
    assert story.kinds() == ["forgotten"]
    story = Story()
    story.computes("a1", 0.0, 0.5)
    story.forgets("invalidate", "b", 1.0, 1.1)
    story.gets("c1", 1.2, "ca1")
    assert story.kinds() == ["forgotten"]


def test_what_began_to_be_computed_after_forgetting_began_may_be_returned() -> None:
    story = Story()
    story.forgets("invalidate", "b", 1.0, 1.2)
    story.computes("a1", 1.1, 1.5)
    story.gets("b1", 2.0, "ca1")
    assert story.kinds() == []


def test_a_zombie_that_stores_late_is_found() -> None:
    story = Story()
    story.troubles("a", 0.5, 5.0)
    story.computes("a1", 0.0, 5.5)
    story.forgets("invalidate", "b", 1.0, 1.1)
    story.gets("b1", 6.0, "ca1")
    assert story.kinds() == ["forgotten"]


@pytest.mark.parametrize(("joined", "kinds"), [(1.5, []), (7.0, ["forgotten, in flight"])])
def test_without_the_store_nobody_learns_at_once_what_others_have_forgotten(joined: float, kinds: list[str]) -> None:
    story = Story()
    story.computes("a1", 0.0, 8.0)
    story.forgets("invalidate", "b", 1.0, 1.1)
    story.returns("a2", joined, 8.0, "value", "ca1")
    story.troubles("a", 7.9, 8.1, kind="circuit")
    assert story.kinds() == kinds


def test_who_joins_in_memory_what_was_forgotten_is_found() -> None:
    story = Story()
    story.computes("a1", 0.0, 2.0)
    story.forgets("invalidate", "b", 1.0, 1.1)
    story.returns("a2", 1.5, 2.0, "value", "ca1")
    assert story.kinds() == ["forgotten, in flight"]


def test_an_expired_value_that_was_forgotten_stands_in_for_nothing() -> None:
    story = Story(stale_if_error=100, ttl=100)
    story.computes("a1", 0.0, 0.5)
    story.forgets("invalidate", "b", 1.0, 1.1)
    story.history.computations.append(Computation("b", "cb1", KEY, 1.2, 1.9, "raised", "b1"))
    story.returns("b1", 0.9, 2.0, "value", "ca1")
    assert story.kinds() == []
    story.returns("b2", 1.5, 2.0, "value", "ca1")
    assert story.kinds() == ["forgotten, kept for errors"]


def test_forgetting_that_failed_promises_nothing() -> None:
    story = Story()
    story.computes("a1", 0.0, 0.5)
    story.history.forgets.append(Forget("b", "invalidate", "f", 0, 1.0, 1.1, succeeded=False))
    story.gets("b1", 2.0, "ca1")
    assert story.kinds() == []


def test_what_a_recomputation_replaced_is_found_unless_it_may_not_have_been_stored() -> None:
    story = Story()
    story.computes("a1", 0.0, 0.5)
    story.computes("b1", 1.0, 1.5, how="recompute")
    story.forgets("recompute", "b", 1.0, 1.5, call="b1")
    story.gets("c1", 2.0, "ca1")
    assert story.kinds() == ["forgotten"]
    story.forgets("invalidate", "c", 1.2, 1.3)
    assert [kind for kind in story.kinds() if kind != "forgotten"] == []
    story.history.forgets.pop()
    story.troubles("b", 1.1, 1.4)
    assert story.kinds() == []


def test_what_was_purged_is_found_and_what_was_under_way_is_not() -> None:
    story = Story()
    story.computes("a1", 0.0, 0.5)
    story.forgets("purge", "b", 1.0, 1.5)
    story.gets("c1", 2.0, "ca1")
    assert story.kinds() == ["purged"], "others need not believe a generation for that"
    story = Story()
    story.computes("a1", 0.0, 1.2)
    story.forgets("purge", "b", 1.0, 1.5)
    story.gets("c1", 2.0, "ca1")
    assert story.kinds() == []
    story.gets("c2", 6.6, "ca1")
    assert story.kinds() == ["forgotten"], "where something is being computed, a purge clears"


# -- expired --------------------------------------------------------------------------------------------------------


def test_a_value_past_its_deadline_is_found() -> None:
    story = Story(ttl=2)
    story.computes("a1", 0.0, 0.5)
    story.gets("b1", 2.4, "ca1")
    assert story.kinds() == []
    story.gets("b2", 2.7, "ca1")
    assert story.kinds() == ["expired"]


def test_a_value_lives_from_when_it_was_stored() -> None:
    story = Story(ttl=2)
    story.history.computations.append(Computation("a", "ca1", KEY, 0.0, 0.5, "value", "a1"))
    story.returns("a1", 0.0, 3.0, "value", "ca1")
    story.gets("b1", 4.9, "ca1")
    assert story.kinds() == []


def test_an_expired_value_stands_in_for_an_exception_only() -> None:
    story = Story(ttl=2, stale_if_error=3)
    story.computes("a1", 0.0, 0.5)
    story.history.computations.append(Computation("b", "cb1", KEY, 3.0, 3.2, "raised", "b1"))
    story.returns("b1", 2.9, 3.3, "value", "ca1")
    assert story.kinds() == []
    story.gets("b2", 3.25, "ca1")
    assert story.kinds() == [], "the leader had not landed yet"
    story.gets("c1", 3.1, "ca1")
    assert story.kinds() == ["expired"], "nobody raised there"


def test_an_expired_value_is_not_kept_for_ever() -> None:
    story = Story(ttl=2, stale_if_error=3)
    story.computes("a1", 0.0, 0.5)
    story.history.computations.append(Computation("b", "cb1", KEY, 7.0, 7.2, "raised", "b1"))
    story.returns("b1", 7.0, 7.3, "value", "ca1")
    assert story.kinds() == ["expired"]


def test_a_value_that_nobody_used_for_its_window_is_found() -> None:
    story = Story(ttl=100, sliding=2)
    story.computes("a1", 0.0, 0.5)
    for n, begin in enumerate((2.0, 3.5, 5.0)):
        story.gets(f"b{n}", begin, "ca1")
    assert story.kinds() == []
    story.gets("b9", 7.5, "ca1")
    assert story.kinds() == ["expired"]


# -- backwards ------------------------------------------------------------------------------------------------------


def replaced() -> Story:
    """What a computed and b computed later, which c has read."""
    story = Story()
    story.troubles("a", 0.1, 2.0)
    story.computes("a1", 0.0, 3.0)
    story.computes("b1", 1.5, 2.5)
    story.gets("c1", 2.6, "cb1")
    return story


def test_a_result_that_takes_the_place_of_a_newer_one_is_found() -> None:
    story = replaced()
    story.gets("c2", 3.5, "ca1")
    assert story.kinds() == ["backwards"]


def test_a_recomputation_replaces_what_others_stored_meanwhile() -> None:
    story = Story(refresh_ahead=0.5)
    story.computes("a1", 0.0, 3.0, how="recompute")
    story.forgets("recompute", "a", 0.0, 3.0, call="a1")
    story.computes("b1", 1.5, 2.5)
    story.troubles("b", 1.5, 1.6)
    story.gets("c1", 2.6, "cb1")
    story.gets("c2", 3.5, "ca1")
    assert story.kinds() == []
    story.troubles("a", 1.0, 2.5)
    assert story.kinds() == ["backwards"]


def test_who_has_computed_alone_returns_what_it_computed() -> None:
    assert replaced().kinds() == []


# -- late -----------------------------------------------------------------------------------------------------------


def test_a_call_that_waits_for_nobody_is_found() -> None:
    story = Story()
    story.computes("a1", 0.0, 1.0)
    story.returns("b1", 0.5, 8.0, "value", "ca1")
    assert story.kinds() == ["late"]


def test_a_call_waits_as_long_as_somebody_computes() -> None:
    story = Story()
    story.computes("a1", 0.0, 30.0)
    story.returns("b1", 0.5, 30.5, "value", "ca1")
    assert story.kinds() == []


def test_a_leader_that_stands_still_is_waited_for_as_long_as_its_lease_lasts() -> None:
    story = Story()
    story.troubles("a", 1.0, 20.0)
    story.computes("a1", 0.0, 21.0)
    story.returns("b1", 0.5, 20.5, "value", "ca1")
    assert "late" in story.kinds()


def test_a_call_that_never_returned_is_found_unless_its_process_was_killed() -> None:
    story = Story()
    story.returns("a1", 0.0, math.inf, "none")
    assert story.kinds() == ["never returned"]
    story = Story()
    story.returns("a1", 0.0, 1.0, "none")
    assert story.kinds() == []


def test_who_waits_no_longer_than_so_long_is_held_to_it() -> None:
    story = Story(wait_timeout=0.5)
    story.computes("a1", 0.0, 10.0)
    story.returns("b1", 0.5, 9.0, "value", "ca1")
    assert story.kinds() == ["late"]


# -- health and counters --------------------------------------------------------------------------------------------


def test_after_the_faults_calls_return_values_and_hit() -> None:
    story = Story()
    story.history.calm, story.history.hits_from = 0.0, 10.0
    story.computes("a1", 5.0, 5.1)
    story.gets("a2", 10.1, "ca1")
    assert story.kinds() == []
    story.computes("b1", 10.2, 10.3)
    assert story.kinds() == ["not well"]
    story = Story()
    story.history.calm = 0.0
    story.computes("a1", 5.0, 5.1, "raised")
    assert story.kinds() == ["not well"]


def test_leases_and_parts_that_are_left_over_and_processes_that_crashed_are_found() -> None:
    story = Story()
    story.history.left = [Left("k#lease", "lease"), Left("k", "part")]
    story.history.crashed = {"a": "ended with 1"}
    assert sorted(story.kinds()) == ["crash", "left over", "left over"]
    story.history.deaths["b"] = 1.0
    assert sorted(story.kinds()) == ["crash", "left over"], "one that is killed while it stores leaves parts"


def counted(**changed: int) -> list[str]:
    """With the counters of a process that computed once, hit twice, and waited once."""
    story = Story()
    story.computes("a1", 0.0, 0.5)
    story.returns("a2", 0.1, 0.51, "value", "ca1")
    story.gets("a3", 1.0, "ca1")
    story.gets("a4", 2.0, "ca1")
    info = {"hits": 2, "misses": 2, "computed": 1, "waited": 1, "stale": 0, **changed}
    story.history.counters.append(Counters("a", "f", info))
    return story.kinds()


def test_counters_that_add_up_are_well() -> None:
    assert counted() == []


@pytest.mark.parametrize("changed", [{"misses": 1}, {"misses": 3}, {"computed": 0}, {"computed": 2}, {"waited": 0}])
def test_counters_that_do_not_add_up_are_found(changed: dict[str, int]) -> None:
    assert counted(**changed) == ["counters"]


# -- logs and intervals ---------------------------------------------------------------------------------------------


def test_what_a_process_says_is_read_again_and_a_torn_line_is_not(tmp_path: Path) -> None:
    log = Log(tmp_path / "a.log")
    log.say("call", "a1", "f", 0, "call", at=1.0)
    log.say("compute", "ca1", "f", 0, "a1", at=1.1)
    log.say("end", "ca1", "value", at=1.2)
    log.say("end", "a1", "value", "ca1", True, at=1.3)
    log.say("forget", "a2", "invalidate", "f", 0, at=2.0)
    log.say("end", "a2", "done", at=2.1)
    log.say("trouble", 3.5, "stall", at=3.0)
    with (tmp_path / "a.log").open("a") as file:
        file.write('["call", 4.0, "a')
    history = History({"f": Rules()}, lease=1.0)
    gather(history, "a", read(tmp_path / "a.log"))
    assert history.calls == [Call("a", "a1", KEY, 1.0, 1.3, "call", "value", "ca1")]
    assert history.computations == [Computation("a", "ca1", KEY, 1.1, 1.2, "value", "a1")]
    assert history.forgets == [Forget("a", "invalidate", "f", 0, 2.0, 2.1, succeeded=True)]
    assert history.troubles == [Trouble("a", 3.0, 3.5, "stall")]


def test_what_a_process_did_not_end_ends_with_it() -> None:
    history = History({"f": Rules()}, lease=1.0)
    history.deaths["a"] = 5.0
    gather(history, "a", [["call", 1.0, "a1", "f", 0, "call"], ["compute", 1.1, "ca1", "f", 0, "a1"]])
    assert (history.calls[0].end, history.computations[0].end) == (5.0, 5.0)


def test_what_could_not_say_that_it_was_interrupted_ends_with_its_call() -> None:
    story = Story()
    story.history.computations.append(Computation("a", "ca1", KEY, 0.1, call="a1"))
    story.returns("a1", 0.0, 1.0, "interrupted")
    ended_by_interruption(story.history)
    assert story.history.computations[0].end == 1.0


def test_intervals() -> None:
    assert merged([(2, 3), (0, 1), (0.5, 1.5)]) == [(0, 1.5), (2, 3)]
    assert uncovered(0, 10, [(-5, 1), (4, 6), (5, 7), (9, 20)]) == 5
