"""Editing and running cells in real kernels: never an old result after an edit, never a needless computation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.notebooks.kernels import Answer, kernel
from tests.notebooks.scenarios import ONE_NOTEBOOK, TWO_KERNELS, Ask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.notebooks.kernels import Kernel
    from tests.notebooks.scenarios import Scenario

pytestmark = pytest.mark.slow

SETUP = "from dynmemo import dynamo_cached as cached"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


def started(folder: Path, **variables: str) -> Iterator[Kernel]:
    with kernel(folder, DYNMEMO_URL=f"sqlite:///{(folder / 'cache.db').as_posix()}", **variables) as running:
        running.run(SETUP)
        yield running


@pytest.fixture(scope="module")
def first(folder: Path) -> Iterator[Kernel]:
    yield from started(folder, PYTHONHASHSEED="1")


@pytest.fixture(scope="module")
def second(folder: Path) -> Iterator[Kernel]:
    yield from started(folder, PYTHONHASHSEED="2")


def play(running: Kernel, scenario: Scenario) -> None:
    for step in scenario:
        if isinstance(step, Ask):
            assert running.ask(step.expression) == Answer(repr(step.value), int(step.computes)), step.expression
        else:
            running.run(step)


@pytest.mark.parametrize("scenario", ONE_NOTEBOOK)
def test_in_one_notebook(first: Kernel, scenario: str) -> None:
    play(first, ONE_NOTEBOOK[scenario])


@pytest.mark.parametrize("scenario", TWO_KERNELS)
def test_in_two_kernels(first: Kernel, second: Kernel, scenario: str) -> None:
    one, other = TWO_KERNELS[scenario]
    play(first, one)
    play(second, other)


def test_explain_is_a_table_in_a_notebook_and_names_the_edit(first: Kernel) -> None:
    first.run("def halved(x):\n    return x / 2\n@cached\ndef explained(x):\n    return halved(x)\nexplained(1)")
    first.run("def halved(x):\n    return x // 2")
    assert first.run("print(explained.explain(1).differences)") == "('helper `halved` was edited',)\n"
    assert "helper `halved` was edited" in first.shown("explained.explain(1)")


def test_the_tab_key_offers_the_methods_of_a_decorated_function(first: Kernel) -> None:
    first.run(
        """
        from dynmemo import dynamo_cached

        @dynamo_cached
        def completed(city):
            return city
        """
    )
    offered = first.completions("completed.")
    assert any("cache_info" in one for one in offered)
    assert any("explain" in one for one in offered)
