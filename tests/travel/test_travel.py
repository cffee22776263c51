"""Decorated functions arrive decorated, with the same keys and the same cache."""

from __future__ import annotations

import multiprocessing
import pickle
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cloudpickle
import pytest

from dynmemo import Cache, InvalidOptionError, dynamo_cached
from tests.travel import program

SCRIPT = Path(program.__file__)


@pytest.mark.parametrize("way", [*multiprocessing.get_all_start_methods(), "loky", "dask", "file"])
def test_functions_of_a_script_arrive_whole(way: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), way, (tmp_path / "file").as_posix()],
        capture_output=True,
        text=True,
        cwd=SCRIPT.parent.parent.parent,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{name}: arrived" for name in program.travellers()]


def test_arguments_of_classes_of_the_script_have_the_same_key_where_its_source_is_not(tmp_path: Path) -> None:
    script, sent, cache = tmp_path / "script.py", tmp_path / "sent", tmp_path / "cache.db"
    script.write_text(
        f"""
import enum, functools, cloudpickle, attrs
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from dynmemo import dynamo_cached

class Plain:
    def __init__(self, x): self.x = x
    def double(self): return 2 * self.x
    half = property(lambda self: self.x / 2)
    @staticmethod
    def one(): return 1

class Custom(Plain):
    def __getstate__(self): return {{"x": self.x}}
    def __setstate__(self, state): self.x = state["x"]

@dataclass
class Data:
    x: int = 1
    def double(self): return 2 * self.x

@attrs.define
class Defined:
    x: int = 1
    def double(self): return 2 * self.x

class Colour(enum.Enum):
    red = 1
    def double(self): return 2 * self.value

class Pair(NamedTuple):
    x: int
    def double(self): return 2 * self.x

def add(x): return x + 1

def loud(function):
    @functools.wraps(function)
    def inner(*args): return function(*args)
    return inner

class Wrapped:
    @loud
    def double(self): return 2

@dataclass(slots=True)
class Slots:
    x: int = 1
    def double(self): return 2 * self.x

@dataclass
class Child(Data):
    y: list = field(default_factory=lambda: [3])

def factory(n): return lambda x: x + n

class Itself:
    def double(self): return 2
Itself.again = Itself

@dynamo_cached(cache="sqlite:///{cache.as_posix()}")
def used(thing): return None

things = [Plain(1), Custom(2), Data(), Defined(), Colour.red, Pair(3), add]
things += [Wrapped(), Slots(), Child(), factory(3), lambda x: x - 1, Itself()]
for thing in things:
    used(thing)
Path({str(sent)!r}).write_bytes(cloudpickle.dumps((used, things)))
"""
    )
    receiver = (
        "import pickle, sys\n"
        "with open(sys.argv[1], 'rb') as file: used, things = pickle.load(file)\n"
        "for thing in things: used(thing)\n"
        "print(used.cache_info().hits, used.cache_info().misses)"
    )
    subprocess.run([sys.executable, str(script)], check=True)
    script.unlink()
    done = subprocess.run(
        [sys.executable, "-c", receiver, str(sent)], check=True, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["13", "0"]


def test_a_function_of_a_module_travels_by_reference() -> None:
    for pickler in (pickle, cloudpickle):
        assert pickle.loads(pickler.dumps(program.recursive)) is program.recursive
        assert len(pickler.dumps(program.recursive)) < 100


def test_a_function_whose_fixed_end_has_passed_arrives_and_computes(tmp_path: Path) -> None:
    end = datetime.now(UTC) + timedelta(seconds=0.2)
    local = dynamo_cached(cache=Cache.sqlite(tmp_path / "cache.db"), ttl=end)(lambda: 1)
    sent = cloudpickle.dumps(local)
    while datetime.now(UTC) <= end:
        time.sleep(0.01)
    arrived = pickle.loads(sent)
    assert arrived() == 1
    assert arrived.cache_info().bypassed == 1


def test_a_function_with_a_cache_from_a_live_client_says_what_to_do() -> None:
    cache = Cache.dynamodb("t", client=object())  # type: ignore[arg-type]
    local = dynamo_cached(cache=cache)(lambda: 1)
    with pytest.raises(InvalidOptionError, match="client_factory="):
        cloudpickle.dumps(local)


def test_what_is_not_there_and_cannot_be_sent_says_so() -> None:
    lock = __import__("threading").Lock()
    local = dynamo_cached(lambda: lock)
    with pytest.raises(TypeError, match="lock"):
        cloudpickle.dumps(local)
