"""What the reached code changes: of those functions that calls of the root may run.

A class is reached with all its methods, since it cannot be told for certain which of them are called. But what
a method changes is the code's own state only if code that runs calls a method of that name: `Model.configure`,
which the user calls from elsewhere, changes an input.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING

from dynmemo.keys.identity.chains import Chains
from dynmemo.keys.identity.lookup import facts_of

if TYPE_CHECKING:
    from dynmemo.keys.identity.graph import Edge, Node
    from dynmemo.keys.identity.walk import Walk

_METHOD = "attribute "


def find_effects(walk: Walk) -> None:
    """Tell `walk` what is written by all code known so far that runs."""
    _Running(walk).follow()


class _Running:
    """Goes from the root to everything that runs when it does."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._seen: set[int] = set()
        self._todo: list[Node] = []
        self._called: set[str] = set()
        self._waiting: dict[str, list[Node]] = {}

    def follow(self) -> None:
        self._run(self._walk.root)
        for node in self._todo:
            if isinstance(node.thing, type):
                self._class(node)
                continue
            if type(node.thing) is types.FunctionType and not node.label.startswith("pinned:"):
                self._function(node)
            for edge in node.edges:
                self._run(edge.target)
            for inside in node.inside:
                self._run(inside)

    def _run(self, node: Node) -> None:
        if id(node) not in self._seen:
            self._seen.add(id(node))
            self._todo.append(node)

    def _class(self, node: Node) -> None:
        for edge in node.edges:
            name = edge.label.removeprefix(_METHOD)
            if name == edge.label or name in self._called or _runs_unnamed(name, edge):
                self._run(edge.target)
            else:
                self._waiting.setdefault(name, []).append(edge.target)

    def _function(self, node: Node) -> None:
        facts = facts_of(node.thing, own=self._walk.is_own(node.thing))
        if id(node) not in self._walk.effects_known:
            self._walk.effects_known.add(id(node))
            Chains(self._walk, node.thing).apply_effects(facts)
        for name in facts.attributes:
            if name not in self._called:
                self._called.add(name)
                for method in self._waiting.pop(name, ()):
                    self._run(method)


def _runs_unnamed(name: str, edge: Edge) -> bool:
    """Whether a method runs without anybody naming it: an operator, or one that is itself cached and was called."""
    if name.startswith("__") and name.endswith("__"):
        return True
    return type(edge.value).__module__.partition(".")[0] == "dynmemo"
