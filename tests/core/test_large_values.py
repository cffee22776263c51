"""Large values of SQLite, which hits map: right for every kind of value, and each caller's own, also after forks."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dynmemo import Cache, dynamo_cached
from dynmemo.codec import serializers
from dynmemo.keys.digest import digest
from dynmemo.stores import files, sqlite
from tests.keys.digest import values
from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECRET = "a secret of the fleet's, long enough"
ZOO = values.different()


def loaded(value: object) -> Any:
    """What pickle makes of it; None where pickle cannot."""
    try:
        return (pickle.loads(pickle.dumps(value, 5)),)
    except Exception:  # noqa: BLE001 - values may refuse in any way
        return None


def hit_of(cache: Cache, name: str, value: object) -> Any:
    """What a call gets that finds the value stored."""
    given = [value]
    function = dynamo_cached(cache=cache, name=name, version=1)(lambda: given.pop())
    function()
    result = function()
    assert function.cache_info().hits == 1
    return result


@pytest.mark.parametrize("place", ["row", "file", "file that is read", "file with secret"])
def test_a_hit_equals_what_pickle_makes_of_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    options: dict[str, Any] = {"secret": SECRET if "secret" in place else None, "memory_map": "read" not in place}
    if place == "row":
        monkeypatch.setattr(sqlite, "FILE_FROM", 10**12)
    else:
        for module, name in ((sqlite, "FILE_FROM"), (files, "MAP_FROM"), (serializers, "OUT_OF_BAND")):
            monkeypatch.setattr(module, name, 1)
    wrong, seen = [], 0
    with closing(Cache.sqlite(tmp_path / "cache.db", **options)) as cache, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in ZOO.items():
            expected = loaded(value)
            if expected is None or digest(expected[0]) != digest(value):
                continue
            seen += 1
            found = hit_of(cache, f"f{seen}", value)
            if (type(found), digest(found)) != (type(expected[0]), digest(expected[0])):
                wrong.append(name)
            if isinstance(found, np.ndarray) and found.flags.writeable != expected[0].flags.writeable:
                wrong.append(f"{name}: writeable")
    assert not wrong
    assert seen > len(ZOO) // 2


def frozen() -> Any:
    array = np.arange(100_000.0)
    array.flags.writeable = False
    return array


def mapped_file(folder: Path) -> Any:
    array = np.memmap(folder / "numbers", dtype=float, mode="w+", shape=(100_000,))
    array[:] = np.arange(100_000.0)
    return array


LAYOUTS: dict[str, Callable[[], Any]] = {
    "C order": lambda: np.arange(100_000.0).reshape(100, 1000),
    "Fortran order": lambda: np.asfortranarray(np.arange(100_000.0).reshape(100, 1000)),
    "every other": lambda: np.arange(200_000.0)[::2],
    "backwards": lambda: np.arange(100_000.0)[::-1],
    "a view of many": lambda: np.broadcast_to(np.arange(1000.0), (100, 1000)),
    "big-endian": lambda: np.arange(100_000, dtype=">i8"),
    "records": lambda: np.zeros(50_000, dtype=[("a", "i4"), ("b", "f8")]),
    "read-only": frozen,
    "bytearray": lambda: bytearray(range(256)) * 1000,
    "bytes": lambda: bytes(range(256)) * 1000,
    "objects": lambda: np.array(["a", None, 1.5] * 30_000, dtype=object),
    "frame": lambda: pd.DataFrame(
        {"x": np.arange(50_000.0), "text": ["a", "b"] * 25_000, "kind": pd.Categorical(["a", "b"] * 25_000)}
    ),
    "nothing beside much": lambda: (np.empty((0, 5)), np.arange(100_000), np.empty(0)),
}


@pytest.mark.parametrize("secret", [None, SECRET], ids=["plain", "secret"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_large_value_comes_back_however_it_lay_in_memory(tmp_path: Path, layout: str, secret: str | None) -> None:
    value = LAYOUTS[layout]()
    expected = pickle.loads(pickle.dumps(value, 5))
    with closing(Cache.sqlite(tmp_path / "cache.db", secret=secret)) as cache:
        found = hit_of(cache, "f", value)
    assert type(found) is type(expected)
    assert digest(found) == digest(expected)
    if isinstance(value, np.ndarray):
        assert found.flags.writeable == expected.flags.writeable
        assert found.strides == expected.strides


def test_an_array_on_a_file_is_stored_by_content(tmp_path: Path) -> None:
    given = mapped_file(tmp_path)
    with closing(Cache.sqlite(tmp_path / "cache.db")) as cache:
        found = hit_of(cache, "f", given)
        given[:] = 0
        given.flush()
        assert np.array_equal(np.asarray(found), np.arange(100_000.0))


def test_a_global_array_that_is_changed_after_the_call_does_not_change_what_is_stored(tmp_path: Path) -> None:
    own = np.arange(100_000.0)
    with closing(Cache.sqlite(tmp_path / "cache.db")) as cache:
        f = dynamo_cached(cache=cache, name="f", version=1)(lambda: own)
        assert f() is own
        own[:] = -1
        assert np.array_equal(f(), np.arange(100_000.0))


PROGRAM = """
import sys
import numpy as np
from dynmemo import Cache, dynamo_cached

