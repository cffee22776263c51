"""From a value to its bytes: one loop with a stack of its own, so that no nesting is too deep.

A value is taken apart into named children by the reader of its kind, and its bytes are made of theirs. Functions,
classes and modules are values as well. A value met again costs nothing, however often a structure shares it. Values
that lead back to themselves are found on the way (Tarjan): such a group is sorted into classes by what its members are
and lead to, finer and finer until nothing changes, so equal parts are the same there as well, shared or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from blake3 import blake3

from dynmemo.keys.encoding import InWalk, seal
from dynmemo.keys.own import type_name
from dynmemo.keys.refusal import NoStableContent, Refusal
from dynmemo.keys.scalars import LEAVES
from dynmemo.keys.table import READERS, learn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dynmemo.keys.encoding import Node, Order

_DEEPEST = 100_000
_LONGEST_PATH = 12


class Open:
    """A value whose children are being encoded."""

    __slots__ = ("begin", "children", "cyclic", "data", "head", "low", "order", "parts", "rest", "value")

    def __init__(self, value: object, head: bytes, children: Sequence[object], order: Order, number: int) -> None:
        self.value = value
        self.head = head
        self.children = children
        self.order = order
        self.parts: list[Any] = []  # bytes, or another `Open` of the same circle
        self.rest: Iterator[object] = iter(children)
        self.low = number  # the outermost open value that this one leads back to
        self.begin = 0  # of those that lead back to it in `Walk._circle`
        self.cyclic = False
        self.data = b""  # once its circle is closed

    def encode(self, colors: dict[int, bytes]) -> bytes:
        parts = [part if type(part) is bytes else part.data or colors[id(part)] for part in self.parts]
        return blake3(self.head + self.order.join(parts)).digest()


class Walk:
    """One walk over a value.

    Args:
        where: what error messages call the value.
        code: says what stands for functions, classes and modules, or how they are taken apart.
        loose: the order of dicts does not count.
        check: told of every value that has a say in its own pickling.
    """

    follows = False
    """Whether code is walked through, and what counts is what a function reads."""

    @property
    def strict(self) -> bool:
        """Whether what is read now is (in) an argument."""
        return True

    def instance(self, value: object) -> None:
        """An object of an own class was met."""

    def foreign(self) -> None:
        """An object of a package was met, whose methods are not read: they may change what holds it."""

    def __init__(
        self,
        where: str,
        code: Callable[[Any, Walk], bytes | Node],
        *,
        loose: bool = False,
        check: Callable[[Any, Walk], None] | None = None,
    ) -> None:
        self.where = where
        self.code = code
        self.loose = loose
        self.not_stored = ""
        """Why a result that depends on this value must not be stored."""
        self._check = check
        self._stack: list[Open] = []
        self._open: dict[int, int] = {}  # id of an open value -> its place in the stack
        self._circle: list[Open] = []  # values that are through and lead back to an open one
        self._in_circle: dict[int, Open] = {}
        # The value is kept along with its bytes: an id is its own only as long as it lives.
        self.done: dict[int, tuple[object, bytes]] = {}

    def encode(self, value: object) -> bytes:
        """The canonical bytes of `value`.

        Raises:
            NoStableContent: it, or something inside it, has no content.
        """
        try:
            data = self._enter(value)
            while self._stack:
                data = self._go_on(self._stack[-1], data)
        except Refusal as refusal:
            raise refusal.at(self.path()) from refusal.__cause__
        except NoStableContent:
            raise
        except RecursionError as error:
            raise Refusal(type(value), "an object that is nested too deep to be read").at(self.path()) from error
        encoding: bytes = data  # the stack is empty when its last value has been encoded
        return encoding

    def _go_on(self, top: Open, data: Any) -> Any:
        """Encode the children of `top`, of which `data` is the next, until one has children itself."""
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

    def _enter(self, value: object) -> Any:
        """The encoding of `value`; None when its children have to be encoded first."""
        mark = id(value)
        known = self.done.get(mark)
        if known is not None:
            return known[1]
        place = self._open.get(mark)
        if place is not None:
            self._stack[-1].low = min(self._stack[-1].low, place)
            self._stack[place].cyclic = True
            return self._stack[place]
        member = self._in_circle.get(mark)
        if member is not None:
            top = self._stack[-1]
            top.low = min(top.low, member.low)
            return member
        kind = type(value)
        reader = READERS.get(kind) or learn(kind)
        try:
            taken = reader.read(value, self) if isinstance(reader, InWalk) else reader(value)
        except NoStableContent as inside:  # of a function or class, by itself
            path = f"{self.path()} ({inside.path})"
            raise NoStableContent(path, inside.type_name, inside.reason, inside.advice) from None
        except (Refusal, RecursionError):
            raise
        except Exception as error:
            raise Refusal(kind, f"an object of type {type_name(kind)}, which cannot be taken apart") from error
        if isinstance(taken, bytes):
            if taken.startswith(b"#"):
                self.done[mark] = value, taken
            return taken
        number = len(self._stack)
        if number >= _DEEPEST:
            raise Refusal(kind, f"nested more than {_DEEPEST:,} levels deep")
        self._open[mark] = number
        head, children, order = taken
        opened = Open(value, head, children, order, number)
        opened.begin = len(self._circle)
        self._stack.append(opened)
        return None

    def _leave(self, top: Open) -> Any:
        number = len(self._stack) - 1
        self._stack.pop()
        del self._open[id(top.value)]
        order = top.order
        if order.check and self._check is not None:
            self._check(top.value, self)
        order.left(top, self)
        if top.low < number:  # it belongs to the circle of an open value
            self._circle.append(top)
            self._in_circle[id(top.value)] = top
            self._stack[-1].low = min(self._stack[-1].low, top.low)
            return top
        if top.cyclic:
            self._close_circle(top)
            return top.data
        data = seal(top.head + (order.loose or order if self.loose else order).join(top.parts))
        if data.startswith(b"#"):
            self.done[id(top.value)] = top.value, data
        return data

    def _close_circle(self, root: Open) -> None:
        members = [root, *self._circle[root.begin :]]
        del self._circle[root.begin :]
        colors, count = {id(member): b"?" for member in members}, 1
        while True:
            finer = {id(member): member.encode(colors) for member in members}
            if len(set(finer.values())) == count:
                break
            colors, count = finer, len(set(finer.values()))
        classes = b"".join(b"".join(pair) for pair in sorted({(colors[mark], finer[mark]) for mark in finer}))
        for member in members:
            self._in_circle.pop(id(member.value), None)
        for member in members:
            member.data = b"#" + blake3(b"@" + finer[id(member)] + classes).digest()
            self.done[id(member.value)] = member.value, member.data

    def path(self) -> str:
        """Where the walk is."""
        steps = [top.order.step(top.children, len(top.parts)) for top in self._stack]
        steps = [step for step in steps if step]
        if len(steps) > _LONGEST_PATH:
            steps[_LONGEST_PATH // 2 : -_LONGEST_PATH // 2] = ["..."]
        return self.where + "".join(steps)
