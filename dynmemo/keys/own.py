"""What is the user's own code, as opposed to the standard library's, a package's and dynmemo's; and names of things.

Own is what is defined in ``__main__``, in a notebook, or in a file outside the standard library and ``site-packages``;
so an editable install is own, and so is a file that has the name of a module of the standard library.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import sysconfig
import types
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dynmemo._process import MAIN_MODULES, ipython, run_as

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


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


def is_own_module(name: object) -> bool:
    """Whether the module of this name is the user's. One that is not loaded came with a pickle from its owner."""
    if not isinstance(name, str):
        return False
    if name in MAIN_MODULES:
        return True
    module = sys.modules.get(name)
    namespace = getattr(module, "__dict__", {})  # for a module's `__getattr__` may raise anything
    file, folders = namespace.get("__file__"), namespace.get("__path__")
    if isinstance(file, str) or folders is not None:
        return is_own_location(file if isinstance(file, str) else None, folders)
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in sys.builtin_module_names or top == "dynmemo":
        return False
    if module is None and top != name:
        return top not in sys.modules or is_own_module(top)
    return True


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
    """Whether a class was written by the user, whatever it says of itself.

    `types.new_class`, `dataclasses.make_dataclass` and called metaclasses give classes the name of a module that does
    not have them; such a class is own when it holds own functions or has an own base.
    """
    if is_builtin_type(cls):
        return False
    if is_own_module(cls.__module__):
        return True
    return not is_found(cls) and (
        any(map(_holds_own, list(vars(cls).values()))) or any(is_own_class(base) for base in cls.__bases__)
    )


def is_found(thing: Any) -> bool:
    """Whether the module that `thing` comes from has it under its name."""
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    if type(thing) is types.FunctionType:  # `functools.wraps` gives it the name of another one
        module, name = thing.__globals__.get("__name__"), thing.__code__.co_qualname
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    for part in str(name).split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found is thing


def _holds_own(value: object) -> bool:
    function = getattr(value, "__func__", value)
    if isinstance(function, property):
        function = function.fget
    return type(function) is types.FunctionType and is_own_function(function)


def is_builtin_type(cls: type) -> bool:
    """Whether the type is written in C; such a type has no code to follow."""
    return not cls.__flags__ & (1 << 9)  # Py_TPFLAGS_HEAPTYPE


LRU_CACHE: Final = type(functools.lru_cache(len))


def seen_through(thing: Any) -> Any:
    """The function inside wrappers that only remember its results, which do what it does."""
    while type(thing) is LRU_CACHE or (
        type(thing).__module__.partition(".")[0] == "dynmemo" and hasattr(type(thing), "__wrapped__")
    ):
        thing = thing.__wrapped__
    return thing


def module_name(module: object) -> str:
    """`module` as every process calls it.

    ``__mp_main__`` (a spawned child's copy of the main module) is ``__main__``, and the main module of
    ``python -m pkg.mod`` is ``pkg.mod``.
    """
    if not isinstance(module, str):
        return "?"  # `sympy.Function("f")` has no module
    if module not in MAIN_MODULES:
        return _MOVED.get(module, module)
    spec = getattr(sys.modules.get(module), "__spec__", None)
    return spec.name if spec is not None else "__main__"


def main_of(function: Any) -> Mapping[str, Any] | None:
    """The globals of the main module if the function belongs to it, else None."""
    module = getattr(function, "__module__", None) or "__main__"
    if module not in MAIN_MODULES:
        return None
    names: Any = getattr(function, "__globals__", {})  # what runs a script may be the main module itself
    return names if names.get("__name__") == module else getattr(sys.modules.get(module), "__dict__", {})


def importable_name(main: Mapping[str, Any]) -> str | None:
    """The name under which other programs import the main module; None for notebooks and where none is known.

    With ``python -m pkg.mod`` that is ``pkg.mod``; with ``python path/mod.py`` what `import` here would take for that
    very file: ``pkg.mod`` where it lies in a package whose folder is searched, else ``mod``.
    """
    file = main.get("__file__")
    return run_as(main) or (_module_in(file) if isinstance(file, str) else None)


@functools.lru_cache(maxsize=100)
def _module_in(file: str) -> str | None:
    path = Path(file)
    if path.suffix != ".py" or not path.stem.isidentifier() or path.stem == "__main__":
        return None
    if ipython() is not None:  # which takes a script into a notebook with ``%run``
        return None
    folder, names = path.parent, [path.stem]
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        names.insert(0, folder.name)
        folder = folder.parent
    if len(names) > 1 and _is_found_in(names[0], folder / names[0] / "__init__.py"):
        return ".".join(names)
    return path.stem if _is_found_in(path.stem, path) else None


def _is_found_in(name: str, file: Path) -> bool:
    """Whether a top-level module of that name would be imported from that file."""
    with suppress(Exception):  # of an importer of the user's
        spec = importlib.util.find_spec(name)
        return spec is not None and spec.origin is not None and file.samefile(spec.origin)
    return False


# Private modules that some Python versions have inside the public one.
_MOVED = {"pathlib._local": "pathlib", "pathlib._abc": "pathlib"}


def type_name(cls: type) -> str:
    """The qualified name of a class: ``package.module.Outer.Inner``."""
    return f"{module_name(cls.__module__)}.{cls.__qualname__}"


# What `threading.Lock` calls itself before Python 3.13, and since.
_RENAMED = dict.fromkeys(("thread.allocate_lock", "thread.lock"), "threading.Lock")


def stable_name(thing: object) -> str:
    """``module.qualname`` of something that counts by its name, the same in a spawned child and on every Python."""
    module = getattr(thing, "__module__", None) or "builtins"
    owner = getattr(thing, "__objclass__", None)
    if isinstance(owner, type):
        return f"{stable_name(owner)}.{getattr(thing, '__name__', '')}"
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
