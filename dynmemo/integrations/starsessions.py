"""A session store for starsessions: sessions of Starlette and FastAPI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynmemo.integrations.sealed import Sealed

try:
    from starsessions.stores.base import SessionStore
except ImportError as error:
    raise ImportError(
        'dynmemo.integrations.starsessions needs starsessions: pip install "dynmemo[starsessions]"'
    ) from error

if TYPE_CHECKING:
    from dynmemo.cache import Cache
    from dynmemo.counters import CacheInfo
    from dynmemo.expiry import Duration

UNLIMITED_SECONDS = 30 * 86_400
"""How long a session is kept that shall end with the browser, which tells nobody; each write begins it anew."""


class DynmemoStore(SessionStore):
    """A region of a dynmemo cache.

    Args:
        cache: a `dynmemo.Cache`, a URL, or None for the default cache.
        region: the name of the region.
        sliding: idle window: a session ends when it is not loaded for so long, never later than its `lifetime` says.
            Each page that loads one writes it anew, so that reading need not move the window.
        options: of the cache of that URL, such as `secret`.
    """

    def __init__(
        self,
        cache: Cache | str | None = None,
        *,
        region: str = "starsessions",
        sliding: Duration | None = None,
        **options: Any,
    ) -> None:
        self.sealed = Sealed(cache, region, serializer="bytes", sliding=sliding, **options)

    async def read(self, session_id: str, lifetime: int) -> bytes:
        data: bytes = (await self.sealed.run(self.sealed.peek, session_id, b""))[0]
        return data

    async def write(self, session_id: str, data: bytes, lifetime: int, ttl: int) -> str:
        await self.sealed.run(self.sealed.set, session_id, data, ttl if lifetime else UNLIMITED_SECONDS)
        return session_id

    async def remove(self, session_id: str) -> None:
        await self.sealed.run(self.sealed.region.remove, session_id)

    def info(self) -> CacheInfo:
        """What this process has counted."""
        return self.sealed.info()
