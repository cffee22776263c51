"""Values that contain themselves.

Such a value is a graph. Its nodes are sorted into classes by what they are and what they point to,
finer and finer until nothing changes; the classes and how they lead to each other are the content.
So shared and separate equal parts are the same here as well, and no order of sets or dicts matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blake3 import blake3

from dynmemo.keys.digest.dispatch import HANDLERS, learn
from dynmemo.keys.digest.refusal import Refusal
from dynmemo.keys.digest.scalars import LEAVES

if TYPE_CHECKING:
    from dynmemo.keys.digest.node import Node

Done = dict[int, tuple[object, bytes]]
_Place = tuple["_Vertex", int]


class _Vertex:
    """A value with parts: each is an encoding, or the number of another vertex."""

    __slots__ = ("children", "head", "order", "parts", "place", "value")

    def __init__(self, value: object, taken: Node, place: _Place | None) -> None:
        self.value = value
        self.head, self.children, self.order = taken
        self.place = place
        self.parts: list[bytes | int] = []

    def encode(self, colors: list[bytes]) -> bytes:
        parts = [part if isinstance(part, bytes) else colors[part] for part in self.parts]
        return blake3(self.head + self.order.join(parts)).digest()


class Graph:
    """Everything that `root` leads to, each value once.

    `done` holds what is encoded already. `where` is the path of the root in error messages.
    """

    def __init__(self, root: object, done: Done, where: str) -> None:
        self._done = done
        self._where = where
        self._numbers: dict[int, int] = {}
        self._vertices: list[_Vertex] = []
        self._add(root, None)
        for vertex in self._vertices:  # grows while it is walked through
            for index, child in enumerate(vertex.children):
                vertex.parts.append(self._part(child, (vertex, index)))

    @property
    def ids(self) -> set[int]:
        return set(self._numbers)

    @property
    def unchecked(self) -> set[type]:
        """The classes with a say in their own pickling."""
        return {type(vertex.value) for vertex in self._vertices if vertex.order.check}

    def encode(self) -> bytes:
        """The encoding of the root."""
        colors = [b"?"] * len(self._vertices)
        count = 1
        while True:
            finer = [vertex.encode(colors) for vertex in self._vertices]
            if len(set(finer)) == count:
                break
            colors, count = finer, len(set(finer))
        classes = sorted(set(zip(colors, finer, strict=True)))
        return b"#" + blake3(b"@" + finer[0] + b"".join(color + content for color, content in classes)).digest()

    def _part(self, child: object, place: _Place) -> bytes | int:
        leaf = LEAVES.get(type(child))
        if leaf is not None:
            return leaf(child)
        known = self._done.get(id(child))
        if known is not None:
            return known[1]
        number = self._numbers.get(id(child))
        return self._add(child, place) if number is None else number

    def _add(self, value: object, place: _Place | None) -> bytes | int:
        try:
            taken = (HANDLERS.get(type(value)) or learn(type(value)))(value)
        except Refusal as refusal:
            raise refusal.at(self._where + _path(place)) from refusal.__cause__
        if isinstance(taken, bytes):
            return taken
        self._numbers[id(value)] = len(self._vertices)
        self._vertices.append(_Vertex(value, taken, place))
        return len(self._vertices) - 1


def _path(place: _Place | None) -> str:
    steps = []
    while place is not None:
        vertex, index = place
        steps.append(vertex.order.step(vertex.children, index))
        place = vertex.place
    return "".join(reversed(steps))
