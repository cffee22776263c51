"""Every Python example of the README and the docs runs.

The blocks of a page are one program, in the order in which they stand. A block marked
```python dynamodb``` runs on DynamoDB Local; one that is a test file, ```python pytest```, is run by pytest, behind the
others of its page; one that is a cell, ```python ipython```, in a kernel, see tests/notebooks/test_cells.py; one that
only shows a form is marked ```py```.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

import dynmemo

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(dynmemo.__file__).resolve().parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>.*)$")
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def blocks(text: str, *marks: str) -> str:
    """The lines of the blocks with these marks, all others empty, so that line numbers are those of the page."""
    lines: list[str] = []
    mark: str | None = None
    indent = ""
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence is None:
            lines.append(line.removeprefix(indent) if mark in marks else "")
            continue
        mark, indent = (fence["info"].strip(), fence["indent"]) if mark is None else (None, "")
        lines.append("")
    return "\n".join(lines)


def run(page: Path, program: str, folder: Path, *way: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program of a page in an empty folder with an empty cache, in another `way` than Python's."""
    file = folder / f"{page.stem}.py"
    file.write_text(program, encoding="utf-8")
    environment = {**os.environ, "PYTHONWARNINGS": "error", "PYTHONUTF8": "1", **variables}
    command = [sys.executable, *way, file.name]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=280
    )


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages_with(*marks: str) -> list[Path]:
    return [page for page in PAGES if page.exists() and blocks(page.read_text(encoding="utf-8"), *marks).strip()]


@pytest.mark.parametrize("page", pages_with("python"), ids=page_id)
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path) -> None:
    # Who has copied a recipe runs it again, when its entries are there.
    for _ in range(2 if page.stem == "recipes" else 1):
        done = run(page, blocks(page.read_text(encoding="utf-8"), "python"), tmp_path)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", pages_with("python dynamodb"), ids=page_id)
def test_the_examples_of_a_page_run_on_dynamodb(page: Path, tmp_path: Path, dynamodb_endpoint: str) -> None:
    program = blocks(page.read_text(encoding="utf-8"), "python", "python dynamodb")
    done = run(page, program, tmp_path, AWS_ENDPOINT_URL_DYNAMODB=dynamodb_endpoint)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", pages_with("python pytest"), ids=page_id)
def test_the_tests_of_a_page_pass(page: Path, tmp_path: Path) -> None:
    program = blocks(page.read_text(encoding="utf-8"), "python", "python pytest")
    done = run(page, program, tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        target = unquote(link["target"].split("#")[0])
        if target and not re.match(r"[a-z]+:", target):
            # The package may be an installed one, without sources beside the page.
            where = (page.parent / target).resolve()
            if where.is_relative_to(ROOT / "dynmemo"):
                where = PACKAGE.parent / where.relative_to(ROOT)
            assert where.exists(), f"{page_id(page)} links to {target}"


def test_every_page_is_in_the_list_of_the_docs() -> None:
    index = ROOT / "docs" / "README.md"
    listed = re.findall(r"^- \[.+?\]\((.+?)\)", index.read_text(encoding="utf-8"), re.MULTILINE)
    pages = {page.relative_to(index.parent).as_posix() for page in PAGES if page.parent.parent == index.parent}
    notebooks = {f"../notebooks/{book.name}" for book in (ROOT / "notebooks").glob("*.ipynb")}
    assert pages | notebooks <= set(listed)
    assert len(listed) == len(set(listed))


def test_the_tables_of_the_readme_are_lines_of_what_was_measured() -> None:
    lines = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    pages = [ROOT / "docs" / "explanation" / name for name in ("right.md", "figures.md")]
    measured = {line for page in pages for line in page.read_text(encoding="utf-8").splitlines()}
    assert len(lines) > 10
    assert set(lines) <= measured, "run scripts/pictures.py --only-tables"


def test_the_readme_asks_for_extras_that_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = set(
        re.findall(r"pip install (?:-e )?\"(?:\.|dynmemo)\[(\w+)\]\"", (ROOT / "README.md").read_text(encoding="utf-8"))
    )
    assert {"demo", "test"} <= asked <= set(project["optional-dependencies"])


def test_a_block_keeps_its_line_numbers_and_loses_its_indent() -> None:
    text = "# A\n```python\nx = 1\n```\n- item\n  ```python\n  y = 2\n  ```\n```bash\nls\n```"
    assert blocks(text, "python").splitlines() == ["", "", "x = 1", "", "", "", "y = 2", "", "", ""]


def test_an_example_that_fails_is_noticed(tmp_path: Path) -> None:
    done = run(ROOT / "README.md", blocks("\n```python\nassert 1 == 2\n```", "python"), tmp_path)
    assert done.returncode == 1
    assert 'README.py", line 3' in done.stderr
