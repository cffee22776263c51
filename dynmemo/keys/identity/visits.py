"""Which things have code in them, and how each of them is taken apart."""

from __future__ import annotations

import functools
import inspect
import logging
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from dynmemo.keys.identity.classes import visit_class
from dynmemo.keys.identity.functions import visit_function
from dynmemo.keys.identity.own import is_own_class, is_own_module, stable_name
from dynmemo.keys.identity.places import Place, attributes_of, fixed_place, instance_place
from dynmemo.keys.identity.state import is_plain_instance

if TYPE_CHECKING:
    from dynmemo.keys.identity.graph import Node
    from dynmemo.keys.identity.walk import Walk

_LRU_CACHE = type(functools.lru_cache(len))

Visit: TypeAlias = Callable[["Walk", "Node"], None]

_BY_NAME = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.WrapperDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


def visit_of(thing: object) -> Visit | None:
    """How to take `thing` apart, None if it is data.

    The real type decides: a proxy such as `wrapt.FunctionWrapper` says that its class is that of the function.
    """
    cls = type(thing)
    known = _VISITS.get(cls)
    if known is not None:
        return known
    if issubclass(cls, type):
        return visit_class
    if issubclass(cls, types.ModuleType):
        return _module
    if issubclass(cls, property):
        return _property
    if issubclass(cls, logging.Logger | logging.LoggerAdapter):
        return _logger
    if is_plain_instance(thing):
        return _instance
    if _is_wrapper(thing):
        return _wrapper
    return None


def seen_through(thing: Any) -> Any:
    """The function inside wrappers that only remember its results, which do what it does."""
    while _remembers(type(thing)):
        thing = thing.__wrapped__
    return thing


def _remembers(cls: type) -> bool:
    return cls is _LRU_CACHE or (cls.__module__.partition(".")[0] == "dynmemo" and hasattr(cls, "__wrapped__"))


def _is_wrapper(thing: object) -> bool:
    """Whether `thing` has a ``__wrapped__`` of its own, and does not just answer to every name as mocks do."""
    return callable(thing) and inspect.getattr_static(thing, "__wrapped__", None) is not None


def _parts(walk: Walk, node: Node, label: str, **parts: object) -> None:
    node.label = label
    for name, part in parts.items():
        if part is not None:
            walk.edge(node, name, fixed_place(part), name)


def _method(walk: Walk, node: Node) -> None:
    _parts(walk, node, "method", function=node.thing.__func__, self=node.thing.__self__)


def _builtin(walk: Walk, node: Node) -> None:
    owner = getattr(node.thing, "__self__", None)
    bound = owner if not isinstance(owner, types.ModuleType | type) else None
    _parts(walk, node, f"name:{stable_name(node.thing)}", self=bound)
    node.kind = "package"


def _partial(walk: Walk, node: Node) -> None:
    partial = node.thing
    _parts(walk, node, type(partial).__name__, func=partial.func)
    for index, value in enumerate(partial.args):
        walk.edge(node, f"argument {index}", fixed_place(value), f"argument {index}", kind="default")
    node.sized.append(partial.keywords)
    for name in sorted(partial.keywords):
        walk.edge(node, f"keyword {name}", Place(partial.keywords, name), name, kind="default")


def _descriptor(walk: Walk, node: Node) -> None:
    _parts(walk, node, type(node.thing).__name__, func=node.thing.__func__)


def _property(walk: Walk, node: Node) -> None:
    thing = node.thing
    _parts(walk, node, _type_label(walk, node, thing), fget=thing.fget, fset=thing.fset, fdel=thing.fdel)


def _cached_property(walk: Walk, node: Node) -> None:
    _parts(walk, node, "cached_property", func=node.thing.func)


def _single_dispatch_method(walk: Walk, node: Node) -> None:
    _parts(walk, node, "singledispatchmethod", func=node.thing.func, dispatcher=node.thing.dispatcher)


def _wrapper(walk: Walk, node: Node) -> None:
    """A wrapper written in C or a proxy."""
    _parts(walk, node, f"wrapper {stable_name(type(node.thing))}", wrapped=node.thing.__wrapped__)


def _module(walk: Walk, node: Node) -> None:
    name = node.thing.__name__
    node.label = f"module:{name}"
    node.kind = "package"
    if is_own_module(name):
        node.kind, node.note = (
            "opaque",
            "a module counts by its name; what is taken from it by a name made at run time is not seen",
        )


def _logger(walk: Walk, node: Node) -> None:
    node.kind, node.note = "opaque", f"{type(node.thing).__name__}: counts by its type and name"
    node.label = f"opaque:{stable_name(type(node.thing))}"


def _instance(walk: Walk, node: Node) -> None:
    """An instance of an own class: the class, and every attribute as a place of its own."""
    node.kind = "global"
    _parts(walk, node, "instance", cls=type(node.thing))
    state = attributes_of(node.thing)
    node.sized.append(state)
    # A decorator that is a class copies these from the function that it holds.
    copied = functools.WRAPPER_ASSIGNMENTS if "__wrapped__" in state else ()
    for name in sorted(set(state) - set(copied), key=str):
        if not _is_derived(type(node.thing), name):
            walk.edge(node, f"attribute {name}", instance_place(node.thing, name), f"{node.name}.{name}")


def _is_derived(cls: type, name: str) -> bool:
    """Whether an attribute is what a cached property remembers."""
    return any(isinstance(vars(base).get(name), functools.cached_property) for base in cls.__mro__)


def _type_label(walk: Walk, node: Node, thing: object) -> str:
    cls = type(thing)
    if is_own_class(cls):
        walk.edge(node, "type", fixed_place(cls), cls.__name__)
    return cls.__name__


_VISITS: dict[type, Visit] = {
    types.FunctionType: visit_function,
    types.MethodType: _method,
    types.ModuleType: _module,
    functools.partial: _partial,
    functools.partialmethod: _partial,
    functools.cached_property: _cached_property,
    functools.singledispatchmethod: _single_dispatch_method,
    staticmethod: _descriptor,
    classmethod: _descriptor,
    **dict.fromkeys(_BY_NAME, _builtin),
}
