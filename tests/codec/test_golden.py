"""What one release wrote, every later one reads, and writes the same way."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynmemo.codec import Codec, Decoded, origin_told
from dynmemo.codec.envelope import read_header
from tests.codec import golden
from tests.codec.helpers import COMPUTED_AT, DEADLINE, SECONDS, cause, read, write

CODE_WRITTEN_ON = (3, 11)
SAME_BYTES = [name for name in golden.NAMES if name.startswith(("json-", "bytes-")) and "zstd" not in name]


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(one[0], np.ndarray):
        return all(map(equal, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, pd.DataFrame | pd.Series) or hasattr(one, "schema"):
        return type(one) is type(other) and bool(one.equals(other))
    return repr(one) == repr(other)


@pytest.mark.parametrize("name", golden.NAMES)
def test_an_envelope_of_an_earlier_release_is_read(name: str) -> None:
    codec, value = golden.codec_and_value(name)
    decoded = read(codec, golden.load(name))
    assert equal(value, decoded.value)
    assert decoded == Decoded(decoded.value, COMPUTED_AT, SECONDS)
    assert read_header(golden.load(name)).deadline == DEADLINE
    assert origin_told(golden.load(name)) == golden.origin(name)


@pytest.mark.parametrize("name", [name for name in SAME_BYTES if not name.endswith("encrypted")])
def test_an_envelope_is_written_as_before(name: str) -> None:
    codec, value = golden.codec_and_value(name)
    assert write(codec, value, origin=golden.origin(name)) == golden.load(name)


@pytest.mark.parametrize("name", [name for name in golden.NAMES if name not in golden.NO_LONGER_WRITTEN])
def test_a_header_says_the_same_as_before(name: str) -> None:
    codec, value = golden.codec_and_value(name)
    before, now = read_header(golden.load(name)), read_header(write(codec, value, origin=golden.origin(name)))
    assert replace(now, length=0) == replace(before, length=0)


def test_code_by_value_of_an_earlier_release_is_read_on_its_own_python_only() -> None:
    data = golden.load("code-plain")
    if sys.version_info[:2] == CODE_WRITTEN_ON:
        function: Any = read(Codec(), data).value
        assert function(1) == 42
    else:
        assert cause(Codec(), data) == "python"


def test_a_class_by_value_of_an_earlier_release_is_the_readers_own_or_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    data = golden.load("class-plain")
    if sys.version_info[:2] != CODE_WRITTEN_ON:
        assert cause(Codec(), data) == "python"
        return
    assert read(Codec(), data).value == [golden.Trend.UP, golden.Trend]
    monkeypatch.delattr(golden, "Trend")
    value: Any = read(Codec(), data).value
    member, copy = value
    assert member is copy.UP
    assert copy.__qualname__ == "Trend"


def test_no_golden_envelope_lies_about_unread() -> None:
    assert {path.stem for path in golden.FOLDER.glob("*.hex")} == {*golden.NAMES, "code-plain", "class-plain"}
