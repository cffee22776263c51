"""The dates of a row that stays: renewed, touched and given anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynmemo.item import Item, Refused, Written
from dynmemo.testing.contract.helpers import FULL, LEASE, existing, put, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store


class Dates:
    """What moves dates moves nothing else, and never what has been replaced."""

    # --- renew ---

    def test_renew_moves_beat_and_date_and_nothing_else(self, store: Store) -> None:
        etag = put(store, "k", FULL)
        assert store.renew("k", etag, 1_900_000_000)
        assert store.renew("k", etag, 1_900_000_001)
        assert store.read("k") == FULL._replace(etag=etag, lease_beat=9, ttl_date=1_900_000_001, lease_waits=None)

    def test_renew_says_for_what_the_holder_waits_and_that_it_waits_no_more(self, store: Store) -> None:
        etag = put(store, "k", LEASE)
        assert store.renew("k", etag, 2_000, "other")
        assert existing(store, "k") == LEASE._replace(etag=etag, lease_beat=1, ttl_date=2_000, lease_waits="other")
        assert store.renew("k", etag, 2_000, "another")
        assert existing(store, "k").lease_waits == "another"
        assert store.renew("k", etag, 2_000)
        assert existing(store, "k").lease_waits is None

    def test_renew_is_only_for_the_row_with_that_etag(self, store: Store) -> None:
        lost = put(store, "k", LEASE)
        etag = put(store, "k", LEASE)
        assert not store.renew("k", lost, 9_000)
        assert store.read("k") == LEASE._replace(etag=etag)

    def test_renew_brings_no_removed_row_back(self, store: Store) -> None:
        etag = put(store, "k", LEASE)
        store.remove("k")
        assert not store.renew("k", etag, 9_000)
        assert store.read("k") is None

    # --- touch ---

    def test_touch_moves_only_the_date(self, store: Store) -> None:
        seen = written(store, "k", FULL)
        assert store.touch("k", seen, 1_800_000_001)
        assert store.read("k") == seen._replace(ttl_date=1_800_000_001)

    def test_touch_moves_on_from_a_date_that_another_has_moved(self, store: Store) -> None:
        seen = written(store, "k", FULL)
        assert store.touch("k", seen, 1_800_000_001)
        assert store.touch("k", seen, 1_800_000_002)
        assert existing(store, "k").ttl_date == 1_800_000_002

    @pytest.mark.parametrize("ttl_date", [1_799_999_999, 1_800_000_000])
    def test_touch_never_moves_back(self, store: Store, ttl_date: int) -> None:
        seen = written(store, "k", FULL)
        assert not store.touch("k", seen, ttl_date)
        assert store.read("k") == seen

    def test_touch_gives_no_date_to_a_row_that_never_expires(self, store: Store) -> None:
        seen = written(store, "k", Item(value=b"v", ttl_window="00:01:30"))
        assert not store.touch("k", seen, 1_800_000_000)
        assert store.read("k") == seen

    def test_touch_leaves_a_replaced_row_alone(self, store: Store) -> None:
        seen = written(store, "k", FULL)
        now = written(store, "k", FULL)
        assert not store.touch("k", seen, 1_900_000_000)
        assert store.read("k") == now

    def test_touch_brings_no_removed_row_back(self, store: Store) -> None:
        seen = written(store, "k", FULL)
        store.remove("k")
        assert not store.touch("k", seen, 1_900_000_000)
        assert store.read("k") is None

    @pytest.mark.parametrize("deadline", [None, 2_000])
    def test_touch_moves_a_row_of_another_program(
        self, store: Store, put_foreign: Callable[[str, Item], None], deadline: int | None
    ) -> None:
        seen = Item(value=b"v", ttl_date=1_000, ttl_deadline=deadline, ttl_window="00:01:30")
        put_foreign("k", seen)
        assert store.touch("k", seen, 1_001)
        assert store.read("k") == seen._replace(ttl_date=1_001)

    @pytest.mark.parametrize("change", [{"ttl_window": "00:01:31"}, {"ttl_deadline": 3_000}, {"ttl_deadline": None}])
    def test_touch_leaves_a_row_of_another_program_with_other_window_or_deadline_alone(
        self, store: Store, put_foreign: Callable[[str, Item], None], change: dict[str, str | int | None]
    ) -> None:
        seen = Item(value=b"v", ttl_date=1_000, ttl_deadline=2_000, ttl_window="00:01:30")
        now = seen._replace(**change)  # type: ignore[arg-type]  # the names are Item's
        put_foreign("k", now)
        assert not store.touch("k", seen, 1_001)
        assert store.read("k") == now

    def test_touch_of_a_row_of_another_program_leaves_ours_alone(self, store: Store) -> None:
        seen = Item(value=b"v", ttl_date=1_000, ttl_window="00:01:30")
        ours = written(store, "k", seen)
        assert not store.touch("k", seen, 1_001)
        assert store.read("k") == ours

    def test_touch_of_a_removed_row_of_another_program_leaves_no_ghost(self, store: Store) -> None:
        assert not store.touch("k", Item(value=b"v", ttl_date=1_000, ttl_window="00:01:30"), 1_001)
        assert store.read("k") is None

    # --- redate ---

    DATES = Item(ttl_date=5_000, ttl_deadline=9_000, ttl_window="00:10:00")

    @pytest.mark.parametrize("dates", [DATES, Item(), Item(ttl_date=5_000, ttl_deadline=5_000)])
    def test_redate_gives_a_live_row_all_dates_and_an_etag_and_changes_nothing_else(
        self, store: Store, dates: Item
    ) -> None:
        before = written(store, "k", Item(b"v", 2_000, 3_000, "00:01:30", fn="f", gen="g"))
        answer = store.redate("k", dates, 1_999.5)
        assert isinstance(answer, Written)
        assert answer.etag != before.etag
        assert store.read("k") == dates._replace(value=b"v", fn="f", gen="g", etag=answer.etag)

    def test_redate_gives_dates_to_a_row_of_another_program_and_to_one_that_never_expires(
        self, store: Store, put_foreign: Callable[[str, Item], None]
    ) -> None:
        put_foreign("k", Item(value=b"theirs", ttl_date=2_000, ttl_window="00:01:30"))
        put(store, "ever", Item(value=b"v"))
        for key, value in (("k", b"theirs"), ("ever", b"v")):
            assert isinstance(store.redate(key, self.DATES, 1_000.0), Written)
            assert existing(store, key)._replace(etag=None) == self.DATES._replace(value=value)

    @pytest.mark.parametrize(
        ("row", "gen"),
        [
            (Item(b"v", 1_000), None),
            (Item(ttl_date=2_000, gen="g"), None),
            (Item(b"v", 2_000, gen="old"), "new"),
            (Item(b"v", 2_000), "new"),
            (Item(b"v", 2_000, stale_for=500), None),
        ],
        ids=["expired", "without value", "of another generation", "of no generation", "kept beyond its dates"],
    )
    def test_redate_leaves_every_other_row_as_it_is_and_returns_it(
        self, store: Store, row: Item, gen: str | None
    ) -> None:
        before = written(store, "k", row)
        assert store.redate("k", self.DATES, 1_000.25, gen) == Refused(before)
        assert store.read("k") == before

    def test_redate_lets_a_row_live_through_its_last_second(self, store: Store) -> None:
        put(store, "k", Item(b"v", 1_000, gen="g"))
        assert isinstance(store.redate("k", self.DATES, 1_000.0, "g"), Written)

    def test_redate_makes_no_row(self, store: Store) -> None:
        assert store.redate("k", self.DATES, 0.0) == Refused(None)
        assert store.read("k") is None

    def test_a_touch_with_what_was_seen_before_new_dates_moves_nothing(self, store: Store) -> None:
        seen = written(store, "k", Item(b"v", 2_000, ttl_window="01:00:00"))
        put_ = store.redate("k", Item(ttl_date=1_010, ttl_deadline=1_010), 1_000.0)
        assert isinstance(put_, Written)
        assert not store.touch("k", seen, 4_600)
