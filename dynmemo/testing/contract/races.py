"""Threads and processes that want one row at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynmemo.item import Expect, Item, Refused, Written
from dynmemo.parts import bytes_of
from dynmemo.testing.contract.helpers import FULL, LEASE, existing, put, written
from dynmemo.testing.racing import ADDITIONS, CALLS, PROCESSES, ROWS, race
from dynmemo.testing.together import at_once, in_processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store


class Races:
    """Of those who race one wins, and nothing is lost."""

    # --- many at once ---

    def test_of_many_threads_that_claim_one_key_exactly_one_gets_it(self, store: Store) -> None:
        answers = at_once(16, lambda n: store.write("k", Item(lease_owner=str(n)), Expect()))
        won = [answer for answer in answers if isinstance(answer, Written)]
        assert len(won) == 1
        row = existing(store, "k")
        assert row.etag == won[0].etag
        assert [answer for answer in answers if isinstance(answer, Refused)] == [Refused(row)] * 15

    def test_of_many_threads_that_take_one_row_over_exactly_one_gets_it(self, store: Store) -> None:
        seen = written(store, "k", LEASE)
        answers = at_once(16, lambda n: store.write("k", LEASE._replace(lease_owner=str(n)), Expect.seen(seen)))
        assert sum(isinstance(answer, Written) for answer in answers) == 1

    def test_no_renewal_of_many_threads_is_lost(self, store: Store) -> None:
        etag = put(store, "k", LEASE)
        assert all(at_once(16, lambda n: store.renew("k", etag, 2_000 + n)))
        assert existing(store, "k").lease_beat == 16

    def test_of_many_threads_that_remove_one_row_exactly_one_is_told_so(self, store: Store) -> None:
        put(store, "k", FULL)
        assert sum(row is not None for row in at_once(16, lambda n: store.remove("k"))) == 1

    def test_of_many_processes_that_want_the_same_each_gets_its_part(
        self, store: Store, open_store: Callable[[], Store]
    ) -> None:
        raced = in_processes(PROCESSES, race, open_store)
        assert bytes_of(existing(store, "count")) == b"%d" % (PROCESSES * ADDITIONS)
        assert sorted(row for each in raced for row in each.claimed) == ROWS
        assert sorted(row for each in raced for row in each.taken_over) == ROWS
        assert sorted(call for each in raced for call in each.computed) == list(CALLS)
