"""Stores that note when they were slow or failed, and that end their process in the middle of storing."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dynmemo import Cache
from dynmemo.errors import DynmemoError
from dynmemo.item import Written
from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.stores.sqlite import SqliteStore
from tests.history.functions import current_call

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from dynmemo.item import Expect, Item, Refused
    from tests.history.records import Log

SLOW = 0.2
"""Seconds from which an operation may have cost somebody a lease."""
LONGEST_MOMENT = 0.004
"""Seconds from the beginning of a write to the moment in which its process is killed."""


class Watch:
    """What one process notes of the operations of its store."""

    def __init__(self, log: Log, chance: random.Random, dies: float) -> None:
        self._log = log
        self._chance = chance
        self.dies = dies
        """How often it is killed while it stores a result."""
        self._numbers = itertools.count()
        self._running: dict[int, float] = {}

    @contextmanager
    def operation(self) -> Iterator[None]:
        number, began, kind = next(self._numbers), time.monotonic(), "slow"
        self._running[number] = began
        try:
            yield
        except DynmemoError:
            kind = "failed"
            raise
        finally:
            del self._running[number]
            now = time.monotonic()
            if kind == "failed" or now - began > SLOW:
                self._log.say("trouble", now, kind, at=began)

    def pending(self) -> None:
        """Note operations that have been slow so far."""
        now = time.monotonic()
        for began in list(self._running.values()):
            if now - began > SLOW:
                self._log.say("trouble", now, "slow", at=began)

    def claimed(self, began: float, answer: Written | Refused) -> None:
        """A lease was asked for."""
        if isinstance(answer, Written):
            self._log.say("claim", current_call.get(), at=began)

    def storing(self) -> None:
        """A result is about to be written."""
        if self._chance.random() < self.dies:
            timer = threading.Timer(self._chance.uniform(0, LONGEST_MOMENT), self._die)
            timer.daemon = True
            timer.start()

    def _die(self) -> None:
        self._log.say("dying", "storing")
        os.kill(os.getpid(), signal.SIGKILL)


class _Watched:
    """Mixed into a store; `watch` is put into the class, so that every copy has it."""

    watch: Watch

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        with self.watch.operation():
            found: Item | None = super().read(key, consistent=consistent)  # type: ignore[misc]  # of the store
            return found

    def read_many(self, keys: Sequence[str], *, consistent: bool = False) -> dict[str, Item]:
        with self.watch.operation():
            found: dict[str, Item] = super().read_many(keys, consistent=consistent)  # type: ignore[misc]
            return found

    def write(self, key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        if item.value is not None:
            self.watch.storing()
        began = time.monotonic()
        with self.watch.operation():
            answer: Written | Refused = super().write(key, item, expect)  # type: ignore[misc]
        if item.lease_owner is not None:
            self.watch.claimed(began, answer)
        return answer

    def renew(self, key: str, etag: str, ttl_date: int, lease_waits: str | None = None) -> bool:
        with self.watch.operation():
            renewed: bool = super().renew(key, etag, ttl_date, lease_waits)  # type: ignore[misc]
            return renewed

    def touch(self, key: str, seen: Item, ttl_date: int) -> bool:
        with self.watch.operation():
            touched: bool = super().touch(key, seen, ttl_date)  # type: ignore[misc]
            return touched

    def remove(self, key: str, expect: Expect | None = None) -> Item | None:
        with self.watch.operation():
            removed: Item | None = super().remove(key, expect)  # type: ignore[misc]
            return removed


class _Sqlite(_Watched, SqliteStore):
    pass


class _DynamoDB(_Watched, DynamoDBStore):
    pass


def cache_at(place: dict[str, Any], watch: Watch, lease: float) -> Cache:
    """The cache of a worker: in the file ``path``, or in the table ``table_name`` at ``endpoint_url``."""
    _Watched.watch = watch
    store = _Sqlite(**place) if "path" in place else _DynamoDB(**place)
    return Cache(store, lease_seconds=lease)
