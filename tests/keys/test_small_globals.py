"""Small plain data that a function reads is compared object by object, and digested only where one is another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.keys import places
from dynmemo.keys.identity import CodeIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATA: Any = None


def reads() -> Any:
    return DATA


class Asked:
    """An object that must not be compared."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("it was compared")

    def __hash__(self) -> int:
        return 1


@pytest.fixture(autouse=True)
def data() -> Iterator[None]:
    yield
    globals()["DATA"] = None


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each time that the content of a place is digested."""
    found: list[str] = []
    token = places.token

    def counted(place: places.Place) -> bytes:
        found.append(place.name)
        return token(place)

    monkeypatch.setattr(places, "token", counted)
    return found


def known(value: Any) -> CodeIdentity:
    globals()["DATA"] = value
    identity = CodeIdentity(reads)
    identity.current()
    return identity


SMALL = [
    [1, 2.5, "three", None],
    {"rates": {"a": 1.0, "b": [1, 2]}, "names": ("x", ["y"])},
    {1, 2, 3},
    [(1, [2]), {"k": {4, 5}}],
]


@pytest.mark.parametrize("value", SMALL, ids=repr)
def test_small_data_that_stays_is_not_digested_again(value: object, digests: list[str]) -> None:
    identity = known(value)
    before = identity.current()
    digests.clear()
    assert {identity.current() for _ in range(5)} == {before}
    assert digests == []


def _set(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        for step in path[:-1]:
            value = value[step]
        value[path[-1]] = to

    return change


def _reorder(value: dict[str, Any]) -> None:
    value["a"] = value.pop("a")


CHANGES: list[tuple[str, Callable[[], Any], Callable[[Any], object]]] = [
    ("a value", lambda: {"a": 1, "b": 2}, _set("a", to=3)),
    ("a nested value", lambda: {"a": {"b": [1, 2]}}, _set("a", "b", 0, to=7)),
    ("a list in a tuple", lambda: [(1, [2])], lambda value: value[0][1].append(3)),
    ("an equal float", lambda: {"a": 1}, _set("a", to=1.0)),
    ("an equal bool", lambda: [1, 0], _set(0, to=True)),
    ("an equal key of another type", lambda: {1: "x"}, lambda value: (value.pop(1), value.update({1.0: "x"}))),
    ("negative zero", lambda: [0.0], _set(0, to=-0.0)),
    ("the order", lambda: {"a": 1, "b": 2}, _reorder),
    ("the order of a list", lambda: [1, 2, 3], lambda value: value.reverse()),
    ("a longer list", lambda: [1], lambda value: value.append(1)),
    ("a shorter list", lambda: [1, 1], lambda value: value.pop()),
    ("a list emptied", lambda: [1, 1], lambda value: value.clear()),
    ("a longer set", lambda: {1}, lambda value: value.add(2)),
    ("another set", lambda: {1, 2}, lambda value: (value.discard(1), value.add(3))),
    ("an equal tuple of another type", lambda: {"a": (1, 2)}, _set("a", to=[1, 2])),
    ("a leaf that can be changed", lambda: [bytearray(b"a")], lambda value: value[0].append(1)),
    ("one that is deep", lambda: [[[[[[1]]]]]], lambda value: value[0][0][0][0][0].append(2)),
    ("one of many", lambda: dict.fromkeys(range(2_000), 1), _set(1_999, to=2)),
]


@pytest.mark.parametrize(("make", "change"), [one[1:] for one in CHANGES], ids=[one[0] for one in CHANGES])
def test_every_change_in_small_data_counts(make: Callable[[], Any], change: Callable[[Any], object]) -> None:
    identity = known(make())
    before = identity.current()
    assert identity.current() == before
    change(DATA)
    after = identity.current()
    assert after != before
    assert after == known(DATA).current()


def test_equal_data_in_its_place_is_digested_once(digests: list[str]) -> None:
    identity = known({"a": [1, 2]})
    before = identity.current()
    globals()["DATA"] = {"a": [1, 2]}
    digests.clear()
    assert identity.current() == before
    assert len(digests) == 1
    assert identity.current() == before
    assert len(digests) == 1


def test_data_that_has_come_back_is_what_it_was() -> None:
    identity = known([1, 2])
    before = identity.current()
    DATA.append(3)
    assert identity.current() != before
    DATA.pop()
    assert identity.current() == before


def test_objects_in_small_data_are_not_compared() -> None:
    identity = known({"a": Asked()})
    assert identity.current() == identity.current()
