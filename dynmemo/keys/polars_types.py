"""polars: series, frames, lazy frames and expressions.

A series is its name, its dtype, which elements are null, and the others. A lazy frame is its plan: of a
plan that scans files the paths count, not what is in the files. A Python function in a plan or an expression
stands there as pickled bytes, which may only name it: what they name of the user's own counts beside them.
"""

from __future__ import annotations

import pickletools
import re
import sys
import types
from typing import TYPE_CHECKING, Any, Final

import polars as pl
from blake3 import blake3

from dynmemo._process import MAIN_MODULES
from dynmemo.keys.builtin import numbers
from dynmemo.keys.encoding import ITEMS, Columns, node, typed
from dynmemo.keys.objects import added, named_in
from dynmemo.keys.own import is_own_module

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.keys.encoding import Handler, Node


def _series(value: pl.Series) -> Node:
    return node(
        b"polars series", (value.name, _instance(value.dtype), len(value), *_parts(value), *added(value, "polars"))
    )


def _frame(value: pl.DataFrame) -> Node:
    first = (value.height, *added(value, "polars"))
    order = Columns(*[""] * len(first), labels=value.columns)
    return node(b"polars frame", (*first, *value.get_columns()), order)


def _dtype(value: pl.DataType) -> Node:
    if isinstance(value, pl.Struct):
        return node(b"polars struct", [part for field in value.fields for part in (field.name, _instance(field.dtype))])
    if isinstance(value, pl.Enum):
        return node(b"polars enum", value.categories.to_list(), ITEMS)
    inner = getattr(value, "inner", None)
    if inner is not None:
        return typed(b"polars nested", type(value).__name__, (_instance(inner), getattr(value, "shape", None)))
    return typed(b"polars dtype", str(value), ())


def _serialized(kind: bytes, data: bytes, *more: object) -> Node:
    return node(kind, (data, *more, *(thing for pickled in _pickles(data) for thing in _named(list(_texts(pickled))))))


# How a pickle begins: its protocol and the length of its first frame. In a list of numbers, as msgpack has it, each
# byte above 127 has one before it.
_PICKLE: Final = re.compile(rb"\x80[\x04\x05]\xcc?\x95(?:\xcc?.){4}\x00{4}", re.DOTALL)


def _pickles(data: bytes) -> Iterator[bytes]:
    for found in _PICKLE.finditer(data):
        rest = data[found.start() :]
        yield rest if rest[2:3] == b"\x95" else re.sub(rb"\xcc(.)", rb"\1", rest, flags=re.DOTALL)


def _named(texts: list[str]) -> Iterator[object]:
    """Own things that are pickled by name, and those that a function pickled by value may ask of own modules."""
    yield from named_in(tuple(texts))
    for module in filter(is_own_module, dict.fromkeys(texts)):
        has = vars(sys.modules[module]) if module in sys.modules and module not in MAIN_MODULES else {}
        asked = [has[name] for name in dict.fromkeys(texts) if name in has and not name.startswith("__")]
        yield from (thing for thing in asked if not isinstance(thing, types.ModuleType))


def _texts(pickled: bytes) -> Iterator[str]:
    """The texts that a pickle puts on its stack, in their order; nothing of it is run."""
    known: list[object] = []
    last: object = None
    try:
        for operation, value, _ in pickletools.genops(pickled):
            if operation.name == "MEMOIZE":
                known.append(last)
                continue
            last = known[value or 0] if operation.name in {"BINGET", "LONG_BINGET"} else value
            if isinstance(last, str):
                yield last
    except (ValueError, IndexError):  # bytes of the user's that only begin like one
        return


def _instance(dtype: Any) -> object:
    # A dtype without parameters is sometimes its bare class, depending on the version.
    return dtype() if isinstance(dtype, type) else dtype


TYPES: Final[dict[type, Handler]] = {
    pl.Series: _series,
    pl.DataFrame: _frame,
    pl.LazyFrame: lambda value: _serialized(b"polars plan", value.serialize(), *added(value, "polars")),
    pl.Expr: lambda value: _serialized(b"polars expression", value.meta.serialize()),
    pl.DataType: _dtype,
}
"""The reader of a type and of those made of it; the first that fits."""


def _parts(series: pl.Series) -> list[object]:
    """The content of a series, however it is chunked."""
    if series.dtype == pl.Object or not series.null_count():
        return [None, *_present_parts(series)]
    return [_flags(series.is_not_null()), *_present_parts(series.drop_nulls())]


def _flags(series: pl.Series) -> bytes:
    return _numbers(series.cast(pl.UInt8), "B")


def _present_parts(series: pl.Series) -> list[object]:
    dtype = series.dtype
    if isinstance(dtype, pl.Struct):
        return [part for field in series.struct.unnest().get_columns() for part in _parts(field)]
    if isinstance(dtype, pl.Array):
        return _parts(series.explode()) if dtype.size and len(series) else []
    if isinstance(dtype, pl.List):
        lengths = series.list.len()
        # Exploding makes a null of an empty list.
        return [_numbers(lengths.cast(pl.Int64), "q"), *_parts(series.filter(lengths > 0).explode())]
    if dtype == pl.Boolean:
        return [_flags(series)]
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        series = series.cast(pl.String)
        texts = series.str.join("").cast(pl.Binary).item()
        return [_numbers(series.str.len_bytes().cast(pl.Int64), "q"), blake3(texts).digest()]
    if dtype.is_temporal():
        series = series.to_physical()
    code = _CODES.get(type(series.dtype))
    return [series.to_list() if code is None else _numbers(series, code)]


_CODES: Final[dict[type, str]] = {
    pl.Int8: "b",
    pl.Int16: "h",
    pl.Int32: "i",
    pl.Int64: "q",
    pl.Float32: "f",
    pl.UInt8: "B",
    pl.UInt16: "H",
    pl.UInt32: "I",
    pl.UInt64: "Q",
    pl.Float64: "d",
}


def _numbers(series: pl.Series, code: str) -> bytes:
    """The hash of little-endian numbers with one NaN; numpy is faster where it is loaded, and gives the same."""
    if code in "fd":
        series = series.fill_nan(float("nan"))
    if "numpy" in sys.modules and sys.byteorder == "little":
        array: Any = series.rechunk().to_numpy()
        return blake3(memoryview(array).cast("B") if len(array) else b"").digest()
    return blake3(numbers(code, series.to_list())).digest()
