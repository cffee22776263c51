"""Whether a cache can serve, and the policy that lets it: doctor, table and policy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

import dynmemo
from dynmemo import Cache, StoreUnavailableError, dynamo_cached
from dynmemo.stores.dynamodb.examination import _skew
from dynmemo.stores.dynamodb.policy import Place, document
from tests.permissions import allowed
from tests.proxy import denied
from tests.pythons import ran

if TYPE_CHECKING:
    from pathlib import Path

    from tests.permissions import Permissions
    from tests.proxy import Proxy


def url_of(table: str, endpoint: str, **options: str) -> str:
    given = "".join(f"&{name}={value}" for name, value in options.items())
    return f"dynamodb://{table}?region=eu-west-1&endpoint_url={quote(endpoint, safe='')}{given}"


def found(cache: Cache) -> dict[str, bool | None]:
    return {finding.what: finding.is_good for finding in dynmemo.doctor(cache)}


NAMES = {"partition_key_name": "id", "ttl_attribute_name": "ttl_date"}
OPERATIONS = ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "BatchGetItem", "BatchWriteItem", "Scan")


def test_a_table_in_order_is_said_to_be_and_nothing_is_changed(
    dynamodb_table: str, dynamodb_endpoint: str, dynamodb_client: Any
) -> None:
    url = url_of(dynamodb_table, dynamodb_endpoint)
    cache = Cache.from_url(url)
    said = found(cache)
    assert {"credentials", "endpoint", "table", "TTL", "clock", "latency", "size", "secret", *OPERATIONS} == said.keys()
    assert all(said[what] for what in ("credentials", "endpoint", "table", "TTL", *OPERATIONS))
    assert dynmemo.doctor(url).is_good
    assert "testing" not in dynmemo.doctor(cache)._repr_html_()
    assert dynamodb_client.scan(TableName=dynamodb_table)["Count"] == 0
    done = ran("-m", "dynmemo", "doctor", url, "--json")
    assert done.returncode == 0, done.stderr
    assert {line["what"] for line in json.loads(done.stdout)} == said.keys()


def test_what_is_not_allowed_is_named_with_what_to_do(dynamodb_table: str, proxy: Proxy) -> None:
    cache = Cache.from_url(url_of(dynamodb_table, proxy.endpoint, **NAMES))
    for operation in ("PutItem", "Scan", "DescribeTable", "DescribeTimeToLive"):
        proxy.breaks(operation, denied(operation))
    said = found(cache)
    assert (said["PutItem"], said["GetItem"], said["UpdateItem"]) == (False, True, True)
    assert (said["Scan"], said["size"], said["TTL"]) == (None, None, None)
    assert not dynmemo.doctor(cache).is_good
    with pytest.raises(StoreUnavailableError, match=r"PutItem: not allowed\. To do: allow what"):
        dynmemo.configure(cache, check=True)
    dynmemo.configure(None)


def test_a_missing_table_is_a_finding_and_table_create_cures_it(dynamodb_endpoint: str, dynamodb_client: Any) -> None:
    url = url_of("dynmemo-made-by-command", dynamodb_endpoint)
    assert ran("-m", "dynmemo", "table", "check", url).returncode == 1
    done = ran("-m", "dynmemo", "table", "create", url)
    assert done.returncode == 0, done.stderr
    try:
        assert ran("-m", "dynmemo", "table", "check", url).returncode == 0
    finally:
        dynamodb_client.delete_table(TableName="dynmemo-made-by-command")


def test_a_file_is_examined_and_not_created(tmp_path: Path) -> None:
    file = tmp_path / "cache.db"
    cache = Cache.sqlite(file, secret="s" * 32)
    assert found(cache) == {"file": None, "secret": True}
    assert not file.exists()
    dynmemo.configure(cache, check=True)
    dynmemo.configure(None)
    cache.set("a", b"b")
    assert found(cache) == {"file": True, "size": True, "secret": True}
    cache.close()
    file.write_bytes(b"not a database" * 1000)
    assert found(cache) == {"file": False, "secret": True}
    assert ran("-m", "dynmemo", "table", "check", "sqlite:///x.db").returncode == 1


def test_a_file_that_no_computation_can_create_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (finding, _) = dynmemo.doctor(Cache.sqlite(tmp_path / "file" / "folder" / "cache.db"))
    assert not finding.is_good
    assert finding.found.endswith(f"{tmp_path / 'file'} is no folder that can be written to")
    assert "give the path" in finding.advice


def test_a_secret_that_can_be_guessed_is_not_said_to_be_good(tmp_path: Path) -> None:
    (*_, finding) = dynmemo.doctor(Cache.sqlite(tmp_path / "cache.db", secret=["s" * 32, "short"]))
    assert (finding.what, finding.is_good) == ("secret", None)
    assert "shorter than 16 bytes" in finding.found
    assert "token_urlsafe" in finding.advice


def test_a_table_out_of_reach_is_no_matter_of_permissions() -> None:
    where = url_of("some_table", "http://127.0.0.1:9")
    table = next(finding for finding in dynmemo.doctor(where) if finding.what == "table")
    assert table.is_good is False
    assert "could not be reached: check network" in table.found
    assert table.advice == ""


@pytest.mark.parametrize("options", [NAMES, {"partition_key_prefix": "team"}, {"create_table_if_not_exists": "true"}])
def test_the_policy_allows_what_calls_ask_and_no_action_more(
    options: dict[str, str], dynamodb_table: str, proxy: Proxy
) -> None:
    new = "dynmemo-new-" + dynamodb_table[-8:]
    table = new if "create_table_if_not_exists" in options else dynamodb_table
    cache = Cache.from_url(url_of(table, proxy.endpoint, **options))

    @dynamo_cached(cache=cache, name="f", version="1", ttl="1h", sliding="10m", serializer="bytes")
    def f(n: int) -> bytes:
        return bytes(n)

    calls = [f(1), f(1), f.recompute(1), f(900_001), f(900_001), *f.map([2, 3, 4])]
    assert len(calls) == 8
    f.invalidate(900_001)
    cache.set("mine", b"x", ttl="1h", sliding="1m")
    cache.get("mine")
    cache.refresh("mine")
    cache.remove("mine")
    cache.set_many({"a": b"1", "b": b"2"})
    cache.get_many(["a", "b"])
    f.cache_clear()
    policy = cache.store.policy()  # type: ignore[attr-defined]
    assert [request for request in proxy.requests if not allowed(policy, request.operation, request.body)] == []
    asked = {f"dynamodb:{operation}" for operation in proxy.counts}
    actions = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert actions - asked <= {"dynamodb:UpdateItem", "dynamodb:BatchWriteItem"}
    assert "dynamodb:Scan" not in actions
    before = len(proxy.requests)
    dynmemo.ls(cache=cache)
    dynmemo.stats(cache)
    dynmemo.configure(cache)
    dynmemo.purge()
    dynmemo.configure(None)
    scanning = cache.store.policy(scans=True)  # type: ignore[attr-defined]
    assert [
        request for request in proxy.requests[before:] if not allowed(scanning, request.operation, request.body)
    ] == []
    assert any(request.operation == "Scan" for request in proxy.requests)


def test_a_request_that_the_policy_does_not_allow_fails_the_test_that_makes_it(
    dynamodb_table: str,
    dynamodb_endpoint: str,
    dynamodb_client: Any,
    permissions: Permissions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dynmemo.stores.dynamodb.policy.ON_ROWS", ("GetItem", "UpdateItem"))
    cache = Cache.from_url(url_of(dynamodb_table, dynamodb_endpoint, **NAMES))
    dynamodb_client.put_item(TableName=dynamodb_table, Item={"id": {"S": "another"}})
    cache.get("a")
    assert permissions.refused == []
    cache.set("a", b"1")
    assert [noted.partition(" ")[0] for noted in permissions.refused] == ["PutItem"]
    permissions.refused.clear()


def test_the_policy_is_printed_with_its_table_in_three_forms() -> None:
    url = "dynamodb://weather?region=eu-west-1&partition_key_prefix=a*b&ttl_attribute_name=expires"
    said = json.loads(ran("-m", "dynmemo", "policy", url, "--account", "123456789012").stdout)
    rows = said["Statement"][0]
    assert rows["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] == ["a${*}b:dc:*"]
    assert rows["Resource"] == "arn:aws:dynamodb:eu-west-1:123456789012:table/weather"
    template = json.loads(ran("-m", "dynmemo", "policy", url, "--format", "cloudformation").stdout)
    table = template["Resources"]["Cache"]["Properties"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    terraform = ran("-m", "dynmemo", "policy", url, "--format", "terraform").stdout
    assert 'attribute_name = "expires"' in terraform
    assert "a$${*}b:dc:*" in terraform


def test_a_server_s_odd_date_is_no_clock() -> None:
    for headers in ({}, {"date": "soon"}):
        assert _skew({"ResponseMetadata": {"HTTPHeaders": headers}}, 0.0).is_good is None


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_a_policy_names_the_partition_of_the_region(region: str, partition: str) -> None:
    place = Place("cache", region, "123456789012")
    statements = document(place, "dc:", ("id", "ttl"), create=False, scans=False, bucket="s3://large")["Statement"]
    assert {each["Resource"].split(":")[1] for each in statements} == {partition}
