"""From a value to its bytes: one loop with a stack of its own, so that no nesting is too deep.

A value is taken apart into named children by the reader of its kind, and its bytes are made of theirs. Functions,
classes and modules are values as well. A value met again costs nothing, however often a structure shares it. Values
that lead back to themselves are found on the way (Tarjan): such a group is sorted into classes by what its members are
and lead to, finer and finer until nothing changes, so equal parts are the same there as well, shared or not.

The reader of a type is looked up once, and nothing is imported for it. To add a type, put its reader under its name
into `THINGS` of ``things.py``, or for a package of `FAMILIES` into `TYPES` of its module.
"""

from __future__ import annotations

import importlib
import sys
import types
from dataclasses import dataclass
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final, NoReturn

from blake3 import blake3

from dynmemo.keys.builtin import BUILTIN, LEAVES, is_zone, leaf_of, zone
from dynmemo.keys.encoding import ENTRIES, FIELDS, InWalk, Named, NoStableContent, Refusal, node, seal
from dynmemo.keys.left_out import ITERATOR, LIVE, NO_BEARING, REFUSED, listed
from dynmemo.keys.objects import MARKERS, object_reader
from dynmemo.keys.own import type_name
from dynmemo.keys.things import THINGS, live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dynmemo.keys.encoding import Handler, Node, Order

_DEEPEST = 100_000
_LONGEST_PATH = 12


@dataclass(slots=True, eq=False)
class Open:
    """A value whose children are being encoded."""

    value: object
    head: bytes
    children: Sequence[object]
    order: Order
    low: int
    """The outermost open value that this one leads back to."""
    begin: int
    """Of those that lead back to it in `Walk._circle`."""
    rest: Iterator[object]
    parts: list[Any]
    """Bytes, or another `Open` of the same circle."""
    cyclic: bool = False
    back: Open | None = None
    """Which open value that was, once its own children are through."""
    data: bytes = b""
    """Once its circle is closed."""

    def encode(self, colors: dict[int, bytes]) -> bytes:
        parts = [part if type(part) is bytes else part.data or colors[id(part)] for part in self.parts]
        return blake3(self.head + self.order.join(parts)).digest()


