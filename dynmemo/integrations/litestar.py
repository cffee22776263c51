"""A store for Litestar: its server-side sessions, response caches and rate limits."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dynmemo.integrations.sealed import Sealed, cache_of

try:
    from litestar.stores.base import Store
except ImportError as error:
    raise ImportError('dynmemo.integrations.litestar needs Litestar: pip install "dynmemo[litestar]"') from error

if TYPE_CHECKING:
    from dynmemo.cache import Cache
    from dynmemo.counters import CacheInfo


class DynmemoStore(Store):
    """A region of a dynmemo cache.

    Args:
        cache: a `dynmemo.Cache`, a URL, or None for the default cache.
        region: the name of the region: what one store deletes all of, another one with the same deletes, too.
        options: of the cache of that URL, such as `secret` and `refresh_after`.
    """

    __slots__ = ("sealed",)

    def __init__(self, cache: Cache | str | None = None, *, region: str = "litestar", **options: Any) -> None:
        self.sealed = Sealed(cache_of(cache, options), region, serializer="bytes")

    async def set(self, key: str, value: str | bytes, expires_in: int | timedelta | None = None) -> None:
        content = value.encode() if isinstance(value, str) else value
        await self.sealed.run(self.sealed.set, key, content, _seconds(expires_in))

    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        return await self.sealed.run(self._get, key, _seconds(renew_for))

    async def delete(self, key: str) -> None:
        await self.sealed.run(self.sealed.region.remove, key)

    async def delete_all(self) -> None:
        await self.sealed.run(self.sealed.region.clear)

    async def exists(self, key: str) -> bool:
        return (await self.sealed.run(self.sealed.peek, key))[0] is not None

    async def expires_in(self, key: str) -> int | None:
        left = (await self.sealed.run(self.sealed.peek, key))[1]
        return None if left is None else int(left)

    def info(self) -> CacheInfo:
        """What this process has counted."""
        return self.sealed.info()

    def _get(self, key: str, renew_for: float | None) -> bytes | None:
        value: bytes | None
        value, left = self.sealed.peek(key)
        if left is not None and renew_for and renew_for - left > renew_for * (self.sealed.cache.refresh_after or 0):
            self.sealed.touch(key, renew_for)
        return value


def _seconds(given: int | timedelta | None) -> float | None:
    return given.total_seconds() if isinstance(given, timedelta) else given
