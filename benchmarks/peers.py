"""What memoizers answer in real notebooks: the scenarios of the notebook tests, with dynmemo and its peers.

    python -m benchmarks.peers        (needs the extras `bench` and `test`; about a minute)

"right" is the right value, computed only when it had to be; "WRONG" an old or foreign result; "again" right
values, but computed without need; "fails" an exception instead of an answer.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from nbclient.exceptions import CellExecutionError

from tests.notebooks.kernels import kernel
from tests.notebooks.scenarios import ONE_NOTEBOOK, TWO_KERNELS, Ask

if TYPE_CHECKING:
    from tests.notebooks.kernels import Kernel
    from tests.notebooks.scenarios import Scenario

PEERS = {
    "dynmemo": "import dynmemo\ndynmemo.configure('sqlite:///cache.db')\ncached = dynmemo.dynamo_cached",
    "joblib": (
        "import joblib, warnings\nwarnings.simplefilter('ignore')\ncached = joblib.Memory('joblib', verbose=0).cache"
    ),
    "cachier": "import cachier\ncached = cachier.cachier(cache_dir='cachier', allow_none=True)",
    "diskcache": "import diskcache\ncached = diskcache.Cache('diskcache').memoize()",
}
WORST_FIRST = ("WRONG", "fails", "again", "right")


def play(running: Kernel, scenario: Scenario) -> str:
    """The worst that happens."""
    outcomes = {"right"}
    for step in scenario:
        try:
            if isinstance(step, Ask):
                answer = running.ask(step.expression)
                if answer.value != repr(step.value):
                    outcomes.add("WRONG")
                elif answer.computed > step.computes:
                    outcomes.add("again")
            else:
                running.run(step)
        except CellExecutionError:
            outcomes.add("fails")
    return next(outcome for outcome in WORST_FIRST if outcome in outcomes)


def outcomes(setup: str, folder: Path) -> dict[str, str]:
    """What one memoizer does in every scenario."""
    with kernel(folder, PYTHONHASHSEED="1") as first, kernel(folder, PYTHONHASHSEED="2") as second:
        first.run(setup)
        second.run(setup)
        found = {name: play(first, scenario) for name, scenario in ONE_NOTEBOOK.items()}
        for name, (one, other) in TWO_KERNELS.items():
            both = play(first, one), play(second, other)
            found[name] = min(both, key=WORST_FIRST.index)
    return found


def main() -> None:
    results = {}
    for peer, setup in PEERS.items():
        with tempfile.TemporaryDirectory() as folder:
            results[peer] = outcomes(setup, Path(folder))
            print(f"{peer} {version(peer)}", file=sys.stderr)
    width = max(map(len, results["dynmemo"]))
    print(f"{'':<{width}}", *(f"{peer:<9}" for peer in PEERS))
    for scenario in results["dynmemo"]:
        print(f"{scenario:<{width}}", *(f"{results[peer][scenario]:<9}" for peer in PEERS))
    right = (sum(outcome == "right" for outcome in results[peer].values()) for peer in PEERS)
    total = len(results["dynmemo"])
    print(f"{'right':<{width}}", *(f"{f'{count} of {total}':<9}" for count in right))


if __name__ == "__main__":
    main()
