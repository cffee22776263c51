"""Near entries for seconds: a hit without a request, never older than `near` and never past its own end."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from dynmemo import Cache, clear, dynamo_cached, purge
from dynmemo.errors import InvalidOptionError, StoreUnavailableError
from dynmemo.failures import FAILURES
from dynmemo.generations import RECHECK_SECONDS
from dynmemo.item import Expect, Item, Store
from dynmemo.near import LARGEST, NEAR_MAX_BYTES, Near, NearEntry, footprint
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing import Clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

NEAR = 30


class Counted(SqliteStore):
    """A store that cannot tell whether it has changed, as DynamoDB cannot, and notes the rows that are asked for."""

    version, known_version = Store.version, Store.known_version

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked: list[str] = []
        self.errors: list[Exception] = []
        """What it raises instead of an answer."""

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        self._note([key])
        return super().read(key)

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        self._note(keys)
        return super().read_many(keys)

    def _note(self, keys: Sequence[str]) -> None:
        for error in self.errors:
            raise error
        self.asked += [key for key in keys if not key.endswith("#gen")]


Worker = tuple[Cache, Counted]


@pytest.fixture
def worker(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Worker]]:
    """Makes caches of one file, each like that of another process, whose clocks are all `clock`."""
    made: list[Cache] = []

    def make(**options: Any) -> Worker:
        store = Counted(tmp_path / "cache.db")
        cache = Cache(store, clock=clock, **{"near": NEAR, **options})
        cache.generations.clock = clock
        made.append(cache)
        return cache, store

    yield make
    for cache in made:
        cache.close()


def counter(**options: Any) -> Any:
    """A function that says how often it was computed."""
    numbers = itertools.count(1)
    return dynamo_cached(**{"name": "f", "version": 1, **options})(lambda x=0: next(numbers))


def test_a_near_hit_asks_for_nothing_until_its_row_was_read_so_many_seconds_ago(
    worker: Callable[..., Worker], clock: Clock
) -> None:
    cache, store = worker()
    f = counter(cache=cache)
    f()
    clock.now += 10
    f()
    store.asked.clear()
    for _ in range(NEAR):
        clock.now += 0.99
        assert f() == 1
    assert not store.asked
    assert f.cache_info().near_hits == NEAR
    assert f.cache_info().hits == NEAR + 1
    clock.now += 1
    f()
    assert store.asked == [f.cache_key()]


def test_the_time_counts_from_when_reading_began(
    worker: Callable[..., Worker], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, store = worker()
    f = counter(cache=cache)
    f()

    def read(key: str, **how: Any) -> Item | None:
        row = store.read(key)
        clock.now += 4
        return row

    monkeypatch.setattr(f._self_memo.entries(), "_read", read)
    f()
    clock.now += NEAR - 4.01
    store.asked.clear()
    f()
    assert not store.asked
    clock.now += 0.01
    f()
    assert store.asked


def test_a_sweep_uses_near_entries_and_makes_them(worker: Callable[..., Worker], clock: Clock) -> None:
    cache, store = worker()
    f = counter(cache=cache)
    for x in range(3):
        f(x)
    f.map(range(3))
    store.asked.clear()
    assert f.map([2, 0, 1, 2]) == [3, 1, 2, 3]
    assert f(1) == 2
    assert not store.asked
    assert f.cache_info().near_hits == 4  # the equal call was none of its own
    f.map(range(4))
    assert set(store.asked) == {f.cache_key(3)}


@pytest.mark.parametrize("past", [0.5, 2])
def test_none_is_used_past_the_end_of_its_entry(worker: Callable[..., Worker], clock: Clock, past: float) -> None:
    cache, _ = worker()
    f = counter(cache=cache, ttl=10)
    f()
    clock.now += 9
    f()
    assert f() == 1
    assert f.cache_info().near_hits == 1
    clock.now += 1 + past
    assert f() == 2


def test_none_is_used_past_the_deadline_that_was_signed_with_it(worker: Callable[..., Worker], clock: Clock) -> None:
    cache, store = worker()
    f = counter(cache=cache, ttl=10)
    f()
    clock.now += 1
    row = store.read(f.cache_key())
    assert row is not None
    store.write(f.cache_key(), row._replace(ttl_date=None, ttl_deadline=None), Expect.seen(row))
    f()
    assert f() == 1
    clock.now += 10
    assert f() == 2


def test_use_moves_a_sliding_window_as_without(worker: Callable[..., Worker], clock: Clock) -> None:
    cache, store = worker(near=3600)
    f = counter(cache=cache, sliding=100)
    start = int(clock.now)
    f()
    dates = []
    for _ in range(30):
        clock.now += 3
        f()
        row = store.read(f.cache_key())
        assert row is not None
        assert row.ttl_date is not None
        dates.append(row.ttl_date - start)
    assert dates == [100 + 12 * ((n * 3) // 12) for n in range(1, 31)]  # after a tenth of the window, at the next use
    assert f.cache_info().near_hits > 10


def test_a_window_that_every_use_moves_leaves_no_room_for_near_entries(
    worker: Callable[..., Worker], clock: Clock
) -> None:
    cache, _ = worker(refresh_after=0)
    f = counter(cache=cache, sliding=100)
    for _ in range(5):
        f()
        clock.now += 1
    assert f.cache_info().near_hits == 0


FORGET: dict[str, Callable[[Any, Cache], object]] = {
    "invalidate": lambda f, cache: f.invalidate(),
    "recompute": lambda f, cache: f.recompute(),
    "cache_clear": lambda f, cache: f.cache_clear(),
    "clear": lambda f, cache: clear(f),
    "purge": lambda f, cache: purge(f),
    "Cache.remove": lambda f, cache: cache.remove(f.cache_key()),
    "Cache.set": lambda f, cache: cache.set(f.cache_key(), b"of another program"),
}


@pytest.mark.parametrize("way", FORGET)
def test_what_this_process_forgets_is_gone_at_once(worker: Callable[..., Worker], clock: Clock, way: str) -> None:
    cache, _ = worker()
    f = counter(cache=cache)
    f()
    clock.now += 1
    assert [f(), f(), f.cache_info().near_hits] == [1, 1, 1]
    FORGET[way](f, cache)
    assert f() == 2


@pytest.mark.parametrize("way", ["invalidate", "recompute", "cache_clear", "Cache.remove"])
def test_a_row_that_was_being_read_meanwhile_is_not_kept(
    worker: Callable[..., Worker], clock: Clock, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    cache, store = worker()
    f = counter(cache=cache)
    f()
    entries = f._self_memo.entries()

    def read(key: str, **how: Any) -> Item | None:
        row = store.read(key)
        monkeypatch.setattr(entries, "_read", store.read)
        FORGET[way](f, cache)  # in another thread, while the answer is on its way
        return row

    monkeypatch.setattr(entries, "_read", read)
    f()
    assert f() == 2


def test_threads_see_no_value_older_than_one_that_their_process_has_written(worker: Callable[..., Worker]) -> None:
    cache, _ = worker()
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
    for n in range(1, 60):
        state[0] = n
        f.recompute()
        written[0] = n
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert f.cache_info().near_hits > 0


def test_what_was_dropped_long_ago_is_kept_again(worker: Callable[..., Worker], clock: Clock) -> None:
    cache, store = worker()
    f = counter(cache=cache)
    f.map(range(1_100))  # each result that is written drops its key
    f.map(range(1_100))
    store.asked.clear()
    f.map(range(1_100))
    assert not store.asked


def test_a_removal_whose_answer_was_lost_leaves_no_near_entry(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, _ = worker()
    f = counter(cache=cache)
    f()
    f()
    store = f._self_memo.entries().store
    remove = store.remove

    def lose(key: str, expect: Expect | None = None) -> bool:
        remove(key, expect)
        if key == f.cache_key():
            raise StoreUnavailableError("no answer", code="Timeout")
        return True

    monkeypatch.setattr(store, "remove", lose)
    with pytest.raises(StoreUnavailableError):
        f.invalidate()
    assert f() == 2


def test_what_others_do_is_seen_within_its_time(worker: Callable[..., Worker], clock: Clock) -> None:
    (mine, _), (theirs, _) = worker(), worker()
    f, other = counter(cache=mine), counter(cache=theirs)
    f()
    f()
    other.recompute()
    clock.now += 1
    other.recompute()
    clock.now += NEAR - 2
    assert f() == 1
    clock.now += 1
    assert f() == 2


def test_a_clear_of_another_process_is_seen_when_generations_are_read_anew(
    worker: Callable[..., Worker], clock: Clock
) -> None:
    (mine, store), (theirs, _) = worker(), worker()
    f, other = counter(cache=mine), counter(cache=theirs)
    f()
    f()
    clock.now += 2 * RECHECK_SECONDS
    store.asked.clear()
    assert f() == 1
    assert not store.asked  # the generation alone was read
    other.cache_clear()
    clock.now += RECHECK_SECONDS - 1
    assert f() == 1
    clock.now += 1
    assert f() == 2


def test_leases_refused_results_and_kept_values_are_never_near(worker: Callable[..., Worker], clock: Clock) -> None:
    cache, _ = worker()
    refused = counter(cache=cache, name="refused", cache_if=lambda value: False)
    assert [refused(), refused()] == [1, 2]
    assert not cache.near.entries
    is_broken = False

    @dynamo_cached(cache=cache, version=1, ttl=10, stale_if_error=100)
    def f() -> int:
        assert not cache.near.entries  # nor is the lease
        if is_broken:
            raise ValueError
        return 1

    f()
    clock.now += 20
    is_broken = True
    assert [f(), f()] == [1, 1]
    assert f.cache_info().stale == 2
    assert not cache.near.entries


def test_what_cannot_be_read_is_not_near(worker: Callable[..., Worker]) -> None:
    cache, store = worker()
    f = counter(cache=cache)
    f()
    row = store.read(f.cache_key())
    assert row is not None
    store.write(f.cache_key(), row._replace(value=bytes(row.value or b"")[:-1]), None)
    f()
    assert f.cache_info().unreadable == 1
    assert f.cache_key() not in cache.near.entries


def test_an_open_circuit_keeps_nobody_from_near_entries(worker: Callable[..., Worker], clock: Clock) -> None:
    cache, store = worker()
    f = counter(cache=cache)
    f(1)
    f(1)
    clock.now += 1
    store.errors.append(StoreUnavailableError("it is down", code="Down"))
    for n in range(FAILURES):
        f(100 + n)
    assert cache.breaker.is_open
    assert f(1) == 1
    assert f.map([1, 1]) == [1, 1]
    assert f.cache_info().near_hits == 2


def test_refreshing_ahead_begins_when_it_is_due(
    worker: Callable[..., Worker], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.now = Clock.present().now  # as the functions that it computes
    cache, _ = worker(near="1h")
    f = counter(cache=cache, ttl=100, refresh_ahead=0.2)
    begun: list[Any] = []
    monkeypatch.setattr(f._self_memo, "begin", begun.extend)
    f()
    clock.now += 70
    f()
    assert not begun
    clock.now += 11
    assert f() == 1
    assert f.cache_info().near_hits == 1
    (story, args, kwargs), *more = begun
    assert not more
    assert f._self_memo.play(story, args, kwargs) == 2
    assert f() == 2


def test_immutable_results_are_kept_and_others_are_made_anew_for_each_caller(worker: Callable[..., Worker]) -> None:
    cache, _ = worker()
    immutable = (
        "text",
        5,
        2.5,
        None,
        (b"bytes", frozenset({True})),
        datetime(2030, 1, 1, tzinfo=UTC).date(),
        Decimal(1),
    )

    @dynamo_cached(cache=cache)
    def f(kind: str) -> object:
        return {"immutable": immutable, "list": [1], "with a list": (1, [2])}[kind]

    for kind in ("immutable", "list", "with a list"):
        f(kind)
        f(kind)
        results: list[Any] = [f(kind), f(kind)]
        assert results[0] == results[1]
        assert (results[0] is results[1]) == (kind == "immutable")
    f("with a list")[1].append(3)  # type: ignore[index]
    assert f("with a list") == (1, [2])


def test_a_read_opens_a_value_once_and_a_near_hit_never(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, _ = worker()
    f = counter(cache=cache)
    f()
    entries = f._self_memo.entries()
    done: list[str] = []

    def note(name: str) -> None:
        act = getattr(entries, name)

        def noting(*args: Any, **kwargs: Any) -> Any:
            done.append(name)
            return act(*args, **kwargs)

        monkeypatch.setattr(entries, name, noting)

    note("_open")
    note("_decode")
    f()
    assert done == ["_open", "_decode"]
    f()
    assert done == ["_open", "_decode"]
    assert f.cache_info().near_hits == 1


def test_a_function_is_given_what_its_own_codec_has_read(worker: Callable[..., Worker]) -> None:
    cache, _ = worker()
    f = counter(cache=cache)
    other = counter(cache=cache, serializer="json")  # of the same name and version, so of the same keys
    f()
    f()
    other()
    assert other.cache_info().unreadable == 1


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        ("x" * (LARGEST - 1_000), True),
        ("x" * LARGEST, False),
        ((1, "a", (2, b"b", frozenset({3.5}))), True),
        ((1, [2]), False),
        (type("Text", (str,), {})("x"), False),
        (tuple(range(1_000_000)), False),
    ],
)
def test_what_is_kept_is_immutable_and_small(value: object, is_kept: bool) -> None:
    assert (footprint(value) is not None) == is_kept


def test_of_what_was_dropped_too_long_ago_to_be_remembered_no_older_reading_is_kept() -> None:
    near: Near[str] = Near(NEAR_MAX_BYTES, NEAR)
    before = near.reading(None, 0)
    assert before is not None
    for n in range(2_000):
        near.drop(f"k{n}")
    for key in ("k0", "k1999", "another"):
        near.put({key: NearEntry(Item(value=b""), "opened", None, NEAR, math.inf, 0)}, before.drops)
    assert list(near.entries) == []
    after = near.reading(None, 0)
    assert after is not None
    near.put({"k0": NearEntry(Item(value=b""), "opened", None, NEAR, math.inf, 0)}, after.drops)
    assert list(near.entries) == ["k0"]


def test_what_another_thread_began_to_read_later_is_not_replaced_by_an_older_row() -> None:
    near: Near[str] = Near(NEAR_MAX_BYTES, NEAR)
    earlier, later = near.reading(None, 0), near.reading(None, 1)
    for reading, row in ((later, "new"), (earlier, "old")):
        assert reading is not None
        near.put({"k": NearEntry(Item(value=b""), row, None, reading.fresh_until, math.inf, 0)}, reading.drops)
    assert near.entries["k"].opened == "new"


def test_what_is_shared_within_a_value_counts_once() -> None:
    value: tuple[Any, ...] = ()
    for _ in range(100):
        value = (value, value)
    assert (footprint(value) or 0) < 10_000


def test_an_async_near_hit_does_not_leave_the_loop(
    worker: Callable[..., Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, _ = worker()

    @dynamo_cached(cache=cache)
    async def f() -> int:
        return 1

    async def story() -> None:
        assert [await f(), await f()] == [1, 1]
        monkeypatch.setattr(cache, "run", lambda *args: pytest.fail("a thread was asked"))
        assert await f() == 1

    asyncio.run(story())
    assert f.cache_info().near_hits == 1


def test_an_explanation_says_that_a_hit_is_near(worker: Callable[..., Worker], clock: Clock) -> None:
    cache, store = worker()
    f = counter(cache=cache)
    f()
    assert "near" not in f.explain().detail
    f()
    store.asked.clear()
    assert "within the last 30 s, and uses it without a request" in f.explain().detail
    assert not store.asked
    assert f.entry().value == 1
    assert store.asked == [f.cache_key()]


# -- the option ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [0, 0.5, -1, "soon", True, float("inf")])
def test_a_time_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(InvalidOptionError, match="near="):
        Cache.dynamodb("table", near=given)


def test_sqlite_needs_no_time_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"near= is for DynamoDB.*leave it out"):
        Cache(SqliteStore(tmp_path / "cache.db"), near="30s")
    with pytest.raises(InvalidOptionError, match=r"near= is for DynamoDB.*leave it out"):
        Cache.from_url(f"sqlite:///{tmp_path.as_posix()}/cache.db?near=30s")


# -- on DynamoDB ---------------------------------------------------------------------------------------------------


@pytest.fixture
def url(dynamodb_table: str, dynamodb_endpoint: str) -> str:
    names = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
    return f"dynamodb://{dynamodb_table}?" + urlencode({"region": "x", "endpoint_url": dynamodb_endpoint, **names})


def test_a_url_says_how_long_and_hits_ask_dynamodb_for_nothing(url: str) -> None:
    with closing(Cache.from_url(f"{url}&near=10m")) as cache:
        assert cache.near.seconds == 600
        cache.generations.clock = Clock()
        f = counter(cache=cache)
        f.map(range(250))
        before = f.cache_info()
        f.map(range(250))
        filled = f.cache_info()
        assert filled.requests - before.requests == 3
        f.map(range(250))
        for n in range(250):
            f(n)
        after = f.cache_info()
        assert (after.requests, after.read_units) == (filled.requests, filled.read_units)
        assert after.near_hits - filled.near_hits == 500
        cache.generations.clock = Clock(cache.generations.clock() + 6)
        f(0)
        assert f.cache_info().requests - after.requests == 1  # the rows of the generations


@pytest.mark.parametrize(("more", "units"), [("", 0.5), ("&near=30s", 1.0)])
def test_look_ups_that_fill_near_entries_are_consistent(url: str, more: str, units: float) -> None:
    with closing(Cache.from_url(f"{url}&use_consistent_reads=false{more}")) as cache:
        f = counter(cache=cache)
        for look_up, given in ((f, 1), (f.map, [1])):
            f.invalidate(1)
            f(1)
            before = f.cache_info().read_units
            look_up(given)
            assert f.cache_info().read_units - before == units


def test_cache_get_always_asks(url: str) -> None:
    with closing(Cache.from_url(f"{url}&near=30s")) as cache, closing(Cache.from_url(url)) as other:
        cache.set("k", b"1")
        assert cache.get("k") == b"1"
        other.set("k", b"2")
        assert cache.get("k") == b"2"
        assert not cache.near.entries


# -- whatever is done ----------------------------------------------------------------------------------------------

WORKERS = st.integers(0, 1)
ARGUMENTS = st.integers(0, 2)


class Fleet(RuleBasedStateMachine):
    """Two processes' worth of caches on one store. After each step it is noted what is there, and what has gone."""

    folder: Path
    numbers = itertools.count()

    @initialize(options=st.sampled_from([{"ttl": 60}, {"ttl": 100, "sliding": 50}, {"sliding": 40}]))
    def begin(self, options: dict[str, int]) -> None:
        self.clock = Clock(1_000_000.0)
        path = self.folder / f"{next(self.numbers)}.db"
        self.computed = itertools.count()
        self.caches = []
        for near in (NEAR, NEAR, None):
            cache = Cache(Counted(path), clock=self.clock, near=near)
            cache.generations.clock = self.clock
            self.caches.append(cache)
        *self.functions, self.plain = [
            counter(cache=cache, **options) if cache.near.seconds is None else self._function(cache, options)
            for cache in self.caches
        ]
        self.there: dict[int, tuple[Any, Item]] = {}
        self.cleared: tuple[float, int | None] = (0.0, None)
        self.gone: dict[Any, tuple[float, int | None, str, int | None]] = {}

    def _function(self, cache: Cache, options: dict[str, Any]) -> Any:
        return dynamo_cached(cache=cache, name="f", version=1, **options)(lambda x=0: [x, next(self.computed)])

    def teardown(self) -> None:
        for cache in getattr(self, "caches", ()):
            cache.close()

    def note(self, worker: int | None, how: str) -> None:
        entries, now = self.plain._self_memo.entries(), self.clock.now
        for x in range(3):
            self.caches[2].generations.confirmed(entries.store, "f")
            looked = entries.read(self.plain.cache_key(x))
            was = self.there.pop(x, None)
            if looked.decoded is not None and looked.row is not None:
                self.there[x] = (looked.decoded.value, looked.row)
            if was is not None and (x not in self.there or self.there[x][0] != was[0]):
                self.gone[str(was[0])] = (now, worker, how, was[1].ttl_date)

    def check(self, worker: int, x: int, value: Any, computed: int) -> None:
        now = self.clock.now
        if x in self.there and self.there[x][0] == value:
            return
        if value[1] >= computed:  # it is new, and nothing for who knows of the last clear
            self.gone[str(value)] = (*self.cleared, "clear", None)
            return
        at, by, how, end = self.gone[str(value)]
        assert by != worker, "its own process has forgotten it"
        assert how != "time", "it has expired"
        assert end is None or now <= end, "it has expired"
        assert now - at < (RECHECK_SECONDS if how == "clear" else NEAR), "what others do was not seen in time"

    @rule(worker=WORKERS, x=ARGUMENTS)
    def call(self, worker: int, x: int) -> None:
        computed = self._next()
        value = self.functions[worker](x)
        self.note(worker, "call")
        self.check(worker, x, value, computed)
        value.append(-1)  # the caller's own

    @rule(worker=WORKERS)
    def sweep(self, worker: int) -> None:
        computed = self._next()
        values = self.functions[worker].map(range(3))
        self.note(worker, "call")
        for x, value in enumerate(values):
            self.check(worker, x, value, computed)

    @rule(worker=WORKERS, x=ARGUMENTS, how=st.sampled_from(["invalidate", "recompute"]))
    def forget(self, worker: int, x: int, how: str) -> None:
        computed = self._next()
        value = getattr(self.functions[worker], how)(x)
        self.note(worker, how)
        if how == "recompute":
            self.check(worker, x, value, computed)

    @rule(worker=WORKERS)
    def clear(self, worker: int) -> None:
        self.functions[worker].cache_clear()
        self.note(worker, "clear")
        self.cleared = (self.clock.now, worker)

    @rule(seconds=st.sampled_from([1, 4, 6, 15, 25, 29, 31, 51]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds
        self.note(None, "time")

    def _next(self) -> int:
        self.computed = itertools.count(first := next(self.computed))
        return first


def test_no_near_entry_is_used_past_its_time_or_its_end_or_when_its_own_process_has_forgotten_it(
    tmp_path: Path,
) -> None:
    kind = type("Fleet", (Fleet,), {"folder": tmp_path})
    run_state_machine_as_test(
        kind,
        settings=settings(max_examples=40, stateful_step_count=40, suppress_health_check=list(HealthCheck)),
    )
