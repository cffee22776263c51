"""The store contract on a SQLite file, and what is special to files."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from dynmemo.stores.sqlite import SqliteStore
from tests.stores.contract import StoreContract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dynmemo.item import Item


class TestContract(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[SqliteStore]:
        store = SqliteStore(tmp_path / "cache.db")
        yield store
        store.close()

    @pytest.fixture
    def put_foreign(self, tmp_path: Path, store: SqliteStore) -> Callable[[str, Item], None]:
        store.open()

        def put(key: str, item: Item) -> None:
            connection = sqlite3.connect(tmp_path / "cache.db")
            with connection:
                connection.execute(
                    "INSERT OR REPLACE INTO entries (key, value, ttl_date, ttl_deadline, ttl_window, stored_at, size)"
                    "VALUES (?, ?, ?, ?, ?, 0, 0)",
                    (f"dc:{key}", item.value, item.ttl_date, item.ttl_deadline, item.ttl_window),
                )
            connection.close()

        return put
