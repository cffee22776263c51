"""pandas: frames, series, indexes, arrays and the scalars that come out of them.

A frame is its column labels, its index, and every column by dtype and content. How columns lie
together in blocks, what stands under a missing value, and whether an integer index is a range or a
list of the same numbers does not count; `attrs`, flags, the frequency of an index and the order of its levels do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from dynmemo.keys.arrays import array_parts, content_hash, dtype_name, row_hashes
from dynmemo.keys.encoding import Columns, Named, node, typed
from dynmemo.keys.objects import attributes, type_within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dynmemo.keys.encoding import Handler, Node


_SERIES = Named(".index", ".name", "", ".attrs", "")
_INDEX = Named(".names")
_NUMBERS = "biufc"


def _frame(frame: pd.DataFrame) -> Node:
    order = Columns(".columns", ".index", "", ".attrs", labels=frame.columns)
    return node(b"frame", (frame.columns, frame.index, _added(frame), _about(frame), *_columns(frame)), order)


def _series(series: pd.Series[Any]) -> Node:
    parts = (series.index, series.name, _added(series), _about(series), series.array)
    return node(b"series", parts, _SERIES)


def _index(index: pd.Index[Any]) -> Node:
    levels: list[object]
    if isinstance(index, pd.MultiIndex):
        # In which order a level has its values shows in what is unstacked; so do those that are not used.
        levels = [part for level, codes in zip(index.levels, index.codes, strict=True) for part in (level, codes)]
    else:
        levels = [_progression(index) or index.array]
    return node(b"index", (list(index.names), _added(index), getattr(index, "freq", None), *levels), _INDEX)


def _added(value: Any) -> object:
    """What a subclass from outside of pandas adds: itself, and the attributes that it declares."""
    cls = type(value)
    if cls.__module__.partition(".")[0] == "pandas":
        return None
    names = [name for name in getattr(cls, "_metadata", ()) if name != "_name"]
    return cls, attributes({name: getattr(value, name, None) for name in names})


def _about(value: Any) -> object:
    return (value.attrs or None) if value.flags.allows_duplicate_labels else (value.attrs, "no duplicate labels")


def _columns(frame: pd.DataFrame) -> list[object]:
    """The columns of `frame`: numbers as bytes that stand for them, others as arrays."""
    blocks = _blocks(frame)
    if blocks is None:
        return [_column(column.array) for _, column in frame.items()]
    # A column at a time costs more than hashing it. The blocks say only where a column lies.
    columns: list[object] = [None] * frame.shape[1]
    for block in blocks:
        for place, column in zip(block.mgr_locs, _rows(block.values), strict=True):
            columns[place] = column
    return columns


def _blocks(frame: pd.DataFrame) -> Any:
    return getattr(getattr(frame, "_mgr", None), "blocks", None)


def _rows(values: Any) -> Iterable[object]:
    if values.ndim == 1:
        return (_column(values),)
    if isinstance(values, np.ndarray) and values.dtype.kind in _NUMBERS:
        name = dtype_name(values.dtype).encode()
        return [name + content for content in row_hashes(values)]
    return map(_column, values)


def _column(values: Any) -> object:
    if isinstance(values, pd.arrays.NumpyExtensionArray) and values.dtype.kind in _NUMBERS:
        values = values.to_numpy()
    if isinstance(values, np.ndarray) and values.dtype.kind in _NUMBERS:
        return dtype_name(values.dtype).encode() + content_hash(values)
    return values


def _progression(index: pd.Index[Any]) -> tuple[str, int, int, int] | None:
    """First, step and length of an integer index with even steps, be it stored as a range or not."""
    if isinstance(index, pd.RangeIndex):
        first, step, length = index.start, index.step, len(index)
    elif index.dtype == np.int64 and isinstance(index.dtype, np.dtype):
        values, length = index.to_numpy(), len(index)
        first, step = (int(values[0]) if length else 0), (int(values[1]) - int(values[0]) if length > 1 else 1)
        if length > 2 and not (int(values[2]) - int(values[1]) == step and (np.diff(values) == step).all()):
            return None
    else:
        return None
    return "range", first if length else 0, step if length > 1 else 1, length


def _times(value: Any) -> Node:
    zone = getattr(value.dtype, "tz", None)
    name = str(value.dtype) if zone is None else f"datetime64[{value.dtype.unit}]"
    return typed(b"times", name, (zone, value.view("i8")))


def _categorical(value: Any) -> Node:
    parts = (bool(value.ordered), value.categories, value.codes)
    return node(b"categorical", parts, Named("", ".categories"))


def _strings(value: Any) -> Node:
    texts = value.to_numpy(dtype=object, na_value="").tolist()
    return typed(b"strings", _dtype_text(value.dtype), (value.isna(), texts))


def _arrow(value: Any) -> Node:
    # pyarrow is there: such an array is made of it.
    from dynmemo.keys.arrow_types import content

    # Whether a string dtype is made of short or large arrow strings depends on the version of pandas.
    return typed(b"arrow", _dtype_text(value.dtype), content(value.__arrow_array__()))


def _extension(value: Any) -> Node:
    dtype = value.dtype
    if isinstance(getattr(dtype, "numpy_dtype", None), np.dtype):
        zero = np.zeros((), dtype.numpy_dtype).item()
        data = value.to_numpy(dtype=dtype.numpy_dtype, na_value=zero)
        return typed(b"masked", str(dtype), (value.isna(), data))
    return typed(b"extension", str(dtype), (_head(value), list(value)))


def _dtype_text(dtype: Any) -> str:
    if isinstance(dtype, pd.StringDtype):
        missing = getattr(dtype, "na_value", pd.NA)
        return f"string {dtype.storage} {'NA' if missing is pd.NA else 'nan'}"
    return f"arrow {dtype.pyarrow_dtype}" if isinstance(dtype, pd.ArrowDtype) else str(dtype)


def _moment(value: Any) -> Node:
    zone, fold = getattr(value, "tzinfo", None), getattr(value, "fold", 0)
    return typed(b"moment", value.unit, (_head(value), int(value.asm8.view("i8")), zone, fold))


def _head(value: object) -> str | type:
    return type_within(type(value), "pandas")


TYPES: Final[dict[type, Handler]] = {
    pd.DataFrame: _frame,
    pd.Series: _series,
    pd.Index: _index,
    pd.arrays.StringArray: _strings,
    pd.arrays.NumpyExtensionArray: lambda value: array_parts(value.to_numpy()),
    pd.arrays.DatetimeArray: _times,
    pd.arrays.TimedeltaArray: _times,
    pd.arrays.PeriodArray: _times,
    pd.Categorical: _categorical,
    pd.arrays.IntervalArray: lambda value: typed(
        b"intervals", str(value.dtype), (value.closed, value.left, value.right)
    ),
    pd.arrays.SparseArray: lambda value: typed(b"sparse", str(value.dtype), (value.fill_value, np.asarray(value))),
    pd.arrays.ArrowStringArray: _arrow,
    pd.arrays.ArrowExtensionArray: _arrow,
    pd.api.extensions.ExtensionArray: _extension,
    pd.CategoricalDtype: lambda value: node(b"category", (value.ordered, value.categories)),
    pd.DatetimeTZDtype: lambda value: node(b"zoned", (value.unit, value.tz)),
    pd.api.extensions.ExtensionDtype: lambda value: typed(b"pandas dtype", _dtype_text(value), (_head(value),)),
    pd.Timestamp: _moment,
    pd.Timedelta: _moment,
    pd.Period: lambda value: typed(b"period", value.freqstr, (value.ordinal,)),
    pd.Interval: lambda value: node(b"interval", (value.left, value.right, value.closed)),
    pd.offsets.BaseOffset: lambda value: node(b"offset", (_head(value), value.n, value.normalize, value.kwds)),
    type(pd.NaT): lambda _: node(b"NaT", ()),
    type(pd.NA): lambda _: node(b"NA", ()),
}
"""The reader of a type and of those made of it; the first that fits."""
