"""What a function reaches: its defaults, what it has closed over, and the globals that its code names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynmemo.keys.digest.names import module_name
from dynmemo.keys.identity.chains import Chains, default_place
from dynmemo.keys.identity.lookup import facts_of
from dynmemo.keys.identity.own import public_module, stable_name
from dynmemo.keys.identity.pins import pinned
from dynmemo.keys.identity.places import Place, cell_place

if TYPE_CHECKING:
    import types

    from dynmemo.keys.identity.graph import Node
    from dynmemo.keys.identity.walk import Walk


def visit_function(walk: Walk, node: Node) -> None:
    """A plain function, lambda or method."""
    function: types.FunctionType = node.thing
    pin = None if walk.is_users(function) else pinned(function)
    if pin is not None:
        node.label, node.note = f"pinned:{pin}", "pinned by version= or code="
        return
    own = walk.is_own(function)
    facts = facts_of(function, own=own)
    if own:
        node.label = f"tree:{facts.digest}"
        node.note = "" if facts.from_source else "from its bytecode: its source is not at hand"
    else:
        node.label, node.kind = f"name:{_code_name(function)}", "package"
    _closure(walk, node, function, own=own)
    if own:
        _defaults(walk, node, function)
    wrapped = function.__dict__.get("__wrapped__")
    if wrapped is not None and not any(cell_place(cell).get() is wrapped for cell in function.__closure__ or ()):
        walk.edge(node, "wrapped", Place(function.__dict__, "__wrapped__"), "__wrapped__")
    if hasattr(function, "registry") and function.__code__.co_qualname == "singledispatch.<locals>.wrapper":
        node.sized.append(function.registry)
        for cls in function.registry:
            walk.edge(node, f"for {stable_name(cls)}", Place(function.registry, cls), cls.__qualname__)
    if own and walk.globals_too:
        Chains(walk, function).apply_reads(facts, node)


def _code_name(function: types.FunctionType) -> str:
    """The name under which a package defines the function, not the one that `functools.wraps` gave it."""
    module = function.__globals__.get("__name__") or "__main__"
    return f"{public_module(module_name(module))}.{function.__code__.co_qualname}"


def _closure(walk: Walk, node: Node, function: types.FunctionType, *, own: bool) -> None:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if own:
            walk.edge(node, f"cell {name}", cell_place(cell), name, kind="closure")
        else:
            walk.foreign_edge(node, f"cell {name}", cell_place(cell), name)


def _defaults(walk: Walk, node: Node, function: types.FunctionType) -> None:
    code = function.__code__
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        place = default_place(function, name)
        if place is not None:
            walk.edge(node, f"default {name}", place, name, kind="default")
