"""Faults put into the library of a worker, so that a test shows that the checker finds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynmemo.generations import Generations
from dynmemo.item import Written
from dynmemo.leases.lease import Hold, Lease
from dynmemo.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.item import Item


def lost_lease_writes() -> None:
    """Who has lost a lease does not notice, and stores its result whatever lies there."""

    def finish(self: Any, item: Item) -> bool:
        answer = self._hold.store.write(self.spot.value_key, item)
        self._hold.end(lost=False)
        return isinstance(answer, Written)

    def renew(self: Any) -> bool:
        _renew(self)
        self.is_lost = self.is_ended = False
        return True

    _renew = Hold.renew
    Hold.renew = renew  # type: ignore[method-assign]
    Lease.finish = finish  # type: ignore[method-assign]


def clear_is_ignored() -> None:
    """Clearing does nothing."""
    Generations.renew = lambda *_: None  # type: ignore[method-assign]
    SqliteStore.remove_all = lambda *_, **__: 0  # type: ignore[method-assign]


def never_renewed() -> None:
    """The renewing thread believes that it renewed."""

    def renew(self: Any) -> bool:
        self.renewed_at = self._monotonic()
        return True

    Hold.renew = renew  # type: ignore[method-assign]


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant for mutant in (lost_lease_writes, clear_is_ignored, never_renewed)
}


def apply(name: str | None) -> None:
    """Put in the fault of this name, if there is one."""
    if name is not None:
        MUTANTS[name]()
