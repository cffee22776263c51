"""How each kind of value is read: looked up once per type, and never by importing anything for it.

A reader takes a value apart by one level: into its bytes, or into a tag and the children that the walk goes on with.
To add a type, put its reader into the file of its package (`FAMILIES`), or into `things.py` by its name.
"""

from __future__ import annotations

import importlib
import sys
import types
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, NoReturn

from dynmemo.keys.containers import CONTAINERS
from dynmemo.keys.encoding import InWalk, Named, node
from dynmemo.keys.left_out import LIVE, NO_BEARING, listed, refused
from dynmemo.keys.objects import MARKERS, object_reader
from dynmemo.keys.own import type_name
from dynmemo.keys.refusal import NoStableContent, Refusal
from dynmemo.keys.scalars import LEAVES, MORE
from dynmemo.keys.things import THINGS, live

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.keys.encoding import Handler, Node
    from dynmemo.keys.walk import Walk

FAMILIES: Final = {
    "numpy": "arrays",
    "pandas": "pandas_types",
    "polars": "polars_types",
    "pyarrow": "arrow_types",
    **dict.fromkeys(("pydantic", "scipy", "torch", "xarray", "sqlalchemy", "sklearn", "msgspec", "attr"), "others"),
    **dict.fromkeys(("pydantic_core", "dynmemo", "wrapt"), "others"),
}
"""Packages whose types have readers of their own, and our module that has them. A module that imports the package finds
it there already: a value of one of its types has come in."""

_CODE: Final = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.ModuleType,
    type,
)


def _code(value: Any, walk: Walk) -> bytes | Node:
    return walk.code(value, walk)


_BASE: Final[dict[type, Handler]] = {**MORE, **CONTAINERS, **MARKERS, **dict.fromkeys(_CODE, InWalk(_code))}

# Classes redefined in a notebook cell would pile up otherwise.
_MOST_LEARNED = 4_096

READERS: Final[dict[type, Handler]] = dict(_BASE)
"""What is known so far. Look here first, then call `learn`."""

_registered: Final[dict[type, Callable[[Any], object]]] = {}


def register_digest(type_: type, function: Callable[[Any], object]) -> None:
    """Let `function` say what stands for an object of `type_` in the key of a call.

    Args:
        type_: the class; its subclasses are included unless they have a digest of their own.
        function: is called with the object and returns something that has a digest, such as a
            tuple of the fields that matter. The qualified name of the object's class is added.

    A class can do the same with a method ``__dynmemo_digest__(self)``. A second registration of
    the same type replaces the first.

    Raises:
        TypeError: when `type_` is not a class, or is a built-in type whose content is known.
    """
    if not isinstance(type_, type):
        raise TypeError(f"register_digest() takes a class first, not an object of type {type_name(type(type_))}")
    if type_ in LEAVES or type_ in _BASE or type_ is object:
        raise TypeError(f"register_digest() cannot change {type_name(type_)}; register a subclass of it")
    _registered[type_] = function
    _forget()


def learn(cls: type) -> Handler:
    """The reader of `cls`, from now on in `READERS`."""
    reader = _BASE.get(cls) or _own_word(cls) or _listed(cls) or _code_reader(cls) or _family(cls) or object_reader(cls)
    if len(READERS) >= _MOST_LEARNED:
        _forget()
    READERS[cls] = reader
    return reader


def _forget() -> None:
    # No lock: what another thread misses for a moment, it learns again.
    READERS.clear()
    READERS.update(_BASE)


def _own_word(cls: type) -> Handler | None:
    for base in cls.__mro__:
        function = _registered.get(base)
        if function is not None:
            return _stand_in(cls, function)
        if "__dynmemo_digest__" in vars(base):
            return _stand_in(cls, methodcaller("__dynmemo_digest__"))
    return None


def _stand_in(cls: type, function: Callable[[Any], object]) -> Handler:
    def read(value: Any) -> Node:
        try:
            content = function(value)
        except NoStableContent:
            raise
        except Exception as error:
            raise Refusal(
                cls, f"an object of type {type_name(cls)}, whose digest raised {type_name(type(error))}"
            ) from error
        if content is value:
            raise Refusal(cls, f"an object of type {type_name(cls)}, whose digest is the object itself")
        return node(b"registered", (cls, content), Named())

    return read


def _listed(cls: type) -> Handler | None:
    if cls is object:
        return THINGS["builtins.object"]
    for base in cls.__mro__:
        known = THINGS.get(type_name(base)) if base is not object else None
        if known is not None:
            return known
    if listed(cls, NO_BEARING) is not None:
        name = type_name(next(base for base in cls.__mro__ if type_name(base) in NO_BEARING))
        return lambda value: node(b"left out", (name, getattr(value, "name", None) if "logg" in name else None))
    noun = listed(cls, LIVE)
    if noun is not None:
        return live(cls, noun)
    found = refused(cls)
    return None if found is None else _refuser(cls, *found)


def _refuser(cls: type, noun: str, hint: str = "") -> Handler:
    def refuse(_: Any) -> NoReturn:
        raise Refusal(cls, f"{noun}, which has no stable content", hint)

    return refuse


def _code_reader(cls: type) -> Handler | None:
    return InWalk(_code) if issubclass(cls, (type, types.ModuleType, property)) else None


def _family(cls: type) -> Handler | None:
    for base in cls.__mro__:
        package = str(base.__module__).partition(".")[0]
        if package in FAMILIES and package in sys.modules:
            reader: Handler | None = importlib.import_module(f"dynmemo.keys.{FAMILIES[package]}").handler(cls)
            if reader is not None:
                return reader
    return None
