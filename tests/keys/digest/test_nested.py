"""Equal if and only if equal: nested built-in values, held against a definition that is read at a glance."""

from __future__ import annotations

import math
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dynmemo.keys.digest import digest, digest_arguments

# Few enough that two values drawn apart are often equal or nearly so.
SCALARS = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        -1,
        2**63,
        -(2**70),
        0.0,
        -0.0,
        1.0,
        math.nan,
        1j,
        "",
        "1",
        "a",
        "aa",
        "é",
        b"",
        b"1",
        b"a",
    ]
)
KEYS = st.sampled_from([None, 1, 1.5, "", "1", "a", b"a", (), (1,), ("a", 1), frozenset(), frozenset([1])])


def _nested(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(parts, max_size=3)
    return st.one_of(lists, lists.map(tuple), st.dictionaries(KEYS, parts, max_size=3), st.sets(KEYS, max_size=3))


VALUES = st.recursive(SCALARS, _nested, max_leaves=8)
WILD = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers()),
        *(
            st.text(st.characters()),
            st.binary(),
            st.dates(),
            st.timedeltas(),
            st.decimals(),
            st.fractions(),
            st.uuids(),
        ),
    ),
    lambda parts: st.one_of(st.lists(parts), st.lists(parts).map(tuple), st.dictionaries(st.text(), parts)),
)


def content(value: Any) -> object:
    """What makes `value` equal to another: types, and no order of sets."""
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [content(part) for part in value]
    if isinstance(value, dict):
        return "dict", [(content(key), content(part)) for key, part in value.items()]
    if isinstance(value, (set, frozenset)):
        return type(value).__name__, sorted(repr(content(part)) for part in value)
    return type(value).__name__, repr(value)


def rebuilt(value: Any, order: random.Random) -> Any:
    """An equal value that shares nothing, and whose sets were filled in another order."""
    if isinstance(value, (list, tuple)):
        return type(value)([rebuilt(part, order) for part in value])
    if isinstance(value, dict):
        return {rebuilt(key, order): rebuilt(part, order) for key, part in value.items()}
    if isinstance(value, (set, frozenset)):
        return type(value)(order.sample(sorted(value, key=repr), len(value)))
    return value


@given(VALUES, VALUES)
def test_digests_are_equal_if_and_only_if_the_values_are(first: object, second: object) -> None:
    assert (digest(first) == digest(second)) == (repr(content(first)) == repr(content(second)))


@given(WILD, st.randoms(use_true_random=False))
def test_a_value_built_in_another_way_has_the_same_digest(value: object, order: random.Random) -> None:
    assert digest(value) == digest(rebuilt(value, order))


@given(st.lists(SCALARS, min_size=30, max_size=40), st.lists(SCALARS, min_size=30, max_size=40))
def test_long_lists_are_told_apart_like_short_ones(first: list[object], second: list[object]) -> None:
    assert (digest(first) == digest(second)) == (repr(first) == repr(second))
    assert (digest(tuple(first)) == digest(tuple(second))) == (repr(first) == repr(second))


@given(st.lists(st.tuples(st.sampled_from(["a", "aa", "b", ""]), VALUES), max_size=3), st.data())
def test_arguments_are_told_apart_by_name_value_and_order(arguments: list[tuple[str, object]], data: Any) -> None:
    others = data.draw(st.lists(st.tuples(st.sampled_from(["a", "aa", "b", ""]), VALUES), max_size=3))
    same = [(name, repr(content(value))) for name, value in arguments] == [
        (name, repr(content(value))) for name, value in others
    ]
    assert (digest_arguments(arguments) == digest_arguments(others)) == same
    assert digest_arguments(arguments)[0] != digest(arguments)


@given(VALUES)
def test_sharing_makes_no_difference(value: object) -> None:
    order = random.Random(0)
    assert digest([value, {"a": value}]) == digest([rebuilt(value, order), {"a": rebuilt(value, order)}])
