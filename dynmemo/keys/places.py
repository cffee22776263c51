"""Places: where a name leads to at the moment, and where the attributes asked of it are looked up."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from dynmemo.keys.own import is_own_class, is_own_function, is_own_location, is_own_module
from dynmemo.keys.reading import IMPORT, PARAMETER

if TYPE_CHECKING:
    from collections.abc import Iterator


class Missing:
    """What stands where nothing does."""

    __slots__ = ()


MISSING: Final = Missing()

Key = tuple[int, Any]


class Place:
    """A variable, attribute or closure cell, which may be bound anew at any time.

    Attributes:
        key: identifies the place as long as this object lives.
        fixed: it cannot be bound anew, as an element of a tuple.
    """

    __slots__ = ("fixed", "holder", "key", "name", "owner")

    def __init__(
        self, holder: Mapping[Any, Any] | types.CellType, name: Any = "", owner: object = None, *, fixed: bool = False
    ) -> None:
        self.holder = holder
        self.name = name
        self.owner = owner  # keeps the id in the key its own
        self.fixed = fixed
        self.key: Key = (id(holder if owner is None else owner), name)

    def get(self) -> Any:
        """What stands there now, `MISSING` if nothing does."""
        if isinstance(self.holder, types.CellType):
            try:
                return self.holder.cell_contents
            except ValueError:
                return MISSING
        return self.holder.get(self.name, MISSING)


def place_of(thing: object) -> Place:
    """A place that always leads to `thing`."""
    return Place({"": thing}, owner=thing, fixed=True)


class Slots(Mapping[str, Any]):
    """The attributes of an instance whose class has slots, as they are now."""

    def __init__(self, instance: object) -> None:
        self._instance = instance
        self._dict: Mapping[str, Any] = getattr(instance, "__dict__", {})
        self._slots = {
            name: slot
            for base in reversed(type(instance).__mro__)
            for name, slot in vars(base).items()
            if isinstance(slot, types.MemberDescriptorType)
        }

    def __getitem__(self, name: str) -> Any:
        if name in self._dict:
            return self._dict[name]
        try:
            return self._slots[name].__get__(self._instance)
        except AttributeError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        yield from self._dict
        yield from (name for name in self._slots if self.get(name, MISSING) is not MISSING)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def attributes_of(instance: object) -> Mapping[str, Any]:
    """The attributes that an instance has of its own, live."""
    members = (value for base in type(instance).__mro__ for value in vars(base).values())
    has_slots = any(isinstance(value, types.MemberDescriptorType) for value in members)
    return Slots(instance) if has_slots else getattr(instance, "__dict__", {})


def start(function: types.FunctionType, root: str) -> Place | None:
    """Where the first name of a chain is looked up."""
    if root.startswith(PARAMETER):
        return default_place(function, root.removeprefix(PARAMETER))
    if root.startswith(IMPORT):
        loaded = _load(root.removeprefix(IMPORT), function.__globals__)
        return place_of(loaded) if loaded is not None and is_own_module(loaded.__name__) else None
    free = function.__code__.co_freevars
    if root in free and function.__closure__:
        return Place(function.__closure__[free.index(root)])
    return Place(function.__globals__, root)


def attribute_place(value: object, name: str) -> Place | None:
    """Where ``value.name`` is looked up, None if it does not matter or cannot be told."""
    if isinstance(value, types.ModuleType):
        return _module_place(value, name)
    if isinstance(value, type):
        owner = next((base for base in value.__mro__ if name in vars(base)), value)
        return Place(vars(owner), name, owner) if is_own_class(owner) else None
    if type(value) is types.FunctionType:
        return Place(value.__dict__, name)
    if not is_plain_instance(value):
        return None
    return place_of(type(value)) if name == "__class__" else Place(attributes_of(value), name, value)


def _module_place(module: types.ModuleType, name: str) -> Place | None:
    namespace = vars(module)
    if not is_own_module(module.__name__):
        found = namespace.get(name)
        return Place(namespace, name) if isinstance(found, types.ModuleType) or _is_own_code(found) else None
    if name not in namespace:
        if hasattr(module, "__path__"):  # ``from pkg import sub`` imports a submodule that nobody imported before
            _load(f"{module.__name__}.{name}", {})
        if name not in namespace and "__getattr__" in namespace:
            try:
                made: Any = getattr(module, name)
            except Exception:  # noqa: BLE001 - it is the function's to fail, if it gets there
                made = None
            return Place({name: (namespace["__getattr__"], made)}, name, fixed=True)
    return Place(namespace, name)


def _is_own_code(value: object) -> bool:
    if type(value) is types.FunctionType:
        return is_own_function(value)
    return is_own_class(value if isinstance(value, type) else type(value))


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
    try:
        if name.startswith("."):
            name = importlib.util.resolve_name(name, namespace.get("__package__") or "")
        if name not in sys.modules and _will_be_own(name.partition(".")[0]):
            return importlib.import_module(name)
    except Exception:  # noqa: BLE001 - it is the function's to fail, if it gets there
        return None
    return sys.modules.get(name)


def _will_be_own(top: str) -> bool:
    if top in sys.modules:
        return is_own_module(top)
    spec = importlib.util.find_spec(top)
    return spec is not None and is_own_location(
        spec.origin if spec.has_location else None, spec.submodule_search_locations
    )
