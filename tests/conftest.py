"""Fixtures of every test: a clean environment, and DynamoDB Local where it can be had."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import quote

import botocore.endpoint
import botocore.retries.bucket
import hypothesis
import pytest

from dynmemo import Cache
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.testing import Clock
from tests import engine
from tests.permissions import Permissions
from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.literals import ScalarAttributeTypeType

# A busy machine must fail no test: generating examples has no deadline, and none is too slow.
hypothesis.settings.register_profile("dynmemo", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("dynmemo")

# Tests send Ctrl-C, which a shell lets those programs ignore that it starts in the background.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Taken before any test changes the environment.
_ENDPOINT = os.environ.get("DYNMEMO_TEST_DYNAMODB_ENDPOINT")
_REQUIRED = os.environ.get("DYNMEMO_REQUIRE_DYNAMODB") == "1"

_DYNAMODB_FIXTURES = {"dynamodb_endpoint", "dynamodb_client", "dynamodb_new_table", "dynamodb_table"}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs in several processes; a part of it ends sooner without."""
    part = config.args_source is pytest.Config.ArgsSource.ARGS or config.option.keyword
    return 0 if part or config.option.collectonly else min(os.cpu_count() or 1, 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and _DYNAMODB_FIXTURES.intersection(item.fixturenames):
            item.add_marker(pytest.mark.dynamodb)


@pytest.fixture(scope="session", autouse=True)
def _nobodys_settings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith(("AWS_", "DYNMEMO_", "BOTO")):
                patch.delenv(name)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield


@pytest.fixture(scope="session")
def permissions() -> Iterator[Permissions]:
    with pytest.MonkeyPatch.context() as patch:
        yield Permissions(patch)


@pytest.fixture(autouse=True)
def the_policy_allows_what_is_asked(permissions: Permissions) -> Iterator[None]:
    """No test makes a store ask DynamoDB for something that the policy for its options does not allow."""
    yield
    refused, permissions.refused = permissions.refused, []
    assert refused == []


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No setting of the person who runs the tests reaches them, and no cache of theirs is touched.

    Returns the home folder of this test.
    """
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home))
    return home


@pytest.fixture
def clock() -> Clock:
    """The time of `cache`."""
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> Iterator[Cache]:
    """An empty cache in a file that belongs to this test."""
    made = Cache(SqliteStore(tmp_path / "cache.db"), clock=clock)
    yield made
    made.close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of clients that this test makes, in seconds: botocore takes them for waited, and nobody waits."""
    made: list[float] = []

    class Turned(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            made.append(timeout or 0.0)
            return False

    turned = SimpleNamespace(time=lambda: time.time() + sum(made), sleep=made.append)
    for module in (botocore.endpoint, botocore.retries.bucket):
        monkeypatch.setattr(module, "time", turned)
    monkeypatch.setattr(botocore.retries.bucket, "threading", SimpleNamespace(Lock=threading.Lock, Condition=Turned))
    return made


@pytest.fixture(scope="session")
def dynamodb_endpoint(_nobodys_settings: None) -> Iterator[str]:
    """The address of the one DynamoDB Local of this session."""
    if _ENDPOINT:
        yield _ENDPOINT
        return
    try:
        with engine.run() as running:
            yield running.endpoint
    except engine.EngineMissingError as error:
        if _REQUIRED:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def dynamodb_client(dynamodb_endpoint: str) -> Iterator[DynamoDBClient]:
    """A bare boto3 client, to put and look at rows by hand."""
    import boto3

    client = boto3.session.Session().client("dynamodb", endpoint_url=dynamodb_endpoint)
    yield client
    client.close()


@pytest.fixture(scope="session")
def dynamodb_new_table(dynamodb_client: DynamoDBClient) -> Callable[..., str]:
    """Makes a table, and gives its name."""

    def create(
        name: str | None = None,
        key: str = "id",
        *,
        kind: ScalarAttributeTypeType = "S",
        sort_key: str | None = None,
        ttl: str | None = "ttl_date",
    ) -> str:
        name = name or f"dynmemo-{uuid.uuid4().hex}"
        names = [key, sort_key] if sort_key else [key]
        dynamodb_client.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": each, "AttributeType": kind} for each in names],
            KeySchema=[{"AttributeName": each, "KeyType": "RANGE" if each == sort_key else "HASH"} for each in names],
            BillingMode="PAY_PER_REQUEST",
        )
        if ttl:
            dynamodb_client.update_time_to_live(
                TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": ttl}
            )
        return name

    return create


@pytest.fixture
def dynamodb_table(dynamodb_new_table: Callable[[], str], dynamodb_client: DynamoDBClient) -> Iterator[str]:
    """The name of a new table that belongs to this test."""
    name = dynamodb_new_table()
    yield name
    dynamodb_client.delete_table(TableName=name)


@pytest.fixture(params=["sqlite", pytest.param("dynamodb", marks=pytest.mark.dynamodb)])
def kind(request: pytest.FixtureRequest) -> str:
    """Every test with it, or with what follows, runs on both kinds of store."""
    kind: str = request.param
    return kind


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty store that belongs to this test."""
    if kind == "sqlite":
        return f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    table, endpoint = (request.getfixturevalue(name) for name in ("dynamodb_table", "dynamodb_endpoint"))
    names = "partition_key_name=id&ttl_attribute_name=ttl_date"
    return f"dynamodb://{table}?region=eu-west-1&endpoint_url={quote(endpoint, safe='')}&{names}"


@pytest.fixture
def proxy(dynamodb_endpoint: str) -> Iterator[Proxy]:
    """Lies between a store and the engine, and breaks nothing until it is told to."""
    with Proxy(dynamodb_endpoint) as running:
        yield running
