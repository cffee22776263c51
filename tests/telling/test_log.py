"""What the logger is told, and what `verbose` shows in words."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
import types
from typing import TYPE_CHECKING

import pytest

import dynmemo
from dynmemo import InvalidOptionError, dynamo_cached, telling
from dynmemo.item import Item
from dynmemo.leases import flights
from dynmemo.testing.together import until
from tests.pythons import ran

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dynmemo import Cache
    from dynmemo.testing import Clock

SECRET = "hunter2hunter2"


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "dynmemo")
    return caplog


@pytest.fixture
def quiet_again() -> Iterator[None]:
    yield
    telling.verbose = False


def lines(log: pytest.LogCaptureFixture, level: int | None = None) -> list[str]:
    """What was logged since the last time, times and sizes left out."""
    found = [record.getMessage() for record in log.records if level in (None, record.levelno)]
    log.clear()
    return [re.sub(r"\d[\de.-]* (ms|s|bytes)\b", "_", line) for line in found]


def test_a_miss_and_a_hit_are_told_with_their_reason(cache: Cache, log: pytest.LogCaptureFixture) -> None:
    @dynamo_cached(cache=cache, name="forecast")
    def forecast(city: str, horizon: int = 14) -> str:
        return city * horizon

    forecast(SECRET)
    assert lines(log) == [
        "forecast(): miss, absent: nothing is stored under this key",
        "forecast(): computing",
        "forecast(): computed in _",
        "forecast(): stored _",
    ]
    forecast(SECRET, 7)
    told = lines(log)
    assert told[0] == "forecast(): miss, absent: nothing is stored under this key; argument `horizon` differs"
    forecast(SECRET)
    [hit] = lines(log)
    assert re.fullmatch(r"forecast\(\): hit: never expires \(_, computed .* UTC in _\)", hit)
    forecast.cache_clear()
    assert lines(log) == ["forecast(): cleared"]
    forecast(SECRET)
    assert not any(SECRET in line for line in (*told, hit, *lines(log)))


def test_each_hit_of_a_sweep_is_told(cache: Cache, log: pytest.LogCaptureFixture) -> None:
    @dynamo_cached(cache=cache, name="few")
    def few(x: int) -> int:
        return x

    few.warm(range(3))
    log.clear()
    for _ in range(2):
        assert few.map([0, 1, 2, 2]) == [0, 1, 2, 2]
        told = lines(log)
        assert len(told) == 3
        assert all(line.startswith("few(): hit") for line in told)


@pytest.mark.parametrize("is_async", [False, True])
def test_each_near_hit_is_told(url: str, is_async: bool, log: pytest.LogCaptureFixture) -> None:
    cache = dynmemo.Cache.from_url(url if url.startswith("sqlite") else f"{url}&near=30s")

    def call() -> int:
        return asyncio.run(afew(1)) if is_async else few(1)

    @dynamo_cached(cache=cache, name="few")
    def few(x: int) -> int:
        return x

    @dynamo_cached(cache=cache, name="few", version="1")
    async def afew(x: int) -> int:
        return x

    for _ in range(3):
        call()
    log.clear()
    call()
    [hit] = lines(log)
    assert "few(): hit: never expires" in hit
    assert "; near: this process has read it" in hit


def test_without_debug_only_what_takes_time_is_told(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dynmemo")

    @dynamo_cached(cache=cache, name="fails")
    def fails(x: int) -> int:
        return 1 // x

    fails(1)
    fails(1)
    with pytest.raises(ZeroDivisionError):
        fails(0)
    told = lines(caplog, logging.INFO)
    assert told[:3] == ["fails(): computing", "fails(): computed in _", "fails(): stored _"]
    assert told[3:] == ["fails(): computing", "fails(): raised ZeroDivisionError after _"]


def test_a_lease_that_is_taken_over_is_told_with_its_holder(
    cache: Cache, clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    @dynamo_cached(cache=cache, name="slow")
    def slow(x: int) -> int:
        return x

    slow(0)
    row = cache.store.read(slow.cache_key(0))
    assert row is not None
    by = '{"user":"anna","host":"gpu3","pid":4711,"program":"sales.ipynb"}'
    lease = Item(ttl_date=int(clock.now) + 60, fn=row.fn, gen=row.gen, lease_owner="x", lease_beat=0, lease_by=by)
    cache.store.write(slow.cache_key(1), lease._replace(lease_seconds=0.0))
    lines(log)
    assert slow(1) == 1
    holder = "computed by anna@gpu3 (pid 4711, notebook sales.ipynb)"
    assert f"slow(): taken over, without a sign of life; it was {holder}" in lines(log)


def test_a_wait_within_the_process_is_told(cache: Cache, log: pytest.LogCaptureFixture) -> None:
    may_end = threading.Event()

    @dynamo_cached(cache=cache, name="slow")
    def slow(x: int) -> int:
        may_end.wait(60)
        return x

    leader = threading.Thread(target=slow, args=(1,))
    leader.start()
    until(lambda: any(flight.hold for flight in flights.running()))
    follower = threading.Thread(target=slow, args=(1,))
    follower.start()
    until(lambda: any("waiting" in record.getMessage() for record in log.records))
    may_end.set()
    for thread in (leader, follower):
        thread.join()
    assert "waiting for slow(): computed in this process" in lines(log)


def test_a_handler_may_call_cached_functions(cache: Cache, log: pytest.LogCaptureFixture) -> None:
    @dynamo_cached(cache=cache, name="label")
    def label(x: int) -> str:
        return f"label {x}"

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            label(1)

    handler = Handler()
    logging.getLogger("dynmemo").addHandler(handler)
    try:
        assert label(2) == "label 2"
    finally:
        logging.getLogger("dynmemo").removeHandler(handler)
    assert "label(): computed in _" in lines(log)


def test_verbose_shows_it_in_words_and_leaves_cache_and_logging_alone(
    cache: Cache, capsys: pytest.CaptureFixture[str], quiet_again: None
) -> None:
    @dynamo_cached(name="quick")
    def quick(x: int) -> int:
        return x

    level = logging.getLogger("dynmemo").level
    try:
        dynmemo.configure(cache)
        assert dynmemo.configure(verbose=True) is cache
        quick(1)
        quick(1)
        assert dynmemo.configure(verbose=False) is cache
        quick(1)
    finally:
        dynmemo.configure(None)
    told = [line.split("dynmemo: ")[1] for line in capsys.readouterr().err.splitlines()]
    assert [line.split(":")[0] for line in told] == [
        "quick()",
    ] * 5
    assert told[1] == "quick(): computing"
    assert told[-1].startswith("quick(): hit: never expires")
    assert logging.getLogger("dynmemo").level == level


def test_verbose_is_yes_or_no() -> None:
    with pytest.raises(InvalidOptionError, match="verbose= takes True or False, not 1"):
        dynmemo.configure(verbose=1)  # type: ignore[arg-type]


def test_a_variable_makes_a_program_verbose(tmp_path: Path) -> None:
    script = "from dynmemo import dynamo_cached\n@dynamo_cached\ndef f():\n    return 1\nf()\nf()\n"
    (tmp_path / "program.py").write_text(script, encoding="utf-8")
    url = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    done = ran("program.py", folder=tmp_path, DYNMEMO_URL=url, DYNMEMO_VERBOSE="1")
    assert (done.stdout, done.returncode) == ("", 0)
    assert re.findall(r"^\d\d:\d\d:\d\d dynmemo: program\.f\(\): (\w+)", done.stderr, re.MULTILINE) == [
        *("miss", "computing", "computed", "stored", "hit")
    ]
    assert ran("program.py", folder=tmp_path, DYNMEMO_URL=url, DYNMEMO_VERBOSE="0").stderr == ""


def test_logging_that_is_being_imported_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_logger", None)
    monkeypatch.setitem(sys.modules, "logging", types.ModuleType("logging"))
    telling.tell(telling.INFO, "%s", "nobody hears it")


def test_a_closed_stderr_stops_nothing(monkeypatch: pytest.MonkeyPatch, quiet_again: None) -> None:
    telling.verbose = True
    monkeypatch.setattr(sys, "stderr", None)
    telling.tell(telling.INFO, "%s", "nobody hears it")
