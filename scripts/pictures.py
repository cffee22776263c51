"""Make what the README and GitHub show: the picture of the demo, the notebooks with their outputs, and the tables.

python scripts/pictures.py [--only-tables]    needs the extra `notebook`, nbclient and DynamoDB Local; takes a minute

The tables are lines of those that benchmarks/peers.py and benchmarks/values.py write into docs/explanation.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from rich.console import Console

from dynmemo import demo
from dynmemo.demo import report

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests import engine  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURE = ROOT / "docs" / "images" / "demo.svg"
README = ROOT / "README.md"
MEASURED = [ROOT / "docs" / "explanation" / name for name in ("right.md", "figures.md")]
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)


def main() -> None:
    """Make all of them, with new caches, so that the first calls compute."""
    tables()
    if "--only-tables" in sys.argv:
        return
    with tempfile.TemporaryDirectory() as folder, engine.run() as running:
        os.environ |= {"AWS_ENDPOINT_URL_DYNAMODB": running.endpoint}
        os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        picture(f"sqlite:///{(Path(folder) / 'demo.db').as_posix()}")
        for file in NOTEBOOKS:
            notebook(file, f"sqlite:///{(Path(folder) / f'{file.stem}.db').as_posix()}")


def tables() -> None:
    """Take the lines of the README's tables from what was measured last, by their first cells."""
    measured = [TABLE.search(page.read_text(encoding="utf-8"))[0].splitlines() for page in MEASURED]  # type: ignore[index]

    def renewed(found: re.Match[str]) -> str:
        wanted = [_first_cell(line) for line in found[0].splitlines()[2:]]
        for head, rule, *lines in measured:
            by_cell = {_first_cell(line): line for line in lines}
            if by_cell.keys() >= set(wanted):
                return "\n".join([head, rule, *(by_cell[cell] for cell in wanted), ""])
        raise SystemExit(f"no table has all of: {', '.join(wanted)}")

    README.write_text(TABLE.sub(renewed, README.read_text(encoding="utf-8")), encoding="utf-8")


def _first_cell(line: str) -> str:
    return line.split("|")[1].strip()


def picture(url: str) -> None:
    """Run the demo and keep what it prints."""
    console = Console(record=True, width=80, force_terminal=True)
    if not report(demo.run(url), console):
        raise SystemExit("the demo failed")
    PICTURE.parent.mkdir(exist_ok=True)
    console.save_svg(str(PICTURE), title="python -m dynmemo demo", unique_id="dynmemo-demo")


def notebook(file: Path, url: str) -> None:
    """Run a notebook and keep its outputs, without times and versions that differ from run to run.

    Of a line that has gone away nothing is left.
    """
    os.environ["DYNMEMO_URL"] = url
    book = nbformat.read(file, as_version=4)
    NotebookClient(book, timeout=300, record_timing=False, resources={"metadata": {"path": str(file.parent)}}).execute()
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if any(output.get("data", {"text": True}).values())]
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    file.write_text(nbformat.writes(book) + "\n", encoding="utf-8")


if __name__ == "__main__":  # the demo starts processes that import this file
    main()
