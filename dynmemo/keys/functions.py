"""How functions and modules are read: the code, and everything that it names, as it is now."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from typing import TYPE_CHECKING, Any, Final

from dynmemo.keys.classes import read_class
from dynmemo.keys.encoding import Named, node
from dynmemo.keys.own import (
    is_found,
    is_own_class,
    is_own_function,
    is_own_location,
    is_own_module,
    module_name,
    public_module,
    stable_name,
)
from dynmemo.keys.pins import pinned
from dynmemo.keys.places import MISSING, Place, cell_place, class_place, instance_place
from dynmemo.keys.reading import BIND, HANDED, ITEM, ITEM_CALL, Write, imported_module, parameter_name
from dynmemo.keys.source import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dynmemo.keys.encoding import Node
    from dynmemo.keys.places import Key
    from dynmemo.keys.reading import Chain, Reading
    from dynmemo.keys.snapshots import CodeWalk
    from dynmemo.keys.walk import Walk

# What a module knows of itself differs between machines and is no input.
_OF_THE_MODULE = frozenset(
    [
        "__name__",
        "__file__",
        "__doc__",
        "__package__",
        "__spec__",
        "__loader__",
        "__path__",
        "__cached__",
        "__builtins__",
    ]
)
# Attributes through which pandas and numpy objects are changed as a whole.
_VIEWS = frozenset({"loc", "iloc", "at", "iat", "flat"})
_DISPATCHES = "singledispatch.<locals>.wrapper"

LRU_CACHE = type(functools.lru_cache(len))


def by_name(thing: Any, walk: Walk) -> bytes | Node:
    """Functions, classes and modules by their names alone."""
    return node(b"name", (stable_name(thing),))


def bound_builtin(thing: Any) -> Node | None:
    """A method of an object written in C, with the object: None for any other thing."""
    if not isinstance(thing, (types.BuiltinFunctionType, types.MethodWrapperType)):
        return None
    owner = getattr(thing, "__self__", None)
    if owner is None or isinstance(owner, types.ModuleType):
        return None
    return node(b"bound", (thing.__name__, owner), Named("", ".__self__"))


def seen_through(thing: Any) -> Any:
    """The function inside wrappers that only remember its results, which do what it does."""
    while type(thing) is LRU_CACHE or (
        type(thing).__module__.partition(".")[0] == "dynmemo" and hasattr(type(thing), "__wrapped__")
    ):
        thing = thing.__wrapped__
    return thing


def take_apart(thing: Any, walk: CodeWalk) -> bytes | Node:
    """A function, class or module as a value with children."""
    bound = bound_builtin(thing)
    if bound is not None:
        return bound
    if type(thing) is types.FunctionType:
        return _Function(walk, thing).read()
    if isinstance(thing, type):
        return read_class(thing, walk)
    if isinstance(thing, types.ModuleType):
        return _module(thing, walk)
    if isinstance(thing, property):
        return _property(thing, walk)
    walk.package(stable_name(thing))
    return node(b"name", (stable_name(thing),))


def _property(thing: property, walk: CodeWalk) -> Node:
    parts = walk.parts(b"property", thing)
    for name in ("fget", "fset", "fdel"):
        parts.value(name, getattr(thing, name), name)
    if type(thing) is not property:
        parts.value("type", type(thing))
        for name in getattr(thing, "__dict__", {}).keys() - {"__doc__"}:
            parts.place(f"attribute {name}", Place(thing.__dict__, name), name)
    return parts.node()


def _module(module: types.ModuleType, walk: CodeWalk) -> Node:
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

    def __init__(self, walk: CodeWalk, function: types.FunctionType) -> None:
        self._walk = walk
        self._function = function
        self._cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        self._parts = walk.parts(b"function", function)

    def read(self) -> bytes | Node:
        function, walk = self._function, self._walk
        is_root = walk.is_root(function)
        pin = None if is_root and walk.is_users else pinned(function)
        if pin is not None:
            walk.found("function", function, None, "pinned by version= or code=")
            return node(b"pinned", (pin,))
        own = (is_root and walk.is_users) or is_own_function(function)
        if not own and is_found(function):
            walk.package(stable_name(function))
            return node(b"name", (stable_name(function),))
        if function.__code__.co_qualname == _DISPATCHES and not own:  # the rest is a memory of what was looked up
            self._parts.place("registry", Place(function.__dict__, "registry"), function.__name__)
            return self._parts.node()
        self._attributes()
        if own:
            self._read_own(is_root=is_root)
        else:
            self._read_foreign()
        return self._parts.node()

    def _read_own(self, *, is_root: bool) -> None:
        function, walk = self._function, self._walk
        reading = read(function)
        walk.found("function", function, reading.form, reading.note)
        walk.function(function)
        # Who gives two functions one name wants them to share entries.
        self._parts.text(reading.form, "" if is_root and walk.is_users else function.__name__)
        self._closure()
        for name in function.__code__.co_varnames[
            : function.__code__.co_argcount + function.__code__.co_kwonlyargcount
        ]:
            place = default_place(function, name)
            if place is not None:
                self._parts.place(f"default {name}", place, name, "default")
        if walk.globals_too:
            self._names(reading)
            self._accessors(reading)

    def _read_foreign(self) -> None:
        function = self._function
        code = function.__code__
        later = "__argmap__" in function.__dict__  # networkx compiles such a function when it is first called
        if not later:
            home = function.__globals__.get("__name__") or "__main__"
            self._parts.text(f"{public_module(module_name(home))}.{code.co_qualname}")
            self._closure(foreign=True)
            for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
                place = default_place(function, name)
                if place is not None:
                    self._parts.place(f"default {name}", place, name, "default")
        self._walk.package(stable_name(function))

    def _closure(self, *, foreign: bool = False) -> None:
        for name, cell in self._cells.items():
            place = cell_place(cell)
            self._parts.place(f"cell {name}", place, name, "closure")
            if foreign:  # the code of a package is not read
                self._walk.of_packages[place.key] = name

    def _attributes(self) -> None:
        """What was put on the function: ``helper.weight = 2``, and what it wraps."""
        function = self._function
        for name in function.__dict__:
            self._parts.place(f"attribute {name}", Place(function.__dict__, name), f"{function.__name__}.{name}")
        self._parts.namespace(function.__dict__)

    # -- names ------------------------------------------------------------------------------------

    def _names(self, reading: Reading) -> None:
        done: set[str] = set()
        for chain in reading.reads:
            if parameter_name(chain[0]) is None and chain[0] not in _OF_THE_MODULE:
                self._name(chain, done)

    def _name(self, chain: Chain, done: set[str]) -> None:
        place = start(self._function, chain[0])
        if place is None:
            module = imported_module(chain[0])
            if module is not None:  # whether somebody has loaded a package by now must not matter
                self._walk.package(module)
                self._parts.text(f"import {module}")
            return
        last, value = 0, place.get()
        if chain[0] in self._cells and not isinstance(value, types.ModuleType):
            return  # the closure counts as a whole
        while isinstance(value, types.ModuleType) and last + 1 < len(chain):
            self._walk.watch.same(place, value)
            inside = attribute_place(value, chain[last + 1])
            if inside is None:
                label = f"package {module_name(value.__name__)}"
                if label not in done:
                    done.add(label)
                    self._walk.package(value.__name__)
                    self._parts.text(label)
                return
            place, last, value = inside, last + 1, inside.get()
        label = ".".join(chain[: last + 1])
        if label not in done:
            done.add(label)
            self._parts.place(f"name {label}", place, spoken(chain[: last + 1]), module=self._function.__module__)

    def _accessors(self, reading: Reading) -> None:
        """Own classes that are registered with pandas or xarray, and reached by a name after a dot."""
        for package, classes in (("pandas", ("DataFrame", "Series", "Index")), ("xarray", ("DataArray", "Dataset"))):
            for name in classes:
                cls = getattr(sys.modules.get(package), name, None)
                for one in reading.attributes:
                    accessor = getattr(vars(cls).get(one), "_accessor", None) if cls is not None else None
                    if isinstance(accessor, type) and is_own_class(accessor):
                        self._parts.value(f"accessor {name}.{one}", accessor, one)


def names_and_texts(code: types.CodeType) -> tuple[set[str], list[str]]:
    """The names in a code object with all that is nested in it, and its constant texts."""
    names, texts = set(code.co_names), []
    for value in code.co_consts:
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, tuple):
            texts += [one for one in value if isinstance(one, str)]
        elif isinstance(value, types.CodeType):
            more, inside = names_and_texts(value)
            names |= more
            texts += inside
    return names, texts


def asked_by(code: types.CodeType) -> set[str]:
    """The names that code may ask of a module: after a dot, and in texts for `getattr`."""
    names, texts = names_and_texts(code)
    return names | {one for one in texts if one.isidentifier()}


# -- the way of a chain --------------------------------------------------------------------------------------


def spoken(chain: Chain) -> str:
    """A chain as the user would say it."""
    root = parameter_name(chain[0]) or imported_module(chain[0]) or chain[0]
    return ".".join((root, *chain[1:]))


def start(function: types.FunctionType, root: str) -> Place | None:
    """Where the first name of a chain is looked up."""
    parameter = parameter_name(root)
    if parameter is not None:
        return default_place(function, parameter)
    module = imported_module(root)
    if module is not None:
        loaded = _load(module, function.__globals__)
        own = loaded is not None and is_own_module(loaded.__name__)
        return Place({"": loaded}, "", fixed=True) if own else None
    free = function.__code__.co_freevars
    if root in free and function.__closure__:
        return cell_place(function.__closure__[free.index(root)])
    return Place(function.__globals__, root)


def attribute_place(value: object, name: str) -> Place | None:
    """Where ``value.name`` is looked up, None if it does not matter or cannot be told."""
    if isinstance(value, types.ModuleType):
        return _module_place(value, name)
    if isinstance(value, type):
        owner = next((base for base in value.__mro__ if name in vars(base)), value)
        return class_place(owner, name) if is_own_class(owner) else None
    if type(value) is types.FunctionType:
        return Place(value.__dict__, name)
    return instance_place(value, name) if is_plain_instance(value) else None


def _module_place(module: types.ModuleType, name: str) -> Place | None:
    if not is_own_module(module.__name__):
        found = vars(module).get(name)
        return Place(vars(module), name) if isinstance(found, types.ModuleType) or _is_own_code(found) else None
    if name not in vars(module):
        if hasattr(module, "__path__"):  # ``from pkg import sub`` imports a submodule that nobody imported before
            _load(f"{module.__name__}.{name}", {})
        if name not in vars(module) and "__getattr__" in vars(module):
            return _made_on_request(module, name)
    return Place(vars(module), name)


def _made_on_request(module: types.ModuleType, name: str) -> Place | None:
    """What a module's ``__getattr__`` gives, with its code."""
    try:
        found: Any = getattr(module, name)
    except Exception:  # noqa: BLE001 - it is the function's to fail, if it gets there
        found = None
    return Place({name: (vars(module)["__getattr__"], found)}, name, fixed=True)