@dynamo_cached(cache=Cache.sqlite(sys.argv[1]), name="f", version=1)
def f(what):
    raise SystemExit("computed again")

def write_all_over(array):
    assert np.array_equal(array, np.arange(len(array)))
    array[:] = -1
"""

READER = (
    PROGRAM
    + """
for array in (f("array"), f("array"), f("frame").x.to_numpy(), *f("several")):
    write_all_over(array) if array.flags.writeable else None
"""
)


def test_what_is_written_into_a_hit_reaches_no_other_hit_process_or_file(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    made: dict[str, Callable[[], Any]] = {
        "array": lambda: np.arange(300_000),
        "frame": lambda: pd.DataFrame({"x": np.arange(300_000)}),
        "several": lambda: [np.arange(50_000), np.arange(40_000)],
    }
    with closing(Cache.sqlite(path)) as cache:
        f = dynamo_cached(cache=cache, name="f", version=1)(lambda what: made[what]())
        for what in made:
            f(what)
        folder = path.with_name("cache.db.values")
        before = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert len(before) == 3
        for _ in range(3):
            for array in (f("array"), *f("several")):
                assert array.flags.writeable
                assert np.array_equal(array, np.arange(len(array)))
                array[:] = -1
            frame = f("frame")
            assert np.array_equal(frame.x, np.arange(300_000))
            frame.loc[:, "x"] = -1
            assert printed("-c", READER, str(path)) == ""
        assert f.cache_info().computed == 3
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


FORK = (
    PROGRAM
    + """
import os
mine = f("array")
mine[0] = -7
child = os.fork()
if child == 0:
    assert mine[0] == -7
    mine[1] = -8
    write_all_over(f("array"))
    os._exit(0)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert list(mine[:3]) == [-7, 1, 2]
write_all_over(f("array"))
print(code)
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("count", [300_000, 2_000_000], ids=["small", "so large that threads digest it"])
def test_a_fork_while_an_array_lives_on_a_map_leaves_each_its_own(tmp_path: Path, count: int) -> None:
    path = tmp_path / "cache.db"
    with closing(Cache.sqlite(path)) as cache:
        dynamo_cached(cache=cache, name="f", version=1)(lambda what: np.arange(count))("array")
    assert printed("-W", "ignore", "-c", FORK, str(path)) == "0\n"


FORKED_WRITER = """
import os, sys
import numpy as np
from dynmemo import Cache, dynamo_cached

@dynamo_cached(cache=Cache.sqlite(sys.argv[1]), name="f", version=1)
def f(x):
    return np.full(2_000_000, x)

f(1), f(1)
child = os.fork()
if child == 0:
    os._exit(int(f(2)[0] != 2 or f(1)[0] != 1 or f.cache_info().errors))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_stores_and_reads_values_so_large_that_its_parent_used_threads(tmp_path: Path) -> None:
    assert printed("-W", "ignore", "-c", FORKED_WRITER, str(tmp_path / "cache.db")) == "0\n"


EVICTER = """
import random, sys
import numpy as np
from dynmemo import Cache, dynamo_cached

