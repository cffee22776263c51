"""Random and mutated envelopes: nothing but `UnreadableValueError`, nothing unpickled that was not verified."""

from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynmemo.codec import Codec, envelope, serializers
from dynmemo.codec.envelope import NO_PYTHON, Header, Seal, write_header
from dynmemo.errors import UnreadableValueError
from tests.codec.helpers import KEY, NOW, SECRET, Witness, forge, read, resealed, round_trip, write

# For a long run: DYNMEMO_FUZZ_EXAMPLES=100000 python -m pytest tests/codec/test_fuzz.py
often = settings(max_examples=int(os.environ.get("DYNMEMO_FUZZ_EXAMPLES", "300")))

FILE = Path(tempfile.gettempdir()) / "dynmemo-fuzz-witness-that-must-not-exist"
PAYLOAD = pickle.dumps(Witness(FILE))

PLAIN, SIGNED, ENCRYPTED = Codec(), Codec(secrets=[SECRET]), Codec(secrets=[SECRET], encrypt=True)
JSON = Codec("json")
CODECS = [PLAIN, SIGNED, ENCRYPTED, JSON]
WITNESSES = [
    PAYLOAD,
    forge(PAYLOAD),
    forge(PAYLOAD, flags=envelope.SIGNED),
    forge(PAYLOAD, flags=envelope.SIGNED, seal=Seal(b"a stranger's secret")),
    forge(PAYLOAD, flags=envelope.SIGNED | envelope.ENCRYPTED, seal=Seal(b"a stranger's secret")),
]
VALID = [write(codec, ["SEA"] * count) for codec in CODECS for count in (3, 2000)]

mutations = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "insert", "double"]), st.integers(0, 10_000), st.binary(max_size=8)),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, steps: list[tuple[str, int, bytes]]) -> bytes:
    for how, where, what in steps:
        at = where % (len(data) + 1)
        if how == "set":
            data = data[:at] + what + data[at + len(what) :]
        elif how == "cut":
            data = data[:at] + data[at + len(what) :]
        elif how == "insert":
            data = data[:at] + what + data[at:]
        else:
            data = data[:at] + data[max(0, at - 40) :]
    return data


def attempt(codec: Codec, data: bytes) -> object:
    """The value, or None if it is unreadable; any other exception fails the test."""
    try:
        return codec.loads(data, key=KEY, now=NOW).value
    except UnreadableValueError:
        return None


@pytest.fixture(autouse=True)
def nothing_unverified_is_unpickled() -> Any:
    FILE.unlink(missing_ok=True)
    yield
    assert not FILE.exists()


@often
@given(st.binary(max_size=300), st.sampled_from(CODECS))
def test_random_bytes_are_unreadable(data: bytes, codec: Codec) -> None:
    assert attempt(codec, data) is None
    assert attempt(codec, envelope.MAGIC + b"\x01" + data) is None


@often
@given(st.sampled_from(VALID), mutations, st.sampled_from(CODECS))
def test_a_mutated_envelope_is_unreadable(data: bytes, steps: list[tuple[str, int, bytes]], codec: Codec) -> None:
    changed = mutated(data, steps)
    if changed != data:
        assert attempt(codec, changed) is None


@often
@given(st.sampled_from(WITNESSES), mutations, st.sampled_from([SIGNED, ENCRYPTED, JSON]))
def test_a_forged_envelope_is_not_unpickled(data: bytes, steps: list[tuple[str, int, bytes]], codec: Codec) -> None:
    assert attempt(codec, data) is None
    assert attempt(codec, mutated(data, steps)) is None
    assert attempt(codec, resealed(mutated(data, steps)[: -envelope.TRAILER_SIZE])) is None


@often
@given(
    st.integers(0, 255),
    st.integers(0, 2**64 - 1),
    st.sampled_from(["pickle", "json", "p", "x" * 255]),
    st.binary(max_size=60),
    st.sampled_from(CODECS),
)
def test_any_header_with_a_right_digest_is_read_or_unreadable(
    flags: int, length: int, serializer: str, payload: bytes, codec: Codec
) -> None:
    payload = pickle.PROTO + b"\x05N" + payload
    for announced in (length, len(payload), 2_000_000_000):
        header = Header(flags, NO_PYTHON, bytes(4), 1.0, 1.0, None, announced, serializer)
        attempt(codec, resealed(write_header(header) + payload))


@often
@given(
    st.sampled_from([0, envelope.ZSTD, serializers.BUFFERS, envelope.ZSTD | serializers.BUFFERS]),
    st.binary(max_size=80),
)
def test_a_json_cache_survives_any_payload_with_a_right_digest(flags: int, payload: bytes) -> None:
    attempt(JSON, forge(payload, flags=flags, serializer="json"))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@often
@given(values, st.sampled_from([PLAIN, SIGNED, ENCRYPTED]))
def test_any_value_comes_back(value: object, codec: Codec) -> None:
    assert round_trip(codec, value) == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@often
@given(json_values)
def test_any_json_value_comes_back_of_the_same_types(value: object) -> None:
    assert repr(round_trip(JSON, value)) == repr(value)


@often
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_two_keys_read_each_others_entries(one: str, other: str) -> None:
    data = write(PLAIN, 1, key=one)
    assert read(PLAIN, data, key=one).value == 1
    if one != other:
        with pytest.raises(UnreadableValueError):
            read(PLAIN, data, key=other)
