"""Walks from a function or class over everything of the user's that it reaches, and builds the graph of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from dynmemo.keys.identity.cost import report_cost
from dynmemo.keys.identity.data import DataNode, is_data_by_value, read_data
from dynmemo.keys.identity.effects import find_effects
from dynmemo.keys.identity.graph import Edge, Node
from dynmemo.keys.identity.own import is_own_function
from dynmemo.keys.identity.places import MISSING, fixed_place
from dynmemo.keys.identity.visits import seen_through, visit_of

if TYPE_CHECKING:
    import types

    from dynmemo.keys.identity.graph import Kind
    from dynmemo.keys.identity.places import Place
    from dynmemo.keys.identity.visits import Visit


class Walk:
    """One walk. Everything reached from `thing` that counts is found when the constructor is through.

    Args:
        thing: a function, class or other thing with code.
        name: what log lines call it.
        globals_too: whether the globals of functions are followed (``code="deep"``).
        is_users: whether `thing` counts by its code even if a package defines it.

    Attributes:
        root: the node of `thing`.
        globals_too: as given.
        effects_known: ids of the nodes of functions whose writes are in `written`.
        methods: ids of the instances and methods whose writes are in `written`.
        taken_apart: the nodes of data without a digest of its own, by the id of the data.
        written: the places that the reached code changes, with the name by which it does.
    """

    def __init__(self, thing: object, name: str, *, globals_too: bool, is_users: bool) -> None:
        self.globals_too = globals_too
        self._name = name
        thing = seen_through(thing)
        self._users = thing if is_users else None
        self.written: dict[tuple[int, str], tuple[Place, str]] = {}
        self.methods: set[tuple[int, int]] = set()
        self.effects_known: set[int] = set()
        self.taken_apart: dict[int, DataNode] = {}
        self._nodes: dict[int, Node] = {}
        self._data: dict[tuple[int, str], DataNode] = {}
        self._todo: deque[tuple[Visit, Node]] = deque()
        self._unread: deque[DataNode] = deque()
        self.root = self.node(thing, name)
        self._run()

    def _run(self) -> None:
        while self._todo or self._unread:
            if self._todo:
                self._visit()
            # Only after all code is known, since it may tell that the data is state.
            data = self._unread.popleft() if self._unread else None
            if data is not None and not self.is_state(data.place):
                read_data(self, data)

    def _visit(self) -> None:
        while self._todo:
            visit, node = self._todo.popleft()
            visit(self, node)
        find_effects(self)

    def is_own(self, function: types.FunctionType) -> bool:
        """Whether a function counts by its code; what the user decorated does, wherever it comes from."""
        return self.is_users(function) or is_own_function(function)

    def is_users(self, function: types.FunctionType) -> bool:
        """Whether it is the function that the user decorated."""
        return function is self._users

    def is_state(self, place: Place) -> bool:
        """Whether the reached code itself changes what stands there."""
        return place.key in self.written

    def write(self, place: Place, name: str) -> None:
        """The reached code changes what stands there, calling it `name`."""
        self.written.setdefault(place.key, (place, name))

    def edge(self, source: Node, label: str, place: Place, name: str, *, kind: Kind = "global") -> None:
        """`source` reads `place`, which the user calls `name`."""
        value = place.get()
        if value is MISSING:
            source.absent.append(place)
        else:
            target = self._target(value, place, name, kind)
            # Mutable data may be large, and is not kept alive.
            kept = None if isinstance(target, DataNode) else value
            source.edges.append(Edge(label, place, target, name, kept))

    def foreign_edge(self, source: Node, label: str, place: Place, name: str) -> None:
        """The same for what code of packages has closed over: the user's code in it, and constants."""
        value = place.get()
        if visit_of(value) is not None or is_data_by_value(value):
            self.edge(source, label, place, name, kind="closure")

    def package(self, source: Node, label: str, module: str) -> None:
        """`source` imports a module that is not followed."""
        target = Node(None, module, "package")
        target.label = f"module:{module}"
        source.edges.append(Edge(f"name {label}", fixed_place(None), target, module))

    def _target(self, value: object, place: Place, name: str, kind: Kind) -> Node:
        if visit_of(value) is not None:
            return self.node(seen_through(value), name)
        known = self._data.get(place.key)
        if known is None:
            known = self._data[place.key] = DataNode(place, name, kind)
            self._unread.append(known)
        return known

    def costs(self, name: str, value: object) -> None:
        """Say so, once, when digesting `value` at every call takes a while."""
        report_cost(self._name, name, value)

    def node(self, thing: Any, name: str) -> Node:
        """The node of a function, class or other thing with code, which is reached as `name`."""
        known = self._nodes.get(id(thing))
        if known is None:
            visit = visit_of(thing)
            known = self._nodes[id(thing)] = Node(thing, name, "function")
            if visit is not None:
                self._todo.append((visit, known))
        return known
