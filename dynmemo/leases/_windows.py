"""When a process started, asked of Windows."""

from __future__ import annotations

import ctypes
import sys

if sys.platform == "win32":
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

    def started_at(pid: int) -> str | None:
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
