"""Large values under writers that race and writers that are killed: readers see a whole value or a miss."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import parts as of
from dynmemo.item import Expect, Item, Refused, Written
from dynmemo.parts import bytes_of
from dynmemo.stores.dynamodb import DynamoDBStore
from tests.proxy import Rewrite, Stall

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.proxy import Proxy

NAMES = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
SIZE = 5_000_000

WRITER = """
import random, sys
from dynmemo.item import Item
from dynmemo.stores.dynamodb import DynamoDBStore

table, endpoint, seed = sys.argv[1:]
options = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date", "copies_max_bytes": 0}
store = DynamoDBStore(table, endpoint_url=endpoint, **options)
store.write("k", Item(random.Random(int(seed)).randbytes(5_000_000), fn="f"))
"""


def value(seed: int) -> bytes:
    return random.Random(seed).randbytes(SIZE)


@pytest.fixture
def store(dynamodb_table: str, bulk_client: DynamoDBClient) -> DynamoDBStore:
    return DynamoDBStore(dynamodb_table, **NAMES, client_factory=lambda: bulk_client, copies_max_bytes=0)  # type: ignore[arg-type]


def orphans(store: DynamoDBStore) -> list[str]:
    """Keys of parts to which no row points, as a purge finds them."""
    found = dict(store.scan())
    pointed = {(key, item.parts.write_id) for key, item in found.items() if item.parts is not None}
    return [key for key in found if of.owner(key) not in {None, *pointed}]


def write_until(stalled: int, operation: str, proxy: Proxy, program: Path, table: str) -> None:
    """Run a writer until so many requests of `operation` arrived, of which the last is not done but those before are,
    and kill it there."""
    done: list[dict[str, Any]] = []

    def unchanged(answer: dict[str, Any]) -> dict[str, Any]:
        done.append(answer)
        return answer

    if stalled > 1:
        proxy.breaks(operation, Rewrite(unchanged), times=stalled - 1)
    proxy.breaks(operation, Stall())
    process = subprocess.Popen([sys.executable, str(program), table, proxy.endpoint, "2"])
    try:
        until = time.monotonic() + 60
        while proxy.counts[operation] < stalled or len(done) < stalled - 1:
            assert process.poll() is None, "the writer ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("before", [None, 1], ids=["nothing there", "over an old value"])
@pytest.mark.parametrize(
    ("operation", "nth", "left"),
    [("BatchWriteItem", 1, {0}), ("BatchWriteItem", 2, {5, 8}), ("PutItem", 1, {13})],
    ids=["at the first parts", "between parts", "between parts and row"],
)
def test_a_writer_killed_on_its_way_leaves_what_was_there(
    store: DynamoDBStore,
    proxy: Proxy,
    dynamodb_table: str,
    tmp_path: Path,
    before: int | None,
    operation: str,
    nth: int,
    left: set[int],
) -> None:
    if before is not None:
        store.write("k", Item(value(before), fn="f"))
    program = tmp_path / "writer.py"
    program.write_text(WRITER)
    write_until(nth, operation, proxy, program, dynamodb_table)

    row = store.read("k")
    assert (None if row is None else row.value) == (None if before is None else value(before))
    parts = orphans(store)
    assert len(parts) in left
    began = {of.began_at(write_id) for _, write_id in filter(None, map(of.owner, parts))}
    assert all(at is not None and abs(time.time() - at) < 300 for at in began)

    store.write("k", Item(value(3), fn="f"))
    row = store.read("k")
    assert row is not None
    assert row.value == value(3)
    assert sorted(orphans(store)) == sorted(parts)
    for key in parts:
        store.remove(key)
    assert orphans(store) == []
    row = store.read("k")
    assert row is not None
    assert row.value == value(3)


def test_readers_beside_two_writers_see_one_whole_value_or_a_miss(store: DynamoDBStore) -> None:
    values = {value(seed) for seed in range(8)}
    store.write("k", Item(value(0), fn="f"))
    done = threading.Event()
    seen: list[bytes | None] = []

    def write(seeds: range) -> None:
        for seed in seeds:
            store.write("k", Item(value(seed), fn="f"))

    def read() -> None:
        while not done.is_set():
            row = store.read("k")
            assert row is not None
            seen.append(bytes_of(row))

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            for writer in [pool.submit(write, range(1, 4)), pool.submit(write, range(4, 8))]:
                writer.result()
        finally:
            done.set()
        for reader in readers:
            reader.result()
    assert {content for content in seen if content is not None} <= values
    assert any(content is not None for content in seen)
    last = store.read("k")
    assert last is not None
    assert last.value in {value(3), value(7)}
    assert orphans(store) == [], "who replaces a row deletes its parts"


def test_of_two_that_write_over_the_same_row_one_is_stored_and_the_other_leaves_nothing(store: DynamoDBStore) -> None:
    lease = store.write("k", Item(fn="f", lease_owner="both"))
    assert isinstance(lease, Written)
    barrier = threading.Barrier(2)

    def write(seed: int) -> Written | Refused:
        barrier.wait()
        return store.write("k", Item(value(seed), fn="f"), Expect(lease.etag))

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(write, (1, 2)))
    (refused,) = [answer for answer in answers if isinstance(answer, Refused)]
    row = store.read("k")
    assert row is not None
    assert row.value == value(2 if answers[0] == refused else 1)
    assert refused.row == row
    assert orphans(store) == []
