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
from dynmemo.calls import AsyncCachedFunction, CachedFunction, clear, dynamo_cached, purge
from dynmemo.codec import Serializer
from dynmemo.defaults import configure
from dynmemo.entries import Entry
from dynmemo.errors import (
    DynmemoError,
    InvalidOptionError,
    InvalidTableError,
    StoreUnavailableError,
    UnhashableArgumentError,
    UnreadableValueError,
    ValueTooLargeError,
)
from dynmemo.explain import Explanation
from dynmemo.item import Store
from dynmemo.keys import Argument
from dynmemo.keys.digest import register_digest
from dynmemo.keys.identity import Ingredient
from dynmemo.purging import Purged
from dynmemo.stats import CacheInfo

__all__ = [
    "Argument",
    "AsyncCachedFunction",
    "Cache",
    "CacheInfo",
    "CachedFunction",
    "DynmemoError",
    "Entry",
    "Explanation",
    "Ingredient",
    "InvalidOptionError",
    "InvalidTableError",
    "Purged",
    "Serializer",
    "Store",
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

# What a pickle, a traceback and help() call them stays the same when they move within the package.
for _name in __all__:
    if _name != "__version__":
        globals()[_name].__module__ = __name__
del _name
