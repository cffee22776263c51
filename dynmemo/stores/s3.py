"""Objects in an S3 bucket, for values that are too large for a row."""

from __future__ import annotations

import copy
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from dynmemo import parts as of
from dynmemo._process import Once
from dynmemo.errors import InvalidOptionError, StoreUnavailableError
from dynmemo.item import settled
from dynmemo.stores.dynamodb import connection
from dynmemo.stores.dynamodb.connection import BULK, Connection
from dynmemo.stores.dynamodb.errors import CREDENTIAL_TROUBLE, QUOTES_SECRETS, answered, unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.config import Config

    from dynmemo.counters import Meter
    from dynmemo.item import Content, Item, Parts

_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[^?#]*?))?/*", re.ASCII)

_ALLOW = "IAM does not allow this: allow s3:GetObject, s3:PutObject and s3:DeleteObject on the objects"
_BY_CODE = {
    "AccessDenied": _ALLOW,
    "NoSuchBucket": "the bucket does not exist: create it, or correct overflow=",
    "PermanentRedirect": "the bucket lies in another region: correct region=",
    "ExpiredToken": "the AWS credentials have expired: renew them",
    "SlowDown": "S3 throttles the requests: wait",
}
_NOT_THERE = ("NoSuchKey", "404")

_once = Once()


class Bucket:
    """Objects under one prefix of one bucket, each under the write id of its value; a `dynmemo.parts.Place`.

    Args:
        url: ``s3://bucket/prefix``.
        above: bytes of the largest value that does not go there.
        region, profile: for boto3. Default: its own chain of configuration, which also knows the endpoint.
        config: botocore settings that replace ours: 10 s to connect, 20 s without an answer, 3 attempts.

    Raises:
        InvalidOptionError: for another URL.
    """

    def __init__(
        self,
        url: object,
        above: int = 0,
        *,
        region: str | None = None,
        profile: str | None = None,
        config: Config | None = None,
    ) -> None:
        match = _URL.fullmatch(url) if isinstance(url, str) else None
        if match is None:
            raise InvalidOptionError(f"overflow={url!r} is no place in S3; give s3://bucket/prefix")
        self.above = above
        self._bucket = match["bucket"]
        self._prefix = f"{match['prefix']}/" if match["prefix"] else ""
        self._connection = Connection(connection.own("s3", region, profile, None, config))
        self._meters: tuple[Meter, ...] = ()

    @property
    def url(self) -> str:
        """What stands before the name of every object."""
        return f"s3://{self._bucket}/{self._prefix}"

    def metered(self, meter: Meter) -> Self:
        """The same that counts its requests in `meter`, too."""
        twin = copy.copy(self)
        twin._meters = (*self._meters, meter)
        return twin

    def takes(self, value: bytes | Content | None) -> bool:
        """Whether a value is so large that it goes there."""
        return value is not None and len(value) > self.above

    def plan(self, key: str, row: Item, value: bytes | Content) -> tuple[Item, Parts]:
        write_id = of.new_write_id(time.time())
        return row, of.in_one(value, write_id, self.url + write_id)

    def put(self, key: str, row: Item, parts: Parts, value: bytes | Content) -> None:
        self._call("put_object", parts.write_id, Body=settled(value))

    def get(self, key: str, parts: Parts, *, again: bool = False) -> bytes | None:
        if not self._is_ours(parts):
            return None
        try:
            response = self._call("get_object", parts.write_id)
        except StoreUnavailableError as error:
            if error.code in _NOT_THERE:
                return None
            if error.code != "AccessDenied":
                raise
            # What S3 also answers for a missing object to those who may not list the bucket.
            _once.warning(self.url, "dynmemo takes a value in S3 for missing: %s, or the object is gone", error)
            return None
        with response["Body"] as body, self._asking("get_object"):
            return of.checked(body.read(), parts) if response["ContentLength"] == parts.length else None

    def delete(self, key: str, parts: Parts) -> None:
        if self._is_ours(parts):
            with suppress(StoreUnavailableError):  # the bucket's lifecycle rule deletes it later
                self._call("delete_object", parts.write_id)

    def _is_ours(self, parts: Parts) -> bool:
        """Whether the object lies in our bucket; a row may name any place, and we do not go there."""
        return parts.location == self.url + parts.write_id and of.began_at(parts.write_id) is not None

    def close(self) -> None:
        """Give connections back."""
        self._connection.close()

    def _call(self, method: str, name: str, **parameters: Any) -> dict[str, Any]:
        for meter in self._meters:
            meter.count()
        with self._asking(method):
            send = getattr(self._connection.client(BULK), method)
            response: dict[str, Any] = send(Bucket=self._bucket, Key=self._prefix + name, **parameters)
        return response

    @contextmanager
    def _asking(self, method: str) -> Iterator[None]:
        """What goes wrong in here becomes one of our errors."""
        try:
            yield
        except Exception as error:  # whatever it is, callers get ours
            if isinstance(error, StoreUnavailableError):
                raise
            operation = "".join(word.capitalize() for word in method.split("_"))
            text = _BY_CODE.get(answered(error)["Error"].get("Code", ""), "S3 refused the request")
            failure = unavailable(error, operation, f"in {self.url}", text, table=self.url)
            if failure.code in CREDENTIAL_TROUBLE:
                self._connection.forget()
            raise failure from (None if failure.code in QUOTES_SECRETS else error)
        except BaseException:  # Ctrl-C, or what a signal handler raised
            self._connection.abandon(BULK)
            raise
