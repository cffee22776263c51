"""A minute of mixed load for each way in which a network fails, half of all requests each, on an engine of its own.

python scripts/faults.py [--seconds 60] [--only drip ...]

Needs Java and npm (see scripts/dynamodb_local.py). Fails if a value is wrong, something takes longer than
docs/explanation/failures.md states, or calls do not hit again afterwards.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from dynmemo import Cache
from tests import engine
from tests.faults.load import FAULTS, Bounds, run

if TYPE_CHECKING:
    from tests.faults.load import Outcome

LONGEST = 600.0
STATED = Bounds()


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    options = parser.parse_args()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "local"
    logging.getLogger("dynmemo").setLevel(logging.CRITICAL)
    print(f"stated: an operation {STATED.operation:.0f} s, a call {STATED.call:.0f} s at most")
    failed = False
    with engine.run() as running:
        for name in options.only:
            table = f"faults-{uuid.uuid4().hex}"
            place = f"region=eu-west-1&endpoint_url={running.endpoint}"
            Cache.from_url(f"dynamodb://{table}?{place}&create_table_if_not_exists=true").store.open()
            outcome = run(FAULTS[name], min(options.seconds, LONGEST), endpoint=running.endpoint, table=table)
            failed |= _say(name, outcome)
    sys.exit(failed)


def _say(name: str, outcome: Outcome) -> bool:
    """Print a line; whether something is not as it is stated."""
    wrong = (
        outcome.wrong > 0
        or outcome.slowest_operation > STATED.operation
        or outcome.slowest_call > STATED.call
        or outcome.heals_after >= 120
    )
    counts = f"{outcome.calls:>7,} calls  {outcome.broken:>6,} requests broken  {outcome.errors:>5,} errors"
    seconds = f"slowest operation {outcome.slowest_operation:5.2f} s, call {outcome.slowest_call:5.2f} s"
    end = f"all hit after {outcome.heals_after:4.1f} s{'  FAILED' if wrong else ''}"
    print(f"{name:<10} {counts}  {outcome.computed:>6,} computed  {outcome.wrong} wrong  {seconds}  {end}", flush=True)
    return wrong


if __name__ == "__main__":
    main()
