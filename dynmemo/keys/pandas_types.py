"""pandas: frames, series, indexes, arrays and the scalars that come out of them.

A frame is its column labels, its index, and every column by dtype and content. How columns lie
together in blocks, what stands under a missing value, and whether an integer index is a range or a
list of the same numbers does not count; `attrs`, flags, the frequency of an index and the order of its levels do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dynmemo.keys.arrays import content_hash, dtype_name, row_hashes, take_array_apart
from dynmemo.keys.encoding import Named, node, typed
from dynmemo.keys.objects import State, type_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dynmemo.keys.encoding import Handler, Node


def handler(cls: type) -> Handler | None:
    """The handler of a pandas type or of a subclass of one."""
    for base, make in _MAKERS.items():
        if issubclass(cls, base):
            return make(cls)
    return _CONSTANTS.get(cls)


class _Columns(Named):
    """Columns, index and then every column by its label."""

    def step(self, children: Sequence[object], index: int) -> str:
        first = len(self.names)
        if index < first:
            return self.names[index]
        label = children[0][index - first]  # type: ignore[index]
        return f'["{label}"]' if isinstance(label, str) and label.isidentifier() else f"[column {index - first}]"


_FRAME = _Columns(".columns", ".index", "", ".attrs")
_SERIES = Named(".index", ".name", "", ".attrs", "")
_INDEX = Named(".names")
_NUMBERS = "biufc"


def _frame_handler(cls: type) -> Handler:
    own = _own_part(cls)

    def take_apart(frame: pd.DataFrame) -> Node:
        columns = _columns(frame)
        return node(b"frame", (frame.columns, frame.index, own(frame), _about(frame), *columns), _FRAME)

    return take_apart


def _about(value: Any) -> object:
    if value.flags.allows_duplicate_labels:
        return value.attrs or None
    return value.attrs, "no duplicate labels"


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


def _series_handler(cls: type) -> Handler:
    own = _own_part(cls)

    def take_apart(series: pd.Series[Any]) -> Node:
        return node(b"series", (series.index, series.name, own(series), _about(series), series.array), _SERIES)

    return take_apart


def _own_part(cls: type) -> Any:
    """What a subclass from outside of pandas adds: itself, and the attributes that it declares."""
    if cls.__module__.partition(".")[0] == "pandas":
        return lambda _: None
    head = cls
    names = [name for name in getattr(cls, "_metadata", ()) if name != "_name"]
    return lambda value: (head, State({name: getattr(value, name, None) for name in names}))


def _index_handler(cls: type) -> Handler:
    own = _own_part(cls)

    def take_apart(index: pd.Index[Any]) -> Node:
        levels: list[object]
        if isinstance(index, pd.MultiIndex):
            # In which order a level has its values shows in what is unstacked; so do those that are not used.
            levels = [part for level, codes in zip(index.levels, index.codes, strict=True) for part in (level, codes)]
        else:
            levels = [_progression(index) or index.array]
        return node(b"index", (list(index.names), own(index), getattr(index, "freq", None), *levels), _INDEX)

    return take_apart


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


def _numpy_handler(_: type) -> Handler:
    return lambda value: take_array_apart(value.to_numpy())


def _times_handler(_: type) -> Handler:
    def read(value: Any) -> Node:
        zone = getattr(value.dtype, "tz", None)
        name = str(value.dtype) if zone is None else f"datetime64[{value.dtype.unit}]"
        return typed(b"times", name, (zone, value.view("i8")))

    return read


def _categorical_handler(_: type) -> Handler:
    order = Named("", ".categories")
    return lambda value: node(b"categorical", (bool(value.ordered), value.categories, value.codes), order)


def _interval_handler(_: type) -> Handler:
    return lambda value: typed(b"intervals", str(value.dtype), (value.closed, value.left, value.right))


def _sparse_handler(_: type) -> Handler:
    return lambda value: typed(b"sparse", str(value.dtype), (value.fill_value, np.asarray(value)))


def _string_handler(_: type) -> Handler:
    def take_apart(value: Any) -> Node:
        missing = value.isna()
        texts = value.to_numpy(dtype=object, na_value="").tolist()
        return typed(b"strings", _dtype_text(value.dtype), (missing, texts))

    return take_apart


def _arrow_handler(_: type) -> Handler:
    # pyarrow is there: such an array is made of it.
    from dynmemo.keys.arrow_types import content

    # Whether a string dtype is made of short or large arrow strings depends on the version of pandas.
    return lambda value: typed(b"arrow", _dtype_text(value.dtype), content(value.__arrow_array__()))


def _extension_handler(cls: type) -> Handler:
    head = type_within(cls, "pandas")

    def take_apart(value: Any) -> Node:
        dtype = value.dtype
        if isinstance(getattr(dtype, "numpy_dtype", None), np.dtype):
            zero = np.zeros((), dtype.numpy_dtype).item()
            data = value.to_numpy(dtype=dtype.numpy_dtype, na_value=zero)
            return typed(b"masked", str(dtype), (value.isna(), data))
        return typed(b"extension", str(dtype), (head, list(value)))

    return take_apart


def _dtype_text(dtype: Any) -> str:
    if isinstance(dtype, pd.StringDtype):
        missing = getattr(dtype, "na_value", pd.NA)
        return f"string {dtype.storage} {'NA' if missing is pd.NA else 'nan'}"
    if isinstance(dtype, pd.ArrowDtype):
        return f"arrow {dtype.pyarrow_dtype}"
    return str(dtype)


def _dtype_handler(cls: type) -> Handler:
    if issubclass(cls, pd.CategoricalDtype):
        return lambda value: node(b"category", (value.ordered, value.categories))
    if issubclass(cls, pd.DatetimeTZDtype):
        return lambda value: node(b"zoned", (value.unit, value.tz))
    head = type_within(cls, "pandas")
    return lambda value: typed(b"pandas dtype", _dtype_text(value), (head,))


def _moment_handler(cls: type) -> Handler:
    head = type_within(cls, "pandas")

    def take_apart(value: Any) -> Node:
        zone = getattr(value, "tzinfo", None)
        number = int(value.asm8.view("i8"))
        return typed(b"moment", value.unit, (head, number, zone, getattr(value, "fold", 0)))

    return take_apart


def _period_handler(_: type) -> Handler:
    return lambda value: typed(b"period", value.freqstr, (value.ordinal,))


def _interval_value_handler(_: type) -> Handler:
    return lambda value: node(b"interval", (value.left, value.right, value.closed))


def _offset_handler(cls: type) -> Handler:
    head = type_within(cls, "pandas")
    return lambda value: node(b"offset", (head, value.n, value.normalize, value.kwds))


_MAKERS: dict[type, Callable[[type], Handler]] = {
    pd.DataFrame: _frame_handler,
    pd.Series: _series_handler,
    pd.Index: _index_handler,
    pd.arrays.StringArray: _string_handler,
    pd.arrays.NumpyExtensionArray: _numpy_handler,
    pd.arrays.DatetimeArray: _times_handler,
    pd.arrays.TimedeltaArray: _times_handler,
    pd.arrays.PeriodArray: _times_handler,
    pd.Categorical: _categorical_handler,
    pd.arrays.IntervalArray: _interval_handler,
    pd.arrays.SparseArray: _sparse_handler,
    pd.arrays.ArrowStringArray: _arrow_handler,
    pd.arrays.ArrowExtensionArray: _arrow_handler,
    pd.api.extensions.ExtensionArray: _extension_handler,
    pd.api.extensions.ExtensionDtype: _dtype_handler,
    pd.Timestamp: _moment_handler,
    pd.Timedelta: _moment_handler,
    pd.Period: _period_handler,
    pd.Interval: _interval_value_handler,
    pd.offsets.BaseOffset: _offset_handler,
}

_CONSTANTS: dict[type, Handler] = {
    type(pd.NaT): lambda _: node(b"NaT", ()),
    type(pd.NA): lambda _: node(b"NA", ()),
}
