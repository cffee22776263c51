"""Functions that another decorator has wrapped already: `functools.wraps` gives them a signature that is not theirs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import InvalidOptionError, dynamo_cached

if TYPE_CHECKING:
    from dynmemo import Cache


def add(x: int, y: int = 1) -> int:
    return x + y


def test_the_defaults_of_a_wrapper_that_names_its_parameters_count(cache: Cache) -> None:
    @functools.wraps(add)
    def wrapper(x: int, y: int = 5) -> int:
        return add(x, y)

    cached = dynamo_cached(cache=cache)(wrapper)
    assert [cached(1, 1), cached(1), cached(1, 5)] == [2, 6, 6]
    assert cached.cache_info().computed == 2


def test_a_default_that_an_open_wrapper_fills_in_is_not_taken_for_that_of_the_function(cache: Cache) -> None:
    @functools.wraps(add)
    def wrapper(*args: int, **kwargs: int) -> int:
        kwargs.setdefault("y", 5)
        return add(*args, **kwargs)

    cached = dynamo_cached(cache=cache)(wrapper)
    assert [cached(1, y=1), cached(1), cached(x=1)] == [2, 6, 6]
    assert cached.cache_info().computed == 2


def test_a_wrapper_may_give_arguments_itself(cache: Cache) -> None:
    @functools.wraps(add)
    def wrapper(*args: Any, **kwargs: Any) -> int:
        return add(10, *args, **kwargs)

    cached = dynamo_cached(cache=cache)(wrapper)
    assert [cached(1), cached(y=2), cached(), cached(1)] == [11, 12, 11, 11]
    assert cached.cache_info().computed == 3


def test_the_parameters_of_the_function_inside_can_be_ignored(cache: Cache) -> None:
    @functools.wraps(add)
    def wrapper(*args: int, **kwargs: int) -> int:
        return add(*args, **kwargs)

    cached = dynamo_cached(cache=cache, ignore=["y"])(wrapper)
    assert cached.cache_key(1, y=2) == cached.cache_key(x=1, y=3) == cached.cache_key(1)


def test_a_function_without_a_signature_is_refused_at_decoration(cache: Cache) -> None:
    with pytest.raises(InvalidOptionError, match=r"max\(\): its parameters cannot be told"):
        dynamo_cached(cache=cache)(max)


def test_dir_names_what_a_decorated_function_can_do(cache: Cache) -> None:
    class Station:
        @dynamo_cached(cache=cache)
        def forecast(self) -> int:
            return 1

    @dynamo_cached(cache=cache)
    async def later() -> int:
        return 1

    offered = {
        "cache_info",
        "cache_clear",
        "cache_key",
        "cache_parameters",
        "invalidate",
        "recompute",
        "entry",
        "explain",
    }
    for decorated in (dynamo_cached(cache=cache)(add), later, Station.forecast, Station().forecast):
        assert offered <= set(dir(decorated))
        assert {"__call__", "__wrapped__", "__doc__"} <= set(dir(decorated))
        assert not [name for name in dir(decorated) if name.startswith("_self")]
