"""The boto3 client of a store: made when first needed, once per process, and never carried over a fork."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from dynmemo._version import __version__
from dynmemo.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.config import Config
    from botocore.session import Session
    from mypy_boto3_dynamodb import DynamoDBClient


class Pace(NamedTuple):
    """How much time a request gets; botocore's own settings wait 60 s each."""

    connect_seconds: float
    """Also for sending, as botocore has it."""
    read_seconds: float
    attempts: int
    mode: Literal["standard", "adaptive"] = "standard"


QUICK = Pace(1.0, 1.5, 3)
"""For calls, which can go on without an answer. With botocore's pauses of up to 1 s and 2 s in between, a request that
is never answered ends within 7.5 s; see docs/explanation/failures.md."""

BULK = Pace(10.0, 20.0, 3)
"""For requests of some MB: behind a slow uplink (10 Mbit/s) they lie longer in buffers than the times above."""

PATIENT = Pace(3.0, 5.0, 7, "adaptive")
"""For jobs of many requests, which a table of little capacity throttles: botocore then sends more slowly, and tries
each for half a minute or more."""

CONNECTIONS = 32
"""As many as the cache has threads for its async methods."""


class Names(NamedTuple):
    """The two attributes whose names are the table's choice."""

    key: str
    ttl: str


class Connection:
    """Client and names that the metered copies of one store share."""

    def __init__(self, make: Callable[[], DynamoDBClient], names: Names | None, *, own: bool) -> None:
        self._make = make
        self._names = self._given = names
        self._own = own
        self._client: DynamoDBClient | None = None
        self._region: str | None = None
        self._lock = threading.RLock()
        self.batches_denied = False
        """Whether IAM was found not to allow BatchGetItem."""
        self.batch_writes_denied = False
        """Whether IAM was found not to allow BatchWriteItem."""
        _connections.add(self)

    def client(self) -> DynamoDBClient:
        """The client of this process."""
        client = self._client
        if client is not None:
            return client
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

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

    @property
    def region(self) -> str | None:
        """The client's region, once there was a client."""
        client = self._client
        if client is not None:
            self._region = client.meta.region_name
        return self._region

    def forget(self) -> None:
        """Look credentials up anew at the next call, with a new client. A client or factory that was given stays."""
        if self._own:
            self._client = None

    def close(self) -> None:
        """Close a client that is our own."""
        client = self._client
        self.forget()
        if self._own and client is not None:
            client.close()

    def after_fork(self) -> None:
        """Sockets and locks of the parent are of no use in a child."""
        self._client = None
        self._lock = threading.RLock()


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def _after_fork() -> None:
    for connection in _connections:
        connection.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def live(client: DynamoDBClient) -> Callable[[], DynamoDBClient]:
    """A source for a client that the user made; only the process that made it has its sockets."""
    pid = os.getpid()

    def give() -> DynamoDBClient:
        if os.getpid() != pid:
            raise StoreUnavailableError(
                "a live boto3 client cannot be used in a forked process; give client_factory= instead of client="
            )
        return client

    return give


def own(
    region: str | None, profile: str | None, endpoint_url: str | None, config: Config | None
) -> Callable[[], DynamoDBClient]:
    """A source of clients with our settings, those of `config` before them."""
    return own_of("dynamodb", region, profile, endpoint_url, config)


def own_of(
    service: str,
    region: str | None,
    profile: str | None,
    endpoint_url: str | None,
    config: Config | None,
    pace: Pace = QUICK,
) -> Callable[[], Any]:
    """The same for any service of AWS."""

    def make() -> Any:
        import boto3
        import botocore.session

        from dynmemo.stores.dynamodb.deadline import bound_answers

        # A session of its own: the default one is not safe to share between threads while clients are made.
        core = botocore.session.get_session()
        session = boto3.session.Session(region_name=region, profile_name=profile, botocore_session=core)
        client = session.client(service, endpoint_url=endpoint_url, config=_settings(config, core, pace))
        if service == "dynamodb":  # objects of S3 may be read for as long as they arrive
            bound_answers(client)
        return client

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
