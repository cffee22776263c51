"""Where an entry comes from, what waiting people are told, and what neither of them ever says."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import textwrap
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import dynmemo
from dynmemo import Cache, InvalidOptionError, Origin, dynamo_cached
from dynmemo import origin as room
from dynmemo.codec import origin_told
from dynmemo.codec.envelope import TRAILER_SIZE, read_header
from dynmemo.counters import Meter
from dynmemo.item import Expect
from dynmemo.keys import key_name
from dynmemo.leases import Lease, Leases, Spot
from dynmemo.origin import MOST_BYTES, MOST_LEASE_BYTES, Reach, described, holder_text, read_origin, told_holder
from dynmemo.stores.dynamodb import DynamoDBStore
from tests.fleet.helpers import can_fork
from tests.origin.test_git import git
from tests.pythons import printed

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

    from dynmemo.item import Item
    from dynmemo.testing import Clock

SCALE = 2.0
SECRET = "hunter2hunter2"


def test_an_entry_says_who_computed_it_where_and_with_what(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def mean(values: list[float]) -> float:
        return float(np.mean(values)) * SCALE

    mean([1.0, 2.0])
    entry = mean.entry([1.0, 2.0])
    assert entry is not None
    origin = entry.origin
    assert origin is not None
    assert (origin.pid, origin.python, origin.dynmemo) == (
        os.getpid(),
        ".".join(map(str, sys.version_info[:3])),
        dynmemo.__version__,
    )
    assert origin.packages == {"numpy": np.__version__}
    assert origin.who in mean.explain([1.0, 2.0]).__str__()
    assert f"numpy {np.__version__}" in mean.explain([1.0, 2.0])._repr_html_()
    assert dynmemo.Origin.__module__ == "dynmemo"


SCRIPT = """
    import json, os, sys
    from dynmemo import dynamo_cached
    import helper

    seen = []

    @dynamo_cached(ttl="1h")
    def forecast(city, secret):
        import sqlite3
        with sqlite3.connect(os.environ["DYNMEMO_URL"].removeprefix("sqlite:///")) as connection:
            seen.append(connection.execute("SELECT lease_by FROM entries WHERE lease_by IS NOT NULL").fetchone()[0])
        return helper.smooth(secret)

    forecast("SEA", sys.argv[1])
    origin, key = forecast.entry("SEA", sys.argv[1]).origin, forecast.cache_key("SEA", sys.argv[1])
    print(json.dumps({"origin": str(origin), "program": origin.program, "lease": seen[0], "key": key}))
