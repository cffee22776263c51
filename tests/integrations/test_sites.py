"""Sessions of four frameworks, in two server processes on one table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from http.cookiejar import CookieJar
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from dynmemo.integrations.sealed import Sealed
from dynmemo.testing import Clock
from tests.integrations.sites import IDLE_SECONDS
from tests.integrations.test_sealed import OTHER_SECRET, SECRET, Witness

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:0", "--workers", "1"]
UVICORN = ["uvicorn", "--host", "127.0.0.1", "--port", "0"]


class Framework(NamedTuple):
    """How one serves, and what a page view costs there: requests, read units and write units."""

    server: list[str]
    to_count: list[int]
    to_look: list[int]


FRAMEWORKS = {
    # The window moves with the read; before it writes a session Django looks whether it is still there.
    "django": Framework(GUNICORN, to_count=[4, 2, 2], to_look=[2, 1, 1]),
    "flask": Framework(GUNICORN, to_count=[3, 1, 2], to_look=[2, 1, 1]),
    # These write the session with every page.
    "litestar": Framework(UVICORN, to_count=[2, 1, 1], to_look=[2, 1, 1]),
    "fastapi": Framework(UVICORN, to_count=[2, 1, 1], to_look=[2, 1, 1]),
}


class Site:
    """Two server processes, and a browser that goes to both."""

    def __init__(self, addresses: list[str], url: str, clock_file: Path) -> None:
        self.addresses = addresses
        self.clock = Clock.present()
        self._clock_file = clock_file
        self._browser = build_opener(HTTPCookieProcessor(CookieJar()))
        self._url = url
        self.tick(0)

    def tick(self, seconds: float) -> None:
        self.clock.now += seconds
        self._clock_file.write_text(str(self.clock.now), encoding="ascii")

    def visit(self, page: str = "", server: int = 0) -> str:
        text: str = self._browser.open(f"{self.addresses[server]}/{page}", timeout=60).read().decode()
        return text

    def cost(self, page: str) -> list[float]:
        """What one more view of a page costs a second later."""
        before = json.loads(build_opener().open(f"{self.addresses[0]}/info", timeout=60).read())
        self.tick(1)
        self.visit(page)
        after = json.loads(build_opener().open(f"{self.addresses[0]}/info", timeout=60).read())
        return [now - then for now, then in zip(after, before, strict=True)]

    def region(self, secret: str, serializer: str) -> Sealed:
        made = Sealed(self._url, "site", secret=secret, serializer=serializer)
        made.cache.clock = self.clock
        return made


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def site(framework: str, dynamodb_table: str, dynamodb_endpoint: str, tmp_path: Path) -> Iterator[Site]:
    if os.name == "nt" and FRAMEWORKS[framework].server is GUNICORN:
        pytest.skip("gunicorn needs fork")
    url = f"dynamodb://{dynamodb_table}?region=eu-west-1&endpoint_url={dynamodb_endpoint}"
    url += "&partition_key_name=id&ttl_attribute_name=ttl_date"
    clock_file = tmp_path / "clock"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DYNMEMO_SECRET": SECRET,
        "SITE_URL": url,
        "SITE_CLOCK": str(clock_file),
    }
    command = [sys.executable, "-m", *FRAMEWORKS[framework].server, f"tests.integrations.sites.{framework}_site:app"]
    with ExitStack() as ended:
        servers = []
        for _ in range(2):
            server = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
            ended.callback(stop, server)
            servers.append(server)
        yield Site([address_of(server) for server in servers], url, clock_file)


def address_of(server: subprocess.Popen[str]) -> str:
    assert server.stderr is not None
    said = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"http://127\.0\.0\.1:[1-9]\d*", line):
            return found[0]
    raise AssertionError("".join(said))


def stop(server: subprocess.Popen[str]) -> None:
    server.terminate()
    try:
        server.communicate(timeout=30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.communicate()


@pytest.mark.slow
def test_the_page_count_of_a_user(site: Site, framework: str, tmp_path: Path) -> None:
    # One session, whichever server answers.
    assert [site.visit(server=server) for server in (0, 1, 1, 0)] == ["1", "2", "3", "4"]

    # What a page view costs: the first one on each server has also read the region's generation.
    costs = FRAMEWORKS[framework]
    assert (site.cost("look"), site.cost("")) == (costs.to_look, costs.to_count)

    # It lives for 90 s after each read, on both servers, and not longer.
    for server in (0, 1):
        site.tick(IDLE_SECONDS - 1)
        assert site.visit("look", server) == "5"
    site.tick(IDLE_SECONDS + 1)
    assert site.visit("look", 1) == "0"
    assert site.visit() == "1"

    # Signed with another secret it is none, and nothing of it is unpickled.
    witness = tmp_path / "witness"
    serializer = "pickle" if framework in ("django", "flask") else "bytes"
    forged = site.region(OTHER_SECRET, serializer)
    keys = [key.removeprefix("site::") for key, _ in forged.cache.store.scan("site::")]
    for key in keys:
        forged.set(key, Witness(witness) if serializer == "pickle" else b'{"visits": 100}', 60)
    assert keys
    assert site.visit("look") == "0"
    assert site.visit() == "1"
    assert not witness.exists()
