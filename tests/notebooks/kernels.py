"""Real Jupyter kernels, one cell at a time."""

from __future__ import annotations

import os
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import nbformat
from jupyter_core.utils import run_sync
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMPUTING = "computing"
"""What the functions of the scenarios print when they run."""


class Answer(NamedTuple):
    """What an expression gave, and how many functions ran for it."""

    value: str
    computed: int


class Kernel:
    """A person with a notebook."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, source: str) -> str:
        """Run a new cell at the end of the notebook; what it printed. Raises what the cell raises."""
        return "".join(output.text for output in self._outputs(source) if output.get("name") == "stdout")

    def shown(self, source: str) -> str:
        """Run a new cell; the HTML that the notebook shows for its last expression."""
        return "".join(output.data["text/html"] for output in self._outputs(source) if "data" in output)

    def completions(self, text: str) -> list[str]:
        """What TAB offers behind `text`."""
        kernel = self._client.kc
        asked = kernel.complete(text)
        while True:
            answer = run_sync(kernel.get_shell_msg)(timeout=60)
            if answer["parent_header"].get("msg_id") == asked:
                return list(answer["content"]["matches"])

    def _outputs(self, source: str) -> list[Any]:
        cells = self._client.nb.cells
        cells.append(nbformat.v4.new_code_cell(textwrap.dedent(source).strip()))
        return list(self._client.execute_cell(cells[-1], len(cells) - 1).outputs)

    def ask(self, expression: str) -> Answer:
        """Evaluate an expression in a cell of its own."""
        *computed, value = self.run(f"print(repr({expression}))").splitlines()
        return Answer(value, computed.count(COMPUTING))


@contextmanager
def kernel(folder: Path, **variables: str) -> Iterator[Kernel]:
    """A new kernel that works in `folder`."""
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(nbformat.v4.new_notebook(), timeout=120, resources=resources)
    with client.setup_kernel(env={**os.environ, "OMP_NUM_THREADS": "1", **variables}):
        yield Kernel(client)
