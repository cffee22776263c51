"""Plain objects, by their class and the state that pickle would store.

The state is digested part by part instead of as pickled bytes, because pickle writes a shared
object once and an equal one again: the same content would have several digests.
"""

from __future__ import annotations

import copyreg
import dataclasses
import enum
from collections import OrderedDict
from itertools import chain
from pathlib import PosixPath, PurePath, WindowsPath
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from dynmemo.keys.digest.code import TypeOf
from dynmemo.keys.digest.encoding import size
from dynmemo.keys.digest.names import module_name, type_name
from dynmemo.keys.digest.node import ENTRIES, FIELDS, ORDERED_ENTRIES, Fields, Named, node
from dynmemo.keys.digest.refusal import NoStableContent, Refusal

if TYPE_CHECKING:
    from dynmemo.keys.digest.node import Handler, Node

_PLAIN, _PLAIN_CHECKED = Fields(1), Fields(1, check=True)
_REDUCED = Named(check=True)
_HOOKS = ("__reduce_ex__", "__reduce__", "__getstate__")
_COPY_HOOKS = ("__setstate__", "__getnewargs__", "__getnewargs_ex__")

# attrs keeps the hash of an object in the object; it depends on PYTHONHASHSEED.
_HASH = "_attrs_cached_hash"


class State:
    """The attributes of an object, as a part of it."""

    __slots__ = ("fields",)

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields


class Pairs:
    """The items of a dict of the user's own class, as a part of it."""

    __slots__ = ("flat", "ordered")

    def __init__(self, pairs: Any, *, ordered: bool) -> None:
        self.flat = list(chain.from_iterable(pairs))
        self.ordered = ordered


def take_state_apart(value: State) -> Node:
    """Attributes by name, in no order."""
    return node(b"state", list(chain.from_iterable(value.fields.items())), FIELDS)


def take_pairs_apart(value: Pairs) -> Node:
    """Items, in the order of the dict if its class cares."""
    return node(b"pairs", value.flat, ORDERED_ENTRIES if value.ordered else ENTRIES)


def object_handler(cls: type) -> Handler:
    """How instances of `cls` are taken apart when nobody said anything else."""
    if issubclass(cls, enum.Enum):
        return _enum_handler(cls)
    if issubclass(cls, PurePath):
        return _path_handler(cls)
    if issubclass(cls, (set, frozenset)):
        return _set_handler(cls)
    # In a process that got the class by value its instances have a dict.
    if issubclass(cls, tuple) and hasattr(cls, "_fields") and (cls.__dictoffset__ == 0 or cls.__bases__ == (tuple,)):
        return _namedtuple_handler(cls)
    return _state_handler(cls)


def _enum_handler(cls: type[enum.Enum]) -> Handler:
    head, order = TypeOf(cls), Named("", ".name", ".value")
    # The name of a combination of flags differs between Python versions.
    named = not issubclass(cls, enum.Flag)
    return lambda value: node(b"enum", (head, value.name if named else None, value.value), order)


def _path_handler(cls: type[PurePath]) -> Handler:
    # A path of this system is of one kind on every system, and is written with "/".
    head = "Path" if cls in {PosixPath, WindowsPath} else TypeOf(cls)
    return lambda value: node(b"path", (head, value.as_posix()))


def _set_handler(cls: type) -> Handler:
    head, base = TypeOf(cls), frozenset if issubclass(cls, frozenset) else set
    return lambda value: node(b"set", (head, base(value), State(getattr(value, "__dict__", {}))))


def _namedtuple_handler(cls: type) -> Handler:
    fields: tuple[str, ...] = cls._fields  # type: ignore[attr-defined]
    head, order = TypeOf(cls), Named("", *[f".{field}" for field in fields])
    return lambda value: node(b"namedtuple", (head, *value), order)


