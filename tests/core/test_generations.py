"""The generations of one process: when their rows are read, which of them, and what is believed."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, ClassVar

import pytest

from dynmemo.errors import StoreUnavailableError
from dynmemo.generations import Generations, OfProgram
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from dynmemo.item import Expect, Item, Refused, Written


class SlowAnswers(SqliteStore):
    """Does something between what a read finds and its answer."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        found = super().read_many(keys, consistent=consistent)
        if "fn#gen" in keys:
            self.meanwhile()
        return found


def test_an_answer_that_was_under_way_when_this_process_cleared_is_not_believed(tmp_path: Path) -> None:
    store = SlowAnswers(str(tmp_path / "cache.db"))
    now = 100.0
    generations = Generations(lambda: now)
    before = generations.ensured(store, "fn")
    now += 60

    def clear() -> None:
        nonlocal now
        now += 0.1
        generations.renew(store, "fn")

    store.meanwhile = clear
    generations.known(store, "fn")
    store.meanwhile = lambda: None
    assert generations.known(store, "fn") != before
    assert generations.known(store, "fn") == generations.confirmed(store, "fn")
    store.close()


class Counted(SqliteStore):
    """Writes down which rows are read at once."""

    asked: ClassVar[list[list[str]]] = []

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        self.asked.append(sorted(keys))
        return super().read_many(keys, consistent=consistent)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Counted]:
    with closing(Counted(str(tmp_path / "cache.db"))) as store:
        yield store
    Counted.asked.clear()


def test_they_are_read_again_within_five_seconds_and_not_in_step(store: Counted) -> None:
    clock, parts = Clock(0.0), iter((0.8, 1.0, 0.9))

    def uniform(low: float, high: float) -> float:
        assert (low, high) == (0.8, 1.0)
        return next(parts)

    generations = Generations(clock, uniform)
    for until in (4.0, 9.0):
        began = len(store.asked)
        generations.known(store, "fn")
        clock.now = until - 0.01
        generations.known(store, "fn")
        assert len(store.asked) == began + 1
        clock.now = until
    generations.known(store, "fn")
    assert len(store.asked) == 3


def test_functions_that_are_called_are_read_in_one_go_and_others_not_at_all(store: Counted) -> None:
    clock = Clock(0.0)
    generations = Generations(clock)
    for fn in ("f", "g", "h"):
        generations.known(store, fn)
    assert store.asked == [["#gen", "f#gen"], ["g#gen"], ["h#gen"]]
    clock.now = 5.0
    store.asked.clear()
    generations.known(store, "g")
    generations.known(store, "f")
    generations.known(store, "h")
    assert store.asked == [["#gen", "f#gen", "g#gen", "h#gen"]]
    for fn in ("f", "g"):
        generations.known(store, fn)
    clock.now = 10.0
    store.asked.clear()
    generations.known(store, "f")
    assert store.asked == [["#gen", "f#gen", "g#gen", "h#gen"]]  # h was asked for once more within that time
    clock.now = 15.0
    store.asked.clear()
    generations.known(store, "f")
    assert store.asked == [["#gen", "f#gen"]]


def test_functions_that_begin_one_after_the_other_are_read_together_from_then_on(store: Counted) -> None:
    clock = Clock(0.0)
    generations = Generations(clock)
    for clock.now in range(40):
        for fn in ("f", "g", "h")[: 1 + int(clock.now)]:
            generations.known(store, fn)
    alone = [keys for keys in store.asked if "#gen" not in keys]
    assert alone == [["g#gen"], ["h#gen"]]


class Behind(SqliteStore):
    """Answers as it was when `past` was taken, where it is not asked to be consistent."""

    past: dict[str, Item] | None = None

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        if consistent or self.past is None:
            return super().read_many(keys, consistent=consistent)
        return {key: self.past[key] for key in keys if key in self.past}


