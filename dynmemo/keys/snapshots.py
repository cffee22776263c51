"""What a function or class is as of now: walked once, then only checked for changes, in about a microsecond.

Names that lead to code and to immutable data are compared by identity; mutable data is digested.
"""

from __future__ import annotations

import functools
import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from blake3 import blake3

from dynmemo.keys.builtin import is_immutable, report_cost
from dynmemo.keys.code import asked_by, take_apart
from dynmemo.keys.encoding import Order, Refusal, node, sized, text
from dynmemo.keys.left_out import attributes_left_out
from dynmemo.keys.objects import Frozen, Instance, bound_builtin, constant_name
from dynmemo.keys.own import (
    LRU_CACHE,
    is_found,
    is_own_class,
    is_own_file,
    is_own_function,
    seen_through,
    stable_name,
)
from dynmemo.keys.places import MISSING, Place, Space, Watch, attributes_of, is_plain_instance
from dynmemo.keys.state import ANY, may_write, records
from dynmemo.keys.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dynmemo.keys.encoding import Node
    from dynmemo.keys.places import Key

FORMAT = 2
"""The number of this fingerprint's format; another format never shares a key with this one."""

Kind = Literal["function", "class", "global", "closure", "default", "package", "state", "opaque"]

_FIXED = (staticmethod, classmethod, property, LRU_CACHE)
_COPIED = frozenset(functools.WRAPPER_ASSIGNMENTS) | {"__annotations__", "__type_params__"}


@dataclass(slots=True)
class Read:
    """Something that a node was made of."""

    label: str
    value: object
    name: str
    kind: Kind
    place: Place | None
    module: str | None
    data: Any = None
    type: type | None = None
    """Of data, which is not kept."""


class Parts(Order):
    """The children of a function, class or own object, by name."""

    def __init__(self, walk: Snapshot, kind: bytes, thing: object, name: str = "") -> None:
        self._walk = walk
        self._kind = kind
        self.thing = thing
        self._texts: list[str] = [name]
        self.reads: list[Read] = []

    def text(self, *texts: str) -> None:
        """Something that counts and has no parts."""
        self._texts += texts

    def value(self, label: str, value: object, name: str = "") -> None:
        """A child that cannot be bound anew."""
        if value is not None:
            self.reads.append(Read(label, seen_through(value), name, "global", None, None))

    def place(self, label: str, place: Place, name: str, kind: Kind = "global", module: str | None = None) -> None:
        """A child that stands at a place, as it is now."""
        value = self._walk.at(place, name)
        if value is not MISSING:
            self.reads.append(Read(label, value, name, kind, place, module))

    def namespace(self, mapping: Mapping[str, Any], owner: object = None, left_out: Iterable[str] = ()) -> None:
        """A new entry of `mapping` would count, unless it has one of some names."""
        self._walk.watch.spaces.append(Space(mapping, owner, frozenset(left_out), frozenset(mapping)))
        if isinstance(owner, type):
            self._walk.watch.classes.append(owner)

    def node(self) -> Node:
        """What was gathered, in an order that does not depend on how it was written."""
        self.reads.sort(key=lambda read: read.label)
        self._walk.nodes.append(self)
        texts = sorted(self._texts[1:]) if self._kind == b"class" else self._texts
        labels = b"".join(sized(text(one)) for one in (*texts, "", *(read.label for read in self.reads)))
        return b"{" + sized(self._kind) + sized(labels), [read.value for read in self.reads], self

    def alone(self) -> bytes:
        """What it is without the code that it leads to."""
        own = [sized(text(one)) for one in sorted(self._texts)]
        for read in self.reads:
            own.append(sized(text(read.label)))
            if read.type is not None or type(read.value) is Frozen:
                own.append(encoded(read.data))
        return b"".join(own)

    def step(self, children: Sequence[object], index: int) -> str:
        return f".{self.reads[index].name.rpartition('.')[2] or self.reads[index].label}"

    def left(self, top: Any, walk: Any) -> None:
        for read, data in zip(self.reads, top.parts, strict=True):
            read.data = data


def encoded(data: Any) -> bytes:
    """The bytes of a part, also of one that was in a circle."""
    found: bytes = data if isinstance(data, bytes) else data.data
    return found


