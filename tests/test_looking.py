"""What lies in a cache, as people see it: functions and the command, with and without a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import dynmemo
from dynmemo import Cache, InvalidOptionError, dynamo_cached
from tests.pythons import ROOT, ran

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("default")


@pytest.fixture
def default(url: str, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The default cache of this process and of those that it starts."""
    monkeypatch.setenv("DYNMEMO_URL", url)
    return Cache.from_url(url)


@dynamo_cached(name="looked.at", version="1", ttl="1h")
def looked_at(city: str, n: int = 1) -> list[str]:
    return [city] * n


def said(*arguments: str, fails: int = 0, **variables: str) -> str:
    """What the command prints, or its error."""
    done: subprocess.CompletedProcess[str] = ran("-m", "dynmemo", *arguments, folder=ROOT, stdin="", **variables)
    assert done.returncode == fails, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if fails else done.stdout


def in_terminal(answer: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """The command in a terminal where somebody types `answer`: its exit code, and what the screen shows."""
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    process, screen = pty.fork()
    if not process:
        os.chdir(ROOT)
        os.execve(sys.executable, [sys.executable, "-m", "dynmemo", *arguments], {**os.environ, **variables})
    os.write(screen, answer.encode())
    shown = b""
    try:
        while piece := os.read(screen, 4096):
            shown += piece
    except OSError:  # Linux: the terminal is closed
        pass
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


def test_what_is_there_is_listed_shown_and_summed_up(default: Cache) -> None:
    looked_at("SEA")
    looked_at("NYC", n=50_000)
    (function,) = dynmemo.ls()
    assert (function.name, function.entries) == ("looked.at", 2)
    entries = dynmemo.ls(looked_at, sort="size")
    assert {entry.key for entry in entries} == {looked_at.cache_key("SEA"), looked_at.cache_key("NYC", n=50_000)}
    shown = dynmemo.show(looked_at, "SEA")
    assert shown is not None
    assert shown == dynmemo.show(looked_at.cache_key("SEA"))
    entry = looked_at.entry("SEA")
    assert entry is not None
    assert (shown.function, shown.state, shown.size) == ("looked.at", "live", entry.size)
    assert (shown.computed_at, shown.expires_at, shown.seconds) == (entry.computed_at, entry.expires_at, entry.seconds)
    assert (shown.serializer, shown.is_signed, shown.lies_in) == ("pickle", False, "row")
    assert dynmemo.show(looked_at, "LAX") is None
    with pytest.raises(InvalidOptionError, match="give the function itself"):
        dynmemo.show("looked.at", "SEA")
    stock = dynmemo.stats()
    assert stock.functions[0].entries == 2
    assert stock.orphans == 0
    assert stock.size is not None
    url = default.url
    assert url is not None
    assert list(dynmemo.ls(cache=url)) == [function]
    assert list(dynmemo.stats(url).functions) == list(stock.functions)
    assert dynmemo.show(looked_at, "SEA", cache=url) == shown
    for view in (dynmemo.ls(), entries, shown, stock):
        assert "looked.at" in view._repr_html_()
        assert "<table" in view._repr_html_()


def test_a_long_list_tells_sizes_and_origins_on_both_kinds(kind: str, default: Cache) -> None:
    looked_at("SEA")
    (entry,), (short,) = dynmemo.ls(looked_at, long=True), dynmemo.ls(looked_at)
    stored = looked_at.entry("SEA")
    assert stored is not None
    assert (entry.size, entry.seconds, entry.origin) == (stored.size, stored.seconds, stored.origin)
    assert (short.origin is None) == (kind == "dynamodb")
    assert stored.origin is not None
    assert stored.origin.who in said("ls", "looked.at", "--long")


def test_a_narrow_terminal_breaks_only_the_longest_words(default: Cache) -> None:
    dynamo_cached(name="looked.at." + "x" * 50, version="1", ttl="1h")(lambda: 1)()
    code, shown = in_terminal("", "ls", "--yes", COLUMNS="76")
    assert (code, "looked.at." in shown, "x" * 50 in shown) == (0, True, False), shown
    titles = ["function", "entries", "others", "codes"]
    assert [title for title in titles if title not in shown] == []


def test_names_are_printed_also_where_the_encoding_has_not_their_letters(default: Cache) -> None:
    dynamo_cached(name="pr\u00e9vision", version="1", ttl="1h")(lambda: 1)()
    assert "pr\\xe9vision" in said("ls", PYTHONIOENCODING="ascii")


def test_json_names_what_an_origin_says(default: Cache) -> None:
    looked_at("SEA")
    shown = json.loads(said("show", looked_at.cache_key("SEA"), "--json"))
    assert shown["origin"]["pid"] == os.getpid()


def test_what_others_wrote_does_not_move_the_cursor(default: Cache) -> None:
    looked_at("SEA")
    row = default.store.read(looked_at.cache_key("SEA"))
    assert row is not None
    default.store.write("looked.at:1:\x1b[2J", row)
    for shown in (said("ls", "looked.at"), said("show", "looked.at:1:\x1b[2J")):
        assert "looked.at:1:" in shown
        assert "\x1b" not in shown


@pytest.mark.skipif(os.name == "nt", reason="Windows has no sh")
def test_a_closed_input_is_nobody_who_can_answer(default: Cache) -> None:
    looked_at("SEA")
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m dynmemo purge <&-"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Nobody can be asked here" in done.stderr) == (2, True), done.stderr
    assert looked_at.entry("SEA") is not None


