"""What a call is called: a function and its arguments become a key, ``{name}:{code}:{arguments}``.

Here are the names and the keys made of them. What reads code and arguments, in the modules beside this one, takes
longer to import and is imported with the first decorated function.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

import blake3

from dynmemo.keys.own import importable_name as importable_name
from dynmemo.keys.own import main_of as main_of
from dynmemo.keys.own import module_name as module_name

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NAME_BYTES = 200
NAMESPACE_END = "%2F"
"""Stands in no escaped name, and reads as a slash."""
GENERATION_SUFFIX = "#gen"
LEASE_SUFFIX = "#lease"

_ESCAPES = str.maketrans({":": "%3A", "#": "%23", "%": "%25"})


def function_name(function: Callable[..., object]) -> str:
    """``module.qualname``, the same in every process that runs this function.

    ``__mp_main__`` (a spawned child's copy of the main module) is ``__main__``, and the main module of
    ``python -m pkg.mod`` is ``pkg.mod``, as that of ``python path/mod.py`` is ``mod`` where `import` would find it.
    """
    main = main_of(function)
    module = module_name(function.__module__) if main is None else importable_name(main) or "__main__"
    return f"{module}.{function.__qualname__}"


def name_here(name: str) -> str:
    """The name of a function as the notebook or script that runs says it: without module if it is its own."""
    module = importable_name(getattr(sys.modules.get("__main__"), "__dict__", {})) or "__main__"
    return name.removeprefix(f"{module}.")


@functools.lru_cache(maxsize=1_000)
def key_name(name: str, namespace: str = "") -> str:
    """`name` as it stands in keys: ``:``, ``#`` and ``%`` escaped, and a hash at the end of a name that is too long.

    With the namespace of a cache before it.
    """
    escaped, before = name.translate(_ESCAPES), names_in(namespace)
    encoded = escaped.encode()
    if len(encoded) <= MAX_NAME_BYTES:
        return before + escaped
    tail = "~" + blake3.blake3(encoded).hexdigest(8)
    return before + encoded[: MAX_NAME_BYTES - len(tail)].decode(errors="ignore") + tail


def names_in(namespace: str) -> str:
    """What all names in this namespace begin with."""
    return namespace + NAMESPACE_END if namespace else ""


def is_name_in(namespace: str, fn: str | None) -> bool:
    """Whether a key name belongs to the namespace, or to none where it is empty."""
    found = fn or ""
    return found.startswith(names_in(namespace)) if namespace else NAMESPACE_END not in found


def generation_key(name: str) -> str:
    """Key of the row that holds the generation of `name` (a key name), or of all functions for the empty name."""
    return name + GENERATION_SUFFIX


def keys_of(name: str | None, namespace: str = "") -> str:
    """What the keys of all rows of `name` (a key name) begin with, but that of its generation; else of all names."""
    return f"{name}:" if name else names_in(namespace)


def lease_key(key: str) -> str:
    """Key of the lease that lies beside the row of the entry `key`, where its value must stay readable."""
    return key + LEASE_SUFFIX
