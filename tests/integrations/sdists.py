"""Source distributions of frameworks, for the tests in them that their cache backends have to pass.

Each is fetched once, at a pinned version with a pinned content, into the user's cache folder.
`scripts/framework_suites.py` is the same from the command line. Nothing here knows pytest.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import platformdirs

# Tests point HOME and the cache folders elsewhere, and these must not move with them.
_ENVIRONMENT = dict(os.environ)
CACHE = Path(platformdirs.user_cache_dir("dynmemo-tests", appauthor=False))

PINNED = {
    "django": ("5.2.19", "ad03d8abc51dbff95ebf34b27123cf0c26a3b62db7ba0cd520783686362533d1"),
    "cachelib": ("0.17.0", "f3c7dc8d3c1132ab699681ffdf8a52d341d9425ac1401c538cf0b1d87b1677c8"),
}
"""Version and SHA-256. Litestar's and py-key-value-aio's have no tests in them."""

NEEDED = {"django": ("django/", "tests/cache/", "tests/sessions_tests/"), "cachelib": ("src/", "tests/")}
"""Folders whose Python files are kept; all of Django are 7,000 files."""


class SdistMissingError(Exception):
    """A distribution cannot be had on this machine; the message says why."""


def fetched(name: str) -> Path:
    """The folder of a distribution, fetched with pip if it is not there yet."""
    version, _ = PINNED[name]
    target = CACHE / f"{name}-{version}"
    return target if target.exists() else _fetch(name, target)


def _fetch(name: str, target: Path) -> Path:
    """Fetch and unpack beside `target`, then rename, so that concurrent starters never see half of it."""
    version, digest = PINNED[name]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(f"{name}=={version} --hash=sha256:{digest}\n", encoding="ascii")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", name, "--require-hashes", "--requirement", str(wanted), "--dest", scratch]
        done = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
        archive = next(Path(scratch).glob("*.tar.gz"), None)
        if done.returncode or archive is None:
            raise SdistMissingError(
                f"pip could not fetch the sources of {name} {version}: {done.stderr[-500:].strip()}"
            )
        with tarfile.open(archive) as tar:
            files = [file for file in tar if file.name.endswith(".py")]
            needed = [file for file in files if file.name.partition("/")[2].startswith(NEEDED[name])]
            tar.extractall(Path(scratch) / "unpacked", needed, filter="data")
        (unpacked,) = (Path(scratch) / "unpacked").iterdir()
        with contextlib.suppress(OSError):  # somebody else was faster
            unpacked.rename(target)
    return target
