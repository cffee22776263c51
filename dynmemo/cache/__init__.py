"""`Cache`: bytes by key with expiration, what `IDistributedCache` is to .NET."""

from __future__ import annotations

import contextvars
import functools
import os
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo import expiry, views
from dynmemo._process import Once
from dynmemo.cache.by_key import ByKey, Region
from dynmemo.cache.options import (
    CONSTRUCTORS,
    build_url,
    checked_compression,
    checked_encrypt,
    checked_lease_seconds,
    checked_max_value_bytes,
    checked_namespace,
    checked_near,
    checked_near_max_bytes,
    checked_path,
    checked_refresh_after,
    checked_secrets,
    checked_switch,
    parameters_of,
    parse_url,
)
from dynmemo.errors import InvalidOptionError, StoreUnavailableError, ValueTooLargeError
from dynmemo.expiry import Lifetime
from dynmemo.failures import WRITING, Breaker
from dynmemo.generations import Generations
from dynmemo.near import NEAR_MAX_BYTES, Near
from dynmemo.stores.files import COPIES_MAX_BYTES

# Not when it is first needed: a handler of signals that calls a function meanwhile would find half of it.
from dynmemo.stores.sqlite import MAX_BYTES, SqliteStore
from dynmemo.tracebacks import short_tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from botocore.config import Config
    from mypy_boto3_dynamodb import DynamoDBClient

    from dynmemo.counters import Meter
    from dynmemo.expiry import Duration, Ttl
    from dynmemo.item import Item, Store

T = TypeVar("T")
Secret = str | bytes | Sequence[str | bytes]

MAX_VALUE_BYTES = {"dynamodb": 64_000_000, "sqlite": None}
"""Of a cache that is not told otherwise. On DynamoDB a write of that size costs 62,500 write units (4 US cents on
demand in 2026), which a new table takes in 16 s; SQLite holds no more in a row."""

LEASE_SECONDS = 30.0

ASYNC_THREADS = 32
"""Threads for the async methods, as many as the DynamoDB client keeps connections."""


