"""Real Jupyter kernels, one cell at a time."""

from __future__ import annotations

import os
import re
import signal
import textwrap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import nbformat
import pytest
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COMPUTING = "computing"
"""What the functions of the scenarios print when they run."""


def merged(outputs: list[Any]) -> list[Any]:
    """The same outputs, each stretch of a stream as one: a slow kernel sends what is written in several messages."""
    found: list[Any] = []
    for output in outputs:
        if found and output.output_type == "stream" and output.name == found[-1].get("name"):
            found[-1].text += output.text
        else:
            found.append(output)
    return found


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
        return "".join(output.text for output in self.outputs(source) if output.get("name") == "stdout")

    def shown(self, source: str) -> str:
        """Run a new cell; the HTML that the notebook shows for its last expression."""
        return "".join(output.data["text/html"] for output in self.outputs(source) if "data" in output)

    def interrupt(self) -> None:
        """What the stop button does, from another thread."""
        os.kill(self._client.km.provisioner.pid, signal.SIGINT)

    def failure(self, source: str) -> str:
        """Run a new cell that raises; the traceback that the notebook shows, without its colours."""
        (output,) = [one for one in self.outputs(source, "raises-exception") if one.output_type == "error"]
        return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output.traceback))

    def streams(self, source: str) -> dict[str, str]:
        """Run a new cell; what it wrote, by the stream: what ``stderr`` has is red."""
        wrote: dict[str, str] = {}
        for output in self.outputs(source):
            if output.output_type == "stream":
                wrote[output.name] = wrote.get(output.name, "") + output.text
        return wrote

    def about(self, text: str) -> str:
        """What ``?`` shows behind `text`."""
        found: str = self._answer_to(self._client.kc.inspect(text))["data"]["text/plain"]
        return re.sub(r"\x1b\[[0-9;]*m", "", found)

    def completions(self, text: str) -> list[str]:
        """What TAB offers behind `text`."""
        return list(self._answer_to(self._client.kc.complete(text))["matches"])

    def begin(self, source: str) -> Callable[[], Any]:
        """Run code and do not wait for it; what is returned waits."""
        asked = self._client.kc.execute(textwrap.dedent(source).strip())
        return lambda: self._answer_to(asked)

    def _answer_to(self, asked: str) -> Any:
        while True:
            answer = run_sync(self._client.kc.get_shell_msg)(timeout=60)
            if answer["parent_header"].get("msg_id") == asked:
                return answer["content"]

    def fails(self, source: str) -> str:
        """Run a new cell that raises; what is shown of that, without colours."""
        with pytest.raises(CellExecutionError) as raised:
            self.outputs(source)
        return re.sub(r"\x1b\[[0-9;]*m", "", str(raised.value))

    def outputs(self, source: str, *tags: str) -> list[Any]:
        """Run a new cell; its outputs in the order in which they came, each stretch of a stream as one."""
        cells = self._client.nb.cells
        cells.append(nbformat.v4.new_code_cell(textwrap.dedent(source).strip(), metadata={"tags": list(tags)}))
        return merged(self._client.execute_cell(cells[-1], len(cells) - 1).outputs)

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
