"""What an error that leaves shows of this library: nothing, for its own errors and those of the user's functions."""

from __future__ import annotations

import asyncio
import math
import statistics
import threading
import traceback
from typing import TYPE_CHECKING, Any

import pytest

import dynmemo
from dynmemo import Cache, InvalidOptionError, StoreUnavailableError, UnhashableArgumentError, dynamo_cached
from dynmemo.tracebacks import short_tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HERE = __name__


def frames(error: BaseException) -> list[tuple[str, str]]:
    """Module and function of each frame in the traceback."""
    walked = traceback.walk_tb(error.__traceback__)
    return [(frame.f_globals["__name__"], frame.f_code.co_name) for frame, _ in walked]


def raised(call: Callable[[], object], kind: type[BaseException]) -> BaseException:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


def divide(x: int) -> float:
    return 1 / x


async def divide_soon(x: int) -> float:
    return 1 / x


def nothing(*args: object) -> None:
    return None


def test_of_a_user_s_error_only_frames_of_the_user_remain(cache: Cache) -> None:
    cached = dynamo_cached(cache=cache)(divide)
    soon = dynamo_cached(cache=cache)(divide_soon)
    for call in (
        lambda: cached(0),
        lambda: cached.recompute(0),
        lambda: cached.map([0]),
        lambda: list(cached.map([0], lazy=True)),
        lambda: cached.warm([0]),
    ):
        assert frames(raised(call, ZeroDivisionError))[-2:] == [(HERE, "<lambda>"), (HERE, "divide")]
    for begun in (lambda: soon(0), lambda: soon.recompute(0), lambda: soon.map([0])):
        error = raised(lambda begun=begun: asyncio.run(begun()), ZeroDivisionError)  # type: ignore[misc]
        assert not [module for module, _ in frames(error) if module.startswith("dynmemo")]
        assert frames(error)[-1] == (HERE, "divide_soon")


def test_the_user_s_functions_beside_the_function_are_the_user_s_too(cache: Cache) -> None:
    keyed = dynamo_cached(cache=cache, key=divide)(lambda x: x)
    assert frames(raised(lambda: keyed(0), ZeroDivisionError))[-2:] == [(HERE, "<lambda>"), (HERE, "divide")]


def test_a_function_without_frames_of_its_own_shows_the_call(cache: Cache) -> None:
    root = dynamo_cached(cache=cache)(math.sqrt)
    assert frames(raised(lambda: root(-1.0), ValueError))[-1] == (HERE, "<lambda>")


def test_each_who_waited_for_a_failure_sees_the_own_way_alone(cache: Cache) -> None:
    inside, go_on = threading.Event(), threading.Event()

    @dynamo_cached(cache=cache)
    def slow() -> None:
        inside.set()
        go_on.wait(30)
        raise ValueError("mine")

    seen: list[list[tuple[str, str]]] = []

    def first() -> None:
        seen.append(frames(raised(slow, ValueError)))

    def second() -> None:
        seen.append(frames(raised(slow, ValueError)))

    threads = [threading.Thread(target=one) for one in (first, second)]
    threads[0].start()
    inside.wait(30)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert [found[-1] for found in seen] == [(HERE, "slow")] * 2
    assert [len(found) for found in seen] == [2, 2]  # `raised`, and the function


WRONG_CALLS: dict[str, tuple[Callable[[Any], object], str]] = {
    "too few": (lambda f: f(), "{name}() missing 1 required positional argument: 'a'"),
    "too many": (lambda f: f(1, 2, 3), "{name}() takes from 1 to 2 positional arguments but 3 were given"),
    "unknown": (lambda f: f(1, c=2, k=1), "{name}() got an unexpected keyword argument 'c'"),
    "no keyword": (lambda f: f(1), "{name}() missing 1 required keyword-only argument: 'k'"),
    "twice": (lambda f: f(1, a=2, k=1), "{name}() got multiple values for argument 'a'"),
}


@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_arguments_that_do_not_fit_are_refused_in_python_s_words(cache: Cache, wrong: str) -> None:
    def plain(a: int, b: int = 2, *, k: int) -> None: ...

    call, words = WRONG_CALLS[wrong]
    cached = dynamo_cached(cache=cache)(plain)
    error = raised(lambda: call(cached), TypeError)
    assert str(error) == str(raised(lambda: call(plain), TypeError))
    assert str(error).startswith(words.format(name=plain.__qualname__))
    assert frames(error)[-1] == (HERE, "<lambda>")
    assert error.__suppress_context__


