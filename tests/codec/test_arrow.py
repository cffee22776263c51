"""Tables in Arrow form come back as what they were, or are refused."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from dynmemo.codec import CannotSerialize, Codec
from dynmemo.codec.envelope import read_header
from dynmemo.errors import UnreadableValueError
from tests.codec.helpers import SECRET, cause, forge, read, round_trip, write

DAYS = pd.date_range("2024-01-01", periods=3, tz="Europe/Zurich", name="day")


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


FRAMES = {
    "numbers": frame(a=[1, 2], b=[1.5, np.nan], c=np.array([1, 2], "u1")),
    "text and missing": frame(a=["x", None, "ü"], b=[True, False, True]),
    "times": frame(a=DAYS, b=pd.to_timedelta([1, 2, 3], unit="s"), c=pd.period_range("2024", periods=3, freq="M")),
    "categories": frame(a=pd.Categorical(["lo", "hi"], ["lo", "hi"], ordered=True), b=pd.Categorical(["x", None])),
    "nullable": frame(a=pd.array([1, None], dtype="Int64"), b=pd.array(["x", None], dtype="string")),
    "objects of one type": frame(a=[decimal.Decimal("1.5")], b=[datetime.date(2024, 1, 1)], c=[b"x"]),
    "dates with a frequency": pd.DataFrame({"a": [1, 2, 3]}, index=DAYS),
    "several levels": pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([("x", 1)], names=["u", None])),
    "levels in columns": pd.DataFrame({("x", 1): [1], ("x", 2): [2]}),
    "numbers as columns": pd.DataFrame([[1, 2]]),
    "a range": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(10, 14, 2, name="i")),
    "a named column axis": pd.DataFrame({"a": [1]}).rename_axis(columns="c"),
    "empty": frame(a=np.array([], "f4")),
    "many": frame(a=np.arange(100_000.0), b="same text"),
}

REFUSED = {
    "numbers as objects": pd.DataFrame({"a": [1, 2]}, dtype=object),
    "mixed types": pd.DataFrame({"a": [1, "x"]}, dtype=object),
    "lists": frame(a=[[1], [2]]),
    "None beside NaN": pd.DataFrame({"a": ["x", None, float("nan")]}, dtype=object),
    "two columns of one name": pd.DataFrame([[1, 2]], columns=["a", "a"]),
    "complex numbers": frame(a=[1j]),
    "a subclass": type("Sub", (pd.DataFrame,), {})({"a": [1]}),
    "a polars object column": pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}),
}


@pytest.fixture(params=[{}, {"secrets": [SECRET]}, {"secrets": [SECRET], "encrypt": True}], ids=len)
def codec(request: pytest.FixtureRequest) -> Codec:
    return Codec("arrow", **request.param)


@pytest.mark.parametrize("given", FRAMES.values(), ids=FRAMES)
def test_a_pandas_frame_comes_back_equal_and_may_be_changed(given: pd.DataFrame, codec: Codec) -> None:
    restored = round_trip(codec, given)
    pd.testing.assert_frame_equal(restored, given)
    if len(given):
        restored.iloc[0, 0] = restored.iloc[-1, 0]


@pytest.mark.parametrize("name", ["mean", None, 3])
def test_a_pandas_series_comes_back_equal(name: Any, codec: Codec) -> None:
    given = pd.Series([1.5, np.nan, 2], index=DAYS, name=name)
    pd.testing.assert_series_equal(round_trip(codec, given), given)


def test_attributes_of_a_frame_are_kept_or_the_frame_is_refused() -> None:
    given = frame(a=[1])
    given.attrs["unit"] = "mm"
    assert round_trip(Codec("arrow"), given).attrs == {"unit": "mm"}
    given.attrs["unit"] = ("mm", "cm")
    with pytest.raises(CannotSerialize, match="would come back different"):
        write(Codec("arrow"), given)


def test_a_polars_frame_comes_back_equal(codec: Codec) -> None:
    given = pl.DataFrame(
        {
            "number": [1, None, 3],
            "mean": [1.5, float("nan"), None],
            "text": ["x", "ü", None],
            "day": [datetime.date(2024, 1, 1)] * 3,
            "list": [[1], [2, 3], None],
            "record": [{"a": 1}, {"a": 2}, None],
            "category": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
            "enum": pl.Series(["a", "b", "a"], dtype=pl.Enum(["a", "b"])),
            "time": pl.Series([datetime.datetime(2024, 1, 1)] * 3).dt.replace_time_zone("Europe/Zurich"),
        }
    )
    restored = round_trip(codec, given)
    assert type(restored) is pl.DataFrame
    assert restored.schema == given.schema
    assert restored.equals(given)


def test_an_arrow_table_comes_back_equal_with_its_metadata(codec: Codec) -> None:
    given = pa.table({"a": [1, None], "b": [[1], [2]]}).replace_schema_metadata({"unit": "mm"})
    restored = round_trip(codec, given)
    assert type(restored) is pa.Table
    assert restored.equals(given, check_metadata=True)
    bare = pa.table({"a": pa.chunked_array([[1], [2, 3]])})
    assert round_trip(codec, bare).equals(bare, check_metadata=True)
    assert round_trip(codec, bare).schema.metadata is None


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
def test_a_table_that_would_come_back_different_is_refused(given: object) -> None:
    with pytest.raises(CannotSerialize, match="arrow"):
        write(Codec("arrow"), given)


@pytest.mark.parametrize(
    "given", [1, {"a": [1]}, np.zeros(3), pl.LazyFrame({"a": [1]})], ids=lambda value: type(value).__name__
)
def test_what_is_no_table_is_refused_with_what_is_allowed(given: object) -> None:
    with pytest.raises(CannotSerialize, match="stores pandas DataFrame and Series, polars DataFrame and pyarrow Table"):
        write(Codec("arrow"), given)


def test_the_payload_is_an_arrow_stream_that_any_program_reads() -> None:
    data = write(Codec("arrow"), frame(a=[1, 2]))
    table = pa.ipc.open_stream(data[read_header(data).size : -32]).read_all()
    assert table.column("a").to_pylist() == [1, 2]


def test_rubbish_in_an_intact_envelope_is_unreadable_or_another_table() -> None:
    """Only who may write the table, and knows the secret if there is one, can make such an envelope."""
    codec = Codec("arrow")
    stream = write(codec, pl.DataFrame({"a": ["text"] * 5, "b": [1.5] * 5}))
    payload = stream[read_header(stream).size : -32]
    causes = []
    for position in range(len(payload)):
        damaged = payload[:position] + bytes([payload[position] ^ 0xFF]) + payload[position + 1 :]
        try:
            read(codec, forge(damaged, serializer="arrow"))
        except UnreadableValueError as error:
            causes.append(error.cause)
    assert set(causes) == {"decode"}
    assert len(causes) > len(payload) / 4
    assert cause(codec, forge(b"no stream", serializer="arrow")) == "decode"
