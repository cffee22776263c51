"""polars: series, frames, lazy frames and expressions.

A series is its name, its dtype, which elements are null, and the others. A lazy frame is its plan: of a
plan that scans files the paths count, not what is in the files.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import polars as pl
from blake3 import blake3

from dynmemo.keys.containers import numbers
from dynmemo.keys.encoding import ITEMS, Named, node, typed

if TYPE_CHECKING:
    from dynmemo.keys.encoding import Handler, Node


def handler(cls: type) -> Handler | None:
    """The handler of a polars type."""
    for base, take_apart in _HANDLERS.items():
        if issubclass(cls, base):
            return take_apart
    return None


def _series(value: pl.Series) -> Node:
    return node(b"polars series", (value.name, _instance(value.dtype), len(value), *_parts(value)))


def _frame(value: pl.DataFrame) -> Node:
    columns = value.get_columns()
    order = Named("", *[f'["{column.name}"]' if column.name.isidentifier() else "" for column in columns])
    return node(b"polars frame", (value.height, *columns), order)


def _lazy_frame(value: pl.LazyFrame) -> Node:
    return node(b"polars plan", (value.serialize(),))


def _expression(value: pl.Expr) -> Node:
    return node(b"polars expression", (value.meta.serialize(),))


def _dtype(value: pl.DataType) -> Node:
    if isinstance(value, pl.Struct):
        return node(b"polars struct", [part for field in value.fields for part in (field.name, _instance(field.dtype))])
    if isinstance(value, pl.Enum):
        return node(b"polars enum", value.categories.to_list(), ITEMS)
    inner = getattr(value, "inner", None)
    if inner is not None:
        return typed(b"polars nested", type(value).__name__, (_instance(inner), getattr(value, "shape", None)))
    return typed(b"polars dtype", str(value), ())


def _instance(dtype: Any) -> object:
    # A dtype without parameters is sometimes its bare class, depending on the version.
    return dtype() if isinstance(dtype, type) else dtype


_HANDLERS: dict[type, Handler] = {
    pl.Series: _series,
    pl.DataFrame: _frame,
    pl.LazyFrame: _lazy_frame,
    pl.Expr: _expression,
    pl.DataType: _dtype,
}


def _parts(series: pl.Series) -> list[object]:
    """The content of a series, however it is chunked."""
    parts: list[object] = [None]
    if series.dtype != pl.Object and series.null_count():
        parts = [_flags(series.is_not_null())]
        series = series.drop_nulls()
    return parts + _present_parts(series)


def _flags(series: pl.Series) -> bytes:
    return _hash(_machine_numbers(series.cast(pl.UInt8), "B"))


def _present_parts(series: pl.Series) -> list[object]:
    dtype = series.dtype
    if isinstance(dtype, pl.Struct):
        return [part for field in series.struct.unnest().get_columns() for part in _parts(field)]
    if isinstance(dtype, (pl.List, pl.Array)):
        return _list_parts(series)
    if dtype == pl.Boolean:
        return [_flags(series)]
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        series = series.cast(pl.String)
    if series.dtype == pl.String:
        return [
            _hash(_machine_numbers(series.str.len_bytes().cast(pl.Int64), "q")),
            _hash(series.str.join("").cast(pl.Binary).item()),
        ]
    if dtype.is_temporal():
        series = series.to_physical()
    code = _CODES.get(type(series.dtype))
    return [series.to_list()] if code is None else [_hash(_machine_numbers(series, code))]


def _list_parts(series: pl.Series) -> list[object]:
    if isinstance(series.dtype, pl.Array):
        return _parts(series.explode()) if series.dtype.size and len(series) else []
    lengths = series.list.len()
    # Exploding makes a null of an empty list.
    return [_hash(_machine_numbers(lengths.cast(pl.Int64), "q")), *_parts(series.filter(lengths > 0).explode())]


_CODES: dict[type, str] = {
    pl.Int8: "b",
    pl.Int16: "h",
    pl.Int32: "i",
    pl.Int64: "q",
    pl.UInt8: "B",
    pl.UInt16: "H",
    pl.UInt32: "I",
    pl.UInt64: "Q",
    pl.Float32: "f",
    pl.Float64: "d",
}


def _machine_numbers(series: pl.Series, code: str) -> bytes | memoryview:
    """Little-endian numbers with one NaN; through numpy when that is loaded, which is faster and gives the same."""
    if code in "fd":
        series = series.fill_nan(float("nan"))
    if "numpy" in sys.modules and sys.byteorder == "little":
        array: Any = series.rechunk().to_numpy()
        return memoryview(array).cast("B") if len(array) else b""
    return numbers(code, series.to_list())


def _hash(content: bytes | memoryview) -> bytes:
    return blake3(content).digest()
