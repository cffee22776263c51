"""The list of everything that went into a fingerprint, for people."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.keys.identity.graph import Edge, Kind, Node
    from dynmemo.keys.identity.tracker import Snapshot

_SHORT = 12


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One thing that a code fingerprint was made of, or that was left out of it on purpose."""

    kind: Kind
    name: str
    """As the user would say it: ``smooth``, ``Model.predict``, ``settings.SCALE``."""
    digest: str | None
    """The first digits of the digest of this thing alone; None if it has none."""
    note: str = ""


def ingredients_of(snapshot: Snapshot, versions: dict[str, str]) -> list[Ingredient]:
    """The function itself first, then what it reaches, by kind and name."""
    root = snapshot.nodes[0]
    first = _of(root, _code_name(root, root))
    found = set(_reached(snapshot))
    for _, name in snapshot.walk.written.values():
        found.add(Ingredient("state", name, None, "changed by the code itself, so it is left out"))
    packages = {one.name for one in found if one.kind == "package"}
    found = {one for one in found if one.kind != "package"}
    for name in packages | set(versions):
        note = (
            f"version {versions[name]}"
            if name in versions
            else "not followed; depends_on= puts its version into the key"
        )
        found.add(Ingredient("package", name, None, note))
    return [first, *sorted(found - {first}, key=lambda one: (one.kind, one.name, one.digest or ""))]


def _reached(snapshot: Snapshot) -> Iterator[Ingredient]:
    root = snapshot.nodes[0]
    names = {id(root): _code_name(root, root)}
    for node in snapshot.nodes:
        for edge in node.edges:
            if snapshot.walk.is_state(edge.place):
                continue
            names.setdefault(id(edge.target), _edge_name(node, edge, root, names))
            yield from _ingredient(edge.target, names[id(edge.target)])
        for inside in node.inside:
            names.setdefault(id(inside), _code_name(inside, root))
            yield from _ingredient(inside, names[id(inside)])


def _ingredient(node: Node, name: str) -> Iterator[Ingredient]:
    if node.kind == "package":
        top = node.label.partition(":")[2].partition(".")[0]
        if top not in sys.stdlib_module_names and top not in {"dynmemo", "builtins"}:
            yield Ingredient("package", top, None)
    elif node.label.partition(":")[0] in {"tree", "class", "data", "opaque", "module", "pinned"}:
        yield _of(node, name)


def _of(node: Node, name: str) -> Ingredient:
    kind, _, digest = node.label.partition(":")
    return Ingredient(node.kind, name, digest[:_SHORT] if kind in {"tree", "class", "data"} else None, node.note)


def _edge_name(source: Node, edge: Edge, root: Node, names: dict[int, str]) -> str:
    target = edge.target
    if isinstance(target.thing, types.FunctionType | type):
        return _code_name(target, root)
    owner = names.get(id(source), "")
    if target.kind in {"closure", "default"}:
        return edge.name if source is root else f"{owner}.{edge.name}"
    if edge.label.startswith("attribute ") and not isinstance(source.thing, type):
        return f"{owner}.{edge.label.removeprefix('attribute ')}"
    return edge.name if _module(source) in {_module(root), None} else f"{_module(source)}.{edge.name}"


def _code_name(node: Node, root: Node) -> str:
    name = str(getattr(node.thing, "__qualname__", type(node.thing).__name__)).rpartition("<locals>.")[2]
    module = _module(node)
    return name if module in {_module(root), None} else f"{module}.{name}"


def _module(node: Node) -> str | None:
    return getattr(node.thing, "__module__", None)
