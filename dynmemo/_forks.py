"""Locks that a forked child can still take.

A fork copies a lock that another thread holds at that moment as held, and in the child there is no such
thread to release it. So the locks of what is registered here are new in every child.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class _HasLock(Protocol):
    _lock: threading.Lock


_registered: weakref.WeakSet[_HasLock] = weakref.WeakSet()


def new_lock_in_children(owner: _HasLock) -> None:
    """Give `owner` a new `_lock` in every forked child."""
    _registered.add(owner)


def _renew_locks() -> None:
    for owner in _registered:
        owner._lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_renew_locks)
