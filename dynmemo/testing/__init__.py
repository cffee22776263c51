"""For tests: of code that uses dynmemo, and of stores."""

from dynmemo.testing.clock import Clock
from dynmemo.testing.isolated import IsolatedCache, isolated_cache

__all__ = ["Clock", "IsolatedCache", "isolated_cache"]
