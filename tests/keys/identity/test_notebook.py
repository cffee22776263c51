"""In a real kernel: cells edited, run again and moved, the kernel restarted."""

from __future__ import annotations

import json
from typing import Any

import nbclient
import nbformat
import pytest

pytestmark = pytest.mark.slow

SETUP = "from dynmemo.keys.identity import CodeIdentity\nimport json"
SHOW = "identity = CodeIdentity(f)\nprint(json.dumps([identity.current(), identity.ingredients()[0].note]))"


def _run(*cells: str) -> list[Any]:
    """What the cells print, of a kernel of their own."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in (SETUP, *cells)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    # The kernel may send what one cell prints in several pieces.
    pieces = [output["text"] for cell in notebook.cells for output in cell.outputs if output.output_type == "stream"]
    return [json.loads(line) for line in "".join(pieces).splitlines()]


def test_cells_are_source_and_edits_in_them_count() -> None:
    helper, function = "import math\ndef g(x): return math.sqrt(x)", "A = 1\ndef f(x): return g(x) + A"
    commented = "import math\n# why\ndef g(x: int):\n    return math.sqrt(x)"
    found = _run(
        *(helper, function, SHOW),
        *(helper, SHOW),
        *(commented, SHOW),
        *("unrelated = 1", SHOW),
        *(helper.replace("sqrt", "cbrt" if hasattr(__import__("math"), "cbrt") else "exp"), SHOW),
        *(helper, "A = 2", SHOW),
        *("A = 1", SHOW),
    )
    digests = [digest for digest, _ in found]
    assert digests[:4] == [digests[0]] * 4
    assert digests[6] == digests[0]
    assert len(set(digests)) == 3
    assert {note for _, note in found} == {""}
    moved = _run(function + "\n", "# moved\n\n" + helper, SHOW)
    assert moved[0][0] == digests[0]


def test_lambdas_closures_and_classes_of_cells_are_told_apart() -> None:
    found = _run(
        "fs = [lambda x: x + 1, lambda x: x + 2]\nf = fs[0]",
        SHOW,
        "f = fs[1]",
        SHOW,
        "def make(n): return lambda x: x + n\nf = make(1)",
        SHOW,
        "f = make(2)",
        SHOW,
        "class C:\n    def m(self): return 1\ndef f(): return C().m()",
        SHOW,
        "class C:\n    def m(self): return 2",
        SHOW,
        "class C:\n    'Comment.'\n    def m(self): return 1",
        SHOW,
    )
    digests = [digest for digest, _ in found]
    assert len(set(digests)) == 6
    assert digests[-1] == digests[4]
    assert {note for _, note in found} == {""}
