"""Places: where a name leads to at the moment, where attributes asked of it are looked up, and whether it is still so.

What leads to code and to immutable data is compared by identity. Mutable data is digested, unless it is small and plain
and holds the very objects that it held.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Mapping
from operator import attrgetter, eq, is_, itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dynmemo.keys.builtin import LEAVES, is_immutable
from dynmemo.keys.encoding import NoStableContent
from dynmemo.keys.objects import bound_builtin
from dynmemo.keys.own import is_own_class, is_own_function, is_own_location, is_own_module
from dynmemo.keys.reading import IMPORT, PARAMETER
from dynmemo.keys.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, KeysView

    from dynmemo.keys.encoding import Node


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
        if "__path__" in namespace:  # ``from pkg import sub`` imports a submodule that nobody imported before
            _load(f"{module.__name__}.{name}", {})
        if name not in namespace and "__getattr__" in namespace:
            return Place(_on_request(module, name), name, fixed=True)
    return Place(namespace, name)


class OnRequest(Mapping[str, Any]):
    """What a module's ``__getattr__`` gives as of now, with its code."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def __getitem__(self, name: str) -> Any:
        maker = vars(self._module)["__getattr__"]
        try:
            return maker, getattr(self._module, name)
        except Exception:  # noqa: BLE001 - it is the function's to fail, if it gets there
            return maker, None

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _on_request(module: types.ModuleType, name: str) -> Mapping[str, Any]:
    live = OnRequest(module)
    made, again = live[name], live[name]
    # A function that is made anew for each who asks is told apart by its maker.
    is_another = isinstance(made[1], (types.FunctionType, type)) and made[1] is not again[1]
    return {name: made} if is_another else live


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


# -- whether places are as they were --------------------------------------------------------------------------

_contents, _mro = attrgetter("cell_contents"), attrgetter("__mro__")


class Space(NamedTuple):
    """The names in a class, an object or on a function."""

    mapping: Mapping[str, Any]
    owner: object
    left_out: frozenset[str]
    names: frozenset[str]

    def new(self) -> set[str]:
        """The names that have come."""
        return set(self.mapping) - self.names - self.left_out

    def unchanged(self) -> bool:
        """Whether the names that count are the same."""
        return set(self.mapping) - self.left_out == self.names - self.left_out


def by_identity(thing: Any, walk: Walk) -> bytes | Node:
    """Functions, classes and modules as they are told apart within this process."""
    return bound_builtin(thing) or b"K%d." % id(thing)


class _TokenWalk(Walk):
    """Reads what lies at a place, within this process."""

    follows = True

    @property
    def strict(self) -> bool:
        return False


def token(place: Place) -> bytes:
    """Changes with the content of a place; only within this process."""
    value = place.get()
    if value is MISSING:
        return b"M"
    leaf = LEAVES.get(type(value))
    if leaf is not None:
        return leaf(value)
    try:
        return _TokenWalk("", by_identity).encode(value)
    except NoStableContent as refusal:
        return b"refused " + refusal.type_name.encode()


_MOST_SEEN = 256
"""Keys, values and elements of data that is looked at one by one before it is digested again."""
_DEEPEST_SEEN = 4


class _Seen(NamedTuple):
    """Small plain data as it was when its token was taken. It keeps all of that alive, so no identity is used again."""

    token: bytes
    value: object
    contents: list[tuple[Collection[object], tuple[object, ...]]]
    """Each container that may change, with what was in it."""

    def is_still(self, value: object) -> bool:
        """Whether `value` holds the same objects in the same containers and order; none of them is asked."""
        if value is not self.value:
            return False
        try:
            for container, content in self.contents:
                if len(container) != len(content) or not all(map(is_, container, content)):
                    return False
        except RuntimeError:  # another thread changes it
            return False
        return True


def _contents_of(value: object) -> list[tuple[Collection[object], tuple[object, ...]]] | None:
    """What is in `value` and the containers in it, None unless it is small and all else in it is immutable."""
    found: list[tuple[Collection[object], tuple[object, ...]]] = []
    waiting, room = [(value, 0)], _MOST_SEEN
    while waiting:
        one, depth = waiting.pop()
        kind = type(one)
        if kind not in {dict, list, set, tuple}:
            if not is_immutable(one):
                return None
            continue
        container: Any = one
        room -= len(container)
        if room < 0 or depth == _DEEPEST_SEEN:
            return None
        try:
            for part in (container, container.values()) if kind is dict else (container,):
                content = tuple(part)
                if kind is not tuple:
                    found.append((part, content))
                waiting += [(child, depth + 1) for child in content]
        except RuntimeError:  # another thread changes it
            return None
    return found


class Live:
    """A place of mutable data, and the token of its content."""

    __slots__ = ("_seen", "name", "place", "token")

    def __init__(self, place: Place, name: str) -> None:
        self.place = place
        self.name = name
        # The content comes first: if it changes before its token is taken, it is digested again.
        value = place.get()
        contents = _contents_of(value)
        self.token = token(place)
        self._seen = None if contents is None else _Seen(self.token, value, contents)

    def unchanged(self) -> bool:
        """Whether the content is the same. It is digested unless the very objects are the same."""
        before, seen = self.token, self._seen
        if seen is None:
            return token(self.place) == before
        value = self.place.get()
        if seen.token is before and seen.is_still(value):
            return True
        contents = _contents_of(value)
        if token(self.place) != before:
            return False
        self._seen = None if contents is None else _Seen(before, value, contents)
        return True


