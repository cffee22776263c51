"""What large values cost in memory, and a data frame of 50 MB in and out."""

from __future__ import annotations

import random
import tracemalloc
from typing import TYPE_CHECKING, TypeVar

import pytest

from dynmemo import Cache, dynamo_cached
from dynmemo.item import Item
from dynmemo.stores.dynamodb import DynamoDBStore

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
MB = 1_000_000


def frame(megabytes: int) -> pd.DataFrame:
    """Noise, which no compression makes much smaller."""
    import numpy as np
    import pandas as pd

    rows = megabytes * MB // 80
    generator = np.random.default_rng(1)
    return pd.DataFrame(generator.standard_normal((rows, 10)), columns=[f"sensor {n}" for n in range(10)])


def peak(act: Callable[[], T]) -> tuple[T, int]:
    """What `act` returns, and the bytes that Python had allocated at most meanwhile, beyond those before."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        result = act()
        return result, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_the_store_takes_less_than_three_times_the_value(dynamodb_table: str, bulk_client: DynamoDBClient) -> None:
    store = DynamoDBStore(dynamodb_table, client_factory=lambda: bulk_client, copies_max_bytes=0)
    size = 40 * MB
    value = random.Random(1).randbytes(size)
    _, writing = peak(lambda: store.write("k", Item(value)))
    row, reading = peak(lambda: store.read("k"))
    assert row is not None
    assert row.value == value
    assert writing < 2 * size
    assert reading < 3 * size


@pytest.mark.slow
def test_a_frame_of_50_mb_comes_back_equal_for_hardly_more_units_than_it_must_cost(
    dynamodb_table: str, dynamodb_endpoint: str
) -> None:
    import pandas as pd

    cache = Cache.dynamodb(
        dynamodb_table, endpoint_url=dynamodb_endpoint, partition_key_name="id", ttl_attribute_name="ttl_date"
    )

    @dynamo_cached(ttl="1h", cache=cache)
    def measurements() -> pd.DataFrame:
        return frame(50)

    computed, writing = peak(measurements)
    wrote = measurements.cache_info()
    read, reading = peak(measurements)
    info = measurements.cache_info()
    pd.testing.assert_frame_equal(read, computed)
    assert (info.hits, info.computed) == (1, 1)

    entry = measurements.entry()
    assert entry is not None
    assert entry.size > 45 * MB
    full, rest = divmod(entry.size, 409_600)
    least = 400 * full + -(-rest // 1_024) + 1
    assert least <= wrote.write_units <= 1.05 * least
    assert info.read_units - wrote.read_units <= 1.05 * entry.size / 8_192
    assert wrote.requests <= full // 8 + 12
    # The first call also computes the frame, in two copies of which one is left.
    assert writing < 4 * entry.size
    assert reading < 3 * entry.size
