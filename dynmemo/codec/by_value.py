"""Classes and functions that only this program can import: stored by value, and the reader's own where it has the same.

cloudpickle makes a new class of a stored one in every other process. Nothing there is equal to its members or an
instance of it, though the program has a class of that name and code. So name and digest go along, and a reader that
has the same takes its own.
"""

from __future__ import annotations

import functools
import inspect
import io
import pickle
import re
import sys
from contextlib import contextmanager
from itertools import chain
from types import FunctionType, MappingProxyType
from typing import TYPE_CHECKING, Any

from dynmemo._process import MAIN_MODULES, new_lock
from dynmemo.keys import importable_name, module_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from dynmemo.item import Bytes

_HERE, _SPAWNED_MAIN = "__main__", "__mp_main__"


class Own:
    """The classes and functions of one program, by name.

    Args:
        namespace: the globals of the decorated function. A worker that got the function by value has its classes there
            and not in a module.
        by_name: the user has said that code does not count: whatever has the name is the same.
    """

    def __init__(self, namespace: Mapping[str, Any] = MappingProxyType({}), *, by_name: bool = False) -> None:
        self._namespace = namespace
        self._by_name = by_name
        is_main = namespace.get("__name__") in MAIN_MODULES
        main = namespace if is_main else getattr(sys.modules.get(_HERE), "__dict__", {})
        self.program = importable_name(main) or _HERE
        """The name under which other programs import this one, that of a module with ``python -m`` for example."""
        self.importable = self.program != _HERE
        name = self.program.encode()[:255]
        named = re.compile(re.escape(pickle.SHORT_BINUNICODE + bytes([len(name)]) + name))
        self.is_named_in: Callable[[Bytes], object] = named.search if self.importable else lambda stream: None
        """Whether a stream may refer to this one as another program does; it would then be loaded twice."""

    def describe(self, thing: Any) -> tuple[str, str, str] | None:
        """Module, qualified name and digest (empty where the name is enough); None if no reader can have the same."""
        module, qualname = thing.__module__, thing.__qualname__
        if not isinstance(module, str) or "<" in qualname:
            return None
        if "." in qualname and not isinstance(thing, type):  # a method comes with its class
            return None
        if module in MAIN_MODULES:  # `python -m pkg.mod` defines pkg.mod, but not what came to it by value
            module = module_name(_HERE) if found_here(_HERE, qualname) is thing else _HERE
        if not self._bears_its_own_name(module, qualname, thing):
            return None
        digest = "" if self._by_name else _digest(thing)
        return None if digest is None else (module, qualname, digest)

    def _bears_its_own_name(self, module: str, qualname: str, thing: Any) -> bool:
        """Whether the program still has it under its name, and no decorator has put another thing in its place."""
        found = list(self._named(module, qualname))
        if not isinstance(thing, type):
            return any(one is thing for one in found)
        # It may come from an earlier run of a cell; a class that a decorator derived from it is another one.
        bases = [base for one in found if issubclass(type(one), type) and one is not thing for base in one.__mro__]
        return not any(base is thing for base in bases)

    def find(self, module: str, qualname: str, digest: str, *, is_class: bool) -> Any:
        """The program's own class or function of that name, None if it has none that is the same."""
        for found in chain(self._named(module, qualname), _arrived(module, qualname) if is_class else ()):
            # The real type decides: a decorated function says of itself that it is a plain one.
            fits = issubclass(type(found), type) if is_class else type(found) is FunctionType
            if fits and (not digest or _digest(found) == digest):
                return found
        return None

    def came_along(self, qualname: str) -> Any:
        """What of this name came by value with the decorated function, None if nothing did."""
        first, _, rest = qualname.partition(".")
        is_of_main = self._namespace.get("__name__") in MAIN_MODULES
        return _attribute(self._namespace.get(first), rest) if is_of_main else None

    def _named(self, module: str, qualname: str) -> Iterator[Any]:
        """What the program has under this name, in the function's own globals and in its modules."""
        if module in {_HERE, module_name(str(self._namespace.get("__name__")))}:
            first, _, rest = qualname.partition(".")
            yield _attribute(self._namespace.get(first), rest)
        yield found_here(_HERE if module == self.program else module, qualname)