@dynamo_cached(cache=Cache.sqlite(sys.argv[1], max_bytes=3_000_000), name="f", version=1)
def f(x):
    return np.full(40_000, x)

chance = random.Random(sys.argv[2])
kept = []
for _ in range(150):
    x = chance.randrange(20)
    array = f(x)
    assert (array == x).all()
    array[:] = -1
    kept = kept[-5:] + [array]
    assert all((array == -1).all() for array in kept)
info = f.cache_info()
print(info.errors, info.hits > 0)
"""


def test_two_processes_that_evict_each_other_get_right_values_and_keep_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    command = [sys.executable, "-W", "ignore", "-c", EVICTER, str(path)]
    workers = [subprocess.Popen([*command, seed], stdout=subprocess.PIPE, text=True) for seed in ("1", "2")]
    assert [worker.communicate(timeout=200)[0] for worker in workers] == ["0 True\n"] * 2
    left = sum(file.stat().st_size for file in path.with_name("cache.db.values").iterdir())
    assert left < 3_500_000


FEW_DESCRIPTORS = """
import os, resource, sys
import numpy as np
from dynmemo import Cache, dynamo_cached
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
cache, keys = Cache.sqlite(sys.argv[1], secret=sys.argv[2] or None), [f"k{n}" for n in range(300)]
cache.set_many({key: key.encode() * 100_000 for key in keys})
print(cache.get_many(keys) == {key: key.encode() * 100_000 for key in keys})

@dynamo_cached(cache=cache)
def f(n):
    return np.full(30_000, n)

f.warm(range(300))
found = f.map(range(300))
print([int(array[-1]) for array in found] == list(range(300)), f.cache_info().hits, f.cache_info().unreadable)
print(len([os.open(os.devnull, os.O_RDONLY) for n in range(128)]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there a process has as many files as it likes")
@pytest.mark.parametrize("secret", ["", "s" * 40], ids=["mapped", "read"])
def test_many_values_at_once_take_few_of_the_descriptors_that_a_process_has(tmp_path: Path, secret: str) -> None:
    lines = printed("-c", FEW_DESCRIPTORS, str(tmp_path / "cache.db"), secret).splitlines()
    assert lines == ["True", "True 300 0", "128"]


def test_threads_that_wait_for_one_large_result_get_memory_of_their_own(tmp_path: Path) -> None:
    started, go = threading.Event(), threading.Event()
    results: list[Any] = []
    with closing(Cache.sqlite(tmp_path / "cache.db")) as cache:

        @dynamo_cached(cache=cache, name="f", version=1)
        def f() -> Any:
            started.set()
            go.wait(60)
            return np.arange(100_000)

        def call() -> None:
            array = f()
            assert np.array_equal(array, np.arange(100_000))
            array[:] = -1
            results.append(array)

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        started.wait(60)
        go.set()
        for thread in threads:
            thread.join()
        assert len({array.__array_interface__["data"][0] for array in results}) == 4
        assert f.cache_info().computed == 1


BEYOND = """
import resource, sys
import numpy as np
from dynmemo import Cache, dynamo_cached

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

@dynamo_cached(cache=Cache.sqlite(sys.argv[1], max_bytes=10**10), name="f", version=1)
def f(length):
    return np.ones(length, dtype="u1")

length = int(sys.argv[2])
before = peak()
result = f(length)
assert f.cache_info().computed in (0, 1)
print(peak() - before)
assert len(result) == length and result[-1] == result[length // 2] == 1
print(f.cache_info().computed, f.cache_info().hits)
"""


@pytest.mark.slow
@pytest.mark.skipif("DYNMEMO_TEST_HUGE" not in os.environ, reason="writes 2.2 GB; set DYNMEMO_TEST_HUGE=1")
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak of memory this way")
def test_a_value_beyond_two_gigabytes_is_written_without_a_copy_and_mapped(tmp_path: Path) -> None:
    length = 2_200_000_000
    command = ("-c", BEYOND, str(tmp_path / "cache.db"), str(length))
    grown, *counts = printed(*command).split()
    assert counts == ["1", "0"]
    assert int(grown) < length * 1.1
    grown, *counts = printed(*command).split()
    assert counts == ["0", "1"]
    assert int(grown) < 50_000_000