class Walk:
    """One walk over a value.

    Args:
        where: what error messages call the value.
        code: says what stands for functions, classes and modules, or how they are taken apart.
        loose: the order of dicts does not count.
        check: told of every value that has a say in its own pickling.
    """

    follows = False
    """Whether code is walked through, and what counts is what a function reads."""

    def __init__(
        self,
        where: str,
        code: Callable[[Any, Walk], bytes | Node],
        *,
        loose: bool = False,
        check: Callable[[object], None] | None = None,
    ) -> None:
        self.where = where
        self.code = code
        self.loose = loose
        self.check = check
        self.not_stored = ""
        """Why a result that depends on this value must not be stored."""
        self._stack: list[Open] = []
        self._open: dict[int, int] = {}  # id of an open value -> its place in the stack
        self._circle: list[Open] = []  # values that are through and lead back to an open one
        self._in_circle: dict[int, Open] = {}
        # The value is kept along with its bytes: an id is its own only as long as it lives.
        self.done: dict[int, tuple[object, bytes]] = {}

    @property
    def strict(self) -> bool:
        """Whether what is read now is (in) an argument."""
        return True

    def is_attribute(self) -> bool:
        """Whether what is read now stands under a name that counts, in code or an own object that code leads to."""
        return False

    def instance(self, value: object) -> None:
        """An object of an own class was met."""

    def foreign(self) -> None:
        """An object of a package was met, whose methods are not read: they may change what holds it."""

    def encode(self, value: object) -> bytes:
        """The canonical bytes of `value`.

        Raises:
            NoStableContent: it, or something inside it, has no content.
        """
        try:
            data = self._enter(value)
            while self._stack:
                data = self._go_on(self._stack[-1], data)
        except Refusal as refusal:
            raise refusal.at(self.path()) from refusal.__cause__
        except NoStableContent:
            raise
        except RecursionError as error:
            raise Refusal(type(value), "an object that is nested too deep to be read").at(self.path()) from error
        encoding: bytes = data  # the stack is empty when its last value has been encoded
        return encoding

    def _go_on(self, top: Open, data: Any) -> Any:
        """Encode the children of `top`, of which `data` is the next, until one has children itself."""
        parts = top.parts
        if data is not None:
            parts.append(data)
        for child in top.rest:
            leaf = LEAVES.get(type(child))
            if leaf is not None:
                parts.append(leaf(child))
                continue
            data = self._enter(child)
            if data is None:
                return None
            parts.append(data)
        return self._leave(top)

    def _enter(self, value: object) -> Any:
        """The encoding of `value`; None when its children have to be encoded first."""
        mark = id(value)
        known = self.done.get(mark)
        if known is not None:
            return known[1]
        again = self._open.get(mark)
        met = self._stack[again] if again is not None else self._in_circle.get(mark)
        if met is not None:
            met.cyclic = met.cyclic or again is not None
            self._stack[-1].low = min(self._stack[-1].low, self._leads_back_to(met) if again is None else again)
            return met
        taken = self.take_apart(value)
        if isinstance(taken, bytes):
            if taken.startswith(b"#"):
                self.done[mark] = value, taken
            return taken
        number = len(self._stack)
        if number >= _DEEPEST:
            raise Refusal(type(value), f"nested more than {_DEEPEST:,} levels deep")
        self._open[mark] = number
        self._stack.append(Open(value, *taken, number, len(self._circle), iter(taken[1]), []))
        return None

    def _leads_back_to(self, member: Open) -> int:
        """The place in the stack of the open value that a member of a circle leads back to, also through others."""
        known = member
        while member.back is not None:
            member = member.back
        known.back = member
        return self._open[id(member.value)]

    def take_apart(self, value: object) -> bytes | Node:
        """One level of a value: its bytes, or what they are made of."""
        kind = type(value)
        reader = READERS.get(kind) or learn(kind)
        try:
            return reader.read(value, self) if isinstance(reader, InWalk) else reader(value)
        except NoStableContent as inside:  # of a function or class, by itself
            path = f"{self.path()} ({inside.path})"
            raise NoStableContent(path, inside.type_name, inside.reason, inside.advice) from None
        except (Refusal, RecursionError):
            raise
        except Exception as error:
            raise Refusal(kind, f"an object of type {type_name(kind)}, which cannot be taken apart") from error

    def _leave(self, top: Open) -> Any:
        number = len(self._stack) - 1
        self._stack.pop()
        del self._open[id(top.value)]
        order = top.order
        order.left(top, self)
        if top.low < number:  # it belongs to the circle of an open value
            top.back = self._stack[top.low]
            self._circle.append(top)
            self._in_circle[id(top.value)] = top
            self._stack[-1].low = min(self._stack[-1].low, top.low)
            return top
        if top.cyclic:
            self._close_circle(top)
            return top.data
        if self.loose and order is ENTRIES:
            order = FIELDS
        data = seal(top.head + order.join(top.parts))
        if data.startswith(b"#"):
            self.done[id(top.value)] = top.value, data
        return data

    def _close_circle(self, root: Open) -> None:
        members = [root, *self._circle[root.begin :]]
        del self._circle[root.begin :]
        colors, count = {id(member): b"?" for member in members}, 1
        while True:
            finer = {id(member): member.encode(colors) for member in members}
            if len(set(finer.values())) == count:
                break
            colors, count = finer, len(set(finer.values()))
        classes = b"".join(b"".join(pair) for pair in sorted({(colors[mark], finer[mark]) for mark in finer}))
        for member in members:
            self._in_circle.pop(id(member.value), None)
            member.data = b"#" + blake3(b"@" + finer[id(member)] + classes).digest()
            self.done[id(member.value)] = member.value, member.data

    def path(self) -> str:
        """Where the walk is."""
        steps = [top.order.step(top.children, len(top.parts)) for top in self._stack]
        steps = [step for step in steps if step]
        if len(steps) > _LONGEST_PATH:
            steps[_LONGEST_PATH // 2 : -_LONGEST_PATH // 2] = ["..."]
        return self.where + "".join(steps)


# -- the reader of each type ---------------------------------------------------------------------------------

FAMILIES: Final = {"numpy": "arrays", "pandas": "pandas_types", "polars": "polars_types", "pyarrow": "arrow_types"}
"""Packages and our modules with `TYPES` of theirs. Such a module imports the package, and finds it there already: a
value of one of its types has come in."""


def _code(value: Any, walk: Walk) -> bytes | Node:
    return walk.code(value, walk)


_CODE: Final = (
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType, types.MethodWrapperType),
    *(types.WrapperDescriptorType, types.ClassMethodDescriptorType, types.GetSetDescriptorType),
    *(types.MemberDescriptorType, types.ModuleType, type),
)
_BASE: Final[dict[type, Handler]] = {**BUILTIN, **MARKERS, **dict.fromkeys(_CODE, InWalk(_code))}