def test_a_read_that_is_behind_does_not_undo_a_clear_of_this_process(tmp_path: Path) -> None:
    with closing(Behind(str(tmp_path / "cache.db"))) as store:
        clock = Clock(0.0)
        generations = Generations(clock, lambda low, _: low)
        before = generations.ensured(store, "fn")
        clock.now = 3.9
        store.past = store.read_many(["#gen", "fn#gen"])
        generations.renew(store, "fn")
        clock.now = 4.1  # that of all functions is due, and all that are called are read along with it
        assert generations.known(store, "fn") != before
        store.past = None
        clock.now = 8.2
        assert generations.known(store, "fn") == generations.confirmed(store, "fn")


class LosesAnswers(SlowAnswers, Behind):
    """Writes, and says that it could not, while `is_lost`."""

    is_lost = False

    def write(self, key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        answer = super().write(key, item, expect)
        if self.is_lost:
            raise StoreUnavailableError("the answer was lost")
        return answer


OWN = OfProgram("notebook", ("code",))


@pytest.mark.parametrize(("fn", "own"), [("fn", None), ("fn", OWN), ("", None)], ids=["function", "own", "everything"])
def test_after_a_clear_whose_answer_was_lost_this_process_asks_before_it_believes(
    tmp_path: Path, fn: str, own: OfProgram | None
) -> None:
    with closing(LosesAnswers(str(tmp_path / "cache.db"))) as store:
        generations = Generations(Clock(0.0))
        before = generations.ensured(store, "fn")
        store.past = store.read_many(["#gen", "fn#gen"])
        store.is_lost = True
        with pytest.raises(StoreUnavailableError):
            generations.forget(store, fn, own)
        assert "fn" not in generations.last
        after = generations.known(store, "fn")
        assert not after.covers(before, "fn:code:args")
        assert generations.last["fn"][0] == after == generations.confirmed(store, "fn")


@pytest.mark.parametrize("own", [None, OWN], ids=["all", "own"])
def test_an_answer_that_was_under_way_when_a_clear_seemed_to_fail_is_not_believed(
    tmp_path: Path, own: OfProgram | None
) -> None:
    with closing(LosesAnswers(str(tmp_path / "cache.db"))) as store:
        clock = Clock(0.0)
        generations = Generations(clock)
        before = generations.ensured(store, "fn")
        clock.now = 60.0

        def clear() -> None:
            store.meanwhile = lambda: None
            store.is_lost = True
            clock.now += 0.1
            with pytest.raises(StoreUnavailableError):
                generations.forget(store, "fn", own)

        store.meanwhile = clear
        generations.known(store, "fn")
        assert not generations.known(store, "fn").covers(before, "fn:code:args")


def test_what_a_read_told_counts_for_who_asked_though_another_clear_seemed_to_fail_meanwhile(tmp_path: Path) -> None:
    with closing(LosesAnswers(str(tmp_path / "cache.db"))) as store:
        clock = Clock(0.0)
        generations = Generations(clock)
        before = generations.ensured(store, "fn")

        def clear() -> None:
            store.meanwhile = lambda: None
            store.is_lost = True
            clock.now += 0.1
            with pytest.raises(StoreUnavailableError):
                generations.forget(store, "fn")
            clock.now += 0.1

        clear()
        store.meanwhile = clear
        assert not generations.known(store, "fn").covers(before, "fn:code:args")
        assert generations.known(store, "fn") == generations.confirmed(store, "fn")


def test_an_old_entry_is_doubted_once_however_often_it_is_met(store: Counted) -> None:
    generations = Generations(Clock(0.0))
    old = generations.ensured(store, "fn")
    store.asked.clear()
    generations.renew(store, "fn")
    assert generations.confirmed(store, "fn", doubted=old) != old
    assert generations.superseded == {old}


def test_a_generation_that_stands_there_is_never_taken_for_one_that_is_over(store: Counted) -> None:
    """Not even where a later answer of another thread, which was behind, is believed."""
    clock = Clock(0.0)
    generations = Generations(clock)
    generations.ensured(store, "fn")
    other = Generations(clock)
    other.renew(store, "fn")
    present = other.confirmed(store, "fn")
    clock.now = -1.0
    assert generations.confirmed(store, "fn", doubted=present) != present  # what was learned at 0 is newer than -1
    assert generations.superseded == set()
