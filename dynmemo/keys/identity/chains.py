"""Follows the names and attributes in a function's code to the objects that they lead to at the moment."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import types
from typing import TYPE_CHECKING, Any, NamedTuple

from dynmemo.keys.identity.facts import BIND, ITEM, ITEM_CALL, imported_module, parameter_name
from dynmemo.keys.identity.lookup import facts_of
from dynmemo.keys.identity.own import is_own_class, is_own_function, is_own_location, is_own_module
from dynmemo.keys.identity.places import MISSING, Place, cell_place, class_place, fixed_place, instance_place
from dynmemo.keys.identity.state import is_plain_instance, items_mutate, mutates
from dynmemo.keys.identity.words import words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.keys.identity.facts import Chain, Facts, Write
    from dynmemo.keys.identity.graph import Node
    from dynmemo.keys.identity.walk import Walk

# What a module knows of itself differs between machines and is no input.
_OF_THE_MODULE = words("__name__ __file__ __doc__ __package__ __spec__ __loader__ __path__ __cached__ __builtins__")
# Attributes through which pandas and numpy objects are changed as a whole.
_VIEWS = frozenset({"loc", "iloc", "at", "iat", "flat"})


class Step(NamedTuple):
    """One name of a chain: where it is looked up, and what stands there."""

    place: Place
    value: Any


class Chains:
    """The chains of one function, or of one method as called on `instance`."""

    def __init__(self, walk: Walk, function: types.FunctionType, instance: object = MISSING) -> None:
        self._walk = walk
        self._function = function
        self._instance = instance
        self._labels: set[str] = set()
        self._cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))

    def apply_reads(self, facts: Facts, node: Node) -> None:
        """Add to `node` an edge for everything that the function names."""
        for chain in facts.reads:
            if parameter_name(chain[0]) is None and chain[0] not in _OF_THE_MODULE:
                self._read(chain, node)

    def apply_effects(self, facts: Facts) -> None:
        """Tell the walk which places the function changes, by itself and through methods of instances that it names."""
        for write in facts.writes:
            place = self._written(write)
            if place is not None:
                self._walk.write(place, _spoken(write.chain))
        for chain in facts.reads:
            if parameter_name(chain[0]) is None:
                self._methods(chain)

    def apply_self(self, facts: Facts) -> None:
        """The same for a method called on an instance: what it and its helpers change of ``self``."""
        for write in facts.writes:
            place = self._written(write) if self._is_self(write.chain) else None
            if place is not None:
                self._walk.write(place, f"{type(self._instance).__name__}.{'.'.join(write.chain[1:])}")
        for chain in facts.reads:
            if self._is_self(chain):
                self._methods(chain)

    # -- reading ----------------------------------------------------------------------------------

    def _read(self, chain: Chain, node: Node) -> None:
        module = imported_module(chain[0])
        if module is not None and self._imported(module) is None:
            # Whether somebody has loaded a package by now must not matter.
            self._walk.package(node, chain[0], module)
            return
        steps = list(self._steps(chain))
        if not steps:
            return
        last = 0
        while last + 1 < len(steps) and isinstance(steps[last].value, types.ModuleType):
            node.through.append(steps[last])
            last += 1
        self._edge(chain[: last + 1], steps[last].place, node)
        if steps[last].value is MISSING and last:
            # What a module makes on request cannot be watched, but the function that makes it can.
            maker = Place(vars(steps[last - 1].value), "__getattr__")
            self._edge((*chain[:last], "__getattr__"), maker, node)
        self._read_of_function(chain, steps, last, node)

    def _read_of_function(self, chain: Chain, steps: list[Step], last: int, node: Node) -> None:
        """What a function holds as its attribute: ``helper.limit``."""
        if last + 1 < len(steps) and isinstance(steps[last].value, types.FunctionType):
            self._edge(chain[: last + 2], steps[last + 1].place, node)

    def _edge(self, chain: Chain, place: Place, node: Node) -> None:
        label = ".".join(chain)
        if label not in self._labels:
            self._labels.add(label)
            self._walk.edge(node, f"name {label}", place, _spoken(chain))

    def _methods(self, chain: Chain) -> None:
        """Of every instance on the way: the method that is called next."""
        for step, attribute in zip(self._steps(chain), chain[1:], strict=False):
            if is_plain_instance(step.value):
                reach_method(self._walk, step.value, attribute)

    # -- writing ----------------------------------------------------------------------------------

    def _written(self, write: Write) -> Place | None:
        chain, how = write
        if how in {BIND, ITEM}:
            return self._place(chain, item=how == ITEM)
        steps = list(self._steps(chain))
        if len(steps) < len(chain) or steps[-1].value is MISSING:
            return None
        value = steps[-1].value
        item_method = how.removeprefix(ITEM_CALL)
        changed = mutates(value, how) if item_method == how else items_mutate(value, item_method)
        return steps[-1].place if changed else None

    def _place(self, chain: Chain, *, item: bool) -> Place | None:
        """Where the last name of `chain` is looked up, None if that cannot be told."""
        if item and chain[-1] in _VIEWS and len(chain) > 1:
            chain = chain[:-1]
        if len(chain) == 1:
            return self._start(chain[0])
        steps = list(self._steps(chain[:-1]))
        if len(steps) < len(chain) - 1:
            return None
        return _attribute_place(steps[-1].value, chain[-1], missing_too=True)

    # -- the way ----------------------------------------------------------------------------------

    def _is_self(self, chain: Chain) -> bool:
        code = self._function.__code__
        return code.co_argcount > 0 and parameter_name(chain[0]) == code.co_varnames[0]

    def _start(self, root: str) -> Place | None:
        parameter = parameter_name(root)
        if parameter is not None:
            if self._instance is not MISSING and self._is_self((root,)):
                return fixed_place(self._instance)
            return default_place(self._function, parameter)
        module = imported_module(root)
        if module is not None:
            loaded = self._imported(module)
            return None if loaded is None else fixed_place(loaded)
        if root in self._cells:
            return cell_place(self._cells[root])
        return Place(self._function.__globals__, root)

    def _imported(self, module: str) -> types.ModuleType | None:
        """The own module that an import in the function gives, None for any other."""
        loaded = _load(module, self._function.__globals__)
        return loaded if loaded is not None and is_own_module(loaded.__name__) else None

    def _steps(self, chain: Chain) -> Iterator[Step]:
        """As far as modules, classes and instances of the user's own go."""
        place = self._start(chain[0])
        for attribute in (*chain[1:], None):
            if place is None:
                return
            value = place.get()
            yield Step(place, value)
            place = None if attribute is None else _attribute_place(value, attribute, missing_too=False)