def _state_handler(cls: type) -> Handler:
    head, reduce, hooks = TypeOf(cls), _reducer(cls), _has_hooks(cls)
    order, ordered = _PLAIN_CHECKED if hooks else _PLAIN, issubclass(cls, OrderedDict)
    bare = False  # known to have no more than attributes

    def take_apart(value: Any) -> Node:
        nonlocal bare
        if bare:
            fields = _fields(object.__getstate__(value), custom=False)
            if fields is not None:
                return b"o" + size(len(fields)), [head, *fields], order
        reduced = _reduced(cls, reduce, value)
        if isinstance(reduced, str):
            # What wraps a function goes by the function's name when it is pickled; here its code counts as well.
            return node(b"global", (_home(value), reduced, getattr(value, "__wrapped__", None)))
        function, args, state, *more = reduced if len(reduced) > 2 else (*reduced, None)
        fields = _fields(state, custom=hooks)
        if function is copyreg.__newobj__ and args == (cls,) and fields is not None and not any(more):  # type: ignore[attr-defined]
            bare = not hooks
            return b"o" + size(len(fields)), [head, *fields], order
        return _take_reduced_apart(function, args, state, *more, ordered=ordered)

    return take_apart


def _reduced(cls: type, reduce: Any, value: Any) -> Any:
    try:
        return reduce(value)
    except NoStableContent:
        raise
    except Exception as error:
        raise Refusal(cls, f"an object of type {type_name(cls)}, which has no stable content") from error


def _reducer(cls: type) -> Any:
    if _is_frozen_dataclass_with_slots(cls):
        return lambda value: (copyreg.__newobj__, (cls,), object.__getstate__(value))  # type: ignore[attr-defined]
    registered = copyreg.dispatch_table.get(cls)
    # tblib, which Dask brings along, registers every exception for the sake of its traceback.
    if registered is not None and not issubclass(cls, BaseException):
        return registered
    return lambda value: value.__reduce_ex__(4)


def _is_frozen_dataclass_with_slots(cls: type) -> bool:
    """Whether the state is a list that dataclasses made, whose items have lost their names."""
    return dataclasses.is_dataclass(cls) and getattr(cls.__getstate__, "__module__", None) == "dataclasses"


def _has_hooks(cls: type) -> bool:
    """Whether the class has a say in how it is pickled, so that a copy of it may be different."""
    if _is_frozen_dataclass_with_slots(cls):
        return False
    own = any(getattr(cls, name) is not getattr(object, name) for name in _HOOKS)
    return own or cls in copyreg.dispatch_table or any(hasattr(cls, name) for name in _COPY_HOOKS)


def _fields(state: object, *, custom: bool) -> list[object] | None:
    """Names and values of a state that is `__dict__`, slots or both; None for a state of another form.

    Only a state that is not `custom` may be a pair of the two; in a class of one's own a pair is just a pair.
    """
    if type(state) is tuple and len(state) == 2 and not custom:
        parts: tuple[object, ...] = state
        if all(type(part) is dict for part in state):
            parts = ({**state[0], **state[1]},)  # in a copy of a class with slots, an attribute may be in both
    else:
        parts = (state,)
    fields: list[object] = []
    for part in parts:
        if part is None and not custom:
            continue
        if type(part) is not dict or not all(type(name) is str for name in part):
            return None
        if _HASH in part:
            part = {name: value for name, value in part.items() if name != _HASH}
        fields += chain.from_iterable(part.items())
    return fields


def _take_reduced_apart(
    function: Any, args: Any, state: Any, items: Any = None, pairs: Any = None, setter: Any = None, *, ordered: bool
) -> Node:
    fields = _fields(state, custom=True)
    children = [
        _maker(function),
        tuple(TypeOf(arg) if isinstance(arg, type) else arg for arg in args),
        state if fields is None else State(dict(zip(fields[::2], fields[1::2], strict=True))),  # type: ignore[arg-type]
        None if items is None else list(items),
        None if pairs is None else Pairs(pairs, ordered=ordered),
        None if setter is None else _maker(setter),
    ]
    return node(b"reduced", children, _REDUCED)


def _maker(function: Any) -> object:
    """What stands for a function that rebuilds an object: a part of its class, so the name will do."""
    if isinstance(function, type):
        return TypeOf(function)
    if isinstance(function, MethodType) and isinstance(function.__self__, type):
        return TypeOf(function.__self__), function.__name__
    if isinstance(function, (FunctionType, BuiltinFunctionType)):
        return f"{module_name(function.__module__ or '')}.{function.__qualname__}"
    return function


def _home(value: object) -> str:
    return module_name(getattr(value, "__module__", None) or type(value).__module__)
