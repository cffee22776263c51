"""What must be equal is equal, what must differ differs."""

from __future__ import annotations

import pickle

import cloudpickle
import pytest

from dynmemo.keys.digest import digest
from tests.keys.digest import values

EQUAL = values.equal()
DIFFERENT = values.different()

# They have content all the same.
NOT_PICKLED = {
    *("builtin: memoryview", "builtin: memoryview of 2x2", "builtin: memoryview of 4", "builtin: mapping proxy"),
    *("builtin: keys", "builtin: values", "builtin: items", "builtin: deep list"),
    *("builtin: struct", "builtin: struct, big", "builtin: match", "builtin: match in another text", "builtin: hash"),
    *("builtin: other hash", "builtin: context variable", "builtin: other context variable", "builtin: lock"),
    *("builtin: event", "builtin: compiled text"),
    # numpy's pickles turn another byte order into the machine's own.
    *("numpy_: swapped numbers", "numpy_: swapped text"),
    *("objects: cached function", "objects: other cached function"),
    *("numpy_: business days", "polars_: objects"),
}


@pytest.mark.parametrize("group", EQUAL)
def test_equal_content_has_equal_digests(group: str) -> None:
    first, *others = [digest(value) for value in EQUAL[group]]
    assert others == [first] * len(others)


def test_different_content_has_different_digests() -> None:
    names: dict[str, str] = {}
    clashes = [(names.setdefault(digest(value), name), name) for name, value in DIFFERENT.items()]
    assert [(first, name) for first, name in clashes if first != name] == []


@pytest.mark.parametrize("name", [name for name in DIFFERENT if name.removeprefix("~") not in NOT_PICKLED])
def test_a_value_and_its_pickle_round_trip_have_equal_digests(name: str) -> None:
    value = DIFFERENT[name]
    assert digest(_pickled(value)) == digest(value)


def _pickled(value: object) -> object:
    try:
        return pickle.loads(pickle.dumps(value))
    except (TypeError, AttributeError, pickle.PicklingError):  # classes and functions of no module
        return pickle.loads(cloudpickle.dumps(value))
