"""What every store promises (`dynmemo.item.Store`), as tests that a store's own test class inherits.

A subclass named ``Test...`` gives the two fixtures `store` and `put_foreign`.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

import pytest

from dynmemo.counters import Meter
from dynmemo.item import LATEST_TIME, Expect, Item, Parts, Refused, Written
from dynmemo.parts import bytes_of
from tests.waiting import at_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store

T = TypeVar("T")

FULL = Item(
    value=b"\x00\xffbytes",
    ttl_date=1_800_000_000,
    ttl_deadline=1_800_003_600,
    ttl_window="1.12:00:00",
    fn="weather.forecast",
    gen="g1",
    parts=Parts(write_id="w1", count=3, length=1_000_000, digest=bytes(range(32))),
    lease_owner="host:1:2",
    lease_seconds=30.5,
    lease_beat=7,
    stale_for=3600,
    no_store="too large",
    lease_waits="f:c:other",
    lease_by='{"user":"anna"}',
)
"""Every attribute set, though no real row has them all at once."""

LEASE = Item(ttl_date=1_000, fn="f", gen="g", lease_owner="me", lease_seconds=30.0, lease_beat=0)


class StoreContract:
    """The tests; each gets an empty store of its own."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store that belongs to this test."""
        raise NotImplementedError

    @pytest.fixture
    def put_foreign(self, store: Store) -> Callable[[str, Item], None]:
        """Puts a row into `store` as another program would: not through it, and without etag."""
        raise NotImplementedError

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
        [bytes(range(256)), b"\x00", b"\xff\xfe", "text".encode("utf-16"), random.Random(1).randbytes(300_000)],
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

    def test_of_many_threads_that_remove_one_row_exactly_one_is_told_so(self, store: Store) -> None:
        put(store, "k", FULL)
        assert sum(row is not None for row in at_once(16, lambda n: store.remove("k"))) == 1

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

    # --- many rows ---

    def test_many_rows_are_written_and_removed_whatever_stood_there(self, store: Store) -> None:
        put(store, "k0", FULL)
        rows = {f"k{n}": Item(value=b"%d" % n, ttl_date=2_000) for n in range(60)}
        store.write_many(rows)
        found = store.read_many(list(rows))
        assert {key: row._replace(etag=None) for key, row in found.items()} == rows
        assert len({row.etag for row in found.values()} - {None}) == 60
        store.remove_many([*list(rows)[1:], "absent", "k1"])
        assert list(store.read_many(list(rows))) == ["k0"]
        store.write_many({})
        store.remove_many([])

    def test_large_values_are_written_among_many(self, store: Store) -> None:
        rows = {"small": Item(value=b"v"), "large": Item(value=bytes(700_000)), "k": Item(value=bytes(300_000))}
        store.write_many(rows)
        assert {key: bytes_of(row) for key, row in store.read_many(list(rows)).items()} == {
            key: row.value for key, row in rows.items()
        }

    # --- scan ---

    def test_scan_finds_rows_with_an_fn_and_no_others(
        self, store: Store, put_foreign: Callable[[str, Item], None]
    ) -> None:
        put(store, "f:1", Item(value=b"v", fn="f"))
        put(store, "g:1", Item(value=b"v", fn="g"))
        put(store, "session", Item(value=b"v"))
        put_foreign("theirs", Item(value=b"v"))
        assert sorted(key for key, _ in store.scan()) == ["f:1", "g:1"]

    def test_scan_can_be_narrowed_to_a_prefix(self, store: Store) -> None:
        for key, fn in [("a:1", "f"), ("a:2", "g"), ("a:3", None), ("b:1", "f"), ("A:1", "f"), ("a", "f"), ("a;", "f")]:
            put(store, key, Item(fn=fn))
        assert sorted(key for key, _ in store.scan("a:")) == ["a:1", "a:2"]
        assert sorted(key for key, _ in store.scan("a")) == ["a", "a:1", "a:2", "a;"]
        assert list(store.scan("nobody:")) == []

    @pytest.mark.parametrize("trap", ["a%", "a_", "a*", "a?", "a[", "a\\", "a\U0010ffff"], ids=ascii)
    def test_a_prefix_is_plain_text(self, store: Store, trap: str) -> None:
        put(store, trap + "x", Item(fn="f"))
        put(store, "abx", Item(fn="f"))
        assert [key for key, _ in store.scan(trap)] == [trap + "x"]

    def test_scan_returns_all_but_the_values(self, store: Store) -> None:
        etag = put(store, "k", FULL)
        assert list(store.scan()) == [("k", FULL._replace(value=None, etag=etag))]

    def test_a_survey_finds_what_a_scan_finds(self, store: Store) -> None:
        for n in range(250):
            put(store, f"f:{n}", Item(value=b"%d" % n, fn="f" if n % 2 else "g"))
        put(store, "plain", Item(value=b"v"))
        for prefix in ("", "f:1"):
            assert sorted((found.key, found.row) for found in store.survey(prefix)) == sorted(store.scan(prefix))
        for found in store.survey(values=True):
            number = found.key.removeprefix("f:").encode()
            assert (found.size, found.front, found.row.value) == (len(number), number, None)

    def test_scan_goes_on_past_any_page(self, store: Store) -> None:
        # 1.2 MB of rows: DynamoDB's page ends at 1 MB.
        keys = [f"f:{n:04}" for n in range(300)]
        for key in keys:
            put(store, key, Item(value=bytes(4_000), fn="f"))
        assert sorted(key for key, _ in store.scan()) == keys

    def test_rows_may_be_removed_while_they_are_scanned(self, store: Store) -> None:
        for n in range(250):
            put(store, f"f:{n}", Item(fn="f"))
        assert all(store.remove(key) for key, _ in store.scan())
        assert list(store.scan()) == []

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

    # --- connections and counting ---

    def test_open_may_be_called_first_again_or_never(self, store: Store) -> None:
        put(store, "k", Item(value=b"v"))
        store.open()
        store.open()
        assert existing(store, "k").value == b"v"

    def test_a_closed_store_opens_again_at_the_next_call(self, store: Store) -> None:
        store.close()
        put(store, "k", Item(value=b"v"))
        store.close()
        store.close()
        assert existing(store, "k").value == b"v"

    def test_the_location_is_said(self, store: Store) -> None:
        assert store.location

    def test_a_metered_store_counts_each_request_and_shares_the_rows(self, store: Store) -> None:
        store.open()
        meter = Meter()
        metered = store.metered(meter)
        seen = written(metered, "k", FULL)  # a write and a read
        assert meter.requests == 2
        assert isinstance(metered.write("k", FULL, Expect()), Refused)
        assert metered.touch("k", seen, 1_900_000_000)
        assert metered.renew("k", seen.etag or "", 1_900_000_001)
        assert meter.requests == 5
        assert list(metered.read_many(["k"])) == ["k"]
        assert len(list(metered.scan())) == 1
        assert metered.remove("k")
        assert meter.requests == 8
        assert store.read("k") is None
        assert metered.location == store.location
        assert metered.partition_key("k") == store.partition_key("k")

    def test_what_others_ask_is_not_counted(self, store: Store) -> None:
        meter, other = Meter(), Meter()
        store.metered(meter)
        store.metered(other).read("k")
        store.read("k")
        assert (meter.requests, other.requests) == (0, 1)

    def test_a_store_metered_twice_counts_in_both_meters(self, store: Store) -> None:
        first, second = Meter(), Meter()
        store.metered(first).metered(second).read("k")
        assert (first.requests, second.requests) == (1, 1)


def put(store: Store, key: str, item: Item, expect: Expect | None = None) -> str:
    """Write and return the etag."""
    answer = store.write(key, item, expect)
    assert isinstance(answer, Written), answer
    return answer.etag


def written(store: Store, key: str, item: Item) -> Item:
    """Write and return the row as it was read back."""
    put(store, key, item)
    return existing(store, key)


def existing(store: Store, key: str) -> Item:
    row = store.read(key, consistent=True)
    assert row is not None
    return row