def test_a_method_and_what_is_no_function_are_named_too(cache: Cache) -> None:
    class Loader:
        @dynamo_cached(cache=cache)
        def load(self, number: int) -> None: ...

    with pytest.raises(TypeError, match=r"Loader\.load\(\) missing 1 required positional argument: 'number'"):
        Loader().load()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"sqrt\(\): missing a required argument: 'x'"):
        dynamo_cached(cache=cache)(math.sqrt)()  # type: ignore[call-arg]


def test_who_is_refused_did_not_run(cache: Cache) -> None:
    ran = []

    @dynamo_cached(cache=cache)
    def once(a: int, /, **more: int) -> None:
        ran.append(a)

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        once(b=1)  # type: ignore[call-arg]
    assert not ran


def test_wrong_use_comes_out_of_the_line_that_is_wrong(cache: Cache) -> None:
    function = dynamo_cached(cache=cache)(nothing)
    wrong: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: dynamo_cached(tll=5), InvalidOptionError),  # type: ignore[call-overload]
        (lambda: dynamo_cached(ttl="soon")(nothing), InvalidOptionError),
        (lambda: dynmemo.configure("nothing"), InvalidOptionError),
        (lambda: dynmemo.clear(5), InvalidOptionError),  # type: ignore[arg-type]
        (lambda: Cache.from_url("redis://x"), InvalidOptionError),
        (lambda: Cache(), InvalidOptionError),
        (lambda: Cache(near_max_bytes=5, store="x", colour=1), TypeError),  # type: ignore[call-arg, arg-type]
        (lambda: cache.get("\ud800"), InvalidOptionError),
        (lambda: asyncio.run(cache.aget("\ud800")), InvalidOptionError),
        (lambda: function(iter([])), UnhashableArgumentError),
        (lambda: function.map(5), TypeError),  # type: ignore[call-overload]
    ]
    for call, kind in wrong:
        error = raised(call, kind)
        assert not [module for module, _ in frames(error) if module.startswith("dynmemo")], error


def test_who_looks_at_a_cache_is_refused_in_the_own_line(cache: Cache) -> None:
    for call in (
        lambda: dynmemo.ls(cache=cache, sort="luck"),
        lambda: dynmemo.ls(divide),
        lambda: dynmemo.show(divide, 1),
        lambda: dynmemo.doctor("nowhere://"),
        lambda: dynmemo.push(divide, to="nowhere://"),
        lambda: dynmemo.pull(source="nowhere://"),
        lambda: dynmemo.cost(dynmemo.Workload(entries=1, size=1, calls=1), prices="nowhere"),
    ):
        assert frames(raised(call, InvalidOptionError))[-1] == (HERE, "<lambda>")


def test_a_cause_from_below_is_one_line_and_can_be_asked_for(tmp_path: Path) -> None:
    cache = Cache.sqlite(tmp_path / "cache.db")
    cache.set("k", b"v")
    cache.close()
    (tmp_path / "cache.db").write_bytes(b"SQLite format 3\0" + b"x" * 8_000)
    error = raised(lambda: cache.get("k"), StoreUnavailableError)
    assert error.__cause__ is not None
    assert "File" not in "".join(traceback.format_exception(error.__cause__))


def test_causes_in_a_circle_are_shortened_once_each() -> None:
    first, second = StoreUnavailableError("first"), OSError("second")
    first.__cause__, second.__cause__ = second, first

    @short_tracebacks
    def fails() -> None:
        raise first

    assert raised(fails, StoreUnavailableError) is first
    assert second.__suppress_context__


def test_the_frames_of_an_error_that_nobody_foresaw_stay(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = dynamo_cached(cache=cache)(nothing)
    monkeypatch.setattr(cached._self_memo, "stats", None)
    error = raised(cached, AttributeError)
    assert frames(error)[-1][0].startswith("dynmemo.")


def test_a_bug_of_ours_that_the_standard_library_finds_says_where_it_is(cache: Cache) -> None:
    bug = eval("lambda: mean([])", {"__name__": "dynmemo.bug", "mean": statistics.mean})
    error = raised(short_tracebacks(bug), statistics.StatisticsError)
    assert ("dynmemo.bug", "<lambda>") in frames(error)


def test_a_function_of_the_standard_library_is_the_user_s_too(cache: Cache) -> None:
    mean = dynamo_cached(cache=cache)(statistics.mean)
    error = raised(lambda: mean([]), statistics.StatisticsError)
    assert not [module for module, _ in frames(error) if module.startswith("dynmemo")]
