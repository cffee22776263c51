"""Near entries: whatever anybody does to the file, a hit says what a plain read would say."""

from __future__ import annotations

import itertools
import math
import pickle
import subprocess
import sys
import threading
from collections import OrderedDict
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from dynmemo import Cache, clear, dynamo_cached
from dynmemo.errors import InvalidOptionError
from dynmemo.item import Item
from dynmemo.near import COPIED_FROM, LARGEST, Near, NearEntry, copier, footprint
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKERS = st.integers(0, 2)
ARGUMENTS = st.integers(0, 2)


class Fleet(RuleBasedStateMachine):
    """Three workers on one file, who do to it what can be done, and ask it what lies there in both ways."""

    folder: Path
    numbers = itertools.count()

    @initialize()
    def begin(self) -> None:
        self.clock = Clock(1_000_000.0)
        path = self.folder / f"{next(self.numbers)}.db"
        self.caches = [
            Cache(SqliteStore(path, clock=self.clock), clock=self.clock, near_max_bytes=size)
            for size in (32_000_000, 5_000, 0)
        ]
        computed = itertools.count()
        self.functions = [
            dynamo_cached(cache=cache, name="f", version=1, ttl=100, sliding=50)(lambda x: [next(computed)])
            for cache in self.caches
        ]

    def teardown(self) -> None:
        for cache in getattr(self, "caches", ()):
            cache.close()

    @rule(worker=WORKERS, x=ARGUMENTS)
    def look(self, worker: int, x: int) -> None:
        function = self.functions[worker]
        entries, key = function._self_memo.entries(), function.cache_key(x)
        near = entries.near(key)
        if near is not None:
            assert near.decoded == entries.read(key).decoded

    @rule(worker=WORKERS, x=ARGUMENTS)
    def call(self, worker: int, x: int) -> None:
        result = self.functions[worker](x)
        assert len(result) == 1
        result.append(-1)  # the caller's own
        self.look(worker, x)

    @rule(worker=WORKERS, x=ARGUMENTS)
    def invalidate(self, worker: int, x: int) -> None:
        self.functions[worker].invalidate(x)

    @rule(worker=WORKERS, x=ARGUMENTS)
    def recompute(self, worker: int, x: int) -> None:
        self.functions[worker].recompute(x)

    @rule(worker=WORKERS)
    def clear(self, worker: int) -> None:
        self.functions[worker].cache_clear()

    @rule(seconds=st.sampled_from([1, 10, 49, 52]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(worker=WORKERS)
    def close(self, worker: int) -> None:
        self.caches[worker].close()


def test_a_hit_says_what_a_plain_read_would_say(tmp_path: Path) -> None:
    kind = type("Fleet", (Fleet,), {"folder": tmp_path})
    run_state_machine_as_test(
        kind,
        settings=settings(max_examples=40, stateful_step_count=40, suppress_health_check=list(HealthCheck)),
    )


WRITER = """
import sys
from dynmemo import Cache, dynamo_cached
state = [0]
@dynamo_cached(cache=Cache.sqlite(sys.argv[1]), name="f", version=1)
def f():
    return state[0]
for line in sys.stdin:
    state[0] = int(line)
    f.recompute()
    print(line, end="", flush=True)
"""


def test_what_another_process_has_written_is_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cache.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    with (
        closing(Cache.sqlite(path)) as cache,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer,
    ):
        assert writer.stdin is not None
        assert writer.stdout is not None

        @dynamo_cached(cache=cache, name="f", version=1)
        def f() -> int:
            raise AssertionError("never computed here")

        for n in range(200):
            writer.stdin.write(f"{n}\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == f"{n}\n"
            assert [f(), f()] == [n, n]
        writer.stdin.close()


def test_threads_that_write_and_read_see_no_value_older_than_one_that_was_written(tmp_path: Path) -> None:
    with closing(Cache.sqlite(tmp_path / "cache.db")) as cache:
        written, done, wrong = [0], threading.Event(), []
        state = [0]

        @dynamo_cached(cache=cache, name="f", version=1)
        def f() -> int:
            return state[0]

        def read() -> None:
            while not done.is_set():
                least = written[0]
                got = f()
                if got < least:
                    wrong.append((got, least))

        f.recompute()
        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for n in range(1, 300):
            state[0] = n
            f.recompute()
            written[0] = n
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong


def test_a_near_hit_reads_no_row_and_counts_as_one_request(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    @dynamo_cached(cache=cache)
    def f() -> list[int]:
        return [1]

    f()
    f()
    before = f.cache_info()
    monkeypatch.setattr(f._self_memo.entries(), "_read", lambda *args, **kwargs: pytest.fail("a row was read"))
    assert f() == [1]
    after = f.cache_info()
    assert (after.hits - before.hits, after.requests - before.requests) == (1, 1)
    assert after.near_hits - before.near_hits == 1


def entry(size: int) -> NearEntry[str]:
    return NearEntry(Item(value=bytes(size)), "opened", object(), math.inf, math.inf, size)


def test_near_entries_keep_to_their_bound() -> None:
    near: Near[str] = Near(50_000)
    for n in range(100_000):
        near.put({f"k{n}": entry(500)}, 0)
    kept = [n for n in range(100_000) if f"k{n}" in near.entries]
    assert kept == list(range(100_000 - 33, 100_000))
    near.put({"large": entry(50_000)}, 0)
    assert "large" not in near.entries
    assert len(near.entries) == 33


def test_near_entries_can_be_turned_off(tmp_path: Path) -> None:
    with closing(Cache.from_url(f"sqlite:///{tmp_path}/cache.db?near_max_bytes=0")) as cache:

        @dynamo_cached(cache=cache)
        def f() -> int:
            return 1

        assert [f(), f(), f()] == [1, 1, 1]
        assert not cache.near.entries


@pytest.mark.parametrize("given", [-1, 1.5, True, "32 MB"])
def test_a_bound_that_is_none_is_refused(tmp_path: Path, given: Any) -> None:
    with pytest.raises(InvalidOptionError, match="near_max_bytes"):
        Cache.sqlite(tmp_path / "cache.db", near_max_bytes=given)


def test_clearing_by_name_reaches_near_entries(cache: Cache) -> None:
    calls = []

    @dynamo_cached(cache=cache)
    def f() -> int:
        calls.append(1)
        return len(calls)

    assert [f(), f(), f()] == [1, 1, 1]
    clear(f)
    assert f() == 2


def test_a_thread_may_use_near_entries_while_another_makes_room() -> None:
    near: Near[str] = Near(50_000)
    done = threading.Event()

    def use() -> None:
        while not done.is_set():
            for n in range(40):
                with suppress(KeyError):
                    near.entries.move_to_end(f"k{n}")

    users = [threading.Thread(target=use) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for user in users:
            user.start()
        for n in range(30_000):
            near.put({f"k{n % 40}": entry(500)}, 0)
    finally:
        done.set()
        sys.setswitchinterval(interval)
        for user in users:
            user.join()
    assert len(near.entries) == 33


def test_what_was_verified_is_not_verified_again_when_something_else_in_the_file_has_changed(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dynamo_cached(cache=cache)
    def f() -> list[int]:
        return [1]

    f()
    f()
    monkeypatch.setattr(f._self_memo.entries(), "_open", lambda *args, **kwargs: pytest.fail("it was verified again"))
    for n in range(3):
        cache.set("other", bytes(n))
        before = f.cache_info()
        assert [f(), f()] == [[1], [1]]
        after = f.cache_info()
        assert (after.hits - before.hits, after.near_hits - before.near_hits) == (2, 1)


LEAVES = st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3) | st.binary(max_size=3)
VALUES = st.recursive(
    LEAVES | st.tuples(LEAVES, LEAVES) | st.sets(st.integers(), max_size=2) | st.builds(bytearray),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(LEAVES, inner, max_size=4) | st.tuples(inner),
    max_leaves=20,
)


def is_copied(value: Any) -> bool:
    """Whether it is made of dicts and lists, and of what nobody can change."""
    children = value.values() if type(value) is dict else value
    return footprint(value) is not None or (type(value) in (dict, list) and all(map(is_copied, children)))


def changeable(value: Any) -> Iterator[Any]:
    """The dicts and lists in a value, itself included."""
    if type(value) in (dict, list):
        yield value
        for child in value.values() if type(value) is dict else value:
            yield from changeable(child)


@given(VALUES)
def test_a_copy_is_what_unpickling_gives_and_shares_nothing_that_can_be_changed(value: Any) -> None:
    stored = pickle.dumps(value)
    original = pickle.loads(stored)
    copied = copier(original)
    assert (copied is not None) == (is_copied(value) and type(value) in (dict, list))
    if copied is not None:
        copy, size = copied
        first, second = copy(original), copy(original)
        assert pickle.dumps(first) == pickle.dumps(second) == pickle.dumps(pickle.loads(stored))
        assert {id(part) for part in changeable(first)}.isdisjoint(id(part) for part in changeable(second))
        assert size >= sum(map(sys.getsizeof, changeable(first)))


SHARED: list[int] = []
CIRCLE: list[Any] = [1]
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "value",
    [[SHARED, SHARED], CIRCLE, OrderedDict(a=1), [OrderedDict(a=1)], {frozenset({(1, object())}): 1}, [b"x" * LARGEST]],
    ids=["twice", "circle", "subclass", "subclass inside", "key", "large"],
)
def test_no_copy_is_made_of_more_than_plain_dicts_and_lists(value: Any) -> None:
    assert copier(value) is None


def test_a_value_that_is_copied_is_its_own_callers_alone_and_counts_with_its_copy(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def f() -> dict[str, Any]:
        return {"days": [{"day": day, "at": (day, "h")} for day in range(3)], "names": ["a"]}

    expected = f()
    sizes = []
    for _ in range(COPIED_FROM + 3):
        found = f()
        assert found == expected
        found["days"][0]["day"] = found["names"] = None
        found["days"].pop()
        [entry] = [entry for key, entry in cache.near.entries.items() if key == f.cache_key()]
        sizes.append(entry.size)
    assert f.cache_info().near_hits == COPIED_FROM + 2
    assert sizes[-1] > sizes[0] + 1_000
    opened = cache.near.entries.pop(f.cache_key()).opened
    assert opened.make(opened.source) == expected
