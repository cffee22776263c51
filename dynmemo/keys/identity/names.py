"""What a function reads from outside itself and what it changes there, from its tree."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from dynmemo.keys.identity.facts import BIND, ITEM, ITEM_CALL, Facts, Write, import_root, parameter_name
from dynmemo.keys.identity.scope import SCOPES, Scope, outer_children, own_children
from dynmemo.keys.identity.tree import tree_digest
from dynmemo.keys.identity.words import words

if TYPE_CHECKING:
    from dynmemo.keys.identity.facts import Chain
    from dynmemo.keys.identity.scope import ScopeNode
    from dynmemo.keys.identity.tree import FunctionNode

MUTATORS = words(
    "__delitem__ __setitem__ add append appendleft clear difference_update discard extend extendleft fill insert "
    "intersection_update move_to_end partition pop popitem popleft put put_nowait remove resize reverse rotate "
    "setdefault sort subtract symmetric_difference_update update"
)
"""Methods that may change what they are called on; whether they do is decided by its type."""

_ANNOTATION_FIELDS = frozenset({"annotation", "returns", "type_params"})


def tree_facts(node: FunctionNode, owner: str | None) -> Facts:
    """The facts of a function's tree; `owner` is the class in whose body it stands."""
    reader = _Reader(Scope(node, None, owner))
    return Facts(
        tree_digest(node),
        True,
        tuple(sorted(reader.reads)),
        tuple(sorted(reader.writes)),
        tuple(sorted(reader.attributes)),
    )


class _Reader:
    """Visits every expression that runs when the function does, with the scope it runs in."""

    def __init__(self, scope: Scope) -> None:
        self.reads: set[Chain] = set()
        self.writes: set[Write] = set()
        self.attributes: set[str] = set()
        self._scope(scope)

    def _scope(self, scope: Scope) -> None:
        for child in own_children(scope.node):
            self._visit(child, scope)

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, SCOPES):
            self._definition(node, scope)
            return
        match node:
            case ast.Name():
                self._name(node, scope)
            case ast.Attribute():
                self._attributes_of(node, scope)
                self._attribute(node, scope)
                if scope.chain_of(node) is not None:
                    return
            case ast.Subscript(ctx=ast.Store() | ast.Del()):
                self._write(node.value, ITEM, scope)
            case ast.AugAssign(target=target):
                self._augmented(target, scope)
            case ast.Subscript(value=holder):
                self._use(holder, "__getitem__", scope)
            case ast.Call(func=func):
                self._call(func, scope)
            case ast.Import(names=names):
                self._imports(names, scope)
                self.reads.update((import_root(0, alias.name),) for alias in names)
            case ast.ImportFrom(names=names):
                self._imports(names, scope)
                self.reads.update((import_root(node.level, node.module or ""), alias.name) for alias in names)
            case _:
                pass
        for field, value in ast.iter_fields(node):
            if field in _ANNOTATION_FIELDS and not (scope.is_class and isinstance(node, ast.AnnAssign)):
                continue
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.AST):
                    self._visit(child, scope)

    def _definition(self, node: ScopeNode, scope: Scope) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._bound(node.name, scope)
        for child in outer_children(node):
            self._visit(child, scope)
        self._scope(Scope(node, scope))

    def _name(self, node: ast.Name, scope: Scope) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._bound(node.id, scope)
            return
        found = scope.find(node.id)
        chain = scope.chain_of(node)
        if chain is not None:
            self._read(chain)
        if found is not None and found.is_class:
            self.reads.add(
                (scope.mangled(node.id),)
            )  # read before it is bound in the class body, it comes from outside

    def _bound(self, name: str, scope: Scope) -> None:
        if scope.find(name) is None:
            self.writes.add(Write((scope.mangled(name),), BIND))

    def _imports(self, names: list[ast.alias], scope: Scope) -> None:
        for alias in names:
            self._bound(alias.asname or alias.name.partition(".")[0], scope)

    def _attribute(self, node: ast.Attribute, scope: Scope) -> None:
        chain = scope.chain_of(node)
        if chain is not None and isinstance(node.ctx, ast.Load):
            self._read(chain)
        elif chain is not None:
            self.writes.add(Write(chain, BIND))
            self._read(chain[:-1])

    def _attributes_of(self, node: ast.expr, scope: Scope) -> None:
        while isinstance(node, ast.Attribute):
            self.attributes.add(scope.mangled(node.attr))
            node = node.value

    def _augmented(self, target: ast.expr, scope: Scope) -> None:
        """``seen += [x]`` on an attribute or item is seen as a store; the target is read as well."""
        if isinstance(target, ast.Attribute):
            chain = scope.chain_of(target)
            if chain is not None:
                self._read(chain)

    def _write(self, holder: ast.expr, how: str, scope: Scope) -> None:
        chain = scope.chain_of(_under_items(holder))
        if chain is not None:
            self.writes.add(Write(chain, how))

    def _call(self, func: ast.expr, scope: Scope) -> None:
        self._use(func, "__call__", scope)
        if isinstance(func, ast.Attribute) and func.attr in MUTATORS:
            direct = not isinstance(func.value, ast.Subscript)
            self._write(func.value, func.attr if direct else ITEM_CALL + func.attr, scope)

    def _use(self, holder: ast.expr, method: str, scope: Scope) -> None:
        """An operator that calls a method of an object from outside."""
        chain = scope.chain_of(holder)
        if chain is not None:
            self._read((*chain, method))

    def _read(self, chain: Chain) -> None:
        if len(chain) > 1 or parameter_name(chain[0]) is None:
            self.reads.add(chain)


def _under_items(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node
