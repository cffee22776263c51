"""What a function reaches, as a graph, and the graph's digest.

A node stands for a function, a class, an instance or a piece of data; edges are labelled by the name through which
one reaches the other. Functions call each other in circles and stand in registries that they themselves read, so a
digest cannot simply be made of the digests below it. Instead labels are refined round by round until no round tells
more nodes apart: then nodes with the same label do the same (they are bisimilar), in whatever order they were found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

import blake3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sized

    from dynmemo.keys.identity.places import Place

Kind = Literal["function", "class", "global", "closure", "default", "package", "state", "opaque"]


class Edge:
    """A name through which a node reaches another, the place read for it, and what stood there if that is kept."""

    __slots__ = ("label", "name", "place", "target", "value")

    def __init__(self, label: str, place: Place, target: Node, name: str, value: object = None) -> None:
        self.label = label
        self.place = place
        self.target = target
        self.name = name
        self.value = value


class Node:
    """One thing that was reached.

    Attributes:
        thing: the object itself.
        name: the first one by which it was reached.
        kind: as in `Ingredient`.
        label: what it is by itself, without what it reaches.
        note: what `explain` should say about it.
        edges: what it reaches by name.
        inside: functions and classes found in it where they have no name.
        through: places on the way to what it reaches, and what stands there: the module of ``mymod.helper``.
        absent: places where nothing stands that would count if something did.
        sized: mappings of which a new entry would count.
    """

    __slots__ = ("absent", "edges", "inside", "kind", "label", "name", "note", "sized", "thing", "through")

    def __init__(self, thing: Any, name: str, kind: Kind) -> None:
        self.thing = thing
        self.name = name
        self.kind: Kind = kind
        self.label = ""
        self.note = ""
        self.edges: list[Edge] = []
        self.inside: list[Node] = []
        self.through: list[tuple[Place, object]] = []
        self.absent: list[Place] = []
        self.sized: list[Sized] = []


class Relabelled(Protocol):
    """Computes the label of data that has functions or classes inside, given theirs."""

    def __call__(self, node: Node, labels: Mapping[int, str], /) -> str: ...


def reachable(root: Node, is_state: Callable[[Place], bool]) -> list[Node]:
    """The nodes that count, `root` first: those behind edges whose place is not the code's own state."""
    found = {id(root): root}
    todo = [root]
    for node in todo:
        named = (edge.target for edge in node.edges if not is_state(edge.place))
        for target in (*named, *node.inside):
            if id(target) not in found:
                found[id(target)] = target
                todo.append(target)
    return todo


def digest_graph(nodes: list[Node], is_state: Callable[[Place], bool], relabel: Relabelled, salt: Iterable[str]) -> str:
    """32 hex digits over all `nodes`, of which the first is the root."""
    labels = {id(node): node.label for node in nodes}
    rounds, known, distinct = 0, 0, len(set(labels.values()))
    while distinct != known:
        labels = {id(node): _refined(node, labels, is_state, relabel) for node in nodes}
        rounds, known, distinct = rounds + 1, distinct, len(set(labels.values()))
    # With all labels of the last round in it, two graphs agree only if their refinements went the same way.
    return _hash([*salt, str(rounds), labels[id(nodes[0])], *sorted(set(labels.values()))])


def _refined(node: Node, labels: Mapping[int, str], is_state: Callable[[Place], bool], relabel: Relabelled) -> str:
    parts = [labels[id(node)], relabel(node, labels)]
    for edge in sorted(node.edges, key=lambda edge: edge.label):
        if not is_state(edge.place):
            parts += (edge.label, labels[id(edge.target)])
    return _hash(parts)


def _hash(parts: Iterable[str]) -> str:
    hasher = blake3.blake3()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hasher.update(b"%d:" % len(data) + data)
    return hasher.hexdigest(16)


def hash_texts(*parts: Any) -> str:
    """32 hex digits of some texts."""
    return _hash(str(part) for part in parts)
