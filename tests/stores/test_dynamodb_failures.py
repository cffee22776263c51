"""What goes wrong at AWS's end or on the way there becomes one of our errors, soon, and says what to do."""

from __future__ import annotations

import pickle
import socket
import traceback
from collections import Counter
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.config import Config

from dynmemo.errors import InvalidTableError, StoreUnavailableError, ValueTooLargeError
from dynmemo.item import Item
from dynmemo.stores.dynamodb import DynamoDBStore, errors
from tests.proxy import Answer, Stall, denied, error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.proxy import Fault, Proxy

TOKEN = "FwoGZXIvYXdzEBYaDtoken"
ONCE = Config(retries={"mode": "standard", "total_max_attempts": 1})


def open_store(endpoint: str | None, config: Config | None = None, **options: Any) -> DynamoDBStore:
    return DynamoDBStore(
        "weather",
        partition_key_name="id",
        ttl_attribute_name="ttl_date",
        endpoint_url=endpoint,
        config=config,
        **options,
    )


def failure(store: DynamoDBStore, key: str = "user:1234") -> StoreUnavailableError:
    with pytest.raises(StoreUnavailableError) as caught:
        store.read(key)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "texts"),
    [
        (denied("GetItem"), ["allow dynamodb:GetItem", "assumed-role/worker"]),
        (error("ExpiredTokenException", "The security token included in the request is expired"), ["expired: renew"]),
        (error("UnrecognizedClientException", "The security token is invalid."), ["does not accept the credentials"]),
        (
            error(
                "ProvisionedThroughputExceededException",
                "slow down",
                ThrottlingReasons=[{"reason": "TableReadProvisionedThroughputExceeded", "resource": "arn:aws:..."}],
            ),
            ["throttles", "TableReadProvisionedThroughputExceeded"],
        ),
        (error("RequestLimitExceeded"), ["throttles", "RequestLimitExceeded"]),
        (
            error(
                "ThrottlingException",
                "Rate exceeded",
                throttlingReasons=[{"reason": "TableReadKeyRangeThroughputExceeded", "resource": "arn:aws:..."}],
            ),
            ["throttles", "Rate exceeded", "TableReadKeyRangeThroughputExceeded"],
        ),
        (error("InternalServerError", status=500), ["internal error"]),
        (error("ValidationException", "something new"), ["refused", "ValidationException", "something new"]),
        (
            Answer(b"<html>Sign in to the hotel's network</html>", 200, request_id=None),
            ["not DynamoDB", "endpoint_url"],
        ),
        (Answer(b"<html>Bad gateway</html>", 502, request_id=None), ["502"]),
    ],
    ids=[
        *("denied", "expired", "unknown", "throughput", "request limit", "throttled", "internal", "new code"),
        *("another server", "gateway"),
    ],
)
def test_an_error_says_what_happened_and_what_to_do(proxy: Proxy, fault: Fault, texts: list[str]) -> None:
    proxy.breaks("*", fault)
    caught = failure(open_store(proxy.endpoint, ONCE))
    message = str(caught)
    assert message.startswith("GetItem on the DynamoDB table 'weather' failed: ")
    assert [text for text in texts if text not in message] == []
    assert "user:1234" not in message
    assert (caught.operation, caught.table, caught.key) == ("GetItem", "weather", "user:1234")
    assert caught.__cause__ is not None


PAGE = b"<html>Sign in to the hotel's network</html>"
JSON = "application/x-amz-json-1.0"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(PAGE, 200, request_id=None, content_type="text/html"),
        Answer(PAGE, 200, content_type="text/html; charset=utf-8"),
        Answer(PAGE, 200, content_type=None),
        Answer(b"", 200, content_type="text/html"),
        Answer(b"{}", 200, content_type="text/plain"),
        Answer(b'{"status": "ok"}', 200, request_id=None, content_type="application/json"),
        Answer(b"[]", 200, content_type=JSON),
        Answer(b"\xff\xfe", 200, content_type="text/html"),
        Answer(PAGE, 302, request_id=None, content_type="text/html"),
        Answer(PAGE, 403, content_type="text/html"),
        Answer(b"[]", 503, request_id=None, content_type="application/json"),
    ],
    ids=[
        *("page", "page with id", "page without type", "nothing", "text", "other JSON", "list", "no text"),
        *("redirect", "forbidden", "unavailable"),
    ],
)
@pytest.mark.parametrize(
    "use",
    [lambda store: store.read("k"), lambda store: store.write("k", Item(b"v")), lambda store: list(store.scan())],
    ids=["read", "write", "scan"],
)
def test_what_is_no_answer_of_dynamodb_is_no_success(
    proxy: Proxy, answer: Answer, use: Callable[[DynamoDBStore], object]
) -> None:
    proxy.breaks("*", answer)
    with pytest.raises(StoreUnavailableError, match="not DynamoDB: check endpoint_url and proxies") as caught:
        use(open_store(proxy.endpoint, ONCE))
    assert "hotel" not in str(caught.value)
    assert caught.value.request_id is None


