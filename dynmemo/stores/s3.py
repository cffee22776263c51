"""Objects in an S3 bucket, for values that are too large for a row."""

from __future__ import annotations

import copy
import re
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeGuard, runtime_checkable

from dynmemo import parts as of
from dynmemo._process import Once
from dynmemo.errors import DynmemoError, InvalidOptionError, StoreUnavailableError
from dynmemo.item import Refused
from dynmemo.stores.dynamodb import connection
from dynmemo.stores.dynamodb.connection import Connection
from dynmemo.stores.dynamodb.errors import CREDENTIAL_TROUBLE, is_refusal, of_class

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from botocore.config import Config

    from dynmemo.item import Expect, Item, Parts, Store, Written
    from dynmemo.stats import Meter

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
        if response["ContentLength"] != length:
            response["Body"].close()
            return None
        with response["Body"] as body, self._asking("get_object"):
            content: bytes = body.read()
        return content

    def delete(self, name: str) -> None:
        """Delete an object, which may be missing."""
        self._call("delete_object", name)

    def close(self) -> None:
        """Give connections back."""
        self._connection.close()

    def _call(self, method: str, name: str, **parameters: Any) -> dict[str, Any]:
        with self._asking(method):
            send = getattr(self._connection.client(), method)
            response: dict[str, Any] = send(Bucket=self._bucket, Key=self._prefix + name, **parameters)
        return response

    @contextmanager
    def _asking(self, method: str) -> Iterator[None]:
        """What goes wrong in here becomes one of our errors."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, callers get ours
            failure = self._failure(error, method)
            if failure.code in CREDENTIAL_TROUBLE:
                self._connection.forget()
            raise failure from (None if failure.code in _QUOTES_SECRETS else error)
        except BaseException:  # Ctrl-C, or what a signal handler raised
            self._connection.abandon()
            raise

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


@runtime_checkable
class TellsRemoved(Protocol):
    """A store that tells where the values of rows lay that it replaces (`Written.replaced`) and removes."""

    def remove_and_tell(self, key: str, expect: Expect | None = None) -> tuple[bool, Parts | None]:
        """As `Store.remove`, with where the value of the removed row lay, if that was outside of it."""
        ...


class OverflowStore:
    """A store whose values of more than `above` bytes lie in a bucket; implements `dynmemo.item.Store`.

    Args:
        store: holds the rows.
        bucket: holds the objects, each under the write id of its value.
        above: bytes of the largest value that the store itself gets.
    """

    def __init__(self, store: Store, bucket: Bucket, above: int) -> None:
        self._store = store
        self._bucket = bucket
        self._above = above
        self._meters: tuple[Meter, ...] = ()

    @property
    def location(self) -> str:
        return f"{self._store.location}, large values in {self._bucket.url}"

    def metered(self, meter: Meter) -> Self:
        twin = copy.copy(self)
        twin._store = self._store.metered(meter)
        twin._meters = (*self._meters, meter)
        return twin

    def partition_key(self, key: str) -> str:
        return self._store.partition_key(key)

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        return self._whole(key, self._store.read(key, consistent=consistent))

    def read_many(self, keys: Sequence[str]) -> dict[str, Item]:
        rows = ((key, self._whole(key, row)) for key, row in self._store.read_many(keys).items())
        return {key: row for key, row in rows if row is not None}

    def write(self, key: str, item: Item, expect: Expect | None = None) -> Written | Refused:
        before = None if isinstance(self._store, TellsRemoved) else self._standing(key)
        if item.value is None or len(item.value) <= self._above:
            answer = self._store.write(key, item, expect)
        else:
            answer = self._write_outside(key, item, item.value, expect)
        if isinstance(answer, Refused):
            return Refused(self._whole(key, answer.row))
        self._delete(answer.replaced or before)
        return answer

    def renew(self, key: str, etag: str, ttl_date: int, lease_waits: str | None = None) -> bool:
        return self._store.renew(key, etag, ttl_date, lease_waits)

    def touch(self, key: str, seen: Item, ttl_date: int) -> bool:
        return self._store.touch(key, seen, ttl_date)

    def remove(self, key: str, expect: Expect | None = None) -> bool:
        removed, before = self._remove(key, expect)
        if removed:
            self._delete(before)
        return removed

    def scan(self, prefix: str = "", *, fn: str | None = None, segments: int = 1) -> Iterator[tuple[str, Item]]:
        return self._store.scan(prefix, fn=fn, segments=segments)

    def patient(self) -> Self:
        twin = copy.copy(self)
        twin._store = self._store.patient()
        return twin

    def connect(self) -> None:
        self._store.connect()

    def open(self) -> None:
        self._store.open()

    def close(self) -> None:
        self._store.close()
        self._bucket.close()

    def _write_outside(self, key: str, item: Item, value: bytes, expect: Expect | None) -> Written | Refused:
        write_id = of.new_write_id(time.time())
        parts = of.outside(value, write_id, self._bucket.url + write_id)
        self._count()
        self._bucket.put(write_id, value)
        try:
            answer = self._store.write(key, replace(item, value=None, parts=parts), expect)
        except DynmemoError as error:
            if is_refusal(error):
                self._delete(parts)
            raise
        if isinstance(answer, Refused):
            self._delete(parts)
        return answer

    def _remove(self, key: str, expect: Expect | None) -> tuple[bool, Parts | None]:
        if isinstance(self._store, TellsRemoved):
            return self._store.remove_and_tell(key, expect)
        before = self._standing(key)
        return self._store.remove(key, expect), before

    def _standing(self, key: str) -> Parts | None:
        row = self._store.read(key)
        return None if row is None else row.parts

    def _whole(self, key: str, row: Item | None) -> Item | None:
        """The row with its value; one whose object is gone is read once more, then it is without."""
        if row is None or not _is_outside(row.parts):
            return row
        value = self._fetch(row.parts)
        if value is None:
            row = self._store.read(key, consistent=True)
            if row is None or not _is_outside(row.parts):
                return row
            value = self._fetch(row.parts)
        return replace(row, value=value)

    def _fetch(self, parts: Parts) -> bytes | None:
        if not self._is_ours(parts):
            return None
        self._count()
        value = self._bucket.get(parts.write_id, parts.length)
        return None if value is None else of.checked(value, parts)

    def _delete(self, parts: Parts | None) -> None:
        """Delete an object that nobody needs; what fails is left to the bucket's lifecycle rule."""
        if parts is not None and self._is_ours(parts):
            self._count()
            with suppress(StoreUnavailableError):
                self._bucket.delete(parts.write_id)

    def _is_ours(self, parts: Parts) -> bool:
        """Whether the object lies in our bucket; a row may name any place, and we do not go there."""
        return parts.location == self._bucket.url + parts.write_id and of.began_at(parts.write_id) is not None

    def _count(self) -> None:
        for meter in self._meters:
            meter.count()


class _ClearableOverflowStore(OverflowStore):
    """For a store that can delete all rows of a function; their objects are left to the bucket's lifecycle rule."""

    def remove_all(self, fn: str | None) -> int:
        removed: int = self._store.remove_all(fn)  # type: ignore[attr-defined]  # `overflowing` has looked
        return removed


def overflowing(store: Store, bucket: Bucket, above: int) -> Store:
    """`store` with its values of more than `above` bytes in `bucket`."""
    kind = _ClearableOverflowStore if hasattr(store, "remove_all") else OverflowStore
    return kind(store, bucket, above)


def _is_outside(parts: Parts | None) -> TypeGuard[Parts]:
    return parts is not None and parts.location is not None
