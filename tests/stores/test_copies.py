"""Local copies of values that lie outside of their rows: never stale, never damaged, and no more than allowed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from dynmemo import Cache, dynamo_cached
from dynmemo.counters import Meter
from dynmemo.errors import InvalidOptionError
from dynmemo.parts import in_one
from dynmemo.stores import files, filesystem
from dynmemo.stores.dynamodb import DynamoDBStore
from dynmemo.stores.files import Copies
from dynmemo.testing import Clock
from dynmemo.testing.together import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dynmemo.item import Parts

LARGE = random.Random(1).randbytes(1_500_000)
SECRET = "a secret of the fleet's, long enough"


def parts_of(value: bytes) -> Parts:
    return in_one(value, "0" * 24, "elsewhere")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "copies"


def test_a_copy_is_found_by_the_digest_in_the_row(folder: Path) -> None:
    Copies(10_000_000, folder).keep(parts_of(LARGE), LARGE)
    another_process = Copies(10_000_000, folder)
    assert another_process.get(parts_of(LARGE)) == LARGE
    assert another_process.get(parts_of(LARGE + b"new")) is None


@pytest.mark.parametrize("harm", ["short", "damaged", "damaged and dated back"])
def test_a_damaged_copy_is_none_and_goes(folder: Path, harm: str) -> None:
    copies = Copies(10_000_000, folder)
    copies.keep(parts_of(LARGE), LARGE)
    assert copies.get(parts_of(LARGE)) is not None
    (file,) = folder.iterdir()
    before = file.stat()
    if harm == "short":
        os.truncate(file, 1000)
    else:
        file.write_bytes(b"x" * len(LARGE))
    if harm == "damaged and dated back":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert copies.get(parts_of(LARGE)) is None
    copies.keep(parts_of(LARGE), LARGE)
    assert copies.get(parts_of(LARGE)) == LARGE


@pytest.mark.skipif(sys.platform != "linux", reason="this is the way of Linux")
def test_an_old_copy_that_can_only_be_read_is_one(folder: Path) -> None:
    copies = Copies(10_000_000, folder)
    copies.keep(parts_of(LARGE), LARGE)
    (file,) = folder.iterdir()
    os.utime(file, (1, 1))
    if subprocess.run(["chattr", "+i", file], capture_output=True, check=False).returncode:
        pytest.skip("only root may do that, and not everywhere")
    try:
        assert copies.get(parts_of(LARGE)) == LARGE
    finally:
        subprocess.run(["chattr", "-i", file], check=True)


def test_copies_on_a_network_filesystem_are_read_and_not_mapped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mapped() -> int:
        copies = Copies(10_000_000, folder)
        copies.keep(parts_of(LARGE), LARGE)
        found = copies.get(parts_of(LARGE))
        assert found is not None
        before, loaded = len(files._maps), found.load()
        assert loaded == LARGE
        return len(files._maps) - before

    assert mapped() == 1
    monkeypatch.setattr(filesystem, "is_remote", lambda path: path == folder)
    assert mapped() == 0


def test_the_least_recently_used_copies_go(folder: Path) -> None:
    values = [bytes([n]) * 1_000_000 for n in range(4)]
    copies = Copies(3_500_000, folder)
    for n, value in enumerate(values[:3]):
        copies.keep(parts_of(value), value)
        hours_ago = time.time() - 3600 * (10 - n)
        os.utime(folder / parts_of(value).digest.hex(), (hours_ago, hours_ago))
    assert Copies(3_500_000, folder).get(parts_of(values[0])) is not None  # used now
    copies.keep(parts_of(values[3]), values[3])
    assert [copies.get(parts_of(value)) is not None for value in values] == [True, False, True, True]


def test_what_is_larger_than_all_copies_may_be_is_not_copied(folder: Path) -> None:
    Copies(1_000_000, folder).keep(parts_of(LARGE), LARGE)
    Copies(0, folder).keep(parts_of(b"v"), b"v")
    assert not folder.exists()


@pytest.mark.parametrize("given", [-1, 1.5, True, "2 GB"])
def test_a_size_that_is_none_is_refused(given: object) -> None:
    with pytest.raises(InvalidOptionError, match="copies_max_bytes"):
        Cache.dynamodb("table", copies_max_bytes=given)  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="copies_max_bytes"):
        Cache.sqlite("cache.db", copies_max_bytes=given)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"secret": SECRET}, {"secret": SECRET, "encrypt": True}], ids=str)
def test_a_hit_reads_the_row_and_the_copy(
    dynamodb_endpoint: str, dynamodb_table: str, clean_environment: Path, options: dict[str, object]
) -> None:
    first = Cache.dynamodb(dynamodb_table, endpoint_url=dynamodb_endpoint, **options)  # type: ignore[arg-type]
    second = Cache.dynamodb(dynamodb_table, endpoint_url=dynamodb_endpoint, **options)  # type: ignore[arg-type]
    noise = np.random.default_rng(1).normal(size=200_000)
    computed = []

    def load() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        computed.append(1)
        return noise

    with closing(first), closing(second):
        one, two = (dynamo_cached(cache=cache, name="load", version=1)(load) for cache in (first, second))
        one()
        hits = [two(), two(), one()]
        hits[0][:] = 0.0  # the caller's own
        assert (two() == noise).all()
        assert [(hit == noise).all() for hit in hits] == [False, True, True]
        assert len(computed) == 1
        before = two.cache_info()
        two()
        after = two.cache_info()
    assert (after.requests - before.requests, after.read_units - before.read_units) == (1, 1.0)
    assert after.copies - before.copies == 1
    (copy,) = (clean_environment / "dynmemo" / "copies").iterdir()
    assert (noise.tobytes()[:64] in copy.read_bytes()) == ("encrypt" not in options)


def given(lengths: list[int]) -> Callable[[int], bytes]:
    return lambda _: bytes(lengths.pop())


@pytest.mark.parametrize("how", ["one by one", "in a sweep"])
@pytest.mark.parametrize("end", ["expired", "cleared"])
def test_a_miss_on_what_is_over_costs_no_more_where_the_value_lay_in_parts(
    dynamodb_endpoint: str, dynamodb_table: str, end: str, how: str
) -> None:
    costs, clock = {}, Clock.present()
    for length in (1_000, 1_000_000):
        lengths = [1_000, length]
        store = DynamoDBStore(dynamodb_table, endpoint_url=dynamodb_endpoint, copies_max_bytes=0)
        with closing(Cache(store, clock=clock, compression="none")) as cache:
            function = dynamo_cached(cache=cache, name=f"f{length}", version=1, ttl="1h")(given(lengths))
            assert len(function(1)) == length
            if end == "expired":
                clock.now += 3_601
                cache.generations.known(cache.store, f"f{length}")
            else:
                function.cache_clear()
            before = function.cache_info()
            found = [function(1)] if how == "one by one" else function.map([1])
            assert found == [bytes(1_000)]
            after = function.cache_info()
        costs[length] = (after.requests - before.requests, after.read_units - before.read_units)
    assert costs[1_000] == costs[1_000_000]


def test_a_value_in_parts_that_is_over_is_computed_once_also_where_somebody_began_before(
    dynamodb_endpoint: str, dynamodb_table: str
) -> None:
    """The lease lies beside the value then."""
    store = DynamoDBStore(dynamodb_table, endpoint_url=dynamodb_endpoint, copies_max_bytes=0)
    values, begun, go = [LARGE[::-1], LARGE], threading.Event(), threading.Event()
    clock = Clock.present()

    def load() -> bytes:
        if len(values) == 1:
            begun.set()
            go.wait(60)
        return values.pop()

    with closing(Cache(store, clock=clock)) as one, closing(Cache(store, clock=clock)) as other:
        ahead, missing = (
            dynamo_cached(cache=cache, name="load", version=1, ttl="1h", refresh_ahead=0.5)(load)
            for cache in (one, other)
        )
        ahead()
        clock.now += 3_000
        assert ahead() == LARGE
        assert begun.wait(60)
        clock.now += 700
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(missing)
            until(lambda: missing.cache_info().requests >= 4)
            go.set()
            assert call.result() == LARGE[::-1]
        assert missing.cache_info().computed == 0


def test_refreshing_a_value_in_parts_reads_its_row_alone(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    store = DynamoDBStore(dynamodb_table, endpoint_url=dynamodb_endpoint, copies_max_bytes=0)
    clock, meter = Clock.present(), Meter()
    with closing(Cache(store, clock=clock)) as cache:
        cache.set("k", LARGE, sliding="1h")
        clock.now += 60
        before = cache.peek("k")
        cache.metered(meter).refresh("k")
        after = cache.peek("k")
    assert before is not None
    assert after is not None
    assert after.expires_at == (before.expires_at or datetime.max) + timedelta(seconds=60)
    assert (meter.requests, meter.read_units, meter.write_units) == (2, 1.0, 1.0)


def test_a_replaced_value_is_never_served_from_its_old_copy(dynamodb_endpoint: str, dynamodb_table: str) -> None:
    with closing(Cache.dynamodb(dynamodb_table, endpoint_url=dynamodb_endpoint)) as cache:
        cache.set("k", LARGE)
        assert cache.get("k") == LARGE
        cache.set("k", LARGE[::-1])
        assert cache.get("k") == LARGE[::-1]
        cache.remove("k")
        assert cache.get("k") is None


def test_explain_says_where_a_value_lies(dynamodb_endpoint: str, dynamodb_table: str, tmp_path: Path) -> None:
    def load() -> bytes:
        return LARGE

    with (
        closing(Cache.dynamodb(dynamodb_table, endpoint_url=dynamodb_endpoint)) as copied,
        closing(Cache.dynamodb(dynamodb_table, endpoint_url=dynamodb_endpoint, copies_max_bytes=0)) as plain,
        closing(Cache.sqlite(tmp_path / "cache.db")) as local,
    ):
        said = []
        for cache in (copied, plain, local):
            function = dynamo_cached(cache=cache, name="load", version=1)(load)
            function()
            said.append(function.explain().detail)
    assert "MB in 4 parts, read from the copy on this machine, computed" in said[0]
    assert "MB in 4 parts, computed" in said[1]
    assert "MB in a file, computed" in said[2]
