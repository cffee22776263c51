"""Objects of any class: by the class and the attributes, or by the state that pickle would store.

The state is digested part by part instead of as pickled bytes, because pickle writes a shared
object once and an equal one again: the same content would have several digests.
"""

from __future__ import annotations

import contextlib
import copyreg
import dataclasses
import enum
import sys
import types
from itertools import chain, pairwise
from operator import is_
from pathlib import PosixPath, PurePath, WindowsPath
from typing import TYPE_CHECKING, Any

from dynmemo.keys.encoding import ENTRIES, FIELDS, Fields, InWalk, Named, NoStableContent, Refusal, node, size
from dynmemo.keys.left_out import attributes_left_out, hidden_name
from dynmemo.keys.own import is_own_class, is_own_function, is_own_module, module_name, stable_name, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dynmemo.keys.encoding import Handler, Node
    from dynmemo.keys.walk import Walk

_PLAIN = Fields(1)
_HOOKS = ("__reduce_ex__", "__reduce__", "__getstate__")
_COPY_HOOKS = ("__setstate__", "__getnewargs__", "__getnewargs_ex__")


def type_within(cls: type, package: str) -> str | type:
    """The bare name of a class of `package`, which moves its classes about between versions; else the class."""
    return cls.__name__ if str(cls.__module__).partition(".")[0] == package else cls


class Part:
    """A part of a value that is no value by itself: its bytes, or what they are made of."""

    __slots__ = ("taken",)

    def __init__(self, taken: bytes | Node) -> None:
        self.taken = taken


class Frozen(Part):
    """What stands for a place that a function changes itself."""

    __slots__ = ()


def attributes(fields: Mapping[str, object]) -> Part:
    """The attributes of an object, as a part of it."""
    return Part(node(b"state", list(chain.from_iterable(fields.items())), FIELDS))


class Instance:
    """An object of an own class that a name leads to: every attribute is a place of its own."""

    __slots__ = ("name", "thing")

    def __init__(self, thing: object, name: str) -> None:
        self.thing = thing
        self.name = name


MARKERS: dict[type, Handler] = {
    Part: lambda value: value.taken,
    Frozen: lambda value: value.taken,
    Instance: InWalk(lambda value, walk: walk.read_instance(value)),
}


def own_state(value: object) -> dict[str, object]:
    """All attributes of an object that count, those in slots included."""
    cls: Any = type(value)
    left_out = attributes_left_out(cls)
    state: dict[str, object] = {}
    for base in cls.__mro__:
        for name, slot in vars(base).items() if "__slots__" in vars(base) else ():
            if type(slot) is types.MemberDescriptorType:
                with contextlib.suppress(AttributeError):
                    state[name] = slot.__get__(value)
    state.update(getattr(value, "__dict__", {}))
    return {name: one for name, one in state.items() if name not in left_out}


def added(value: object, package: str) -> tuple[object, ...]:
    """What a class from outside of `package` adds to one of it: itself, and attributes of its own."""
    cls: Any = type(value)
    base = next(one for one in cls.__mro__ if isinstance(type_within(one, package), str))
    if base is cls:
        return ()
    return cls, attributes({name: one for name, one in own_state(value).items() if not hasattr(base, name)})


def object_reader(cls: type) -> Handler:
    """How instances of `cls` are taken apart when nobody said anything else."""
    if issubclass(cls, enum.Enum):
        return _enum_reader(cls)
    if issubclass(cls, PurePath):
        return _path_reader(cls)
    if issubclass(cls, (set, frozenset)):
        base = frozenset if issubclass(cls, frozenset) else set
        return lambda value: node(b"set", (cls, base(value), attributes(own_state(value))))
    # In a process that got the class by value its instances have a dict.
    if issubclass(cls, tuple) and hasattr(cls, "_fields") and (cls.__dictoffset__ == 0 or cls.__bases__ == (tuple,)):
        order = Named("", *[f".{field}" for field in cls._fields])
        return lambda value: node(b"namedtuple", (cls, *value), order)
    return _state_reader(cls)


def read_object(value: object, walk: Walk) -> bytes | Node:
    """An object as it is taken apart when nobody said anything else."""
    reader = object_reader(type(value))
    return reader.read(value, walk) if isinstance(reader, InWalk) else reader(value)


