"""A deadline for answers that drip.

botocore's read timeout bounds the wait for the next bytes only, so a server that sends one byte per second keeps a
call for as long as it likes. Here the whole answer, status line and headers included, has a deadline too. It is looked
at when bytes are read from the socket, which a hit does once or twice: no thread, no timer.
"""

from __future__ import annotations

import socket
import time
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ANSWER_TIMEOUTS = 2
"""How many read timeouts a whole answer may take: a row of 400 KB needs 1.5 Mbit/s then."""


class _Reader(socket.SocketIO):
    """Reads from a socket until a deadline."""

    _sock: socket.socket
    deadline: float

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer was not complete in time")
        if left < (self._sock.gettimeout() or 0):
            self._sock.settimeout(left)
        return super().readinto(buffer)


class _Response(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        seconds = sock.gettimeout()  # urllib3 has just set it to the read timeout, as it does for every request
        raw = getattr(self.fp, "raw", None)
        if seconds is not None and type(raw) is socket.SocketIO:
            raw.__class__ = _Reader
            raw.deadline = time.monotonic() + ANSWER_TIMEOUTS * seconds  # type: ignore[attr-defined]


class _Connection(AWSHTTPConnection):
    response_class = _Response  # type: ignore[assignment]  # that of botocore only adds what S3 needs


class _SecureConnection(AWSHTTPSConnection):
    response_class = _Response  # type: ignore[assignment]


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(AWSHTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def bound_answers(client: Any) -> None:
    """Give every answer to this boto3 client a deadline, those through an HTTP proxy too.

    botocore has no option for it. Should a release keep its pools elsewhere, its own timeout is what remains.
    """
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    pools = getattr(session, "_pool_classes_by_scheme", None)
    if isinstance(pools, dict):
        pools.update(http=_Pool, https=_SecurePool)
