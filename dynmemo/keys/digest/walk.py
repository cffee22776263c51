"""From a value to its bytes: one loop with a stack of its own, so that no nesting is too deep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynmemo.keys.digest import stability
from dynmemo.keys.digest.cycles import Graph
from dynmemo.keys.digest.dispatch import HANDLERS, learn
from dynmemo.keys.digest.encoding import seal
from dynmemo.keys.digest.names import type_name
from dynmemo.keys.digest.refusal import Refusal
from dynmemo.keys.digest.scalars import LEAVES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dynmemo.keys.digest.node import Order

_DEEPEST = 100_000
_LONGEST_PATH = 12


def encode(value: object, where: str, *, check: bool = True) -> bytes:
    """The canonical bytes of `value`, which error messages call `where`.

    With `check`, objects digested by a state of their own making are looked at once per class:
    they must survive being pickled and rebuilt.
    """
    leaf = LEAVES.get(type(value))
    return leaf(value) if leaf is not None else _Walk(where, check=check).encode(value)


class _Open:
    """A value whose parts are being encoded."""

    __slots__ = ("children", "head", "order", "parts", "rest", "value")

    def __init__(self, value: object, head: bytes, children: Sequence[object], order: Order) -> None:
        self.value = value
        self.head = head
        self.children = children
        self.order = order
        self.parts: list[bytes] = []
        self.rest: Iterator[object] = iter(children)


class _Closed(Exception):  # noqa: N818
    """A cycle was found, and encoded as a whole: the values on it are no longer open."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class _Walk:
    """One digest. A value met again costs nothing, however often a structure shares it."""

    def __init__(self, where: str, *, check: bool) -> None:
        self._where = where
        self._check = check
        self._stack: list[_Open] = []
        self._open: dict[int, int] = {}  # id of an open value -> its place in the stack
        # The value is kept along with its bytes: an id is its own only as long as it lives.
        self._done: dict[int, tuple[object, bytes]] = {}

    def encode(self, value: object) -> bytes:
        try:
            return self._encode(value)
        except Refusal as refusal:
            raise refusal.at(self._path()) from refusal.__cause__

    def _encode(self, value: object) -> bytes:
        data = self._enter(value)
        while self._stack:
            try:
                data = self._go_on(self._stack[-1], data)
            except _Closed as closed:
                data = closed.data
        assert data is not None  # noqa: S101 - the stack is empty when its last value has been encoded
        return data

    def _go_on(self, top: _Open, data: bytes | None) -> bytes | None:
        """Encode the parts of `top`, of which `data` is the next, until one has parts itself."""
        parts = top.parts
        if data is not None:
            parts.append(data)
        for child in top.rest:
            leaf = LEAVES.get(type(child))
            if leaf is not None:
                parts.append(leaf(child))
                continue
            data = self._enter(child)
            if data is None:
                return None
            parts.append(data)
        return self._leave(top)

    def _enter(self, value: object) -> bytes | None:
        """The encoding of `value`, or None when its parts have to be encoded first."""
        mark = id(value)
        known = self._done.get(mark)
        if known is not None:
            return known[1]
        if mark in self._open:
            raise _Closed(self._close_cycle(self._open[mark]))
        kind = type(value)
        taken = (HANDLERS.get(kind) or learn(kind))(value)
        if isinstance(taken, bytes):
            if taken.startswith(b"#"):
                self._done[mark] = value, taken
            return taken
        if len(self._stack) >= _DEEPEST:
            raise Refusal(kind, f"nested more than {_DEEPEST:,} levels deep")
        self._open[mark] = len(self._stack)
        self._stack.append(_Open(value, *taken))
        return None

    def _leave(self, top: _Open) -> bytes:
        data = seal(top.head + top.order.join(top.parts))
        self._stack.pop()
        del self._open[id(top.value)]
        if top.order.check and self._check and not stability.is_checked(type(top.value)):
            self._insist_on_stability(top.value, {type(top.value)})
        if data.startswith(b"#"):
            self._done[id(top.value)] = top.value, data
        return data

    def _close_cycle(self, place: int) -> bytes:
        """The encoding of the outermost open value that the one at `place` leads back to."""
        while True:
            graph = Graph(self._stack[place].value, self._done, self._path(place))
            outermost = min(self._open[mark] for mark in graph.ids & self._open.keys())
            if outermost == place:
                break
            place = outermost
        data = graph.encode()
        root = self._stack[place].value
        for closed in self._stack[place:]:
            del self._open[id(closed.value)]
        del self._stack[place:]
        classes = {cls for cls in graph.unchecked if not stability.is_checked(cls)}
        if classes and self._check:
            self._insist_on_stability(root, classes)
        self._done[id(root)] = root, data
        return data

    def _insist_on_stability(self, value: object, classes: set[type]) -> None:
        if not stability.survives(value, lambda some: encode(some, self._where, check=False), classes):
            name = type_name(type(value))
            raise Refusal(
                type(value), f"an object of type {name}, whose content changes when it is pickled and read back"
            )

    def _path(self, depth: int | None = None) -> str:
        steps = [open_.order.step(open_.children, len(open_.parts)) for open_ in self._stack[:depth]]
        steps = [step for step in steps if step]
        if len(steps) > _LONGEST_PATH:
            steps[_LONGEST_PATH // 2 : -_LONGEST_PATH // 2] = ["..."]
        return self._where + "".join(steps)
