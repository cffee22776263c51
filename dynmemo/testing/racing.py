"""What the processes of the store contract do. They import no pytest, so that they begin soon."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from dynmemo import Cache, dynamo_cached
from dynmemo.item import Expect, Item, Written
from dynmemo.parts import bytes_of
from dynmemo.testing.together import line_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store

PROCESSES = 4
ADDITIONS = 15
"""By each process."""
ROWS = [f"row {number}" for number in range(10)]
CALLS = range(10)


class Raced(NamedTuple):
    """What one process has won."""

    claimed: list[str]
    taken_over: list[str]
    computed: list[int]


def race(open_store: Callable[[], Store], number: int) -> Raced:
    """Add to one number, claim rows, take them over, and call a function, all at the same time as other processes."""
    with closing(open_store()) as store:
        for _ in range(ADDITIONS):
            add_one(store, "count")
        line_up()
        claimed = [key for key in ROWS if _is_written(store, key, number, Expect())]
        line_up()
        seen = store.read_many(ROWS, consistent=True)
        line_up()
        taken_over = [key for key in ROWS if _is_written(store, key, number, Expect.seen(seen[key]))]
        line_up()
        return Raced(claimed, taken_over, _called(store))


def add_one(store: Store, key: str) -> None:
    """Add one to the number under a key, by compare-and-set."""
    row = store.read(key, consistent=True)
    while True:
        count = int(bytes_of(row) or b"0") if row else 0
        answer = store.write(key, Item(value=b"%d" % (count + 1)), Expect.seen(row))
        if isinstance(answer, Written):
            return
        row = answer.row


def _is_written(store: Store, key: str, number: int, expect: Expect) -> bool:
    lease = Item(ttl_date=2_000_000_000, lease_owner=f"process {number}", lease_seconds=30.0, lease_beat=0)
    return isinstance(store.write(key, lease, expect), Written)


def _called(store: Store) -> list[int]:
    """For which of the calls this process computed the result."""
    computed = []

    @dynamo_cached(cache=Cache(store), name="square", version="1", ignore_globals=["computed"])
    def square(number: int) -> int:
        computed.append(number)
        return number * number

    for number in CALLS:
        if square(number) != number * number:
            raise ValueError(f"square({number}) gave another result")
    return computed
