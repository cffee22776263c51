"""Notebooks and scripts whose functions have one name: each clears and purges its own, and what is equal is shared."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from dynmemo import Cache, clear, configure, purge
from dynmemo.calls import Options
from dynmemo.calls.memo import Memo
from dynmemo.calls.wrapper import CachedFunction
from dynmemo.counters import Meter
from dynmemo.generations import MOST_CLEARED, Generation, Generations, OfProgram, Stamp, is_no_later
from dynmemo.item import Expect
from dynmemo.leases import Lease, Spot
from dynmemo.looking import ls
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing import Clock
from dynmemo.transfer import transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class KeepsRows(SqliteStore):
    """A file in which cleared rows stay, as they do in DynamoDB."""

    def remove_all(self, prefix: str = "", **_: Any) -> int:
        return 0


@pytest.fixture(params=["rows go", "rows stay", pytest.param("dynamodb", marks=pytest.mark.dynamodb)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Cache]]:
    """Opens the same place as another process does."""
    made: list[Cache] = []
    if request.param == "dynamodb":
        table, endpoint = (request.getfixturevalue(name) for name in ("dynamodb_table", "dynamodb_endpoint"))
        url = f"dynamodb://{table}?region=eu-west-1&endpoint_url={quote(endpoint, safe='')}&lease_seconds="

    def open_it() -> Cache:
        if request.param == "dynamodb":
            made.append(Cache.from_url(f"{url}{30 + len(made)}"))  # equal URLs share one cache
        else:
            kind = SqliteStore if request.param == "rows go" else KeepsRows
            made.append(Cache(kind(str(tmp_path / "cache.db")), near_max_bytes=0))
        return made[-1]

    yield open_it
    for cache in made:
        cache.close()


class Notebook:
    """A notebook or script, in a process of its own; what its function returns tells how often it ran by then."""

    def __init__(self, cache: Cache, path: str) -> None:
        self.cache, self.path = cache, path
        self.clock = Clock(0.0)
        cache.generations = Generations(self.clock)
        self.runs = itertools.count(1)

    def define(self, code: str) -> Any:
        """Run the cell that defines ``load``."""
        runs = self.runs

        def load(x: int) -> str:
            return f"{code} {next(runs)}"

        return CachedFunction(
            load, Memo(load, Options(name="__main__.load", version=code, cache=self.cache), self.path)
        )

    def later(self) -> None:
        """Time goes by in which others may have cleared something."""
        self.clock.now += 6


def test_a_clear_leaves_what_another_notebook_has_stored_of_other_code(opened: Callable[[], Cache]) -> None:
    anna, ben = Notebook(opened(), "anna"), Notebook(opened(), "ben")
    annas, bens = anna.define("a"), ben.define("b")
    assert [annas(1), bens(1)] == ["a 1", "b 1"]
    annas.cache_clear()
    ben.later()
    assert [annas(1), bens(1)] == ["a 2", "b 1"]
    assert purge(annas, superseded=True).rows in (0, 1)  # where the first one still lies
    assert purge(annas).rows == 1
    ben.later()
    assert [annas(1), bens(1)] == ["a 3", "b 1"]
    configure(anna.cache)
    clear("__main__.load")
    ben.later()
    assert [annas(1), bens(1)] == ["a 4", "b 2"]
    assert purge("__main__.load").rows >= 2
    assert [annas(1), bens(1)] == ["a 5", "b 3"]
    configure(None)


def test_equal_functions_go_on_sharing_and_are_cleared_together(opened: Callable[[], Cache]) -> None:
    anna, ben = Notebook(opened(), "anna"), Notebook(opened(), "ben")
    annas, bens = anna.define("same"), ben.define("same")
    assert [bens(1), annas(1), annas(2), bens(2)] == ["same 1", "same 1", "same 1", "same 1"]
    annas.cache_clear()
    ben.later()
    assert [annas(1), bens(1)] == ["same 2", "same 2"]
    assert [bens(2), annas(2)] == ["same 2", "same 2"]  # by Ben this time
    before = bens.cache_info().requests
    assert bens(1) == "same 2"
    assert bens.cache_info().requests - before == 1, "a hit of another's entry is one read, as any"


def test_a_clear_holds_for_code_of_former_days_too(opened: Callable[[], Cache]) -> None:
    monday, ben = Notebook(opened(), "anna"), Notebook(opened(), "ben")
    assert [monday.define("old")(1), ben.define("old")(2)] == ["old 1", "old 1"]
    tuesday = Notebook(opened(), "anna")
    new = tuesday.define("new")
    new(1)
    new.cache_clear()
    wednesday = Notebook(opened(), "anna")
    old = wednesday.define("old")
    assert (old(1), old(2)) == ("old 1", "old 2"), "neither what it has stored nor what others had is served to it"
    assert old.cache_info().misses == 2
    ben.later()
    assert ben.define("old")(2) == "old 2"


def test_a_clear_reaches_the_codes_that_this_process_has_had(opened: Callable[[], Cache]) -> None:
    anna, worker = Notebook(opened(), "anna"), Notebook(opened(), "a process whose notebook is not known")
    for n, code in enumerate("abc"):
        assert worker.define(code)(1) == f"{code} {n + 1}"
        anna.define(code)(1)
    anna.define("c").cache_clear()
    worker.later()
    assert worker.define("c")(1) == "c 4"


def test_a_clear_leaves_what_another_script_has_stored_that_ran_in_the_same_process(cache: Cache) -> None:
    def load_a(x: int) -> str:
        return "a"

    def load_b(x: int) -> str:
        return "b"

    options = Options(name="__main__.load", cache=cache)
    both: list[Any] = [CachedFunction(load, Memo(load, options, load.__name__)) for load in (load_a, load_b)]
    one, other = both
    one(1), other(1), one.cache_clear()
    assert one.entry(1) is None
    assert other.entry(1) is not None


def test_a_lease_from_before_a_clear_holds_for_neighbours_alone(opened: Callable[[], Cache]) -> None:
    anna, ben = Notebook(opened(), "anna"), Notebook(opened(), "ben")
    annas, bens = anna.define("a"), ben.define("b")
    entries = bens._self_memo.entries()
    annas(0)
    generation = entries.begin()
    key = bens.cache_key(1)
    lease = entries.leases.claim(Spot.at(key), entries.stamp(generation), Expect())
    assert isinstance(lease, Lease)
    annas.cache_clear()
    ben.later()
    row = entries.store.read(key)
    assert entries.counts(key, row)
    assert bens.explain(1).state == "computing"
    bens.cache_clear()
    assert bens.explain(1).state != "computing"
    assert lease.give_up()


def test_what_a_computation_that_was_cleared_meanwhile_gives_is_not_stored(opened: Callable[[], Cache]) -> None:
    anna, other = Notebook(opened(), "anna"), Notebook(opened(), "anna")
    elsewhere = other.define("a")
    annas = anna.define("a")
    runs = anna.runs

    def load(x: int) -> str:
        elsewhere.cache_clear()
        anna.later()
        return f"a {next(runs)}"

    memo = Memo(load, Options(name="__main__.load", version="a", cache=anna.cache), "anna")
    meanwhile: Any = CachedFunction(load, memo)
    assert meanwhile(1) == "a 1"
    assert annas.entry(1) is None


def test_a_function_of_a_module_is_cleared_as_a_whole_and_hits_after_a_script_has(
    opened: Callable[[], Cache],
) -> None:
    script, module = Notebook(opened(), "mod.py"), Notebook(opened(), "")
    one, other = script.define("same"), module.define("same")
    assert [one(1), other(1)] == ["same 1", "same 1"]
    one.cache_clear()
    module.later()
    assert [other(1), one(1), other(1)] == ["same 1", "same 1", "same 1"]
    assert other.cache_info()[:2] == (2, 1)
    other.cache_clear()
    script.later()
    assert one(1) == "same 2"


def test_ls_and_push_take_what_lives_for_anybody(opened: Callable[[], Cache], tmp_path: Path) -> None:
    anna, ben = Notebook(opened(), "anna"), Notebook(opened(), "ben")
    annas, bens = anna.define("a"), ben.define("b")
    annas(1), bens(1), annas.cache_clear(), annas(2)
    ben.later()
    (listed,) = ls(cache=ben.cache)
    assert (listed.name, listed.entries) == ("__main__.load", 2)
    target = Cache.sqlite(tmp_path / "team.db")
    there = Notebook(target, "anna").define("a")
    there(7), there.cache_clear()
    assert transfer(ben.cache, target).copied == 2
    assert transfer(ben.cache, target).kept == 2
    colleague = Notebook(target, "ben")
    assert (there(2), colleague.define("b")(1)) == ("a 2", "b 1")
    there.cache_clear()  # what was pushed is Anna's there, too
    colleague.later()
    assert (there.entry(2), colleague.define("b")(1)) == (None, "b 1")
    target.close()


def test_a_push_asks_no_more_where_another_notebook_has_stored_the_same(tmp_path: Path) -> None:
    source = Cache.sqlite(tmp_path / "source.db")
    Notebook(source, "anna").define("a").map(range(5))
    requests = []
    for who in ("anna", "ben"):
        target, meter = Cache.sqlite(tmp_path / f"{who}.db"), Meter()
        Notebook(target, who).define("a").map(range(5))
        assert transfer(source, target.metered(meter)).kept == 5
        requests.append(meter.requests)
        target.close()
    assert requests[0] == requests[1]
    source.close()


def test_a_row_names_the_last_to_clear_and_forgets_for_all_before_it_grows(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "cache.db"))
    generations = Generations(Clock(0.0))
    first = generations.ensured(store, "f")
    old = first.stamp("a neighbour")
    for n in range(MOST_CLEARED // 2):
        generations.renew_own(store, "f", OfProgram(f"p{n}", (f"code {n}",)))
    assert generations.known(store, "f").covers(old, "f:other:1")
    late = generations.known(store, "f").stamp("a neighbour")
    generations.renew_own(store, "f", OfProgram("last", ("code",)))
    present = generations.known(store, "f")
    assert len(present.cleared) <= MOST_CLEARED
    assert not present.covers(old, "f:other:1")
    assert present.covers(late, "f:other:1")
    row = store.read("f#gen")
    assert row is not None
    assert len(row.gen or "") < 3_500
    assert Generations(Clock(0.0)).known(store, "f") == present
    store.close()


def test_two_that_clear_at_once_both_clear(tmp_path: Path) -> None:
    meanwhile: list[Callable[[], None]] = []

    class Slow(SqliteStore):
        def read(self, key: str, **options: Any) -> Any:
            found = super().read(key, **options)
            if meanwhile:
                meanwhile.pop()()
            return found

    store = Slow(str(tmp_path / "cache.db"))
    one, other = Generations(Clock(0.0)), Generations(Clock(0.0))
    old = one.ensured(store, "f")
    meanwhile.append(lambda: other.renew_own(store, "f", OfProgram("ben", ("b",))))
    one.renew_own(store, "f", OfProgram("anna", ("a",)))
    present = one.known(store, "f")
    assert present.clears == 2
    assert [present.covers(old.stamp(who), "f:-:1") for who in ("anna", "ben", "carl")] == [False, False, True]
    meanwhile.append(lambda: other.renew(store, "f"))
    one.renew_own(store, "f", OfProgram("anna", ("a",)))
    assert not one.known(store, "f").covers(old.stamp("carl"), "f:-:1")
    store.close()


def test_an_answer_that_is_behind_does_not_undo_a_clear_of_this_process(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "cache.db"))
    clock = Clock(0.0)
    generations = Generations(clock)
    old = generations.ensured(store, "f")
    behind = store.read_many(["#gen", "f#gen"])
    generations.renew_own(store, "f", OfProgram("anna", ()))
    clock.now += 60
    store.read_many = lambda keys, **_: {key: behind[key] for key in keys}  # type: ignore[method-assign]
    assert not generations.known(store, "f").covers(old.stamp("anna"), "f:-:1")
    assert generations.last["f"][1] > clock.now, "it is not asked for again with each call"
    store.close()


def test_a_clear_of_all_while_another_thread_clears_its_own_is_not_undone(tmp_path: Path) -> None:
    clock = Clock(0.0)

    class Slow(SqliteStore):
        def write(self, *args: Any, **options: Any) -> Any:
            answer = super().write(*args, **options)
            if meanwhile:
                clock.now += 1
                meanwhile.pop()()
                clock.now += 1
            return answer

    meanwhile: list[Callable[[], None]] = []
    store = Slow(str(tmp_path / "cache.db"))
    generations = Generations(clock)
    old = generations.ensured(store, "f")
    meanwhile.append(lambda: generations.renew(store, "f"))
    generations.renew_own(store, "f", OfProgram("anna", ()))
    assert not generations.known(store, "f").covers(old.stamp("ben"), "f:-:1")
    store.close()


def test_a_clear_while_another_thread_takes_in_what_it_has_read_is_not_undone(tmp_path: Path) -> None:
    store = SqliteStore(str(tmp_path / "cache.db"))
    clock = Clock(0.0)
    generations = Generations(clock)
    old = generations.ensured(store, "f")
    clear = threading.Thread(target=generations.renew_own, args=(store, "f", OfProgram("anna", ())))

    class Rows(dict[str, Any]):
        """Where the other thread gets its turn at the worst moment."""

        def get(self, key: str, default: Any = None) -> Any:
            found = super().get(key, default)
            if key == "f" and clear.ident is None:
                clock.now += 1
                clear.start()
                clear.join(0.5)  # it may have to wait for this thread
            return found

    generations._rows = Rows(generations._rows)
    generations.confirmed(store, "f")
    clear.join()
    assert not generations.known(store, "f").covers(old.stamp("anna"), "f:-:1")
    store.close()


@pytest.mark.parametrize(
    ("gen", "counts"),
    [
        ("a.f", True),  # from before there were programs
        ("a.f.0.ben", True),
        ("a.f.3.", True),
        ("a.f.0.anna", False),
        ("a.f.2.anna", False),
        ("a.f.3.anna", True),
        ("a.f.9.anna", True),
        ("a.g.9.anna", False),
        ("b.f.9.anna", False),
        ("a.f.9.anna.more", True),
        ("a.f.x.anna", False),
        (f"a.f.{'9' * 5000}.anna", False),
        ("", False),
        (None, False),
        ("rubbish", False),
    ],
)
def test_which_stamps_count(gen: str | None, counts: bool) -> None:
    generation = Generation("a.f", 3, {"anna": 3})
    assert generation.covers(gen, "f:code:arguments") is counts
    assert not generation.covers("a.f.2.ben", "f:code:arguments", "anna"), "for her all is over that is older"


def test_a_stamp_is_what_it_says() -> None:
    assert Generation("a.f") == "a.f" == Generation("a.f").stamp()
    assert Generation("a.f", 3) == "a.f.3." == Generation("a.f", 3).stamp()
    assert Generation("a.f", 3).stamp("anna") == "a.f.3.anna"
    assert Stamp.of("a.f.3.anna") == ("a.f", 3, "anna")
    assert is_no_later("a.f.3.anna", "a.f.3.ben")
    assert not is_no_later("a.f.4.anna", "a.f.3.ben")
    assert not is_no_later("a.g.3.anna", "a.f.3.ben")
