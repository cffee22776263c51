"""What memoizers answer, and what they tell, where one can go wrong: dynmemo and its peers in one run.

    python -m benchmarks.peers [--write]        (needs the extras `bench` and `test`; a minute, on Linux or macOS)

The scenarios of the notebook tests in real kernels, processes that ask at once or die, and what a person gets to see.
`--write` puts the table into docs/explanation/right.md.
"""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING

from nbclient.exceptions import CellExecutionError

from tests.notebooks.kernels import kernel
from tests.notebooks.scenarios import ONE_NOTEBOOK, TWO_KERNELS, Ask

if TYPE_CHECKING:
    from tests.notebooks.kernels import Kernel
    from tests.notebooks.scenarios import Scenario

PAGE = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "right.md"


@dataclass(frozen=True)
class Peer:
    """How one is set up and, where it has public names for it, how it is asked."""

    setup: str
    why: str = ""
    listing: str = ""


PEERS = {
    "dynmemo": Peer(
        "import dynmemo\ndynmemo.configure('sqlite:///cache.db')\ncached = dynmemo.dynamo_cached",
        why="print(slow.explain(2))",
        listing="print(list(dynmemo.ls()))",
    ),
    "joblib": Peer(
        "import joblib, warnings\nwarnings.simplefilter('ignore')\ncached = joblib.Memory('joblib', verbose=0).cache",
    ),
    "cachier": Peer("import cachier\ncached = cachier.cachier(cache_dir='cachier')"),
    "diskcache": Peer(
        "import diskcache\ncache = diskcache.Cache('diskcache')\ncached = cache.memoize()",
        listing="print(list(cache))",
    ),
}
WORST_FIRST = ("WRONG", "fails", "again", "right")
WORDS = {"WRONG": "**wrong**", "fails": "fails", "again": "computes again"}

PROGRAM = """
import sys
import time

{setup}


@cached
def slow(x):
    print("computing", flush=True)
    time.sleep(float(sys.argv[1]))
    return x + 1


print("got", slow(1), flush=True)
{more}
"""
PATIENCE = 30.0
"""Seconds after which a program counts as one that hangs; alone it takes a tenth of that."""


TEXT = """\
# Right where others are wrong

Made by `python -m benchmarks.peers --write` {made}. Each line is a few cells in real
Jupyter kernels or a few processes, the same for all, and each memoizer is set up as its documentation does it, with a
store on disk. The cells are in `tests/notebooks/scenarios.py`.

**right** is the right value, computed only when it had to be; **wrong** an old or foreign result, handed out as if it
were right; **computes again** the right value, computed without need; **fails** an exception, or no answer in
{patience:g} s.

{table}
"""


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


def in_notebooks(peer: Peer, folder: Path) -> dict[str, str]:
    """What one memoizer does in the scenarios of notebooks."""
    with kernel(folder, PYTHONHASHSEED="1") as first, kernel(folder, PYTHONHASHSEED="2") as second:
        first.run(peer.setup)
        second.run(peer.setup)
        found = {name: play(first, scenario) for name, scenario in ONE_NOTEBOOK.items()}
        for name, (one, other) in TWO_KERNELS.items():
            both = play(first, one), play(second, other)
            found[name] = min(both, key=WORST_FIRST.index)
    return found


class Programs:
    """Programs that call one function of the same file, in a folder of their own."""

    def __init__(self, peer: Peer, folder: Path, more: str = "") -> None:
        folder.mkdir()
        self._folder = folder
        (folder / "program.py").write_text(PROGRAM.format(setup=peer.setup, more=more), encoding="utf-8")

    def start(self, seconds: float, **options: int) -> subprocess.Popen[str]:
        """One whose computation takes so long."""
        command = [sys.executable, "program.py", str(seconds)]
        options.setdefault("stderr", subprocess.DEVNULL)
        return subprocess.Popen(command, cwd=self._folder, stdout=subprocess.PIPE, text=True, **options)

    def said(self, program: subprocess.Popen[str]) -> str:
        """What it has printed at its end; nothing if it hangs."""
        try:
            return program.communicate(timeout=PATIENCE)[0]
        except subprocess.TimeoutExpired:
            program.kill()
            program.communicate()
            return ""


def two_at_once(programs: Programs) -> str:
    both = [programs.start(3) for _ in range(2)]
    said = "".join([programs.said(one) for one in both])
    if said.count("got 2") != 2:
        return "fails"
    return "right" if said.count("computing") == 1 else "again"


def killed(programs: Programs) -> str:
    victim = programs.start(600)
    assert victim.stdout is not None
    victim.stdout.readline()
    victim.kill()
    victim.communicate()
    return "right" if "got 2" in programs.said(programs.start(0)) else "fails"


def sees_who_computes(programs: Programs) -> bool:
    """Whether a terminal in which somebody waits names the process that computes."""
    busy = programs.start(6)
    assert busy.stdout is not None
    busy.stdout.readline()
    ours, theirs = pty.openpty()
    waiting = programs.start(6, stderr=theirs)
    os.close(theirs)
    programs.said(waiting)
    programs.said(busy)
    with open(ours, "rb", buffering=0) as screen:  # noqa: PTH123  # a descriptor
        try:
            shown = screen.read(10_000)
        except OSError:  # Linux: nothing was written, and the other end is closed
            shown = b""
    return str(busy.pid).encode() in shown


def outcomes(peer: Peer, root: Path) -> dict[str, str]:
    """All that one memoizer does."""

    def tells(ask: str, expected: str, folder: str) -> bool:
        programs = Programs(peer, root / folder, ask)
        return bool(ask) and expected in programs.said(programs.start(0)).partition("got 2")[2]

    notebooks = root / "notebooks"
    notebooks.mkdir()
    seen = {
        "who waits is told who computes": sees_who_computes(Programs(peer, root / "waits")),
        "a miss says what differs": tells(peer.why, "argument `x` differs", "why"),
        "what is stored is listed, by function": tells(peer.listing, "slow", "lists"),
    }
    return {
        **in_notebooks(peer, notebooks),
        "two processes ask at once": two_at_once(Programs(peer, root / "two")),
        "a process is killed while it computes": killed(Programs(peer, root / "killed")),
        **{what: "yes" if is_told else "no" for what, is_told in seen.items()},
    }


def lines(results: dict[str, dict[str, str]]) -> list[str]:
    """The table, with the sums."""
    good = {peer: sum(outcome in ("right", "yes") for outcome in found.values()) for peer, found in results.items()}
    names = [f"{peer} {version(peer)}" for peer in results]
    rows = [["", *names], ["---"] * (len(names) + 1)]
    rows += [
        [what, *(WORDS.get(found[what], found[what]) for found in results.values())] for what in results["dynmemo"]
    ]
    rows.append(["all", *(f"{count} of {len(results['dynmemo'])}" for count in good.values())])
    return ["| " + " | ".join(row) + " |" for row in rows]


def page(table: list[str]) -> str:
    """The table for the site."""
    made = f"on {datetime.now(UTC).date()}, with Python {python_version()}"
    return TEXT.format(made=made, patience=PATIENCE, table="\n".join(table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    options = parser.parse_args()
    results = {}
    for name, peer in PEERS.items():
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            results[name] = outcomes(peer, Path(folder))
        print(f"{name} {version(name)}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    table = lines(results)
    print("\n".join(table))
    if options.write:
        PAGE.write_text(page(table), encoding="utf-8")


if __name__ == "__main__":
    main()
