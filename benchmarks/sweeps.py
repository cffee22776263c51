"""What `map` costs beside a loop over the same stored calls, and how near processes that share one come to the ideal.

python benchmarks/sweeps.py [--endpoint-url URL]

Loop and `map` take turns in new processes, as who opens a notebook has them, and do the same again there: then SQLite's
entries are near. Beside them stands what the same rows cost without this library. All of this is processor time on
SQLite. Of the processes that share a sweep one is killed in the middle: how long after that does another begin the item
that it was at? The lines on DynamoDB need an endpoint, for example that of `scripts/dynamodb_local.py run`.
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

if TYPE_CHECKING:
    from collections.abc import Sequence

CALLS, TURNS = 1_000, 5
WORKERS, ITEMS, SECONDS = 4, 40, 0.25
LEASE_SECONDS = 10

PROGRAM = """
import socket, sys, time
from dynmemo import dynamo_cached

url, name, *host = sys.argv[1:]
if host:  # then nobody here knows whether a process of ours has ended
    socket.gethostname = lambda: host[0]

@dynamo_cached(cache=url, name=name, version=1)
def item(x):
    print(x, time.time(), flush=True)
    time.sleep({seconds})
    return x

item.cache_key(0), item.entry(-1)  # the store is open
print("ready", flush=True)
sys.stdin.readline()
assert item.map(range({items})) == list(range({items}))
"""


STORED = """
import sqlite3, sys, time
from dynmemo import dynamo_cached

@dynamo_cached(cache=sys.argv[1], name="bench.stored", version=1)
def stored(x):
    return dict(x=x)

def bare():
    for part in parts:
        if table is None:
            file.execute("SELECT * FROM entries WHERE key IN (%s)" % ", ".join("?" * len(part)), part).fetchall()
        else:
            wanted = dict(Keys=[dict(id=dict(S=key)) for key in part], ConsistentRead=True)
            client.batch_get_item(RequestItems={{table: wanted}})

url, way = sys.argv[1:]
stored(-1), stored.map([-1])  # the store is open
keys, table = ["dc:" + stored.cache_key(x) for x in range({calls})], None
if url.startswith("sqlite"):
    file = sqlite3.connect(url.removeprefix("sqlite:///"))
else:
    import boto3, urllib.parse
    parsed = urllib.parse.urlparse(url)
    table, options = parsed.netloc, dict(urllib.parse.parse_qsl(parsed.query))
    client = boto3.client("dynamodb", region_name=options["region"], endpoint_url=options["endpoint_url"])
    client.describe_table(TableName=table)
size = 100 if table else 300
parts = [keys[start : start + size] for start in range(0, len(keys), size)]
ways = dict(
    map=lambda: stored.map(range({calls})), loop=lambda: [stored(x) for x in range({calls})],
    warm=lambda: stored.warm(range({calls})), bare=bare,
)
# Nothing waits for a file that is in memory: processor time says the same, and better on a busy machine.
clock = time.perf_counter if table else time.process_time
before, seconds = stored.cache_info().requests, []
for _ in range(4):
    began = clock()
    ways[way]()
    seconds.append(clock() - began)
    requests = stored.cache_info().requests - before if len(seconds) == 1 else requests
print(seconds[0], sorted(seconds[1:])[1], requests)
"""


class Fleet:
    """Processes that map the same items, all at once.

    Args:
        url: of the cache.
        name: of the function.
        hosts: the name of its machine for each process, if it is to be on one of its own.
    """

    def __init__(self, url: str, name: str, hosts: Sequence[str | None]) -> None:
        program = PROGRAM.format(seconds=SECONDS, items=ITEMS)
        commands = [[sys.executable, "-c", program, url, name, *([host] if host else [])] for host in hosts]
        self.workers: list[Any] = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands
        ]
        for worker in self.workers:
            worker.stdout.readline()
        for worker in self.workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()

    def begun(self) -> list[tuple[int, float]]:
        """The items whose computation was begun from now on, and when, until all have ended."""
        lines = [line.split() for worker in self.workers for line in worker.stdout]
        for worker in self.workers:
            worker.wait()
        return [(int(item), float(at)) for item, at in lines]


def together(url: str) -> tuple[float, int]:
    """Seconds in which processes map the same items, and how many computations that took."""
    fleet = Fleet(url, "bench.sweep", [None] * WORKERS)
    began = time.perf_counter()
    computed = len(fleet.begun())
    return time.perf_counter() - began, computed


def with_one_killed(url: str, host: str | None) -> tuple[float, int]:
    """Seconds from when one is killed until another one begins its item, and how many items were begun twice."""
    fleet = Fleet(
        f"{url}{'&' if '?' in url else '?'}lease_seconds={LEASE_SECONDS}",
        f"bench.killed.{host}",
        [host, *[None] * (WORKERS - 1)],
    )
    mine = [fleet.workers[0].stdout.readline().split()[0] for _ in range(3)]
    time.sleep(SECONDS / 2)
    fleet.workers[0].kill()
    killed = time.time()
    begun = fleet.begun()
    [again] = [at for item, at in begun if item == int(mine[-1])]
    return again - killed, len(begun) + len(mine) - ITEMS


def in_a_new_process(way: str, url: str) -> tuple[float, float, int]:
    """Seconds that it took at first and when it was done again, and the requests of the first time."""
    command = [sys.executable, "-c", STORED.format(calls=CALLS), url, way]
    at_first, again, requests = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(at_first), float(again), int(requests)


def beside_a_loop(url: str) -> dict[str, list[tuple[float, float, int]]]:
    """What stored calls cost with `map`, in a loop, and as bare reads."""
    in_a_new_process("warm", url)
    samples: dict[str, list[tuple[float, float, int]]] = {way: [] for way in ("map", "loop", "bare")}
    for _ in range(TURNS):
        for way, taken in samples.items():
            taken.append(in_a_new_process(way, url))
    return samples


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
            samples = beside_a_loop(url)
            for time_of, when in enumerate(("at first", "again")):
                medians = {way: statistics.median(each[time_of] for each in taken) for way, taken in samples.items()}
                ours = medians.pop("map")
                for way, seconds in medians.items():
                    what = f"{CALLS:,} stored calls {when}, {name} ({samples['map'][0][2]} requests)"
                    took = f"{way} {seconds * 1e3:,.0f} ms"
                    shown.add_row(what, f"{ours * 1e3:,.0f} ms", took, f"{ours / seconds:.2f}")
            lasted, computed = together(url)
            ideal = SECONDS * ITEMS / WORKERS
            what = f"{WORKERS} processes, {ITEMS} items of {SECONDS} s, {name} ({computed} computed)"
            shown.add_row(what, f"{lasted:.2f} s", f"ideal {ideal:.2f} s", f"{lasted / ideal:.2f}")
            for host in (None, "elsewhere"):
                seconds, twice = with_one_killed(url, host)
                where = "on this machine" if host is None else "on another machine"
                what = f"the same, one killed {where}, {name}: its item begun again ({twice} twice)"
                shown.add_row(what, f"{seconds:.2f} s", f"lease {LEASE_SECONDS} s", f"{seconds / LEASE_SECONDS:.2f}")
    Console().print(shown)


if __name__ == "__main__":
    main()
