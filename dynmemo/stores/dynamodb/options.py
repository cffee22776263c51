"""Checking of the store's options."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from dynmemo.errors import InvalidOptionError
from dynmemo.stores.dynamodb.rows import OWN_NAMES

LONGEST_KEY = 2048
"""Bytes that DynamoDB accepts for a partition key."""

_TABLE = re.compile(r"[A-Za-z0-9_.-]{1,255}|arn:[A-Za-z0-9_.:/-]{1,1020}")


def check_table_name(name: object) -> str:
    """A table's name or ARN."""
    if not isinstance(name, str) or not _TABLE.fullmatch(name):
        raise InvalidOptionError(
            f"table_name={name!r} is no DynamoDB table; give up to 255 letters, digits, '_', '-' and '.', or an ARN"
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
    # Other prefixes' rows are told by where "dc:" stands.
    if ":dc:" in f":{prefix}:":
        raise InvalidOptionError(
            f"partition_key_prefix={prefix!r} has 'dc' between colons, which is what ends a prefix; choose another one"
        )
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
    if size > LONGEST_KEY or len(partition_key) == len(prefix):
        taken = len(prefix.encode())
        raise InvalidOptionError(
            f"the key has {size - taken:,} bytes; DynamoDB takes 1 to {LONGEST_KEY - taken:,} after {prefix!r}"
        )
    return partition_key
