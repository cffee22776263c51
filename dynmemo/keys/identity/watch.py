"""Tells at every call whether anything that was reached has changed, in about a microsecond.

Names that lead to code and to immutable data are compared by identity; mutable data is digested.
"""

from __future__ import annotations

import types
from operator import attrgetter, is_, itemgetter
from typing import TYPE_CHECKING, Any

from dynmemo.keys.identity.data import DataNode
from dynmemo.keys.identity.places import MISSING, Place
from dynmemo.keys.identity.state import is_plain_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, KeysView, Mapping, Sized

    from dynmemo.keys.identity.graph import Edge, Node

_contents, _mro = attrgetter("cell_contents"), attrgetter("__mro__")


class _Names:
    """The names in one namespace that lead to something."""

    def __init__(self, holder: Mapping[str, Any]) -> None:
        self.holder = holder
        self.values: dict[str, object] = {}

    def frozen(self) -> tuple[Callable[[Any], tuple[object, ...]], Mapping[str, Any], tuple[object, ...]]:
        names = list(self.values)
        names *= 2 if len(names) == 1 else 1  # with one name, itemgetter gives no tuple
        return itemgetter(*names), self.holder, tuple(self.values[name] for name in names)


class Watch:
    """What the nodes of a graph were made from.

    Attributes:
        live: the mutable data, which is looked at through `token`.
    """

    def __init__(self, nodes: Iterable[Node], is_state: Callable[[Place], bool]) -> None:
        self._is_state = is_state
        self._found: dict[int, _Names] = {}
        self._absent: dict[int, tuple[KeysView[str], set[str]]] = {}
        self._empty_cells: list[types.CellType] = []
        self._cells: dict[int, tuple[types.CellType, object]] = {}
        self._functions: list[tuple[types.FunctionType, types.CodeType]] = []
        self._with_defaults: list[tuple[types.FunctionType, object, object]] = []
        self._classes: list[type] = []
        self._instances: list[object] = []
        self._sizes: list[tuple[Sized, int]] = []
        self.live: list[DataNode] = []
        for node in nodes:
            self._add(node)
        self._freeze()

    # -- at every call ----------------------------------------------------------------------------

    def unchanged(self) -> bool:
        """Whether every name still leads where it led."""
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
        return self._plain or self._rest_unchanged()

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
            all(map(is_, map(_mro, self._classes), self._mros))
            and all(map(is_, map(type, self._instances), self._types))
            and all(len(mapping) == size for mapping, size in self._sizes)
            and not any(_is_filled(cell) for cell in self._empty_cells)
        )

    def token(self) -> tuple[object, ...]:
        """Changes when mutable data does."""
        return tuple(node.token() for node in self.live)

    # -- at a walk --------------------------------------------------------------------------------

    def _add(self, node: Node) -> None:
        for edge in node.edges:
            if not self._is_state(edge.place):
                self._edge(edge)
        for place, value in node.through:
            self._same(place, value)
        for place in node.absent:
            self._nothing(place)
        self._sizes += [(mapping, len(mapping)) for mapping in node.sized]
        if isinstance(node, DataNode):
            if not node.immutable:
                self.live.append(node)
        elif type(node.thing) is types.FunctionType:
            self._function(node.thing)
        elif isinstance(node.thing, type):
            if node.kind == "class":
                self._classes.append(node.thing)
        elif is_plain_instance(node.thing):
            self._instances.append(node.thing)

    def _function(self, function: types.FunctionType) -> None:
        self._functions.append((function, function.__code__))
        defaults, keyword_defaults = function.__defaults__, function.__kwdefaults__
        # A function without defaults got all its arguments, so defaults given to it later change no call that was made.
        if defaults is not None or keyword_defaults is not None:
            self._with_defaults.append((function, defaults, keyword_defaults))

    def _edge(self, edge: Edge) -> None:
        place, target = edge.place, edge.target
        if not isinstance(target, DataNode):
            self._same(place, edge.value)
        elif target.immutable:
            self._same(place, target.thing)

    def _same(self, place: Place, value: object) -> None:
        if isinstance(place.holder, types.CellType):
            self._cells[id(place.holder)] = (place.holder, value)
        elif place.bindable:
            names = self._found.setdefault(place.key[0], _Names(place.holder))
            names.values[place.name] = value

    def _nothing(self, place: Place) -> None:
        if isinstance(place.holder, types.CellType):
            self._empty_cells.append(place.holder)
        else:
            self._absent.setdefault(place.key[0], (place.holder.keys(), set()))[1].add(place.name)

    def _freeze(self) -> None:
        self._names = [names.frozen() for names in self._found.values()]
        self._missing = [(keys, tuple(names)) for keys, names in self._absent.values()]
        self._cell_list = [cell for cell, _ in self._cells.values()]
        self._cell_values = [value for _, value in self._cells.values()]
        self._mros = list(map(_mro, self._classes))
        self._types = list(map(type, self._instances))
        rest = (self._with_defaults, self._cells, self._classes, self._instances, self._sizes, self._empty_cells)
        self._plain = not any(rest)


def _is_filled(cell: types.CellType) -> bool:
    return Place(cell, "").get() is not MISSING
