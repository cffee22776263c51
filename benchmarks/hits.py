"""What a hit costs beside other memoizers, and beside the bare read of the same row.

python benchmarks/hits.py [--seconds 10] [--endpoint-url http://localhost:8000]

Every line of a table is the same function with the same arguments and the same result, stored in the same folder,
all warm. The candidates take turns within one run, and medians are compared, so that a busy machine harms all alike.
Needs the extra `bench`; the DynamoDB table needs an endpoint, for example of `scripts/dynamodb_local.py run`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cachier
import diskcache
import joblib
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from dynmemo import Cache, dynamo_cached

if TYPE_CHECKING:
    from collections.abc import Iterator

Call = Callable[[], object]
ARGUMENTS = ("SEA", 14)
IN_A_ROW = 20


def small(city: str, horizon: int) -> dict[str, object]:
    """About 1 KB, pickled."""
    days = [{"day": day, "temperature": 12.5 + day / 7, "wet": day % 3 == 0} for day in range(horizon * 3)]
    return {"city": city, "days": days}


def large(city: str, horizon: int) -> pd.DataFrame:
    """About 100 KB: a frame of numbers."""
    return pd.DataFrame(np.random.default_rng(horizon).normal(size=(1600, 8)), columns=list("abcdefgh"))


def main() -> None:
    options = _options()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        for function in (small, large):
            size = len(pickle.dumps(function(*ARGUMENTS), protocol=5))
            candidates = sqlite_candidates(function, Path(folder) / function.__name__)
            times = measure(candidates, options.seconds, time.perf_counter)
            console.print(table(f"A hit on disk, {size:,} bytes pickled: wall time", times))
        for function in (small, large) if options.endpoint_url else ():
            with dynamodb_candidates(function, options.endpoint_url) as candidates:
                times = measure(candidates, options.seconds, time.process_time)
            console.print(table(f"A hit on DynamoDB, {function.__name__} value: CPU time", times))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="time for each table")
    parser.add_argument("--endpoint-url", help="a DynamoDB endpoint; without one its table is left out")
    return parser.parse_args()


def sqlite_candidates(function: Callable[..., Any], folder: Path) -> dict[str, Call]:
    """Calls that all hit; the first is ours."""
    folder.mkdir()
    cache = Cache.sqlite(folder / "dynmemo.db")
    ours = dynamo_cached(cache=cache)(function)
    functions: dict[str, Callable[..., Any]] = {
        "dynmemo": ours,
        "diskcache": diskcache.Cache(str(folder / "diskcache")).memoize()(function),
        "joblib.Memory": joblib.Memory(folder / "joblib", verbose=0).cache(function),
        "cachier": cachier.cachier(cache_dir=folder / "cachier")(function),
    }
    for memoized in functions.values():
        memoized(*ARGUMENTS)  # computes and stores
    connection = sqlite3.connect(folder / "dynmemo.db", isolation_level=None)
    row = (cache.store.partition_key(ours.cache_key(*ARGUMENTS)),)
    assert len(connection.execute("SELECT value FROM entries WHERE key = ?", row).fetchall()) == 1
    calls: dict[str, Call] = {name: partial(memoized, *ARGUMENTS) for name, memoized in functions.items()}
    calls["bare SELECT"] = lambda: connection.execute("SELECT value FROM entries WHERE key = ?", row).fetchone()
    return calls


@contextlib.contextmanager
def dynamodb_candidates(function: Callable[..., Any], endpoint_url: str) -> Iterator[dict[str, Call]]:
    """Calls that all hit; the first is ours."""
    import boto3

    os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
    table_name = f"dynmemo-benchmark-{os.getpid()}-{function.__name__}"
    region = "eu-west-1"
    cache = Cache.dynamodb(table_name, create_table_if_not_exists=True, region=region, endpoint_url=endpoint_url)
    client = boto3.client("dynamodb", region_name=region, endpoint_url=endpoint_url)
    ours = dynamo_cached(cache=cache)(function)
    ours(*ARGUMENTS)  # computes and stores
    key = {"id": {"S": cache.store.partition_key(ours.cache_key(*ARGUMENTS))}}

    bare = partial(client.get_item, TableName=table_name, Key=key, ConsistentRead=True)
    assert "Item" in bare()
    try:
        yield {"dynmemo": partial(ours, *ARGUMENTS), "bare get_item": bare}
    finally:
        client.delete_table(TableName=table_name)


def measure(candidates: dict[str, Call], seconds: float, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds per call. The candidates take turns, `IN_A_ROW` calls each, until the time is over."""
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, call in candidates.items():
            start = clock()
            for _ in range(IN_A_ROW):
                call()
            samples[name].append((clock() - start) / IN_A_ROW)
    return {name: statistics.median(times) for name, times in samples.items()}


def table(title: str, times: dict[str, float]) -> Table:
    """`times` with the ratio of our own to each."""
    ours = times["dynmemo"]
    shown = Table("", "median", "dynmemo / this", title=title, title_justify="left", min_width=len(title))
    for name, seconds in times.items():
        shown.add_row(name, f"{seconds * 1e6:,.1f} us", f"{ours / seconds:.2f}")
    return shown


if __name__ == "__main__":
    main()
