"""What every store promises (`dynmemo.stores.Store`), as tests that a store's own test class inherits."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dynmemo.testing.contract.calls import Calls
from dynmemo.testing.contract.dates import Dates
from dynmemo.testing.contract.many import Many
from dynmemo.testing.contract.races import Races
from dynmemo.testing.contract.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynmemo.item import Item, Store


class StoreContract(Rows, Dates, Many, Races, Calls):
    """The tests; each gets an empty store of its own.

    A subclass named ``Test...`` gives the fixture `open_store` and, where other programs may write into the same place,
    `put_foreign`.
    """

    @pytest.fixture
    def open_store(self) -> Callable[[], Store]:
        """Opens a place that is empty at first and belongs to this test; other processes get it by pickle."""
        raise NotImplementedError("give your test class a fixture open_store, such as partial(MyStore, tmp_path)")

    @pytest.fixture
    def store(self, open_store: Callable[[], Store]) -> Iterator[Store]:
        """The store under test, which is closed afterwards."""
        with closing(open_store()) as store:
            yield store

    @pytest.fixture
    def put_foreign(self) -> Callable[[str, Item], None]:
        """Puts a row into `store` as another program would: not through it, and without etag."""
        pytest.skip("no other program writes into this store")
