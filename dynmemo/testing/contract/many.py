"""Many rows: in batches and scans; connections, and counting what is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynmemo.counters import Meter
from dynmemo.item import Expect, Item, Refused
from dynmemo.parts import bytes_of
from dynmemo.testing.contract.helpers import FULL, existing, put, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store


class Many:
    """All of them are there, and those alone."""

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
        store.write_many({f"f:{n}": Item(value=b"%d" % n, fn="f" if n % 2 else "g") for n in range(250)})
        put(store, "plain", Item(value=b"v"))
        for prefix in ("", "f:1"):
            assert sorted((found.key, found.row) for found in store.survey(prefix)) == sorted(store.scan(prefix))
        for found in store.survey(values=True):
            number = found.key.removeprefix("f:").encode()
            assert (found.size, found.front, found.row.value) == (len(number), number, None)

    def test_scan_goes_on_past_any_page(self, store: Store) -> None:
        # 1.2 MB of rows: DynamoDB's page ends at 1 MB.
        keys = [f"f:{n:04}" for n in range(300)]
        store.write_many({key: Item(value=bytes(4_000), fn="f") for key in keys})
        assert sorted(key for key, _ in store.scan()) == keys

    def test_rows_may_be_removed_while_they_are_scanned(self, store: Store) -> None:
        store.write_many({f"f:{n}": Item(fn="f") for n in range(250)})
        assert all(store.remove(key) for key, _ in store.scan())
        assert list(store.scan()) == []

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

    def test_an_examination_finds_nothing_bad(self, store: Store) -> None:
        store.open()
        findings = list(store.examine())
        assert findings
        assert not [finding for finding in findings if finding.is_good is False]

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