# Classes redefined in a notebook cell would pile up otherwise.
_MOST_LEARNED = 4_096

READERS: Final[dict[type, Handler]] = dict(_BASE)
"""What is known so far. Look here first, then call `learn`."""

_registered: Final[dict[type, Callable[[Any], object]]] = {}


def register_digest(type_: type, function: Callable[[Any], object]) -> None:
    """Let `function` say what stands for an object of `type_` in the key of a call.

    Example:
        >>> class City:
        ...     def __init__(self, code: str, visits: int):
        ...         self.code, self.visits = code, visits
        >>> dynmemo.register_digest(City, lambda city: city.code)
        >>> forecast.cache_key(City("SEA", 1)) == forecast.cache_key(City("SEA", 2))
        True

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
    if leaf_of(type_) or type_ in _BASE or is_zone(type_) or type_ is object:
        raise TypeError(f"register_digest() cannot change {type_name(type_)}; register a subclass of it")
    _registered[type_] = function
    _forget()


register_digest.__module__ = "dynmemo"  # as for all public names; see there


def learn(cls: type) -> Handler:
    """The reader of `cls`, from now on in `READERS`."""
    reader = (
        _BASE.get(cls)
        or leaf_of(cls)
        or (zone if is_zone(cls) else None)
        or _own_word(cls)
        or _by_name(cls)
        or _family(cls)
        or object_reader(cls)
    )
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
        own = methodcaller("__dynmemo_digest__") if "__dynmemo_digest__" in vars(base) else None
        function = _registered.get(base, own)
        if function is not None:
            return _stand_in(cls, function)
    return None


def _stand_in(cls: type, function: Callable[[Any], object]) -> Handler:
    def read(value: Any) -> Node:
        noun = f"an object of type {type_name(cls)}, whose digest"
        try:
            content = function(value)
        except NoStableContent:
            raise
        except Exception as error:
            raise Refusal(cls, f"{noun} raised {type_name(type(error))}") from error
        if content is value:
            raise Refusal(cls, f"{noun} is the object itself")
        return node(b"registered", (cls, content), Named())

    return read


def _by_name(cls: type) -> Handler | None:
    if cls is object:
        return THINGS["builtins.object"]
    for base in cls.__mro__[:-1]:
        reader = THINGS.get(type_name(base))
        if reader is not None:
            return reader
    known = listed(cls, NO_BEARING)
    if known is not None:
        name = known[0]
        return lambda value: node(b"left out", (name, getattr(value, "name", None) if "logg" in name else None))
    noun = listed(cls, LIVE)
    if noun is not None:
        return live(cls, noun[1])
    found = listed(cls, REFUSED)
    # What gives its items away only once looks the same before and after; a copy of it may even pickle.
    if found is not None or (hasattr(cls, "__next__") and hasattr(cls, "__iter__")):
        return _refuser(cls, *(ITERATOR if found is None else found[1]))
    return InWalk(_code) if issubclass(cls, (type, types.ModuleType, property)) else None


def _refuser(cls: type, noun: str, hint: str) -> Handler:
    def refuse(_: Any) -> NoReturn:
        raise Refusal(cls, f"{noun}, which has no stable content", hint)

    return refuse


def _family(cls: type) -> Handler | None:
    for base in cls.__mro__:
        package = str(base.__module__).partition(".")[0]
        if package in FAMILIES and package in sys.modules:
            table: dict[type, Handler] = importlib.import_module(f"dynmemo.keys.{FAMILIES[package]}").TYPES
            reader = next((reader for type_, reader in table.items() if issubclass(cls, type_)), None)
            if reader is not None:
                return reader
    return None
