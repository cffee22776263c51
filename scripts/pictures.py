"""Make what the README and GitHub show: the picture of the demo, and the notebook with its outputs.

python scripts/pictures.py          needs the extra `notebook` and nbclient; takes a minute
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from rich.console import Console

from dynmemo import demo
from dynmemo.demo import report

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / "notebooks" / "01_forecast.ipynb"
PICTURE = ROOT / "docs" / "images" / "demo.svg"


def main() -> None:
    """Make both, with new caches, so that the first calls compute."""
    with tempfile.TemporaryDirectory() as folder:
        picture(f"sqlite:///{(Path(folder) / 'demo.db').as_posix()}")
        notebook(f"sqlite:///{(Path(folder) / 'notebook.db').as_posix()}")


def picture(url: str) -> None:
    """Run the demo and keep what it prints."""
    console = Console(record=True, width=80, force_terminal=True)
    if not report(demo.run(url), console):
        raise SystemExit("the demo failed")
    PICTURE.parent.mkdir(exist_ok=True)
    console.save_svg(str(PICTURE), title="python -m dynmemo demo", unique_id="dynmemo-demo")


def notebook(url: str) -> None:
    """Run the notebook and keep its outputs, without times and versions that differ from run to run."""
    os.environ["DYNMEMO_URL"] = url
    book = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        book, timeout=300, record_timing=False, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
    ).execute()
    book.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    NOTEBOOK.write_text(nbformat.writes(book) + "\n", encoding="utf-8")


if __name__ == "__main__":  # the demo starts processes that import this file
    main()
