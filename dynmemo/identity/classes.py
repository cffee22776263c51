"""What of a class counts: its name, its bases, and every attribute of its body, as they are now.

The body is read from the class and not from its source, so that a method that was put there later counts.
What dataclasses, attrs, enums, named tuples and pydantic generate is left out; the fields from which they
generate it count.
"""

from __future__ import annotations

import enum
import types
from typing import TYPE_CHECKING, Any

from dynmemo.identity.graph import hash_texts
from dynmemo.identity.own import is_own_class, stable_name
from dynmemo.identity.places import class_place, fixed_place
from dynmemo.identity.words import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.identity.graph import Node
    from dynmemo.identity.walk import Walk

_NOISE = words(
    "__abstractmethods__ __annotate__ __annotate_func__ __annotations__ __annotations_cache__ __attrs_attrs__ "
    "__attrs_base_of_slotted__ __attrs_own_setattr__ __attrs_props__ __conditional_annotations__ __dataclass_fields__ "
    "__dataclass_params__ __dict__ __doc__ __firstlineno__ __match_args__ __module__ __orig_bases__ __parameters__ "
    "__qualname__ __signature__ __slotnames__ __static_attributes__ __type_params__ __weakref__ _abc_data _abc_impl "
    "_field_defaults"
)
_GENERATORS = frozenset({"collections", "dataclasses", "enum", "reprlib", "typing"})
_FIELD_OPTIONS = ("name", "init", "repr", "hash", "compare", "kw_only")
_CLASS_OPTIONS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")


def visit_class(walk: Walk, node: Node) -> None:
    """A class: one of a package's counts by its name."""
    cls: type = node.thing
    if not is_own_class(cls):
        node.label, node.kind = f"name:{stable_name(cls)}", "package"
        return
    node.kind = "class"
    node.sized.append(vars(cls))
    node.label = f"class:{hash_texts(cls.__qualname__, *_field_texts(cls))}"
    for index, base in enumerate(cls.__bases__):
        walk.edge(node, f"base {index}", fixed_place(base), base.__name__)
    if type(cls) is not type:
        walk.edge(node, "metaclass", fixed_place(type(cls)), type(cls).__name__)
    for name in _attributes(cls):
        walk.edge(node, f"attribute {name}", class_place(cls, name), f"{cls.__name__}.{name}")
    for label, value in _field_parts(cls):
        walk.edge(node, label, fixed_place(value), f"{cls.__name__}.{label.partition(' ')[2]}")


def _attributes(cls: type) -> list[str]:
    """The names in the class body that somebody wrote there."""
    foreign = not is_own_class(type(cls)) and type(cls).__module__ not in {"builtins", "abc", "enum", "typing"}
    members = cls.__members__ if issubclass(cls, enum.Enum) else None
    found = []
    for name, value in vars(cls).items():
        if (
            name in _NOISE
            or is_generated(value)
            or isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
        ):
            continue
        if (
            members is not None
            and (name.startswith("_") or name in members)
            and not isinstance(value, types.FunctionType)
        ):
            continue
        # The metaclass of a package keeps its own things there (pydantic's schema, SQLAlchemy's registry).
        if foreign and name.startswith("_") and not _is_code(value):
            continue
        found.append(name)
    return found


def _is_code(value: object) -> bool:
    return isinstance(value, types.FunctionType | staticmethod | classmethod | property)


def is_generated(value: object) -> bool:
    """Whether a method was made by the standard library or attrs for a class of the user's."""
    function = getattr(value, "__func__", value)
    if type(function) is not types.FunctionType:
        return type(value).__name__ == "_tuplegetter"
    code = function.__code__
    module = str(function.__globals__.get("__name__", ""))
    return (
        code.co_qualname.startswith("__create_fn__.")
        or code.co_filename.startswith("<attrs generated ")
        or module in _GENERATORS
        or module.startswith("namedtuple_")
    )


def _field_texts(cls: type) -> Iterator[str]:
    """What the fields of a class are, apart from values and code."""
    own = vars(cls)
    for option in _CLASS_OPTIONS if "__dataclass_params__" in own else ():
        yield f"{option}={getattr(own['__dataclass_params__'], option)}"
    for name, field in own.get("__dataclass_fields__", {}).items():
        yield f"{name}:{field._field_type}:" + ",".join(str(getattr(field, option)) for option in _FIELD_OPTIONS)
    for attribute in own.get("__attrs_attrs__", ()):
        options = (attribute.init, attribute.kw_only, attribute.eq, attribute.order, attribute.alias)
        yield f"{attribute.name}:{options}"
    if issubclass(cls, tuple):
        yield from own.get("_fields", ())
    if issubclass(cls, enum.Enum):
        yield from cls.__members__
    for name, field in _pydantic_fields(cls).items():
        yield f"{name}:{field.annotation}:{field.metadata}:{field.is_required()}:{field.alias}"
    if (
        "__pydantic_fields__" not in own
        and not is_own_class(type(cls))
        and type(cls).__module__ not in {"builtins", "abc", "enum"}
    ):
        for name, annotation in own.get("__annotations__", {}).items():
            yield f"{name}:{annotation}"


def _field_parts(cls: type) -> Iterator[tuple[str, Any]]:
    """The values and code that stand in fields, with a label."""
    own = vars(cls)
    for name, field in own.get("__dataclass_fields__", {}).items():
        for part in ("default", "default_factory"):
            value = getattr(field, part)
            if type(value).__name__ != "_MISSING_TYPE":
                yield f"{part} {name}", value
    for attribute in own.get("__attrs_attrs__", ()):
        default = getattr(attribute.default, "factory", attribute.default)
        for part, value in (
            ("default", default),
            ("validator", attribute.validator),
            ("converter", attribute.converter),
        ):
            if value is not None and type(value).__name__ != "_Nothing":
                yield f"{part} {attribute.name}", value
    for name, value in (own.get("_field_defaults", {}) if issubclass(cls, tuple) else {}).items():
        yield f"default {name}", value
    if issubclass(cls, enum.Enum):
        for name, member in cls.__members__.items():
            yield f"member {name}", member._value_
    for name, field in _pydantic_fields(cls).items():
        if not field.is_required():
            yield f"default {name}", field.default_factory or field.default


def _pydantic_fields(cls: type) -> dict[str, Any]:
    fields = vars(cls).get("__pydantic_fields__", {})
    return dict(fields)
