"""On what filesystem a path lies: one of this machine, or one that others share."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import PurePath

_REMOTE = (
    "9p|acfs|afs|beegfs|ceph|cifs|coda|davfs|fhgfs|gfs2?|glusterfs|gpfs|lustre|mfs|ncpfs|nfs4?|ocfs2|orangefs|panfs|"
    "prl_fs|pvfs2|smb[23]|smbfs|vboxsf|virtiofs|vmhgfs"
)
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.lxcfs"})
_DRIVE_REMOTE = 4
_MOUNTS = Path("/proc/self/mountinfo")


def is_remote(path: Path) -> bool:
    """Whether `path` (absolute) lies on a network filesystem, as far as the system tells.

    Linux and Windows tell. Elsewhere the answer is False, and SQLite's own answer to
    ``PRAGMA journal_mode=WAL`` is what remains.
    """
    if sys.platform == "win32":
        import ctypes

        return is_unc(path) or ctypes.windll.kernel32.GetDriveTypeW(f"{path.drive}\\") == _DRIVE_REMOTE
    try:
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return False
    return is_remote_type(type_of(path.resolve(), mounts))


def is_unc(path: PurePath) -> bool:
    r"""Whether a Windows path names a server, as ``\\server\share\cache.db`` does."""
    return path.drive.startswith("\\\\")


def is_remote_type(fstype: str) -> bool:
    """Whether Linux's name of a filesystem is that of a network one."""
    # What a FUSE daemon does behind its mount nobody knows: sshfs, s3fs, rclone, gcsfuse, ...
    return re.fullmatch(_REMOTE, fstype) is not None or (fstype.startswith("fuse.") and fstype not in _LOCAL_FUSE)


def type_of(path: Path, mounts: str) -> str:
    """The filesystem type of the mount that holds `path`, from the text of ``/proc/self/mountinfo``."""
    deepest, fstype = -1, ""
    for line in mounts.splitlines():
        mount, _, filesystem = line.partition(" - ")
        point = Path(_unescaped(mount.split(" ")[4]))
        # The last of several mounts on one point hides the others.
        if path.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, fstype = len(point.parts), filesystem.split(" ")[0]
    return fstype


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
