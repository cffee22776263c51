"""Rows in a DynamoDB table, in the layout of the AWS .NET Distributed Cache Provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynmemo.stores.dynamodb.store import DynamoDBStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient as DynamoDBClient

__all__ = ["DynamoDBStore"]
