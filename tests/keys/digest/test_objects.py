"""Plain objects: registered digests, digests of their own, states that are not stable, and cycles."""

from __future__ import annotations

import datetime as dt
import enum
import functools
import os
import pickle
import random
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.keys import walk
from dynmemo.keys.digest import LARGEST, NoStableContent, digest, register_digest
from tests.keys.digest.values.objects import Custom, Point, family, ring
from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _as_registered_before() -> Iterator[None]:
    """What a test registers is gone after it: in which order they run is not known."""
    before = dict(walk._registered)
    yield
    walk._registered.clear()
    walk._registered.update(before)
    walk._forget()


class Connection:
    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: object = iter([])


class PooledConnection(Connection):
    pass


class Client(Connection):
    def __dynmemo_digest__(self) -> object:
        return self.url


class Counting:
    """Whose state says how often it was taken."""

    def __getstate__(self) -> dict[str, int]:
        return {"taken": time.perf_counter_ns()}


class Forgetful:
    """Which comes back from pickle as another one."""

    def __init__(self) -> None:
        self.token = os.urandom(8)

    def __reduce__(self) -> tuple[object, ...]:
        return Forgetful, (), {"token": self.token}

    def __setstate__(self, state: object) -> None:
        pass


class Moment(dt.datetime):
    """To which attributes can be added, of which pickle knows nothing."""


class Price(Decimal):
    """The same."""


class Settings(dict[str, object]):
    """Whose items are its attributes."""

    def __init__(self, **items: object) -> None:
        super().__init__(items)
        self.__dict__ = self


