"""Ten minutes of mixed load on one store, with what the process holds every few seconds.

python scripts/soak.py [--seconds 600] [--every 15] [--url sqlite:////tmp/soak.db | --dynamodb]

Without --url on a file of its own; with --dynamodb on an engine of its own (see scripts/dynamodb_local.py).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dynmemo import Cache
from tests import engine
from tests.fleet.soak import Load, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 3600.0


def main() -> None:
    """Parse the command line, load the store, and say what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--every", type=float, default=15.0)
    parser.add_argument("--url")
    parser.add_argument("--dynamodb", action="store_true")
    options = parser.parse_args()
    with _store(options.url, dynamodb=options.dynamodb) as url:
        sys.exit(_soak(url, min(options.seconds, LONGEST), options.every))


@contextlib.contextmanager
def _store(url: str | None, *, dynamodb: bool) -> Iterator[str]:
    if url is not None:
        yield url
    elif dynamodb:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            os.environ[name] = "local"
        with engine.run() as running:
            yield f"dynamodb://soak?region=eu-west-1&endpoint_url={running.endpoint}&create_table_if_not_exists=true"
    else:
        with tempfile.TemporaryDirectory(prefix="dynmemo-soak-", ignore_cleanup_errors=True) as folder:
            yield f"sqlite:///{(Path(folder) / 'cache.db').as_posix()}"


def _soak(url: str, seconds: float, every: float) -> int:
    separator = "&" if "?" in url else "?"
    # Different URLs of one store, so that they are workers that share nothing in memory.
    caches = [Cache.from_url(f"{url}{separator}lease_seconds={seconds}") for seconds in (1, 2)]
    load, end = Load(caches), time.monotonic() + seconds
    load.run(min(every, seconds))
    first = _say(load, Usage.now(caches))
    while time.monotonic() < end:
        load.run(min(every, max(0.1, end - time.monotonic())))
        last = _say(load, Usage.now(caches))
    grown = last.memory - first.memory
    leaks = [
        *(["threads"] if last.threads > first.threads else []),
        *(["files"] if last.files > first.files else []),
        *(["leases"] if last.leases else []),
        *(["memory"] if grown > 30 << 20 else []),
        *(["wrong values"] if load.wrong else []),
    ]
    print(f"grown by {grown / 2**20:.1f} MiB; " + (f"LEAKS: {', '.join(leaks)}" if leaks else "nothing leaks"))
    return bool(leaks)


def _say(load: Load, usage: Usage) -> Usage:
    print(
        f"{load.calls:>9,} calls  {load.computed:>8,} computed  {load.wrong} wrong  "
        f"{usage.memory / 2**20:7.1f} MiB  {usage.threads:>3} threads  {usage.files:>3} files  {usage.leases} leases",
        flush=True,
    )
    return usage


if __name__ == "__main__":
    main()