def _is_own_code(value: object) -> bool:
    if type(value) is types.FunctionType:
        return is_own_function(value)
    return is_own_class(value) if isinstance(value, type) else is_own_class(type(value))


def default_place(function: types.FunctionType, name: str) -> Place | None:
    """Where the default of a parameter lies, None if it has none."""
    keywords = function.__kwdefaults__
    if keywords is not None and name in keywords:
        return Place(keywords, name)
    defaults = function.__defaults__ or ()
    code = function.__code__
    named = dict(zip(reversed(code.co_varnames[: code.co_argcount]), reversed(defaults), strict=False))
    # The tuple is another one when the defaults are set anew; the function is watched for that.
    return Place(named, name, defaults, fixed=True) if name in named else None


def is_plain_instance(value: object) -> bool:
    """Whether all there is to an instance of an own class are its attributes, one by one."""
    cls = type(value)
    if isinstance(value, type) or not is_own_class(cls):
        return False
    if any(hasattr(cls, name) for name in ("__dynmemo_digest__", "__getnewargs_ex__", "__getnewargs__", "__wrapped__")):
        return False
    if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__:
        return False
    # A class made of a built-in one has content beside its attributes.
    return cls.__getstate__ is object.__getstate__ and all(base is object or is_own_class(base) for base in cls.__mro__)


