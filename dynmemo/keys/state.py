"""What computations of decorated functions change themselves: their own state, which is no input.

The code only says which places *may* be written. What counts is what was seen: a place that was another after a
computation than before counts, for the function that computed, as it did before, for as long as it is as a computation
left it. Any other change counts. What is known of a place is shared by the decorated functions of this process, so two
that fill one memo do not make each other miss; it is forgiven only to a function that was itself seen to change it.
"""

from __future__ import annotations

import builtins
import types
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dynmemo._process import new_lock
from dynmemo.keys.own import is_own_class, seen_through
from dynmemo.keys.places import MISSING, attribute_place, is_plain_instance, place_of, start, token
from dynmemo.keys.reading import BIND, HANDED, IMPORT, ITEM, ITEM_CALL, PARAMETER, Write
from dynmemo.keys.source import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from dynmemo.keys.places import Key, Place
    from dynmemo.keys.reading import Chain
    from dynmemo.keys.snapshots import Snapshot

_MOST = 10_000


class Running(NamedTuple):
    """A computation that has begun, with what was found just before."""

    function: int
    snapshot: Snapshot


running: ContextVar[tuple[Running, ...]] = ContextVar("dynmemo_running", default=())


class _Record:
    """What is known of one place.

    Attributes:
        place: kept, so that its key stays its own.
        left: the token of the place as the last computation that changed it left it.
        counted: by function, what stands for the place in its keys.
    """

    __slots__ = ("counted", "left", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.left: object = None
        self.counted: dict[int, bytes] = {}


class _Records:
    def __init__(self) -> None:
        self._lock = new_lock(self)
        self._known: dict[Key, _Record] = {}

    def forgiven(self, function: int, place: Place) -> bytes | None:
        """What stands for a place in the keys of `function`, None if the place counts as it is."""
        record = self._known.get(place.key)
        if record is not None and function in record.counted and record.left == token(place):
            return record.counted[function]
        for one in reversed(running.get()):  # it is changed further while that computation goes on
            if one.function == function and one.snapshot.may_be_written(place.key):
                return one.snapshot.counted(place.key)
        return None

    def changed(self, function: int, place: Place, before: bytes, after: bytes, counted: bytes) -> None:
        """A computation of `function` has changed a place.

        Args:
            function: identifies it in this process.
            place: that was changed.
            before: its token when the computation began.
            after: its token now.
            counted: what stood for it in the key.
        """
        with self._lock:
            record = self._known.get(place.key)
            if record is None:
                if len(self._known) >= _MOST:
                    self._known.pop(next(iter(self._known)))
                record = self._known[place.key] = _Record(place)
            elif record.left != before:  # somebody else has changed it since, which counts for all
                record.counted = dict.fromkeys(record.counted, counted)
            record.counted[function] = counted
            record.left = after


records = _Records()

# -- what code may write -----------------------------------------------------------------------------------------

_CHANGES = frozenset(
    [
        *("__delitem__", "__setitem__", "add", "append", "appendleft", "clear", "difference_update", "discard"),
        *("extend", "extendleft", "fill", "insert", "intersection_update", "itemset", "move_to_end", "partition"),
        *("pop", "popitem", "popleft", "put", "put_nowait", "remove", "resize", "reverse", "rotate", "setdefault"),
        *("setfield", "setflags", "sort", "subtract", "symmetric_difference_update", "update"),
    ]
)
"""Methods of containers, arrays and frames that change them; others do so only where they are told ``inplace=``."""
_ONLY_BY_THESE = frozenset({"builtins", "collections", "numpy", "pandas", "polars", "pyarrow", "xarray"})
_CHANGES_GIVEN = frozenset(
    [
        *("heappush", "heappop", "heapify", "heapreplace", "heappushpop", "shuffle", "insort", "insort_left"),
        *("insort_right", "setattr", "delattr", "next", "copyto", "put", "place", "putmask", "fill_diagonal"),
        "readinto",
    ]
)
"""Functions that change what they are given."""
_OF_THE_CLASS = frozenset({"__new__", "__init_subclass__", "__class_getitem__"})
_OF_NEW_ONES = frozenset({"__init__", "__post_init__", "__setstate__"})
_MAKERS = frozenset({"__init__", "__new__", "__call__"})
ANY: Final = None
"""Instead of a name in the key of a place: any attribute of the object."""


def may_write(
    functions: Sequence[types.FunctionType], instances: Iterable[object], classes: Iterable[type]
) -> Iterator[tuple[Key, str]]:
    """The keys of the places that one of `functions` may change, with the name by which it does.

    Args:
        functions: what may run.
        instances: objects whose methods are among them.
        classes: the same of classes.
    """
    changers = _Changers(functions)
    owners = _owners(instances, classes)
    for function in functions:
        for write in _writes(function):
            if write.how.startswith(HANDED) and not changers.may_change(write.how.removeprefix(HANDED), function):
                continue
            for owner, name, is_given in owners.get(id(function), ()) if _is_first(function, write.chain) else ():
                chain = write.chain[1:]
                if not is_given and chain != ("*",):
                    if chain[:1] == ("__class__",):
                        chain = chain[1:]
                    elif not _is_of_class(owner, chain, write.how):
                        continue
                yield from _changed(place_of(owner), chain, write.how, ".".join((name, *chain)))
            place = start(function, write.chain[0])
            if place is not None:
                yield from _changed(place, write.chain[1:], write.how, spoken(write.chain).removesuffix(".*"))


def _is_of_class(cls: Any, chain: Chain, how: str) -> bool:
    """Whether what a method changes by its instance lies in the class."""
    is_bound = how == BIND and len(chain) == 1
    return bool(chain) and not is_bound and any(chain[0] in vars(base) for base in cls.__mro__)


def spoken(chain: Chain) -> str:
    """A chain as the user would say it."""
    return ".".join((chain[0].removeprefix(PARAMETER).removeprefix(IMPORT), *chain[1:]))


def _owners(instances: Iterable[object], classes: Iterable[type]) -> dict[int, list[tuple[object, str, bool]]]:
    """By function, the objects and classes of which it is a method, with the name, and whether they are given to it."""
    found: dict[int, list[tuple[object, str, bool]]] = {}

    def add(owner: object, cls: type, name: str, *, always: bool) -> None:
        for base in cls.__mro__:
            for attribute, member in vars(base).items() if base not in {object, type} else ():
                is_given = always or isinstance(member, classmethod) or attribute in _OF_THE_CLASS
                if attribute in _OF_NEW_ONES and not isinstance(owner, type):
                    continue
                found.setdefault(id(_method_of(member)), []).append((owner, name, is_given))

    for one in instances:
        add(one, type(one), type(one).__name__, always=True)
    for cls in classes:
        add(cls, cls, cls.__name__, always=False)
        add(cls, type(cls), cls.__name__, always=True)
    return found


def _method_of(member: Any) -> object:
    if isinstance(member, property):
        return member.fget
    return getattr(seen_through(member), "__func__", getattr(member, "func", seen_through(member)))


class _Changers:
    """Which calls change what they are given, as far as that can be told from the name of what is called."""

    def __init__(self, functions: Sequence[types.FunctionType]) -> None:
        self._known = {name for function in functions for name in _called(function)}
        self._names: set[str] = set()
        given = [(set(_called(function)), _writes_given(function), function) for function in functions]
        count = -1
        while count < len(self._names):  # one that hands it on to one that changes it changes it
            count = len(self._names)
            for names, writes, function in given:
                if not names <= self._names and any(self._is_change(write, function) for write in writes):
                    self._names |= names

    def may_change(self, called: str, function: types.FunctionType) -> bool:
        """Whether `called`, as `function` calls it, may change an argument; what is not known may if any does."""
        called = getattr(function.__globals__.get(called), "__name__", called)
        if called in _CHANGES_GIVEN or called in self._names:
            return True
        return bool(self._names) and called not in self._known and not hasattr(builtins, called)

    def _is_change(self, write: Write, function: types.FunctionType) -> bool:
        return not write.how.startswith(HANDED) or self.may_change(write.how.removeprefix(HANDED), function)


def _called(function: types.FunctionType) -> tuple[str, ...]:
    """The names by which a function may be called: that of the class for what makes instances."""
    owner = function.__qualname__.rpartition(".")[0].rpartition(".")[2]
    return (function.__name__, owner) if function.__name__ in _MAKERS else (function.__name__,)


def _writes(function: types.FunctionType) -> Iterator[Write]:
    """What a function may change; of one without source everything that it names."""
    reading = read(function)
    yield from reading.writes
    if not reading.from_source:
        yield from (Write(chain, ITEM) for chain in reading.reads)
        code = function.__code__
        yield from (Write((PARAMETER + name, "*"), ITEM) for name in code.co_varnames[: code.co_argcount])


def _writes_given(function: types.FunctionType) -> list[Write]:
    """What a function may do to what it is given, but for the object of which it is a method."""
    home = function.__qualname__.rpartition(".")[0]
    is_method = bool(home) and not home.endswith("<locals>")
    return [
        write
        for write in read(function).writes
        if write.chain[0].startswith(PARAMETER)
        and not (is_method and _is_first(function, write.chain))
        and (write.how != BIND or len(write.chain) > 1)
        and not _only_reads(write.how)
    ]


def _only_reads(how: str) -> bool:
    """Whether it is the call of a method by which containers and texts are only read."""
    method = how.removeprefix(ITEM_CALL)
    return method not in _CHANGES and any(hasattr(cls, method) for cls in (dict, list, set, str))


def _is_first(function: types.FunctionType, chain: Chain) -> bool:
    """Whether a chain begins with the first parameter."""
    code = function.__code__
    return code.co_argcount > 0 and chain[0] == PARAMETER + code.co_varnames[0]


def _changed(place: Place, chain: Chain, how: str, name: str) -> Iterator[tuple[Key, str]]:
    """The place that holds what is changed: as far as the attributes of modules, classes and own objects lead."""
    for index, attribute in enumerate(chain):
        value = seen_through(place.get())
        inside = None if value is MISSING else attribute_place(value, attribute)
        if inside is None or attribute == "*":
            break
        is_last = index + 1 == len(chain)
        if is_last and how == BIND and isinstance(value, type):
            yield (id(value), attribute), name  # it is bound there, whatever the bases have
        if inside.get() is MISSING and not (is_last and how == BIND):  # it is looked up in the class
            of_class = attribute_place(type(value), attribute)
            if of_class is not None and of_class.get() is not MISSING:
                inside = of_class
            elif not is_last:
                return
        place = inside
    value = seen_through(place.get())
    method = how.removeprefix(ITEM_CALL)
    if how not in {BIND, ITEM} and (is_plain_instance(value) or _is_own_throughout(value)):
        if not how.startswith(HANDED):
            return  # its methods are read
    elif how in {BIND, ITEM} or how.startswith(HANDED) or method in _CHANGES or not _only_by_these(type(value)):
        yield place.key, name
    if how != BIND:
        yield from (((one, ANY), name) for one in _holders(value))


def _is_own_throughout(value: Any) -> bool:
    """Whether it is a class of which all methods are read."""
    if not isinstance(value, type):
        return False
    metaclass: type = type(value)
    return all(one in {object, type} or is_own_class(one) for one in (*value.__mro__, *metaclass.__mro__))


def _only_by_these(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in _ONLY_BY_THESE and "random" not in cls.__module__


def _holders(value: Any) -> Iterator[int]:
    """What the keys of the attributes of an object, class or function begin with."""
    if isinstance(value, type):
        yield from (id(base) for base in value.__mro__ if is_own_class(base))
    elif type(value) is types.FunctionType:
        yield id(value.__dict__)
    elif is_plain_instance(value):
        yield id(value)
