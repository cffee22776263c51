"""The boto3 client of a store and its options, and how the table is found, checked and created.

A client is made when it is first needed, once per process, and never carried over a fork.
"""

from __future__ import annotations

import gc
import os
import re
import threading
import time
import weakref
from contextlib import contextmanager
from queue import LifoQueue
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from dynmemo._process import at_fork, logger
from dynmemo._version import __version__
from dynmemo.errors import InvalidOptionError, InvalidTableError, StoreUnavailableError
from dynmemo.stores.dynamodb.rows import OWN_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.config import Config
    from botocore.session import Session
    from mypy_boto3_dynamodb import DynamoDBClient

    Call = Callable[..., dict[str, Any]]
    """A request on the table by the name of the client's method, with the store's errors."""

KEY_NAME = "id"
TTL_NAME = "ttl_date"
"""The names where none are given or found."""

CREATION_SECONDS = 60.0
"""How long a table may take to be created; DynamoDB needs about ten seconds."""


class Pace(NamedTuple):
    """How much time a request gets; botocore's own settings wait 60 s each."""

    connect_seconds: float
    """Also for sending, as botocore has it."""
    read_seconds: float
    attempts: int
    mode: Literal["standard", "adaptive"] = "standard"


QUICK = Pace(1.0, 1.5, 3)
"""For calls, which compute when no answer comes. With botocore's pauses of up to 1 s and 2 s in between, a request
that is never answered ends within 7.5 s; see docs/explanation/failures.md."""

BULK = Pace(10.0, 20.0, 3)
"""For requests of some MB: behind a slow uplink (10 Mbit/s) they lie longer in buffers than the times above."""

PATIENT = Pace(3.0, 5.0, 7, "adaptive")
"""For jobs of many requests, which a table of little capacity throttles: botocore then sends more slowly, and tries
each for half a minute or more."""

SURE_SECONDS = 60.0
"""How long names that were found anew are not doubted again."""

CONNECTIONS = 32
"""As many as the cache has threads for its async methods."""


class Names(NamedTuple):
    """The two attributes whose names are the table's choice."""

    key: str
    ttl: str


class Connection:
    """Clients, one for each pace, and names that the metered copies of one store share."""

    def __init__(
        self, make: Callable[[Pace], Any], names: Names | None = None, *, own: bool = True, given_client: bool = False
    ) -> None:
        self._make = make
        self._names = self._given = names
        self.is_own = own
        self._given_client = given_client
        self._abandoned: list[Any] = []
        self._clients: dict[Pace, Any] = {}
        self._region: str | None = None
        self._sure_until = 0.0
        self._lock = threading.RLock()
        self.denied: set[str] = set()
        """The batch methods that IAM was found not to allow."""
        _connections.add(self)

    def client(self, pace: Pace = QUICK) -> Any:
        """The client of this process for requests of that pace; one that was given is for all."""
        pace = pace if self.is_own else QUICK
        client = self._clients.get(pace)
        if client is not None:
            return client
        with self._lock:
            if pace not in self._clients:
                self._clients[pace] = self._make(pace)
            return self._clients[pace]

    def names(self, discover: Callable[[], Names]) -> Names:
        """The names, which `discover` finds once; when it raises, the next call tries again."""
        names = self._names
        if names is not None:
            return names
        with self._lock:
            if self._names is None:
                self._names = discover()
            return self._names

    def forget_names(self) -> None:
        """Find the names anew at the next call. Those that were given stay."""
        self._names = self._given

    def doubt_names(self, discover: Callable[[], Names]) -> Names | None:
        """The names found anew, since a row speaks against them; None if that was done within the last minute."""
        with self._lock:
            if self._given is not None or time.monotonic() < self._sure_until:
                return None
            self._sure_until = time.monotonic() + SURE_SECONDS
            self._names = discover()
            return self._names

    @property
    def region(self) -> str | None:
        """The client's region, once there was a client."""
        for client in list(self._clients.values())[:1]:
            self._region = client.meta.region_name
        return self._region

    def forget(self) -> None:
        """Look credentials up anew at the next call, with new clients. A client or factory that was given stays."""
        if self.is_own:
            self._clients.clear()

    def abandon(self, pace: Pace = QUICK) -> None:
        """Use the client no more, which an interrupt left in the middle of a request; one that was given goes on."""
        pace = pace if self.is_own else QUICK
        client = self._clients.get(pace)
        if client is None:
            return
        self._abandoned.append(client)  # for its finalizer may wait for the lock until that is free
        if not self._given_client:
            self._clients.pop(pace, None)
        _free_pools(client)
        self._abandoned.remove(client)

    def close(self) -> None:
        """Close clients that are our own."""
        clients = list(self._clients.values()) if self.is_own else []
        self.forget()
        for client in clients:
            client.close()

    def after_fork(self) -> None:
        """Sockets and locks of the parent are of no use in a child."""
        self._clients = {}
        self._lock = threading.RLock()


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def _after_fork() -> None:
    for connection in _connections:
        connection.after_fork()


