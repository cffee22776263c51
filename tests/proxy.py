"""A proxy before DynamoDB Local that counts what passes through and breaks what it is told to break.

with Proxy(dynamodb_endpoint) as proxy:
    proxy.breaks("BatchGetItem", denied("BatchGetItem"))      # every one from now on
    proxy.breaks("PutItem", LoseAnswer(), times=1)            # the next one only
    ...
    assert proxy.counts == {"GetItem": 1}                     # requests that arrived, by operation
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Answer:
    """Answer this instead of forwarding."""

    body: bytes
    status: int = 400
    request_id: str | None = "FROM-THE-PROXY"
    content_type: str | None = "application/x-amz-json-1.0"


@dataclass(frozen=True)
class LoseAnswer:
    """Forward, then close the connection without answering: the request was done, its sender does not know."""


@dataclass(frozen=True)
class Stall:
    """Take the request and never answer."""


@dataclass(frozen=True)
class Delay:
    """Forward and answer, after so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Drip:
    """Forward, and answer byte by byte with so many seconds in between, headers included."""

    seconds: float


@dataclass(frozen=True)
class Reset:
    """Forward, and reset the connection in the middle of the answer."""


@dataclass(frozen=True)
class Refuse:
    """Reset the connection at once, without forwarding."""


@dataclass(frozen=True)
class Rewrite:
    """Forward, and answer with what `change` makes of the answer."""

    change: Callable[[dict[str, Any]], dict[str, Any]]


Fault = Answer | LoseAnswer | Stall | Delay | Drip | Reset | Refuse | Rewrite


def error(code: str, message: str = "", status: int = 400, **members: object) -> Answer:
    """An error as DynamoDB answers it."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **members}
    return Answer(json.dumps(body).encode(), status)


def denied(operation: str) -> Answer:
    """What IAM lets DynamoDB answer to an action that is not allowed."""
    return error(
        "AccessDeniedException",
        f"User: arn:aws:sts::123456789012:assumed-role/worker is not authorized to perform: dynamodb:{operation} on "
        "resource: arn:aws:dynamodb:eu-west-1:123456789012:table/weather because no identity-based policy allows it",
    )


@dataclass(frozen=True)
class Request:
    """A request that arrived."""

    operation: str
    headers: dict[str, str]
    body: dict[str, Any]


class Proxy:
    """Listens on a free port of this machine while its block lasts."""

    def __init__(self, upstream: str) -> None:
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self._upstream = urlsplit(upstream).netloc
        self._faults: list[tuple[str, Fault, list[None] | None]] = []
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._server = _Server(self)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self.disconnect()
        self._server.server_close()  # waits for the threads of its connections

    @property
    def counts(self) -> Counter[str]:
        """How many requests of each operation arrived, retries of the SDK included."""
        return Counter(request.operation for request in self.requests)

    def breaks(self, operation: str, fault: Fault, times: int | None = None) -> None:
        """Apply `fault` to the next `times` requests of `operation` (``"*"``: any), or to all from now on."""
        with self._lock:
            self._faults.append((operation, fault, None if times is None else [None] * times))

    def heals(self) -> None:
        """Break nothing any more."""
        with self._lock:
            self._faults.clear()

    def disconnect(self) -> None:
        """Close every connection, as a server that restarts."""
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def connected(self, connection: socket.socket, *, open: bool) -> None:  # noqa: A002 - reads best
        with self._lock:
            (self._sockets.add if open else self._sockets.discard)(connection)

    def arrived(self, request: Request) -> Fault | None:
        """Note a request and choose its fault: of those that still apply the one told first."""
        with self._lock:
            self.requests.append(request)
            for operation, fault, left in self._faults:
                if operation in ("*", request.operation) and left != []:
                    if left is not None:
                        left.pop()
                    return fault
        return None

    def forward(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes, str | None]:
        upstream = http.client.HTTPConnection(self._upstream, timeout=30)
        try:
            upstream.request("POST", "/", body, headers)
            answer = upstream.getresponse()
            return answer.status, answer.read(), answer.getheader("x-amzn-RequestId")
        finally:
            upstream.close()


class _Dripping:
    """Writes byte by byte."""

    closed = False

    def __init__(self, connection: socket.socket, seconds: float, ended: threading.Event) -> None:
        self._connection = connection
        self._seconds = seconds
        self._ended = ended

    def write(self, content: bytes) -> None:
        for byte in content:
            if self._ended.wait(self._seconds):
                return
            self._connection.sendall(bytes([byte]))

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        self.closed = True


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.proxy.connected(self.connection, open=True)

    def finish(self) -> None:
        self.server.proxy.connected(self.connection, open=False)
        super().finish()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = dict(self.headers.items())
        operation = headers.get("X-Amz-Target", "").rpartition(".")[2]
        proxy = self.server.proxy
        fault = proxy.arrived(Request(operation, headers, json.loads(body)))
        if isinstance(fault, Stall):
            proxy.ended.wait()
            self.close_connection = True
        elif isinstance(fault, Answer):
            self._answer(fault.status, fault.body, fault.request_id, content_type=fault.content_type)
        elif isinstance(fault, Refuse):
            self._reset()
        else:
            if isinstance(fault, Delay):
                proxy.ended.wait(fault.seconds)
            self._relay(*proxy.forward(headers, body), fault)

    def _relay(self, status: int, body: bytes, request_id: str | None, fault: Fault | None) -> None:
        if isinstance(fault, LoseAnswer):
            self.close_connection = True
            return
        if isinstance(fault, Drip):
            self.wfile = _Dripping(self.connection, fault.seconds, self.server.proxy.ended)  # type: ignore[assignment]
            self.close_connection = True
        if isinstance(fault, Reset):
            self._answer(status, body[: len(body) // 2], request_id, len(body))
            self._reset()
            return
        if isinstance(fault, Rewrite):
            body = json.dumps(fault.change(json.loads(body))).encode()
        self._answer(status, body, request_id)

    def _reset(self) -> None:
        self.close_connection = True
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # closing then resets
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.server.close_request(self.connection)

    def _answer(
        self,
        status: int,
        body: bytes,
        request_id: str | None,
        length: int | None = None,
        content_type: str | None = "application/x-amz-json-1.0",
    ) -> None:
        self.send_response(status)
        if request_id is not None:
            self.send_header("x-amzn-RequestId", request_id)
        if content_type is not None:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Nothing."""
