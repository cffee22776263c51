"""What a near hit on DynamoDB costs beside a hit without near entries, and beside cachetools in the same process.

python benchmarks/near.py [--seconds 20] [--endpoint-url http://localhost:8000]

Calls take turns within one run, and medians are compared, so that a busy machine harms all alike. One result cannot be
changed, so everybody is given the same object; the other is a dict, of which every caller gets one of its own.
cachetools gives all callers the same object. Needs the extra `bench`, and without an endpoint also `test`: then it
starts DynamoDB Local itself.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import cachetools
from rich.console import Console
from rich.table import Table

from dynmemo import Cache, dynamo_cached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ARGUMENTS = ("SEA", 14)
IN_A_ROW = 50
REGION = "eu-west-1"


def number(city: str, horizon: int) -> float:
    """A result that nobody can change."""
    return 12.5


def mapping(city: str, horizon: int) -> dict[str, object]:
    """A small result of which each caller gets an object of its own."""
    return {"city": city, "temperature": 12.5}


def main() -> None:
    options = _options()
    console = Console()
    with endpoint(options.endpoint_url) as url, table_of_its_own(url) as caches:
        for function in (number, mapping):
            times = measure(candidates(function, *caches), options.seconds / 2)
            console.print(table(f"A hit whose result is a {function.__annotations__['return']}", times))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="time for all")
    parser.add_argument("--endpoint-url", help="a DynamoDB endpoint; without one DynamoDB Local is started")
    return parser.parse_args()


@contextlib.contextmanager
def endpoint(given: str | None) -> Iterator[str]:
    if given is not None:
        yield given
        return
    from tests import engine

    with engine.run() as running:
        yield running.endpoint


@contextlib.contextmanager
def table_of_its_own(endpoint_url: str) -> Iterator[tuple[Cache, Cache]]:
    """Two caches of one table: with near entries and without."""
    import boto3

    os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
    name = f"dynmemo-near-{os.getpid()}"
    make = partial(Cache.dynamodb, name, create_table_if_not_exists=True, region=REGION, endpoint_url=endpoint_url)
    try:
        yield make(near="1h"), make()
    finally:
        boto3.client("dynamodb", region_name=REGION, endpoint_url=endpoint_url).delete_table(TableName=name)


def candidates(function: Callable[..., Any], near: Cache, far: Cache) -> dict[str, Callable[[], object]]:
    """Calls that all hit; the first is the near one."""
    functions: dict[str, Callable[..., Any]] = {
        "near": dynamo_cached(cache=near)(function),
        "without near": dynamo_cached(cache=far)(function),
        "cachetools.cached(TTLCache)": cachetools.cached(cachetools.TTLCache(1000, 3600))(function),
        "the same with a lock": cachetools.cached(cachetools.TTLCache(1000, 3600), lock=threading.Lock())(function),
    }
    for memoized in functions.values():
        for _ in range(2):  # computed and stored, then read
            memoized(*ARGUMENTS)
    return {name: partial(memoized, *ARGUMENTS) for name, memoized in functions.items()}


def measure(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median seconds per call. They take turns until the time is over; of those that make requests, one at a time."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, call in calls.items():
            count = 1 if name == "without near" else IN_A_ROW
            start = time.perf_counter()
            for _ in range(count):
                call()
            samples[name].append((time.perf_counter() - start) / count)
    return {name: statistics.median(times) for name, times in samples.items()}


def table(title: str, times: dict[str, float]) -> Table:
    """`times` with the ratio of a near hit to each."""
    near = times["near"]
    shown = Table("", "median", "near / this", title=title, title_justify="left", min_width=len(title))
    for name, seconds in times.items():
        shown.add_row(name, f"{seconds * 1e6:,.2f} us", f"{near / seconds:.4f}")
    return shown


if __name__ == "__main__":
    main()