class Snapshot(Walk):
    """What one walk from a function or class over everything of the user's that it reaches has found.

    Args:
        thing: a function, class or other thing with code.
        name: what log lines call it.
        globals_too: whether the globals of functions are followed (``code="deep"``).
        is_users: whether `thing` counts by its code even if a package defines it.
        strict: live things in closures and defaults are refused, as in any argument.
        state: identifies the function to which its own state is forgiven.
        ignored: places that do not count.
        asked: names that reached code asks of modules, as far as they are known.
    """

    follows = True

    def __init__(
        self,
        thing: object,
        name: str,
        *,
        globals_too: bool = True,
        is_users: bool = False,
        strict: bool = False,
        state: int = 0,
        ignored: frozenset[Key] = frozenset(),
        asked: frozenset[str] = frozenset(),
        check: Callable[[object], None] | None = None,
    ) -> None:
        super().__init__(name, self._take_apart, check=check)
        self.globals_too = globals_too
        self.is_users = is_users
        self.asked = asked
        self.modules_asked = False
        self.fingerprint = ""
        self.watch = Watch()
        self.nodes: list[Parts] = []
        self.functions: list[types.FunctionType] = []
        self.found: list[tuple[types.FunctionType, str | None, str]] = []
        """The functions that were read, with digest and note."""
        self.packages: set[str] = set()
        self.state: dict[Key, str] = {}
        self.left_out: set[str] = set()
        self.of_packages: dict[Key, str] = {}
        self.used: set[Key] = set()
        """Places of which more is done than to ask what is there for attributes."""
        self._strict = strict
        self._state = state
        self._ignored = ignored
        self._instances: dict[int, Instance] = {}
        self._holders: dict[int, list[tuple[Key, str]]] = {}
        self._kept: list[object] = []  # an id in a token is its own only as long as the thing lives
        self.root = seen_through(thing)
        self.data = self.encode(Instance(self.root, name) if is_plain_instance(self.root) else self.root)
        self.names_asked = frozenset(name for one in self.functions for name in asked_by(one.__code__))

    def _take_apart(self, thing: Any, walk: Walk) -> bytes | Node:
        self._kept.append(thing)
        return take_apart(thing, self)

    @property
    def strict(self) -> bool:
        """Whether what is read now belongs to an argument."""
        if not self._strict:
            return False
        return any(
            isinstance(top.order, Parts) and top.order.reads[len(top.parts)].kind in {"closure", "default"}
            for top in self._stack
        )

    def is_attribute(self) -> bool:
        """Whether what is read now stands under a name that counts, in code or an own object that code leads to."""
        return not self.strict and bool(self._stack) and isinstance(self._stack[-1].order, Parts)

    # -- what readers tell ------------------------------------------------------------------------

    def parts(self, kind: bytes, thing: object, name: str = "") -> Parts:
        """Gathers the children of `thing`."""
        return Parts(self, kind, thing, name)

    def at(self, place: Place, name: str) -> object:
        """What stands at a place, as a child; from now on the place is watched."""
        value = place.get()
        if self._ignored and (place.key in self._ignored or (place.key[0], ANY) in self._ignored):
            self.left_out.add(name)
            return MISSING
        forgiven = records.forgiven(self._state, place) if self._state else None
        if forgiven is not None:
            self.watch.live(place, name)
            self.state[place.key] = name
            return MISSING if forgiven == b"M" else Frozen(forgiven)
        if value is MISSING:
            self.watch.absent(place, name)
            return MISSING
        value = seen_through(value)
        if is_plain_instance(value):
            self.watch.same(place, name, place.get())
            return self._instances.setdefault(id(value), Instance(value, name))
        if is_code(value) or is_immutable(value):
            self.watch.same(place, name, place.get())
        else:
            self.watch.live(place, name)
            report_cost(self.where, name, value)
        return value

    def instance(self, value: object) -> None:
        """An object of an own class was met inside of data, which its methods may change."""
        self._instances.setdefault(id(value), Instance(value, ""))
        self._holders.setdefault(id(value), []).extend(self._place_now())

    def foreign(self) -> None:
        """An object of a package was met, whose methods are not read: they may change what holds it."""
        self.of_packages.update(self._place_now())

    def _place_now(self) -> list[tuple[Key, str]]:
        """The place of what is being read, with its name; empty if it has none."""
        top = next((one for one in reversed(self._stack) if isinstance(one.order, Parts)), None)
        read = None if top is None else top.order.reads[len(top.parts)]  # type: ignore[attr-defined]
        return [] if read is None or read.place is None else [(read.place.key, read.name)]

    def read_instance(self, instance: Instance) -> Node:
        """An object that a name leads to: the class, and every attribute as a place of its own."""
        thing: Any = instance.thing
        parts = self.parts(b"instance", thing)
        cls: Any = type(thing)
        parts.value("class", cls)
        state = attributes_of(thing)
        left_out = attributes_left_out(cls)
        # A decorator that is a class copies these from the function that it holds.
        copied = _COPIED if "__wrapped__" in state else ()
        for name in state:
            if name not in left_out and name not in copied:
                parts.place(f"attribute {name}", Place(state, name, thing), f"{instance.name}.{name}")
        if len(parts.reads) == 1 and cls.__eq__ is object.__eq__:  # only its identity tells it from another
            parts.text(constant_name(thing, everywhere=False) or "")
        self.watch.instances.append(thing)
        parts.namespace(state, thing, left_out)
        return parts.node()

    def function(self, function: types.FunctionType) -> None:
        """An own function was reached."""
        self.functions.append(function)
        self.watch.function(function)

    def package(self, name: str) -> None:
        """Something of a package was reached."""
        self.packages.add(name.partition(".")[0])

    @functools.cached_property
    def files(self) -> tuple[str, ...]:
        """Where the code and the globals come from that were read, the file of the root first."""
        holders = (read.place.holder for parts in self.nodes for read in parts.reads if read.place is not None)
        modules = (one.get("__file__") for one in holders if isinstance(one, dict) and "__builtins__" in one)
        found = [*(one.__code__.co_filename for one in self.functions), *modules]
        return tuple(dict.fromkeys(file for file in found if isinstance(file, str) and is_own_file(file)))

    @functools.cached_property
    def third_party(self) -> tuple[str, ...]:
        """The packages that were reached, but the standard library and this one."""
        return tuple(sorted(self.packages - sys.stdlib_module_names - {"dynmemo", "builtins"}))

    @functools.cached_property
    def may_write(self) -> dict[Key, str]:
        """The places that the reached code may change, with names."""
        named = {read.place.key for parts in self.nodes for read in parts.reads if read.place and read.module}
        found = {key: name for key, name in self.of_packages.items() if key in self.used or key not in named}
        classes = [parts.thing for parts in self.nodes if isinstance(parts.thing, type)]
        for key, name in may_write(self.functions, [one.thing for one in self._instances.values()], classes):
            found.setdefault(key, name)
            for holder, its_name in self._holders.get(key[0], ()):
                found.setdefault(holder, its_name)
        return found

    def may_be_written(self, key: Key) -> bool:
        """Whether the code may change a place."""
        return key in self.may_write or (key[0], ANY) in self.may_write

    @functools.cached_property
    def _read_at(self) -> dict[Key, Read]:
        return {read.place.key: read for parts in self.nodes for read in parts.reads if read.place}

    def counted(self, key: Key) -> bytes:
        """What stands for a place in the fingerprint."""
        return encoded(self._read_at[key].data) if key in self._read_at else b"M"

    def forget_data(self) -> None:
        """Large data is not kept alive."""
        self.done.clear()
        for parts in self.nodes:
            for read in parts.reads:
                read.data = encoded(read.data)
                if not is_code(read.value) and type(read.value) not in (Instance, Frozen, types.MethodType):
                    read.type, read.value = type(read.value), None


