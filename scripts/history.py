"""Check histories of many processes on one store while they are killed, frozen and cut off, in rounds of a minute.

python scripts/history.py [--seconds 600] [--store sqlite|dynamodb] [--seed 1] [--keep FOLDER]

Each round has a store of its own and the next seed. DynamoDB Local needs Java and npm (see scripts/dynamodb_local.py).
Prints a table for docs/explanation/failures.md; fails if a promise was broken, and then keeps the logs of that round.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from typing import TYPE_CHECKING

from dynmemo import Cache
from tests import engine
from tests.history.run import Plan, run_on_dynamodb, run_on_sqlite

if TYPE_CHECKING:
    from tests.history.run import Outcome

LONGEST = 6 * 3600.0
ROUND = 45.0
"""Seconds of each round for which things go wrong; some 15 s of calm follow."""
LONGEST_ROUND = 600.0
"""Seconds that no round takes; the last begins so that it ends in time if it takes as long as those before."""
PAUSES = {"sqlite": 0.02, "dynamodb": 0.04}


def main() -> None:
    """Parse the command line, do the rounds, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--store", choices=PAUSES, default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="where to put the logs of rounds that broke a promise")
    options = parser.parse_args()
    seconds, began = min(options.seconds, LONGEST), time.monotonic()
    total: Counter[str] = Counter()
    seed = options.seed
    with ExitStack() as stack:
        endpoint = None
        if options.store == "dynamodb":
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                os.environ[name] = "local"
            endpoint = stack.enter_context(engine.run()).endpoint
        while True:
            round_began = time.monotonic()
            lasts = max(5.0, min(ROUND, seconds - 15))
            plan = Plan(seconds=lasts, seed=seed, pause=PAUSES[options.store])
            total += _round(plan, endpoint, options.keep)
            seed += 1
            now = time.monotonic()
            if now - began + (now - round_began) > seconds:
                break
    _say(total, options.store, time.monotonic() - began, options.seed, seed)
    sys.exit(total["violations"] > 0)


def _round(plan: Plan, endpoint: str | None, keep: Path | None) -> Counter[str]:
    folder = Path(tempfile.mkdtemp(prefix="dynmemo-history-"))
    if endpoint is None:
        outcome = run_on_sqlite(plan, folder)
    else:
        table = f"history-{uuid.uuid4().hex}"
        url = f"dynamodb://{table}?region=eu-west-1&endpoint_url={endpoint}&create_table_if_not_exists=true"
        Cache.from_url(url).store.open()
        outcome = run_on_dynamodb(plan, folder, endpoint, table)
    _tell(plan, outcome)
    if outcome.violations:
        kept = folder if keep is None else shutil.copytree(folder, keep / f"seed-{plan.seed}", dirs_exist_ok=True)
        print(f"  the logs are in {kept}", flush=True)
    if not outcome.violations or keep is not None:
        shutil.rmtree(folder, ignore_errors=True)
    history = outcome.history
    return Counter(
        {
            "rounds": 1,
            "calls": sum(call.how != "entry" for call in history.calls),
            "computations": len(history.computations),
            **history.faults,
            "violations": len(outcome.violations),
        }
    )


def _tell(plan: Plan, outcome: Outcome) -> None:
    history = outcome.history
    print(
        f"seed {plan.seed}: {len(history.calls):,} calls  {len(history.computations):,} computations  "
        f"{len(outcome.violations)} violations",
        flush=True,
    )
    for violation in outcome.violations[:20]:
        print(f"  {violation.at:.3f} {violation.kind}: {violation.what}", flush=True)


def _say(total: Counter[str], store: str, seconds: float, first: int, seed: int) -> None:
    print(f"\n| {store}, {seconds / 60:.0f} min, seeds {first} to {seed - 1} | number |\n|---|---|")
    for what in [*(kind for kind in total if kind != "violations"), "violations"]:
        if total[what] or what == "violations":
            print(f"| {what} | {total[what]:,} |")


if __name__ == "__main__":
    main()
