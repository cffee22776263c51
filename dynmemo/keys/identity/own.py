"""What is the user's own code, as opposed to the standard library's, a package's and dynmemo's.

Own is what is defined in ``__main__``, in a notebook, or in a file outside the standard library and
``site-packages``; so an editable install is own. Other code counts by its name only.
"""

from __future__ import annotations

import functools
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from dynmemo.keys.digest.names import module_name

if TYPE_CHECKING:
    import types
    from collections.abc import Iterable, Mapping

MAIN_MODULES = frozenset({"__main__", "__mp_main__"})

SENT = "<dynamic-code>"
"""What cloudpickle (3.1.3 and later) calls the file of every code object that it sends by value."""

_PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})
_HERE = str(Path(__file__).resolve().parent.parent)


@functools.cache
def _foreign_roots() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    found = {
        str(Path(paths[name]).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib") if name in paths
    }
    return (*sorted(found), _HERE)


@functools.lru_cache(maxsize=4096)
def is_own_file(filename: str) -> bool:
    """Whether code compiled from `filename` is the user's. Texts without a file (``<stdin>``) are."""
    if filename.startswith("<"):
        return not filename.startswith(("<frozen ", "<attrs generated ", "<__array_function__", "<decorator-gen"))
    path = Path(filename)
    if not _PACKAGE_FOLDERS.isdisjoint(path.parts):
        return False
    try:
        text = str(path.resolve())
    except OSError:
        text = filename
    return not any(text == root or text.startswith((root + "/", root + "\\")) for root in _foreign_roots())


def is_own_module(name: str | None) -> bool:
    """Whether the module of this name is the user's. One that is not loaded came with a pickle from its owner."""
    if name is None:
        return False
    if name in MAIN_MODULES:
        return True
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in sys.builtin_module_names or top == "dynmemo":
        return False
    module = sys.modules.get(name)
    if module is None:
        return top not in sys.modules or is_own_module(top) if top != name else True
    return is_own_location(getattr(module, "__file__", None), getattr(module, "__path__", None))


def is_own_location(file: str | None, folders: Iterable[str] | None) -> bool:
    """Whether a module in this file, or a namespace package in these folders, is the user's."""
    if file is not None:
        return is_own_file(file)
    return all(is_own_file(folder) for folder in folders or ())


def is_own_function(function: types.FunctionType) -> bool:
    """Whether a function was written by the user, and not made by a package for one of the user's classes."""
    code = function.__code__
    if code.co_qualname.startswith("__create_fn__."):  # dataclasses
        return False
    if code.co_filename == SENT:
        return _was_own(function.__globals__)
    if code.co_filename.startswith("<"):
        return is_own_file(code.co_filename) and is_own_module(function.__globals__.get("__name__", "__main__"))
    return is_own_file(code.co_filename)


def _was_own(namespace: Mapping[str, object]) -> bool:
    """Whether code that came by value, with what cloudpickle tells of its module, was the user's where it was sent."""
    module, file = namespace.get("__name__", "__main__"), namespace.get("__file__")
    if module in MAIN_MODULES:
        return True
    return isinstance(module, str) and is_own_module(module) and (not isinstance(file, str) or is_own_file(file))


def is_own_class(cls: type) -> bool:
    """Whether a class was written by the user."""
    return not is_builtin_type(cls) and is_own_module(cls.__module__)


def is_builtin_type(cls: type) -> bool:
    """Whether the type is written in C; such a type has no code to follow."""
    return not cls.__flags__ & (1 << 9)  # Py_TPFLAGS_HEAPTYPE


# What `threading.Lock` calls itself before Python 3.13, and since.
_RENAMED = dict.fromkeys(("thread.allocate_lock", "thread.lock"), "threading.Lock")


def stable_name(thing: object) -> str:
    """``module.qualname`` of something that counts by its name, the same in a spawned child and on every Python."""
    module = getattr(thing, "__module__", None) or "builtins"
    name = getattr(thing, "__qualname__", None) or getattr(thing, "__name__", None) or type(thing).__qualname__
    full = f"{public_module(module_name(module))}.{name}"
    return _RENAMED.get(full, full)


def public_module(name: str) -> str:
    """The name of a module, for the standard library without the private parts that change between versions.

    `pathlib.Path` is of ``pathlib._local`` in Python 3.13, and `open` of ``io`` or ``_io``.
    """
    top, *rest = name.split(".")
    if top not in sys.stdlib_module_names:
        return name
    return ".".join((top.lstrip("_") or top, *(part for part in rest if not part.startswith("_"))))
