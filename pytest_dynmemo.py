"""The pytest plugin of dynmemo: a cache of its own for a test, and tests without any.

pytest loads it in every project of the environment. So it is no module of the package, which would be imported with it
before anybody has asked for it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from dynmemo.testing import IsolatedCache

pytest.register_assert_rewrite("dynmemo.testing")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--dynmemo-disable``."""
    parser.getgroup("dynmemo").addoption(
        "--dynmemo-disable",
        action="store_true",
        help="let functions decorated with dynamo_cached just compute, but in tests with the fixture dynmemo_cache",
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker is known, and the option in force."""
    config.addinivalue_line("markers", "dynmemo_disabled: functions decorated with dynamo_cached just compute")
    if config.getoption("--dynmemo-disable"):
        config.add_cleanup(_disabled().undo)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """A marked test runs without caching, with its fixtures."""
    with ExitStack() as stack:
        if _is_marked(item):
            stack.callback(_disabled().undo)
        return (yield)


@pytest.fixture
def dynmemo_cache(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedCache]:
    """An empty cache that every function decorated with dynamo_cached uses in this test; `tick` lets time pass."""
    from dynmemo.testing import isolated_cache

    with isolated_cache(tmp_path_factory.mktemp("dynmemo")) as cache, ExitStack() as stack:
        if _is_marked(request.node):
            stack.callback(_disabled().undo)
        yield cache


def _is_marked(item: pytest.Item) -> bool:
    return item.get_closest_marker("dynmemo_disabled") is not None


def _disabled() -> pytest.MonkeyPatch:
    patch = pytest.MonkeyPatch()
    patch.setenv("DYNMEMO_DISABLE", "1")
    return patch
