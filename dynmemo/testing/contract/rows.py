"""One row: read, written and removed, whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynmemo.item import LATEST_TIME, Expect, Item, Parts, Refused, Written
from dynmemo.parts import bytes_of
from dynmemo.testing.contract.helpers import FULL, LEASE, existing, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store


class Rows:
    """A row is what was written, and changes only as expected."""

    # --- read ---

    def test_an_absent_row_reads_as_none(self, store: Store) -> None:
        assert store.read("nowhere") is None
        assert store.read("nowhere", consistent=True) is None

    @pytest.mark.parametrize("consistent", [False, True])
    def test_every_attribute_comes_back(self, store: Store, consistent: bool) -> None:
        etag = put(store, "k", FULL)
        assert store.read("k", consistent=consistent) == FULL._replace(etag=etag)

    def test_a_row_without_any_attribute_comes_back_as_one(self, store: Store) -> None:
        etag = put(store, "k", Item())
        assert store.read("k") == Item(etag=etag)

    @pytest.mark.parametrize("absent", [name for name in Item._fields if name != "etag"])
    def test_each_attribute_may_be_none_beside_all_others(self, store: Store, absent: str) -> None:
        item = FULL._replace(**{absent: None})
        etag = put(store, "k", item)
        assert store.read("k") == item._replace(etag=etag)

    def test_parts_outside_the_table_come_back_with_their_place(self, store: Store) -> None:
        item = Item(parts=Parts(write_id="w", count=0, length=5_000_000_000, digest=bytes(32), location="s3://b/k"))
        etag = put(store, "k", item)
        assert store.read("k") == item._replace(etag=etag)

    def test_an_empty_value_is_not_an_absent_one(self, store: Store) -> None:
        put(store, "empty", Item(value=b""))
        put(store, "absent", Item(value=None))
        assert existing(store, "empty").value == b""
        assert existing(store, "absent").value is None

    @pytest.mark.parametrize(
        "value",
        [bytes(range(256)), b"\x00", b"\xff\xfe", "text".encode("utf-16"), bytes(range(256)) * 1_200],
        ids=["all bytes", "nul", "no utf-8", "utf-16", "300 KB"],
    )
    def test_values_are_bytes_whatever_they_hold(self, store: Store, value: bytes) -> None:
        put(store, "k", Item(value=value))
        assert bytes_of(existing(store, "k")) == value

    def test_the_latest_time_fits(self, store: Store) -> None:
        put(store, "k", Item(value=b"v", ttl_date=LATEST_TIME, ttl_deadline=LATEST_TIME))
        row = existing(store, "k")
        assert (row.ttl_date, row.ttl_deadline) == (LATEST_TIME, LATEST_TIME)

    def test_times_stay_integers_and_lease_seconds_a_float(self, store: Store) -> None:
        put(store, "k", FULL._replace(lease_seconds=30.0))
        row = existing(store, "k")
        assert [type(x) for x in (row.ttl_date, row.ttl_deadline, row.lease_beat, row.stale_for)] == [int] * 4
        assert type(row.lease_seconds) is float

    @pytest.mark.parametrize(
        "key",
        ["a", " ", "a:b#c%d", "größe:日本語:🌧", "e\u0301", "x" * 1_900, 'it\'s "quoted"; --', "a\nb", "_%*?["],
        ids=ascii,
    )
    def test_any_text_is_a_key(self, store: Store, key: str) -> None:
        put(store, key, Item(value=b"mine", fn="f"))
        assert existing(store, key).value == b"mine"
        assert [k for k, _ in store.scan(key)] == [key]
        assert store.remove(key)
        assert store.read(key) is None

    def test_keys_that_look_alike_are_different_rows(self, store: Store) -> None:
        keys = ["key", "KEY", "key ", " key", "k\u00e9y", "ke\u0301y", "dc:key"]
        for key in keys:
            put(store, key, Item(value=key.encode()))
        assert {key: existing(store, key).value for key in keys} == {key: key.encode() for key in keys}

    def test_the_stored_key_ends_in_the_providers_prefix_and_the_key(self, store: Store) -> None:
        assert store.partition_key("f:1").split("dc:", 1)[1] == "f:1"

    def test_an_expired_row_is_returned_like_any_other(self, store: Store) -> None:
        put(store, "k", Item(value=b"old", ttl_date=1, ttl_deadline=1))
        assert existing(store, "k").value == b"old"

    def test_a_row_of_another_program_reads_without_etag(
        self, store: Store, put_foreign: Callable[[str, Item], None]
    ) -> None:
        foreign = Item(value=b"theirs", ttl_date=1_800_000_000, ttl_window="00:01:30")
        put_foreign("k", foreign)
        assert store.read("k") == foreign

    # --- read_many ---

    def test_read_many_takes_any_number_of_keys_and_returns_those_that_exist(self, store: Store) -> None:
        keys = [f"k{n}" for n in range(250)]
        expected = {key: Item(value=key.encode(), etag=put(store, key, Item(value=key.encode()))) for key in keys[::2]}
        assert store.read_many(keys) == expected

    def test_read_many_of_nothing_is_nothing(self, store: Store) -> None:
        assert store.read_many([]) == {}

    def test_read_many_accepts_a_key_twice(self, store: Store) -> None:
        put(store, "k", Item(value=b"v"))
        assert list(store.read_many(["k", "absent", "k"])) == ["k"]

    def test_read_many_returns_whole_rows(self, store: Store) -> None:
        etag = put(store, "k", FULL)
        assert store.read_many(["k"]) == {"k": FULL._replace(etag=etag)}

    # --- write ---

    def test_a_write_replaces_the_whole_row(self, store: Store) -> None:
        put(store, "k", FULL)
        etag = put(store, "k", Item(value=b"new"))
        assert store.read("k") == Item(value=b"new", etag=etag)

    def test_every_write_gives_a_new_etag_and_ignores_the_items(self, store: Store) -> None:
        item = Item(value=b"v", etag="given")
        etags = [put(store, key, item) for key in ("k", "k", "other")]
        assert len({*etags, "given"}) == 4
        assert existing(store, "k").etag == etags[1]

    def test_expecting_no_row_writes_where_there_is_none(self, store: Store) -> None:
        etag = put(store, "k", FULL, Expect())
        assert store.read("k") == FULL._replace(etag=etag)

    def test_expecting_no_row_is_refused_by_one_of_ours_and_gets_it_whole(self, store: Store) -> None:
        etag = put(store, "k", FULL)
        assert store.write("k", Item(value=b"late"), Expect()) == Refused(FULL._replace(etag=etag))
        assert store.read("k") == FULL._replace(etag=etag)

    @pytest.mark.parametrize("foreign", [Item(value=b"theirs", ttl_date=5), Item(ttl_date=5)], ids=["row", "ghost"])
    def test_expecting_no_etag_takes_over_a_row_of_another_program(
        self, store: Store, put_foreign: Callable[[str, Item], None], foreign: Item
    ) -> None:
        put_foreign("k", foreign)
        etag = put(store, "k", Item(value=b"ours"), Expect.seen(foreign))
        assert store.read("k") == Item(value=b"ours", etag=etag)

    def test_expecting_an_etag_writes_over_that_row(self, store: Store) -> None:
        first = put(store, "k", Item(value=b"1"))
        second = put(store, "k", Item(value=b"2"), Expect(first))
        assert store.read("k") == Item(value=b"2", etag=second)

    def test_expecting_an_etag_is_refused_by_another_one(self, store: Store) -> None:
        first = put(store, "k", Item(value=b"1"))
        second = put(store, "k", Item(value=b"2"))
        assert store.write("k", Item(value=b"late"), Expect(first)) == Refused(Item(value=b"2", etag=second))
        assert existing(store, "k").value == b"2"

    def test_expecting_an_etag_is_refused_where_the_row_is_gone(self, store: Store) -> None:
        etag = put(store, "k", Item(value=b"1"))
        store.remove("k")
        assert store.write("k", Item(value=b"late"), Expect(etag)) == Refused(None)
        assert store.read("k") is None

    def test_expecting_an_etag_is_refused_by_a_row_of_another_program(
        self, store: Store, put_foreign: Callable[[str, Item], None]
    ) -> None:
        etag = put(store, "k", Item(value=b"1"))
        put_foreign("k", Item(value=b"theirs"))
        assert store.write("k", Item(value=b"late"), Expect(etag)) == Refused(Item(value=b"theirs"))

    def test_expecting_a_beat_is_met_by_that_beat(self, store: Store) -> None:
        etag = put(store, "k", LEASE)
        assert store.renew("k", etag, 2_000)
        assert isinstance(store.write("k", Item(value=b"v"), Expect(etag, beat=1)), Written)

    def test_expecting_a_beat_is_refused_after_a_renewal(self, store: Store) -> None:
        etag = put(store, "k", LEASE)
        assert store.renew("k", etag, 2_000)
        renewed = LEASE._replace(etag=etag, lease_beat=1, ttl_date=2_000)
        assert store.write("k", Item(value=b"v"), Expect(etag, beat=0)) == Refused(renewed)
        assert store.read("k") == renewed

    # --- remove ---

    def test_remove_takes_the_row_away_and_says_which_it_was(
        self, store: Store, put_foreign: Callable[[str, Item], None]
    ) -> None:
        etag = put(store, "k", FULL)
        put(store, "other", FULL)
        assert store.remove("k") == FULL._replace(etag=etag)
        assert store.read("k") is None
        assert store.remove("k") is None
        assert store.read("other") is not None
        put_foreign("theirs", Item(value=b"theirs", ttl_date=1_800_000_000))
        assert store.remove("theirs") == Item(value=b"theirs", ttl_date=1_800_000_000)

    def test_remove_takes_the_expected_row_away(self, store: Store) -> None:
        etag = put(store, "k", LEASE)
        assert store.remove("k", Expect(etag, beat=0))
        assert store.read("k") is None

    @pytest.mark.parametrize("beat", [None, 1])
    def test_remove_leaves_another_row_than_the_expected_one(self, store: Store, beat: int | None) -> None:
        etag = put(store, "k", LEASE)
        assert not store.remove("k", Expect("other" if beat is None else etag, beat))
        assert store.read("k") == LEASE._replace(etag=etag)

    def test_remove_of_a_row_without_etag_leaves_one_of_ours(
        self, store: Store, put_foreign: Callable[[str, Item], None]
    ) -> None:
        put_foreign("theirs", Item(value=b"v"))
        put(store, "ours", Item(value=b"v"))
        assert store.remove("theirs", Expect())
        assert not store.remove("ours", Expect())
        assert store.read("theirs") is None
        assert store.read("ours") is not None

    @pytest.mark.parametrize("expect", [Expect(), Expect("etag")])
    def test_of_an_absent_row_nothing_is_removed(self, store: Store, expect: Expect) -> None:
        assert store.remove("k", expect) is None
