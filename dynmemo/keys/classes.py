"""How classes are read: everything in the namespace, bases in order, the metaclass, and what fields are made of.

The namespace is read from the class and not from its source, so that a method that was put there later counts. What
tools put there themselves is left out by `left_out.IN_CLASSES`; the fields from which they make it count.
"""

from __future__ import annotations

import enum
import inspect
import sys
import types
from typing import TYPE_CHECKING, Any

from dynmemo.keys.encoding import node
from dynmemo.keys.left_out import IN_CLASSES
from dynmemo.keys.own import SENT, is_found, is_own_class, is_own_function, stable_name
from dynmemo.keys.places import class_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.keys.encoding import Node
    from dynmemo.keys.snapshots import CodeWalk

_GENERATORS = frozenset({"collections", "dataclasses", "enum", "reprlib", "typing", "attr._make", "attr"})
# What Python and tools put there when the class is used.
_LATER = ("__slotnames__", "__annotations__", "__annotations_cache__", "__signature__", "__pydantic_setattr_handlers__")
# What a tool made of the body, which nobody changes: as things, and not looked at again at each call.
_OF_FIELDS = (
    "__dataclass_fields__",
    "__dataclass_params__",
    "__attrs_attrs__",
    "__attrs_props__",
    "__private_attributes__",
)
_OF_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


def read_class(cls: type, walk: CodeWalk) -> Node:
    """A class: one of a package's counts by its name."""
    name = stable_name(cls)
    if not is_own_class(cls):
        walk.package(name)
        if is_found(cls) or cls.__module__ == "builtins":
            return node(b"name", (name,))
        return node(b"made class", (name, *(part for pair in _fields(cls) for part in pair)))
    parts = walk.parts(b"class", cls)
    parts.text(cls.__qualname__.rpartition("<locals>.")[2])
    for index, base in enumerate(cls.__bases__):
        parts.value(f"base {index}", base, base.__name__)
    if type(cls) is not type:
        parts.value("metaclass", type(cls), type(cls).__name__)
    for attribute in _attributes(cls):
        parts.place(f"attribute {attribute}", class_place(cls, attribute), f"{cls.__name__}.{attribute}")
    for attribute in _generated(cls):
        parts.text(f"generated {attribute}")
    for label, value in _fields(cls):
        parts.value(f"field {label}", value, f"{cls.__name__}.{label}")
    parts.namespace(vars(cls), cls, _LATER)
    walk.found("class", cls, "", "")
    return parts.node()


def _attributes(cls: type) -> list[str]:
    """The names in the class body that somebody wrote there."""
    members = cls.__members__ if issubclass(cls, enum.Enum) else {}
    return [
        name
        for name, value in list(vars(cls).items())
        if name not in IN_CLASSES
        and name not in _OF_FIELDS
        and name not in members
        and not _is_inherited(cls, name, value)
        and not is_generated(value, cls)
        and not isinstance(value, _OF_SLOTS)
    ]


def _generated(cls: type) -> list[str]:
    """The names of methods that a tool made because it was asked to: ``order=True``."""
    names = [name for name, value in vars(cls).items() if is_generated(value, cls)]
    return [] if issubclass(cls, (enum.Enum, tuple)) else sorted(set(names) - {"__replace__", "__attrs_init__"})


def _is_inherited(cls: type, name: str, value: object) -> bool:
    """Whether the next class in line has the very same: it says nothing new, and cloudpickle leaves it out."""
    if name != "__hash__" and (not callable(value) or isinstance(value, type)):
        return False
    return next((vars(base)[name] is value for base in cls.__mro__[1:] if name in vars(base)), False)


def is_generated(value: object, cls: type) -> bool:
    """Whether a method was made by the standard library or attrs for a class of the user's."""
    function = getattr(value, "__func__", value)
    if isinstance(function, property):
        function = function.fget
    if type(function) is not types.FunctionType:
        kind = type(value).__module__.partition(".")[0], type(value).__name__
        return kind in {("collections", "_tuplegetter"), ("_collections", "_tuplegetter"), ("_ctypes", "CField")}
    code = function.__code__
    module = str(function.__globals__.get("__name__", ""))
    return (
        code.co_qualname.startswith("__create_fn__.")
        or code.co_filename.startswith("<attrs generated ")
        or (code.co_filename == SENT and _says_attrs(function))
        or (
            module in _GENERATORS and not is_own_function(function) and (module != "attr" or "attr" in code.co_filename)
        )
        or module.startswith("namedtuple_")
    )


