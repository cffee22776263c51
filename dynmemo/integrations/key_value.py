"""A store for py-key-value-aio, in which FastMCP and others keep their state."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dynmemo.integrations.sealed import Sealed

try:
    from key_value.aio.stores.base import BaseDestroyCollectionStore
except ImportError as error:
    raise ImportError(
        'dynmemo.integrations.key_value needs py-key-value-aio: pip install "dynmemo[key-value]"'
    ) from error

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from key_value.aio.stores.base import ManagedEntry

    from dynmemo.cache import Cache


class DynmemoStore(BaseDestroyCollectionStore):
    """Regions of a dynmemo cache, one for each collection: ``{region}/{collection}``.

    Args:
        cache: a `dynmemo.Cache`, a URL, or None for the default cache.
        region: the beginning of the regions' names.
        default_collection: used where none is named.
        options: of the cache of that URL, such as `secret`.
    """

    def __init__(
        self,
        cache: Cache | str | None = None,
        *,
        region: str = "key_value",
        default_collection: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(default_collection=default_collection, stable_api=True)
        self._make, self._region = partial(Sealed, cache, serializer="bytes", **options), region
        self.collections: dict[str, Sealed] = {}
        """Those that were used, by name."""

    async def _setup_collection(self, *, collection: str) -> None:
        self.collections[collection] = self._make(region=f"{self._region}/{collection}")

    async def _get_managed_entry(self, *, collection: str, key: str) -> ManagedEntry | None:
        sealed = self.collections[collection]
        return self._entry(await sealed.run(sealed.get, key))

    async def _get_managed_entries(self, *, collection: str, keys: Sequence[str]) -> list[ManagedEntry | None]:
        sealed = self.collections[collection]
        found = await sealed.run(sealed.get_many, keys)
        return [self._entry(found.get(key)) for key in keys]

    async def _put_managed_entry(self, *, collection: str, key: str, managed_entry: ManagedEntry) -> None:
        sealed = self.collections[collection]
        await sealed.run(sealed.set, key, self._content(collection, key, managed_entry), managed_entry.ttl)

    async def _put_managed_entries(
        self,
        *,
        collection: str,
        keys: Sequence[str],
        managed_entries: Sequence[ManagedEntry],
        ttl: float | None,
        created_at: datetime,
        expires_at: datetime | None,
    ) -> None:
        sealed, pairs = self.collections[collection], zip(keys, managed_entries, strict=True)
        values = {key: self._content(collection, key, entry) for key, entry in pairs}
        await sealed.run(sealed.set_many, values, ttl)

    async def _delete_managed_entry(self, *, key: str, collection: str) -> bool:
        sealed = self.collections[collection]
        return await sealed.run(sealed.region.remove, key)

    async def _delete_collection(self, *, collection: str) -> bool:
        await self.setup_collection(collection=collection)
        sealed = self.collections[collection]
        await sealed.run(sealed.region.clear)
        return True

    def _content(self, collection: str, key: str, entry: ManagedEntry) -> bytes:
        return self._serialization_adapter.dump_json(entry=entry, key=key, collection=collection).encode()

    def _entry(self, content: bytes | None) -> ManagedEntry | None:
        return None if content is None else self._serialization_adapter.load_json(json_str=content.decode())
