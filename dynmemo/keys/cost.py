"""Says once when a global is so large that digesting it at every call is felt."""

from __future__ import annotations

import sys
from typing import Any

from dynmemo._process import Once
from dynmemo.keys.builtin import is_immutable

LIMIT = 10_000_000
"""Bytes of mutable data beyond which a call spends more time on it than on everything else."""

_once = Once()


def report_cost(function: str, name: str, value: object) -> None:
    """Log one line per function and name if `value` is mutable and larger than `LIMIT`."""
    if is_immutable(value):
        return
    try:
        size = int(size_of(value))
    except Exception:  # noqa: BLE001 - a proxy may raise when it is asked anything
        return
    if size > LIMIT:
        _once.warning(
            (function, name),
            "%s(): the global or closed-over `%s` is digested at every call, because it could have been changed; it "
            "has %.0f MB, at about 1 ms per MB. Pass it as an argument or let the function load it.",
            function,
            name,
            size / 1e6,
        )


def size_of(value: Any) -> int:
    """About how many bytes of content there are, without looking at every element of long containers."""
    size = getattr(value, "nbytes", None)
    if isinstance(size, int):
        return size
    if type(value).__module__.partition(".")[0] == "pandas":
        usage = getattr(value, "memory_usage", int)()
        return int(usage.sum()) if hasattr(usage, "sum") else int(usage)
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, dict):
        return _sampled(list(value.values())) + 100 * len(value)
    if isinstance(value, list | tuple | set | frozenset):
        return _sampled(list(value))
    return sys.getsizeof(value)


def _sampled(values: list[object]) -> int:
    step = max(len(values) // 100, 1)
    return sum(getattr(value, "nbytes", None) or sys.getsizeof(value) for value in values[::step]) * step
