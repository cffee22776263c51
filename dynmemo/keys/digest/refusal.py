"""Values without a content of their own, and what to say about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from dynmemo.keys.digest.names import type_name

if TYPE_CHECKING:
    from dynmemo.keys.digest.node import Handler

_ADVICE = "ame the parameter in ignore=, or register a digest."


class NoStableContent(Exception):  # noqa: N818 - the room above turns it into the error that users see
    """A value, or something inside it, has no content that could stand for it.

    Attributes:
        path: where it is, for example ``jobs[2].source``.
        type_name: the qualified name of its type.
        reason: what it is: ``a generator, which has no stable content``.
        advice: what to do, as a sentence.
    """

    def __init__(self, path: str, type_name: str, reason: str, advice: str) -> None:
        super().__init__(f"`{path}` is {reason}. {advice}")
        self.path = path
        self.type_name = type_name
        self.reason = reason
        self.advice = advice

    def __reduce__(self) -> tuple[object, ...]:
        return NoStableContent, (self.path, self.type_name, self.reason, self.advice)


class Refusal(Exception):  # noqa: N818 - never leaves this package
    """What `NoStableContent` says, from a place that does not know the path."""

    def __init__(self, cls: type, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.type_name = type_name(cls)
        self.reason = reason
        self.hint = hint

    def at(self, path: str) -> NoStableContent:
        advice = f"{self.hint}, n{_ADVICE}" if self.hint else f"N{_ADVICE}"
        return NoStableContent(path, self.type_name, self.reason, advice)

    def __reduce__(self) -> tuple[object, ...]:
        # Dask sends the context of an exception along.
        return self.at("value").__reduce__()


_LIST, _PATH, _OPEN_INSIDE = "Pass a list", "Pass its path or its content", "Pass what it takes to open it"
_LOCK, _FUTURE = ("a lock", ""), ("a future", "Pass its result")
_QUEUE, _CONNECTION = ("a queue", _LIST), ("a live connection", _OPEN_INSIDE)

_NAMED: dict[str, tuple[str, str]] = {
    "builtins.generator": ("a generator", _LIST),
    "builtins.async_generator": ("an async generator", _LIST),
    "builtins.coroutine": ("a coroutine object", "Await it and pass the result"),
    "builtins.module": ("a module", "Pass its name"),
    "builtins.frame": ("a frame", ""),
    "builtins.traceback": ("a traceback", ""),
    "_io._IOBase": ("an open file", _PATH),
    "tempfile._TemporaryFileWrapper": ("an open file", _PATH),
    "mmap.mmap": ("an open file", _PATH),
    "zipfile.ZipFile": ("an open file", _PATH),
    "tarfile.TarFile": ("an open file", _PATH),
    "pyarrow._dataset.Dataset": ("a dataset in files", _PATH),
    "pyarrow.lib.NativeFile": ("an open file", _PATH),
    "pyarrow.parquet.core.ParquetFile": ("an open file", _PATH),
    "_socket.socket": ("a socket", "Pass its address"),
    "ssl.SSLContext": ("an SSL context", _OPEN_INSIDE),
    "_thread.lock": _LOCK,
    "_thread.RLock": _LOCK,
    "threading.Condition": _LOCK,
    "threading.Event": _LOCK,
    "threading.Semaphore": _LOCK,
    "threading.Barrier": _LOCK,
    "asyncio.locks.Lock": _LOCK,
    "asyncio.locks.Condition": _LOCK,
    "asyncio.locks.Event": _LOCK,
    "asyncio.locks.Semaphore": _LOCK,
    "multiprocessing.synchronize.SemLock": _LOCK,
    "threading.Thread": ("a thread", ""),
    "_thread._local": ("thread-local data", ""),
    "_thread._localdummy": ("thread-local data", ""),
    "multiprocessing.process.BaseProcess": ("a process", ""),
    "subprocess.Popen": ("a process", ""),
    "concurrent.futures._base.Executor": ("an executor", ""),
    "concurrent.futures._base.Future": _FUTURE,
    "_asyncio.Future": _FUTURE,
    "_asyncio.Task": _FUTURE,
    "asyncio.futures.Future": _FUTURE,
    "asyncio.events.AbstractEventLoop": ("an event loop", ""),
    "queue.Queue": _QUEUE,
    "_queue.SimpleQueue": _QUEUE,
    "asyncio.queues.Queue": _QUEUE,
    "multiprocessing.queues.Queue": _QUEUE,
    "weakref.ReferenceType": ("a weak reference", "Pass the object"),
    "weakref.ProxyType": ("a weak reference", "Pass the object"),
    "weakref.CallableProxyType": ("a weak reference", "Pass the object"),
    "_contextvars.ContextVar": ("a context variable", "Pass its value"),
    "sqlite3.Connection": _CONNECTION,
    "sqlite3.Cursor": _CONNECTION,
    "http.client.HTTPConnection": _CONNECTION,
    "botocore.client.BaseClient": _CONNECTION,
    "botocore.session.Session": _CONNECTION,
    "boto3.resources.base.ServiceResource": _CONNECTION,
    "boto3.session.Session": _CONNECTION,
    "sqlalchemy.engine.base.Connection": _CONNECTION,
    "sqlalchemy.engine.base.Engine": _CONNECTION,
    "sqlalchemy.ext.asyncio.engine.AsyncConnection": _CONNECTION,
    "sqlalchemy.ext.asyncio.engine.AsyncEngine": _CONNECTION,
    "sqlalchemy.ext.asyncio.session.AsyncSession": _CONNECTION,
    "sqlalchemy.orm.session.Session": _CONNECTION,
    "psycopg.Connection": _CONNECTION,
    "psycopg.AsyncConnection": _CONNECTION,
    "psycopg2.extensions.connection": _CONNECTION,
    "pymysql.connections.Connection": _CONNECTION,
    "redis.client.Redis": _CONNECTION,
    "pymongo.mongo_client.MongoClient": _CONNECTION,
    "pymongo.synchronous.mongo_client.MongoClient": _CONNECTION,
    "httpx.Client": _CONNECTION,
    "httpx.AsyncClient": _CONNECTION,
    "duckdb.DuckDBPyConnection": _CONNECTION,
    "_duckdb.DuckDBPyConnection": _CONNECTION,
    "pyspark.sql.session.SparkSession": _CONNECTION,
}


def refuser(cls: type, noun: str, hint: str = "") -> Handler:
    """A handler that refuses every value of `cls`, which is called `noun`."""

    def refuse(_: Any) -> NoReturn:
        raise Refusal(cls, f"{noun}, which has no stable content", hint)

    return refuse


def refused(cls: type) -> Handler | None:
    """A handler that refuses `cls`, or None for a type that may have content."""
    for base in cls.__mro__:
        known = _NAMED.get(type_name(base))
        if known is not None:
            return refuser(cls, *known)
    # What gives its items away only once looks the same before and after; a copy of it may even pickle.
    if hasattr(cls, "__next__") and hasattr(cls, "__iter__"):
        return refuser(cls, "an iterator", _LIST)
    return None