def _spoken(chain: Chain) -> str:
    root = parameter_name(chain[0]) or imported_module(chain[0]) or chain[0]
    return ".".join((root, *chain[1:]))


def _attribute_place(value: object, name: str, *, missing_too: bool) -> Place | None:
    """Where ``value.name`` is looked up. Where nothing stands yet only on request, but always in modules."""
    if isinstance(value, types.ModuleType):
        if not is_own_module(value.__name__):
            return None
        _load_submodule(value, name)
        return Place(vars(value), name)
    if isinstance(value, type):
        owner = next((base for base in value.__mro__ if name in vars(base)), value if missing_too else None)
        return class_place(owner, name) if owner is not None and is_own_class(owner) else None
    if type(value) is types.FunctionType:
        return Place(value.__dict__, name) if missing_too or name in value.__dict__ else None
    if is_plain_instance(value):
        place = instance_place(value, name)
        return place if missing_too or place.get() is not MISSING else None
    return None


def default_place(function: types.FunctionType, name: str) -> Place | None:
    """Where the default of a parameter lies, None if it has none."""
    keywords = function.__kwdefaults__
    if keywords is not None and name in keywords:
        return Place(keywords, name)
    defaults = function.__defaults__ or ()
    code = function.__code__
    named = dict(zip(reversed(code.co_varnames[: code.co_argcount]), reversed(defaults), strict=False))
    # The tuple is another one when the defaults are set anew; the function is watched for that.
    return Place(named, name, owner=defaults, bindable=False) if name in named else None


def reach_method(walk: Walk, instance: object, name: str) -> None:
    """A method of an instance is called by reached code: find what it changes of its ``self``."""
    function = _method_function(type(instance), name)
    if function is None or (id(instance), id(function)) in walk.methods:
        return
    walk.methods.add((id(instance), id(function)))
    Chains(walk, function, instance).apply_self(facts_of(function))


def _method_function(cls: type, name: str) -> types.FunctionType | None:
    for base in cls.__mro__:
        if name in vars(base):
            found = vars(base)[name]
            if isinstance(found, property):
                found = found.fget
            elif isinstance(found, functools.cached_property):
                found = found.func
            while type(found) is not types.FunctionType and hasattr(type(found), "__wrapped__"):
                found = found.__wrapped__
            return found if type(found) is types.FunctionType and is_own_function(found) else None
    return None


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


def _load_submodule(module: types.ModuleType, name: str) -> None:
    """``from pkg import sub`` imports a submodule that nobody imported before."""
    if name not in vars(module) and hasattr(module, "__path__"):
        _load(f"{module.__name__}.{name}", {})
