"""The decorator, on a real SQLite file."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import dynmemo
from dynmemo import Cache, InvalidOptionError, StoreUnavailableError, UnhashableArgumentError, dynamo_cached
from dynmemo.parts import bytes_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from dynmemo.testing import Clock


def test_the_same_call_is_computed_once(cache: Cache) -> None:
    calls: list[object] = []

    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        calls.append(x)
        return 2 * x

    assert [double(1), double(1), double(2)] == [2, 2, 4]
    assert calls == [1, 2]
    info = double.cache_info()
    assert (info.hits, info.misses, info.computed, info.maxsize, info.currsize) == (1, 2, 2, None, None)


def test_a_call_is_the_same_however_its_arguments_are_spelled(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def add(a: int, b: int = 2, *, c: int = 3) -> int:
        return a + b + c

    keys = {add.cache_key(1), add.cache_key(a=1), add.cache_key(1, 2), add.cache_key(b=2, a=1), add.cache_key(1, c=3)}
    assert len(keys) == 1
    assert add.cache_key(2) not in keys
    assert add.cache_key(1, c=4) not in keys


def test_extra_positional_and_keyword_arguments_count(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def collect(first: int, /, *rest: int, **options: int) -> tuple[Any, ...]:
        return first, rest, sorted(options.items())

    assert collect(1, 2, 3, a=1, b=2) == collect(*(1, 2, 3), a=1, b=2) == (1, (2, 3), [("a", 1), ("b", 2)])
    assert collect.cache_info().computed == 1
    assert collect(1, 2, a=1, b=2) == (1, (2,), [("a", 1), ("b", 2)])
    assert collect(1, first=5) == (1, (), [("first", 5)])
    assert collect.cache_info().computed == 3
    assert collect(1, 2, 3, b=2, a=1) == (1, (2, 3), [("a", 1), ("b", 2)])
    assert collect.cache_info().computed == 4  # the function can see in which order they came


def test_arguments_that_do_not_fit_raise_what_the_function_would(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def one(a: int) -> int:
        return a

    call: Any = one
    for args, kwargs in (((), {}), ((1, 2), {}), ((1,), {"a": 1}), ((), {"b": 1})):
        with pytest.raises(TypeError, match="argument"):
            call(*args, **kwargs)


def test_the_key_has_three_parts_and_is_what_the_cache_takes(cache: Cache) -> None:
    @dynamo_cached(cache=cache, name="weather:daily#1 100%", version="2024-01 : b")
    def forecast(city: str) -> str:
        return city

    forecast("SEA")
    key = forecast.cache_key("SEA")
    name, code, arguments = key.split(":")
    assert name == "weather%3Adaily%231 100%25"
    assert code.startswith("v")
    assert len(arguments) == 40
    assert cache.get(key) is not None
    assert cache.store.partition_key(key) == f"dc:{key}"


def test_long_names_end_in_their_hash(cache: Cache) -> None:
    long, longer = "n" * 300, "n" * 301
    first = dynamo_cached(cache=cache, name=long)(lambda: 1)
    second = dynamo_cached(cache=cache, name=longer)(lambda: 1)
    name = first.cache_key().split(":")[0]
    assert len(name.encode()) == 200
    assert name != second.cache_key().split(":")[0]


def test_none_is_a_result_like_any_other(cache: Cache) -> None:
    calls = 0

    @dynamo_cached(cache=cache)
    def nothing() -> None:
        nonlocal calls
        calls += 1

    assert nothing() is None
    assert nothing() is None
    assert calls == 1


def test_a_caller_that_changes_its_result_harms_nobody(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def numbers() -> list[int]:
        return [1, 2]

    for _ in range(3):
        got = numbers()
        assert got == [1, 2]
        got.append(3)


def test_exceptions_are_the_callers_and_not_stored(cache: Cache) -> None:
    calls = 0

    @dynamo_cached(cache=cache)
    def fail(kind: str) -> None:
        nonlocal calls
        calls += 1
        raise {"stop": StopIteration, "value": ValueError, "interrupt": KeyboardInterrupt}[kind]("mine")

    for kind, error in (("stop", StopIteration), ("value", ValueError), ("interrupt", KeyboardInterrupt)):
        for _ in range(2):
            with pytest.raises(error, match="mine"):
                fail(kind)
    assert calls == 6


def test_entries_expire(cache: Cache, clock: Clock) -> None:
    @dynamo_cached(cache=cache, ttl="1h", code="off")
    def now() -> float:
        return clock.now

    start = now()
    clock.now += 3600
    assert now() == start
    clock.now += 1
    assert now() == clock.now


def test_a_sliding_entry_lives_while_it_is_used(cache: Cache, clock: Clock) -> None:
    @dynamo_cached(cache=cache, sliding=100, ttl=250, code="off")
    def now() -> float:
        return clock.now

    start = now()
    for _ in range(3):
        clock.now += 80
        assert now() == start
    clock.now += 20
    assert now() != start


def test_a_hit_moves_the_window_after_a_tenth_of_it(cache: Cache, clock: Clock) -> None:
    @dynamo_cached(cache=cache, sliding=100)
    def one() -> int:
        return 1

    one()
    before = one.cache_info().requests
    clock.now += 9
    one()
    assert one.cache_info().requests == before + 1
    clock.now += 1
    one()
    assert one.cache_info().requests == before + 3


def test_ttl_may_depend_on_the_result(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    @dynamo_cached(cache=cache, ttl=lambda result: result)
    def lives(how_long: Any) -> Any:
        return how_long

    for lasting in (60, "1h", timedelta(days=1), None, datetime(2100, 1, 1, tzinfo=UTC)):
        lives(lasting)
        assert lives.entry(lasting) is not None
    with caplog.at_level(logging.WARNING, "dynmemo"):
        for over in (0, -5, timedelta(0), datetime(2020, 1, 1, tzinfo=UTC)):
            assert lives(over) == over
            assert lives.entry(over) is None
    assert len(caplog.records) == 1
    assert "ttl has run out" in caplog.text


@pytest.mark.parametrize("result", ["the patient's name", 0.123456, datetime(2100, 1, 1), ["a", "list"]])
def test_a_ttl_that_is_none_is_said_by_its_type_because_it_may_be_the_result(
    cache: Cache, caplog: pytest.LogCaptureFixture, result: object
) -> None:
    one = dynamo_cached(cache=cache, code="off", ttl=lambda result: result)(lambda: result)
    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert one() == result
    assert len(caplog.records) == 1
    assert f"ttl= returned a {type(result).__name__} that is no lifetime; return seconds" in caplog.text
    assert repr(result) not in caplog.text
    assert one.cache_info().bypassed == 1


@pytest.mark.parametrize("kept", [1e30, "3000000d", timedelta(days=3_000_000)])
def test_keeping_old_values_beyond_the_year_9999_is_refused(kept: Any) -> None:
    with pytest.raises(InvalidOptionError, match=r"stale_if_error=.* ends after the year 9999"):
        dynamo_cached(stale_if_error=kept)(lambda: 1)


def test_a_fixed_moment_that_has_passed_stores_nothing(cache: Cache, clock: Clock) -> None:
    clock.now = datetime.now(UTC).timestamp()

    @dynamo_cached(cache=cache, ttl=datetime.now(UTC) + timedelta(hours=1))
    def one() -> int:
        return 1

    one()
    assert one.entry() is not None
    one.invalidate()
    clock.now += 7200
    assert one() == 1
    assert one.entry() is None


def test_what_cache_if_refuses_is_returned_and_not_stored(cache: Cache) -> None:
    @dynamo_cached(cache=cache, cache_if=lambda result: result is not None)
    def maybe(x: int | None) -> int | None:
        return x

    assert [maybe(1), maybe(1), maybe(None), maybe(None)] == [1, 1, None, None]
    info = maybe.cache_info()
    assert (info.hits, info.computed, info.bypassed) == (1, 3, 2)


def test_a_result_that_cannot_be_stored_is_returned_and_said_once(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    @dynamo_cached(cache=cache)
    def squares(n: int) -> Iterator[int]:
        return (i * i for i in range(n))

    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert list(squares(3)) == [0, 1, 4]
        assert list(squares(3)) == [0, 1, 4]
    assert len(caplog.records) == 1
    assert "generator" in caplog.text
    assert squares.cache_info().bypassed == 2


def test_an_argument_without_content_is_refused_by_name(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def total(numbers: Any) -> int:
        return sum(numbers)

    with pytest.raises(UnhashableArgumentError, match=r"total\(\).*`numbers` is a generator.*ignore="):
        total(i for i in range(3))


def test_ignored_parameters_do_not_count(cache: Cache) -> None:
    @dynamo_cached(cache=cache, ignore=["connection"])
    def query(text: str, connection: object) -> str:
        return text

    query("a", object())
    query("a", connection=object())
    assert query.cache_info().hits == 1


def test_a_key_function_says_what_identifies_a_call(cache: Cache) -> None:
    @dynamo_cached(cache=cache, key=lambda text, connection: text.lower())
    def query(text: str, connection: object) -> str:
        return text

    assert query("A", object()) == query("a", object()) == "A"
    with pytest.raises(TypeError, match="missing"):
        query("A")  # type: ignore[call-arg]


def test_methods_classmethods_and_staticmethods_bind(cache: Cache) -> None:
    class Model:
        def __init__(self, rate: int) -> None:
            self.rate = rate

        @dynamo_cached(cache=cache)
        def scale(self, x: int) -> int:
            return self.rate * x

        @dynamo_cached(cache=cache)
        @classmethod
        def build(cls, x: int) -> tuple[str, int]:
            return cls.__name__, x

        @dynamo_cached(cache=cache)
        @staticmethod
        def shift(x: int) -> int:
            return x + 1

    assert (Model(2).scale(3), Model(2).scale(3), Model(5).scale(3)) == (6, 6, 15)
    assert Model(2).scale.cache_key(3) == Model.scale.cache_key(Model(2), 3) != Model(5).scale.cache_key(3)
    assert Model.scale(Model(2), 3) == 6
    info = Model.scale.cache_info()
    assert (info.computed, info.hits) == (2, 2)
    # mypy takes what lies under another decorator for an instance method
    assert Model.build(1) == Model(2).build(1) == ("Model", 1)  # type: ignore[call-arg, arg-type]
    assert Model.build.cache_info().computed == 1
    assert (Model.shift(1), Model(2).shift(1)) == (2, 2)  # type: ignore[call-arg]
    assert Model.shift.cache_info().computed == 1
    Model(2).scale.invalidate(3)
    assert Model(2).scale.entry(3) is None
    assert Model(5).scale.entry(3) is not None


def test_ignoring_self_leaves_out_the_state_and_keeps_the_class(cache: Cache) -> None:
    class A:
        def __init__(self, state: object) -> None:
            self.state = state

        @dynamo_cached(cache=cache, ignore="self")
        def double(self, x: int) -> int:
            return self.factor() * x

        def factor(self) -> int:
            return 2

    class B(A):
        def factor(self) -> int:
            return 3

    assert (A(object()).double(1), A(open).double(1), B(1).double(1)) == (2, 2, 3)
    assert A.double.cache_info().computed == 2


def test_the_decorated_function_looks_like_the_function(cache: Cache) -> None:
    def plain(a: int, b: str = "x") -> float:
        """Says what it does."""
        return 1.0

    for decorated in (dynamo_cached(plain), dynamo_cached(cache=cache)(plain)):
        assert decorated.__wrapped__ is plain
        assert decorated.__name__ == "plain"
        assert decorated.__doc__ == plain.__doc__
        assert inspect.signature(decorated) == inspect.signature(plain)
        assert callable(decorated)
    assert "plain" in repr(decorated)


def test_its_parameters_can_be_asked_for(cache: Cache) -> None:
    @dynamo_cached(cache=cache, ttl="24h")
    def one() -> int:
        return 1

    parameters = one.cache_parameters()
    assert parameters["ttl"] == "24h"
    assert parameters["name"].endswith("one")
    assert parameters["on_error"] == "compute"


def test_recompute_computes_and_stores_whatever_is_there(cache: Cache) -> None:
    values = iter(range(10))

    @dynamo_cached(cache=cache, code="off")
    def following() -> int:
        return next(values)

    assert [following(), following.recompute(), following()] == [0, 1, 1]


def test_an_entry_tells_of_itself_and_never_computes(cache: Cache, clock: Clock) -> None:
    @dynamo_cached(cache=cache, ttl="1h")
    def squares(n: int) -> list[int]:
        return [i * i for i in range(n)]

    assert squares.entry(3) is None
    squares(3)
    entry = squares.entry(3)
    assert entry is not None
    assert entry.value == [0, 1, 4]
    assert entry.expires_at == datetime.fromtimestamp(clock.now + 3600, UTC)
    assert entry.size > 0
    assert entry.seconds >= 0
    assert squares.cache_info().computed == 1


def test_clearing_succeeds_when_only_deleting_the_rows_fails(
    cache: Cache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = dynamo_cached(cache=cache)(lambda: 1)
    one()
    with closing(sqlite3.connect(tmp_path / "cache.db")) as connection:
        connection.execute("CREATE TRIGGER t BEFORE DELETE ON entries BEGIN SELECT RAISE(FAIL, 'disk is full'); END")
    one.cache_clear()
    assert one.entry() is None
    assert one.cache_info().computed == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the entries are forgotten" in caplog.text
    assert "disk is full" in caplog.text


def test_clearing_forgets_one_function_and_no_other(cache: Cache) -> None:
    one = dynamo_cached(cache=cache, name="one")(lambda: 1)
    two = dynamo_cached(cache=cache, name="two")(lambda: 2)
    cache.set("mine", b"x")
    one(), two()
    one.cache_clear()
    assert one.entry() is None
    assert two.entry() is not None
    assert cache.get("mine") == b"x"
    assert one.cache_info().hits == one.cache_info().computed == 0


def test_clear_takes_a_function_a_name_or_nothing(cache: Cache) -> None:
    dynmemo.configure(cache)
    try:
        one = dynamo_cached(name="shop:one")(lambda: 1)
        two = dynamo_cached(name="two")(lambda: 2)
        cache.set("mine", b"x")
        for arguments in ([one], ["shop:one"], []):
            one(), two()
            dynmemo.clear(*arguments)
            assert one.entry() is None
        assert two.entry() is None
        assert cache.get("mine") == b"x"
        for wrong in (5, "", len, Cache):
            with pytest.raises(InvalidOptionError, match="clear"):
                dynmemo.clear(wrong)  # type: ignore[arg-type]
    finally:
        dynmemo.configure(None)


def test_a_late_writer_does_not_bring_back_what_was_cleared(cache: Cache) -> None:
    def compute() -> int:
        one.cache_clear()  # somebody clears while this computes
        return 1

    one = dynamo_cached(cache=cache, code="off")(compute)
    assert one() == 1
    assert one.entry() is None


def test_functions_of_one_name_share_entries(cache: Cache) -> None:
    first = dynamo_cached(cache=cache, name="shared", version=1)(lambda: "first")
    second = dynamo_cached(cache=cache, name="shared", version=1)(lambda: "second")
    third = dynamo_cached(cache=cache, name="shared", version=2)(lambda: "third")
    assert [first(), second(), third()] == ["first", "first", "third"]


def test_async_functions_are_cached_by_their_result(cache: Cache) -> None:
    calls = 0

    @dynamo_cached(cache=cache, code="off")
    async def fetch(x: int) -> int:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return x

    async def story() -> None:
        assert [await fetch(1), await fetch(1)] == [1, 1]
        assert fetch.cache_info().hits == 1
        entry = await fetch.entry(1)
        assert entry is not None
        assert entry.value == 1
        await fetch.invalidate(1)
        assert await fetch.entry(1) is None
        assert await fetch.recompute(1) == 1
        await fetch.cache_clear()
        assert await fetch.entry(1) is None
        assert fetch.cache_key(1)

    asyncio.run(story())
    assert calls == 2
    assert inspect.iscoroutinefunction(fetch)


def test_disabled_functions_just_compute(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    one = dynamo_cached(cache=cache)(lambda: object())
    monkeypatch.setenv("DYNMEMO_DISABLE", "1")
    assert one() is not one()
    assert one.cache_info().requests == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ttl": 0}, "ttl=0"),
        ({"ttl": "soon"}, "ttl='soon'"),
        ({"ttl": datetime(2030, 1, 1)}, "time zone"),
        ({"sliding": True}, "sliding=True"),
        ({"cache": "redis://x"}, "starts with"),
        ({"cache": 5}, "Cache or a URL"),
        ({"name": ""}, "name="),
        ({"name": "\ud800"}, "surrogate"),
        ({"ttl": datetime(2020, 1, 1, tzinfo=UTC)}, "lies in the past"),
        ({"key": 5}, "key=5"),
        ({"cache_if": "x"}, "cache_if='x'"),
        ({"on_error": "ignore"}, "on_error='ignore'"),
        ({"ignore": "nobody"}, "'nobody' is no parameter.*a, b"),
        ({"ignore": "a", "key": len}, "exclude each other"),
        ({"serializer": "xml"}, "xml"),
        ({"code": "shallow"}, "shallow"),
        ({"tll": 5}, "no option tll.*ttl"),
    ],
)
def test_wrong_options_are_refused_at_decoration(options: dict[str, Any], message: str) -> None:
    def function(a: int, b: int) -> int:
        return a + b

    with pytest.raises(InvalidOptionError, match=message):
        dynamo_cached(**options)(function)


def test_what_an_instance_holds_without_content_is_named_with_what_tells_instances_apart(cache: Cache) -> None:
    class Loader:
        def __init__(self) -> None:
            self.connection = sqlite3.connect(":memory:")

        @dynamo_cached(cache=cache)
        def load(self, number: int, day: str) -> None: ...

        @dynamo_cached(cache=cache)
        def load_all(self) -> None: ...

    with closing((loader := Loader()).connection):
        with pytest.raises(UnhashableArgumentError, match=r"`self\.connection` is a live connection") as caught:
            loader.load(1, "mon")
        assert "key=lambda self, number, day: (self.url, number, day), or a method __dynmemo_digest__" in str(
            caught.value
        )
        assert "ignore" not in str(caught.value)
        with pytest.raises(UnhashableArgumentError, match=r"key=lambda self: self\.url, or"):
            loader.load_all()


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="options are given by name"):
        dynamo_cached("24h")  # type: ignore[call-overload]
    with pytest.raises(InvalidOptionError, match="not the class"):
        dynamo_cached(Cache)


def test_a_generator_function_is_refused_for_it_gives_its_items_once() -> None:
    def items() -> Iterator[int]:
        yield 1

    async def items_async() -> AsyncIterator[int]:
        yield 1

    for function in (items, items_async, staticmethod(items)):
        with pytest.raises(InvalidOptionError, match=r"items\w*\(\) is a generator function.*let it return a list"):
            dynamo_cached(function)


def test_a_property_is_decorated_below_itself(cache: Cache) -> None:
    class Shape:
        @property
        @dynamo_cached(cache=cache)
        def area(self) -> int:
            return 3

    assert Shape().area == 3
    for kind in (property, functools.cached_property):
        with pytest.raises(InvalidOptionError, match=rf"put @dynamo_cached below @{kind.__name__}"):
            dynamo_cached(kind(lambda self: 1))  # type: ignore[call-overload]


def test_a_broken_store_costs_one_log_line_and_never_the_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "not-a-database.db"
    path.write_bytes(b"precious" * 1000)
    calls = 0

    @dynamo_cached(cache=Cache.sqlite(path), code="off")
    def one() -> int:
        nonlocal calls
        calls += 1
        return 1

    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert [one(), one()] == [1, 1]
    assert calls == 2
    assert len(caplog.records) == 1
    assert one.cache_info().errors == 2
    assert path.read_bytes() == b"precious" * 1000
    with pytest.raises(StoreUnavailableError):
        one.invalidate()
    loud = dynamo_cached(cache=Cache.sqlite(path), on_error="raise")(lambda: 1)
    with pytest.raises(StoreUnavailableError):
        loud()


def test_rubbish_under_the_key_is_a_miss_that_is_overwritten(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    @dynamo_cached(cache=cache)
    def one() -> int:
        return 1

    one()
    key = one.cache_key()
    row = cache.store.read(key)
    assert row is not None
    assert row.value is not None
    stored = bytes_of(row)
    assert stored is not None
    rubbish = row._replace(value=stored[:-1] + bytes([stored[-1] ^ 1]))
    cache.store.write(key, rubbish)
    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert one() == 1
    info = one.cache_info()
    assert (info.unreadable, info.computed) == (1, 2)
    assert len(caplog.records) == 1
    assert one() == 1
    assert one.cache_info().hits == 1
    cache.store.write(key, rubbish)
    assert one() == 1
    assert one.cache_info().bypassed == 1  # not again so soon


def test_the_environment_names_the_default_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = dynamo_cached(lambda: 1)
    monkeypatch.setenv("DYNMEMO_URL", f"sqlite:///{(tmp_path / 'env.db').as_posix()}")
    one()
    assert (tmp_path / "env.db").exists()
    monkeypatch.setenv("DYNMEMO_URL", "nonsense")
    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert one() == 1
    assert "starts with dynamodb:// or sqlite://" in caplog.text


def test_configure_decides_for_this_process_and_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    url = f"sqlite:///{(tmp_path / 'configured.db').as_posix()}"
    one = dynamo_cached(lambda: 1)
    try:
        cache = dynmemo.configure(url)
        assert os.environ["DYNMEMO_URL"] == url
        one()
        assert cache.get(one.cache_key()) is not None
    finally:
        dynmemo.configure(None)
    assert "DYNMEMO_URL" not in os.environ
    with pytest.raises(InvalidOptionError, match="Cache or a URL"):
        dynmemo.configure(5)  # type: ignore[arg-type]


def test_without_configuration_there_is_one_file_and_it_is_said_once(
    clean_environment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from dynmemo import defaults

    defaults._looked_up = None
    one = dynamo_cached(lambda: 1)
    with caplog.at_level(logging.WARNING, "dynmemo"):
        one(), one()
    path = defaults.default_path()
    assert path.is_relative_to(clean_environment)
    assert path.stat().st_size > 0
    assert len([record for record in caplog.records if "keeps results in" in record.message]) == 1
    defaults._looked_up = None
    with caplog.at_level(logging.WARNING, "dynmemo"):
        one()
    assert len([record for record in caplog.records if "keeps results in" in record.message]) == 1


def test_trips_to_the_store_are_few(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def one(x: int) -> int:
        return x

    one(0)  # also learns the generation
    before = one.cache_info().requests
    one(0)
    assert one.cache_info().requests == before + 1
    one(1)
    assert one.cache_info().requests == before + 1 + len(["read", "claim", "write"])
    alone = dynamo_cached(cache=cache, single_flight=False)(lambda x: x)
    alone(0)
    before = alone.cache_info().requests
    alone(1)
    assert alone.cache_info().requests == before + len(["read", "write"])


def test_a_wrapped_partial_needs_a_name(cache: Cache) -> None:
    adder = functools.partial(lambda a, b: a + b, 1)
    with pytest.raises(InvalidOptionError, match="name="):
        dynamo_cached(cache=cache)(adder)
    named = dynamo_cached(cache=cache, name="adder")(adder)
    assert named(2) == 3


def test_a_decorated_function_counts_as_an_argument_by_its_code(cache: Cache) -> None:
    def make(n: int) -> Any:
        return dynamo_cached(cache=cache)(lambda x: x + n)

    @dynamo_cached(cache=cache)
    def apply(function: Any, x: int) -> int:
        return int(function(x))

    assert [apply(make(1), 5), apply(make(1), 5), apply(make(2), 5)] == [6, 6, 7]
    assert apply.cache_info().hits == 1


def test_a_recompute_that_asks_for_its_own_key_does_not_wait_for_itself(cache: Cache) -> None:
    @dynamo_cached(cache=cache, ignore="depth")
    def twice(x: int, depth: int = 0) -> int:
        return x if depth else twice(x, depth=1) + 1

    assert twice.recompute(1) == 2
    assert twice(1) == 2


@pytest.mark.parametrize("seconds", [0.5, 3601, "2h", True, "soon"])
def test_a_lease_lasts_from_a_second_to_an_hour(tmp_path: Path, seconds: Any) -> None:
    with pytest.raises(InvalidOptionError, match="lease_seconds="):
        Cache.sqlite(tmp_path / "a.db", lease_seconds=seconds)


@pytest.mark.parametrize("option", ["cache_if", "ttl"])
def test_a_result_survives_an_option_that_raises_on_it(
    cache: Cache, caplog: pytest.LogCaptureFixture, option: str
) -> None:
    def broken(result: object) -> Any:
        raise ValueError("what the result says")

    options: dict[str, Any] = {option: broken}
    one = dynamo_cached(cache=cache, code="off", **options)(lambda: 1)
    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert [one(), one()] == [1, 1]
    assert len(caplog.records) == 1
    assert "raised ValueError" in caplog.text
    assert "what the result says" not in caplog.text
    assert one.cache_info().bypassed == 2


def test_disabled_functions_recompute_without_the_cache(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    one = dynamo_cached(cache=cache)(lambda: 1)
    monkeypatch.setenv("DYNMEMO_DISABLE", "true")
    assert one.recompute() == 1
    assert one.cache_info().requests == 0
    monkeypatch.setenv("DYNMEMO_DISABLE", "false")
    one()
    assert one.cache_info().requests > 0


def test_one_name_may_stand_for_a_list_of_names_and_other_kinds_are_refused(cache: Cache) -> None:
    one = dynamo_cached(cache=cache, depends_on="pytest")(lambda: 1)
    assert one.cache_key() == dynamo_cached(cache=cache, depends_on=["pytest"])(lambda: 1).cache_key()
    wrongs: list[dict[str, Any]] = [{"depends_on": 5}, {"ignore": None}, {"ignore": 5}]
    for wrong in wrongs:
        with pytest.raises(InvalidOptionError, match="no list of"):
            dynamo_cached(**wrong)(lambda: 1)


def test_a_recompute_that_raises_loses_nothing(cache: Cache) -> None:
    answers: list[Any] = [1, ValueError("mine"), 3]

    @dynamo_cached(cache=cache, code="off")
    def following() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert following() == 1
    with pytest.raises(ValueError, match="mine"):
        following.recompute()
    assert following() == 1
    assert following.recompute() == 3
    assert following() == 3
    assert cache.store.read(f"{following.cache_key()}#lease") is None