at_fork(after_in_child=_after_fork)


def _free_pools(client: object) -> None:
    """Release the locks of a client's connection pools that an interrupt has left held.

    The pools of urllib3 are queues, which take their lock in Python code (`Condition.__enter__`), so Ctrl-C can come
    between the lock and the block that gives it back. The next request would wait for ever, and so would the end of
    the interpreter, at which urllib3 closes all pools.
    """
    seen: set[int] = set()
    left: list[object] = [client]
    while left:
        thing = left.pop()
        if id(thing) in seen or isinstance(thing, (type, ModuleType, FunctionType)):
            continue
        seen.add(id(thing))
        if isinstance(thing, LifoQueue):
            thing.mutex.acquire(timeout=1.0)  # a holder that still runs gives it back sooner
            thing.mutex.release()
        elif str(type(thing).__module__).partition(".")[0] in _PARTS_OF_CLIENTS:
            left += gc.get_referents(thing)


_PARTS_OF_CLIENTS = frozenset(("botocore", "urllib3", "collections", "builtins"))


def live(client: DynamoDBClient) -> Callable[[Pace], Any]:
    """A source for a client that the user made; only the process that made it has its sockets."""
    pid = os.getpid()

    def give(pace: Pace) -> DynamoDBClient:
        if os.getpid() != pid:
            raise StoreUnavailableError(
                "a live boto3 client cannot be used in a forked process; give client_factory= instead of client="
            )
        return client

    return give


def own(
    service: str, region: str | None, profile: str | None, endpoint_url: str | None, config: Config | None
) -> Callable[[Pace], Any]:
    """A source of clients for a service of AWS, with our settings and those of `config` before them."""

    def make(pace: Pace) -> Any:
        import boto3
        import botocore.session

        # A session of its own: the default one is not safe to share between threads while clients are made.
        core = botocore.session.get_session()
        session = boto3.session.Session(region_name=region, profile_name=profile, botocore_session=core)
        return session.client(service, endpoint_url=endpoint_url, config=_settings(config, core, pace))

    return make


def _settings(given: Config | None, session: Session, pace: Pace) -> Config:
    """Our botocore settings, replaced by those `given`; both user agents are told."""
    from botocore.config import Config

    ours = Config(
        connect_timeout=pace.connect_seconds,
        read_timeout=pace.read_seconds,
        retries={"mode": pace.mode, "total_max_attempts": pace.attempts},
        max_pool_connections=CONNECTIONS,
        tcp_keepalive=True,
        # We build the requests ourselves; checking them again takes 2 % of the CPU of a hit.
        parameter_validation=False,
        # Fixed, for botocore puts its own together twice per request, which takes 10 % of the CPU of a hit.
        user_agent=_user_agent(given, session),
    )
    name = f"lib/dynmemo#{__version__}"
    theirs = getattr(given, "user_agent_extra", None)
    merged = ours if given is None else ours.merge(given)
    return merged.merge(Config(user_agent_extra=f"{theirs} {name}" if theirs else name))


def _user_agent(given: Config | None, session: Session) -> str:
    application = getattr(given, "user_agent_appid", None) or session.get_config_variable("user_agent_appid")
    agent: str = session.user_agent()
    return f"{agent} app/{application}" if application else agent


