"""JSON, bytes and serializers of the user's own, and which options are allowed."""

from __future__ import annotations

import collections
import enum
import math
import sys
from typing import Any

import numpy as np
import pytest

from dynmemo.codec import CannotSerialize, Codec
from dynmemo.codec.envelope import read_header
from dynmemo.errors import InvalidOptionError
from tests.codec.helpers import SECRET, cause, read, round_trip, write


class Upper:
    """Stores text in capitals, to be recognised."""

    name = "upper-1"

    def dumps(self, value: object) -> bytes:
        assert isinstance(value, str)
        return value.upper().encode()

    def loads(self, data: bytes) -> object:
        assert type(data) is bytes
        return data.decode().lower()


class Number(enum.IntEnum):
    ONE = 1


Pair = collections.namedtuple("Pair", "a b")
CYCLE: list[Any] = []
CYCLE.append(CYCLE)

NOT_JSON = [
    ((1,), "the result is of type tuple"),
    ({"a": [1, (2,)]}, "`result['a'][1]` is of type tuple"),
    (Pair(1, 2), "of type tests.codec.test_serializers.Pair"),
    ({1: "a"}, "the result is a dict with keys that are not str"),
    ([{"a": {None: 1}}], "`result[0]['a']` is a dict with keys that are not str"),
    ([math.nan], "`result[0]` is NaN or infinite"),
    (-math.inf, "the result is NaN or infinite"),
    ({"mean": np.float64(1)}, "`result['mean']` is of type numpy.float64"),
    ([Number.ONE], "`result[0]` is of type tests.codec.test_serializers.Number"),
    ({"a": b"x"}, "`result['a']` is of type bytes"),
    ({"a": {1}}, "`result['a']` is of type set"),
    (collections.OrderedDict(a=1), "the result is of type collections.OrderedDict"),
    ("\udc80", "an unpaired surrogate"),
    (10**5000, "an int of thousands of digits"),
    (CYCLE, "a cycle"),
]


@pytest.mark.parametrize(("value", "text"), NOT_JSON, ids=[text for _, text in NOT_JSON])
def test_json_refuses_what_would_come_back_different(value: object, text: str) -> None:
    with pytest.raises(CannotSerialize) as raised:
        write(Codec("json"), value)
    assert text in str(raised.value)
    assert "JSON keeps only None, bool, int, finite float, str, list, and dict with str keys" in str(raised.value)


@pytest.mark.parametrize("value", [True, 2**200, -0.0, 5e-324, 1e308, "\u2028\0é😀", {"": [None]}, [[], {}]], ids=repr)
def test_json_keeps_value_and_type(value: object) -> None:
    restored = round_trip(Codec("json"), value)
    assert repr(restored) == repr(value)


def test_json_is_stored_as_plain_compact_utf8() -> None:
    assert b'{"a":[1,2.5,"\xc3\xa9"]}' in write(Codec("json"), {"a": [1, 2.5, "é"]})


@pytest.mark.parametrize("value", ["text", None, [b"x"], np.zeros(2)], ids=lambda value: type(value).__name__)
def test_the_bytes_serializer_takes_nothing_but_bytes(value: object) -> None:
    with pytest.raises(CannotSerialize, match=r'serializer="bytes" stores bytes, bytearray and memoryview'):
        write(Codec("bytes"), value)


def test_bytes_are_stored_as_they_are() -> None:
    assert b"to be read elsewhere" in write(Codec("bytes"), b"to be read elsewhere")


@pytest.mark.parametrize("options", [{}, {"secrets": [SECRET]}, {"secrets": [SECRET], "encrypt": True}], ids=len)
def test_an_own_serializer_writes_and_reads(options: dict[str, Any]) -> None:
    codec = Codec(Upper(), **options)
    for value in ("forecast", "forecast" * 1000):
        assert round_trip(codec, value) == value
    assert read_header(write(codec, "x")).serializer == "upper-1"


def test_the_stored_serializer_must_be_the_configured_one() -> None:
    assert cause(Codec("json"), write(Codec(), 1)) == "serializer"
    assert cause(Codec(), write(Codec("json"), 1)) == "serializer"
    assert cause(Codec(), write(Codec(Upper()), "x")) == "serializer"
    assert read(Codec(Upper()), write(Codec(Upper()), "x")).value == "x"


def test_an_own_serializer_that_fails_is_a_refusal_on_the_way_in_and_a_miss_on_the_way_out() -> None:
    with pytest.raises(CannotSerialize, match=r"serializer 'upper-1' could not serialize the result \(int\)"):
        write(Codec(Upper()), 5)

    class Broken(Upper):
        def loads(self, data: bytes) -> object:
            raise KeyError("hunter2")

    assert cause(Codec(Broken()), write(Codec(Upper()), "x")) == "decode"


def test_an_own_serializer_must_make_bytes() -> None:
    class Texts(Upper):
        def dumps(self, value: object) -> bytes:
            return "text"  # type: ignore[return-value]

    with pytest.raises(CannotSerialize, match=r"dumps of serializer 'upper-1' returned str\. It must return bytes"):
        write(Codec(Texts()), "x")


def named(name: object) -> Upper:
    serializer = Upper()
    serializer.name = name  # type: ignore[assignment]
    return serializer


@pytest.mark.parametrize("name", ["", "x" * 65, "ü", "a\n", 5, None, "pickle", "json"], ids=repr)
def test_a_name_that_cannot_stand_in_an_envelope_is_refused(name: object) -> None:
    with pytest.raises(InvalidOptionError, match="the serializer's name"):
        Codec(named(name))


@pytest.mark.parametrize("name", ["x", "x" * 64, "My serializer, v2!"])
def test_names_of_up_to_64_printable_characters_are_kept(name: str) -> None:
    codec = Codec(named(name))
    data = write(codec, "x")
    assert read_header(data).serializer == name
    assert read(codec, data).value == "x"


@pytest.mark.parametrize(
    "wrong", ["Pickle", "", "msgpack", None, 5, object(), Upper, pytest], ids=lambda value: type(value).__name__
)
def test_what_is_no_serializer_is_refused_with_what_is_allowed(wrong: Any) -> None:
    with pytest.raises(InvalidOptionError, match='allowed are "pickle", "json", "arrow", "bytes"'):
        Codec(wrong)


def test_arrow_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidOptionError, match=r'pip install "dynmemo\[arrow\]"'):
        Codec("arrow")
