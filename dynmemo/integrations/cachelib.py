"""A cache for what uses cachelib: Flask-Session with ``SESSION_TYPE = "cachelib"``, Flask-Caching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynmemo.integrations.sealed import MISSING, Sealed

try:
    from cachelib.base import BaseCache
except ImportError as error:
    raise ImportError('dynmemo.integrations.cachelib needs cachelib: pip install "dynmemo[cachelib]"') from error

if TYPE_CHECKING:
    from datetime import timedelta

    from dynmemo.cache import Cache
    from dynmemo.counters import CacheInfo
    from dynmemo.expiry import Duration

    Timeout = int | timedelta | None


class DynmemoCache(BaseCache):
    """A region of a dynmemo cache.

    Args:
        cache: a `dynmemo.Cache`, a URL, or None for the default cache.
        default_timeout: seconds, 0 for never.
        region: the name of the region.
        sliding: idle window: what is stored lives on while it is read, never past its timeout.
        options: of the cache of that URL, such as `secret` and `refresh_after`.
    """

    def __init__(
        self,
        cache: Cache | str | None = None,
        default_timeout: int | timedelta = 300,
        ignore_delete_many_errors: bool = True,
        *,
        region: str = "cachelib",
        sliding: Duration | None = None,
        **options: Any,
    ) -> None:
        super().__init__(default_timeout)  # later releases take the next one, too, which means nothing here
        self.ignore_delete_many_errors = ignore_delete_many_errors
        self.sealed = Sealed(cache, region, sliding=sliding, **options)

    def get(self, key: str) -> Any:
        return self.sealed.get(key)

    def get_many(self, *keys: str) -> list[Any]:
        found = self.sealed.get_many(keys)
        return [found.get(key) for key in keys]

    def set(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        self.sealed.set(key, value, self._seconds(timeout))
        return True

    def set_many(self, mapping: dict[str, Any], timeout: Timeout = None) -> list[Any]:
        self.sealed.set_many(mapping, self._seconds(timeout))
        return list(mapping)

    def add(self, key: str, value: Any, timeout: Timeout = None) -> bool:
        return self.sealed.add(key, value, self._seconds(timeout))

    def delete(self, key: str) -> bool:
        return self.sealed.region.remove(key)

    def delete_many(self, *keys: str) -> list[Any]:
        self.sealed.region.remove_many(keys)
        return list(keys)  # what was not there counts, too

    def has(self, key: str) -> bool:
        return self.sealed.peek(key, MISSING)[0] is not MISSING

    def clear(self) -> bool:
        self.sealed.region.clear()
        return True

    def inc(self, key: str, delta: int = 1) -> int:
        while True:
            try:
                return self.sealed.change(key, lambda value: (value or 0) + delta)
            except KeyError:
                if self.add(key, delta):
                    return delta

    def dec(self, key: str, delta: int = 1) -> int:
        return self.inc(key, -delta)

    def info(self) -> CacheInfo:
        """What this process has counted."""
        return self.sealed.info()

    def _seconds(self, timeout: Timeout) -> float | None:
        return self._normalize_timeout(timeout) or None
