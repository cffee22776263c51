"""Which handler a type has: looked up once per type, and never by importing anything for it."""

from __future__ import annotations

import importlib
import sys
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

from dynmemo.keys.digest.code import CODE_TYPES, TypeOf, take_code_apart, take_type_apart
from dynmemo.keys.digest.containers import CONTAINERS
from dynmemo.keys.digest.names import type_name
from dynmemo.keys.digest.node import Named, node
from dynmemo.keys.digest.objects import Pairs, State, object_handler, take_pairs_apart, take_state_apart
from dynmemo.keys.digest.refusal import NoStableContent, Refusal, refused
from dynmemo.keys.digest.scalars import LEAVES, MORE

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.keys.digest.node import Handler, Node

_BASE: Final[dict[type, Handler]] = {
    **MORE,
    **CONTAINERS,
    TypeOf: take_type_apart,
    State: take_state_apart,
    Pairs: take_pairs_apart,
}

# A package whose types have handlers of their own, and our module that has them. That module imports
# the package, which is there already: a value of one of its types has come in.
_FAMILIES: Final = {
    "numpy": "dynmemo.keys.digest.numpy_types",
    "pandas": "dynmemo.keys.digest.pandas_types",
    "polars": "dynmemo.keys.digest.polars_types",
    "pyarrow": "dynmemo.keys.digest.arrow_types",
    "pydantic": "dynmemo.keys.digest.pydantic_types",
    "scipy": "dynmemo.keys.digest.scipy_types",
    "torch": "dynmemo.keys.digest.torch_types",
    "xarray": "dynmemo.keys.digest.xarray_types",
}

# Classes redefined in a notebook cell would pile up otherwise.
_MOST_LEARNED = 4_096

HANDLERS: Final[dict[type, Handler]] = dict(_BASE)
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
    """The handler of `cls`, from now on in `HANDLERS`."""
    handler = _BASE.get(cls) or _own_word(cls) or refused(cls) or _code(cls) or _family(cls) or object_handler(cls)
    if len(HANDLERS) >= _MOST_LEARNED:
        _forget()
    HANDLERS[cls] = handler
    return handler


def _forget() -> None:
    # No lock: what another thread misses for a moment, it learns again.
    HANDLERS.clear()
    HANDLERS.update(_BASE)


def _own_word(cls: type) -> Handler | None:
    for base in cls.__mro__:
        function = _registered.get(base)
        if function is not None:
            return _stand_in(cls, function)
        if "__dynmemo_digest__" in vars(base):
            return _stand_in(cls, methodcaller("__dynmemo_digest__"))
    return None


def _stand_in(cls: type, function: Callable[[Any], object]) -> Handler:
    head, order = TypeOf(cls), Named()

    def take_apart(value: Any) -> Node:
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
        return node(b"registered", (head, content), order)

    return take_apart


def _code(cls: type) -> Handler | None:
    return take_code_apart if cls in CODE_TYPES or issubclass(cls, type) else None


def _family(cls: type) -> Handler | None:
    for base in cls.__mro__:
        package = base.__module__.partition(".")[0]
        if package in _FAMILIES and package in sys.modules:
            handler: Handler | None = importlib.import_module(_FAMILIES[package]).handler(cls)
            if handler is not None:
                return handler
    return None
