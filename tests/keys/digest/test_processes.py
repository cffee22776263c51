"""A digest is the same in every process, on every Python, with other versions of libraries, and in every release."""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from dynmemo.keys.digest import FORMAT, digest, digest_arguments
from tests.keys.digest.golden import golden
from tests.keys.digest.report import digests
from tests.pythons import OTHERS, other_python, printed

if TYPE_CHECKING:
    from pathlib import Path

HERE = digests()


@functools.cache
def _there(python: str, seed: str) -> dict[str, str]:
    command = ("-W", "ignore", "-m", "tests.keys.digest.report")
    found: dict[str, str] = json.loads(printed(*command, python=python, PYTHONHASHSEED=seed))
    return found


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_every_process_has_the_same_digests(seed: str) -> None:
    assert _there(sys.executable, seed) == HERE


@pytest.mark.parametrize("version", OTHERS)
def test_every_python_has_the_same_digests(version: str) -> None:
    there = _there(other_python(version), "3")
    both = [name for name in HERE if name in there and not name.startswith("~")]
    assert len(both) > 100
    assert [name for name in both if there[name] != HERE[name]] == []


def test_every_release_has_the_same_digests() -> None:
    known = golden()
    assert {name: found for name, found in HERE.items() if not name.startswith("~")}.items() <= known.items()


def test_the_format_is_part_of_every_digest() -> None:
    assert FORMAT == 1
    assert digest(1) == "24212924aee717de62dccba986277c55558d11bd"
    assert digest_arguments([("x", 1)])[0] == "96ad7383e9073ab4f313b674abbcbb11fc230962"


LATER = """
import sys
from dynmemo.keys.digest import digest, digest_arguments, is_immutable, register_digest
assert not {"uuid", "decimal", "fractions", "zoneinfo"} & sys.modules.keys()
import datetime, decimal, fractions, uuid, zoneinfo

def may_be_registered(value):
    try:
        register_digest(type(value), str)
    except TypeError:
        return False
    return True

zone = zoneinfo.ZoneInfo("UTC")
values = [uuid.UUID(int=7), decimal.Decimal("1.50"), fractions.Fraction(1, 3), zone, datetime.time(tzinfo=zone)]
looks = [
    lambda value: digest(value),
    lambda value: digest_arguments([("x", value)]),
    lambda value: digest([value, (value,), {value: 1}]),
    lambda value: is_immutable((value,)),
    may_be_registered,
]
first = int(sys.argv[1])
for value in values:
    found = {at % 5: looks[at % 5](value) for at in range(first, first + 5)}
    print(sorted(found.items()))
"""


def test_a_type_that_is_imported_later_is_the_same_whoever_meets_it_first() -> None:
    said = {printed("-c", LATER, str(first)) for first in range(5)}
    assert len(said) == 1
    assert said.pop().count("(3, True), (4, False)") == 5


MAIN = """
import multiprocessing
from dynmemo.keys.digest import digest

class Thing:
    def __init__(self, x):
        self.x = x

def of_a_thing(x):
    return digest(Thing(x))

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(of_a_thing(1), pool.apply(of_a_thing, (1,)), pool.apply(digest, (Thing(1),)))
"""


@pytest.mark.parametrize("start", [["main.py"], ["-m", "main"]])
def test_a_class_of_the_main_module_is_the_same_in_workers(tmp_path: Path, start: list[str]) -> None:
    (tmp_path / "main.py").write_text(MAIN, encoding="utf-8")
    found = printed(*start, folder=tmp_path).split()
    assert len(found) == 3
    assert len(set(found)) == 1


def test_a_class_of_a_module_run_by_name_is_the_same_where_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN, encoding="utf-8")
    imported = printed("-c", "import main; print(main.of_a_thing(1))", folder=tmp_path)
    assert set(printed("-m", "main", folder=tmp_path).split()) == set(imported.split())


FORK = """
import os
import numpy as np
from dynmemo.keys import arrays as buffers
from dynmemo.keys.digest import digest
buffers._THREADS, buffers._WORTH_THREADS = 4, 0
table = np.zeros(4_000_000)
found = digest(table)
child = os.fork()
if child == 0:
    os._exit(digest(table) != found)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_digests_with_threads_as_its_parent_did() -> None:
    assert printed("-W", "ignore", "-c", FORK) == "0\n"
