"""What `map` costs beside a loop over the same stored calls, and how near processes that share one come to the ideal.

python benchmarks/sweeps.py [--endpoint-url URL]

Near entries are off, so that loop and `map` read the same. The lines on DynamoDB need an endpoint, for example that of
`scripts/dynamodb_local.py run`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from rich.console import Console
from rich.table import Table

from dynmemo import Cache, dynamo_cached

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS, TURNS = 1_000, 5
WORKERS, ITEMS, SECONDS = 4, 40, 0.25

PROGRAM = """
import sys, time
from dynmemo import dynamo_cached

@dynamo_cached(cache=sys.argv[1], name="bench.sweep", version=1)
def item(x):
    time.sleep({seconds})
    return x

item.cache_key(0), item.entry(-1)  # the store is open
print("ready", flush=True)
sys.stdin.readline()
assert item.map(range({items})) == list(range({items}))
print(item.cache_info().computed, flush=True)
"""


def together(url: str) -> tuple[float, int]:
    """Seconds in which processes map the same items, and how many computations that took."""
    command = [sys.executable, "-c", PROGRAM.format(seconds=SECONDS, items=ITEMS), url]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)
    ]
    pipes: list[tuple[Any, Any]] = [(worker.stdin, worker.stdout) for worker in workers]
    for _, out in pipes:
        out.readline()
    began = time.perf_counter()
    for into, _ in pipes:
        into.write("go\n")
        into.flush()
    computed = sum(int(out.readline()) for _, out in pipes)
    lasted = time.perf_counter() - began
    for worker in workers:
        worker.wait()
    return lasted, computed


def beside_a_loop(cache: Cache) -> tuple[float, float]:
    """Median seconds of `map` over stored calls, and of a loop over them; they take turns."""

    @dynamo_cached(cache=cache, name="bench.stored", version=1)
    def stored(x: int) -> dict[str, int]:
        return {"x": x}

    stored.warm(range(CALLS))
    ways: dict[str, Callable[[], object]] = {
        "map": lambda: stored.map(range(CALLS)),
        "loop": lambda: [stored(x) for x in range(CALLS)],
    }
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            samples[name].append(time.perf_counter() - began)
    return statistics.median(samples["map"]), statistics.median(samples["loop"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint-url", help="a DynamoDB endpoint")
    endpoint = parser.parse_args().endpoint_url
    shown = Table("", "map", "beside", "map / that")
    with tempfile.TemporaryDirectory() as folder:
        urls = {"SQLite": f"sqlite:///{(Path(folder) / 'sweeps.db').as_posix()}"}
        if endpoint:
            os.environ.setdefault("AWS_ACCESS_KEY_ID", "local")
            os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "local")
            table = f"dynmemo-sweeps-{os.getpid()}"
            where = f"region=eu-west-1&endpoint_url={quote(endpoint, safe='')}&create_table_if_not_exists=true"
            urls["DynamoDB"] = f"dynamodb://{table}?{where}"
        for name, url in urls.items():
            cache = Cache.from_url(url + ("&" if "?" in url else "?") + "near_max_bytes=0")
            ours, loop = beside_a_loop(cache)
            what = f"{CALLS:,} stored calls, {name}"
            shown.add_row(what, f"{ours * 1e3:,.0f} ms", f"loop {loop * 1e3:,.0f} ms", f"{ours / loop:.2f}")
            lasted, computed = together(url)
            ideal = SECONDS * ITEMS / WORKERS
            what = f"{WORKERS} processes, {ITEMS} items of {SECONDS} s, {name} ({computed} computed)"
            shown.add_row(what, f"{lasted:.2f} s", f"ideal {ideal:.2f} s", f"{lasted / ideal:.2f}")
            cache.close()
    Console().print(shown)


if __name__ == "__main__":
    main()