@pytest.mark.parametrize("operation", ["DescribeTable", "DescribeTimeToLive"])
@pytest.mark.parametrize("answer", [Answer(b"{}", 200), Answer(PAGE, 200, content_type="text/html")])
def test_a_description_that_says_nothing_is_none(
    proxy: Proxy, dynamodb_table: str, operation: str, answer: Answer
) -> None:
    proxy.breaks(operation, answer)
    with pytest.raises(StoreUnavailableError, match="not DynamoDB"):
        DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint).read("k")


def test_an_error_of_aws_carries_code_and_request_id(proxy: Proxy) -> None:
    proxy.breaks("*", denied("GetItem"))
    caught = failure(open_store(proxy.endpoint))
    assert (caught.code, caught.request_id) == ("AccessDeniedException", "FROM-THE-PROXY")
    copied = pickle.loads(pickle.dumps(caught))
    assert (str(copied), copied.code, copied.key) == (str(caught), caught.code, caught.key)


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignatureException"])
def test_the_session_token_that_aws_quotes_is_shown_nowhere(proxy: Proxy, code: str) -> None:
    proxy.breaks("*", error(code, f"The Canonical String should have been 'x-amz-security-token:{TOKEN}'"))
    caught = failure(open_store(proxy.endpoint))
    assert "check the secret access key and this machine's clock" in str(caught)
    assert TOKEN not in "".join(traceback.format_exception(caught))


def test_credentials_of_this_process_are_shown_nowhere(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, f"hidden-{name}")
    for fault in (denied("GetItem"), error("ExpiredTokenException"), error("UnrecognizedClientException")):
        proxy.breaks("*", fault, times=1)
        caught = failure(open_store(proxy.endpoint))
        assert "hidden" not in "".join(traceback.format_exception(caught)) + repr(vars(caught))


def test_a_missing_table_and_a_large_item_have_their_own_errors(proxy: Proxy) -> None:
    store = open_store(proxy.endpoint)
    proxy.breaks("PutItem", error("ValidationException", "Item size has exceeded the maximum allowed size"))
    with pytest.raises(ValueTooLargeError, match="400 KB"):
        store.write("k", Item(b"v"))
    with pytest.raises(InvalidTableError, match="does not exist"):
        store.read("k")


USED = (
    *("GetItem", "PutItem", "UpdateItem", "DeleteItem", "BatchGetItem", "BatchWriteItem", "Scan"),
    *("DescribeTable", "DescribeTimeToLive", "CreateTable", "UpdateTimeToLive"),
)


def test_of_every_error_in_dynamodbs_list_it_is_said_who_mends_it() -> None:
    model = botocore.session.get_session().get_service_model("dynamodb")
    listed = {shape.name for operation in USED for shape in model.operation_model(operation).error_shapes}
    assert listed - {code for _, _, codes in errors._ANSWERS for code in codes} == {"ConditionalCheckFailedException"}


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("LimitExceededException", "changes as many tables at once as it may"),
        ("ItemCollectionSizeLimitExceededException", "use another table"),
        ("OptInRequired", "not signed up"),
        ("RequestExpired", "this machine's clock"),
    ],
)
def test_what_only_people_can_mend_is_told(proxy: Proxy, code: str, said: str) -> None:
    proxy.breaks("*", error(code, "in AWS's words"))
    assert said in str(failure(open_store(proxy.endpoint, ONCE)))


# --- endpoints ---


