"""Who holds a lease: names of claims, and whether the process that one means is gone.

An owner's name is {machine}/{process id}/{start}/{random}, new for every claim. The machine part is a hash and differs
between two boots, containers and process namespaces, since a process id means the same process only within one of
these.
"""

from __future__ import annotations

import os
import re
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from dynmemo._process import at_fork, new_token

_ON_LINUX = sys.platform == "linux"
_PROC = Path("/proc")
_NAME = re.compile(r"(?P<machine>[0-9a-f]+)/(?P<pid>[1-9][0-9]{0,9})/(?P<start>[0-9]*)/[0-9a-f]+", re.ASCII)


class _Process(NamedTuple):
    machine: str
    prefix: str


class Holder(Protocol):
    """What this process holds under a name."""

    @property
    def is_alive(self) -> bool:
        """Whether anything is computed under it still."""
        ...


_MOST_SETTLED = 1_000
_settled: dict[str, None] = {}
"""The last names of this process whose rows are no longer there. Who has just read such a row does not take it over."""

_holders: dict[str, weakref.ref[Holder]] = {}
"""Who holds what, from the claim on until the name is settled, which an interrupt may keep from coming."""

# By process id, so that a forked child has names of its own even where the hook below does not run.
_this_process: dict[int, _Process] = {}

at_fork(after_in_child=_this_process.clear)
at_fork(after_in_child=_holders.clear)


def owner_name(holder: Holder | None = None) -> str:
    """A new name for a claim of this process, under which `holder` computes. The name does not keep `holder` alive."""
    name = f"{_here().prefix}{new_token()[:8]}"
    if holder is not None:
        _holders[name] = weakref.ref(holder)
    return name


def settle(owner: str) -> None:
    """There is no row with the name `owner` any more, or its time has run out."""
    _settled[owner] = None
    _holders.pop(owner, None)
    if len(_settled) > _MOST_SETTLED:
        with suppress(RuntimeError, StopIteration, KeyError):  # another thread does the same
            del _settled[next(iter(_settled))]


def is_gone(owner: str | None) -> bool:
    """Whether nobody computes under the name `owner`; False when that is not sure.

    Sure are names of this process under which nothing is computed (an interrupt may come in between claiming and
    computing), and those of processes of this very machine that no longer run.
    """
    if owner is not None and owner.startswith(_here().prefix):
        known = _holders.get(owner)
        holder = None if known is None else known()
        return owner not in _settled and (holder is None or not holder.is_alive)
    match = _NAME.fullmatch(owner or "")
    if match is None or match["machine"] != _here().machine:
        return False
    started = started_at(int(match["pid"]))
    if started is None:
        return True
    # Another process may have got its id since.
    return bool(started and match["start"] and started != match["start"])


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _QUERY_LIMITED_INFORMATION = 0x1000
    _INVALID_PARAMETER = 87
    """What `OpenProcess` reports for an id that no process has."""
    _STILL_ACTIVE = 259

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.OpenProcess.restype = wintypes.HANDLE
    _kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    _kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    _kernel.GetExitCodeProcess.argtypes = (wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD))
    _kernel.GetProcessTimes.argtypes = (wintypes.HANDLE, *[ctypes.POINTER(wintypes.FILETIME)] * 4)

    def _started_on_windows(pid: int) -> str | None:
        """When the process `pid` started; empty if that cannot be told, None if none runs."""
        handle = _kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
        if not handle:
            return None if ctypes.get_last_error() == _INVALID_PARAMETER else ""
        try:
            return _started(handle) if _is_running(handle) else None
        finally:
            _kernel.CloseHandle(handle)

    def _is_running(handle: int) -> bool:
        code = wintypes.DWORD()
        return not _kernel.GetExitCodeProcess(handle, ctypes.byref(code)) or code.value == _STILL_ACTIVE

    def _started(handle: int) -> str:
        times = [wintypes.FILETIME() for _ in range(4)]
        if not _kernel.GetProcessTimes(handle, *map(ctypes.byref, times)):
            return ""
        return str((times[0].dwHighDateTime << 32) + times[0].dwLowDateTime)


def started_at(pid: int) -> str | None:
    """When the process `pid` started, in units of its system; empty if that cannot be told, None if none runs."""
    if sys.platform == "win32":
        return _started_on_windows(pid)
    else:  # noqa: RET505  mypy takes what follows the block for unreachable on Windows
        try:
            os.kill(pid, 0)  # sends nothing; on Windows it would end the process
        except ProcessLookupError:
            return None
        except (OSError, OverflowError):
            pass  # it runs as somebody else, or the system does not say
        return _started_on_linux(pid) if _ON_LINUX else ""


def _started_on_linux(pid: int) -> str | None:
    try:
        # The name of the program comes second, in parentheses, and may hold anything.
        fields = (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        state, threads, started = fields[0], int(fields[17]), fields[19]
    except (OSError, ValueError, IndexError):
        return ""
    # A zombie has ended and waits for its parent to notice, unless only its first thread has ended.
    return None if state in "ZX" and threads <= 1 else started


def _here() -> _Process:
    pid = os.getpid()
    return _this_process.get(pid) or _this_process.setdefault(pid, _describe(pid))


def _describe(pid: int) -> _Process:
    import hashlib

    machine = hashlib.blake2b(_machine(pid).encode(), digest_size=8).hexdigest()
    return _Process(machine, f"{machine}/{pid}/{started_at(pid) or ''}/{os.urandom(4).hex()}")


def _machine(pid: int) -> str:
    """A text that is equal for processes that can look up each other's ids, and random where that is not known."""
    import socket

    host = socket.gethostname()
    if not _ON_LINUX:
        import uuid

        # Without a hardware address `getnode` makes one up for this process: then no other process counts as local.
        return f"{host} {uuid.getnode()}"
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text()
        if (_PROC / "self").readlink().name == str(pid):  # else /proc shows another namespace's processes
            return f"{host} {boot} {_namespace('pid')} {_namespace('time')}"
    except OSError:
        pass
    return os.urandom(8).hex()


def _namespace(kind: str) -> str:
    place = _PROC / "self/ns" / kind
    # Starts are told in the time of the namespace; kernels before 5.6 have only one.
    return str(place.readlink()) if kind != "time" or place.is_symlink() else ""