def is_code(value: object) -> bool:
    """Whether `value` cannot change but by what is watched anyway."""
    cls = type(value)
    if cls is types.FunctionType or cls in _FIXED or issubclass(cls, (type, types.ModuleType)) or cls in _BY_NAME:
        return True
    return cls.__name__ in _COMPILED


_BY_NAME = frozenset(
    (
        types.BuiltinFunctionType,
        types.MethodDescriptorType,
        types.ClassMethodDescriptorType,
        types.WrapperDescriptorType,
        types.GetSetDescriptorType,
        types.MemberDescriptorType,
    )
)


_COMPILED = ("cython_function_or_method", "fused_cython_function", "ufunc")
"""Functions that packages have compiled, of which each release makes a type of its own."""


class Tracker:
    """Knows what `thing` is and when it is another one; see `Snapshot` for the options.

    Args:
        thing: a function, class or other thing with code.
        name: what log lines call it.
        salt: texts that go into the fingerprint as well.
        walked: told of every walk.
    """

    def __init__(
        self,
        thing: object,
        name: str,
        *,
        salt: Sequence[str] = (),
        walked: Callable[[Snapshot], None] | None = None,
        **options: Any,
    ) -> None:
        self.thing = thing
        self._name = name
        self._salt = (f"identity {FORMAT}", *salt)
        self._report = walked
        self._options = options
        self._asked: frozenset[str] = frozenset()
        self.known: Snapshot | None = None

    def current(self) -> Snapshot:
        """What it is now."""
        known = self.known
        return known if known is not None and known.watch.unchanged() else self.walked()

    def walked(self) -> Snapshot:
        """The same, walked anew."""
        # Without a lock: two threads may both walk, and find the same.
        while True:
            walk = Snapshot(self.thing, self._name, asked=self._asked, **self._options)
            if not walk.modules_asked or walk.names_asked <= self._asked:
                break
            self._asked |= walk.names_asked
        walk.watch.freeze()
        salt = b"".join(sized(text(one)) for one in self._salt)
        walk.fingerprint = blake3(salt + walk.data).hexdigest(16)
        walk.forget_data()
        self.known = walk
        if self._report is not None:
            self._report(walk)
        return walk