@pytest.fixture
def nobody_listens() -> Iterator[str]:
    """An address that refuses connections: it is taken, but not listened to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def attempts(store: DynamoDBStore) -> Counter[str]:
    """Counts what the store's client sends, from now on."""
    sent: Counter[str] = Counter()
    store._connection.client().meta.events.register(
        "before-send.dynamodb", lambda event_name, **_: sent.update([event_name.rpartition(".")[2]])
    )
    return sent


def test_a_refused_connection_is_tried_three_times(nobody_listens: str) -> None:
    store = open_store(nobody_listens)
    sent = attempts(store)
    assert "could not be reached" in str(failure(store))
    assert sent == {"GetItem": 3}


def test_a_server_that_never_answers_is_tried_three_times(proxy: Proxy) -> None:
    proxy.breaks("*", Stall())
    store = open_store(proxy.endpoint, Config(read_timeout=0.1))
    assert "did not answer in time" in str(failure(store))
    assert proxy.counts == {"GetItem": 3}


def test_a_dead_endpoint_costs_less_than_five_seconds(nobody_listens: str) -> None:
    settings = open_store(nobody_listens)._connection.client().meta.config
    pauses = 0.025 + 0.05  # botocore's longest ones before the second and third attempt
    assert settings.retries == {"mode": "standard", "total_max_attempts": 3}
    for seconds in (settings.connect_timeout, settings.read_timeout):
        assert 3 * seconds + pauses < 5


def test_a_failure_is_over_once_the_server_is_back(proxy: Proxy) -> None:
    proxy.breaks("*", error("InternalServerError", status=500), times=3)
    store = open_store(proxy.endpoint)
    failure(store)
    with pytest.raises(InvalidTableError):  # the engine's answer: it has no such table
        store.read("k")


# --- credentials, region, profile ---


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


def test_missing_credentials_say_how_to_give_some(proxy: Proxy, no_credentials: None) -> None:
    message = str(failure(open_store(proxy.endpoint)))
    assert "no AWS credentials were found" in message
    assert "AWS_ACCESS_KEY_ID" in message
    assert proxy.requests == []


def test_credentials_that_come_later_are_found(
    proxy: Proxy, dynamodb_table: str, no_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint)
    failure(store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    assert store.read("k") is None


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_renewed_credentials_are_used_after_old_ones_were_refused(
    proxy: Proxy, dynamodb_table: str, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    proxy.breaks("*", error(code), times=1)
    store = DynamoDBStore(dynamodb_table, endpoint_url=proxy.endpoint)
    failure(store)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
    assert store.read("k") is None
    assert "Credential=testing/" in proxy.requests[0].headers["Authorization"]
    assert "Credential=renewed/" in proxy.requests[-1].headers["Authorization"]


@pytest.mark.slow
def test_a_metadata_service_that_never_answers_does_not_hold_things_up(
    proxy: Proxy, no_credentials: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.1)
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "no AWS credentials were found" in str(failure(open_store(proxy.endpoint)))
        connections = 0
        try:
            while True:
                silent.accept()[0].close()
                connections += 1
        except TimeoutError:
            pass
    assert 1 <= connections <= 3, "each costs a second"


def test_a_missing_region_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    message = str(failure(open_store(None)))
    assert "pass region= or set AWS_DEFAULT_REGION" in message


def test_an_impossible_region_is_said() -> None:
    assert "not a valid name" in str(failure(open_store(None, region="eu west 1")))


def test_an_unknown_profile_is_said() -> None:
    message = str(failure(open_store(None, profile="nobody")))
    assert "correct profile=" in message
    assert "nobody" in message


def test_an_incomplete_pair_of_keys_is_said(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "incomplete" in str(failure(open_store(proxy.endpoint)))


def test_an_impossible_endpoint_in_the_environment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "localhost:8000")
    assert "ValueError" in str(failure(open_store(None)))


def test_what_a_client_factory_raises_becomes_ours() -> None:
    def broken() -> Any:
        raise OSError("secret words")

    store = DynamoDBStore("weather", client_factory=broken)
    caught = failure(store)
    assert "OSError" in str(caught)
    assert "secret words" not in str(caught)
    assert isinstance(caught.__cause__, OSError)
