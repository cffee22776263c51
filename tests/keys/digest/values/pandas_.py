from __future__ import annotations

import datetime as dt
import importlib.util
from typing import Any

import numpy as np
import pandas

pd: Any = pandas  # values of every odd form, of which the stubs allow but the usual ones
HAS_ARROW = importlib.util.find_spec("pyarrow") is not None
NAMES_NA = hasattr(pd.StringDtype("python"), "na_value") and pd.__version__ >= "2.3"


def letters(text: str) -> Any:
    """Texts as objects: as a matter of course they are of another dtype from pandas 3 on."""
    return pd.Index(list(text), dtype=object)


def frame() -> Any:
    columns = pd.DataFrame(
        {
            "number": np.arange(6.0),
            "count": np.arange(6, dtype="int64"),
            "flag": [True, False] * 3,
            "text": pd.Series(["a", "b", None, "", "é", "a"], dtype=object),
            "kind": pd.Categorical.from_codes([0, 0, 1, 1, 2, 0], letters("abc")),
            "day": np.arange("2024-01-01", "2024-01-07", dtype="M8[D]").astype("M8[ns]"),
            "maybe": pd.array([1, None, 3, 4, None, 6], dtype="Int64"),
            "word": pd.array(["a", None, "c", "", "é", "a"], dtype=pd.StringDtype("python")),
        },
        index=letters("uvwxyz").rename("key"),
    )
    return columns.set_axis(columns.columns.astype(object), axis=1)


def series(values: object = (1, 2, 3), **options: Any) -> Any:
    return pd.Series(values, **options)


def different() -> dict[str, object]:
    return {**_frames(), **_series(), **_indexes(), **_scalars()}


def _frames() -> dict[str, object]:
    table = frame()
    changed = table.copy()
    changed.loc["z", "number"] = 5.5
    long = pd.DataFrame({"a": np.arange(100_000.0), "b": letters("xy" * 50_000)})
    long.columns = letters("ab")
    edited = long.copy()
    edited.loc[77_777, "b"] = "z"
    return {
        "frame": table,
        "frame, no duplicate labels": table.set_flags(allows_duplicate_labels=False),
        "frame, one element else": changed,
        "frame, other column name": table.set_axis(letters("abcdefgh"), axis=1),
        "frame, columns in other order": table[table.columns[::-1]],
        "frame, rows in other order": table[::-1],
        "frame without index name": table.rename_axis(index=None),
        "frame with name of columns": table.rename_axis(columns="c"),
        "frame without index": table.reset_index(drop=True),
        "frame, other dtype": table.astype({"count": "int32"}),
        "frame, other categories": table.assign(kind=table.kind.cat.set_categories(letters("abcd"))),
        "frame, categories in other order": table.assign(kind=table.kind.cat.reorder_categories(letters("cba"))),
        "frame, ordered categories": table.assign(kind=table.kind.cat.as_ordered()),
        "frame in UTC": table.assign(day=table.day.dt.tz_localize("UTC")),
        "frame in Berlin": table.assign(day=table.day.dt.tz_localize("Europe/Berlin")),
        "frame in seconds": table.assign(day=table.day.astype("M8[s]")),
        "frame of floats with gaps": table.assign(maybe=table.maybe.astype("Float64")),
        "frame with attributes": _with_attributes(table.copy()),
        "frame of two levels": table.set_index(["count", "kind"]),
        "frame of two levels, swapped": table.set_index(["kind", "count"]),
        "frame with the same names": table[["count", "count"]],
        "empty frame": pd.DataFrame(),
        "frame of no rows": table[:0],
        "frame of no columns": table[[]],
        "long frame": long,
        "long frame, one text else": edited,
        "frame of numbers": pd.DataFrame(np.arange(12.0).reshape(3, 4)),
        "frame of other numbers": pd.DataFrame(np.arange(12.0).reshape(3, 4, order="F")),
        "~frame as read": pd.DataFrame({"a": ["x", None]}),
    }


def _with_attributes(table: Any) -> Any:
    table.attrs["source"] = "here"
    return table


def _series() -> dict[str, object]:
    days = pd.array(pd.to_datetime(["2024-01-01", "2024-01-02"]).astype("M8[ns]"))
    values: dict[str, object] = {
        "series": series(dtype="int64"),
        "series with a name": series(dtype="int64", name="a"),
        "series of int32": series(dtype="int32"),
        "series of Int64": series(dtype="Int64"),
        "series of int8 with NA": series([1, None], dtype="Int8"),
        "series of booleans with NA": series([True, None], dtype="boolean"),
        "series of Float64": series([1, None], dtype="Float64"),
        "series of float64": series([1, None], dtype="float64"),
        "series of objects": series([1, None], dtype=object),
        "series of dates": series([dt.date(2024, 1, 1)], dtype=object),
        "series of days": series(days),
        "series of periods": series(pd.period_range("2024-01", periods=2, freq="M")),
        "series of periods of days": series(pd.period_range("2024-01-01", periods=2, freq="D")),
        "series of intervals": series(pd.arrays.IntervalArray.from_breaks([0, 1, 2])),
        "series of intervals closed left": series(pd.arrays.IntervalArray.from_breaks([0, 1, 2], closed="left")),
        "series of spans": series(np.array([1, 2], "m8[ns]")),
        "series of gaps": series(pd.arrays.SparseArray([0, 0, 1])),
        "series of gaps filled with 1": series(pd.arrays.SparseArray([0, 0, 1], fill_value=1)),
        "series of strings": series(["a", None], dtype=pd.StringDtype("python")),
        "array": pd.array([1, None], dtype="Int64"),
        "array of days": days,
        "array of categories": pd.Categorical.from_codes([0, -1], letters("a")),
    }
    if HAS_ARROW:
        import pyarrow as pa

        values["series of arrow strings"] = series(["a", None], dtype=pd.StringDtype("pyarrow"))
        values["series of arrow ints"] = series([1, None], dtype=pd.ArrowDtype(pa.int64()))
        values["series of arrow lists"] = series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64())))
    return values


