"""The boto3 client: made late, once per process, with settings of ours and of the user."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config

import dynmemo
from dynmemo.counters import Meter
from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Item, Written
from dynmemo.stores.dynamodb import DynamoDBStore
from tests.proxy import Answer, Stall
from tests.pythons import printed

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.proxy import Proxy

NAMES = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}


APPLICATION: dict[str, Any] = {"user_agent_appid": "forecasts"}


def client_of(store: DynamoDBStore) -> Any:
    return store._connection.client()


# --- settings ---


def test_our_settings_are_those_that_are_stated(dynamodb_endpoint: str) -> None:
    config = client_of(DynamoDBStore("weather", endpoint_url=dynamodb_endpoint)).meta.config
    assert (config.connect_timeout, config.read_timeout, config.max_pool_connections) == (1.0, 1.5, 32)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    assert config.tcp_keepalive is True


def test_settings_of_the_user_replace_ours_one_by_one(dynamodb_endpoint: str) -> None:
    config = Config(read_timeout=7, retries={"mode": "adaptive", "total_max_attempts": 9}, region_name="eu-north-1")
    client = client_of(DynamoDBStore("weather", endpoint_url=dynamodb_endpoint, config=config))
    assert (client.meta.config.read_timeout, client.meta.config.connect_timeout) == (7, 1.0)
    assert client.meta.config.retries == {"mode": "adaptive", "total_max_attempts": 9}
    assert client.meta.region_name == "eu-north-1"


@pytest.mark.parametrize(
    ("config", "texts"),
    [
        (None, ["Boto3/", "Botocore/", "Python/"]),
        (Config(user_agent_extra="lib/theirs"), ["Boto3/", "lib/theirs "]),
        (Config(user_agent="mine/1.0"), ["mine/1.0"]),
        (Config(**APPLICATION), ["Boto3/", "app/forecasts"]),
    ],
    ids=["ours", "extra", "replaced", "application"],
)
def test_requests_say_that_they_come_from_dynmemo(
    proxy: Proxy, dynamodb_table: str, config: Config | None, texts: list[str]
) -> None:
    DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint, config=config).read("k")
    for request in proxy.requests:
        agent = request.headers["User-Agent"]
        assert agent.endswith(f"lib/dynmemo#{dynmemo.__version__}")
        assert [text for text in texts if text not in agent] == []


def test_an_application_id_of_the_environment_is_kept(
    proxy: Proxy, dynamodb_table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", "nightly")
    DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint).read("k")
    assert "app/nightly" in proxy.requests[-1].headers["User-Agent"]


def test_the_endpoint_of_the_environment_is_used(
    dynamodb_table: str, dynamodb_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_endpoint)
    assert DynamoDBStore(dynamodb_table).read("k") is None


def test_a_profile_gives_region_and_credentials(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    config = tmp_path / "config"
    config.write_text("[profile team]\nregion = eu-south-2\naws_access_key_id = TEAM\naws_secret_access_key = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    store = DynamoDBStore("weather", profile="team", endpoint_url=proxy.endpoint, **NAMES)  # type: ignore[arg-type]
    proxy.breaks("GetItem", Answer(b"{}", 200))
    assert store.read("k") is None
    authorization = proxy.requests[-1].headers["Authorization"]
    assert "Credential=TEAM/" in authorization
    assert "/eu-south-2/dynamodb/" in authorization
    assert "in eu-south-2" in store.location


# --- once, late, by many threads ---


def test_many_threads_make_one_client(dynamodb_table: str, own_client: DynamoDBClient) -> None:
    made: list[int] = []
    barrier = threading.Barrier(16)

    def factory() -> DynamoDBClient:
        made.append(threading.get_ident())
        return own_client

    store = DynamoDBStore(dynamodb_table, client_factory=factory)

    def read(n: int) -> None:
        barrier.wait()
        store.read(str(n))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(read, range(16)))
    assert len(made) == 1


def test_a_metered_store_shares_the_client(dynamodb_table: str, own_client: DynamoDBClient) -> None:
    made: list[int] = []

    def factory() -> DynamoDBClient:
        made.append(1)
        return own_client

    store = DynamoDBStore(dynamodb_table, client_factory=factory)
    for twin in (store.metered(Meter()), store, store.metered(Meter())):
        twin.read("k")
    assert made == [1]


def test_a_factory_that_failed_is_called_again(dynamodb_table: str, own_client: DynamoDBClient) -> None:
    answers: list[Any] = [RuntimeError("not yet"), own_client]

    def factory() -> DynamoDBClient:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return own_client

    store = DynamoDBStore(dynamodb_table, client_factory=factory)
    with pytest.raises(StoreUnavailableError, match="RuntimeError"):
        store.read("k")
    assert store.read("k") is None


# --- a client that was given ---


def test_a_live_client_is_used_as_it_is_and_not_closed(dynamodb_table: str, dynamodb_client: DynamoDBClient) -> None:
    store = DynamoDBStore(dynamodb_table, client=dynamodb_client)
    assert client_of(store) is dynamodb_client
    assert isinstance(store.write("k", Item(b"v")), Written)
    store.close()
    assert dynamodb_client.get_item(TableName=dynamodb_table, Key={"id": {"S": "dc:k"}})["Item"]["value"] == {"B": b"v"}
    assert store.read("k") is not None


def test_an_own_client_is_closed_and_made_anew(dynamodb_table: str, dynamodb_endpoint: str) -> None:
    store = DynamoDBStore(dynamodb_table, endpoint_url=dynamodb_endpoint)
    store.read("k")
    first = client_of(store)
    store.close()
    assert store.read("k") is None
    assert client_of(store) is not first


# --- forks ---

FORKING = """
import os, sys, threading
import boto3
from dynmemo.errors import StoreUnavailableError
from dynmemo.item import Item
from dynmemo.stores.dynamodb import DynamoDBStore