class Cache(ByKey):
    """Bytes by key, with absolute, relative and sliding expiration, in SQLite or DynamoDB.

    Make one with `Cache.sqlite`, `Cache.dynamodb` or `Cache.from_url`. No constructor does I/O;
    the first operation connects. A cache may be used from any thread, and in forked and spawned children.

    The rows are those of the AWS .NET Distributed Cache Provider for DynamoDB, which may share the table.

    Example:
        >>> cache = Cache.sqlite("cache.db", default_ttl="7d")
        >>> cache.set("greeting", b"hello", sliding="1h")
        >>> cache.get("greeting")
        b'hello'
        >>> cache.remove("greeting"), cache.get("greeting")
        (True, None)

    Args:
        store: where the rows lie; one of your own is made of what `dynmemo.stores` has.
        secret: signs what decorated functions store and is required to read it. One or several (text or bytes);
            the first signs, all are accepted. Default: the environment's ``DYNMEMO_SECRET``, separated by commas.
            Empty means none.
        encrypt: also encrypt what decorated functions store (extra ``crypto``). Needs a secret.
        max_value_bytes: largest value in bytes that is accepted, as it is stored. Default: what the store can hold;
            64,000,000 for `Cache.dynamodb`, where writing that much takes 62,500 write units; `max_bytes` for
            `Cache.sqlite`.
        compression: of what decorated functions store: ``"zstd"`` where it gets smaller by that, ``"none"``, or
            ``"auto"``: zstd where bytes cost money, on DynamoDB and S3, and none in SQLite, where it would take longer
            than reading the bytes. What is stored can be read with any of them.
        near: on DynamoDB, for how long after reading a small entry a process may use it again without a request
            (decorated functions only), so for how long what others change may go unseen. Text, seconds or a
            `timedelta`; at least a second. In SQLite entries are near as long as the file has not changed, and nothing
            goes unseen. Default: not at all.
        near_max_bytes: bytes of such entries that a process keeps in memory; 0 for none. Default: 32,000,000.
        default_ttl: used where no `ttl` is given. Default: entries never expire.
        refresh_after: part (0 to 1) of the sliding window that must have gone by before a read moves the
            date again. Default: 0 for `get` (every read, as .NET does), 0.1 for decorated functions, since
            DynamoDB bills the whole item for it.
        lease_seconds: how long a computation of a decorated function is waited for that gives no sign of life, at least
            a second. It is renewed every third of that. Default: 30.
        namespace: a name of its own for all functions and regions of the cache, so that it shares none of them with
            others in the same place; what `set` stores has the keys that are given. Default: none.
        origin: store with each result of a decorated function where it comes from (`Entry.origin`), and in its lease
            who computes it: user, machine, process, notebook or script, commit, versions; some 300 bytes, not
            encrypted. Default: yes.
        clock: gives Unix seconds.
    """

    @short_tracebacks
    def __init__(
        self,
        store: Store = None,  # type: ignore[assignment]  # so that this says itself what is missing
        *,
        secret: Secret | None = None,
        encrypt: bool = False,
        max_value_bytes: int | None = None,
        compression: str = "auto",
        near: Duration | None = None,
        near_max_bytes: int = NEAR_MAX_BYTES,
        default_ttl: Duration | None = None,
        refresh_after: float | None = None,
        lease_seconds: Duration = LEASE_SECONDS,
        namespace: str | None = None,
        origin: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        given: object = store
        if not hasattr(given, "metered"):
            kind = "nothing" if given is None else type(given).__name__
            raise InvalidOptionError(
                f"Cache() takes a store, not {kind}; make a cache with Cache.sqlite('cache.db'), "
                "Cache.dynamodb('weather_cache') or Cache.from_url(url)"
            )
        self.store = store
        self.clock = clock
        self.secrets = checked_secrets(secret)
        self.encrypt = checked_encrypt(encrypt, self.secrets)
        self.max_value_bytes = checked_max_value_bytes(max_value_bytes)
        self.near: Near[Any] = Near(checked_near_max_bytes(near_max_bytes), checked_near(near, store))
        self.compress = checked_compression(compression) != "none"
        self.default_ttl = None if default_ttl is None else expiry.parse_lasting(default_ttl, "default_ttl", clock())
        self.refresh_after = checked_refresh_after(refresh_after)
        self.lease_seconds = checked_lease_seconds(lease_seconds)
        self.namespace = checked_namespace(namespace)
        self.generations = Generations(namespace=self.namespace)
        """As this process last read them."""
        self.origin = checked_switch(origin, "origin")
        self.breaker = Breaker()
        """For what decorated functions read; the methods of this class always ask the store."""
        self.write_breaker = Breaker(words=WRITING)
        """For what decorated functions write. Reads that succeed would hide, in one circuit, that every write fails."""
        self._once = Once()
        self._recipe: tuple[str, dict[str, object]] | None = None
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    @classmethod
    @short_tracebacks
    def sqlite(
        cls,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        memory_map: bool = True,
        copies_max_bytes: int = COPIES_MAX_BYTES,
        secret: Secret | None = None,
        encrypt: bool = False,
        max_value_bytes: int | None = None,
        compression: str = "auto",
        near_max_bytes: int = NEAR_MAX_BYTES,
        overflow: str | None = None,
        default_ttl: Duration | None = None,
        refresh_after: float | None = None,
        lease_seconds: Duration = LEASE_SECONDS,
        namespace: str | None = None,
        origin: bool = True,
    ) -> Cache:
        """A cache in one SQLite file, created private to the user when it is missing.

        Example:
            >>> Cache.sqlite("cache.db", max_bytes=1_000_000_000).get("greeting") is None
            True

        Args:
            path: the file; a relative one is taken from the present working directory.
            max_bytes: size of the file and of the values beside it in bytes beyond which expired entries, then the
                least recently stored ones are removed. Default: 5,000,000,000.
            memory_map: map large values into memory when they are read: arrays and frames are there at once, and take
                memory only where they are looked at. Whoever truncates a file of the cache by hand kills the programs
                that have it mapped. Default: yes, but not on network filesystems, and not with a secret, since what
                was verified has to be what is read.
            copies_max_bytes: bytes of the copies of values in S3 (`overflow`) that are kept in the user's cache folder
                for all processes of the user; 0 for no copies. Default: 2,000,000,000.
            overflow: ``"s3://bucket/prefix"``, where values beyond `max_value_bytes` are kept. Default: they are
                refused.

        The other options are those of `Cache`.

        Raises:
            InvalidOptionError: for options that are not allowed; also for ``":memory:"``, for a cache is a file.
        """
        return _make("sqlite", {**_given("sqlite", locals()), "path": checked_path(path)})

    @classmethod
    @short_tracebacks
    def dynamodb(
        cls,
        table_name: str,
        *,
        partition_key_name: str | None = None,
        ttl_attribute_name: str | None = None,
        partition_key_prefix: str | None = None,
        create_table_if_not_exists: bool = False,
        use_consistent_reads: bool = True,
        region: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
        config: Config | None = None,
        copies_max_bytes: int = COPIES_MAX_BYTES,
        client: DynamoDBClient | None = None,
        client_factory: Callable[[], DynamoDBClient] | None = None,
        secret: Secret | None = None,
        encrypt: bool = False,
        max_value_bytes: int | None = None,
        compression: str = "auto",
        near: Duration | None = None,
        near_max_bytes: int = NEAR_MAX_BYTES,
        overflow: str | None = None,
        default_ttl: Duration | None = None,
        refresh_after: float | None = None,
        lease_seconds: Duration = LEASE_SECONDS,
        namespace: str | None = None,
        origin: bool = True,
    ) -> Cache:
        """A cache in a DynamoDB table with a string partition key and no sort key.

        Example:
            >>> Cache.dynamodb("weather_cache", region="eu-west-1", near="30s").url
            'dynamodb://weather_cache?near=30s&region=eu-west-1'

        Args:
            table_name: the table.
            partition_key_name, ttl_attribute_name: names of the partition key and of the TTL attribute. When both are
                given, no `Describe*` call is made; otherwise `DescribeTable` and `DescribeTimeToLive` find them at the
                first operation.
            partition_key_prefix: partition keys become ``{prefix}:dc:{key}``, for IAM's ``dynamodb:LeadingKeys``.
            create_table_if_not_exists: create an on-demand table with TTL enabled when it is missing; for development.
            use_consistent_reads: strongly consistent reads (one read unit per 4 KB) or eventually consistent ones
                (half). With `near` the look-ups of decorated functions are strongly consistent in any case.
            region, profile, endpoint_url: for boto3; default: its own chain of configuration.
            config: a `botocore.config.Config` whose settings replace dynmemo's (short timeouts, few retries).
            copies_max_bytes: bytes of the copies of large values that are kept in the user's cache folder for all
                processes of the user, so that a hit reads only the small row; 0 for no copies. They are what lies in
                the table, encrypted values encrypted. Default: 2,000,000,000.
            client: a boto3 DynamoDB client to use as it is. Such a cache cannot be pickled.
            client_factory: called without arguments, once per process, for the client.
            overflow: ``"s3://bucket/prefix"``, where values beyond `max_value_bytes` are kept, with boto3's own
                endpoint and the `region`, `profile` and `config` given here. Default: they are refused.

        The other options are those of `Cache`.

        Raises:
            InvalidOptionError: for options that are not allowed. A table that cannot serve raises `InvalidTableError`
                at the first operation.
        """
        return _make("dynamodb", _given("dynamodb", locals()))

    @classmethod
    @short_tracebacks
    def from_url(cls, url: str, **options: Any) -> Cache:
        """The cache of a URL; equal URLs with equal options share one cache per process.

        ``dynamodb://weather_cache?region=eu-west-1&create_table_if_not_exists=true`` or
        ``sqlite:////absolute/path.db``; every plain option of the constructors can stand there.

        Args:
            options: of the constructor, in place of those in the URL.

        Example:
            >>> Cache.from_url("sqlite:///cache.db") is Cache.from_url("sqlite:///cache.db")
            True

        Raises:
            InvalidOptionError: for a URL that is not of this form, and for an option that there is not.
        """
        kind, arguments = parse_url(url)
        if kind == "sqlite":
            arguments["path"] = checked_path(arguments["path"])
        for name in options:
            if name not in parameters_of(CONSTRUCTORS[kind]) or name in {"path", "table_name"}:
                raise InvalidOptionError(f"{name!r} is no option of a {kind} cache, see help(dynmemo.Cache.{kind})")
        return _shared(kind, {**arguments, **options})

    def metered(self, meter: Meter) -> Cache:
        """The same cache, connections included, that also counts its requests in `meter`."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, store=self.store.metered(meter), _pool=None)
        return twin

    def in_namespace(self, name: str) -> Cache:
        """The same cache but for its namespace; that of a process with equal options is one.

        Raises:
            InvalidOptionError: it was made from a live store, or the name is none.
        """
        if self._recipe is None:
            raise InvalidOptionError("a Cache made from a store gets its namespace there: Cache(store, namespace=...)")
        kind, arguments = self._recipe
        return _shared(kind, {**arguments, "namespace": checked_namespace(name) or None})

    def region(self, name: str) -> Region:
        """The part of this cache with that name: its keys are its own, and it can be forgotten by one write.

        Raises:
            InvalidOptionError: for a name that is no text, or empty.
        """
        return Region(self, name)

    @property
    def _cache(self) -> Cache:
        return self

    @property
    def url(self) -> str | None:
        """The URL of this cache, without its secret; None when it has options that cannot stand in one."""
        return None if self._recipe is None else build_url(*self._recipe)

    def environment_secret(self) -> str | None:
        """Its own secret as ``DYNMEMO_SECRET`` says it: empty without one, None if a variable cannot hold it."""
        if self._recipe is None or "secret" not in self._recipe[1]:
            return ""
        try:
            texts = [secret.decode() for secret in self.secrets]
        except UnicodeDecodeError:
            return None
        return None if any("," in text or text != text.strip() for text in texts) else ",".join(texts)

    def __repr__(self) -> str:
        return f"<dynmemo.Cache {self.url or self.store.location}: {self._state()}>"

    def _repr_html_(self) -> str:
        trust = "encrypted" if self.encrypt else "signed" if self.secrets else "neither signed nor encrypted"
        ttl = "never" if self.default_ttl is None else views.duration(self.default_ttl)
        limit = "" if self.max_value_bytes is None else views.size(self.max_value_bytes)
        rows = (("url", self.url or ""), ("results", trust), ("expire by default", ttl), ("largest value", limit))
        return views.page(self.store.location, self._state(), views.facts(rows))

    def _state(self) -> str:
        """How it does, as the decorated functions of this process know it."""
        if self.breaker.is_open:
            return "out of order"
        return "writing is out of order" if self.write_breaker.is_open else "in order"

    def __dynmemo_digest__(self) -> object:
        """In the code and arguments of decorated functions it counts by its place, as other connections do."""
        return self.store.location

    @property
    def can_travel(self) -> bool:
        """Whether it can be sent to another process."""
        return self._recipe is not None and "client" not in self._recipe[1]

    def __reduce__(self) -> tuple[object, ...]:
        if self._recipe is None:
            raise InvalidOptionError(
                "a Cache made from a store, as Cache(store), cannot be sent to another process; put it, and the "
                "functions that use it, into a module that the other process imports, which then makes its own"
            )
        if not self.can_travel:
            raise InvalidOptionError(
                "a Cache made from a live client cannot be sent to another process; "
                "give Cache.dynamodb(..., client_factory=...) or a URL instead"
            )
        return (_shared, self._recipe)

    async def run(self, function: Callable[..., T], *args: object) -> T:
        """Call a blocking function in this cache's own thread pool, which no other library can fill up.

        It runs in the caller's context, by which a computation that waits for itself is recognised.
        """
        import asyncio

        call = functools.partial(contextvars.copy_context().run, function, *args)
        try:
            running = asyncio.get_running_loop().run_in_executor(self._threads(), call)
        except RuntimeError:
            # When the main thread has ended, no pool takes work, though loops in other threads may go on for long.
            if threading.main_thread().is_alive():
                raise
            return call()
        return await running

    def lifetime(self, ttl: Ttl | None, sliding: Duration | None, now: float) -> Lifetime:
        """Checked expiration options, the cache's `default_ttl` filled in."""
        return Lifetime.parse(self.default_ttl if ttl is None else ttl, sliding, now)

    def check_size(self, size: int) -> None:
        """Raise `ValueTooLargeError` if a value of `size` bytes is more than `max_value_bytes`."""
        if self.max_value_bytes is not None and size > self.max_value_bytes:
            raise ValueTooLargeError(
                f"the value has {size:,} bytes, max_value_bytes is {self.max_value_bytes:,}; raise that limit, "
                'or give the cache overflow="s3://bucket/prefix" to keep larger values in S3'
            )

    def slide(self, store: Store, key: str, item: Item, refresh_after: float) -> None:
        """Move the date of a row just read if its window says so; a failure is logged and harms nobody."""
        date = expiry.refreshed_date(item, self.clock(), refresh_after)
        if date is None:
            return
        try:
            store.touch(key, item, date)
        except StoreUnavailableError as error:
            self._once.warning(("touch", error.code), "dynmemo could not extend an entry's sliding window: %s", error)

    def _threads(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        pid, pool = os.getpid(), self._pool
        # Threads do not survive a fork, so a child starts its own. No lock: an executor made twice costs nothing.
        if pool is None or pool[0] != pid:
            self._pool = pool = (pid, ThreadPoolExecutor(ASYNC_THREADS, thread_name_prefix="dynmemo"))
        return pool[1]

    def close(self) -> None:
        """Give threads and connections back; the next operation opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None and pool[0] == os.getpid():
            pool[1].shutdown(wait=False)
        self.store.close()


_caches: dict[object, Cache] = {}


CONSTRUCTORS.update(sqlite=Cache.sqlite, dynamodb=Cache.dynamodb)


def _given(kind: str, arguments: dict[str, object]) -> dict[str, object]:
    """The arguments that differ from their defaults: what a URL or a pickle has to carry."""
    options = parameters_of(CONSTRUCTORS[kind])
    return {
        name: tuple(value) if isinstance(value, list) else value  # several secrets, and hashable
        for name, value in arguments.items()
        if name in options and value is not None and value != options[name].default
    }


def _make(kind: str, arguments: dict[str, object]) -> Cache:
    limit = checked_max_value_bytes(arguments.get("max_value_bytes", MAX_VALUE_BYTES[kind]))
    of_cache = {name: value for name, value in arguments.items() if name in parameters_of(Cache)}
    of_store = {name: value for name, value in arguments.items() if name not in of_cache and name != "overflow"}
    if "overflow" in arguments:
        from dynmemo.stores.s3 import Bucket

        shared = {name: of_store[name] for name in ("region", "profile", "config") if name in of_store}
        of_store["overflow"] = Bucket(arguments["overflow"], limit or of_store.get("max_bytes", MAX_BYTES), **shared)  # type: ignore[arg-type]  # checked by Bucket itself
        limit = None
    elif kind == "sqlite" and of_cache.get("compression", "auto") == "auto":
        of_cache["compression"] = "none"
    store = _store_of(kind)(**of_store)
    cache = Cache(store, **{**of_cache, "max_value_bytes": limit})  # type: ignore[arg-type]  # checked by Cache itself
    cache._recipe = (kind, arguments)
    return cache


def _store_of(kind: str) -> Callable[..., Store]:
    if kind == "sqlite":
        return SqliteStore
    if kind == "dynamodb":
        from dynmemo.stores.dynamodb import DynamoDBStore

        return DynamoDBStore
    raise ValueError(kind)


def _shared(kind: str, arguments: dict[str, object]) -> Cache:
    """The one cache of this process with these arguments; also how a pickled cache arrives."""
    try:
        key: object = (kind, frozenset(_given(kind, arguments).items()), os.environ.get("DYNMEMO_SECRET"))
        hash(key)
    except TypeError:
        return _make(kind, arguments)
    return _caches.get(key) or _caches.setdefault(key, _make(kind, _given(kind, arguments)))
