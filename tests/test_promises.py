"""The seven promises of docs/explanation/promises.md, each from the decorator down to a real store.

Other tests hold the many cases of each; these would fail first if a promise were broken.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from dynmemo import Cache, UnhashableArgumentError, dynamo_cached
from tests.codec.helpers import witness
from tests.notebooks.kernels import Answer, kernel
from tests.proxy import Proxy, Refuse
from tests.pythons import OTHERS, other_python

if TYPE_CHECKING:
    from collections.abc import Callable


def program(folder: Path, text: str, *, name: str = "program.py") -> Path:
    file = folder / name
    file.write_text(textwrap.dedent(text), encoding="utf-8")
    return file


def start(file: Path, *arguments: str, python: str = sys.executable, **variables: str) -> subprocess.Popen[str]:
    """Run a program of the user's in a process of its own."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **variables}
    return subprocess.Popen(
        [python, str(file), *arguments],
        cwd=file.parent,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> list[str]:
    """The lines that it printed."""
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return printed.splitlines()


def run(file: Path, *arguments: str, python: str = sys.executable, **variables: str) -> list[str]:
    return ended(start(file, *arguments, python=python, **variables))


# --- 1: never a wrong value ---


def scaler(factor: int) -> Callable[[int], int]:
    def scale(x: int) -> int:
        return x * factor

    return scale


def of_name(name: str, result: int) -> Callable[[int], int]:
    namespace: dict[str, Any] = {"__name__": "a_notebook"}
    exec(f"def {name}(x): return {result}", namespace)
    function: Callable[[int], int] = namespace[name]
    return function


FUNCTIONS: dict[str, list[Callable[[int], int]]] = {
    "of one name": [of_name("f", 1), of_name("f", 2)],
    "of one closure": [scaler(2), scaler(3)],
    "that are lambdas of one line": [lambda x: x + 1, lambda x: x + 2],
}

ARGUMENTS: dict[str, list[Any]] = {
    "numbers and text": [1, 1.0, "1", True, b"1"],
    "containers": [[1, 2], (1, 2), {1, 2}, [[1], 2], {1: 2}, {2: 1}],
    "the shape of arrays": [np.zeros((2, 3)), np.zeros((3, 2)), np.zeros(6)],
    "the dtype of arrays": [np.zeros(4, "i8"), np.zeros(4, "u8"), np.zeros(4, "f8")],
    "one element of arrays": [np.arange(100_000), np.where(np.arange(100_000) == 77_777, 0, np.arange(100_000))],
    "the names of frames": [
        pd.DataFrame({"a": [1]}),
        pd.DataFrame({"b": [1]}),
        pd.DataFrame({"a": [1]}, index=pd.Index([0], name="day")),
    ],
}


@pytest.mark.parametrize("differ", FUNCTIONS)
def test_functions_never_get_results_of_each_other(cache: Cache, differ: str) -> None:
    for _ in range(2):
        assert [dynamo_cached(cache=cache)(each)(5) for each in FUNCTIONS[differ]] == [
            each(5) for each in FUNCTIONS[differ]
        ]


@pytest.mark.parametrize("differ", ARGUMENTS)
def test_arguments_that_differ_never_share_a_result(cache: Cache, differ: str) -> None:
    @dynamo_cached(cache=cache)
    def number(of: object) -> int:
        return next(numbers)

    numbers = itertools.count()
    values = ARGUMENTS[differ]
    results = [number(each) for each in values]
    assert results == list(range(len(values)))
    assert [number(each) for each in values] == results


@pytest.mark.slow
def test_an_edited_helper_or_global_and_another_notebook_never_get_an_old_result(tmp_path: Path) -> None:
    url = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    shared = "from dynmemo import dynamo_cached\nrate = 2\n"
    helper = "def smooth(x):\n    return x * rate\n"
    function = "@dynamo_cached\ndef forecast(x):\n    print('computing')\n    return smooth(x) + 1\n"
    with kernel(tmp_path, DYNMEMO_URL=url) as first, kernel(tmp_path, DYNMEMO_URL=url) as second:
        for cell in (shared, helper, function):
            first.run(cell)
            second.run(cell)
        assert first.ask("forecast(5)") == Answer("11", 1)
        assert second.ask("forecast(5)") == Answer("11", 0)
        first.run(helper.replace("*", "-"))
        assert first.ask("forecast(5)") == Answer("4", 1)
        first.run("rate = 3")
        assert first.ask("forecast(5)") == Answer("3", 1)
        second.run(function.replace("+ 1", "+ 100"))  # the same names in another notebook
        assert second.ask("forecast(5)") == Answer("110", 1)


# --- 2: one key for one call, everywhere ---

KEYS = """
    import datetime, json, sys
    from dynmemo import dynamo_cached

    RATES = {"sea": {1, 2, 3}, "pdx": frozenset({"a", "b", "c"})}

    class Model:
        def __init__(self, depth):
            self.depth = depth

        def fit(self, x):
            return [self.depth for _ in x if x in RATES["pdx"]]

    @dynamo_cached(cache="sqlite:///unused.db")
    def forecast(city, horizon=14, *, tags=frozenset({"x", "y"}), model=None):
        return Model(horizon).fit(city) or (lambda x: x + len(RATES))(horizon)

    print(json.dumps([
        forecast.cache_key("SEA"),
        forecast.cache_key(city="SEA", horizon=2, tags={"b", "a", "c"}),
        forecast.cache_key(("SEA", 1.5, None), model=Model({1: {"q", "r"}})),
        forecast.cache_key(datetime.datetime(2024, 2, 29, tzinfo=datetime.UTC)),
    ]))
"""


@pytest.mark.slow
def test_a_call_has_the_same_key_in_every_process(tmp_path: Path) -> None:
    there = tmp_path / "another folder"
    there.mkdir()
    keys = [run(program(folder, KEYS), PYTHONHASHSEED=seed) for folder, seed in ((tmp_path, "1"), (there, "2"))]
    assert keys[0] == keys[1]
    assert len(set(json.loads(keys[0][0]))) == 4


@pytest.mark.slow
@pytest.mark.parametrize("version", OTHERS)
def test_a_call_has_the_same_key_on_every_python(tmp_path: Path, version: str) -> None:
    file = program(tmp_path, KEYS)
    package = str(Path(__file__).resolve().parents[1])
    assert run(file, python=other_python(version), PYTHONPATH=package) == run(file)


# --- 3: classes are the reader's own; a key that cannot be built says why ---

OWN_CLASS = """
    from dynmemo import dynamo_cached

    class Model:
        def __init__(self, rate):
            self.rate = rate

    @dynamo_cached
    def fit(rate):
        print("computing")
        return Model(rate)

    fitted = fit(2)
    print(type(fitted) is Model, fitted.rate)
"""


@pytest.mark.slow
def test_an_instance_that_a_hit_returns_is_of_the_readers_own_class(tmp_path: Path) -> None:
    file, url = program(tmp_path, OWN_CLASS), f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    assert run(file, DYNMEMO_URL=url) == ["computing", "True 2"]
    assert run(file, DYNMEMO_URL=url) == ["True 2"]


def test_a_key_that_cannot_be_built_says_which_argument_where_in_it_what_it_is_and_what_to_do(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def load(source: object) -> object:
        return source

    with pytest.raises(UnhashableArgumentError) as caught:
        load({"feeds": [1, (number for number in range(3))]})
    message = str(caught.value)
    for told in ('source["feeds"][1]', "generator", "ignore="):
        assert told in message


# --- 4: what breaks costs bounded time, never a result ---

HELD = """
    import sys
    from dynmemo import dynamo_cached

    @dynamo_cached(cache=sys.argv[1], name="held", version=1)
    def held(x):
        print("computing", flush=True)
        if sys.argv[2] == "hold":
            sys.stdin.read()
        return 2 * x

    print(held(1))
"""


def test_a_worker_that_is_killed_is_succeeded_by_another(url: str, tmp_path: Path) -> None:
    file = program(tmp_path, HELD)
    leader = start(file, url, "hold")
    assert leader.stdout is not None
    assert leader.stdout.readline() == "computing\n"
    successor = start(file, url, "go")
    leader.kill()
    leader.communicate(timeout=60)
    assert ended(successor) == ["computing", "2"]
    assert run(file, url, "go") == ["2"]


def test_a_store_that_is_down_is_asked_a_few_times_and_every_call_is_right(
    dynamodb_endpoint: str, dynamodb_table: str
) -> None:
    with Proxy(dynamodb_endpoint) as proxy, closing(at(proxy, dynamodb_table)) as cache:

        @dynamo_cached(cache=cache)
        def double(x: int) -> int:
            return 2 * x

        proxy.breaks("*", Refuse())
        assert [double(x) for x in range(50)] == [2 * x for x in range(50)]
        info = double.cache_info()
        assert (info.computed, info.errors, info.bypassed) == (50, 3, 47)


def test_rubbish_under_the_key_is_a_miss_that_the_next_result_overwrites(url: str) -> None:
    with closing(Cache.from_url(url)) as cache:

        @dynamo_cached(cache=cache)
        def double(x: int) -> int:
            return 2 * x

        double(4)
        spoil(cache, double.cache_key(4), b"rubbish")
        assert [double(4), double(4)] == [8, 8]
        info = double.cache_info()
        assert (info.computed, info.unreadable, info.hits) == (2, 1, 1)


def spoil(cache: Cache, key: str, value: bytes) -> None:
    """Put other bytes into the row of a decorated function."""
    row = cache.store.read(key, consistent=True)
    assert row is not None
    cache.store.write(key, row._replace(value=value))


# --- 5: one computation in the whole fleet ---

CROWD = """
    import asyncio, sys, threading
    from concurrent.futures import ThreadPoolExecutor
    from dynmemo import dynamo_cached

    THREADS = 8
    all_asked = threading.Barrier(THREADS)

    @dynamo_cached(cache=sys.argv[1], name="plain", version=1)
    def plain(x):
        print("computing plain", flush=True)
        return list(range(x))

    @dynamo_cached(cache=sys.argv[1], name="asynchronous", version=1)
    async def asynchronous(x):
        print("computing asynchronous", flush=True)
        await asyncio.sleep(0.05)
        return list(range(x))

    def ask(_):
        all_asked.wait()
        return plain(1000)

    async def tasks():
        return await asyncio.gather(*(asynchronous(1000) for _ in range(THREADS)))

    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(ask, range(THREADS)))
    assert results + asyncio.run(tasks()) == [list(range(1000))] * (2 * THREADS)
"""


@pytest.mark.slow
def test_threads_and_tasks_of_many_processes_compute_once(url: str, tmp_path: Path) -> None:
    file = program(tmp_path, CROWD)
    processes = [start(file, url) for _ in range(4)]
    for each in processes:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    printed = [line for each in processes for line in ended(each)]
    assert sorted(printed) == ["computing asynchronous", "computing plain"]


# --- 6: what was not signed is never unpickled ---


def test_bytes_that_were_not_signed_are_never_unpickled_where_a_secret_is_set(url: str, tmp_path: Path) -> None:
    unpickled, forged = witness(tmp_path)
    with closing(Cache.from_url(url)) as unsigned, closing(with_secret(url)) as signed:
        tempter = dynamo_cached(cache=unsigned, name="f", version=1)(lambda x: Tempter(unpickled))
        careful = dynamo_cached(cache=signed, name="f", version=1)(lambda x: x)
        tempter(1)  # well-formed, but of somebody without the secret
        assert careful(1) == 1
        careful(2)
        spoil(signed, careful.cache_key(2), forged)
        assert careful(2) == 2
        assert careful.cache_info().unreadable == 2
        assert not unpickled.exists()
        assert tempter(1) is not None
    pickle.loads(forged)
    assert unpickled.exists(), "the trap does not work"


class Tempter:
    """Unpickled, it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.file,)


def with_secret(url: str) -> Cache:
    return Cache(Cache.from_url(url).store, secret="a secret of the fleet's, long enough")


# --- 7: one round trip per hit ---


class Size(NamedTuple):
    """Of a value, and what a hit on it costs on DynamoDB, in read units."""

    size: int
    units: float


@pytest.mark.parametrize("size", [Size(100, 1), Size(100_000, 25), Size(3_000_000, 1)], ids=str)
def test_a_hit_is_one_request_whatever_the_size_of_the_value(
    dynamodb_endpoint: str, dynamodb_table: str, size: Size
) -> None:
    value = os.urandom(size.size)
    with Proxy(dynamodb_endpoint) as proxy, closing(at(proxy, dynamodb_table)) as cache:

        @dynamo_cached(cache=cache)
        def load() -> bytes:
            return value

        assert [load(), load()] == [value, value]
        requests, before = sum(proxy.counts.values()), load.cache_info()
        assert load() == value
        info = load.cache_info()
        assert sum(proxy.counts.values()) - requests == info.requests - before.requests == 1
        assert info.read_units - before.read_units == pytest.approx(size.units, abs=1)
        assert info.write_units == before.write_units


def test_a_miss_is_a_read_a_claim_and_a_write(url: str) -> None:
    with closing(Cache.from_url(url)) as cache:

        @dynamo_cached(cache=cache)
        def one(x: int) -> int:
            return x

        one(0)  # also learns the generation
        before = one.cache_info().requests
        one(1)
        assert one.cache_info().requests - before == len(["read", "claim", "write"])
        one(1)
        assert one.cache_info().requests - before == len(["read", "claim", "write", "hit"])


def at(proxy: Proxy, table: str) -> Cache:
    return Cache.dynamodb(
        table,
        endpoint_url=proxy.endpoint,
        region="eu-west-1",
        partition_key_name="id",
        ttl_attribute_name="ttl_date",
    )
