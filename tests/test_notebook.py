"""The notebooks, run as a person would: from top to bottom, in kernels of their own."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.notebooks.kernels import merged

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))

pytestmark = pytest.mark.slow


class Reader:
    """A person with the notebook open in a kernel."""

    def __init__(self, client: NotebookClient) -> None:
        self._client = client
        self._cells: list[Any] = client.nb.cells

    def run(self, wanted: Callable[[Any], bool]) -> None:
        """Run the code cells that are wanted, in their order."""
        for index, cell in enumerate(self._cells):
            if cell.cell_type == "code" and wanted(cell):
                self._client.execute_cell(cell, index)

    def ask(self, expression: str) -> Any:
        """The value of a literal-like expression, evaluated in the kernel by a cell at the end."""
        cell = nbformat.v4.new_code_cell(f"print(repr({expression}))")
        self._cells.append(cell)
        done = self._client.execute_cell(cell, len(self._cells) - 1)
        return ast.literal_eval(merged(done.outputs)[0].text)


def opened(name: str) -> NotebookClient:
    resources = {"metadata": {"path": str(FOLDER)}}
    return NotebookClient(nbformat.read(FOLDER / name, as_version=4), timeout=120, resources=resources)


def is_told_to_forget(cell: Any) -> bool:
    return "forget" in cell.metadata.get("tags", [])


def test_a_second_kernel_hits_what_the_first_computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DYNMEMO_URL", f"sqlite:///{(tmp_path / 'cache.db').as_posix()}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # its models are small, and threads fight on a busy machine
    first, second = opened("01_forecast.ipynb"), opened("01_forecast.ipynb")
    with first.setup_kernel(), second.setup_kernel():
        one, other = Reader(first), Reader(second)

        one.run(lambda cell: not is_told_to_forget(cell))
        counts = one.ask("dict(forecast.cache_info()._asdict())")
        assert (counts["computed"], counts["misses"], counts["hits"]) == (1, 1, 1)

        other.run(lambda cell: not is_told_to_forget(cell))
        counts = other.ask("dict(forecast.cache_info()._asdict())")
        assert (counts["computed"], counts["misses"], counts["hits"]) == (0, 0, 2)
        assert counts["seconds_saved"] > 0

        key = "forecast.cache_key(temp_max)"
        assert one.ask(key) == other.ask(key)
        values = "predicted.to_csv()"
        assert one.ask(values) == other.ask(values)

        one.run(is_told_to_forget)
        assert other.ask("forecast.entry(temp_max) is None")


def test_cells_of_a_second_kernel_hit_what_the_first_computed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DYNMEMO_URL", f"sqlite:///{(tmp_path / 'cache.db').as_posix()}")
    told = []
    for _ in range(2):
        client = opened("04_cells.ipynb")
        with client.setup_kernel():
            Reader(client).run(lambda cell: not is_told_to_forget(cell))
        told.append([output for cell in client.nb.cells for output in cell.get("outputs", ()) if "data" in output])
        (info,) = [merged(cell.outputs)[0].text for cell in client.nb.cells if cell.source == "%dynmemo info"]
        told[-1].append(info.splitlines()[1].split()[:3])
    assert told[0].pop() == ["cell.outcomes,summary", "1", "1"]
    assert told[1].pop() == ["cell.outcomes,summary", "2", "0"]
    assert [output.data for output in told[0]] == [output.data for output in told[1]]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_notebook_is_committed_as_it_ran(name: str) -> None:
    notebook = nbformat.read(FOLDER / name, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert [output for output in outputs if "image/png" in output.get("data", {})], "it has no plot"


def test_two_kernels_and_a_pool_compute_each_result_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DYNMEMO_URL", f"sqlite:///{(tmp_path / 'cache.db').as_posix()}")
    client = opened("02_team.ipynb")
    with client.setup_kernel():
        reader = Reader(client)
        reader.run(lambda cell: not is_told_to_forget(cell))
        assert reader.ask("here + there") == 40
        assert reader.ask("int(counts.sum())") == 60
        reader.run(is_told_to_forget)


@pytest.mark.dynamodb
def test_what_is_pushed_to_a_table_is_hit_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dynamodb_endpoint: str
) -> None:
    monkeypatch.setenv("DYNMEMO_URL", f"sqlite:///{(tmp_path / 'cache.db').as_posix()}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_endpoint)
    client = opened("03_dynamodb.ipynb")
    with client.setup_kernel():
        reader = Reader(client)
        reader.run(lambda cell: not is_told_to_forget(cell))
        assert reader.ask("(counted.hits, counted.computed, would.copied, are_equal)") == (6, 6, 6, True)
        reader.run(is_told_to_forget)
        assert reader.ask("climate.entry('Oslo') is None")