def test_the_commands_say_the_same_in_words_and_as_json(default: Cache) -> None:
    looked_at("SEA")
    key = looked_at.cache_key("SEA")
    assert "looked.at" in said("ls")
    assert json.loads(said("ls", "--json"))[0]["entries"] == 1
    assert json.loads(said("ls", "looked.at", "--json"))[0]["key"] == key
    assert "state" in said("show", key)
    for call in (["SEA"], ["city=SEA"]):
        assert json.loads(said("show", "tests.test_looking.looked_at", *call, "--json"))["key"] == key
    assert said("show", "tests.test_looking.looked_at", "LAX", fails=1).startswith("Nothing is stored")
    assert "missing 1 required positional argument: 'city'" in said("show", "tests.test_looking.looked_at", fails=1)
    stock = json.loads(said("stats", "--json"))
    assert stock["functions"][0]["name"] == "looked.at"
    assert "looked.at" in said("stats")


def test_clear_says_how_many_went_and_what_name_is_not_known(kind: str, default: Cache) -> None:
    looked_at("SEA")
    looked_at("NYC")
    missing = said("clear", "loked.at", fails=1)
    assert "nothing of the name 'loked.at' has been stored" in missing
    assert ("did you mean looked.at?" if kind == "sqlite" else "`dynmemo ls` lists the names") in missing
    assert ("2 entries" if kind == "sqlite" else "by one write") in said("clear", "looked.at")
    assert dynmemo.show(looked_at, "SEA") is None or kind == "dynamodb"
    assert "loked.at" in said("purge", "loked.at", fails=1)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", ["purge", "clear"])
def test_everything_goes_only_if_somebody_says_so(command: str, default: Cache) -> None:
    looked_at("SEA")
    assert "give --yes" in said(command, fails=2)
    done = ran("-m", "dynmemo", command, stdin="y\n")
    assert done.returncode == 2
    code, shown = in_terminal("n\n", command)
    assert (code, "[y/N]" in shown) == (1, True)
    code, shown = in_terminal("", command, JPY_PARENT_PID="1")  # as what `!` starts in Jupyter: nobody can type there
    assert (code, "give --yes" in shown) == (2, True)
    assert len(dynmemo.ls(looked_at)) == 1
    assert in_terminal("y\n", command)[0] == 0
    looked_at("SEA")
    said(command, "--yes")
    assert len(dynmemo.ls(looked_at)) == 0


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("given", [True, False])
def test_looking_at_a_path_that_is_not_there_creates_nothing(given: bool, tmp_path: Path) -> None:
    file = tmp_path / "home" / "no.db"
    place: dict[str, str] = {"DYNMEMO_URL": f"sqlite:///{file.as_posix()}" if given else ""}
    place |= {name: str(tmp_path / "home") for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA")}
    for command in ("ls", "stats", "clear", "purge", "purge --dry-run", "purge --yes"):
        said(*command.split(), fails=0, **place)
    said("show", "a:b:c", fails=1, **place)
    said("show", "tests.test_looking.looked_at", "SEA", fails=1, **place)
    assert not [found for found in tmp_path.rglob("*") if found.is_file()]


@pytest.mark.parametrize("kind", ["dynamodb"], indirect=True)
def test_on_dynamodb_the_cost_of_a_scan_is_said_and_asked_where_somebody_can_answer(default: Cache) -> None:
    looked_at("SEA")
    done = ran("-m", "dynmemo", "ls")
    assert done.returncode == 0
    assert "read units" in done.stderr
    code, shown = in_terminal("n\n", "ls")
    assert (code, "Go on?" in shown) == (1, True)
    code, shown = in_terminal("", "ls", "--yes")
    assert (code, "looked.at" in shown) == (0, True)
