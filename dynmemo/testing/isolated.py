"""A cache of its own for a test, in the place of every other one."""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest import mock

from dynmemo import counters, defaults
from dynmemo.cache import Cache
from dynmemo.errors import StoreUnavailableError
from dynmemo.stores.dynamodb.connection import QUICK, Connection
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.expiry import Duration
    from dynmemo.stores.dynamodb.connection import Pace

_VARIABLES = (defaults.URL_VARIABLE, defaults.SECRET_VARIABLE, defaults.DISABLE_VARIABLE)


class IsolatedCache(Cache):
    """A cache in a file, without a secret, whose time passes only when a test says so; it begins now."""

    clock: Clock

    def __init__(self, path: Path) -> None:
        clock = Clock.present()
        super().__init__(SqliteStore(path, clock=clock), secret=(), compression="none", clock=clock)
        self._recipe = ("sqlite", {"path": str(path), "secret": ()})

    def tick(self, duration: Duration) -> None:
        """Let time pass: seconds, a `timedelta`, or text such as ``"90s"`` or ``"25h"``.

        Raises:
            InvalidOptionError: for anything else, or less than a second.
        """
        self.clock.tick(duration)


@contextmanager
def isolated_cache(folder: str | os.PathLike[str] | None = None) -> Iterator[IsolatedCache]:
    """An empty cache that every decorated function uses meanwhile, whatever it names and `configure` is given.

    The counters of all functions begin at zero. The environment's ``DYNMEMO_URL``, ``DYNMEMO_SECRET`` and
    ``DYNMEMO_DISABLE`` do not count, and come back afterwards. Child processes find the cache as their default one,
    with the real time. Caches that name DynamoDB or S3 raise `StoreUnavailableError` instead of asking the network,
    unless they were given a client.

    Args:
        folder: where its file lies. Default: a temporary one, which is removed afterwards.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = stack.enter_context(TemporaryDirectory(prefix="dynmemo-"))
        cache = IsolatedCache(Path(folder).absolute() / "cache.db")
        stack.callback(cache.close)
        stack.enter_context(_environment(cache))
        stack.enter_context(mock.patch.object(Connection, "client", _given_client))
        stack.enter_context(defaults.only(cache))
        counters.reset_all()
        yield cache


@contextmanager
def _environment(cache: Cache) -> Iterator[None]:
    before = {name: os.environ.pop(name, None) for name in _VARIABLES}
    os.environ[defaults.URL_VARIABLE] = cache.url or ""
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


_client = Connection.client


def _given_client(connection: Connection, pace: Pace = QUICK) -> Any:
    if connection.is_own:
        raise StoreUnavailableError(
            "this test has an isolated cache, so dynmemo asks nothing of DynamoDB and S3; let the code under test "
            "use the isolated cache, or give Cache.dynamodb() a client"
        )
    return _client(connection, pace)
