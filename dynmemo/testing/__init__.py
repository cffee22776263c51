"""For tests: of code that uses dynmemo, and of stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynmemo.testing.clock import Clock
from dynmemo.testing.isolated import IsolatedCache, isolated_cache

if TYPE_CHECKING:
    from dynmemo.testing.contract import StoreContract

__all__ = ["Clock", "IsolatedCache", "StoreContract", "isolated_cache"]


def __getattr__(name: str) -> object:
    if name != "StoreContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dynmemo.testing.contract import StoreContract  # which needs pytest

    return StoreContract
