"""What `configure` does to the environment, and takes back."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import cloudpickle
import pytest

import dynmemo
from dynmemo import Cache, InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECRET = "sixteen bytes or more"


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    monkeypatch.setattr("dynmemo.defaults._looked_up", None)  # and that of this test's home is forgotten after it
    yield lambda name: f"sqlite:///{(tmp_path / name).as_posix()}"
    dynmemo.configure(None)


def test_going_back_finds_the_url_of_the_environment_again(
    url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNMEMO_URL", url("before.db"))
    dynmemo.configure(url("one.db"))
    dynmemo.configure(url("two.db"))
    assert dynmemo.configure(None).url == os.environ["DYNMEMO_URL"] == url("before.db")


def test_a_secret_ends_with_the_cache_that_it_belongs_to(url: Callable[[str], str], tmp_path: Path) -> None:
    dynmemo.configure(Cache.sqlite(tmp_path / "signed.db", secret=SECRET))
    assert os.environ["DYNMEMO_SECRET"] == SECRET
    assert dynmemo.configure(url("plain.db")).secrets == ()
    assert "DYNMEMO_SECRET" not in os.environ


def test_a_variable_that_was_set_since_is_left_alone(
    url: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNMEMO_URL", url("before.db"))
    dynmemo.configure(url("one.db"))
    monkeypatch.setenv("DYNMEMO_URL", url("since.db"))
    assert dynmemo.configure(None).url == url("since.db")


def test_a_url_of_the_environment_that_is_wrong_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNMEMO_URL", "redis://localhost")
    with pytest.raises(InvalidOptionError, match=r"environment variable DYNMEMO_URL .*dynamodb:// or sqlite://"):
        dynmemo.configure(None)
    with pytest.raises(InvalidOptionError) as caught:
        Cache.from_url("redis://localhost")
    assert "DYNMEMO_URL" not in str(caught.value)


def test_a_url_that_is_refused_changes_nothing(url: Callable[[str], str]) -> None:
    cache = dynmemo.configure(url("one.db"))
    with pytest.raises(InvalidOptionError, match="lease_seconds"):
        dynmemo.configure(url("two.db") + "?lease_seconds=0")
    assert os.environ["DYNMEMO_URL"] == url("one.db")
    assert cache is not dynmemo.configure(None)


HOMELESS = """
import logging, os, pwd, sys

def nobody(uid):
    raise KeyError(uid)

pwd.getpwuid = nobody
logging.basicConfig(format="LOG %(message)s")
import asyncio
import cloudpickle

import dynmemo

@dynmemo.dynamo_cached
def one(x):
    return x + 1

@dynmemo.dynamo_cached
async def two(x):
    return x + 1

print(one(1), one(1), asyncio.run(two(1)), one.explain(1).state, one.cache_info().hits)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="homes are found otherwise there")
@pytest.mark.parametrize("home", [None, "", "relative", "/dev/null"])
@pytest.mark.parametrize("is_private", [True, False])
def test_without_a_home_a_private_temporary_folder_serves(
    tmp_path: Path, home: str | None, *, is_private: bool
) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME", "DYNMEMO_URL")
    }
    environment |= {"TMPDIR": str(tmp_path)} | ({} if home is None else {"HOME": home})
    folder = tmp_path / f"dynmemo-{os.getuid()}"
    folder.mkdir(mode=0o700 if is_private else 0o777)
    folder.chmod(0o700 if is_private else 0o777)
    done = subprocess.run(
        [sys.executable, "-c", HOMELESS], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
    )
    hits = 1 if is_private else 0
    assert done.stdout.split() == ["2", "2", "2", "live" if is_private else "unavailable", str(hits)]
    said = [line for line in done.stderr.splitlines() if line.startswith("LOG")]
    assert len(said) == (1 if is_private else 2)  # one for each function that cannot use it
    assert all("there is no home folder of ours" in line and str(folder) in line for line in said)
    assert (folder / "cache.db").exists() == is_private


def test_a_path_below_a_home_that_nobody_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(self: object) -> object:
        raise RuntimeError("no home")

    monkeypatch.setattr("pathlib.Path.expanduser", unknown)
    with pytest.raises(InvalidOptionError, match="no home or working folder; give the whole path"):
        Cache.sqlite("~/cache.db")


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the cache folder is said otherwise there")
def test_a_cache_folder_in_the_temporary_one_is_no_missing_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dynmemo.defaults._looked_up", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    dynmemo.configure(None).set("k", b"v")
    assert (tmp_path / "dynmemo" / "cache.db").exists()
    assert "shared by all programs of this user" in caplog.text
    assert "no home folder" not in caplog.text


def test_without_any_folder_calls_compute_and_say_what_to_set(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("dynmemo.defaults._looked_up", None)
    monkeypatch.setenv("HOME", "")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr("tempfile.gettempdir", none)

    @dynmemo.dynamo_cached
    def double(x: int) -> int:
        return 2 * x

    assert (double(1), double(1)) == (2, 2)
    assert caplog.text.count("neither a home folder nor a temporary one to keep results in; set DYNMEMO_URL") == 1
    sent: Callable[[int], int] = cloudpickle.loads(cloudpickle.dumps(double))
    assert sent(3) == 6
