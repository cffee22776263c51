"""What a digest costs beside `joblib.hash`, in one run.

python benchmarks/digest.py [--seconds 3]

For each value the two take turns in random order for so many seconds, and medians are told, so that a busy machine
harms both alike. Needs the extra `bench`; rows of pyarrow and polars appear where those are installed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import random
import statistics
import time
from typing import TYPE_CHECKING

import joblib
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from dynmemo.keys.digest import digest_arguments

if TYPE_CHECKING:
    from collections.abc import Callable

Arguments = tuple[tuple[str, object], ...]
ROWS = 1_000_000


class Settings:
    """A plain object."""

    def __init__(self) -> None:
        self.city = "SEA"
        self.horizon = 14
        self.levels = [0.8, 0.95]


def main() -> None:
    seconds = _options().seconds
    table = Table("arguments", "dynmemo", "joblib.hash", "joblib / dynmemo")
    for name, value in {**small(), **large()}.items():
        ours, theirs = measure(value, seconds)
        table.add_row(name, _text(ours), _text(theirs), f"{theirs / ours:.1f}")
    Console(width=100).print(table)


def small() -> dict[str, Arguments]:
    """Calls of every day."""
    return {
        "one text": (("city", "SEA"),),
        "text and number": (("city", "SEA"), ("horizon", 14)),
        "ten numbers and texts": tuple((f"p{i}", i * 1.5 if i % 2 else f"text {i}") for i in range(10)),
        "list and dict": (("cities", ["SEA", "PDX"]), ("options", {"horizon": 14, "levels": [0.8, 0.95]})),
        "two dates": (("start", datetime.date(2024, 1, 1)), ("end", datetime.datetime(2024, 2, 29, 12))),
        "plain object": (("self", Settings()), ("city", "SEA")),
        "small frame": (("df", pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})),),
    }


def large() -> dict[str, Arguments]:
    """Data of every day."""
    random_ = np.random.default_rng(0)
    texts = [f"user {number}" for number in random_.integers(0, ROWS, ROWS)]
    numbers = random_.random(100 * 2**20 // 8)
    frame = pd.DataFrame({"a": random_.random(ROWS), "b": random_.integers(0, 9, ROWS), "text": texts})
    values: dict[str, object] = {
        "array of 100 MB": numbers,
        "array of 100 MB, F order": numbers.reshape(1024, -1, order="F"),
        "frame, 1 M rows, text": frame,
        "frame, 1 M rows, text as objects": frame.astype({"text": object}),
        "frame, 1 M rows, 13 numbers": pd.DataFrame(numbers[: 13 * ROWS].reshape(ROWS, 13)),
        "frame, 100 rows, 3,000 numbers": pd.DataFrame(numbers[:300_000].reshape(100, -1)),
        "list of 1 M texts": texts,
        "list of 10,000 dicts": [{"id": number, "name": text} for number, text in enumerate(texts[:10_000])],
    }
    with contextlib.suppress(ImportError):
        import pyarrow as pa

        values["arrow table, 1 M rows, text"] = pa.Table.from_pandas(frame)
    with contextlib.suppress(ImportError):
        import polars as pl

        values["polars frame, 1 M rows, text"] = pl.DataFrame(
            {name: frame[name].to_numpy() for name in "ab"} | {"text": texts}
        )
    return {name: (("data", value),) for name, value in values.items()}


def measure(arguments: Arguments, seconds: float) -> tuple[float, float]:
    """Seconds per digest, ours and theirs."""
    candidates: list[Callable[[], object]] = [lambda: digest_arguments(arguments), lambda: joblib.hash(arguments)]
    taken: list[list[float]] = [[], []]
    repeat = 1 if _once(candidates[1], 1) > 0.001 else 100
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or len(taken[1]) < 3:
        for index in random.sample(range(2), 2):
            taken[index].append(_once(candidates[index], repeat))
    return statistics.median(taken[0]), statistics.median(taken[1])


def _once(candidate: Callable[[], object], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        candidate()
    return (time.perf_counter() - start) / repeat


def _text(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms" if seconds > 0.001 else f"{seconds * 1e6:,.1f} µs"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="per row of the table (default: 3)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
