"""What a cell shows is recorded as it ends up, in its order, and up to a limit. Without a kernel, on IPython alone."""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import DisplayHandle, clear_output, display
from traitlets.config import Config

from dynmemo.magics.outputs import MOST_BYTES, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


Record = Callable[[Callable[[], object]], "list[Any]"]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """IPython as in a terminal, without the user's history."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # it puts a module of its own there
    made = InteractiveShell.instance(config=Config(HistoryManager={"enabled": False}))
    yield made
    atexit.unregister(made.atexit_operations)
    made.atexit_operations()
    InteractiveShell.clear_instance()


@pytest.fixture
def recorded(shell: InteractiveShell) -> Record:
    """Does something, and gives what was recorded of it."""

    def record(do: Callable[[], object]) -> list[Any]:
        recorder = Recorder(shell)
        with recorder.recording():
            do()
        return [one.get("text") or one["data"]["text/plain"] for one in recorder.outputs()]

    return record


def test_the_streams_and_displays_are_in_one_order(recorded: Record) -> None:
    def show() -> None:
        print("one")
        print("two", file=sys.stderr)
        display(3)
        print("four")
        print("five")

    assert recorded(show) == ["one\n", "two\n", "3", "four\nfive\n"]


def test_a_progress_bar_is_kept_as_it_ends(recorded: Record) -> None:
    def show() -> None:
        for percent in (5, 50, 100):
            print(f"\r{percent}% of it", end="")
        print("\rdone\nnext\r\nlast")

    assert recorded(show) == ["done of it\nnext\nlast\n"]


def test_a_display_that_is_updated_or_cleared_is_kept_as_it_ends(recorded: Record) -> None:
    def update() -> None:
        handle = display(1, display_id=True)
        assert isinstance(handle, DisplayHandle)
        print("between")
        handle.update(2)

    def clear() -> None:
        print("gone")
        clear_output(wait=True)
        display(3)

    assert recorded(update) == ["2", "between\n"]
    assert recorded(clear) == ["3"]


def test_a_long_bar_takes_no_room_and_beyond_the_limit_stands_a_note(recorded: Record) -> None:
    def bar() -> None:
        for _ in range(5):
            print("\r" + "x" * (MOST_BYTES // 3), end="")

    def much() -> None:
        for _ in range(3):
            display("x" * (MOST_BYTES // 2 - 10))
        print("not kept")

    assert list(map(len, recorded(bar))) == [MOST_BYTES // 3]
    *kept, note = recorded(much)
    assert len(kept) == 2
    assert note == "... what was shown beyond 1,000,000 bytes is not kept\n"


def test_what_is_shown_goes_on_as_before(
    shell: InteractiveShell, recorded: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = sys.stdout.write, shell.display_pub.publish, shell.displayhook.compute_format_data
    recorded(lambda: print("seen"))
    assert capsys.readouterr().out == "seen\n"
    assert (sys.stdout.write, shell.display_pub.publish, shell.displayhook.compute_format_data) == methods


def test_in_a_terminal_a_cell_is_done_again_as_well(
    shell: InteractiveShell, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNMEMO_URL", f"sqlite:///{(tmp_path / 'cache.db').as_posix()}")
    shell.run_cell("%load_ext dynmemo")
    told = []
    for _ in range(2):
        shell.run_cell("%%dynamo_cached --show-hit answer\nprint('one')\nanswer = 42\nanswer")
        told.append(capsys.readouterr().out)
        assert shell.user_ns.pop("answer") == 42
    assert told[1].startswith(told[0])
    assert re.search(rf"computed 20.* by \S+@\S+ \(pid {os.getpid()}\b.*\), kept in ", told[1].removeprefix(told[0]))
    assert told[0].count("42") == 1
