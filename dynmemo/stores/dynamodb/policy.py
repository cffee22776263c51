"""What a program needs of AWS for the options in force: the least IAM policy, and the table."""

from __future__ import annotations

from typing import Any, NamedTuple

from dynmemo.stores.dynamodb.connection import KEY_NAME, TTL_NAME

ON_ROWS = ("GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")
"""What hits, computations, clearing and `map` ask of single rows. The batch actions make `map` and values beyond 400 KB
faster; where they are not allowed, single ones take their place."""


class Place(NamedTuple):
    """Where the table is."""

    table: str
    region: str
    account: str

    @property
    def partition(self) -> str:
        """Of AWS: China and the US government have their own."""
        return {"cn": "aws-cn", "us-gov": "aws-us-gov"}.get(self.region.rsplit("-", 2)[0], "aws")

    @property
    def arn(self) -> str:
        if self.table.startswith("arn:"):
            return self.table
        return f"arn:{self.partition}:dynamodb:{self.region}:{self.account}:table/{self.table}"


def document(
    place: Place,
    prefix: str,
    given: tuple[str | None, str | None],
    *,
    create: bool,
    scans: bool,
    bucket: str | None,
) -> dict[str, Any]:
    """The policy.

    Args:
        place: the table.
        prefix: of all partition keys, to which rows are limited.
        given: names of the partition key and of the TTL attribute, None for those that the table is asked for.
        create: whether the table is created when it is missing.
        scans: allow what `purge`, `ls` and `stats` need: Scan, which cannot be limited to a prefix.
        bucket: the URL in S3 of values beyond the limit.
    """
    rows = _allowed(place.arn, ON_ROWS)
    # ForAllValues is also true for requests without keys, so no Scan may stand here.
    rows["Condition"] = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [f"{_literally(prefix)}*"]}}
    describing = ["DescribeTable"] if create or given[0] is None or scans else []
    describing += ["DescribeTimeToLive"] if create or given[1] is None else []
    describing += ["CreateTable", "UpdateTimeToLive"] if create else []
    describing += ["Scan"] if scans else []
    statements = [rows, *([_allowed(place.arn, describing)] if describing else [])]
    if bucket is not None:
        objects = f"arn:{place.partition}:s3:::{bucket.removeprefix('s3://').rstrip('/')}/*"
        statements.append(_allowed(objects, ("GetObject", "PutObject", "DeleteObject"), "s3"))
    return {"Version": "2012-10-17", "Statement": statements}


def cloudformation(document: dict[str, Any], table: str, given: tuple[str | None, str | None]) -> dict[str, Any]:
    """A template of the table with TTL, and of the policy."""
    key, ttl = given[0] or KEY_NAME, given[1] or TTL_NAME
    properties = {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "TimeToLiveSpecification": {"AttributeName": ttl, "Enabled": True},
    }
    statements = [
        {**each, "Resource": {"Fn::GetAtt": ["Cache", "Arn"]}} if ":dynamodb:" in each["Resource"] else each
        for each in document["Statement"]
    ]
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Resources": {
            "Cache": {"Type": "AWS::DynamoDB::Table", "Properties": properties},
            "CachePolicy": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {"PolicyDocument": {**document, "Statement": statements}},
            },
        },
    }


def terraform(document: dict[str, Any], table: str, given: tuple[str | None, str | None]) -> str:
    """The table with TTL, and the policy, in Terraform's language."""
    import json

    key, ttl = given[0] or KEY_NAME, given[1] or TTL_NAME
    policy = json.dumps(document, indent=2).replace("${", "$${").replace("%{", "%%{")
    return f"""resource "aws_dynamodb_table" "cache" {{
  name         = {json.dumps(table)}
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = {json.dumps(key)}

  attribute {{
    name = {json.dumps(key)}
    type = "S"
  }}

  ttl {{
    attribute_name = {json.dumps(ttl)}
    enabled        = true
  }}
}}

resource "aws_iam_policy" "cache" {{
  policy = <<-EOT
{policy}
EOT
}}
"""


def _allowed(resource: str, actions: Any, service: str = "dynamodb") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": [f"{service}:{action}" for action in actions], "Resource": resource}


def _literally(prefix: str) -> str:
    """A text in which nothing stands for something else in IAM."""
    return "".join(f"${{{letter}}}" if letter in "*?$" else letter for letter in prefix)
