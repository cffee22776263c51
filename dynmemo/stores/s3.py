"""Objects in an S3 bucket, for values that are too large for a row."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dynmemo._log import Once
from dynmemo.errors import InvalidOptionError, StoreUnavailableError
from dynmemo.stores.dynamodb import connection
from dynmemo.stores.dynamodb.connection import Connection
from dynmemo.stores.dynamodb.errors import CREDENTIAL_TROUBLE, of_class

if TYPE_CHECKING:
    from botocore.config import Config

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
_QUOTES_SECRETS = ("SignatureDoesNotMatch", "AuthorizationHeaderMalformed")

_once = Once()


class Bucket:
    """Objects under one prefix of one bucket.

    Args:
        url: ``s3://bucket/prefix``.
        region, profile: for boto3. Default: its own chain of configuration, which also knows the endpoint.
        config: botocore settings that replace ours: 10 s to connect, 20 s without an answer, 3 attempts.

    Raises:
        InvalidOptionError: for another URL.
    """

    def __init__(
        self, url: object, *, region: str | None = None, profile: str | None = None, config: Config | None = None
    ) -> None:
        match = _URL.fullmatch(url) if isinstance(url, str) else None
        if match is None:
            raise InvalidOptionError(f"overflow={url!r} is no place in S3; give s3://bucket/prefix")
        self._bucket = match["bucket"]
        self._prefix = f"{match['prefix']}/" if match["prefix"] else ""
        self._connection = Connection(
            connection.own_of("s3", region, profile, None, config, connection.BULK), None, own=True
        )

    @property
    def url(self) -> str:
        """What stands before the name of every object."""
        return f"s3://{self._bucket}/{self._prefix}"

    def put(self, name: str, content: bytes) -> None:
        """Store an object."""
        self._call("put_object", name, Body=content)

    def get(self, name: str, length: int) -> bytes | None:
        """The content of an object of `length` bytes; None if there is none of that length."""
        try:
            response = self._call("get_object", name)
        except StoreUnavailableError as error:
            if error.code in _NOT_THERE:
                return None
            if error.code != "AccessDenied":
                raise
            # What S3 also answers for a missing object to those who may not list the bucket.
            _once.warning(self.url, "dynmemo takes a value in S3 for missing: %s, or the object is gone", error)
            return None
        with response["Body"] as body:
            return self._read(body) if response["ContentLength"] == length else None

    def delete(self, name: str) -> None:
        """Delete an object, which may be missing."""
        self._call("delete_object", name)

    def close(self) -> None:
        """Give connections back."""
        self._connection.close()

    def _read(self, body: Any) -> bytes:
        try:
            content: bytes = body.read()
        except Exception as error:
            raise self._failure(error, "get_object") from error
        return content

    def _call(self, method: str, name: str, **parameters: Any) -> dict[str, Any]:
        try:
            send = getattr(self._connection.client(), method)
            response: dict[str, Any] = send(Bucket=self._bucket, Key=self._prefix + name, **parameters)
        except Exception as error:  # noqa: BLE001 - whatever it is, callers get ours
            failure = self._failure(error, method)
            if failure.code in CREDENTIAL_TROUBLE:
                self._connection.forget()
            raise failure from (None if failure.code in _QUOTES_SECRETS else error)
        return response

    def _failure(self, error: Exception, method: str) -> StoreUnavailableError:
        if isinstance(error, StoreUnavailableError):
            return error
        operation = "".join(word.capitalize() for word in method.split("_"))
        response = getattr(error, "response", None)
        request_id = None
        if isinstance(response, dict):
            code = response["Error"].get("Code", "")
            message = "" if code in _QUOTES_SECRETS else response["Error"].get("Message", "")
            request_id = response.get("ResponseMetadata", {}).get("RequestId")
            text = f"{_BY_CODE.get(code, 'S3 refused the request')} ({'; '.join(filter(None, (code, message)))})"
        else:
            code, text = of_class(error)
        return StoreUnavailableError(
            f"{operation} in {self.url} failed: {text}",
            operation=operation,
            table=self.url,
            request_id=request_id,
            code=code,
        )
