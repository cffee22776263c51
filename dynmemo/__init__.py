"""Compute an expensive result once and share it with every notebook kernel and worker.

    from dynmemo import dynamo_cached

    @dynamo_cached(ttl="24h", sliding="1h")
    def forecast(city: str, horizon: int = 14): ...

The result is computed by one process, then shared through a DynamoDB table in production and through one SQLite
file when nothing is configured. See `dynamo_cached`, `Cache` and `configure`.

(PYTEST_DONT_REWRITE, which pytest reads: that dynmemo was imported before it is nothing to warn of.)
"""

from __future__ import annotations

import importlib
import typing

from dynmemo._version import __version__
from dynmemo.cache import Cache
from dynmemo.cache.by_key import CacheEntry, Region
from dynmemo.calls import clear, dynamo_cached, purge
from dynmemo.calls.progress import Progress
from dynmemo.codec import Serializer
from dynmemo.counters import CacheInfo
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
from dynmemo.item import Store
from dynmemo.origin import Origin

if typing.TYPE_CHECKING:
    from dynmemo.calls.wrapper import AsyncCachedFunction, CachedFunction
    from dynmemo.costs import Cost, Prices, Workload, cost
    from dynmemo.explain import Explanation
    from dynmemo.keys.arguments import Argument
    from dynmemo.keys.digest import register_digest
    from dynmemo.keys.identity import Ingredient
    from dynmemo.looking import (
        CacheStats,
        Diagnosis,
        Finding,
        ListedEntry,
        ListedFunction,
        Listing,
        ShownEntry,
        doctor,
        ls,
        show,
        stats,
    )
    from dynmemo.moving import Transferred, pull, push
    from dynmemo.purging import Purged

__all__ = [
    "Argument",
    "AsyncCachedFunction",
    "Cache",
    "CacheEntry",
    "CacheInfo",
    "CacheStats",
    "CachedFunction",
    "Cost",
    "Diagnosis",
    "DynmemoError",
    "Entry",
    "Explanation",
    "Finding",
    "Ingredient",
    "InvalidOptionError",
    "InvalidTableError",
    "ListedEntry",
    "ListedFunction",
    "Listing",
    "Origin",
    "Prices",
    "Progress",
    "Purged",
    "Region",
    "Serializer",
    "ShownEntry",
    "Store",
    "StoreUnavailableError",
    "Transferred",
    "UnhashableArgumentError",
    "UnreadableValueError",
    "ValueTooLargeError",
    "Workload",
    "__version__",
    "clear",
    "configure",
    "cost",
    "doctor",
    "dynamo_cached",
    "ls",
    "pull",
    "purge",
    "push",
    "register_digest",
    "show",
    "stats",
]

_later = {
    "Argument": "dynmemo.keys.arguments",
    "Ingredient": "dynmemo.keys.identity",
    "register_digest": "dynmemo.keys.digest",
    "AsyncCachedFunction": "dynmemo.calls.wrapper",
    "CachedFunction": "dynmemo.calls.wrapper",
    "Explanation": "dynmemo.explain",
    "Purged": "dynmemo.purging",
    **dict.fromkeys(
        ("CacheStats", "Diagnosis", "Finding", "ListedEntry", "ListedFunction", "Listing", "ShownEntry"),
        "dynmemo.looking",
    ),
    **dict.fromkeys(("doctor", "ls", "show", "stats"), "dynmemo.looking"),
    **dict.fromkeys(("Transferred", "pull", "push"), "dynmemo.moving"),
    **dict.fromkeys(("Cost", "Prices", "Workload", "cost"), "dynmemo.costs"),
    "load_ipython_extension": "dynmemo.magics",  # what ``%load_ext dynmemo`` asks for
}
"""Imported when they are asked for, or with what gives objects of them: the first decorated function, `purge`."""

# What a pickle, a traceback and help() call them stays the same when they move within the package.
for _name in set(__all__) - _later.keys() - {"__version__"}:
    globals()[_name].__module__ = __name__
del _name


def __getattr__(name: str) -> object:
    if name not in _later:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(_later[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
