"""The pytest plugin and `isolated_cache`, as tests of users have them: in runs of pytest of their own."""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

import dynmemo
from dynmemo import InvalidOptionError, dynamo_cached
from dynmemo.testing import Clock, isolated_cache
from dynmemo.testing.together import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = "pytester"

CODE = """
from dynmemo import dynamo_cached

@dynamo_cached(ttl="1h")
def half(number):
    return number / 2

@dynamo_cached(ttl="1h")
async def half_async(number):
    return number / 2

@dynamo_cached(cache={elsewhere!r})
def double(number):
    return 2 * number
"""

TESTS = """
import asyncio
import multiprocessing
import os

import dynmemo
import pytest

from numbers_of_ours import double, half, half_async


@pytest.mark.parametrize("turn", range(2))
def test_it_begins_empty_and_time_passes_by_tick_only(dynmemo_cache, turn):
    assert half.cache_info().hits == half.cache_info().misses == 0
    assert half(3) == half(3) == 1.5
    assert (half.cache_info().hits, half.cache_info().computed) == (1, 1)
    dynmemo_cache.tick("59min")
    half(3)
    dynmemo_cache.tick(90)
    half(3)
    assert (half.cache_info().hits, half.cache_info().computed) == (2, 2)


def test_async_functions_use_it(dynmemo_cache):
    assert asyncio.run(half_async(3)) == asyncio.run(half_async(3)) == 1.5
    assert (half_async.cache_info().hits, half_async.cache_info().computed) == (1, 1)
    assert dynmemo_cache.get(half_async.cache_key(3))


def test_a_function_that_names_another_cache_uses_it(dynmemo_cache):
    assert double(3) == double(3) == 6
    assert double.cache_info().hits == 1
    assert [found.entries for found in dynmemo.ls()] == [1]


def test_what_the_numbers_of_ours_configures_is_not_in_force(dynmemo_cache):
    url = os.environ["DYNMEMO_URL"]
    assert dynmemo.configure({elsewhere!r}) is dynmemo_cache
    assert half(3) == half(3)
    assert half.cache_info().hits == 1
    assert os.environ["DYNMEMO_URL"] == url == dynmemo_cache.url


def test_a_cache_that_lies_elsewhere_is_not_asked(dynmemo_cache):
    with pytest.raises(dynmemo.StoreUnavailableError, match="this test has an isolated cache"):
        dynmemo.Cache.from_url({elsewhere!r}).get("key")


def test_a_child_process_finds_what_is_in_it(dynmemo_cache):
    half(3)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(half, (3,)) == 1.5
        assert pool.apply(half.cache_info).hits == 1


@pytest.mark.dynmemo_disabled
def test_a_marked_test_computes_each_time(dynmemo_cache):
    half(3)
    half(3)
    assert (half.cache_info().hits, half.cache_info().computed) == (0, 2)


def test_without_the_fixture_all_is_as_it_was():
    assert os.environ["DYNMEMO_URL"] == dynmemo.configure().url == {real!r}
"""


@pytest.fixture
def nobody() -> Iterator[socket.socket]:
    """Listens, and should hear nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


@pytest.fixture
def url(nobody: socket.socket) -> str:
    """A table that must not be asked."""
    endpoint = quote(f"http://127.0.0.1:{nobody.getsockname()[1]}", safe="")
    return f"dynamodb://production?region=eu-west-1&endpoint_url={endpoint}"


def test_a_test_has_a_cache_of_its_own_also_in_parallel(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, nobody: socket.socket
) -> None:
    real = tmp_path / "real.db"
    monkeypatch.setenv("DYNMEMO_URL", f"sqlite:///{real.as_posix()}")
    monkeypatch.setenv("DYNMEMO_SECRET", "a secret of the environment")
    pytester.makepyfile(
        numbers_of_ours=CODE.format(elsewhere=url),
        test_it=TESTS.format(elsewhere=url, real=f"sqlite:///{real.as_posix()}"),
    )
    ran = pytester.runpytest_subprocess("-Werror", "--strict-markers", "-n2", "--dynmemo-disable")
    ran.assert_outcomes(passed=9)
    assert not real.exists()
    assert all("runpytest" in str(path) for path in pytester.path.rglob("cache.db"))  # which is the home folder, too
    with pytest.raises(BlockingIOError):
        nobody.accept()


def test_the_option_disables_and_without_it_nothing_does(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        numbers_of_ours=CODE.format(elsewhere="sqlite:///elsewhere.db"),
        test_it="""
            import sys

            def test_the_plugin_imports_nothing_of_ours_before_it_is_asked():
                assert not [name for name in sys.modules if name.startswith("dynmemo")]

            def test_it_computes_each_time():
                from numbers_of_ours import double
                assert double(3) == double(3) == 6
                print("hits:", double.cache_info().hits)
        """,
    )
    for options, hits in (["--dynmemo-disable"], 0), ([], 1):
        ran = pytester.runpytest_subprocess("-Werror", "-n0", "-s", *options)
        ran.assert_outcomes(passed=2)
        ran.stdout.fnmatch_lines(f"*hits: {hits}*")


def test_a_kernel_that_has_imported_dynmemo_can_run_pytest(pytester: pytest.Pytester) -> None:
    # Where dynmemo is installed from a wheel, pytest means to rewrite the assertions of all its modules.
    pytester.makepyfile(test_it="def test_it(dynmemo_cache): pass")
    run = "import sys, dynmemo, pytest; sys.exit(pytest.main(['-Werror', '-n0']))"
    ran = pytester.run(sys.executable, "-c", run)
    ran.assert_outcomes(passed=1)


def test_an_isolated_cache_ends_with_its_block_also_by_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dynmemo.configure(None)
    monkeypatch.setenv("DYNMEMO_DISABLE", "1")

    @dynamo_cached(version="1")
    def square(number: int) -> int:
        return number * number

    with suppress(ZeroDivisionError), isolated_cache() as cache:
        square(3)
        assert square.cache_info().computed == 1
        folder = cache.store.location
        assert dynmemo.configure() is cache
        1 / 0  # noqa: B018
    assert dynmemo.configure() is not cache
    assert dynmemo.configure().store.location == before.store.location
    with isolated_cache() as another:
        assert another.store.location != folder
        assert square.entry(3) is None
        assert square.cache_info().misses == 0


def test_a_refresh_begins_in_each_isolated_cache() -> None:
    @dynamo_cached(ttl=1000, refresh_ahead=0.1)
    def square(number: int) -> int:
        return number * number

    for _ in range(2):
        with isolated_cache() as cache:
            square(3)
            cache.tick(901)
            before = square.entry(3)
            assert square(3) == 9
            until(lambda: square.entry(3) != before)  # noqa: B023  within this turn
            assert square.cache_info().computed == 2


def test_isolated_caches_can_be_nested_and_sent(tmp_path: Path) -> None:
    with isolated_cache() as outer:
        outer.set("k", b"outer")
        with isolated_cache(tmp_path) as inner:
            assert dynmemo.configure() is inner
            assert inner.get("k") is None
        assert dynmemo.configure() is outer
        assert outer.get("k") == b"outer"


@pytest.mark.parametrize("duration", [0, -1, "soon", None])
def test_a_clock_ticks_forward_only(duration: object) -> None:
    clock = Clock(1_000.0)
    with pytest.raises(InvalidOptionError, match="duration="):
        clock.tick(duration)  # type: ignore[arg-type]
    clock.tick("1h30m")
    assert clock() == 6_400.0
