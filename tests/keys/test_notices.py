"""What is said where a call misses though its arguments look the same: in `explain()`, and once in the log."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import UnhashableArgumentError, dynamo_cached
from dynmemo.keys.arguments import RESTLESS

if TYPE_CHECKING:
    from pathlib import Path

    from dynmemo import Cache


class Model:
    """Which remembers what it was asked last."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.last: int | None = None

    def predict(self, x: int) -> int:
        self.last = x
        return self.scale * x


CALLS: list[int] = []


class Counted:
    """Whose code changes what it reads, which is its own state."""

    def predict(self, x: int) -> int:
        CALLS.append(x)
        return len(CALLS) * 0 + x


class Restless:
    """Which says something else each time it is asked what counts."""

    _numbers = itertools.count()

    def __dynmemo_digest__(self) -> int:
        return next(self._numbers)


def test_the_same_items_in_another_order_are_named_and_logged_once(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    @dynamo_cached(cache=cache)
    def first(options: dict[str, Any], scale: int = 1) -> str:
        return next(iter(options)) * scale

    first({"a": 1, "b": {"c": 2, "d": 3}})
    assert first.explain({"b": {"d": 3, "c": 2}, "a": 1}).differences == (
        "argument `options` has the same items in another order",
    )
    assert first.explain({"a": 2, "b": {"c": 2, "d": 3}}).differences == (
        'argument `options` differs in `options["a"]`',
    )
    assert caplog.messages == []
    assert first({"b": {"d": 3, "c": 2}, "a": 1}) == "b"
    first({"b": {"c": 2, "d": 3}, "a": 1})
    (line,) = caplog.messages
    assert "the argument `options` has the same items as in an earlier call, in another order" in line
    assert "as in a dict built from a set, sort it" in line


def test_nothing_is_said_of_an_order_where_something_else_differs_too(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    @dynamo_cached(cache=cache)
    def first(options: dict[str, Any], scale: int = 1) -> str:
        return next(iter(options)) * scale

    first({"a": 1, "b": 2})
    first({"b": 2, "a": 1}, 2)
    first({"b": 2, "a": 3})
    assert caplog.messages == []


def test_an_argument_that_a_computation_changes_is_named_and_logged_once(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    @dynamo_cached(cache=cache)
    def predict(model: Model, x: int) -> int:
        return model.predict(x)

    model = Model(2)
    predict(model, 1)
    predict(Model(2), 3)
    (line,) = caplog.messages
    assert "its computation changed the argument `model`, so the next call with that object is another one" in line
    assert [one.note for one in predict.explain(model, 1).arguments] == ["a computation changed it", ""]


def test_an_argument_with_another_digest_each_time_is_named_and_logged_once(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    @dynamo_cached(cache=cache)
    def size(thing: Restless) -> int:
        return 1

    thing = Restless()
    size(thing)
    size(thing)
    (line,) = caplog.messages
    assert "the argument `thing` has another digest each time, so no call with it is ever a hit" in line
    assert [one.note for one in size.explain(thing).arguments] == ["it has another digest each time"]


class Client:
    """Which others change between the calls of its cached method."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self) -> None:
        self.asked += 1


def test_an_object_that_others_change_before_each_call_is_named_once_after_ten_misses(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    @dynamo_cached(cache=cache)
    def answer(client: Client, city: str) -> str:
        return city

    client = Client()
    for n in range(RESTLESS + 5):
        client.ask()
        answer(client, f"city {n}")
        assert (len(caplog.messages) == 1) == (n >= RESTLESS)
    assert "the argument `client` was the same object with other content in each of the last 10" in caplog.text
    assert [one.note for one in answer.explain(client, "Rome").arguments] == ["it was changed before each call", ""]


@pytest.mark.parametrize("first", ["a hit", "none"])
def test_nothing_is_said_of_a_sweep_nor_of_a_function_that_has_hit(
    cache: Cache, caplog: pytest.LogCaptureFixture, first: str
) -> None:
    @dynamo_cached(cache=cache)
    def answer(client: Client, cities: list[str]) -> int:
        return len(cities)

    client = Client()
    if first == "a hit":
        answer(client, [])
        answer(client, [])
    for n in range(RESTLESS * 2):
        if first == "a hit":
            client.ask()
        answer(client if n % 5 else Client(), [f"city {n}"])
    assert caplog.messages == []


def test_nothing_is_said_of_arguments_that_do_not_count(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    @dynamo_cached(cache=cache, ignore=["log"])
    def noted(x: int, log: list[int]) -> int:
        log.append(x)
        return x

    @dynamo_cached(cache=cache, key=lambda model, x: (model.scale, x))
    def predict(model: Model, x: int) -> int:
        return model.predict(x)

    noted(1, [])
    predict(Model(1), 1)
    assert caplog.messages == []


def test_nothing_is_said_where_the_code_of_an_argument_changes_its_own_state(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    @dynamo_cached(cache=cache)
    def predict(model: Counted, x: int) -> int:
        return model.predict(x)

    assert [predict(Counted(), 1), predict(Counted(), 2), predict(Counted(), 1)] == [1, 2, 1]
    assert predict.cache_info().hits == 1
    assert caplog.messages == []


def test_an_open_file_is_refused_on_the_first_call(cache: Cache, tmp_path: Path) -> None:
    @dynamo_cached(cache=cache)
    def lines(file: Any) -> list[str]:
        return list(file)

    path = tmp_path / "lines"
    path.write_text("a\nb\n", encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        with pytest.raises(UnhashableArgumentError, match="argument `file` is an open file"):
            lines(file)
        assert file.readline() == "a\n"
