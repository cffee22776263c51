"""What this process holds: a lease row that it wrote and has not ended yet."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Protocol

from dynmemo.item import Expect
from dynmemo.leases.owner import disown, settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Store

DAY = 86_400


def lease_date(now: float, seconds: float) -> int:
    """The `ttl_date` of a lease row.

    A day beyond the lease: clocks differ, and DynamoDB deletes what its own clock finds expired.
    """
    return math.floor(now + seconds) + DAY


class Keeper(Protocol):
    """Renews what it was given in time, and gives up what was dropped."""

    def add(self, hold: Hold) -> None:
        """Care for `hold` from now on; given once more after it was dropped."""
        ...


class Hold:
    """One lease row of this process, without what is computed under it.

    It does not keep alive whoever computes, so that a keeper may hold on to it.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        owner: str,
        seconds: float,
        *,
        keeper: Keeper,
        claimed_at: float,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.store = store
        self.key = key
        self.owner = owner
        self.etag = ""
        """Of the row; empty as long as nobody knows whether the claim took place."""
        self.seconds = seconds
        self.renewed_at = claimed_at
        """When (monotonic) the last renewal that took place was sent."""
        self.is_lost = False
        """The row is no longer ours: taken over, overwritten or removed."""
        self.is_ended = False
        """There is nothing more to do: we ended it, or gave up trying."""
        self.is_dropped = False
        """Whoever computed is gone or has stopped; the keeper shall give it up."""
        self.is_computing: Callable[[], bool] = _yes
        """Whether the computation still runs; what does not is not renewed."""
        self.waits_for: Callable[[], str | None] = _nothing
        """For which other lease row the computation waits."""
        self.due = claimed_at
        """When the keeper has something to do; it alone changes this."""
        self.keeper = keeper
        self._clock = clock
        self._monotonic = monotonic
        self._pid = os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether the row may still be ours, as far as this process knows; never in a forked child."""
        return not self.is_ended and os.getpid() == self._pid

    def renew(self) -> bool:
        """Let the lease begin anew, if it is still ours. Raises as the store does."""
        asked = self._monotonic()
        if self.store.renew(self.key, self.etag, lease_date(self._clock(), self.seconds), self.waits_for()):
            self.renewed_at = asked
        else:
            self.end(lost=True)
        return not self.is_lost

    def remove(self) -> bool:
        """Give the lease up; False if it was no longer ours. Raises as the store does."""
        etag = self.etag or self._found_etag()
        removed = etag is not None and self.store.remove(self.key, Expect(etag))
        self.end(lost=not removed)
        return removed

    def end(self, *, lost: bool) -> None:
        """Care for it no longer."""
        self.is_lost = lost
        self.is_ended = True
        settle(self.owner)

    def _found_etag(self) -> str | None:
        row = self.store.read(self.key, consistent=True)
        return row.etag if row is not None and row.lease_owner == self.owner else None

    def is_overdue(self) -> bool:
        """Whether others may have taken it over by now."""
        return self._monotonic() - self.renewed_at >= self.seconds

    def drop(self) -> None:
        """Leave it to the keeper to give it up, unless it was ended. Takes no lock: the garbage collector calls it."""
        if self.is_ours and not self.is_dropped:
            self.is_dropped = True
            disown(self.owner)
            self.keeper.add(self)


def _yes() -> bool:
    return True


def _nothing() -> None:
    return None
