"""What is told of the repository in which code lies is what git itself says; git is asked only by these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from dynmemo.origin.git import Commit, commit_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    settings = (
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b.c",
        "-c",
        "core.autocrlf=false",
        "-c",
        "commit.gpgsign=false",
    )
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *settings, *arguments], cwd=folder, env=variables, check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with two committed files."""
    made = tmp_path / "repository"
    (made / "pkg").mkdir(parents=True)
    for name in ("pkg/model.py", "el.py"):
        (made / name).write_bytes(b"SCALE = 2\n")
    git(made, "init", "-q")
    git(made, "add", ".")
    git(made, "commit", "-q", "-m", "one")
    return made


def told(root: Path, *names: str) -> Commit:
    return commit_of(root / "pkg", [root / name for name in names or ("pkg/model.py",)])


def test_a_clean_file_is_of_its_commit(root: Path) -> None:
    assert told(root) == Commit(git(root, "rev-parse", "HEAD"), False)


def test_a_file_that_was_edited_or_never_added_is_dirty(root: Path) -> None:
    head = git(root, "rev-parse", "HEAD")
    (root / "el.py").write_bytes(b"SCALE = 3\n")
    (root / "pkg/new.py").write_bytes(b"")
    assert told(root) == Commit(head, False)
    assert told(root, "pkg/model.py", "el.py") == Commit(head, True)
    assert told(root, "pkg/new.py") == Commit(head, True)
    git(root, "commit", "-q", "-a", "-m", "two")
    assert told(root, "el.py") == Commit(git(root, "rev-parse", "HEAD"), False)


def test_a_file_that_was_only_touched_or_checked_out_with_other_ends_of_lines_is_clean(root: Path) -> None:
    os.utime(root / "pkg/model.py", (1, 1))
    assert told(root).dirty is False
    (root / "pkg/model.py").write_bytes(b"SCALE = 2\r\n")
    assert told(root).dirty is False


def test_where_head_and_refs_lie_does_not_matter(root: Path, tmp_path: Path) -> None:
    head = git(root, "rev-parse", "HEAD")
    git(root, "pack-refs", "--all")
    assert told(root) == Commit(head, False)
    git(root, "worktree", "add", "-q", "-b", "other", str(tmp_path / "worktree"))
    assert told(tmp_path / "worktree") == Commit(head, False)
    git(root, "checkout", "-q", "--detach")
    assert told(root) == Commit(head, False)


def test_where_git_cannot_be_read_nothing_is_claimed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    assert told(tmp_path) == Commit()
    git(tmp_path, "init", "-q")
    assert told(tmp_path) == Commit()  # nothing was committed yet
    head = git(root, "rev-parse", "HEAD")
    git(root, "update-index", "--index-version", "4")  # which has no whole paths in it
    assert told(root) == Commit(head, None)
    (root / ".git/index").unlink()
    (root / ".git/HEAD").write_text("rubbish", encoding="utf-8")
    assert told(root) == Commit()
