"""What a person sees who waits: one line that goes away, in a terminal and in a notebook. Nobody else sees anything."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import Cache, dynamo_cached, purge, push
from dynmemo.calls import display
from dynmemo.calls.display import Display, Notice
from dynmemo.item import Item
from dynmemo.leases.owner import owner_name
from dynmemo.origin import holder_text
from dynmemo.testing.together import until
from tests.fleet.helpers import ROOT, on_posix
from tests.notebooks.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.notebooks.kernels import Kernel

WAITS = """
    import multiprocessing, sys
    from dynmemo import dynamo_cached
    from dynmemo.calls import display

    display.NOTICE_SECONDS = 0.1

    @dynamo_cached(code="off")
    def forecast(city="SEA"):
        return 1

    def kind():
        print("a worker has", type(display.screen()).__name__, flush=True)

    if __name__ == "__main__":
        print(forecast.cache_key(), flush=True)
        sys.stdin.readline()
        try:
            forecast()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print("result", *forecast.map(["SEA"]), flush=True)
        worker = multiprocessing.get_context("spawn").Process(target=kind)
        worker.start()
        worker.join()
"""


class Screen:
    """The other side of a terminal, which a thread reads."""

    def __init__(self) -> None:
        self._ours, self.theirs = os.openpty()
        self.text = ""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._ours, 4_096):
                self.text += chunk.decode()
        except OSError:  # everybody else has closed it
            pass


@on_posix
def test_in_a_terminal_a_line_says_for_what_one_waits_and_goes_away(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(WAITS), encoding="utf-8")
    variables = {**os.environ, "DYNMEMO_URL": f"sqlite:///{tmp_path}/cache.db", "PYTHONPATH": str(ROOT)}
    screen = Screen()
    with (
        closing(Cache.sqlite(tmp_path / "cache.db")) as cache,
        subprocess.Popen(
            [sys.executable, "program.py"],
            cwd=tmp_path,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=screen.theirs,
            text=True,
        ) as program,
    ):
        os.close(screen.theirs)
        assert program.stdin is not None
        assert program.stdout is not None
        key = program.stdout.readline().strip()
        hold(cache, key)
        program.stdin.write("\n")
        program.stdin.flush()
        until(lambda: "waiting" in screen.text)
        program.send_signal(signal.SIGINT)
        assert program.stdout.readline() == "interrupted\n"
        until(lambda: screen.text.count("waiting") == 2)
        cache.remove(key)
        assert program.stdout.readline() == "result 1\n"
        assert program.stdout.readline() == "a worker has Display\n"
    line = r"\rwaiting for forecast\(\): computed since [\d:]+ by [^\r]+"
    assert re.fullmatch(rf"({line}\r +\r){{2}}", screen.text), screen.text


def hold(cache: Cache, key: str) -> None:
    """A lease that this process holds, in the generation of no row."""
    fn = key.split(":")[0]
    generation = cache.generations.ensured(cache.store, fn)
    now = time.time()
    cache.store.write(
        key,
        Item(
            ttl_date=int(now) + 3_600,
            fn=fn,
            gen=generation,
            lease_owner=owner_name(_Alive),
            lease_seconds=3_600.0,
            lease_beat=0,
            lease_by=holder_text(now, 180.0),
        ),
    )


class _Alive:
    is_alive = True


def shown_by(running: Kernel, act: Callable[[], object]) -> list[str]:
    """The HTML of all displays and updates that a kernel sent meanwhile, one after the other."""
    found: list[str] = []
    client: Any = running._client
    process = client.process_message

    def noting(message: Any, cell: Any, index: int) -> Any:
        if message["msg_type"] in {"display_data", "update_display_data"}:
            found.append(message["content"]["data"]["text/html"])
        return process(message, cell, index)

    client.process_message = noting
    try:
        act()
    finally:
        client.process_message = process
    return found


@pytest.mark.slow
def test_in_a_notebook_a_line_says_for_what_one_waits_and_goes_away(tmp_path: Path) -> None:
    url = f"sqlite:///{(tmp_path / 'cache.db').as_posix()}"
    define = """
        import time
        from pathlib import Path
        from dynmemo import dynamo_cached

        @dynamo_cached
        def forecast():
            Path("begun").touch()
            while not Path("may_end").exists():
                time.sleep(0.01)
            return 1
    """
    with (
        kernel(tmp_path, DYNMEMO_URL=url, JPY_SESSION_NAME="work/sales.ipynb") as anna,
        kernel(tmp_path, DYNMEMO_URL=url) as ben,
    ):
        for each in (anna, ben):
            each.run(define)
        computing = threading.Thread(target=anna.run, args=("forecast()",))
        computing.start()
        until((tmp_path / "begun").exists)
        threading.Timer(3.0, (tmp_path / "may_end").touch).start()
        outputs: list[Any] = []
        seen = shown_by(ben, lambda: outputs.extend(ben.outputs("forecast()")))
        computing.join()
    assert len(seen) == 2
    assert re.search(
        r">waiting for forecast\(\): computed since [\d:]+ by \S+ \(pid \d+, notebook sales.ipynb\)<", seen[0]
    )
    assert seen[1] == ""
    assert [output.output_type for output in outputs] == ["display_data", "execute_result"]


class Kept(Display):
    """A display that keeps its texts."""

    def __init__(self, *, bar: bool = False) -> None:
        super().__init__(bar=bar)
        self.texts: list[str] = []

    def _put(self, text: str, part: float | None, *, is_last: bool = False) -> None:
        self.texts.append(text)


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    """Where the waits of this test show."""
    made = Kept()
    monkeypatch.setattr(display, "screen", lambda **_: made)
    yield made
    assert Display.shown is None


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("has_bar", [False, True], ids=["line", "bar"])
def test_a_sweep_that_waits_says_so_in_one_line_or_in_its_bar(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, screen: Kept, has_bar: bool, is_async: bool
) -> None:
    bar = Kept(bar=True)
    monkeypatch.setattr("dynmemo.calls.progress.screen", lambda **_: bar)
    monkeypatch.setattr(display, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(display, "SHOW_SECONDS", 0.0)
    shown = bar if has_bar else screen

    def number(x: int) -> int:
        return x

    async def numbered(x: int) -> int:
        return x

    function: Any = {True: numbered, False: number}[is_async]
    function = dynamo_cached(cache=cache, name="number")(function)
    keys = [function.cache_key(x) for x in (2, 3)]
    for key in keys:
        hold(cache, key)

    def end() -> None:
        until(lambda: any("waiting" in text for text in shown.texts))
        cache.remove(keys[0])
        until(lambda: sum("waiting" in text for text in shown.texts) > 1)
        cache.remove(keys[1])

    ending = threading.Thread(target=end)
    ending.start()
    found = function.map([0, 1, 2, 3], progress=has_bar)
    assert (asyncio.run(found) if is_async else found) == [0, 1, 2, 3]
    ending.join()
    texts = [text for text in shown.texts if "waiting" in text]
    said = r"waiting for number\(\): computed since [\d:]+ by \S+ \(.*\), last time it took 3 min"
    assert all(re.fullmatch(rf"{said}; 2 computed, 2 left.*" if has_bar else said, text) for text in texts[:1])
    assert "waiting" not in shown.texts[-1]
    assert "waiting" not in shown.texts[shown.texts.index(texts[0]) + 1]
    assert (screen.texts == []) == has_bar


def test_what_shows_already_is_not_written_over(monkeypatch: pytest.MonkeyPatch, screen: Kept) -> None:
    monkeypatch.setattr(display, "NOTICE_SECONDS", 0.0)
    with Display() as progress, Notice("f") as notice:
        progress.show("50 %")
        notice.look()
        assert screen.texts == []
    with Notice("f") as notice:
        notice.look()
        notice.look(Item(lease_by=None))
        assert screen.texts == ["waiting for f(): computed in this process"]
    assert screen.texts[-1] == ""


def test_who_waits_is_told_once_the_place_is_free(monkeypatch: pytest.MonkeyPatch, screen: Kept) -> None:
    monkeypatch.setattr(display, "NOTICE_SECONDS", 0.0)
    monkeypatch.setattr(display, "SHOW_SECONDS", 0.0)
    with Notice("g") as other:
        with Notice("f") as first:
            first.look()
            other.look()
        other.look()
        assert screen.texts[-1] == "waiting for g(): computed in this process"


def test_other_threads_show_nothing(monkeypatch: pytest.MonkeyPatch, screen: Kept) -> None:
    monkeypatch.setattr(display, "NOTICE_SECONDS", 0.0)
    with Notice("f") as notice:
        thread = threading.Thread(target=notice.look)
        thread.start()
        thread.join()
    assert screen.texts == []


def test_a_display_that_cannot_show_stops_nothing() -> None:
    class Broken(Display):
        def _put(self, text: str, part: float | None, *, is_last: bool = False) -> None:
            raise OSError

    with Broken() as broken:
        broken.show("x")
    assert Display.shown is None


@on_posix
def test_a_bar_in_a_terminal_fills_or_moves_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "SHOW_SECONDS", 0.0)
    screen = Screen()
    with os.fdopen(screen.theirs, "w") as theirs:
        monkeypatch.setattr(sys, "stderr", theirs)
        with display.screen(bar=True) as shown:
            shown.show("1 of 2", 0.5)
            shown.show("3 entries")
        until(lambda: screen.text.endswith(" \r"))
    half, moving, gone, end = screen.text.removeprefix("\r").split("\r")
    assert half == "[#####     ]  50% 1 of 2"
    assert re.fullmatch(r"\[ *### *\] 3 entries *", moving)
    assert (moving[11], gone.strip(), end) == ("]", "", "")


@on_posix
def test_a_line_goes_away_also_when_ctrl_c_comes_right_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    signals = [signal.SIGINT]

    class Interrupted(io.TextIOWrapper):
        def flush(self) -> None:
            super().flush()
            while signals:
                signal.raise_signal(signals.pop())

    screen = Screen()
    with Interrupted(os.fdopen(screen.theirs, "wb", buffering=0), write_through=True) as theirs:
        monkeypatch.setattr(sys, "stderr", theirs)
        with pytest.raises(KeyboardInterrupt), display.screen() as shown:
            shown.show("waiting for forecast()")
        until(lambda: screen.text.endswith(" \r"))
    assert screen.text == f"\rwaiting for forecast()\r{' ' * 22}\r"


def test_push_shows_how_far_it_is(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: Kept) -> None:
    @dynamo_cached(cache=cache)
    def number(x: int) -> int:
        return x

    number(1)
    monkeypatch.setattr("dynmemo.moving.screen", lambda **_: screen)
    monkeypatch.setattr("dynmemo.moving.NOTICE_SECONDS", 0.0)
    assert push(number, to=f"sqlite:///{(tmp_path / 'team.db').as_posix()}").copied == 1
    assert screen.texts[0].startswith("1 entry, ")
    assert screen.texts[-1] == ""


def test_purge_shows_how_far_it_is(cache: Cache, monkeypatch: pytest.MonkeyPatch, screen: Kept) -> None:
    @dynamo_cached(cache=cache)
    def number(x: int) -> int:
        return x

    for x in range(3):
        number(x)
    monkeypatch.setattr("dynmemo.calls.screen", lambda **_: screen)
    assert purge(number, dry_run=True).rows == 3
    assert screen.texts == []  # it was over at once
    monkeypatch.setattr("dynmemo.calls.NOTICE_SECONDS", 0.0)
    assert purge(number).rows == 3
    assert screen.texts[0].endswith("entries and 0 parts")
    assert screen.texts[-1] == ""
