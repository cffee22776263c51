from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import polars as pl


def columns() -> dict[str, pl.Series]:
    """Six elements each, of every dtype."""
    days = [dt.date(2024, 1, day) for day in range(1, 7)]
    noons = pl.Series([dt.datetime(2024, 1, day, 12) for day in range(1, 7)])
    structs = [
        {"a": 1, "b": "x"},
        None,
        {"a": None, "b": "y"},
        {"a": 3, "b": None},
        {"a": 1, "b": "q"},
        {"a": 1, "b": "x"},
    ]
    texts = ["a", "bb", None, "", "é and more than twelve bytes", "d"]
    found = {
        "ints": pl.Series([1, 2, None, 4, 5, 6]),
        "ints without null": pl.Series([1, 2, 3, 4, 5, 6]),
        "small ints": pl.Series([1, 2, None, 4, 5, 6], dtype=pl.Int8),
        "unsigned": pl.Series([1, 2, None, 4, 5, 2**63], dtype=pl.UInt64),
        "floats": pl.Series([1.0, float("nan"), None, 4.0, 5.0, 6.0]),
        "small floats": pl.Series([1.0, float("nan"), None, 4.0, 5.0, 6.0], dtype=pl.Float32),
        "booleans": pl.Series([True, None, False, True, True, False]),
        "texts": pl.Series(texts),
        "bytes": pl.Series([None if text is None else text.encode() for text in texts], dtype=pl.Binary),
        "~categories": pl.Series(texts, dtype=pl.Categorical),
        "enum": pl.Series(["x", "y", None, "x", "y", "z"], dtype=pl.Enum(["x", "y", "z"])),
        "enum of more": pl.Series(["x", "y", None, "x", "y", "z"], dtype=pl.Enum(["x", "y", "z", "w"])),
        "lists": pl.Series([[1], [], None, [2, 3], [None], [4]]),
        "lists of lists": pl.Series([[[1], [2]], [[]], None, [None, [3]], [[4, 5]], []]),
        "lists of texts": pl.Series([["x"], [], None, ["y", "z"], [None], [""]]),
        "arrays": pl.Series([[1, 2], None, [3, 4], [5, None], [7, 8], [9, 9]], dtype=pl.Array(pl.Int64, 2)),
        "structs": pl.Series(structs),
        "days": pl.Series(days),
        "noons": noons,
        "noons in UTC": noons.dt.replace_time_zone("UTC"),
        "noons in ms": noons.cast(pl.Datetime("ms")),
        "times": pl.Series([dt.time(hour) for hour in range(6)]),
        "spans": pl.Series([dt.timedelta(hours=hour) for hour in range(6)]),
        "decimals": pl.Series([decimal.Decimal(n) for n in range(6)], dtype=pl.Decimal(10, 2)),
        "nulls": pl.Series([None] * 6, dtype=pl.Null),
        "objects": pl.Series([1, "a", (2,), 3.0, 5, 6], dtype=pl.Object),
    }
    if hasattr(pl, "Int128"):
        found["huge ints"] = pl.Series([2**100, None, 3, 4, 5, 6], dtype=pl.Int128)
    return found


def frame() -> pl.DataFrame:
    return pl.DataFrame({name: columns()[name] for name in ("ints", "texts", "lists", "enum")})


def different() -> dict[str, object]:
    plan = frame().lazy().filter(pl.col("ints") > 1)
    return {
        **columns(),
        "with a name": columns()["ints"].rename("a"),
        "nothing": pl.Series([], dtype=pl.Int64),
        "last element else": pl.Series([1, 2, None, 4, 5, 7]),
        "other null": pl.Series([1, None, 3, 4, 5, 6]),
        "frame": frame(),
        "frame, other order": frame()[:, ::-1],
        "frame, other name": frame().rename({"ints": "int"}),
        "empty frame": pl.DataFrame(),
        "dtype": pl.Datetime("us"),
        "dtype with zone": pl.Datetime("us", "UTC"),
        "~plan": plan,
        "~other plan": plan.select("texts"),
        "~plan of other data": frame()[1:].lazy().filter(pl.col("ints") > 1),
        "~expression": pl.col("a") + 1,
        "~other expression": pl.col("a") + 2,
    }


def equal() -> dict[str, tuple[object, ...]]:
    groups: dict[str, tuple[object, ...]] = {}
    for name, column in columns().items():
        if name == "objects":
            continue
        groups[f"{name}, chunked"] = (column, _chunked(column), _chunked(column).rechunk())
        groups[f"{name}, sliced"] = (column[1:5], _rebuilt(column[1:5]))
    return groups | {
        "frames": (frame(), pl.concat([frame()[:2], frame()[2:]]), frame().clone()),
        "every NaN": (pl.Series([float("nan")]), -pl.Series([float("nan")])),
        "plans": (frame().lazy().filter(pl.col("ints") > 1), frame().lazy().filter(pl.col("ints") > 1)),
    }


def _chunked(column: pl.Series) -> pl.Series:
    return column[:2].clone().append(column[2:])


def _rebuilt(column: Any) -> pl.Series:
    return pl.Series(column.to_list(), dtype=column.dtype)