def _arrived(module: str, qualname: str) -> Iterator[Any]:
    """Classes of that name that came by value, with an argument of a task for example; the last one first."""
    cloudpickle = sys.modules.get("cloudpickle.cloudpickle")
    for cls in reversed(list(getattr(cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", {}).values())):
        if isinstance(cls, type) and cls.__qualname__ == qualname and cls.__module__ in {module, _HERE}:
            yield cls


def _digest(thing: Any) -> str | None:
    from dynmemo.keys.snapshots import class_code  # with the first decorated function; few need it without one

    try:
        return class_code(thing)
    except Exception:  # noqa: BLE001 - something that it reaches has no content, so nothing can be told to be the same
        return None


def found_here(module: str, qualname: str) -> Any:
    """What a module that is loaded has under a qualified name, None if there is nothing."""
    return _attribute(sys.modules.get(module), qualname)


def _attribute(thing: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        thing = inspect.getattr_static(thing, name, None)
    return thing


# -- writing ----------------------------------------------------------------------------------------------------------


@functools.cache
def pickler() -> Any:
    """A kind of cloudpickle's pickler, loaded only where it is needed."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        own = Own()
        last: object = None
        """The object that it was pickling when something went wrong."""

        def reducer_override(self, obj: Any) -> Any:
            self.last = obj
            if isinstance(obj, memoryview | io.TextIOWrapper):  # would come back as bytes, as a copy of the content
                raise pickle.PicklingError
            reduced = super().reducer_override(obj)
            if not isinstance(reduced, tuple) or len(reduced) != 6:  # goes by name
                return reduced
            described = self.own.describe(obj)
            if described is None:
                return reduced
            make, arguments, state, _, _, fill = reduced
            return own_or_copy, (*described, make, arguments), (fill, state), None, None, fill_copy

    return Pickler


def own_or_copy(module: str, qualname: str, digest: str, make: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """The copy of a class or function, without its content. `Unpickler` looks for the reader's own first.

    Stored values name this function and the next, so neither may move.
    """
    copy = make(*arguments)
    if isinstance(copy, type):
        copy.__qualname__ = qualname  # cloudpickle drops the outer part of it
    return copy


def fill_copy(copy: Any, content: tuple[Callable[[Any, Any], Any], Any]) -> Any:
    """Give a copy its content. `Unpickler` leaves the reader's own without it."""
    fill, state = content
    return fill(copy, state)


class _SpawnedMain:
    """In a spawned worker the script is called `__mp_main__`, and cloudpickle takes that for importable elsewhere.

    So it is registered to go by value while anybody here pickles, and not longer: the registry is the user's.
    """

    def __init__(self) -> None:
        self._lock = new_lock(self)
        self._users = 0
        self._registered = False

    @contextmanager
    def by_value(self) -> Iterator[None]:
        import cloudpickle

        main = sys.modules.get(_SPAWNED_MAIN)
        if main is None or main.__name__ != _SPAWNED_MAIN:  # elsewhere it is another name of __main__
            yield
            return
        with self._lock:
            self._users += 1
            if _SPAWNED_MAIN not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(main)
                self._registered = True
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._registered and not self._users:
                    cloudpickle.unregister_pickle_by_value(main)
                    self._registered = False


spawned_main = _SpawnedMain()


# -- reading ----------------------------------------------------------------------------------------------------------


class Unpickler(pickle.Unpickler):
    """Takes the reader's own classes and functions where they are the same, and leaves those as they are.

    A class that cloudpickle reads back where it was defined is that very class, and would get copies of its methods
    for its methods, which see none of the later edits of what they use.
    """

    def __init__(self, file: io.BytesIO, own: Own, buffers: Iterable[Bytes] = ()) -> None:
        super().__init__(file, buffers=buffers)
        self._own = own
        self._taken: set[int] = set()

    def find_class(self, module: str, name: str, /) -> Any:
        if module == self._own.program:
            if found_here(_HERE, name) is not None:
                module = _HERE
            elif (came := self._own.came_along(name)) is not None:
                return came
        found = super().find_class(module, name)
        if found is own_or_copy:
            return self._own_or_copy
        if found is fill_copy:
            return self._fill_copy
        if name == "_class_setstate" and module.startswith("cloudpickle"):
            return functools.partial(_fill_class, found)
        return found

    def _own_or_copy(
        self, module: str, qualname: str, digest: str, make: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Any:
        found = self._own.find(module, qualname, digest, is_class=make.__name__ != "_make_function")
        if found is None:
            return own_or_copy(module, qualname, digest, make, arguments)
        self._taken.add(id(found))
        return found

    def _fill_copy(self, thing: Any, content: tuple[Callable[[Any, Any], Any], Any]) -> Any:
        return thing if id(thing) in self._taken else fill_copy(thing, content)


def _fill_class(fill: Callable[[type, object], type], cls: type, state: object) -> type:
    return cls if _lives_here(cls) else fill(cls, state)


def _lives_here(cls: type) -> bool:
    """Whether this process has defined the class, and not read it from a pickle."""
    if found_here(cls.__module__, cls.__qualname__) is cls:
        return True
    # The methods of a copy have globals of their own.
    home = sys.modules.get(cls.__module__)
    return any(getattr(value, "__globals__", None) is vars(home) for value in _functions_in(cls) if home)


def _functions_in(cls: type) -> Iterator[object]:
    for value in list(vars(cls).values()):
        yield from (getattr(value, name, None) for name in ("__func__", "fget", "func", "__wrapped__"))
        yield value
