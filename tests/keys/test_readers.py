"""What is read of code: the same on every Python, all that comes from outside, all that may be written."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.keys.reading import HANDED, IMPORT, read_bytecode
from dynmemo.keys.source import read, structure
from tests.keys import corpus
from tests.keys.readings import of_corpus
from tests.notebooks.kernels import kernel
from tests.pythons import OTHERS, other_python, printed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.keys.reading import Reading

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", OTHERS)
def test_every_python_reads_the_same_of_every_function(version: str) -> None:
    there = json.loads(printed("-W", "ignore", "-m", "tests.keys.readings", python=other_python(version)))
    here = json.loads(json.dumps(of_corpus()))
    assert len(here) > 300
    assert {name: (read, there.get(name)) for name, read in here.items() if there.get(name) != read} == {}


def test_every_function_of_the_corpus_has_its_source_found() -> None:
    without = [name for name, readings in of_corpus().items() for reading in readings if not reading[-1]]
    assert without == []


def _read(function: Callable[..., Any]) -> Reading:
    assert isinstance(function, FunctionType)
    return read(function)


def _reads(function: Callable[..., Any]) -> set[str]:
    return {".".join(chain) for chain in _read(function).reads}


def _writes(function: Callable[..., Any]) -> set[str]:
    return {f"{'.'.join(chain)} {how}" for chain, how in _read(function).writes if not how.startswith(HANDED)}


def test_stores_and_method_calls_are_writes_also_through_items_other_names_and_results() -> None:
    assert _writes(corpus.written) >= {"N =", "TABLE []=", "TABLE [].append", "TABLE get", "TABLE.key =", "SEEN []="}
    assert _writes(corpus.Outer.method) >= {
        "parameter self.count =",
        "parameter self.parts.count =",
        "parameter self.items [].append",
        "SEEN []=",
        "SEEN [].__setattr__",
        "TABLE []=",
        "parameter self.__dict__ setdefault",
    }
    assert _writes(corpus.closing) == set()
    assert "TABLE []=" in _writes(corpus.nested_class)


def test_what_is_handed_to_a_call_may_be_written() -> None:
    writes = _read(corpus.written).writes
    assert (("SEEN",), f"{HANDED}sorted") in writes
    assert (("TABLE",), f"{HANDED}print") in writes


def test_names_in_texts_count_as_read() -> None:
    reads = _reads(corpus.frames)
    assert {"LIMIT", "TABLE.k", "RATE", "N", "SEEN"} <= reads
    assert "a" not in reads


def test_imports_in_the_function_are_read_with_what_is_asked_of_them() -> None:
    reads = {chain for chain in _read(corpus.imports).reads if chain[0].startswith(IMPORT)}
    names = {".", ".deep.down", "a", "a.b.c", "d.e", "fast", "slow"}
    assert {root.removeprefix(IMPORT) for root, *_ in reads} == names
    assert {(f"{IMPORT}a", "b", "c", "K"), (f"{IMPORT}.", "sibling", "run"), (f"{IMPORT}fast", "go")} <= reads


def test_a_name_that_is_only_asked_for_an_attribute_is_not_read_alone() -> None:
    reads = _reads(corpus.comprehensions)
    assert {"os.sep", "LIMIT"} <= reads
    assert "os" not in reads


def test_private_names_are_those_of_the_class_around() -> None:
    private = corpus.Outer._Outer__private  # type: ignore[attr-defined]
    assert "_Outer__hidden" in _reads(private)
    assert "_Outer__private" in _read(private).attributes


def test_a_reading_survives_a_journey() -> None:
    reading = _read(corpus.imports)
    assert pickle.loads(pickle.dumps(reading)) == reading


def test_without_source_the_names_are_those_with_source() -> None:
    for name, thing in vars(corpus).items():
        # Texts are not looked into, and code that never runs is not compiled.
        if isinstance(thing, FunctionType) and name not in {"frames", "dead"}:
            known, bare = read(thing), read_bytecode(thing.__code__, structure(thing.__code__))
            names = {chain[0] for chain in known.reads if not chain[0].startswith(IMPORT)}
            assert names <= {chain[0] for chain in bare.reads}, name
            assert not bare.from_source


@pytest.mark.slow
def test_functions_under_cell_magics_have_their_source_found(tmp_path: Path) -> None:
    with kernel(tmp_path) as running:
        running.run("from dynmemo.keys.source import read\nkept = []")
        running.run("def plain(x): return x + 1  # one\nprint(read(plain).form)")
        expected = running.run("print(read(plain).form)")
        for magic in ("%%time", "%%capture", "%%time\n\n"):
            running.run(f"{magic}\n# other\ndef timed(x):\n    return x + 1")
            assert running.run("print(read(timed).form)") == expected
        running.run("%%timeit -n1 -r1\ndef inside(x): return (x\n    + 1)\nkept.append(inside)")
        assert running.run("print(read(kept[-1]).form)") == expected
        running.run("%%time\nfs = [lambda x: x + 1, lambda x: x + 2]")
        assert running.run("print(read(fs[0]).form != read(fs[1]).form, read(fs[1]).from_source)") == "True True\n"
