"""A cache backend for Django, and with ``SESSION_ENGINE = "django.contrib.sessions.backends.cache"`` its sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dynmemo.integrations.sealed import MISSING, Sealed

try:
    from asgiref.sync import sync_to_async
    from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
except ImportError as error:
    raise ImportError('dynmemo.integrations.django needs Django: pip install "dynmemo[django]"') from error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from dynmemo.counters import CacheInfo

_OF_DJANGO = ("MAX_ENTRIES", "CULL_FREQUENCY")
"""Options that every backend is given; nothing is culled here, for what expires costs nothing but its room."""


class DynmemoCache(BaseCache):
    """A region of a dynmemo cache, as an entry of ``CACHES``.

    ``LOCATION`` is a URL, or empty for the default cache. ``OPTIONS``: `region` (default ``"django"``), `sliding`, and
    those of the cache, such as `secret` and `refresh_after`.
    """

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        options = {"region": "django", **params.get("OPTIONS", {})}
        options = {name: value for name, value in options.items() if name not in _OF_DJANGO}
        self.sealed = Sealed.shared(location or None, **options)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        return self.sealed.get(self._key(key, version), default)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self.sealed.set(self._key(key, version), value, self._seconds(timeout))

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self.sealed.add(self._key(key, version), value, self._seconds(timeout))

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self.sealed.touch(self._key(key, version), self._seconds(timeout))

    def delete(self, key: Any, version: int | None = None) -> bool:
        return self.sealed.region.remove(self._key(key, version))

    def has_key(self, key: Any, version: int | None = None) -> bool:
        return self.sealed.peek(self._key(key, version), MISSING)[0] is not MISSING

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> Any:
        try:
            return self.sealed.change(self._key(key, version), lambda value: value + delta)
        except KeyError:
            raise ValueError(f"Key {key!r} not found") from None

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        names = {self._key(key, version): key for key in keys}
        return {names[name]: value for name, value in self.sealed.get_many(names).items()}

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        self.sealed.set_many({self._key(key, version): data[key] for key in data}, self._seconds(timeout))
        return []

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        self.sealed.region.remove_many([self._key(key, version) for key in keys])

    def clear(self) -> None:
        self.sealed.region.clear()

    def info(self) -> CacheInfo:
        """What this process has counted."""
        return self.sealed.info()

    def _key(self, key: Any, version: int | None) -> str:
        name: str = self.make_and_validate_key(key, version=version)
        return name

    def _seconds(self, timeout: Any) -> float | None:
        seconds: float | None = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return seconds


def _in_thread(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def call(self: DynmemoCache, *args: Any, **kwargs: Any) -> Any:
        return await sync_to_async(getattr(self, name), thread_sensitive=True)(*args, **kwargs)

    return call


for _name in ("get_many", "set_many", "delete_many", "has_key", "incr"):  # each several requests in the base class
    setattr(DynmemoCache, f"a{_name}", _in_thread(_name))