class Lazy:
    """Which says what it is made of, and remembers more."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.content: list[str] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return Lazy, (self.path,)


class Stable:
    """Which counts how often it is pickled and rebuilt."""

    rebuilt = 0

    def __init__(self, x: object) -> None:
        self.x = x

    def __getstate__(self) -> dict[str, object]:
        return {"x": self.x}

    def __setstate__(self, state: dict[str, object]) -> None:
        Stable.rebuilt += 1
        self.__init__(**state)  # type: ignore[misc]


class Unpicklable:
    """Which has content, but cannot be rebuilt."""

    def __init__(self, x: object) -> None:
        self.x = x

    def __getstate__(self) -> dict[str, object]:
        return {"x": self.x}

    def __setstate__(self, state: object) -> None:
        raise NotImplementedError


class Large:
    """Whose pickle is more than is looked at."""

    def __getstate__(self) -> tuple[object, ...]:
        return time.perf_counter_ns(), b"x" * (LARGEST + 1)


def test_a_registered_digest_stands_for_the_object_and_its_subclasses() -> None:
    with pytest.raises(NoStableContent, match=r"`value\.calls` is an iterator"):
        digest(Connection("a"))
    register_digest(Connection, lambda connection: ("url", connection.url))
    assert digest(Connection("a")) == digest(Connection("a"))
    assert digest(PooledConnection("a")) == digest(PooledConnection("a"))
    assert len({digest(value) for value in (Connection("a"), Connection("b"), PooledConnection("a"), Client("a"))}) == 4


def test_the_nearest_word_counts() -> None:
    register_digest(Connection, lambda connection: "base")
    assert digest(Client("a")) != digest(Client("b"))
    register_digest(PooledConnection, lambda connection: connection.url)
    assert digest(PooledConnection("a")) != digest(PooledConnection("b"))
    register_digest(PooledConnection, lambda connection: "second")
    assert digest(PooledConnection("a")) == digest(PooledConnection("b"))


def test_a_registered_digest_is_heard_before_a_refusal() -> None:
    class Cursor:
        def __iter__(self) -> Cursor:
            return self

        def __next__(self) -> int:
            raise StopIteration

    with pytest.raises(NoStableContent, match="an iterator"):
        digest(Cursor())
    register_digest(Cursor, lambda _: "cursor")
    assert digest(Cursor()) == digest(Cursor())


@pytest.mark.parametrize("type_", [int, str, list, dict, object, type(None)])
def test_built_in_types_keep_their_digest(type_: type) -> None:
    with pytest.raises(TypeError, match="register a subclass"):
        register_digest(type_, lambda _: 1)


def test_only_classes_can_be_registered() -> None:
    with pytest.raises(TypeError, match=r"takes a class first, not an object of type builtins\.str"):
        register_digest("Connection", lambda _: 1)  # type: ignore[arg-type]


def _raise(_: object) -> object:
    raise ZeroDivisionError("secret")


@pytest.mark.parametrize(
    ("function", "reason"),
    [(_raise, "whose digest raised builtins.ZeroDivisionError"), (lambda it: it, "whose digest is the object itself")],
)
def test_a_digest_that_fails_is_refused_without_its_message(function: Callable[[Any], object], reason: str) -> None:
    class Thing:
        pass

    register_digest(Thing, function)
    with pytest.raises(NoStableContent) as caught:
        digest({"a": Thing()})
    assert caught.value.path == 'value["a"]'
    assert caught.value.reason.endswith(reason)
    assert "secret" not in str(caught.value)


def test_what_a_registered_digest_returns_may_be_the_culprit() -> None:
    class Thing:
        def __dynmemo_digest__(self) -> object:
            return {"calls": iter([])}

    with pytest.raises(NoStableContent) as caught:
        digest(Thing())
    assert caught.value.path == 'value["calls"]'


@pytest.mark.parametrize("make", [Counting, Forgetful])
def test_an_object_that_pickle_changes_is_refused(make: Callable[[], object]) -> None:
    for _ in range(2):
        with pytest.raises(NoStableContent) as caught:
            digest({"a": [make()]})
        assert caught.value.path == 'value["a"][0]'
        assert caught.value.reason.endswith("whose content changes when it is pickled and read back")


def test_an_object_in_a_cycle_that_pickle_changes_is_refused() -> None:
    forgetful = Forgetful()
    inner = Point(forgetful)
    inner.y = inner
    with pytest.raises(NoStableContent, match="content changes"):
        digest([inner])


@pytest.mark.parametrize("make", [lambda: Moment(2024, 1, 1), lambda: Price("1.0")])
def test_attributes_that_pickle_does_not_know_of_count(make: Callable[[], Any]) -> None:
    def tagged(tag: int) -> object:
        value = make()
        value.tag = tag
        return value

    assert digest(tagged(1)) == digest(tagged(1)) != digest(tagged(2))
    assert digest(make()) != digest(tagged(1))


def test_a_dict_that_is_its_own_attributes_counts_by_its_items() -> None:
    settings = Settings(rate=2, more=Settings(a=1))
    copy = pickle.loads(pickle.dumps(settings))
    assert digest(settings) == digest(copy) == digest(Settings(rate=2, more=Settings(a=1)))
    assert len({digest(Settings(**items)) for items in ({}, {"a": 1}, {"a": 2}, {"b": 1})}) == 4


def test_an_object_that_says_what_it_is_made_of_counts_by_that() -> None:
    loaded = Lazy("here")
    loaded.content = ["a"]
    assert digest(loaded) == digest(Lazy("here")) != digest(Lazy("there"))


def test_only_the_first_object_of_a_class_is_rebuilt() -> None:
    Stable.rebuilt = 0
    for x in range(5):
        digest([Stable(x), Stable(x)])
    assert Stable.rebuilt == 1


@pytest.mark.parametrize("make", [lambda: Unpicklable(1), lambda: Custom(lambda: 1)])
def test_an_object_that_cannot_be_rebuilt_or_only_by_value_keeps_its_digest(make: Callable[[], object]) -> None:
    value = make()
    assert digest(value) == digest(value)


def test_an_object_too_large_to_be_rebuilt_is_trusted() -> None:
    assert digest(Large()) != digest(Large())


def test_the_original_is_not_touched_by_the_look_at_its_copy() -> None:
    np = pytest.importorskip("numpy")

    class Doubling:
        def __init__(self) -> None:
            self.table = np.arange(100_000.0)

        def __getstate__(self) -> dict[str, object]:
            return {"table": self.table}

        def __setstate__(self, state: dict[str, Any]) -> None:
            state["table"] *= 2
            self.table = state["table"]

    value = Doubling()
    before = digest(value)
    assert value.table[1] == 1.0
    assert digest(value) == before


def test_the_look_at_a_copy_leaves_the_methods_of_the_class_as_they_are() -> None:
    class Local:
        def __getstate__(self) -> dict[str, object]:
            return {"add": lambda x: x + 1}

    before = dict(vars(Local))
    assert digest(Local()) == digest(Local())
    assert dict(vars(Local)) == before


def test_tblib_which_dask_brings_along_changes_no_digest_of_an_exception() -> None:
    errors = "[ValueError('x'), KeyError(1, 2), ExceptionGroup('g', [OSError(1)])]"
    show = f"from dynmemo.keys.digest import digest; print(digest({errors}))"
    install = "import tblib.pickling_support; tblib.pickling_support.install()\n"
    assert printed("-c", show) == printed("-c", install + show)


def test_many_objects_that_know_each_other_all_end() -> None:
    people = [Point(name) for name in range(60)]
    for person in people:
        person.y = people
    assert digest(people[0]) == digest(people[0]) != digest(people[1])


def test_shared_objects_cost_nothing() -> None:
    value: object = [1, 2, 3]
    for _ in range(300):
        value = [value, value]
    assert digest(value) == digest(value)


def test_cycles_are_told_apart_beyond_the_first_steps() -> None:
    assert digest(ring(*"aaaaaaaab")) != digest(ring(*"aaaaaaaac"))
    assert digest(ring("a", "a")) == digest(ring("a", "a"))
    assert digest([family(), 1]) != digest([family(), 2])


@pytest.mark.parametrize("seed", range(20))
def test_lists_that_lead_to_each_other_in_any_way_have_a_digest(seed: int) -> None:
    def made() -> list[object]:
        chance = random.Random(seed)
        lists: list[list[object]] = [[number] for number in range(6)]
        for _ in range(14):
            chance.choice(lists).append(chance.choice(lists))
        return lists[0]

    assert digest(made()) == digest(made())


def test_a_circle_may_be_met_again_beside_what_it_was_found_through() -> None:
    def made(last: str) -> list[object]:
        inner: list[object] = []
        outer: list[object] = [inner, last]
        root: list[object] = [outer, [inner]]
        inner.append(outer)
        outer.append(root)
        return root

    assert digest(made("a")) == digest(made("a")) != digest(made("b"))


def test_a_cycle_within_a_set_has_no_order() -> None:
    def club(names: str) -> Point:
        head = Point("club")
        head.y = {Point(name, head) for name in names}
        return head

    assert digest(club("abc")) == digest(club("cba")) != digest(club("abd"))


def test_classes_with_the_same_name_count_by_their_code() -> None:
    def make(value: int) -> type:
        class Thing:
            def answer(self) -> int:
                return value

        return Thing

    assert digest(make(1)()) == digest(make(1)())
    assert digest(make(1)()) != digest(make(2)())


def test_a_function_wrapped_under_its_name_counts_by_its_code() -> None:
    def make(value: int) -> object:
        @functools.lru_cache
        def answer() -> int:
            return value

        return answer

    assert digest(make(1)) == digest(make(1)) != digest(make(2))


def test_members_of_an_enum_count_by_name_and_value() -> None:
    def make(value: int) -> enum.Enum:
        return enum.Enum("Level", {"LOW": value, "HIGH": 3}).LOW  # type: ignore[attr-defined, no-any-return]

    assert digest(make(1)) == digest(make(1)) != digest(make(2))


def test_members_that_stand_for_bare_objects_count_by_name() -> None:
    def make() -> type[enum.Enum]:
        class Given(enum.Enum):
            NOTHING = object()
            ANYTHING = object()  # noqa: PIE796

        return Given

    first, second = make()
    assert digest(first) != digest(second)
    assert [digest(one) for one in make()] == [digest(first), digest(second)]


def test_thousands_of_classes_do_not_pile_up() -> None:
    from dynmemo.keys import walk

    for number in range(walk._MOST_LEARNED + 10):
        digest(type(f"Thing{number}", (Point,), {})(number))
    assert len(walk.READERS) < walk._MOST_LEARNED + 10
    assert digest([1]) == digest([1])
