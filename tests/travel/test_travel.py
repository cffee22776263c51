"""Decorated functions arrive decorated, with the same keys and the same cache."""

from __future__ import annotations

import copy
import importlib
import multiprocessing
import pickle
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cloudpickle
import pytest

import dynmemo
from dynmemo import Cache, InvalidOptionError, dynamo_cached
from dynmemo.calls import travel
from dynmemo.defaults import default_cache
from tests.pythons import printed
from tests.travel import program

SCRIPT = Path(program.__file__)


@pytest.mark.parametrize("way", [*multiprocessing.get_all_start_methods(), "loky", "dask", "file"])
def test_functions_of_a_script_arrive_whole(way: str, tmp_path: Path) -> None:
    lines = printed(str(SCRIPT), way, (tmp_path / "file").as_posix()).splitlines()
    assert lines == [f"{name}: arrived" for name in program.travellers()]


def test_arguments_of_classes_of_the_script_have_the_same_key_where_its_source_is_not(tmp_path: Path) -> None:
    script, sent, cache = tmp_path / "script.py", tmp_path / "sent", tmp_path / "cache.db"
    script.write_text(
        f"""
import collections, enum, functools, cloudpickle, attrs
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
Old = collections.namedtuple("Old", "x")
things += [Old(1), [lambda x: x * 5], Wrapped(), Slots(), Child(), factory(3), lambda x: x - 1, Itself()]
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
    printed(str(script))
    script.unlink()
    assert printed("-c", receiver, str(sent), folder=tmp_path) == "15 0\n"


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
    cache = Cache.dynamodb("tab", client=object())  # type: ignore[arg-type]
    local = dynamo_cached(cache=cache)(lambda: 1)
    with pytest.raises(InvalidOptionError, match="client_factory="):
        cloudpickle.dumps(local)


def test_a_function_with_a_cache_from_a_store_goes_by_its_module_and_else_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_store.py").write_text(
        "from dynmemo import Cache, dynamo_cached\n"
        "from dynmemo.stores.sqlite import SqliteStore\n"
        f"cache = Cache(SqliteStore({str(tmp_path / 'cache.db')!r}))\n"
        "one = dynamo_cached(cache=cache)(lambda: 1)\n"
        "@dynamo_cached(cache=cache)\n"
        "def two(): return 2\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    own_store = importlib.import_module("own_store")
    for pickler in (pickle, cloudpickle):
        assert pickle.loads(pickler.dumps(own_store.two)) is own_store.two
        with pytest.raises(InvalidOptionError, match="into a module that the other process imports"):
            pickler.dumps(own_store.one)
    own_store.cache.close()


def test_what_is_not_there_and_cannot_be_sent_says_so() -> None:
    lock = __import__("threading").Lock()
    local = dynamo_cached(lambda: lock)
    with pytest.raises(TypeError, match="lock"):
        cloudpickle.dumps(local)


STARTED = """
import sys
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
import dynmemo
from dynmemo import dynamo_cached
import station

RATE = 1

def helper(x): return x * RATE

@dynamo_cached
def here(x): return helper(x)

def seen(function, *args):
    result = function(*args)
    info = function.cache_info()
    return result, info.hits, info.computed

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(abs, 1).result()  # it runs before anything is configured
        dynmemo.configure("sqlite:///" + sys.argv[1])
        RATE = 7  # what a worker that imports this script does not do
        assert (here(5), station.measure(5), station.Model(3).scale(5)) == (35, 10, 15)
        for function in (here, station.measure, station.Model(3).scale):
            print(*pool.submit(seen, function, 5).result())
"""
STATION = """
from dynmemo import dynamo_cached

@dynamo_cached
def measure(x): return 2 * x

class Model:
    def __init__(self, rate): self.rate = rate

    @dynamo_cached
    def scale(self, x): return self.rate * x
"""


def test_workers_that_ran_before_get_the_function_as_it_is_here_and_the_cache_configured_since(tmp_path: Path) -> None:
    (tmp_path / "station.py").write_text(STATION)
    (tmp_path / "script.py").write_text(STARTED)
    cache = (tmp_path / "cache.db").as_posix()
    assert printed("script.py", cache, folder=tmp_path).splitlines() == ["35 1 0", "10 1 0", "15 1 0"]


def test_what_is_configured_here_stays_in_force_whatever_arrives(tmp_path: Path) -> None:
    one, other = (Cache.sqlite(tmp_path / name) for name in ("one.db", "other.db"))
    dynmemo.configure(one)
    try:
        sent = pickle.dumps(program.recursive)
        dynmemo.configure(other)
        pickle.loads(sent)
        assert dynmemo.configure(other) is other
        assert default_cache() is other
        dynmemo.configure(None)
        pickle.loads(sent)
        assert default_cache().url == one.url
    finally:
        dynmemo.configure(None)
    assert default_cache().url not in (one.url, other.url)


def test_functions_that_call_each_other_are_sent_once(tmp_path: Path) -> None:
    lines = ["from dynmemo import dynamo_cached"]
    for n in range(16):
        calls = " + ".join(f"f{m}(x)" for m in (n + 1, n + 2) if m < 16) or "x"
        lines += ["@dynamo_cached", f"def f{n}(x): return {calls}"]
    lines += ["import cloudpickle", "print(len(cloudpickle.dumps(f0)))"]
    (tmp_path / "script.py").write_text("\n".join(lines))
    assert int(printed("script.py", folder=tmp_path)) < 30_000


def test_of_functions_that_came_by_value_only_so_many_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(travel, "MOST_ARRIVED_BYTES", 250_000)
    arrived = travel._Arrived()
    monkeypatch.setattr(travel, "_arrived", arrived)
    cache = Cache.sqlite(tmp_path / "cache.db")

    def made(number: int) -> bytes:
        data = bytes([number]) * 100_000
        return cloudpickle.dumps(dynamo_cached(cache=cache)(lambda: len(data)))  # type: ignore[no-any-return]

    values = [made(number) for number in range(4)]
    functions = [pickle.loads(value) for value in values]
    assert pickle.loads(values[3]) is functions[3]
    assert pickle.loads(values[0]) is not functions[0]
    assert len(arrived._known) == 2
    assert functions[0]() == 100_000


class Holder:
    def __init__(self, function: object) -> None:
        self.function = function

    @dynamo_cached(name="held", version=1)
    def method(self) -> int:
        return 1


def test_a_copy_of_a_function_is_itself_and_that_of_a_bound_method_is_of_a_copy() -> None:
    local = dynamo_cached(lambda: 1)
    assert copy.copy(local) is copy.deepcopy(local) is local
    holder = Holder(local)
    assert copy.deepcopy(holder).function is local
    method = copy.deepcopy(holder.method)
    assert type(method) is type(holder.method)
    assert method.__self__ is not holder
    assert copy.copy(holder.method).__self__ is holder


def test_a_result_that_holds_a_decorated_function_stores_no_secret_and_switches_no_cache(tmp_path: Path) -> None:
    path, other = tmp_path / "cache.db", Cache.sqlite(tmp_path / "other.db", secret="correct horse")
    shared = Cache.sqlite(path)
    secret = dynamo_cached(cache=Cache.sqlite(tmp_path / "own.db", secret="battery staple"))(lambda: 1)
    pick = dynamo_cached(cache=shared, version=1)(
        lambda which: [program.recursive, program.Model(2).scale, secret][which]
    )
    dynmemo.configure(other)
    try:
        for which in range(3):
            pick(which)
        assert pick.cache_info().bypassed == 1
    finally:
        dynmemo.configure(None)
    shared.close()
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("cache.db*"))
    assert b"correct horse" not in stored
    assert b"battery staple" not in stored
    before = default_cache().url
    assert pick(0) is program.recursive
    assert pick.cache_info().hits == 1
    assert default_cache().url == before


class PicklesItself:
    def __init__(self, function: object) -> None:
        self.function = function

    def __reduce__(self) -> tuple[object, ...]:
        return pickle.loads, (pickle.dumps(self.function),)


def test_a_function_within_a_pickle_of_its_own_arrives_too(tmp_path: Path) -> None:
    cache = Cache.sqlite(tmp_path / "cache.db")
    inner = dynamo_cached(cache=cache)(lambda x: x)
    holder = PicklesItself(inner)
    outer = dynamo_cached(cache=cache, version=1)(lambda x: [holder, x][1])
    assert pickle.loads(pickle.dumps(outer))(3) == 3
