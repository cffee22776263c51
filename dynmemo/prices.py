"""What DynamoDB bills for a unit: list prices as data, with the day from which they are in force, never fetched."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from dynmemo.errors import InvalidOptionError


def check_number(option: str, number: object, least: float, *, whole: bool = False) -> None:
    """Raise `InvalidOptionError` for what is no finite number, is below `least`, or is not `whole`."""
    kinds = int if whole else (int, float)
    if isinstance(number, bool) or not isinstance(number, kinds) or not least <= number < math.inf:
        kind = "a whole number" if whole else "a number"
        raise InvalidOptionError(f"{option}={number!r} is not allowed; give {kind} from {least:g}")


@dataclass(frozen=True, slots=True)
class Prices:
    """What DynamoDB bills in a region, on demand, in dollars before taxes and free tiers.

    Example:
        >>> workload = dynmemo.Workload(entries=100, size=2_000, calls=5)
        >>> dynmemo.cost(workload, prices=dynmemo.Prices("here", write=0, read=0, storage=0)).dollars
        0.0

    Raises:
        InvalidOptionError: for prices that are negative or no numbers.
    """

    region: str
    """Its name."""
    write: float
    """Of a million write units."""
    read: float
    """Of a million read units."""
    storage: float
    """Of a GB for a month."""
    since: str = ""
    """The day from which they are in force."""
    source: str = "given"
    """Where they were found."""

    def __post_init__(self) -> None:
        for name in ("write", "read", "storage"):
            check_number(f"{name} price", getattr(self, name), 0)


SOURCE = "aws.amazon.com/dynamodb/pricing/on-demand"
LISTED = {
    region: Prices(region, 0.625, 0.125, 0.25, "2024-11-01", SOURCE)
    for region in ("us-east-1", "us-east-2", "us-west-2")
}
"""By region."""


def prices_of(
    region: str, *, write: float | None = None, read: float | None = None, storage: float | None = None
) -> Prices:
    """The list prices of a region, with those that are given in their place.

    Raises:
        InvalidOptionError: for a region without list prices here, unless all three are given.
    """
    if write is not None and read is not None and storage is not None:
        return Prices(region, write, read, storage)
    listed = LISTED.get(region)
    if listed is None:
        given = {"write": write, "read": read, "storage": storage}
        raise InvalidOptionError(
            f"no prices of {region!r} are known here, only those of {', '.join(LISTED)}; look at {SOURCE} and give "
            f"{', '.join(f'--{name}-price' for name, price in given.items() if price is None)}, or in Python "
            "prices=dynmemo.Prices(region, write, read, storage)"
        )
    if (write, read, storage) == (None, None, None):
        return listed
    return replace(
        listed,
        write=listed.write if write is None else write,
        read=listed.read if read is None else read,
        storage=listed.storage if storage is None else storage,
        source=f"{SOURCE}, in part given",
    )