def _load(name: str, namespace: dict[str, Any]) -> types.ModuleType | None:
    """The module that an ``import`` in the function gives; an own one is imported now, as the function would."""
    level = len(name) - len(name.lstrip("."))
    if level:
        package = namespace.get("__package__") or ""
        try:
            name = importlib.util.resolve_name(name, package)
        except ImportError:
            return None
    loaded = sys.modules.get(name)
    if loaded is None and _will_be_own(name):
        try:
            loaded = importlib.import_module(name)
        except Exception:  # noqa: BLE001 - it is the function's to fail, if it gets there
            return None
    return loaded


def _will_be_own(name: str) -> bool:
    top = name.partition(".")[0]
    if top in sys.modules:
        return is_own_module(top)
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return False
    return spec is not None and is_own_location(
        spec.origin if spec.has_location else None, spec.submodule_search_locations
    )


# -- what code may write -----------------------------------------------------------------------------------------

_CHANGES = frozenset(
    [
        "__delitem__",
        "__setitem__",
        "add",
        "append",
        "appendleft",
        "clear",
        "difference_update",
        "discard",
        "extend",
        "extendleft",
        "fill",
        "insert",
        "intersection_update",
        "move_to_end",
        "partition",
        "pop",
        "popitem",
        "popleft",
        "put",
        "put_nowait",
        "remove",
        "resize",
        "reverse",
        "rotate",
        "setdefault",
        "sort",
        "subtract",
        "symmetric_difference_update",
        "update",
    ]
)
"""Methods of containers that change them."""
_CHANGES_GIVEN = frozenset(
    [
        "heappush",
        "heappop",
        "heapify",
        "heapreplace",
        "heappushpop",
        "shuffle",
        "insort",
        "insort_left",
        "insort_right",
        "setattr",
        "delattr",
        "copyto",
        "put",
        "place",
        "putmask",
        "fill_diagonal",
        "deque.extend",
        "readinto",
    ]
)
"""Functions that change what they are given."""
ANY: Final = None
"""Instead of a name in the key of a place: any attribute of the object."""


