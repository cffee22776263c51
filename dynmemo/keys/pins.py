"""Functions whose code was replaced by hand, with ``version=`` or ``code="off"``.

What the user pinned counts as pinned for those who call it as well: their results are made of its results.
"""

from __future__ import annotations

import types
import weakref

_pins: weakref.WeakKeyDictionary[types.FunctionType, str] = weakref.WeakKeyDictionary()


def pin(function: object, text: str) -> None:
    """From now on `function` counts as `text` for whoever reaches it."""
    if type(function) is types.FunctionType:
        _pins[function] = text


def pinned(function: types.FunctionType) -> str | None:
    """What `function` was pinned to, None if it counts by its code."""
    return _pins.get(function)