def _says_attrs(function: types.FunctionType) -> bool:
    """Whether a method that came by value was made by attrs, and is no wrapper of the user's around such a one."""
    if not isinstance(function.__doc__, str) or not function.__doc__.startswith("Method generated by attrs "):
        return False
    if function.__globals__.get("__name__") == "attr._make":  # written there, so it counts by its name
        return False
    return "." not in function.__code__.co_qualname and not hasattr(function, "__wrapped__")


# -- fields --------------------------------------------------------------------------------------------------


def _fields(cls: type) -> Iterator[tuple[str, Any]]:
    """What fields and options of a class are, as things."""
    own = vars(cls)
    bases = [base for base in own.get("__orig_bases__", ()) if getattr(base, "__args__", None)]
    if bases:
        yield "generic bases", bases
    for name in _OF_FIELDS:
        if name in own:
            yield name, own[name]
    if issubclass(cls, enum.Enum):
        yield from _members(cls)
    if issubclass(cls, tuple) and "_fields" in own:
        yield "names", (own["_fields"], own.get("_field_defaults"))
    for name in ("__pydantic_fields__", "__pydantic_decorators__"):
        if name in own:
            yield from _pydantic(cls)
            break
    msgspec = sys.modules.get("msgspec")
    if msgspec is not None and issubclass(cls, msgspec.Struct):
        yield from _struct(cls, msgspec)
    if issubclass(cls, tuple) or "__total__" in own or getattr(cls, "_is_protocol", False):
        return
    made = not is_own_class(type(cls)) and type(cls).__module__ not in {"builtins", "abc", "enum"}
    if made and "__pydantic_fields__" not in own and own.get("__annotations__"):
        yield "annotations", dict(own["__annotations__"])


def _members(cls: type[enum.Enum]) -> Iterator[tuple[str, Any]]:
    private = {"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"}
    members = cls.__members__
    yield (
        "members",
        [
            (name, one.name, one._value_, {key: more for key, more in vars(one).items() if key not in private})
            for name, one in members.items()
        ],
    )
    if issubclass(cls, enum.Flag):
        yield "boundary", getattr(cls._boundary_, "name", None)  # type: ignore[attr-defined]


def _pydantic(cls: Any) -> Iterator[tuple[str, Any]]:
    own = vars(cls)
    yield "pydantic", dict(own.get("__pydantic_fields__", {}))
    decorators = own.get("__pydantic_decorators__")
    for kind in getattr(decorators, "__slots__", ()) or getattr(type(decorators), "__dataclass_fields__", ()):
        for name, one in (getattr(decorators, kind, None) or {}).items():
            yield f"{kind} {name}", (one.cls_var_name, _info(one.info), one.func)


def _info(info: Any) -> object:
    names = getattr(info, "__dataclass_fields__", None)
    if names is None:
        return info
    found = {name: getattr(info, name) for name in names if name not in {"wrapped_property", "cls"}}
    documented = getattr(getattr(info, "wrapped_property", None), "__doc__", None)
    if documented and found.get("description") == inspect.cleandoc(documented):
        found["description"] = None  # a copy of the docstring
    return found


def _struct(cls: Any, msgspec: Any) -> Iterator[tuple[str, Any]]:
    config = cls.__struct_config__
    yield "options", {name: getattr(config, name, None) for name in dir(config) if not name.startswith("__")}
    try:
        fields: Any = msgspec.structs.fields(cls)
    except Exception:  # noqa: BLE001 - an annotation that cannot be resolved
        fields = ()
    yield (
        "struct",
        [(field.name, field.encode_name, field.type, field.default, field.default_factory) for field in fields],
    )