table, endpoint, kind = sys.argv[1:]
made = []

def factory():
    made.append(os.getpid())
    return boto3.client("dynamodb", endpoint_url=endpoint)

options = {
    "own": {"endpoint_url": endpoint},
    "factory": {"client_factory": factory},
    "live": {"client": boto3.client("dynamodb", endpoint_url=endpoint)},
}
store = DynamoDBStore(table, **options[kind])
store.write("k", Item(b"v"))
client = store._connection.client()

# A thread that holds the lock at the moment of the fork does not exist in the child.
holding, release = threading.Event(), threading.Event()
def hold():
    with store._connection._lock:
        holding.set()
        release.wait()
threading.Thread(target=hold).start()
holding.wait()

child = os.fork()
if child == 0:
    try:
        same = store._connection.client() is client
        found = store.read("k")
        print("child", same, found is not None and found.value, made == [os.getppid(), os.getpid()], flush=True)
    except StoreUnavailableError as error:
        print("child", error, flush=True)
    finally:
        os._exit(0)
os.waitpid(child, 0)
release.set()
print("parent", store.read("k").value, store._connection.client() is client, len(made), flush=True)
"""


def forked(*arguments: str) -> list[str]:
    return printed("-W", "ignore", "-c", FORKING, *arguments).splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
@pytest.mark.parametrize(
    ("kind", "child", "calls"),
    [("own", "child False b'v' False", 0), ("factory", "child False b'v' True", 1)],
)
def test_a_forked_child_makes_a_client_of_its_own(
    dynamodb_table: str, dynamodb_endpoint: str, kind: str, child: str, calls: int
) -> None:
    assert forked(dynamodb_table, dynamodb_endpoint, kind) == [child, f"parent b'v' True {calls}"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_live_client_is_not_used_in_a_forked_child(dynamodb_table: str, dynamodb_endpoint: str) -> None:
    child, parent = forked(dynamodb_table, dynamodb_endpoint, "live")
    assert "give client_factory= instead of client=" in child
    assert parent == "parent b'v' True 0"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system interrupts no call by a timer")
def test_after_an_interrupt_in_a_request_no_call_uses_that_client(proxy: Proxy, dynamodb_table: str) -> None:
    store = DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint, region="eu-west-1")
    assert store.read("k") is None
    before = store._connection.client()
    proxy.breaks("GetItem", Stall())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    standing = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            store.read("k")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, standing)
    proxy.heals()
    assert store.read("k") is None
    assert store._connection.client() is not before


INTERRUPTED = """
import sys
import boto3
from dynmemo.stores.dynamodb import DynamoDBStore

table, endpoint, kind = sys.argv[1:]
client = boto3.session.Session().client("dynamodb", endpoint_url=endpoint)
given = {"own": {"endpoint_url": endpoint}, "client": {"client": client}, "factory": {"client_factory": lambda: client}}
store = DynamoDBStore(table, **given[kind])
store.read("k")
used = store._connection.client()

def interrupt(**_):
    # The moment at which Ctrl-C leaves the pool locked lasts for some instructions only.
    for pool in used._endpoint.http_session._manager.pools._container.values():
        pool.pool.mutex.acquire()
    used.meta.events.unregister("before-send", interrupt)
    raise KeyboardInterrupt

used.meta.events.register("before-send", interrupt)
try:
    store.read("k")
except KeyboardInterrupt:
    print("interrupted", store.read("k"))
"""


@pytest.mark.parametrize("kind", ["own", "client", "factory"])
def test_an_interrupt_at_the_worst_moment_hangs_neither_later_requests_nor_the_end(
    dynamodb_table: str, dynamodb_endpoint: str, kind: str
) -> None:
    assert printed("-c", INTERRUPTED, dynamodb_table, dynamodb_endpoint, kind) == "interrupted None\n"
