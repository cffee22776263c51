"""Fixtures of the DynamoDB store's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dynmemo.stores.dynamodb import connection

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(scope="session")
def own_client(dynamodb_endpoint: str) -> DynamoDBClient:
    """A client as the store makes its own, made once because that takes longer than a test."""
    client: DynamoDBClient = connection.own("dynamodb", None, None, dynamodb_endpoint, None)(connection.QUICK)
    return client


@pytest.fixture(scope="session")
def bulk_client(dynamodb_endpoint: str) -> DynamoDBClient:
    """The same with the timeouts that a store has for large values."""
    client: DynamoDBClient = connection.own("dynamodb", None, None, dynamodb_endpoint, None)(connection.BULK)
    return client