# -- functions and classes in arguments ----------------------------------------------------------------------

_trackers: dict[tuple[int, frozenset[Key]], Tracker] = {}
_MOST_TRACKERS = 1_000


def _tracker_of(thing: Any, ignored: frozenset[Key] = frozenset()) -> Tracker:
    """The tracker of a function or class that is (in) an argument, without some places."""
    known = _trackers.get((id(thing), ignored))
    if known is not None and known.thing is thing:
        return known
    tracker = Tracker(thing, name_of(thing), strict=True, ignored=ignored)
    # A function that has closed over something may hold large data, and is often new with every call.
    if isinstance(thing, type) or not getattr(thing, "__closure__", ()):
        if len(_trackers) >= _MOST_TRACKERS:
            _trackers.clear()
        _trackers[id(thing), ignored] = tracker
    return tracker


def name_of(thing: Any) -> str:
    """What log lines and messages call a function, class or other thing with code."""
    return str(getattr(thing, "__qualname__", type(thing).__qualname__)).rpartition("<locals>.")[2]


def by_snapshot(thing: Any, walk: Walk, tracker: Tracker | None = None) -> bytes | Node:
    """Functions and classes in arguments: own ones by what they are now, others by name."""
    bound = bound_builtin(thing)
    if bound is not None:
        return bound
    if isinstance(thing, types.ModuleType):
        raise Refusal(type(thing), "a module, which has no stable content", "Pass its name")
    if isinstance(thing, property):
        return node(b"property", (type(thing).__name__, thing.fget, thing.fset, thing.fdel))
    if not has_own_code(thing):
        return b"#" + blake3(b"Kn" + text(stable_name(thing))).digest()
    snapshot = (tracker or _tracker_of(thing)).current()
    walk.not_stored = walk.not_stored or snapshot.not_stored
    return b"#" + blake3(b"Kc" + text(snapshot.fingerprint)).digest()


def has_own_code(thing: Any) -> bool:
    """Whether the name of a function or class does not say all."""
    if isinstance(thing, type):
        if str(thing.__module__).partition(".")[0] == "dynmemo":
            return False
        return is_own_class(thing) or not (is_found(thing) or thing.__module__ == "builtins")
    return type(thing) is types.FunctionType and (is_own_function(thing) or not is_found(thing))


def class_identity(cls: type) -> str:
    """The digest of a class with its code and everything that this reaches, as of now."""
    return _tracker_of(cls).current().fingerprint


def class_code(thing: Any) -> str:
    """The digest of a class or function without what its own code may change: counters, registries, memos.

    These differ between two processes whose classes are the same.
    """
    ignored: frozenset[Key] = frozenset()
    while True:
        snapshot = _tracker_of(thing, ignored).current()
        written = frozenset(snapshot.may_write)
        if written <= ignored:
            return snapshot.fingerprint
        ignored |= written