LONGEST_KEY = 2048
"""Bytes that DynamoDB accepts for a partition key."""

_TABLE = re.compile(r"[A-Za-z0-9_.-]{3,255}|arn:[A-Za-z0-9_.:/-]{1,1020}")


def check_table_name(name: object) -> str:
    """A table's name or ARN."""
    if not isinstance(name, str) or not _TABLE.fullmatch(name):
        raise InvalidOptionError(
            f"table_name={name!r} is no DynamoDB table; give 3 to 255 letters, digits, '_', '-' and '.', or an ARN"
        )
    return name


def check_names(key_name: object, ttl_name: object) -> None:
    """Names of partition key and TTL attribute, where given."""
    for option, name in (("partition_key_name", key_name), ("ttl_attribute_name", ttl_name)):
        if name is None:
            continue
        if not isinstance(name, str) or not 1 <= len(name) <= 255:
            raise InvalidOptionError(
                f"{option}={name!r} is no attribute name; give a text of 1 to 255 characters, or None"
            )
        if name in OWN_NAMES:
            raise InvalidOptionError(
                f"{option}={name!r} is taken by another attribute of an entry; choose another name"
            )
    if key_name is not None and key_name == ttl_name:
        raise InvalidOptionError(f"ttl_attribute_name={ttl_name!r} is the partition key; choose another name")


def check_prefix(prefix: object) -> str:
    """What stands before every key, the provider's own ``dc:`` included."""
    if prefix is None or prefix == "":
        return "dc:"
    if not isinstance(prefix, str):
        raise InvalidOptionError(f"partition_key_prefix takes a text, not {type(prefix).__name__}")
    return f"{prefix}:dc:"


def check_endpoint(url: object) -> str | None:
    """An endpoint that can be shown in messages."""
    if url is None:
        return None
    if isinstance(url, str):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.username is None:
            return url
    raise InvalidOptionError("endpoint_url takes a URL such as http://localhost:8000, without user and password")


def check_sources(client: object, factory: object, **settings: object) -> None:
    """A client that is given brings its own settings."""
    given = [name for name, value in (("client", client), ("client_factory", factory)) if value is not None]
    if not given:
        return
    if factory is not None and not callable(factory):
        raise InvalidOptionError(
            f"client_factory takes a callable that returns a boto3 client, not {type(factory).__name__}"
        )
    others = given[1:] + [name for name, value in settings.items() if value is not None]
    if others:
        raise InvalidOptionError(f"{given[0]}= comes with its own settings; leave out {', '.join(others)}")


def check_flag(option: str, value: object) -> bool:
    """True or False, nothing that merely counts as one."""
    if not isinstance(value, bool):
        raise InvalidOptionError(f"{option}= takes True or False, not {value!r}")
    return value


def check_partition_key(partition_key: str, prefix: str) -> str:
    """A key that DynamoDB can hold, prefix included."""
    try:
        size = len(partition_key.encode())
    except UnicodeEncodeError:
        raise InvalidOptionError("the key has characters that UTF-8 cannot encode (lone surrogates)") from None
    if size > LONGEST_KEY:
        taken = len(prefix.encode())
        raise InvalidOptionError(
            f"the key has {size - taken:,} bytes; DynamoDB takes up to {LONGEST_KEY - taken:,} after {prefix!r}"
        )
    return partition_key


def discover(call: Call, table: str, key_name: str | None, ttl_name: str | None, *, create: bool) -> Names:
    """The names of partition key and TTL attribute of a table that can serve, creating it when `create` is set.

    Asks for what was not given, as the .NET provider does, so a role needs no more than that; with `create` for both.

    Raises:
        InvalidTableError: the table is missing, or its key is no string, not `key_name`, or has a sort key.
        StoreUnavailableError: DynamoDB did not answer or did not allow it.
    """
    if create or key_name is None:
        key_name = _key_name(call, table, key_name, ttl_name, create=create)
    if create or ttl_name is None:
        ttl_name = _ttl_name(call, table, ttl_name)
    names = Names(key_name, ttl_name)
    if names.ttl in OWN_NAMES or names.ttl == names.key:
        raise InvalidTableError(
            f"the DynamoDB table {table!r} has its TTL on the attribute {names.ttl!r}, which holds something else "
            "in a cache; use another table, or another TTL attribute"
        )
    return names


