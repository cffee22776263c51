"""Which filesystems count as shared with other machines."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from dynmemo.stores import filesystem
from dynmemo.stores.filesystem import is_remote, is_remote_type, is_unc, type_of

MOUNTS = """\
22 1 253:0 / / rw,relatime - ext4 /dev/vda rw
25 22 0:21 / /home rw,nosuid shared:5 - nfs4 server:/home rw,vers=4.2
26 25 0:22 / /home/me/scratch rw - tmpfs tmpfs rw
27 22 0:23 / /mnt/my\\040disk rw - fuse.sshfs me@host: rw
28 22 0:24 / /auto rw master:1 propagate_from:2 - autofs systemd-1 rw
29 28 0:25 / /auto rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "fstype"),
    [
        ("/cache.db", "ext4"),
        ("/homes/cache.db", "ext4"),
        ("/home/me/cache.db", "nfs4"),
        ("/home/me/scratch/cache.db", "tmpfs"),
        ("/mnt/my disk/cache.db", "fuse.sshfs"),
        ("/auto/cache.db", "cifs"),
    ],
)
def test_the_deepest_and_latest_mount_counts(path: str, fstype: str) -> None:
    assert type_of(Path(path), MOUNTS) == fstype


@pytest.mark.parametrize(
    "fstype", ["nfs", "nfs4", "cifs", "smb3", "9p", "lustre", "ceph", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse"]
)
def test_filesystems_of_several_machines_are_remote(fstype: str) -> None:
    assert is_remote_type(fstype)


@pytest.mark.parametrize("fstype", ["ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuseblk", "nfsd", ""])
def test_those_of_one_machine_are_not(fstype: str) -> None:
    assert not is_remote_type(fstype)


def test_a_windows_share_is_told_from_a_drive() -> None:
    assert is_unc(PureWindowsPath(r"\\server\share\cache.db"))
    assert not is_unc(PureWindowsPath(r"C:\Users\me\cache.db"))
    assert not is_unc(PurePosixPath("/home/me/cache.db"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says")
def test_a_link_is_followed_to_where_the_file_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to("/proc/self")
    assert not is_remote(tmp_path / "link" / "status")
    monkeypatch.setattr(filesystem, "is_remote_type", "proc".__eq__)
    assert is_remote(tmp_path / "link" / "status")