def _indexes() -> dict[str, object]:
    return {
        "index of 0 1 2": pd.RangeIndex(3),
        "index of 0 2 4": pd.RangeIndex(0, 6, 2),
        "index of 0 1 2, named": pd.RangeIndex(3, name="a"),
        "index of 0 1 3": pd.Index([0, 1, 3], dtype="int64"),
        "index of 0 1 2 in int32": pd.Index([0, 1, 2], dtype="int32"),
        "index of floats": pd.Index([0.0, 1.0, 2.0]),
        "index of objects": pd.Index([0, 1, 2], dtype=object),
        "index of texts": pd.Index(["a", "b"], dtype=object),
        "index of categories": pd.CategoricalIndex(pd.Categorical.from_codes([0, 1], letters("ab"))),
        "index of days": pd.DatetimeIndex(["2024-01-01", "2024-01-02"], dtype="M8[ns]"),
        "index of days, regular": pd.DatetimeIndex(["2024-01-01", "2024-01-02"], dtype="M8[ns]", freq="D"),
        "index of days in UTC": pd.DatetimeIndex(["2024-01-01", "2024-01-02"], dtype="M8[ns, UTC]"),
        "index of periods": pd.period_range("2024-01", periods=2, freq="M"),
        "index of intervals": pd.interval_range(0, 2),
        "index of spans": pd.TimedeltaIndex(np.array([1, 2], "m8[ns]")),
        "index of two levels": pd.MultiIndex.from_product([[1, 2], letters("ab")]),
        "index of two levels, named": pd.MultiIndex.from_product([[1, 2], letters("ab")], names=["x", "y"]),
        "empty index": pd.Index([], dtype=object),
        "empty range": pd.RangeIndex(0),
    }


def _scalars() -> dict[str, object]:
    return {
        "NA": pd.NA,
        "NaT": pd.NaT,
        "timestamp": pd.Timestamp(1, unit="ns").as_unit("ns"),
        "timestamp in seconds": pd.Timestamp(0, unit="s").as_unit("s"),
        "timestamp in UTC": pd.Timestamp(1, unit="ns", tz="UTC").as_unit("ns"),
        "timestamp in Berlin": pd.Timestamp(1, unit="ns", tz="Europe/Berlin").as_unit("ns"),
        "span": pd.Timedelta(1, "ns").as_unit("ns"),
        "period": pd.Period("2024-01"),
        "period of a day": pd.Period("2024-01-01"),
        "interval": pd.Interval(0, 1),
        "interval closed left": pd.Interval(0, 1, closed="left"),
        "offset": pd.offsets.BDay(2),
        "offset, normalized": pd.offsets.BDay(2, normalize=True),
        "offset of a month": pd.offsets.MonthEnd(2),
        "offset of months": pd.DateOffset(months=1),
        "offset with holidays": pd.offsets.CustomBusinessDay(holidays=["2024-05-01"]),
        "Int64": pd.Int64Dtype(),
        "Int32": pd.Int32Dtype(),
        "categories": pd.CategoricalDtype(letters("a")),
        "ordered categories": pd.CategoricalDtype(letters("a"), ordered=True),
        "zone": pd.DatetimeTZDtype("ns", "UTC"),
        "string dtype": pd.StringDtype("python"),
    }


def equal() -> dict[str, tuple[object, ...]]:
    table = frame()
    part = table[1:4]
    blocks = pd.concat([table[[name]] for name in table.columns], axis=1).set_axis(table.columns, axis=1)
    numbers = np.arange(60.0).reshape(20, 3)
    levels = pd.MultiIndex.from_product([[1, 2, 3], ["a", "b"]])
    return {
        "sliced and rebuilt frame": (part, _rebuilt(part), part.copy()),
        "every second row": (table[::2], _rebuilt(table[::2])),
        "blocks": (table, blocks, table.copy()),
        "filtered": (table[table["count"] > 2], table[3:]),
        "column by column": (
            pd.DataFrame(numbers, columns=["a", "b", "c"]),
            pd.DataFrame(np.asfortranarray(numbers), columns=["a", "b", "c"]),
            pd.DataFrame({name: numbers[:, i].copy() for i, name in enumerate("abc")}),
        ),
        "sliced series": (table.text[1:4], _rebuilt(part).text),
        "range or list": (
            pd.DataFrame({"a": [1.0, 2.0]}, index=[5, 6]),
            pd.DataFrame({"a": [1.0, 2.0]}, index=range(5, 7)),
        ),
        "levels": (levels[2:4], levels[2:4].copy(deep=True)),
        "under NA": (_int64([1, 2], [False, True]), _int64([1, 7], [False, True])),
        "empty ranges": (pd.RangeIndex(0), pd.RangeIndex(5, 5), pd.Index([], dtype="int64")),
        "read from text": (pd.Series(["a"] * 50, dtype=object), pd.Series(["".join(["a"])] * 50, dtype=object)),
        "zones": (pd.Timestamp(1, tz="UTC"), pd.Timestamp(1).tz_localize(dt.UTC)),
    }


def _int64(values: list[int], mask: list[bool]) -> Any:
    return pd.arrays.IntegerArray(np.array(values), np.array(mask))


def _rebuilt(table: Any) -> Any:
    columns = {name: pd.Series(table[name].tolist(), dtype=table[name].dtype) for name in table.columns}
    index = pd.Index(list(table.index), dtype=object, name="key")
    return pd.DataFrame(columns).set_axis(index).set_axis(table.columns, axis=1)
