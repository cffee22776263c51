"""What results of every size cost beside other memoizers: hits, misses, writes, and the import.

python benchmarks/values.py [--seconds 3] [--only NAME ...] [--endpoint-url URL] [--gigabyte] [--write]

Each line is the same function with the same arguments and results for all, stored in the same folder. Within one run
the candidates take turns, and medians are compared, so that a busy machine harms all alike. Needs the extra `bench`;
the lines on DynamoDB need an endpoint, for example http://localhost:8000 of `scripts/dynamodb_local.py run`. `--write`
puts those with peers into docs/explanation/figures.md.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diskcache
import joblib
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from dynmemo import Cache, dynamo_cached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Function = Callable[..., Any]
    Call = Callable[[], object]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "figures.md"
PEERS = ("dynmemo", "diskcache", "joblib")

TEXT = """\
# Figures of one run

Made by `python benchmarks/values.py --gigabyte --write` {made}, on a machine with {processors} processors
on which {load:.0f} programs wanted to run. Medians; the candidates take turns, so compare within a line.
[What results cost](performance.md) says where the time goes.

| | {names} |
|---|---:|---:|---:|
{rows}
"""

RATES = {"SEA": 1.25, "SFO": 2.5, "JFK": 3.75, "LHR": 5.0}


def frame_10mb(seed: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(156_250, 8)), columns=list("abcdefgh"))


def array_10mb(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=1_250_000)


def array_1gb(seed: int) -> np.ndarray[Any, Any]:
    return np.full(125_000_000, float(seed))


def frame_100kb(seed: int) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(1600, 8)), columns=list("abcdefgh"))


def dict_1kb(seed: int) -> dict[str, object]:
    return {"city": seed, "days": [{"day": day, "temperature": day / 7, "wet": day % 3 == 0} for day in range(42)]}


def with_global(seed: int) -> dict[str, object]:
    return {"rate": RATES["SEA"], **dict_1kb(seed)}


@dataclass
class Line:
    """One line of the table: what was measured, and the medians in seconds, ours first."""

    what: str
    medians: dict[str, float]


def take_turns(calls: dict[str, Call], seconds: float, in_a_row: int) -> dict[str, float]:
    """Median seconds a call; the candidates take turns, `in_a_row` calls each, until the time is over.

    The order is another one in each round: who comes after a call that fills the processor's caches takes longer.
    """
    samples: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    end = time.monotonic() + seconds
    while time.monotonic() < end or len(samples[names[0]]) < 3:
        random.shuffle(names)
        for name in names:
            call = calls[name]
            start = time.perf_counter()
            for _ in range(in_a_row):
                call()
            samples[name].append((time.perf_counter() - start) / in_a_row)
    return {name: statistics.median(times) for name, times in samples.items()}


def memoized(function: Function, folder: Path, **options: Any) -> dict[str, Function]:
    """The function under each memoizer, all in one folder; ours first."""
    folder.mkdir()
    return {
        "dynmemo": dynamo_cached(cache=Cache.sqlite(folder / "dynmemo.db"), **options)(function),
        "diskcache": diskcache.Cache(str(folder / "diskcache"), size_limit=2**34).memoize()(function),
        "joblib": joblib.Memory(folder / "joblib", verbose=0).cache(function),
    }


def hits(function: Function, folder: Path, seconds: float, in_a_row: int) -> dict[str, float]:
    """Warm hits of one call."""
    functions = memoized(function, folder)
    for each in functions.values():
        each(7)
        each(7)
    return take_turns({name: partial(each, 7) for name, each in functions.items()}, seconds, in_a_row)


def misses(function: Function, folder: Path, seconds: float, **options: Any) -> dict[str, float]:
    """Calls that compute and store; the function itself counts for all."""
    functions = memoized(function, folder, **options)
    seeds = itertools.count()
    return take_turns({name: lambda each=each: each(next(seeds)) for name, each in functions.items()}, seconds, 1)


def beside_a_writer(folder: Path, seconds: float) -> dict[str, float]:
    """Hits while another process writes to the same files 100 times a second."""
    functions = memoized(dict_1kb, folder)
    for each in functions.values():
        each(7)
    program = (
        "import sys, time, dynmemo, diskcache\n"
        "cache, disk = dynmemo.Cache.sqlite(sys.argv[1]), diskcache.Cache(sys.argv[2])\n"
        "while True:\n    cache.set('k', b'v'); disk.set('k', b'v'); time.sleep(0.01)\n"
    )
    command = [sys.executable, "-c", program, str(folder / "dynmemo.db"), str(folder / "diskcache")]
    writer = subprocess.Popen(command)
    try:
        time.sleep(1)
        return take_turns({name: partial(each, 7) for name, each in functions.items()}, seconds, 20)
    finally:
        writer.kill()
        writer.wait()


def gigabyte(folder: Path) -> tuple[dict[str, float], float]:
    """Hits of an array of a gigabyte, and by how many MB one grows the process until it is read."""
    functions = memoized(array_1gb, folder)
    for each in functions.values():
        if each is not functions["diskcache"]:
            each(7)
    del functions["diskcache"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = functions["dynmemo"](7)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    del kept
    return take_turns({name: partial(each, 7) for name, each in functions.items()}, 5, 1), grown


def in_parts(endpoint_url: str, folder: Path, seconds: float) -> tuple[dict[str, float], str]:
    """Hits of a value in parts on DynamoDB, with and without local copies."""
    for name, value in (("AWS_ACCESS_KEY_ID", "local"), ("AWS_SECRET_ACCESS_KEY", "local")):
        os.environ.setdefault(name, value)
    table = f"dynmemo-values-{os.getpid()}"
    place = {"region": "eu-west-1", "endpoint_url": endpoint_url, "create_table_if_not_exists": True}
    caches = {
        "dynmemo": Cache.dynamodb(table, **place),
        "no copies": Cache.dynamodb(table, copies_max_bytes=0, **place),
    }
    functions = {name: dynamo_cached(cache=cache)(array_10mb) for name, cache in caches.items()}
    try:
        for each in functions.values():
            each(7)
            each(7)
        before = functions["dynmemo"].cache_info()
        functions["dynmemo"](7)
        after = functions["dynmemo"].cache_info()
        told = f"{after.requests - before.requests} request, {after.read_units - before.read_units:g} read units"
        return take_turns({name: partial(each, 7) for name, each in functions.items()}, seconds, 1), told
    finally:
        import boto3

        boto3.client("dynamodb", region_name="eu-west-1", endpoint_url=endpoint_url).delete_table(TableName=table)


def imports() -> dict[str, float]:
    """Seconds of the processor that `import` takes over bare Python."""
    programs = {
        "dynmemo": "import dynmemo",
        "diskcache": "import sys; sys.modules['django'] = None; import diskcache",  # it imports Django where it can
        "joblib": "import joblib",
        "bare": "",
    }
    samples: dict[str, list[float]] = {name: [] for name in programs}
    # Bytecode is kept, whatever is set here: else who is imported from its sources pays for compiling them each time.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        environment["PYTHONPYCACHEPREFIX"] = folder
        end = time.monotonic() + 10
        while time.monotonic() < end or len(samples["bare"]) < 3:
            for name, program in programs.items():
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                subprocess.run([sys.executable, "-c", program], check=True, env=environment)
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                samples[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    medians = {name: statistics.median(times) for name, times in samples.items()}
    bare = medians.pop("bare")
    return {name: seconds - bare for name, seconds in medians.items()}


def lines(options: argparse.Namespace, root: Path) -> Iterator[Line]:
    """What was asked for, line by line."""
    names = (root / str(n) for n in itertools.count())
    seconds = options.seconds
    measured: dict[str, Callable[[], dict[str, float]]] = {
        "hit of a 10 MB frame": lambda: hits(frame_10mb, next(names), seconds, 3),
        "hit of a 10 MB array": lambda: hits(array_10mb, next(names), seconds, 3),
        "hit of a 100 KB frame": lambda: hits(frame_100kb, next(names), seconds, 20),
        "hit of a 1 KB dict": lambda: hits(dict_1kb, next(names), seconds, 20),
        "hit of 1 KB, reads a global dict": lambda: hits(with_global, next(names), seconds, 20),
        "hit of 1 KB beside a writer": lambda: beside_a_writer(next(names), seconds),
        "miss of 1 KB": lambda: misses(dict_1kb, next(names), seconds),
        "miss of 1 KB, no single-flight": lambda: misses(dict_1kb, next(names), seconds, single_flight=False),
        "miss (write) of a 10 MB frame": lambda: misses(frame_10mb, next(names), seconds),
        "import": imports,
    }
    for what, measure in measured.items():
        if not options.only or any(word in what for word in options.only):
            yield Line(what, measure())
    if options.gigabyte:
        medians, grown = gigabyte(next(names))
        yield Line(f"hit of a 1 GB array (grows by {grown:.0f} MB)", medians)
    if options.endpoint_url:
        medians, told = in_parts(options.endpoint_url, next(names), seconds)
        yield Line(f"hit of 10 MB in parts ({told})", medians)


def page(measured: list[Line]) -> str:
    """What was measured beside others, for the site."""
    rows = [
        [line.what, *(_time(line.medians[name]) if name in line.medians else "" for name in PEERS)]
        for line in measured
        if line.medians.keys() & set(PEERS[1:])
    ]
    return TEXT.format(
        made=f"on {datetime.now(UTC).date()}, with Python {platform.python_version()}",
        processors=os.cpu_count(),
        load=os.getloadavg()[2],
        names=" | ".join(f"{name} {version(name)}" for name in PEERS),
        rows="\n".join(f"| {' | '.join(row)} |" for row in rows),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each line")
    parser.add_argument("--only", nargs="*", help="lines that contain one of these")
    parser.add_argument("--endpoint-url", help="a DynamoDB endpoint")
    parser.add_argument("--gigabyte", action="store_true", help="also an array of a gigabyte (takes 3 GB of disk)")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    shown = Table("", "dynmemo", "beside", "dynmemo / that")
    root = Path(tempfile.mkdtemp())
    measured = []
    try:
        for line in lines(options, root):
            measured.append(line)
            ours, *others = line.medians.items()
            for n, (name, seconds) in enumerate(others):
                cells = (line.what, _time(ours[1])) if n == 0 else ("", "")
                shown.add_row(*cells, f"{name} {_time(seconds)}", f"{ours[1] / seconds:.2f}")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    Console().print(shown)
    if options.write:
        PAGE.write_text(page(measured), encoding="utf-8")


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:,.1f} ms"


if __name__ == "__main__":
    main()
