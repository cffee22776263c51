"""How functions, modules and classes are read: the code, and everything that it names, as it is now.

A class is read from its namespace and not from its source, so that a method that was put there later counts. What
tools put there themselves is left out by `left_out.IN_CLASSES`; the fields from which they make it count.
"""

from __future__ import annotations

import enum
import inspect
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any

from dynmemo.keys.encoding import node
from dynmemo.keys.left_out import left_out_of_class
from dynmemo.keys.objects import bound_builtin, told
from dynmemo.keys.own import (
    SENT,
    is_found,
    is_own_class,
    is_own_function,
    is_own_module,
    module_name,
    public_module,
    stable_name,
)
from dynmemo.keys.places import MISSING, Place, attribute_place, default_place, start
from dynmemo.keys.reading import IMPORT, nested
from dynmemo.keys.source import read
from dynmemo.keys.state import spoken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.keys.encoding import Node
    from dynmemo.keys.reading import Chain, Reading
    from dynmemo.keys.snapshots import Snapshot
    from dynmemo.keys.walk import Walk

# What a module knows of itself differs between machines and is no input.
_OF_THE_MODULE = frozenset(
    [
        *("__name__", "__file__", "__doc__", "__package__", "__spec__", "__loader__", "__path__", "__cached__"),
        "__builtins__",
    ]
)
_DISPATCHES = "singledispatch.<locals>.wrapper"
_NO_SOURCE = "from its bytecode: its source is not at hand"
_ACCESSED = {
    "pandas": ("DataFrame", "Series", "Index"),
    "xarray": ("DataArray", "Dataset"),
    "polars": ("DataFrame", "Series", "LazyFrame", "Expr"),
}
_pins: weakref.WeakKeyDictionary[types.FunctionType, str] = weakref.WeakKeyDictionary()


def pin(function: object, text: str) -> None:
    """From now on `function` counts as `text`, which its user gave with ``version=`` or ``code="off"``.

    That holds for those who call it as well: their results are made of its results.
    """
    if type(function) is types.FunctionType:
        _pins[function] = text


def by_name(thing: Any, walk: Walk) -> bytes | Node:
    """Functions, classes and modules by their names alone."""
    return node(b"name", (stable_name(thing),))


def take_apart(thing: Any, walk: Snapshot) -> bytes | Node:
    """A function, class or module as a value with children."""
    bound = bound_builtin(thing)
    if bound is not None:
        return bound
    if type(thing) is types.FunctionType:
        return _Function(walk, thing).read()
    if isinstance(thing, type):
        return _class(thing, walk)
    if isinstance(thing, types.ModuleType):
        return _module(thing, walk)
    if isinstance(thing, property):
        return _property(thing, walk)
    walk.package(stable_name(thing))
    return by_name(thing, walk)


def _property(thing: property, walk: Snapshot) -> Node:
    parts = walk.parts(b"property", thing)
    for name in ("fget", "fset", "fdel"):
        parts.value(name, getattr(thing, name), name)
    if type(thing) is not property:
        parts.value("type", type(thing))
        for name in getattr(thing, "__dict__", {}).keys() - {"__doc__"}:
            parts.place(f"attribute {name}", Place(thing.__dict__, name), name)
    return parts.node()


def _module(module: types.ModuleType, walk: Snapshot) -> Node:
    """A module that is handed about: of an own one everything that reached code asks for by a name of it."""
    name = module_name(module.__name__)
    parts = walk.parts(b"module", module, name)
    if not is_own_module(module.__name__):
        walk.package(name)
        return parts.node()
    walk.modules_asked = True
    for one in sorted(walk.asked - _OF_THE_MODULE):
        place = attribute_place(module, one)
        if place is not None and place.get() is not MISSING:
            parts.place(f"name {one}", place, f"{module.__name__}.{one}", module=module.__name__)
    return parts.node()