def _key_name(call: Call, table: str, given: str | None, ttl_name: str | None, *, create: bool) -> str:
    """The partition key of the table, which is created when it is missing and `create` is set."""
    description = describe(call, create=create)
    if description is None:
        logger.info("dynmemo creates the DynamoDB table %r", table)
        with _unless("ResourceInUseException"):  # somebody else creates it right now
            call(
                "create_table",
                AttributeDefinitions=[{"AttributeName": given or KEY_NAME, "AttributeType": "S"}],
                KeySchema=[{"AttributeName": given or KEY_NAME, "KeyType": "HASH"}],
                BillingMode="PAY_PER_REQUEST",
            )
    if description is None or (create and description["TableStatus"] == "CREATING"):
        description = _wait_until_active(call, table)
        specification = {"Enabled": True, "AttributeName": ttl_name or TTL_NAME}
        # A concurrent creator has enabled it already, or is doing so; what came of it is described next.
        with _unless("ValidationException", "ResourceInUseException"):
            call("update_time_to_live", TimeToLiveSpecification=specification)
    return _checked_key(description, given)


@contextmanager
def _unless(*codes: str) -> Iterator[None]:
    """What fails with one of these codes is done by somebody else."""
    try:
        yield
    except StoreUnavailableError as error:
        if error.code not in codes:
            raise


def describe(call: Call, *, create: bool) -> dict[str, Any] | None:
    """DescribeTable's answer; None for a missing table that may be created."""
    try:
        description: dict[str, Any] = call("describe_table")["Table"]
    except InvalidTableError:  # of this request it means that there is none
        if create:
            return None
        raise
    return description


def _wait_until_active(call: Call, table: str) -> dict[str, Any]:
    until = time.monotonic() + CREATION_SECONDS
    pause = 0.1
    while True:
        # Just after CreateTable the description may not be there yet.
        description = describe(call, create=True)
        if description is not None and description["TableStatus"] == "ACTIVE":
            return description
        if time.monotonic() > until:
            raise StoreUnavailableError(
                f"the DynamoDB table {table!r} was not ready {CREATION_SECONDS:.0f} s after its creation; try later",
                operation="CreateTable",
                table=table,
            )
        time.sleep(pause)
        pause = min(pause * 2, 2.0)


def _checked_key(description: dict[str, Any], key_name: str | None) -> str:
    table = description["TableName"]
    if len(description["KeySchema"]) > 1:
        raise InvalidTableError(
            f"the DynamoDB table {table!r} has a sort key; a cache needs one with a partition key only"
        )
    name: str = description["KeySchema"][0]["AttributeName"]
    types = {
        attribute["AttributeName"]: attribute["AttributeType"] for attribute in description["AttributeDefinitions"]
    }
    if types[name] != "S":
        raise InvalidTableError(
            f"the partition key {name!r} of the DynamoDB table {table!r} has the type {types[name]}; "
            "a cache needs a string (S)"
        )
    if key_name is not None and key_name != name:
        raise InvalidTableError(
            f"the partition key of the DynamoDB table {table!r} is {name!r}, not {key_name!r}; "
            "correct partition_key_name or leave it out"
        )
    if name in OWN_NAMES:
        raise InvalidTableError(
            f"the partition key of the DynamoDB table {table!r} is {name!r}, which holds something else in a cache; "
            "use another table"
        )
    return name


def _ttl_name(call: Call, table: str, given: str | None) -> str:
    """The TTL attribute: the given one, else the table's, else the default."""
    description = call("describe_time_to_live")["TimeToLiveDescription"]
    # While TTL is being disabled the description still names its attribute, and the .NET provider still writes it.
    described = description.get("AttributeName")
    name: str = given or described or TTL_NAME
    if described != name or description["TimeToLiveStatus"] not in ("ENABLED", "ENABLING"):
        logger.warning(
            "The DynamoDB table %r has no Time to Live (TTL) enabled on the attribute %r: expired entries are not "
            "served, but they stay and are paid for. Enable TTL on that attribute.",
            table,
            name,
        )
    return name
