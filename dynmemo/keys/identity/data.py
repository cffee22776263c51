"""Data that functions reach: a global, a closed-over value, a default, an attribute."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from dynmemo.keys.digest import NoStableContent, digest, is_immutable
from dynmemo.keys.identity.graph import Edge, Node
from dynmemo.keys.identity.hook import answering
from dynmemo.keys.identity.own import is_own_class, stable_name
from dynmemo.keys.identity.places import MISSING, Place, attributes_of, fixed_place, instance_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynmemo.keys.identity.graph import Kind
    from dynmemo.keys.identity.walk import Walk


class DataNode(Node):
    """What stands at a place, by its content.

    Attributes:
        immutable: whether it can be recognised by its identity from now on.
        parts: of a container that has no digest as a whole, the objects in it.
    """

    __slots__ = ("immutable", "parts", "place")

    def __init__(self, place: Place, name: str, kind: Kind) -> None:
        super().__init__(None, name, kind)
        self.place = place
        self.immutable = False
        self.parts: tuple[object, ...] | None = None

    def content(self) -> str:
        """The digest of what stands there now; functions and classes in it count as whoever is answering says.

        Raises:
            NoStableContent: it has no digest.
        """
        value = self.place.get()
        return "missing" if value is MISSING else digest(value, self.name)

    def token(self) -> object:
        """Changes with the content; only within this process."""
        if self.parts is not None:
            return tuple(map(id, _parts_of(self.place.get()) or ()))
        try:
            with answering(_identity):
                return self.content()
        except NoStableContent as refusal:
            return f"opaque:{refusal.type_name}"


def _identity(thing: object) -> str:
    return str(id(thing))


def is_data_by_value(value: object) -> bool:
    """Whether `value` is a constant, to be counted even where it was closed over by code of a package."""
    return is_immutable(value)


def read_data(walk: Walk, node: DataNode) -> None:
    """Digest what stands at the place of `node`, and go on with the functions and classes in it."""

    def collect(thing: object) -> str:
        node.inside.append(walk.node(thing, node.name))
        return "code"

    value = node.place.get()
    try:
        with answering(collect):
            node.label = f"data:{node.content()}"
    except NoStableContent as refusal:
        node.inside.clear()
        _take_apart(walk, node, value, refusal)
        return
    node.immutable = is_immutable(value)
    node.thing = value if node.immutable else None
    walk.costs(node.name, value)


def relabel(walk: Walk, node: Node, labels: Mapping[int, str]) -> str:
    """The label of data that has functions or classes in it, given theirs; empty for every other node."""
    if not isinstance(node, DataNode) or not node.inside:
        return ""
    with answering(lambda thing: labels.get(id(walk.node(thing, node.name)), "new")):
        return node.content()


def _take_apart(walk: Walk, node: DataNode, value: Any, refusal: NoStableContent) -> None:
    """Count what can be counted: one lock in a dict of settings does not make the others no input."""
    twin = walk.taken_apart.setdefault(id(value), node)
    if twin is not node:
        node.label = "again"
        node.edges.append(Edge("again", fixed_place(value), twin, node.name))
        return
    parts = _parts_of(value)
    if parts is None:
        node.kind, node.label = "opaque", f"opaque:{stable_name(type(value))}"
        node.note = f"{refusal.reason}: counts by its type and name"
        return
    node.label, node.parts, node.thing = f"parts:{type(value).__name__}", parts, value
    if is_own_class(type(value)):
        walk.edge(node, "class", fixed_place(type(value)), type(value).__name__)
    if _has_attributes(value):
        for name in attributes_of(value):
            walk.edge(node, f"attribute {name}", instance_place(value, name), f"{node.name}.{name}")
    elif isinstance(value, dict):
        for key in value:
            walk.edge(node, f"item {_key_label(key)}", Place(value, key), f"{node.name}[{_key_text(key)}]")
    else:
        members = dict(enumerate(sorted(value, key=_key_label) if isinstance(value, set | frozenset) else value))
        for index in members:
            walk.edge(node, f"item {index}", Place(members, index, bindable=False), f"{node.name}[{index}]")


def _parts_of(value: Any) -> tuple[object, ...] | None:
    """The objects that a container or an instance of an own class holds, None for anything else."""
    if type(value) in {list, tuple, set, frozenset}:
        return tuple(value)
    if isinstance(value, dict):
        return (*value, *value.values())
    if _has_attributes(value):
        state = attributes_of(value)
        return (type(value), *state, *state.values())
    return None


def _has_attributes(value: object) -> bool:
    return (is_own_class(type(value)) and not isinstance(value, dict)) or type(value) is types.SimpleNamespace


def _key_label(key: object) -> str:
    try:
        with answering(stable_name):
            return digest(key, "key")
    except NoStableContent:
        return f"opaque:{stable_name(type(key))}"


def _key_text(key: object) -> str:
    return repr(key) if isinstance(key, str) and key.isidentifier() else "..."
