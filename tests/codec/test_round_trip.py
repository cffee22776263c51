"""What goes in comes out, whatever the serializer and the protection."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynmemo import UnreadableValueError
from dynmemo.codec import Codec, Decoded
from dynmemo.codec.envelope import SLICED_BELOW, ZSTD, read_header
from tests.codec.helpers import COMPUTED_AT, DEADLINE, KEY, NOW, SECONDS, SECRET, cause, read, round_trip, write

PROTECTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "signed": {"secrets": [SECRET]},
    "encrypted": {"secrets": [SECRET], "encrypt": True},
}


class Weather(enum.Enum):
    SUN = "sun"
    RAIN = "rain"


@dataclass
class Forecast:
    city: str
    weather: list[Weather]


VALUES = [
    None,
    True,
    0,
    -1.5,
    "",
    "Zürich",
    b"",
    bytearray(b"x"),
    (1, [2, {3: {4}}]),
    datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC),
    decimal.Decimal("1.50"),
    uuid.UUID(int=7),
    Forecast("SEA", [Weather.SUN, Weather.RAIN]),
    ["the same text over and over"] * 1000,
]


@pytest.fixture(params=PROTECTIONS, ids=str)
def protection(request: pytest.FixtureRequest) -> dict[str, Any]:
    return PROTECTIONS[request.param]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_pickled_value_comes_back_equal_and_of_its_type(value: object, protection: dict[str, Any]) -> None:
    restored = round_trip(Codec(**protection), value)
    assert restored == value
    assert type(restored) is type(value)


@pytest.mark.parametrize("value", [None, 1, 1.5, "é", [1, [2]], {"a": {"b": []}}, ["x" * 100] * 100], ids=repr)
def test_json_comes_back_equal(value: object, protection: dict[str, Any]) -> None:
    assert round_trip(Codec("json", **protection), value) == value


@pytest.mark.parametrize("value", [b"", b"abc", bytearray(b"abc"), memoryview(b"abc"), b"abc" * 10_000], ids=len)
def test_bytes_come_back_as_bytes(value: bytes, protection: dict[str, Any]) -> None:
    restored = round_trip(Codec("bytes", **protection), value)
    assert type(restored) is bytes
    assert restored == bytes(value)


def test_arrays_come_back_equal_and_writable(protection: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).random(100_000)
    arrays: list[Any] = [
        np.arange(100_000),
        noise,
        noise.reshape(100, -1).T,
        np.array(["a", None], dtype=object),
        np.float32(2),
    ]
    restored = round_trip(Codec(**protection), arrays)
    for before, after in zip(arrays, restored, strict=True):
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)
    restored[1][0] = 7
    assert noise[0] != 7


def test_a_read_only_array_stays_read_only(protection: dict[str, Any]) -> None:
    array = np.arange(100_000)
    array.flags.writeable = False
    assert not round_trip(Codec(**protection), array).flags.writeable


def test_an_array_that_stands_twice_in_a_value_is_still_one(protection: dict[str, Any]) -> None:
    array = np.arange(100_000)
    first, second = round_trip(Codec(**protection), [array, array])
    assert first is second


def test_frames_come_back_equal_and_may_be_changed(protection: dict[str, Any]) -> None:
    frame = pd.DataFrame(
        {"mean": np.arange(20_000.0), "model": "SARIMAX"}, index=pd.date_range("2024", periods=20_000, freq="h")
    )
    restored = round_trip(Codec(**protection), frame)
    pd.testing.assert_frame_equal(restored, frame)
    restored.iloc[0, 0] = 7.0
    assert frame.iloc[0, 0] == 0


def test_every_read_gives_a_new_object() -> None:
    codec = Codec()
    data = write(codec, {"a": [1]})
    read(codec, data).value["a"].append(2)  # type: ignore[index]
    assert read(codec, data).value == {"a": [1]}


def test_what_is_known_of_a_value_comes_with_it() -> None:
    codec = Codec()
    assert read(codec, write(codec, 1)) == Decoded(1, COMPUTED_AT, SECONDS)
    assert read(codec, write(codec, 1, deadline=None), now=1e12) == Decoded(1, COMPUTED_AT, SECONDS)
    assert read_header(write(codec, 1, deadline=0)).deadline == 0


def test_bytes_in_a_view_or_a_bytearray_are_read_alike() -> None:
    codec = Codec()
    data = write(codec, "value")
    for form in (bytearray(data), memoryview(data)):
        assert codec.loads(form, key="dc:weather.forecast:9f31c2a0:7f83b165", now=NOW).value == "value"


def test_past_its_deadline_a_value_is_expired_with_the_first_fraction_of_a_second() -> None:
    codec = Codec()
    data = write(codec, 1)
    assert read(codec, data, now=float(DEADLINE)).value == 1
    assert cause(codec, data, now=DEADLINE + 0.001) == "expired"


def test_the_header_tells_about_a_value_without_decoding_it() -> None:
    header = read_header(write(Codec("json", secrets=[SECRET]), ["x" * 5000]))
    assert (header.computed_at, header.seconds, header.deadline) == (COMPUTED_AT, SECONDS, DEADLINE)
    assert (header.serializer, header.flags & ZSTD, header.length) == ("json", ZSTD, 5004)
    assert (header.signed, header.encrypted) == (True, False)


@pytest.mark.parametrize("before", [False, True], ids=["from plain", "from zstd"])
@pytest.mark.parametrize("after", [False, True], ids=["to plain", "to zstd"])
@pytest.mark.parametrize(
    ("serializer", "value"),
    [
        ("pickle", {"array": np.arange(5_000), "other": np.zeros(3_001, dtype=np.uint8)}),
        ("json", ["x"] * 2_000),
        ("bytes", np.random.default_rng(1).bytes(5_000)),
        ("pickle", 1),
    ],
    ids=["arrays", "json", "random", "small"],
)
def test_what_is_resealed_is_what_the_other_codec_writes_itself(
    serializer: str, value: object, after: bool, before: bool, protection: dict[str, Any]
) -> None:
    mine = Codec(serializer, compress=before, **protection)
    team = Codec(serializer, compress=after, secrets=[b"another secret of the team"])
    unsealed = mine.unseal(write(mine, value, origin=b'{"user": "anna"}'), key=KEY)
    theirs = team.reseal(unsealed, key="dc:theirs")
    assert bytes(theirs) == write(team, value, key="dc:theirs", origin=b'{"user": "anna"}')
    back = Codec(serializer, compress=before, **protection)
    again = back.reseal(team.unseal(theirs, key="dc:theirs"), key=KEY)
    np.testing.assert_equal(back.loads(again, key=KEY, now=NOW).value, value)


def test_what_is_too_large_to_be_decompressed_with_certainty_is_not_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynmemo.codec.envelope.MAX_LENGTH", 3000)
    codec = Codec("bytes")
    flags = [read_header(write(codec, bytes(length))).flags & ZSTD for length in (3000, 3001)]
    assert flags == [ZSTD, 0]
    assert round_trip(codec, bytes(3001)) == bytes(3001)


@pytest.mark.parametrize("protection", PROTECTIONS.values(), ids=PROTECTIONS)
@pytest.mark.parametrize("serializer", ["pickle", "bytes"])
def test_envelopes_are_read_and_damage_is_seen_on_both_sides_of_the_size_from_which_they_are_not_copied(
    serializer: str, protection: dict[str, Any]
) -> None:
    codec = Codec(serializer, compress=False, **protection)
    beside = len(write(codec, b"x" * 3_000)) - 3_000
    for length in range(SLICED_BELOW - beside - 2, SLICED_BELOW - beside + 3):
        value = bytes(n % 251 for n in range(length))
        data = write(codec, value)
        opened = codec.open(data, key=KEY)
        assert [codec.decode(opened, now=NOW).value for _ in range(2)] == [value, value]
        assert (opened.beside > 0) == (len(data) < SLICED_BELOW or "encrypt" in protection)
        for at in (len(data) // 2, len(data) - 1):
            damaged = bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]])
            with pytest.raises(UnreadableValueError):
                codec.open(damaged, key=KEY)
