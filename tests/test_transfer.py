"""Entries on their way to another cache: the team hits all of them."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pytest

import dynmemo
from dynmemo import Cache, InvalidOptionError, dynamo_cached
from dynmemo.integrations.sealed import Sealed
from dynmemo.item import Content, Item, settled
from dynmemo.leases import Watch
from dynmemo.stores.sqlite import SqliteStore
from dynmemo.transfer import transfer
from tests.pythons import ran

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dynmemo.transfer import Transferred


def kept_in(cache: Cache, name: str = "moved", **options: Any) -> Any:
    @dynamo_cached(cache=cache, name=name, version="1", **options)
    def f(n: int) -> Any:
        return {"number": n, "array": np.arange(n)}

    return f


@pytest.fixture
def mine(tmp_path: Path) -> Cache:
    return Cache.sqlite(tmp_path / "mine.db", secret="mine" * 8)


@pytest.fixture(params=["other secret", "encrypted", "no secret", pytest.param("dynamodb", marks=pytest.mark.dynamodb)])
def team(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    if request.param == "dynamodb":
        table, endpoint = (request.getfixturevalue(name) for name in ("dynamodb_table", "dynamodb_endpoint"))
        given = f"region=eu-west-1&endpoint_url={quote(endpoint, safe='')}&partition_key_prefix=team&secret={'t' * 32}"
        return Cache.from_url(f"dynamodb://{table}?{given}")
    secret: dict[str, Any] = {"no secret": {"secret": ""}}.get(request.param, {"secret": "team" * 8})
    return Cache.sqlite(tmp_path / "team.db", **secret, encrypt=request.param == "encrypted")


def test_the_team_hits_all_that_was_pushed(mine: Cache, team: Cache) -> None:
    numbers = [*range(60), 100_000, 200_000]  # the last two lie in files, or in parts
    for n in numbers:
        kept_in(mine, ttl="1h")(n)
    would = transfer(mine, team, dry_run=True)
    done = transfer(mine, team)
    assert (would.copied, done.copied, done.unreadable, done.too_large) == (62, 62, 0, 0)
    assert would.size == done.size
    f = kept_in(team)
    for n in numbers:
        assert (f(n)["array"] == np.arange(n)).all()
    assert (f.cache_info().hits, f.cache_info().misses) == (62, 0)
    again = transfer(mine, team)
    assert (again.copied, again.kept) == (0, 62)


def test_only_what_is_live_is_copied_and_nothing_over_something_newer(mine: Cache, tmp_path: Path) -> None:
    team = Cache.sqlite(tmp_path / "team.db")
    f, theirs = kept_in(mine), kept_in(team)
    other = kept_in(mine, "other")
    other(1)
    other.cache_clear()
    f(1)
    f(2)
    assert transfer(mine, team).copied == 2
    theirs.recompute(1)
    newer = theirs.entry(1).computed_at
    assert transfer(mine, team).kept == 2
    assert theirs.entry(1).computed_at == newer
    assert transfer(mine, team, replace=True).copied == 1
    assert theirs.entry(1).computed_at == f.entry(1).computed_at
    theirs.cache_clear()
    assert transfer(mine, team, fn="moved").copied == 2
    assert theirs.entry(1) is not None


def test_what_the_secret_does_not_verify_is_not_copied(mine: Cache, tmp_path: Path) -> None:
    kept_in(mine)(1)
    thief = Cache.sqlite(tmp_path / "mine.db", secret="guessed" * 8)
    team = Cache.sqlite(tmp_path / "team.db")
    assert transfer(thief, team).unreadable == 1
    assert kept_in(team).entry(1) is None


def test_push_and_pull_as_functions_are_compressed_as_where_they_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"sqlite:///{(tmp_path / name).as_posix()}" for name in ("mine.db", "team.db?compression=zstd", "not.db")]
    monkeypatch.setenv("DYNMEMO_URL", urls[0])
    f = kept_in(Cache.from_url(urls[0]))
    f(5_000)
    assert dynmemo.push("moved", to=urls[1], dry_run=True).copied == 1
    assert not (tmp_path / "team.db").exists()
    done = dynmemo.push(f, to=urls[1])
    assert (done.copied, done.size < f.entry(5_000).size / 2) == (1, True)
    assert "1 entry" in done._repr_html_()
    size = f.entry(5_000).size
    f.cache_clear()
    assert dynmemo.pull(source=Cache.from_url(urls[1]), cache=Cache.from_url(urls[0])).size == size
    assert dynmemo.pull(f, source=urls[1]).kept == 1
    with pytest.raises(InvalidOptionError, match=r"nothing of the name 'movd' .* did you mean moved"):
        dynmemo.push("movd", to=urls[1])
    with pytest.raises(InvalidOptionError, match=r"pull\(\) takes a function"):
        dynmemo.pull(3, source=urls[1])  # type: ignore[arg-type]
    assert dynmemo.pull(source=urls[2]).copied == 0
    with pytest.raises(InvalidOptionError, match="a cache is given as a Cache or a URL, not as NoneType"):
        dynmemo.push(to=None)  # type: ignore[arg-type]
    with pytest.raises(InvalidOptionError, match="a cache is given as a Cache or a URL, not as NoneType"):
        dynmemo.pull(source=None)  # type: ignore[arg-type]


def test_push_and_pull_from_the_command_line(tmp_path: Path) -> None:
    mine, team = (f"sqlite:///{(tmp_path / name).as_posix()}" for name in ("mine.db", "team.db"))
    kept_in(Cache.from_url(mine))(1)
    done = ran("-m", "dynmemo", "push", "moved", "--url", mine, "--to", team, "--dry-run")
    assert done.stdout.startswith("Would copy 1 entry"), done.stderr
    assert not (tmp_path / "team.db").exists()
    done = ran("-m", "dynmemo", "push", "--url", mine, "--to", f"{team}?secret={'s' * 32}", "--json")
    assert json.loads(done.stdout)["copied"] == 1
    Cache.from_url(mine).store.remove(kept_in(Cache.from_url(mine)).cache_key(1))
    done = ran("-m", "dynmemo", "pull", "--url", mine, "--from", f"{team}?secret={'s' * 32}")
    assert done.stdout.startswith("Copied 1 entry"), done.stderr
    assert kept_in(Cache.from_url(mine)).entry(1) is not None
    done = ran("-m", "dynmemo", "push", "--url", mine, "--to", f"{team}?max_value_bytes=1")
    assert (done.returncode, "larger than the target accepts" in done.stdout) == (1, True)


class Replaced(Content):
    """A file that somebody exchanges after it was read and verified."""

    __slots__ = ("_after", "_before")
    identity = None

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before, self._after = before, after

    def __len__(self) -> int:
        return len(self._before)

    def __bytes__(self) -> bytes:
        return self._after

    def load(self, *, mapped: bool = True) -> memoryview:
        return memoryview(bytearray(self._before))

    def pieces(self, end: int) -> Iterator[bytes]:
        yield self._after[:end]


def test_the_header_that_is_signed_anew_is_the_one_that_was_verified(
    mine: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Cache.sqlite(tmp_path / "team.db", secret="team" * 8)
    f = kept_in(mine)
    f(1)
    row = mine.store.read(f.cache_key(1))
    assert row is not None
    value = settled(row.value or b"")
    forged = value.replace(b"pickle", b"pikkle")
    read = SqliteStore.read
    monkeypatch.setattr(
        SqliteStore,
        "read",
        lambda store, key, **how: (
            row._replace(value=Replaced(value, forged))
            if store is mine.store and key == f.cache_key(1)
            else read(store, key, **how)
        ),
    )
    assert transfer(mine, team).copied == 1
    assert kept_in(team).entry(1) is not None


@pytest.mark.parametrize(("beats", "copied"), [(False, 1), (True, 0)], ids=["died", "lives"])
def test_a_lease_is_in_the_way_as_long_as_its_holder_lives(
    mine: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beats: bool, copied: int
) -> None:
    team = Cache.sqlite(tmp_path / "team.db")
    f, key = kept_in(mine), kept_in(mine).cache_key(1)
    f(1)
    generation = team.generations.ensured(team.store, "moved").stamp("")
    lease = Item(fn="moved", gen=generation, lease_owner="of another machine", lease_seconds=30.0, lease_beat=0)
    team.store.write(key, lease)
    now = [1_000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if beats:
            team.store.write(key, lease._replace(lease_beat=1))

    monkeypatch.setattr("dynmemo.transfer.time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr("dynmemo.transfer.Watch", partial(Watch, clock=lambda: now[0]))
    done = transfer(mine, team)
    assert (done.copied, done.kept) == (copied, 1 - copied)
    assert now == [1_030.0]


def test_what_the_target_s_present_secret_does_not_verify_is_replaced(mine: Cache, tmp_path: Path) -> None:
    kept_in(mine)(1)
    transfer(mine, Cache.sqlite(tmp_path / "team.db", secret="old" * 8))
    team = Cache.sqlite(tmp_path / "team.db", secret="new" * 8)
    assert transfer(mine, team).copied == 1
    assert kept_in(team).entry(1) is not None


def test_what_the_target_computes_after_a_clear_meanwhile_stays(mine: Cache, tmp_path: Path) -> None:
    team = Cache.sqlite(tmp_path / "team.db")
    f, theirs = kept_in(mine), kept_in(team)
    for n in range(100):
        f(n)

    def clear(now: Transferred) -> None:
        if now.copied == 1:
            theirs.cache_clear()
            for n in range(100):
                theirs(n)

    done = transfer(mine, team, progress=clear)
    assert done.kept > 0
    assert all(theirs.entry(n) is not None for n in range(100))


@pytest.mark.dynamodb
def test_what_is_cleared_in_the_source_meanwhile_is_no_more_copied(
    dynamodb_table: str, dynamodb_endpoint: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"region": "eu-west-1", "endpoint_url": dynamodb_endpoint}
    mine, team = Cache.dynamodb(dynamodb_table, **given), Cache.sqlite(tmp_path / "team.db")
    for n in range(90):
        kept_in(mine)(n)

    def clear(now: Transferred) -> None:
        if now.copied == 1:
            kept_in(mine).cache_clear()

    assert transfer(mine, team, progress=clear).copied < 90


def test_a_push_says_what_it_cannot_verify_and_what_is_no_more_encrypted(tmp_path: Path) -> None:
    plain, signed = (f"sqlite:///{(tmp_path / name).as_posix()}" for name in ("plain.db", "signed.db"))
    signed += f"?secret={'s' * 32}"
    kept_in(Cache.from_url(plain))(1)
    done = ran("-m", "dynmemo", "push", "--url", plain, "--to", signed)
    assert "trusted there, whoever wrote it" in done.stderr
    done = ran("-m", "dynmemo", "push", "--url", f"{plain}.not", "--to", plain, "--json")
    assert (json.loads(done.stdout)["copied"], "there is nothing at" in done.stderr) == (0, True)
    done = ran("-m", "dynmemo", "push", "--url", signed, "--to", plain)
    assert done.stderr == ""
    done = ran("-m", "dynmemo", "push", "--url", f"{signed}&encrypt=true", "--to", plain)
    assert "will not be" in done.stderr


def test_what_an_adapter_stored_is_sealed_anew_and_other_bytes_of_regions_stay_as_they_are(
    mine: Cache, team: Cache
) -> None:
    sessions = Sealed(mine, "web")
    sessions.set("sealed", {"user": 7}, 3600)
    sessions.region.set("plain", b"bytes")
    mine.store.write("web::forged", mine.store.read("web::sealed") or Item())
    done = transfer(mine, team, fn="web")
    assert (done.copied, done.unreadable) == (3, 0)
    there = Sealed(team, "web")
    assert (there.get("sealed"), there.get("forged"), there.region.get("plain")) == ({"user": 7}, None, b"bytes")
    there.set("sealed", {"user": 8}, 3600)
    assert transfer(mine, team, fn="web").copied == 0
    assert there.get("sealed") == {"user": 8}
