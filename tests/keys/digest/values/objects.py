from __future__ import annotations

import argparse
import copyreg
import dataclasses
import enum
import functools
import random
import string
from collections import OrderedDict, namedtuple
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple


class Point:
    def __init__(self, x: object, y: object = None) -> None:
        self.x = x
        self.y = y

    def distance(self) -> object:
        return self.x


class OtherPoint(Point):
    pass


class Slotted:
    __slots__ = ("x", "y")

    def __init__(self, x: object) -> None:
        self.x = x


class Both(Slotted):
    def __init__(self, x: object, z: object) -> None:
        super().__init__(x)
        self.z = z


@dataclasses.dataclass
class Record:
    a: int
    b: object = None


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenRecord:
    a: int
    b: object = None


class Place(NamedTuple):
    lat: float
    lon: float


Spot = namedtuple("Spot", "lat lon")


class Color(enum.Enum):
    RED = 1
    GREEN = 2


class Size(enum.IntEnum):
    SMALL = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Words(list[str]):
    pass


class Number(int):
    pass


class Text(str):
    __slots__ = ()


class Bag(dict[str, int]):
    pass


class Steps(OrderedDict[str, int]):
    pass


class Tags(frozenset[str]):
    pass


class Moment(datetime):
    pass


class Folder(PurePosixPath):
    pass


class Custom:
    """Pickled by a state of its own."""

    def __init__(self, x: object) -> None:
        self.x = x
        self.scratch = object()

    def __getstate__(self) -> object:
        return {"x": self.x}

    def __setstate__(self, state: Any) -> None:
        self.__init__(state["x"])  # type: ignore[misc]


class Pair:
    """Whose state happens to be two dicts."""

    def __init__(self, *state: object) -> None:
        self.state = state

    def __getstate__(self) -> object:
        return self.state

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.state = state


class Reduced:
    def __init__(self, x: object) -> None:
        self.x = x

    def __reduce__(self) -> tuple[object, ...]:
        return Reduced, (self.x,)


class Registered:
    """Pickled by a function that copyreg knows."""

    def __init__(self, x: object) -> None:
        self.x = x


copyreg.pickle(Registered, lambda value: (Registered, (value.x,)))


class Named:
    def __init__(self, x: object) -> None:
        self.x = x
        self.noise = object()

    def __dynmemo_digest__(self) -> object:
        return self.x


class OtherNamed(Named):
    pass


def function(x: object) -> object:
    return x


def other_function(x: object) -> object:
    return [x]


def _with(value: Any, **attributes: object) -> Any:
    vars(value).update(attributes)
    return value


def ring(*names: str) -> Point:
    first = last = Point(names[0])
    for name in names[1:]:
        last.y = last = Point(name)
    last.y = first
    return first


def family() -> Point:
    parent = Point("parent")
    parent.y = [Point("child", parent), Point("child", parent), {"self": parent}]
    return parent


def endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


def different() -> dict[str, object]:
    return {
        "argparse": argparse.Namespace(a=1),
        "template": string.Template("a"),
        "other template": string.Template("b"),
        "random": random.Random(1),
        "list in itself": endless(),
        "list in a list in itself": [endless()],
        "~point": Point(1),
        "~point of True": Point(True),
        "~point with y": Point(1, 2),
        "~other point": OtherPoint(1),
        "~point with more": _with(Point(1), z=None),
        "~slotted": Slotted(1),
        "~slots and dict": Both(1, 2),
        "~slots and dict, crossed": Both(2, 1),
        "~record": Record(1),
        "~record with b": Record(1, 2),
        "~record with more": _with(Record(1), c=3),
        "~frozen record": FrozenRecord(1),
        "~place": Place(1, 2),
        "~spot": Spot(1, 2),
        "~red": Color.RED,
        "~green": Color.GREEN,
        "~small": Size.SMALL,
        "~read": Access.READ,
        "~read and write": Access.READ | Access.WRITE,
        "~words": Words(["a"]),
        "~words with attribute": _with(Words(["a"]), a=1),
        "~number": Number(1),
        "~text": Text("1"),
        "~bag": Bag(a=1, b=2),
        "~bag in other order": Bag(b=2, a=1),
        "~steps": Steps(a=1, b=2),
        "~steps in other order": Steps(b=2, a=1),
        "~tags": Tags(["a"]),
        "~moment": Moment(2024, 2, 29),
        "~folder": Folder("a"),
        "~custom": Custom(1),
        "~other custom": Custom(2),
        "~state of two dicts": Pair({"a": 1}, {"b": 2}),
        "~state of two other dicts": Pair({"a": 1, "b": 2}, {}),
        "~state of nothing": Pair(),
        "~reduced": Reduced(1),
        "~other reduced": Reduced([1]),
        "~registered with copyreg": Registered(1),
        "~by its own word": Named(1),
        "~by the word of its base": OtherNamed(1),
        "~ring": ring("a", "b", "c"),
        "~ring from b": ring("b", "c", "a"),
        "~smaller ring": ring("a", "b"),
        "~ring, other order": ring("a", "c", "b"),
        "~ring, twice around": ring("a", "b", "c", "a", "b", "x"),
        "~family": family(),
        "~function": function,
        "~other function": other_function,
        "~cached function": functools.lru_cache(function),
        "~other cached function": functools.lru_cache(other_function),
        "~partial": functools.partial(function, 1),
        "~partial of 2": functools.partial(function, 2),
        "~partial by name": functools.partial(function, x=1),
        "~bound method": Point(1).distance,
        "~method of another": Point(2).distance,
        "~class": Point,
        "~other class": OtherPoint,
        "~built-in function": len,
        "~other built-in function": max,
        "~built-in class": int,
        "~method of a class": str.upper,
        "~method of a text": "a".upper,
        "~method of another text": "b".upper,
        "~class method": dict.fromkeys,
        "~generic alias": list[int],
        "~union": int | None,
    }


def equal() -> dict[str, tuple[object, ...]]:
    point = Point(1)
    return {
        "points": (Point(1, [2]), Point(1, [2]), _with(_with(Point.__new__(Point), y=[2]), x=1)),
        "shared and separate objects": ([point, point], [Point(1), Point(1)]),
        "rings": (ring("a", "b"), ring("a", "b")),
        "rings of equal parts": (family(), family()),
        "shared and separate in a family": (family(), _family_with_one_child()),
        "sets of objects": (frozenset([Point(1), Point(2)]), frozenset([Point(2), Point(1)])),
        "tags in any order": (Tags(["a", "b"]), Tags(["b", "a"])),
        "custom state": (Custom([1]), Custom([1])),
        "own word": (Named([1]), Named([1])),
    }


def _family_with_one_child() -> Point:
    parent = Point("parent")
    child = Point("child", parent)
    parent.y = [child, child, {"self": parent}]
    return parent
