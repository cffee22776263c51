"""Random values as arguments: another value has another key, a copy and another layout of it the same one."""

from __future__ import annotations

import copy
import datetime
import decimal
import fractions
import pickle
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from dynmemo.keys.digest import digest


class Plain:
    """Attributes and nothing else."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


@dataclass(frozen=True, slots=True)
class Frozen:
    content: Any


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters(), max_size=5)  # lone surrogates too
    | st.binary(max_size=5)
    | st.timedeltas()
    | st.datetimes()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.builds(np.float32, st.floats(width=32, allow_nan=False))
)


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    few = st.lists(inner, max_size=3)
    named = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    return (
        few
        | few.map(tuple)
        | named
        | named.map(lambda attributes: Plain(**attributes))
        | inner.map(Frozen)
        | st.builds(deque, few, st.none() | st.just(9))
        | st.builds(lambda one, n: [one] * n, inner, st.sampled_from([30, 40]))  # long lists are written in another way
    )


VALUES = st.recursive(LEAVES, _containers, max_leaves=8)


def _spelled(value: Any) -> Any:
    """All there is to a value, in a form whose `==` is strict."""
    kind = type(value).__name__
    match value:
        case dict():
            return kind, tuple((name, _spelled(one)) for name, one in sorted(value.items()))
        case Plain():
            return kind, _spelled(vars(value))
        case Frozen():
            return kind, _spelled(value.content)
        case list() | tuple() | deque():
            return kind, getattr(value, "maxlen", None), tuple(map(_spelled, value))
        case datetime.datetime():
            return kind, repr(value), value.fold
        case decimal.Decimal() | fractions.Fraction() | datetime.timedelta():
            return kind, str(value)
        case _:
            return kind, repr(value)


@given(VALUES, VALUES)
@example([1] * 40, [True] * 40)
@example([0.0] * 40, [-0.0] * 40)
@example(["ab", "c"], ["a", "bc"])
@example([[1], 2], [[1, 2]])
@example(2**63, -(2**63))
@example("\ud83d\ude00", "\U0001f600")
@example(decimal.Decimal("1.0"), decimal.Decimal("1.00"))
@example(datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 1, fold=1))
def test_two_values_share_a_digest_if_and_only_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) is (_spelled(one) == _spelled(other))


@given(VALUES)
def test_copies_have_the_same_digest(value: Any) -> None:
    assert digest(pickle.loads(pickle.dumps(value))) == digest(copy.deepcopy(value)) == digest(value)


ARRAYS = arrays_of.arrays(
    st.sampled_from(["?", "i1", "u2", "i4", "u8", "f2", "f4", "f8", "F", "D", "S3", "U2", "M8[D]", "m8[ms]"]),
    arrays_of.array_shapes(max_dims=3, max_side=6),
    fill=st.nothing(),
)


def _layouts(array: Any) -> dict[str, Any]:
    """The same array, laid out in memory in other ways."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return {
        "Fortran": np.asfortranarray(array),
        "every other": wide[..., ::2],
        "backwards": array[::-1].copy()[::-1],
        "transposed": array.T.copy().T,
        "pickled": pickle.loads(pickle.dumps(array)),
    }


@given(ARRAYS)
def test_how_an_array_lies_in_memory_does_not_count(array: Any) -> None:
    assert {name: digest(other) == digest(array) for name, other in _layouts(array).items()} == dict.fromkeys(
        _layouts(array), True
    )


@given(ARRAYS, st.data())
def test_every_element_of_an_array_counts(array: Any, data: st.DataObject) -> None:
    place = tuple(data.draw(st.integers(0, side - 1)) for side in array.shape)
    edited = array.copy()
    edited[place] = data.draw(arrays_of.from_dtype(array.dtype))
    same = edited[place].tobytes() == array[place].tobytes()
    both_nothing = edited[place] != edited[place] and array[place] != array[place]
    assert same or both_nothing or digest(edited) != digest(array)


@given(ARRAYS)
def test_the_type_and_the_shape_of_an_array_count(array: Any) -> None:
    assert digest(array.reshape(1, *array.shape)) != digest(array)
    assert digest(array.view(f"V{array.dtype.itemsize}")) != digest(array)


@given(
    st.lists(
        st.sampled_from([np.arange(3), np.array([0.5, 1, 2]), np.array(["a", "b", None], object)]),
        min_size=1,
        max_size=4,
    )
)
def test_how_a_frame_was_put_together_does_not_count_and_its_columns_do(columns: list[Any]) -> None:
    frame = pd.DataFrame({f"c{number}": column for number, column in enumerate(columns)})
    pieces = pd.concat([frame[[name]].copy() for name in frame], axis=1)
    assert digest(pieces) == digest(frame.copy()) == digest(pickle.loads(pickle.dumps(frame))) == digest(frame)
    for name in frame:
        edited = frame.copy()
        edited.loc[1, name] = None if edited[name].dtype.kind == "O" or edited[name].dtype == "str" else 7
        assert digest(edited) != digest(frame)
        assert digest(frame.rename(columns={name: "other"})) != digest(frame)