def _enum_reader(cls: type[enum.Enum]) -> Handler:
    order = Named("", ".name", ".value")
    # The name of a combination of flags differs between Python versions.
    named = not issubclass(cls, enum.Flag)
    return lambda value: node(b"enum", (cls, value.name if named else None, told(value.value)), order)


def told(value: object) -> object:
    """The value of a member of an enum: a bare object tells no more than the member's name."""
    return Part(node(b"constant", ("",))) if type(value) is object else value


def _path_reader(cls: type[PurePath]) -> Handler:
    # A path of this system is of one kind on every system, and is written with "/".
    head = "Path" if cls in {PosixPath, WindowsPath} else cls
    if not is_own_class(cls):
        return lambda value: node(b"path", (head, value.as_posix()))
    plain = {name for base in PurePath.__subclasses__() for name in dir(base)} | set(dir(PurePath))

    def read(value: PurePath) -> Node:
        state = {name: one for name, one in own_state(value).items() if name not in plain}
        return node(b"path", (head, value.as_posix(), attributes(state)))

    return read


def _state_reader(cls: type) -> Handler:
    reduce, hooks, left_out = _reducer(cls), _has_hooks(cls), attributes_left_out(cls)
    is_own, equality = is_own_class(cls), getattr(cls, "__eq__", None)
    is_silent = is_own and vars(cls).keys().isdisjoint(_HOOKS[:2])
    bare = False  # known to have no more than attributes

    def plain(value: Any, fields: dict[str, object]) -> Node:
        if not fields and is_own and equality is object.__eq__:
            # Nothing but its identity tells it from another one.
            return node(b"bare", (cls, constant_name(value, everywhere=False)))
        # Twice the number, for a name and a value of each.
        return b"o" + size(2 * len(fields)), [cls, *chain.from_iterable(fields.items())], _PLAIN

    def read(value: Any, walk: Walk) -> bytes | Node:
        nonlocal bare
        if not is_own:
            name = hidden_name(value) or (package_constant(value) if walk.follows else None)
            if name is not None:
                return node(b"constant", (name,))
            if walk.follows:
                walk.foreign()
        elif walk.follows and (not hooks or bare):
            walk.instance(value)
        if bare:
            fields = _fields(object.__getstate__(value), left_out, custom=False)
            if fields is not None:
                return plain(value, fields)
        reduced = _reduced(cls, reduce, value)
        if isinstance(reduced, str):
            # What wraps a function goes by the function's name when it is pickled; here its code counts as well.
            return _named_global(value, reduced)
        function, args, state, *more = reduced if len(reduced) > 2 else (*reduced, None)
        if state is value:  # a dict that is its own `__dict__`, which a copy is not
            state = dict(value)
        fields = _fields(state, left_out, custom=hooks)
        if fields is not None and function is copyreg.__newobj__ and args == (cls,) and not any(more):  # type: ignore[attr-defined]
            bare = not hooks
            if hooks and walk.check is not None:
                walk.check(value)
            return plain(value, fields)
        # What an own subclass adds, its base knows nothing of, and no pickle tells: a datetime with a tag.
        is_added = is_silent and (state is None or (type(state) is dict and not state))
        if is_added:
            state = own_state(value) or None
        if walk.check is not None and not (is_added and state):
            walk.check(value)
        return _take_reduced_apart(value, left_out, function, args, state, *more)

    return InWalk(read)


def _named_global(value: Any, name: str) -> Node:
    home = getattr(value, "__module__", None) or type(value).__module__
    inside = [getattr(value, part, None) for part in ("__wrapped__", "func", "args", "keywords")]
    state = {name: one for name, one in own_state(value).items() if not name.startswith("__")}
    return node(b"global", (module_name(home), name, *inside, attributes(state)))


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


def _fields(state: Any, left_out: frozenset[str], *, custom: bool) -> dict[str, object] | None:
    """The attributes in a state that is `__dict__`, slots or both; None for a state of another form.

    Only a state that is not `custom` may be a pair of the two; in a class of one's own a pair is just a pair.
    """
    is_pair = type(state) is tuple and len(state) == 2 and not custom
    found: dict[str, object] = {}
    for part in state if is_pair else (state,):
        if part is None and not custom:
            continue
        if type(part) is not dict or not all(type(name) is str for name in part):
            return None
        found = {**found, **part}  # in a copy of a class with slots, an attribute may be in both
    return found if left_out.isdisjoint(found) else {name: found[name] for name in found if name not in left_out}


