from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import numpy as np
import pyarrow as pa

HAS_VIEWS = hasattr(pa, "string_view") and hasattr(pa, "list_view")


def arrays() -> dict[str, Any]:
    """Six elements each, of every layout."""
    texts = ["a", "bb", None, "", "é and more than twelve bytes", "d"]
    lists = [[1], [], None, [2, 3], [None], [4]]
    structs = [
        {"a": 1, "b": "x"},
        None,
        {"a": None, "b": "y"},
        {"a": 3, "b": None},
        {"a": 1, "b": "q"},
        {"a": 1, "b": "x"},
    ]
    pairs = [[("a", 1)], [], None, [("b", 2), ("c", 3)], [("d", None)], [("e", 5)]]
    days = [dt.date(2024, 1, day) for day in range(1, 7)]
    noons = [dt.datetime(2024, 1, day, 12) for day in range(1, 7)]
    found = {
        "ints": pa.array([1, 2, None, 4, 5, 6]),
        "ints without null": pa.array([1, 2, 3, 4, 5, 6]),
        "small ints": pa.array([1, 2, None, 4, 5, 6], pa.int8()),
        "unsigned": pa.array([1, 2, None, 4, 5, 2**63], pa.uint64()),
        "floats": pa.array([1.0, float("nan"), None, 4.0, 5.0, 6.0]),
        "half floats": pa.array(np.array([1, 2, 3, 4, 5, 6], "f2")),
        "booleans": pa.array([True, None, False, True, True, False]),
        "texts": pa.array(texts),
        "large texts": pa.array(texts, pa.large_string()),
        "bytes": pa.array([None if text is None else text.encode() for text in texts], pa.binary()),
        "bytes of 3": pa.array([b"abc", None, b"abd", b"abc", b"abe", b"abf"], pa.binary(3)),
        "lists": pa.array(lists),
        "large lists": pa.array(lists, pa.large_list(pa.int64())),
        "lists of 2": pa.array([[1, 2], None, [3, 4], [5, None], [7, 8], [9, 9]], pa.list_(pa.int64(), 2)),
        "lists of lists": pa.array([[[1], [2]], [[]], None, [None, [3]], [[4, 5]], []]),
        "structs": pa.array(structs),
        "maps": pa.array(pairs, pa.map_(pa.string(), pa.int64())),
        "words": pa.array(["x", "y", None, "x", "y", "z"]).dictionary_encode(),
        "decimals": pa.array([decimal.Decimal(i) for i in range(6)], pa.decimal128(10, 2)),
        "days": pa.array(days),
        "noons": pa.array(noons, pa.timestamp("us")),
        "noons in UTC": pa.array(noons, pa.timestamp("us", "UTC")),
        "times": pa.array([dt.time(hour) for hour in range(6)]),
        "spans": pa.array([dt.timedelta(hours=hour) for hour in range(6)]),
        "intervals": pa.array([(1, 2, n) for n in range(6)], pa.month_day_nano_interval()),
        "nulls": pa.nulls(6),
        "union": pa.UnionArray.from_sparse(
            pa.array([0, 1, 0, 1, 0, 1], pa.int8()), [pa.array(range(6)), pa.array(list("abcdef"))]
        ),
        "runs": pa.RunEndEncodedArray.from_arrays([2, 4, 6], [1, None, 3], pa.run_end_encoded(pa.int32(), pa.int64())),
    }
    if HAS_VIEWS:
        found["text views"] = pa.array(texts, pa.string_view())
        found["list views"] = pa.array(lists, pa.list_view(pa.int64()))
    return found


def table() -> Any:
    return pa.table({name: arrays()[name] for name in ("ints", "texts", "lists", "words")})


def different() -> dict[str, object]:
    found = arrays()
    return {
        **found,
        "chunked": pa.chunked_array([found["ints"]]),
        "nothing": pa.array([], pa.int64()),
        "other words": pa.array(["x", "y", None, "x", "y", "z"]).dictionary_encode().take(pa.array([0, 1, 2, 3, 4, 0])),
        "last element else": pa.array([1, 2, None, 4, 5, 7]),
        "other null": pa.array([1, None, 3, 4, 5, 6]),
        "table": table(),
        "table, other names": table().rename_columns(list("abcd")),
        "table with metadata": table().replace_schema_metadata({"a": "b"}),
        "batch": table().to_batches()[0],
        "schema": table().schema,
        "schema with metadata": table().schema.with_metadata({"a": "b"}),
        "field": pa.field("a", pa.int64()),
        "field without null": pa.field("a", pa.int64(), nullable=False),
        "type": pa.int64(),
        "type with zone": pa.timestamp("us", "UTC"),
        "scalar": pa.scalar(1),
        "null scalar": pa.scalar(None, pa.int64()),
        "text scalar": pa.scalar("1"),
        "buffer": pa.py_buffer(b"abc"),
    }


def equal() -> dict[str, tuple[object, ...]]:
    groups: dict[str, tuple[object, ...]] = {}
    for name, array in arrays().items():
        groups[f"{name}, chunked however"] = (pa.chunked_array([array]), _cut(array, 1), _cut(array, 3), _cut(array, 5))
        groups[f"{name}, sliced twice"] = (array[1:5], array[1:][:4])
        if name not in {"half floats", "words", "union", "runs"}:
            groups[f"{name}, sliced and rebuilt"] = (array[1:5], pa.array(array.to_pylist()[1:5], array.type))
    pieces = [pa.array(["x"]).dictionary_encode(), pa.array(["y", "x"]).dictionary_encode()]
    return groups | {
        "words of their own in each chunk": (
            pa.chunked_array(pieces),
            pa.chunked_array([pa.array(["x", "y", "x"]).dictionary_encode()]),
        ),
        "under null": (_with_null(7), _with_null(9), pa.array([1, None, 3])),
        "null bits of nothing": (
            pa.array([1, 2]),
            pa.Array.from_buffers(pa.int64(), 2, [None, pa.py_buffer(np.array([1, 2]))]),
        ),
        "tables": (table(), pa.concat_tables([table()[:2], table()[2:]]), table().combine_chunks()),
        "every NaN": (pa.array([float("nan")]), pa.array(-np.array([float("nan")]), from_pandas=False)),
    }


def _cut(array: Any, at: int) -> Any:
    return pa.chunked_array([array[:at], array[at:at], array[at:]])


def _with_null(hidden: int) -> Any:
    bits, numbers = pa.py_buffer(bytes([0b101])), pa.py_buffer(np.array([1, hidden, 3]))
    return pa.Array.from_buffers(pa.int64(), 3, [bits, numbers])
