"""Compute an expensive result once and share it with every notebook kernel and worker.

    from dynmemo import dynamo_cached

    @dynamo_cached(ttl="24h", sliding="1h")
    def forecast(city: str, horizon: int = 14): ...

The result is computed by one process, then shared through a DynamoDB table in production and through one SQLite
file when nothing is configured. See `dynamo_cached`, `Cache` and `configure`.
"""

from __future__ import annotations

import typing

from dynmemo._version import __version__
from dynmemo.cache import Cache
from dynmemo.cache.by_key import CacheEntry, Region
from dynmemo.calls import clear, dynamo_cached, purge
from dynmemo.calls.progress import Progress
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

if typing.TYPE_CHECKING:
    from dynmemo.calls.wrapper import AsyncCachedFunction, CachedFunction
    from dynmemo.costs import Cost, Prices, Workload, cost

__all__ = [
    "Argument",
    "AsyncCachedFunction",
    "Cache",
    "CacheEntry",
    "CacheInfo",
    "CachedFunction",
    "Cost",
    "DynmemoError",
    "Entry",
    "Explanation",
    "Ingredient",
    "InvalidOptionError",
    "InvalidTableError",
    "Prices",
    "Progress",
    "Purged",
    "Region",
    "Serializer",
    "Store",
    "StoreUnavailableError",
    "UnhashableArgumentError",
    "UnreadableValueError",
    "ValueTooLargeError",
    "Workload",
    "__version__",
    "clear",
    "configure",
    "cost",
    "dynamo_cached",
    "purge",
    "register_digest",
]

_with_decorator = {"AsyncCachedFunction", "CachedFunction"}
"""Imported with the first decorated function, or when they are asked for; see `dynmemo.calls`."""

_of_costs = {"Cost", "Prices", "Workload", "cost"}
"""Imported when they are asked for."""

# What a pickle, a traceback and help() call them stays the same when they move within the package.
for _name in set(__all__) - _with_decorator - _of_costs - {"__version__"}:
    globals()[_name].__module__ = __name__
del _name


def __getattr__(name: str) -> object:
    room: object
    if name in _with_decorator:
        from dynmemo.calls import wrapper as room
    elif name in _of_costs:
        from dynmemo import costs as room
    elif name == "load_ipython_extension":  # what ``%load_ext dynmemo`` asks for
        from dynmemo import magics as room
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(room, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