def _take_reduced_apart(
    value: Any,
    left_out: frozenset[str],
    function: Any,
    args: Any,
    state: Any,
    items: Any = None,
    pairs: Any = None,
    setter: Any = None,
) -> Node:
    fields = _fields(state, left_out, custom=True)
    # Nothing of it counts, so it is as if there were none; an exception has an empty one once it was asked for it.
    if not fields and fields is not None and (state or isinstance(value, BaseException)):
        state = fields = None
    if isinstance(value, BaseException) and value.__cause__ is not None:
        args = (*args, value.__cause__)
    children = [
        _maker(function),
        args,
        state if fields is None else attributes(fields),
        None if items is None else list(items),
        None if pairs is None else Part(node(b"pairs", list(chain.from_iterable(pairs)), ENTRIES)),
        None if setter is None else _maker(setter),
    ]
    named = list(named_in(args))
    if any(one is value for one in named):
        return _named_global(value, stable_name(value))
    return node(b"reduced", (*children, *named), Named())


def _maker(function: Any) -> object:
    """What stands for a function that rebuilds an object; of a package's the name will do."""
    if isinstance(function, types.MethodType) and isinstance(function.__self__, type):
        return function.__self__, function.__name__
    if isinstance(function, types.BuiltinFunctionType) or (
        isinstance(function, types.FunctionType) and not is_own_function(function)
    ):
        return f"{module_name(function.__module__ or '')}.{function.__qualname__}"
    return function


def named_in(args: object) -> Iterable[object]:
    """Own things that a reduction names: a module and a name side by side, as in ``toolz.curry``."""
    texts = [part for part in args if isinstance(part, str)] if isinstance(args, tuple) else []
    for text in texts:
        module, colon, name = text.partition(":")
        if colon:
            texts += (module, name)
    for module, name in pairwise(texts):
        found: Any = sys.modules.get(module)
        if found is None or not is_own_module(module):
            continue
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is not None:
            yield found


def bound_builtin(thing: Any) -> Node | None:
    """A method of an object written in C, with the object: None for any other thing."""
    if not isinstance(thing, (types.BuiltinFunctionType, types.MethodWrapperType)):
        return None
    owner = getattr(thing, "__self__", None)
    if owner is None or isinstance(owner, types.ModuleType):
        return None
    return node(b"bound", (thing.__name__, owner), Named("", ".__self__"))


# -- objects that are known by their name --------------------------------------------------------------------


def constant_name(value: object, *, everywhere: bool) -> str | None:
    """The name under which a module has `value`: that of its class first, then the user's, then, if asked, any."""
    home = type(value).__module__
    name = _name_in(home, value)
    if name is not None:
        return name
    own, others = _loaded()
    for module in chain(own, others if everywhere else ()):
        name = _name_in(module, value)
        if name is not None:
            return f"{module_name(module)}.{name}"
    return None


_split: tuple[list[types.ModuleType], list[str], list[str]] = ([], [], [])


def _loaded() -> tuple[list[str], list[str]]:
    """The names of the user's modules and of all others. There are thousands, so they are told apart once."""
    global _split
    names, modules = list(sys.modules), list(sys.modules.values())
    known, own, others = _split
    if len(modules) != len(known) or not all(map(is_, modules, known)):
        own = sorted(filter(is_own_module, names))
        others = sorted(set(names).difference(own))
        _split = (modules, own, others)
    return own, others


def package_constant(value: object) -> str | None:
    """The name of an object that a package made for all: ``os.environ``, ``scipy.stats.norm``.

    By its own name it counts as little as through its module.
    """
    module = type(value).__module__
    name = None if module == "builtins" else _name_in(module, value)
    return None if name is None else f"{module}.{name}"


def _name_in(module: object, value: object) -> str | None:
    namespace = getattr(sys.modules.get(module), "__dict__", {}) if isinstance(module, str) else {}
    return min((name for name, one in list(namespace.items()) if one is value), default=None)
