"""The git commit of files and whether they have changed since, read from ``.git``: no program is run for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_READ_VERSIONS = (2, 3)
"""Formats of the index that have whole paths in them."""
_SHA1 = 20


class Commit(NamedTuple):
    """What is checked out where some files lie."""

    commit: str | None = None
    """Its id; None where there is no repository, or nothing was committed yet."""
    dirty: bool | None = None
    """Whether one of the files is not what git's index says, or not in it. None where that cannot be told."""


def commit_of(folder: Path, files: Iterable[Path]) -> Commit:
    """The commit of the repository that `folder` lies in, and whether `files`, as far as they lie there, differ.

    The index is what was last committed or staged, so a change that is staged and not committed does not show. Never
    raises.
    """
    try:
        for root in (folder, *folder.parents):
            if (root / ".git").exists():
                git = _git_folder(root)
                found = _head(git)
                return Commit(found, None if found is None else _is_dirty(root, git, found, files))
    except (OSError, ValueError):  # what cannot be read says nothing
        pass
    return Commit()


def _git_folder(root: Path) -> Path:
    git = root / ".git"
    if git.is_dir():
        return git
    return root / git.read_text("utf-8").removeprefix("gitdir:").strip()  # of a worktree or submodule


def _head(git: Path) -> str | None:
    common = git / "commondir"
    shared = git / common.read_text("utf-8").strip() if common.exists() else git
    text = (git / "HEAD").read_text("utf-8").strip()
    if text.startswith("ref:"):
        name = text.removeprefix("ref:").strip()
        text = next((path.read_text("utf-8").strip() for path in (git / name, shared / name) if path.is_file()), "")
        packed = shared / "packed-refs"
        if not text and packed.is_file():
            lines = (line.split(" ", 1) for line in packed.read_text("utf-8").splitlines() if " " in line)
            text = next((commit for commit, ref in lines if ref == name), "")
    return text if _COMMIT.fullmatch(text) else None


def _is_dirty(root: Path, git: Path, head: str, files: Iterable[Path]) -> bool | None:
    inside = [path for path in files if path.is_relative_to(root)]
    index = (git / "index").read_bytes()
    is_readable = int.from_bytes(index[4:8], "big") in _READ_VERSIONS and not any(git.glob("sharedindex.*"))
    if not inside or not is_readable or len(head) != 2 * _SHA1:
        return None
    return any(_indexed(index, path.relative_to(root).as_posix().encode()) not in _blobs(path) for path in inside)


def _indexed(index: bytes, path: bytes) -> bytes | None:
    """The SHA-1 of a file in the index; None if it is not there."""
    at = -1
    while (at := index.find(path + b"\0", at + 1)) >= 0:
        for start in (at - 2, at - 4):  # of the entry's flags; some entries of version 3 have two bytes more
            flags = int.from_bytes(index[start : start + 2], "big")
            if flags & 0xFFF == min(len(path), 0xFFF) and bool(flags & 0x4000) == (start == at - 4):
                return index[start - _SHA1 : start]
    return None


def _blobs(path: Path) -> set[bytes]:
    """The SHA-1 that git gives a file, as it lies there and with the ends of lines that a checkout may have changed."""
    import hashlib

    content = path.read_bytes()
    return {
        hashlib.sha1(b"blob %d\0" % len(each) + each, usedforsecurity=False).digest()
        for each in (content, content.replace(b"\r\n", b"\n"))
    }