"""


HELPER = "def smooth(x):\n    return len(x)\n"


def run(folder: Path, script: str, *arguments: str, helper: str = HELPER, **variables: str) -> Any:
    (folder / "helper.py").write_text(helper, encoding="utf-8")
    (folder / "train.py").write_text(textwrap.dedent(script), encoding="utf-8")
    url = f"sqlite:///{(folder / 'cache.db').as_posix()}"
    return json.loads(printed("train.py", *arguments, folder=folder, DYNMEMO_URL=url, **variables))


def test_neither_command_line_nor_environment_nor_arguments_are_told(tmp_path: Path) -> None:
    told = run(tmp_path, SCRIPT, SECRET, ACCESS_KEY=SECRET, USER=SECRET, LOGNAME=SECRET, DYNMEMO_SECRET=SECRET * 3)
    assert told["program"] == "train.py"
    assert told["lease"].startswith('{"user":')
    with closing(Cache.sqlite(tmp_path / "cache.db", secret=SECRET * 3)) as cache:
        content = cache.get(told["key"])
    assert content is not None
    header = read_header(content)
    assert read_origin(origin_told(content)) is not None
    for text in (told["origin"], told["lease"], str(bytes(content[: header.size]))):
        assert SECRET not in text
        assert "SEA" not in text
        assert str(tmp_path) not in text


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_is_that_of_the_code_with_what_it_reaches(tmp_path: Path) -> None:
    script = """
        import json
        from dynmemo import dynamo_cached
        import helper

        @dynamo_cached
        def forecast():
            return helper.smooth("x")

        forecast()
        origin = forecast.entry().origin
        print(json.dumps([origin.commit, origin.dirty]))
    """
    assert run(tmp_path, script) == [None, None]
    (tmp_path / "cache.db").unlink()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "train.py", "helper.py")
    git(tmp_path, "commit", "-q", "-m", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert run(tmp_path, script) == [head, False]
    assert run(tmp_path, script, helper="def smooth(x):\n    return len(x) + 1\n") == [head, True]


def test_a_script_is_told_by_its_name_and_a_module_by_its_own(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/__main__.py").write_text(
        "from dynmemo.origin import _program\nprint(_program())", encoding="utf-8"
    )
    assert printed("-m", "pkg", folder=tmp_path).strip() == "pkg"
    assert printed("pkg/__main__.py", folder=tmp_path, JPY_SESSION_NAME="sales.ipynb").strip() == "__main__.py"
    assert printed("-m", "pkg", folder=tmp_path, JPY_SESSION_NAME="sales.ipynb").strip() == "sales.ipynb"
    name = "from dynmemo.origin import _program; print(_program())"
    assert printed("-c", name, folder=tmp_path, JPY_SESSION_NAME="/home/anna/sales.ipynb").strip() == "sales.ipynb"
    assert printed("-c", f"__vsc_ipynb_file__ = '/w/sales.ipynb'; {name}", folder=tmp_path).strip() == "sales.ipynb"
    assert printed("-c", name, folder=tmp_path).strip() == ""


@can_fork
def test_a_forked_child_says_its_own_process(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def number(x: int) -> int:
        return x

    def pid(x: int) -> int | None:
        number(x)
        entry = number.entry(x)
        return None if entry is None or entry.origin is None else entry.origin.pid

    assert pid(1) == os.getpid()
    child = os.fork()
    if not child:
        os._exit(0 if pid(2) == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    with closing(Cache.from_url(f"sqlite:///{(tmp_path / 'cache.db').as_posix()}?origin=false")) as cache:
        rows: list[Item | None] = []

        @dynamo_cached(cache=cache)
        def number(x: int) -> int:
            rows.append(cache.store.read(number.cache_key(x)))
            return x

        number(1)
        entry = number.entry(1)
        assert entry is not None
        assert entry.origin is None
        assert rows[0] is not None
        assert rows[0].lease_by is None
        assert number.explain(1).origin is None
        content = cache.get(number.cache_key(1))
        assert content is not None
        assert origin_told(content) == b""


def test_the_switch_takes_yes_or_no(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="origin= takes True or False, not 'no'"):
        Cache.sqlite(tmp_path / "cache.db", origin="no")  # type: ignore[arg-type]


def test_the_longest_names_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    here = room._Here("ü" * 300, "host" * 100, 4_194_304, "notebook" * 40 + ".ipynb")
    monkeypatch.setattr(room, "_here", lambda: here)
    monkeypatch.setattr(room, "_version", lambda name: "1.2.3")
    packages = tuple(f"package{number}" for number in range(500))
    data = described.__wrapped__(Reach("f", (), packages))
    assert len(data) <= MOST_BYTES
    assert len(holder_text(time.time(), 1e6 / 7).encode()) <= MOST_LEASE_BYTES
    assert "computed since" in told_holder(holder_text(time.time(), 1.0))
    few = read_origin(described.__wrapped__(Reach("f", (), packages[:3])))
    assert few is not None
    assert few.pid == 4_194_304


def test_what_the_system_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(room, "_commit", fails)
    monkeypatch.setattr(room, "_version", fails)
    origin = read_origin(described.__wrapped__(Reach("f", ("/gone.py",), ("numpy",))))
    assert origin is not None
    assert (origin.commit, origin.dirty, origin.packages) == (None, None, {})


@pytest.mark.parametrize(
    "rubbish",
    [b"", b"{", b"[1]", b"[" * 100_000, b'"x"', b"\xff"],
    ids=["nothing", "cut", "list", "deep", "text", "no UTF-8"],
)
def test_rubbish_in_the_place_of_an_origin_is_none(rubbish: bytes) -> None:
    assert read_origin(rubbish) is None
    assert told_holder(rubbish.decode(errors="replace")) == "computed by another process"


def test_what_others_have_written_does_nothing_to_a_terminal() -> None:
    known = {"user": "a\x1b[2J\r\nb", "host": ["x"], "pid": "1", "packages": {"n\x07": 1}, "dirty": 1, "commit": 5}
    assert read_origin(json.dumps(known).encode()) == Origin(user="a[2Jb", packages={"n": ""})
    for since in (float("inf"), float("nan"), -1, 1e300, True, "x"):
        assert told_holder(json.dumps({"since": since, "took": since})) == "computed by @ (pid 0)"


def test_who_waits_is_told_since_when_and_how_long_it_took_last_time(cache: Cache, clock: Clock) -> None:
    clock.now = time.time()
    rows: list[Item | None] = []
    scale = 1

    @dynamo_cached(cache=cache, ttl="1h")
    def slow(x: int) -> int:
        rows.append(cache.store.read(slow.cache_key(x)))
        return x * scale

    def told() -> str:
        slow(1)
        row = rows[-1]
        assert row is not None
        return told_holder(row.lease_by)

    assert re.fullmatch(r"computed since \d\d:\d\d:\d\d by \S+ \(pid \d+(, [^)]+)?\)", told())
    clock.now += 3601
    assert re.search(r"\), last time it took \S+ m?s$", told())  # what expired says so
    scale = 2
    assert re.search(r"\), last time it took \S+ m?s$", told())  # what it took under the code before


def test_explain_says_who_computes(cache: Cache, clock: Clock) -> None:
    @dynamo_cached(cache=cache)
    def slow(x: int) -> int:
        return x

    slow(0)
    row = cache.store.read(slow.cache_key(0))
    assert row is not None
    assert row.gen is not None
    lease = Leases(cache.store, row.fn or "", clock=clock).claim(Spot.at(slow.cache_key(1)), row.gen, Expect())
    told = slow.explain(1)
    assert told.state == "computing"
    assert re.search(r"^computed since .* by .*\(pid \d+.*\); a call waits for the result$", told.detail)
    assert isinstance(lease, Lease)
    standing = cache.store.read(slow.cache_key(1))
    assert standing is not None
    cache.store.write(slow.cache_key(1), standing._replace(lease_by=None))  # as an earlier release writes it
    assert slow.explain(1).detail == "computed by another process; a call waits for the result"


@pytest.mark.dynamodb
def test_claims_and_renewals_cost_one_write_unit_whatever_the_names(
    dynamodb_table: str, dynamodb_endpoint: str, dynamodb_client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = room._Here("u" * 300, "h" * 300, 4_194_304, "p" * 300)
    monkeypatch.setattr(room, "_here", lambda: here)
    meter = Meter()
    with closing(DynamoDBStore(dynamodb_table, endpoint_url=dynamodb_endpoint)) as store:
        fn = key_name("f" * 500, "n" * 30)
        key = f"{fn}:v{'1' * 100}:{'a' * 32}#lease"
        store.open()
        stamp = f"{'g' * 16}.{'g' * 16}.999.{'p' * 8}"
        lease = Leases(store.metered(meter), fn).claim(Spot.at(key), stamp, Expect(), took=1e6 / 7)
        assert isinstance(lease, Lease)
        assert (meter.requests, meter.write_units) == (1, 1)
        assert lease._hold.renew()
        assert (meter.requests, meter.write_units) == (2, 2)
        [row] = dynamodb_client.scan(TableName=dynamodb_table, ConsistentRead=True)["Items"]
        assert len(row["lease_by"]["S"]) > MOST_LEASE_BYTES - 10
        lease.give_up()


def test_a_changed_origin_is_found(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def number(x: int) -> int:
        return x

    number(1)
    row = cache.store.read(number.cache_key(1))
    assert row is not None
    content = bytes(row.value or b"")
    forged = content.replace(b'"pid":', b'"pid":1', 1)[: len(content)]
    assert len(forged) > TRAILER_SIZE
    assert forged != content
    cache.store.write(number.cache_key(1), row._replace(value=forged))
    assert number.explain(1).state == "unreadable"