class _Function:
    """Reads one function."""

    def __init__(self, walk: Snapshot, function: types.FunctionType) -> None:
        self._walk = walk
        self._function = function
        self._cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        self._parts = walk.parts(b"function", function)

    def read(self) -> bytes | Node:
        function, walk = self._function, self._walk
        is_users = walk.is_users and function is walk.root
        pin = None if is_users else _pins.get(function)
        if pin is not None:
            walk.found.append((function, None, "pinned by version= or code="))
            return node(b"pinned", (pin,))
        own = is_users or is_own_function(function)
        if not own and is_found(function):
            walk.package(stable_name(function))
            return by_name(function, walk)
        if function.__code__.co_qualname == _DISPATCHES and not own:  # the rest is a memory of what was looked up
            self._parts.place("registry", Place(function.__dict__, "registry"), function.__name__)
            return self._parts.node()
        for name in function.__dict__:  # ``helper.weight = 2``, and what it wraps
            self._parts.place(f"attribute {name}", Place(function.__dict__, name), f"{function.__name__}.{name}")
        self._parts.namespace(function.__dict__)
        if own:
            self._read_own(is_users=is_users)
        else:
            self._read_foreign()
        return self._parts.node()

    def _read_own(self, *, is_users: bool) -> None:
        function, walk = self._function, self._walk
        reading = read(function)
        walk.found.append((function, reading.form, "" if reading.from_source else _NO_SOURCE))
        walk.function(function)
        # Who gives two functions one name wants them to share entries.
        self._parts.text(reading.form, "" if is_users else function.__name__)
        for name, cell in self._cells.items():
            self._parts.place(f"cell {name}", Place(cell), name, "closure")
        self._defaults()
        if walk.globals_too:
            self._names(reading)
            self._accessors(reading)

    def _read_foreign(self) -> None:
        """A function of a package that no module has under its name, as a decorator makes it: by what it holds."""
        function, code = self._function, self._function.__code__
        later = "__argmap__" in function.__dict__  # networkx compiles such a function when it is first called
        if not later:
            home = function.__globals__.get("__name__") or "__main__"
            self._parts.text(f"{public_module(module_name(home))}.{code.co_qualname}")
            for name, cell in self._cells.items():
                place = Place(cell)
                self._parts.place(f"cell {name}", place, name, "closure")
                self._walk.of_packages[place.key] = name  # the code of a package is not read
            self._defaults()
        self._walk.package(stable_name(function))

    def _defaults(self) -> None:
        code = self._function.__code__
        for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
            place = default_place(self._function, name)
            if place is not None:
                self._parts.place(f"default {name}", place, name, "default")

    # -- names ------------------------------------------------------------------------------------

    def _names(self, reading: Reading) -> None:
        done: set[str] = set()
        for chain in reading.reads:
            if chain[0] not in _OF_THE_MODULE:
                self._name(chain, done)

    def _name(self, chain: Chain, done: set[str]) -> None:
        place = start(self._function, chain[0])
        if place is None:  # whether somebody has loaded a package by now must not matter
            module = chain[0].removeprefix(IMPORT)
            self._walk.package(module)
            self._parts.text(f"import {module}")
            return
        last, value = 0, place.get()
        if chain[0] in self._cells and not isinstance(value, types.ModuleType):
            return  # the closure counts as a whole
        while isinstance(value, types.ModuleType) and last + 1 < len(chain):
            self._walk.watch.same(place, chain[last], value)
            inside = attribute_place(value, chain[last + 1])
            if inside is None:
                label = f"package {module_name(value.__name__)}"
                if label not in done:
                    done.add(label)
                    self._walk.package(value.__name__)
                    self._parts.text(label)
                return
            place, last, value = inside, last + 1, inside.get()
        if chain[-1] in _USES or len(chain) == last + 1:
            self._walk.used.add(place.key)
        label = ".".join(chain[: last + 1])
        if label not in done:
            done.add(label)
            self._parts.place(f"name {label}", place, spoken(chain[: last + 1]), module=self._function.__module__)

    def _accessors(self, reading: Reading) -> None:
        """Own classes that are registered with pandas, xarray or polars, and reached by a name after a dot."""
        for package, classes in _ACCESSED.items():
            for name in classes if package in sys.modules else ():
                cls = getattr(sys.modules[package], name, None)
                for one in reading.attributes if isinstance(cls, type) else ():
                    found = vars(cls).get(one)
                    accessor = getattr(found, "_ns" if package == "polars" else "_accessor", None)
                    if isinstance(accessor, type) and is_own_class(accessor):
                        self._parts.value(f"accessor {name}.{one}", accessor, one)


_USES = frozenset({"__call__", "__getitem__"})
"""The ends of chains by which the object itself is used, as it is where it is named alone."""


def asked_by(code: types.CodeType) -> set[str]:
    """The names that code may ask of a module: after a dot, and in texts for `getattr`."""
    codes = list(nested(code))
    constants = [value for one in codes for value in one.co_consts]
    constants += [part for value in constants if isinstance(value, tuple) for part in value]
    texts = {value for value in constants if isinstance(value, str) and value.isidentifier()}
    return texts.union(*(one.co_names for one in codes))


# -- classes -------------------------------------------------------------------------------------------------

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


def _class(cls: type, walk: Snapshot) -> Node:
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
        parts.place(f"attribute {attribute}", Place(vars(cls), attribute, cls), f"{cls.__name__}.{attribute}")
    for attribute in _generated(cls):
        parts.text(f"generated {attribute}")
    for label, value in _fields(cls):
        parts.value(f"field {label}", value, f"{cls.__name__}.{label}")
    parts.namespace(vars(cls), cls, (*_LATER, "__init__") if _is_made_of_protocols(cls) else _LATER)
    return parts.node()


def _attributes(cls: type) -> list[str]:
    """The names in the class body that somebody wrote there."""
    left_out = left_out_of_class(cls).union(_OF_FIELDS, cls.__members__ if issubclass(cls, enum.Enum) else ())
    return [
        name
        for name, value in list(vars(cls).items())
        if name not in left_out
        and not _is_inherited(cls, name, value)
        and not _is_generated(value)
        and not isinstance(value, _OF_SLOTS)
    ]


def _is_made_of_protocols(cls: type) -> bool:
    """Whether typing gives it the `__init__` of another class when the first instance is made."""
    return any(vars(base).get("_is_protocol") for base in cls.__mro__[1:])


def _generated(cls: type) -> list[str]:
    """The names of methods that a tool made because it was asked to: ``order=True``."""
    names = [name for name, value in vars(cls).items() if _is_generated(value)]
    return [] if issubclass(cls, (enum.Enum, tuple)) else sorted(set(names) - {"__replace__", "__attrs_init__"})


def _is_inherited(cls: type, name: str, value: object) -> bool:
    """Whether the next class in line has the very same: it says nothing new, and cloudpickle leaves it out."""
    if name != "__hash__" and (not callable(value) or isinstance(value, type)):
        return False
    if name == "__init__" and _is_made_of_protocols(cls):
        return any(vars(base).get(name) is value for base in cls.__mro__[1:])
    return next((vars(base)[name] is value for base in cls.__mro__[1:] if name in vars(base)), False)


def _is_generated(value: object) -> bool:
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
            (name, one.name, told(one._value_), {key: more for key, more in vars(one).items() if key not in private})
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
