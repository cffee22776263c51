"""Keys of calls with scalars are remembered; a call that was made before has the key that it would have anew."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

import dynmemo.keys.arguments
from dynmemo import dynamo_cached
from dynmemo.keys.arguments import _LONGEST_SPELLED, _MOST_SPELLED, ArgumentKeys

if TYPE_CHECKING:
    import pytest

SCALARS: list[object] = [
    None, True, False, 0, 1, -1, 2**40, 2**70, 0.0, -0.0, 1.0, math.inf, "", "0", "1", "None", "\ud800", "é", "日本",
]  # fmt: skip


def call(x: object, y: object = 1) -> None: ...


def test_scalars_that_differ_have_keys_that_differ_also_when_they_come_again() -> None:
    keys = ArgumentKeys(call, "call")
    first = {keys.key("f", "c", (x, y), {}) for x in SCALARS for y in SCALARS}
    again = {keys.key("f", "c", (x,), {"y": y}) for x in SCALARS for y in SCALARS}
    assert len(first) == len(SCALARS) ** 2
    assert again == first


@given(st.lists(st.tuples(st.sampled_from(SCALARS), st.sampled_from(SCALARS), st.booleans()), max_size=20))
def test_a_key_is_that_of_a_call_made_for_the_first_time(calls: list[tuple[object, object, bool]]) -> None:
    keys = ArgumentKeys(call, "call")
    for x, y, is_named in calls:
        args: tuple[Any, ...] = (x,) if is_named else (x, y)
        kwargs = {"y": y} if is_named else {}
        assert keys.key("f", "c", args, kwargs) == ArgumentKeys(call, "call").key("f", "c", args, kwargs)


def test_a_known_call_gets_the_very_key_until_the_code_is_another() -> None:
    keys = ArgumentKeys(call, "call")
    key = keys.key("f", "c", (1,), {})
    assert keys.key("f", "c", (1,), {}) is key
    assert keys.key("f", "d", (1,), {})[0] == key[0].replace(":c:", ":d:")


def test_what_may_change_is_digested_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = [1]

    @dynamo_cached(version=1)
    def with_list(x: int, rates: list[int] = rates) -> None: ...

    key = with_list.cache_key(1)
    rates.append(2)
    assert with_list.cache_key(1) != key

    @dynamo_cached(version=1)
    def with_scalar(x: int, rate: float = 0.5) -> None: ...

    key = with_scalar.cache_key(1)
    with_scalar.__wrapped__.__defaults__ = (0.7,)
    assert with_scalar.cache_key(1) != key

    class Number(int):
        pass

    assert with_scalar.cache_key(Number(1)) != with_scalar.cache_key(1)


def test_a_default_of_a_keyword_that_was_set_in_place_is_part_of_the_key() -> None:
    @dynamo_cached(version=1)
    def rate(x: int, *, of: int = 1) -> None: ...

    key = rate.cache_key(1)
    (rate.__wrapped__.__kwdefaults__ or {})["of"] = 2
    assert rate.cache_key(1) == rate.cache_key(1, of=2) != key == rate.cache_key(1, of=1)


def test_a_call_that_comes_while_defaults_are_read_anew_has_the_key_of_the_new_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def rate(x: int, of: int = 1) -> None: ...

    keys, given, read = ArgumentKeys(rate, "rate"), [], dynmemo.keys.arguments._signature
    keys.key("f", "c", (1,), {})
    rate.__defaults__ = (2,)

    def meanwhile(*args: Any) -> Any:
        monkeypatch.setattr(dynmemo.keys.arguments, "_signature", read)
        given.append(keys.key("f", "c", (1,), {}))
        return read(*args)

    monkeypatch.setattr(dynmemo.keys.arguments, "_signature", meanwhile)
    assert keys.key("f", "c", (1,), {}) == given[0] == keys.key("f", "c", (1, 2), {})
    assert keys.key("f", "c", (1,), {}) == given[0]


def test_few_and_short_ones_are_remembered() -> None:
    keys = ArgumentKeys(call, "call")
    for n in range(3 * _MOST_SPELLED):
        keys.key("f", "c", (n,), {})
    assert len(keys._spelled) <= _MOST_SPELLED
    keys.key("f", "c", ("x" * _LONGEST_SPELLED,), {})
    assert max(map(len, keys._spelled)) <= _LONGEST_SPELLED
