"""Compute an expensive result once and share it with every notebook kernel and worker.

    from dynmemo import dynamo_cached

    @dynamo_cached(ttl="24h", sliding="1h")
    def forecast(city: str, horizon: int = 14): ...

The result is computed by one process, then shared through a DynamoDB table in production and through one SQLite
file when nothing is configured. See `dynamo_cached`, `Cache` and `configure`.
"""

from __future__ import annotations

from dynmemo._version import __version__
from dynmemo.cache import Cache
from dynmemo.calls import AsyncCachedFunction, CachedFunction, Entry, Explanation, Purged, clear, dynamo_cached, purge
from dynmemo.defaults import configure
from dynmemo.errors import (
    DynmemoError,
    InvalidOptionError,
    InvalidTableError,
    StoreUnavailableError,
    UnhashableArgumentError,
    UnreadableValueError,
    ValueTooLargeError,
)
from dynmemo.keys.digest import register_digest
from dynmemo.stats import CacheInfo

__all__ = [
    "AsyncCachedFunction",
    "Cache",
    "CacheInfo",
    "CachedFunction",
    "DynmemoError",
    "Entry",
    "Explanation",
    "InvalidOptionError",
    "InvalidTableError",
    "Purged",
    "StoreUnavailableError",
    "UnhashableArgumentError",
    "UnreadableValueError",
    "ValueTooLargeError",
    "__version__",
    "clear",
    "configure",
    "dynamo_cached",
    "purge",
    "register_digest",
]
