"""Objects by key, sealed as results of decorated functions are: what the adapters have in common."""

from __future__ import annotations

import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo._process import Once
from dynmemo.cache import Cache
from dynmemo.codec import CannotSerialize, Codec
from dynmemo.counters import Stats
from dynmemo.defaults import default_cache
from dynmemo.errors import InvalidOptionError, UnreadableValueError
from dynmemo.expiry import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dynmemo.counters import CacheInfo
    from dynmemo.expiry import Duration

T = TypeVar("T")

MISSING: Any = object()
"""What is found where nothing is, or nothing that can be read."""

_once = Once()
_shared: dict[str, Sealed] = {}


class Sealed:
    """The objects in one region of a cache. Every method may be called from any thread.

    A `ttl` is seconds or None for no end, whatever the cache's `default_ttl` is. One that is over by now removes what
    is there, and less than a second counts as one.

    Args:
        cache: a `Cache`, a URL, or None for the default cache as it is now.
        region: the name of the region.
        serializer: as for decorated functions.
        sliding: idle window of what is stored.
        options: of the cache of that URL, such as `secret` and `refresh_after`.

    Raises:
        InvalidOptionError: for options that are not allowed, and for those of a cache that is made already.
    """

    def __init__(
        self,
        cache: Cache | str | None,
        region: str,
        *,
        serializer: str = "pickle",
        sliding: Duration | None = None,
        **options: Any,
    ) -> None:
        self._stats = Stats()
        self._once = Once()
        self.region = cache_of(cache, options).metered(self._stats).region(region)
        self.cache = made = self.region.cache
        self._codec = Codec(serializer, secrets=made.secrets, encrypt=made.encrypt, compress=made.compress)
        made.lifetime(NEVER, sliding, made.clock())  # which says what is wrong with it
        self._sliding = sliding
        if not made.secrets:
            harm = "run code in this program" if serializer == "pickle" else "make up what this program finds there"
            _once.warning(
                (made.store.location, region),
                "the region %s is not signed: whoever can write to %s can %s. Give a secret=, or set DYNMEMO_SECRET.",
                region,
                made.store.location,
                harm,
            )

    @classmethod
    def shared(cls, cache: str | None, region: str, **options: Any) -> Sealed:
        """The one of this process, for a library that makes its caches anew for every thread or request."""
        place = cache or default_cache()
        key = repr((place if isinstance(place, str) else id(place), region, sorted(options.items())))
        return _shared.get(key) or _shared.setdefault(key, cls(place, region, **options))

    def get(self, key: str, default: Any = None) -> Any:
        """The object, its window started anew."""
        return self._counted(self._opened(key, self.region.get(key)), default)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Those of the objects that are there."""
        wanted = list(keys)
        stored = self.region.get_many(wanted)
        found = {key: self._counted(self._opened(key, stored.get(key)), MISSING) for key in wanted}
        return {key: value for key, value in found.items() if value is not MISSING}

    def peek(self, key: str, default: Any = None) -> tuple[Any, float | None]:
        """The object, and how many seconds it has left (None without an end); no window starts anew."""
        entry = self.region.peek(key)
        found = self._counted(self._opened(key, None if entry is None else entry.value), default)
        end = None if entry is None or found is default else entry.expires_at
        return found, None if end is None else end.timestamp() - self.cache.clock()

    def set(self, key: str, value: Any, ttl: float | None) -> None:
        """Store an object.

        Raises:
            pickle.PicklingError: it has no stored form.
        """
        content = self._content(key, value)
        if _is_over(ttl):
            self.region.remove(key)
        else:
            self.region.set(key, content, **self._dates(ttl))

    def set_many(self, values: Mapping[str, Any], ttl: float | None) -> None:
        """`set` several in as few requests as the store can do it with."""
        contents = {key: self._content(key, value) for key, value in values.items()}
        if _is_over(ttl):
            self.region.remove_many(contents)
        else:
            self.region.set_many(contents, **self._dates(ttl))

    def add(self, key: str, value: Any, ttl: float | None) -> bool:
        """Store an object if none that can be read is there; whether it was stored. Of all that try one is told so."""
        content = self._content(key, value)

        def change(old: bytes | None) -> bytes | None:
            if self._opened(key, old) is not MISSING:
                raise _StandsThereError
            return None if _is_over(ttl) else content

        try:
            self.region.update(key, change, **self._dates(ttl))
        except _StandsThereError:
            return False
        return True

    def change(self, key: str, change: Callable[[Any], T]) -> T:
        """Put `change(value)` in the place of the object, with its dates, and return it. No other change is lost.

        Raises:
            KeyError: there is none.
        """
        made: list[T] = []

        def changed(old: bytes | None) -> bytes:
            value = self._opened(key, old)
            if value is MISSING:
                raise KeyError(key)
            made[:] = [change(value)]
            return self._content(key, made[0])

        self.region.update(key, changed)
        return made[0]

    def touch(self, key: str, ttl: float | None) -> bool:
        """New dates for what is there; whether anything was there."""
        return self.region.remove(key) if _is_over(ttl) else self.region.touch(key, **self._dates(ttl))

    def info(self) -> CacheInfo:
        """What this process has counted: hits, misses, unreadable objects, requests, and DynamoDB's units."""
        return self._stats.info()

    async def run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call one of these methods, or of the region's, in a thread of the cache's own."""
        return await self.cache.run(partial(function, *args, **kwargs))

    def _dates(self, ttl: float | None) -> dict[str, Any]:
        return {"ttl": NEVER if ttl is None else max(ttl, 1), "sliding": self._sliding}

    def _content(self, key: str, value: Any) -> bytes:
        # Without a deadline: new dates could not move it.
        where, now = self.region.partition_key(key), self.cache.clock()
        try:
            return bytes(self._codec.dumps(value, key=where, computed_at=now, seconds=0.0, deadline=None))
        except CannotSerialize as error:
            raise pickle.PicklingError(f"the value cannot be stored: {error}") from None

    def _opened(self, key: str, content: bytes | None) -> Any:
        if content is None:
            return MISSING
        try:
            where = self.region.partition_key(key)
            return self._codec.loads(content, key=where, now=self.cache.clock()).value
        except UnreadableValueError as error:
            self._stats.add("unreadable")
            # Without the key: that of a session lets its reader in.
            message = "something in the region %s cannot be read and counts as absent: %s"
            self._once.warning(error.cause, message, self.region.name, error)
            return MISSING

    def _counted(self, found: Any, default: Any) -> Any:
        if found is MISSING:
            self._stats.add("misses")
            return default
        self._stats.hit(0.0)
        return found


class _StandsThereError(Exception):
    """There is an object already."""


def _is_over(ttl: float | None) -> bool:
    return ttl is not None and ttl <= 0


def cache_of(cache: Cache | str | None, options: dict[str, Any]) -> Cache:
    """The cache that an adapter was given, with its options. Raises `InvalidOptionError` for those of no cache."""
    if isinstance(cache, str):
        return Cache.from_url(cache, **options)
    if options:
        names = ", ".join(sorted(options))
        raise InvalidOptionError(f"{names}: give these to the cache itself, or a URL in its place")
    return default_cache() if cache is None else cache
