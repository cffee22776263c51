"""What a decorated function is to others: hints, names of arguments, depth of recursion, and counts that add up."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import typing
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache, StoreUnavailableError, dynamo_cached

if TYPE_CHECKING:
    from pathlib import Path


def plain(x: int, *, name: str = "") -> list[str]:
    return [name] * x


async def waiting(x: int) -> dict[str, int]:
    return {"x": x}


class Station:
    def method(self, day: int) -> float:
        return float(day)

    @classmethod
    def of_class(cls, day: int) -> float:
        return float(day)

    @staticmethod
    def alone(day: int) -> float:
        return float(day)


class CachedStation:
    method = dynamo_cached(Station.method)
    of_class = dynamo_cached(Station.__dict__["of_class"])
    alone = dynamo_cached(Station.__dict__["alone"])


@pytest.mark.parametrize(
    ("decorated", "original"),
    [
        (dynamo_cached(plain), plain),
        (dynamo_cached(waiting), waiting),
        (CachedStation.method, Station.method),
        (CachedStation().method, Station().method),
        (CachedStation.of_class, Station.of_class),
        (CachedStation().alone, Station.alone),
    ],
    ids=["function", "async", "method of a class", "bound", "classmethod", "staticmethod"],
)
def test_type_hints_are_those_of_the_function(decorated: Any, original: Any) -> None:
    assert typing.get_type_hints(decorated) == typing.get_type_hints(original)
    assert decorated.__annotations__ == original.__annotations__
    assert inspect.get_annotations(decorated) == inspect.get_annotations(original)
    assert inspect.signature(decorated, eval_str=True) == inspect.signature(original, eval_str=True)


def test_type_hints_stay_those_of_the_function_when_its_class_is_asked_for_its_own() -> None:
    for decorated, original in ((dynamo_cached(plain), plain), (CachedStation().method, Station().method)):
        for kind in type(decorated).__mro__[:-1]:
            assert not inspect.get_annotations(kind)
        assert typing.get_type_hints(decorated) == typing.get_type_hints(original)
    other = dynamo_cached(lambda x: x)
    functools.update_wrapper(other, plain)
    assert other.__annotations__ == other.__wrapped__.__annotations__ == plain.__annotations__


def test_it_can_be_registered_by_its_hints_and_wrapped_by_others() -> None:
    @functools.singledispatch
    def kind(thing: object) -> str:
        return "object"

    @kind.register
    @dynamo_cached
    def _(thing: int) -> str:
        return "int"

    assert [kind(1), kind("")] == ["int", "object"]
    wrapped = functools.wraps(dynamo_cached(plain))(lambda *args, **kwargs: None)
    assert typing.get_type_hints(wrapped) == typing.get_type_hints(plain)


NAMES = ["self", "cls", "args", "kwargs", "memo", "func", "function", "instance", "wrapped", "key", "step", "story"]


@pytest.mark.parametrize("name", NAMES)
def test_an_argument_may_have_any_name(cache: Cache, name: str) -> None:
    @dynamo_cached(cache=cache, code="off", name=name)
    def collect(**given: int) -> dict[str, int]:
        return given

    given = {name: 1}
    assert collect(**given) == given
    assert collect.cache_key(**given) != collect.cache_key()
    entry = collect.entry(**given)
    assert entry is not None
    assert entry.value == given
    assert collect.recompute(**given) == given
    assert collect.explain(**given).state == "live"
    collect.invalidate(**given)
    assert collect.entry(**given) is None


def test_an_instance_may_be_given_by_its_name(cache: Cache) -> None:
    class Place:
        @dynamo_cached(cache=cache, ignore="self", code="off")
        def day(self, number: int) -> int:
            return number

    assert Place.day(self=Place(), number=3) == 3
    assert Place().day(3) == 3
    assert Place().day.cache_info().hits == 1


def test_arguments_of_async_functions_may_have_any_name(cache: Cache) -> None:
    @dynamo_cached(cache=cache, code="off")
    async def collect(**given: int) -> dict[str, int]:
        return given

    async def calls() -> None:
        assert await collect(self=1, memo=2) == {"self": 1, "memo": 2}
        assert (await collect.explain(self=1, memo=2)).state == "live"
        await collect.invalidate(self=1, memo=2)
        assert await collect.entry(self=1, memo=2) is None

    asyncio.run(calls())


def test_a_recursive_function_gets_as_deep_as_three_frames_for_each_level_allow(cache: Cache) -> None:
    @dynamo_cached(cache=cache, version=1)
    def down(n: int) -> int:
        return 0 if n == 0 else 1 + down(n - 1)

    down(0)
    levels = (sys.getrecursionlimit() - len(inspect.stack()) - 100) // 3
    assert down(levels) == levels
    assert down.cache_info().computed == levels + 1


@pytest.mark.parametrize("on_error", ["compute", "raise"])
def test_each_call_is_a_hit_or_a_miss_whatever_the_store_does(tmp_path: Path, on_error: Any) -> None:
    folder = tmp_path / "cache.db"
    folder.mkdir()  # where the file should be

    @dynamo_cached(cache=Cache.sqlite(folder), on_error=on_error)
    def double(x: int) -> int:
        return 2 * x

    for x in range(8):  # so many that the store is left alone
        try:
            assert double(x) == 2 * x
        except StoreUnavailableError:
            assert on_error == "raise"
    folder.rmdir()
    info = double.cache_info()
    assert (info.hits + info.misses, info.errors) == (8, 3)
    assert info.computed == (8 if on_error == "compute" else 0)


def test_a_call_that_just_computes_is_a_miss(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    one = dynamo_cached(cache=cache)(lambda: 1)
    monkeypatch.setenv("DYNMEMO_DISABLE", "1")
    assert [one(), one()] == [1, 1]
    assert (one.cache_info().misses, one.cache_info().computed) == (2, 2)
    monkeypatch.delenv("DYNMEMO_DISABLE")
    monkeypatch.setenv("DYNMEMO_URL", "no cache")
    other = dynamo_cached(lambda: 1)
    assert other() == 1
    assert other.cache_info().misses == 1
