"""Values in files: whole or not there, private, and every reader's memory its own."""

from __future__ import annotations

import os
import stat
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from dynmemo.item import Item
from dynmemo.parts import bytes_of
from dynmemo.stores import files
from dynmemo.stores.files import MAP_FROM, FileValue, ValueFiles

if TYPE_CHECKING:
    from pathlib import Path

LARGE = bytes(range(256)) * (MAP_FROM // 128)


@pytest.fixture
def folder(tmp_path: Path) -> ValueFiles:
    return ValueFiles(tmp_path / "cache.db.values")


@pytest.mark.parametrize("content", [b"", b"small", LARGE])
def test_a_value_comes_back_as_it_was_written(folder: ValueFiles, content: bytes) -> None:
    folder.write("one", [content[:3], b"", content[3:]])
    found = folder.open("one")
    assert found is not None
    assert (len(found), bytes(found.load()), bytes(found.load(mapped=False))) == (len(content), content, content)


def test_a_missing_value_is_none_and_goes_quietly(folder: ValueFiles) -> None:
    assert folder.open("one") is None
    assert folder.remove("one")
    assert list(folder.listing()) == []


@pytest.mark.parametrize("mapped", [True, False])
def test_what_one_reader_writes_nobody_else_sees(folder: ValueFiles, mapped: bool) -> None:
    folder.write("one", [LARGE])
    found = folder.open("one")
    assert found is not None
    mine, yours = found.load(mapped=mapped), found.load(mapped=mapped)
    mine[:4] = b"mine"
    again = folder.open("one")
    assert again is not None
    assert bytes(yours) == bytes(again.load()) == LARGE


def test_a_removed_value_can_still_be_read_by_who_has_it_open(folder: ValueFiles) -> None:
    folder.write("one", [LARGE])
    found = folder.open("one")
    assert found is not None
    map_of_it = found.load()
    if folder.remove("one"):  # Windows keeps it
        assert folder.open("one") is None
    assert bytes(map_of_it) == bytes(found.load()) == LARGE


def test_a_write_that_fails_leaves_nothing(folder: ValueFiles) -> None:
    def pieces() -> object:
        yield LARGE
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError):
        folder.write("one", pieces())  # type: ignore[arg-type]
    assert list(folder.listing()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_folder_and_files_are_private(folder: ValueFiles) -> None:
    folder.write("one", [b"content"])
    ((_, status),) = folder.listing()
    assert stat.S_IMODE(folder.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(status.st_mode) == 0o600


def test_a_changed_file_has_another_identity(folder: ValueFiles) -> None:
    folder.write("one", [LARGE])
    before = folder.open("one")
    assert before is not None
    with (folder.folder / "one").open("r+b") as file:
        file.write(b"changed")
    os.utime(folder.folder / "one", ns=(1, 1))
    after = folder.open("one")
    assert after is not None
    assert after.identity != before.identity


def test_a_file_cut_short_is_read_as_far_as_it_goes(folder: ValueFiles) -> None:
    folder.write("one", [LARGE])
    found = folder.open("one")
    assert found is not None
    with (folder.folder / "one").open("r+b") as file:
        file.truncate(5)
    assert bytes(found.load(mapped=False)) == LARGE[:5]


def test_an_open_value_that_the_system_can_no_longer_read_is_none() -> None:
    read, write = os.pipe()  # as good as a file on another machine that has been removed there
    assert bytes_of(Item(FileValue(read, "one", is_mapped=False))) is None
    os.close(write)


def test_beyond_so_many_maps_files_are_read(folder: ValueFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_MAPS", 2)
    folder.write("one", [LARGE])
    found = folder.open("one")
    assert found is not None
    kept = [found.load() for _ in range(4)]
    assert [type(each.obj).__name__ for each in kept] == ["_Map", "_Map", "bytearray", "bytearray"]
    del kept[0]
    assert type(found.load().obj).__name__ == "_Map"


def test_a_file_that_may_not_be_mapped_is_read(folder: ValueFiles) -> None:
    folder.write("one", [LARGE])
    found = folder.open("one", mapped=False)
    assert found is not None
    assert isinstance(found.load().obj, bytearray)


def test_threads_read_one_open_value_at_once(folder: ValueFiles) -> None:
    folder.write("one", [LARGE])
    found = folder.open("one")
    assert found is not None
    wrong: list[int] = []

    def read() -> None:
        wrong.extend(1 for _ in range(20) if bytes(found.load(mapped=False)) != LARGE)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