def may_write(functions: Sequence[types.FunctionType], instances: Iterable[object]) -> Iterator[tuple[Key, str]]:
    """The keys of the places that one of `functions` may change, with the name by which it does.

    Args:
        functions: what may run.
        instances: objects whose methods are among them.
    """
    methods: dict[int, list[object]] = {}
    for instance in instances:
        for base in type(instance).__mro__:
            for member in vars(base).values():
                methods.setdefault(id(_method_of(member)), []).append(instance)
    changes_given = any(_changes_given(function) for function in functions)
    for function in functions:
        for write in _writes(function):
            if _is_self(function, write.chain):
                for instance in methods.get(id(function), ()):
                    name = ".".join((type(instance).__name__, *write.chain[1:]))
                    place = Place({"": instance}, "", fixed=True)
                    yield from _changed(place, write.chain[1:], write.how, name, changes_given=changes_given)
            place_or_none = start(function, write.chain[0])
            if place_or_none is not None:
                name = spoken(write.chain).removesuffix(".*")
                yield from _changed(place_or_none, write.chain[1:], write.how, name, changes_given=changes_given)


def _writes(function: types.FunctionType) -> Iterator[Write]:
    """What a function may change; of one without source everything that it names."""
    reading = read(function)
    yield from reading.writes
    if not reading.from_source:
        yield from (Write(chain, ITEM) for chain in reading.reads)
        code = function.__code__
        yield from (Write((f"parameter {name}", "*"), ITEM) for name in code.co_varnames[: code.co_argcount])


def _changes_given(function: types.FunctionType) -> bool:
    """Whether a function changes what its parameters hold, or calls one that does."""
    reading = read(function)
    names = {*reading.attributes, *reading.globals, *(name for chains in reading.imports.values() for name in chains)}
    return bool(_CHANGES_GIVEN & names) or any(
        not _is_self(function, write.chain) and write.how != HANDED and (write.how != BIND or len(write.chain) > 1)
        for write in reading.self_writes
    )


def _method_of(member: Any) -> object:
    if isinstance(member, property):
        return member.fget
    return getattr(seen_through(member), "__func__", getattr(member, "func", seen_through(member)))


def _is_self(function: types.FunctionType, chain: Chain) -> bool:
    code = function.__code__
    return code.co_argcount > 0 and parameter_name(chain[0]) == code.co_varnames[0] and len(chain) > 1


def _changed(
    place: Place, chain: tuple[str, ...], how: str, name: str, *, changes_given: bool
) -> Iterator[tuple[Key, str]]:
    """The place that holds what is changed: as far as the attributes of modules, classes and own objects lead."""
    for index, attribute in enumerate(chain):
        value = seen_through(place.get())
        inside = None if value is MISSING else attribute_place(value, attribute)
        if inside is None or attribute == "*":
            break
        if inside.get() is MISSING and index + 1 < len(chain):
            return
        place = inside
    value = seen_through(place.get())
    if how in {BIND, ITEM}:
        yield place.key, name
    elif is_plain_instance(value):
        if how != HANDED or not changes_given:
            return  # its methods are read
    elif how == HANDED:
        if changes_given:
            yield place.key, name
    elif how.removeprefix(ITEM_CALL) in _CHANGES or not type(value).__module__.startswith(("builtins", "collections")):
        yield place.key, name
    if how != BIND:
        yield from (((one, ANY), name) for one in _holders(value))


def _holders(value: Any) -> Iterator[int]:
    """What the keys of the attributes of an object, class or function begin with."""
    if isinstance(value, type):
        yield from (id(base) for base in value.__mro__ if is_own_class(base))
    elif type(value) is types.FunctionType:
        yield id(value.__dict__)
    elif is_plain_instance(value):
        yield id(value)
