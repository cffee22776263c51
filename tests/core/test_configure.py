"""What `configure` does to the environment, and takes back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

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