class Watch:
    """What a walk has read, and whether it is still so.

    Attributes:
        lives: places of mutable data.
    """

    def __init__(self) -> None:
        self._found: dict[int, tuple[Mapping[str, Any], dict[str, object]]] = {}
        self._absent: dict[int, tuple[KeysView[str], set[str]]] = {}
        self._empty_cells: list[types.CellType] = []
        self._cells: dict[int, tuple[types.CellType, object]] = {}
        self._functions: list[tuple[types.FunctionType, types.CodeType]] = []
        self._with_defaults: list[tuple[types.FunctionType, object, object]] = []
        self.classes: list[type] = []
        self.instances: list[object] = []
        self.spaces: list[Space] = []
        self.lives: dict[Key, Live] = {}
        self.places: dict[Key, tuple[Place, str, object]] = {}

    # -- at every call ----------------------------------------------------------------------------

    def unchanged(self) -> bool:
        """Whether everything is as it was read."""
        try:
            for getter, holder, values in self._names:
                if not all(map(is_, getter(holder), values)):
                    return False
        except KeyError:
            return False
        for keys, names in self._missing:
            if not keys.isdisjoint(names):
                return False
        for function, code in self._functions:
            if function.__code__ is not code:
                return False
        if any(self._empty) or not (self._plain or self._rest_unchanged()):
            return False
        return not self._lives or all(map(Live.unchanged, self._lives))

    def _rest_unchanged(self) -> bool:
        for function, defaults, keyword_defaults in self._with_defaults:
            if function.__defaults__ is not defaults or function.__kwdefaults__ is not keyword_defaults:
                return False
        try:
            if not all(map(is_, map(_contents, self._cell_list), self._cell_values)):
                return False
        except ValueError:
            return False
        return (
            all(map(is_, map(_mro, self.classes), self._mros))
            and all(map(is_, map(type, self.instances), self._types))
            and (all(map(eq, self._keys, self._key_names)) or all(space.unchanged() for space in self._filled))
            and not any(map(_is_filled, self._empty_cells))
        )

    # -- at a walk --------------------------------------------------------------------------------

    def function(self, function: types.FunctionType) -> None:
        """Another code or other defaults would count."""
        self._functions.append((function, function.__code__))
        self._with_defaults.append((function, function.__defaults__, function.__kwdefaults__))

    def same(self, place: Place, name: str, value: object) -> None:
        """Another object at `place` would count."""
        if isinstance(place.holder, types.CellType):
            self._cells[id(place.holder)] = (place.holder, value)
        elif not place.fixed:
            self._found.setdefault(place.key[0], (place.holder, {}))[1][place.name] = value
        else:
            return
        self.places[place.key] = (place, name, value)

    def live(self, place: Place, name: str) -> None:
        """Another content at `place` would count."""
        if place.key not in self.lives:
            # Before the content is used: what changes meanwhile is then seen by the next call.
            self.lives[place.key] = Live(place, name)

    def absent(self, place: Place, name: str) -> None:
        """Anything at `place` would count."""
        if isinstance(place.holder, types.CellType):
            self._empty_cells.append(place.holder)
        else:
            self._absent.setdefault(place.key[0], (place.holder.keys(), set()))[1].add(place.name)
        self.places[place.key] = (place, name, MISSING)

    def freeze(self) -> None:
        """Everything was read."""
        self._names = []
        for holder, values in self._found.values():
            names = list(values)
            names *= 2 if len(names) == 1 else 1  # with one name, itemgetter gives no tuple
            self._names.append((itemgetter(*names), holder, tuple(values[name] for name in names)))
        self._missing = [(keys, tuple(names)) for keys, names in self._absent.values()]
        self._cell_list = [cell for cell, _ in self._cells.values()]
        self._cell_values = [value for _, value in self._cells.values()]
        self._with_defaults = [one for one in self._with_defaults if one[1] is not None or one[2] is not None]
        self._mros = list(map(_mro, self.classes))
        self._types = list(map(type, self.instances))
        self._lives = list(self.lives.values())
        # A function has no attributes as a rule, and to ask for any in many of them is quicker than to compare.
        self._empty = [space.mapping for space in self.spaces if type(space.mapping) is dict and not space.mapping]
        self._filled = [space for space in self.spaces if type(space.mapping) is not dict or space.mapping]
        self._keys = [space.mapping.keys() for space in self._filled]
        self._key_names = [space.names for space in self._filled]
        rest = (self._with_defaults, self._cells, self.classes, self.instances, self._filled, self._empty_cells)
        self._plain = not any(rest)

    def left(self, key: Key, token: bytes) -> None:
        """A computation has left a place so, and what counts for it is the same."""
        if key in self.lives:
            self.lives[key].token = token

    def changed(self) -> list[tuple[Place, str, bytes, bytes]]:
        """The places that are another now: place, name, what stood for them and what does."""
        found: list[tuple[Place, str, bytes, bytes]] = []
        for place, name, value in self.places.values():
            now = place.get()
            if now is not value:
                before = token(place_of(value))
                if before != (after := token(place)):
                    found.append((place, name, before, after))
        for space in self.spaces:
            for name in space.new():
                place = Place(space.mapping, name, space.owner)
                if place.key not in self.places and place.key not in self.lives:
                    found.append((place, name, b"M", token(place)))
        for live in self._lives:
            before, after = live.token, token(live.place)
            if after != before:
                found.append((live.place, live.name, before, after))
        return found


def _is_filled(cell: types.CellType) -> bool:
    return Place(cell).get() is not MISSING
