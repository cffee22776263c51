"""Which names a function takes from outside itself: Python's scoping rules over its tree."""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING, TypeAlias

from dynmemo.keys.identity.facts import import_root, parameter_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.keys.identity.facts import Chain

ScopeNode: TypeAlias = (
    ast.FunctionDef
    | ast.AsyncFunctionDef
    | ast.Lambda
    | ast.ClassDef
    | ast.ListComp
    | ast.SetComp
    | ast.DictComp
    | ast.GeneratorExp
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (*FUNCTIONS, ast.ClassDef, *COMPREHENSIONS)


class Scope:
    """The names bound in one function, class body or comprehension, each with what binds it."""

    def __init__(self, node: ScopeNode, parent: Scope | None, owner: str | None = None) -> None:
        self.node = node
        self.parent = parent
        self.owner: str | None = node.name if isinstance(node, ast.ClassDef) else parent.owner if parent else owner
        self.bound: dict[str, list[ast.AST]] = {}
        self.outer: set[str] = set()
        self.is_class = isinstance(node, ast.ClassDef)
        if not isinstance(node, (*COMPREHENSIONS, ast.ClassDef)):
            for argument in _parameters(node.args):
                self._bind(argument.arg, argument)
        for child in own_children(node):
            self._collect(child)
        for name in self.outer:
            self.bound.pop(name, None)

    def _bind(self, name: str, by: ast.AST) -> None:
        self.bound.setdefault(name, []).append(by)

    def _collect(self, node: ast.AST) -> None:
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                self._bind(name, node)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                self._bind(name, node)
            case ast.Import(names=names):
                for alias in names:
                    self._bind(alias.asname or alias.name.partition(".")[0], node)
            case ast.ImportFrom(names=names):
                for alias in names:
                    self._bind(alias.asname or alias.name, node)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                self.outer.update(names)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self._bind(name, node)
            case ast.MatchMapping(rest=str(name)):
                self._bind(name, node)
            case _:
                pass
        if isinstance(node, SCOPES):
            for child in outer_children(node):
                self._collect(child)
            if isinstance(node, COMPREHENSIONS):
                self._collect_walrus(node)
            return
        for child in _unannotated(node):
            self._collect(child)

    def _collect_walrus(self, node: ast.AST) -> None:
        """``:=`` in a comprehension binds in the function around it."""
        for child in ast.walk(node):
            if isinstance(child, ast.NamedExpr):
                self._bind(child.target.id, child)

    def find(self, name: str) -> Scope | None:
        """The scope inside the function that binds `name` as seen from here, None if it comes from outside."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bound and (scope is self or not scope.is_class):
                return scope
            scope = scope.parent
        return None

    def mangled(self, name: str) -> str:
        """`name` as Python knows it in the body of a class: ``__x`` is ``_Model__x``."""
        if self.owner is None or not name.startswith("__") or name.endswith("__"):
            return name
        return f"_{self.owner.lstrip('_')}{name}"

    def chain_of(self, node: ast.expr, depth: int = 0) -> Chain | None:
        """The chain that an expression of names and attributes stands for, None if it does not come from outside."""
        attributes: list[str] = []
        while isinstance(node, ast.Attribute):
            attributes.append(self.mangled(node.attr))
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        root = self._root_of(node.id, depth)
        return None if root is None else (*root, *reversed(attributes))

    def _root_of(self, name: str, depth: int) -> Chain | None:
        scope = self.find(name)
        if scope is None:
            return (self.mangled(name),)
        binders = scope.bound[name]
        if isinstance(binders[0], ast.arg):
            return (parameter_root(name),) if scope.parent is None and len(binders) == 1 else None
        imports = [_imported(binder, name) for binder in binders]
        if any(imports):
            return next(chain for chain in imports if chain)
        return scope._alias(name, depth)

    def _alias(self, name: str, depth: int) -> Chain | None:
        """What a local name stands for that is bound once, to a chain: ``c = cache``."""
        binders = self.bound[name]
        if len(binders) != 1 or depth > 8 or self.is_class:
            return None
        value = self._values.get(id(binders[0]))
        return None if value is None else self.chain_of(value, depth + 1)

    @functools.cached_property
    def _values(self) -> dict[int, ast.expr]:
        """The expression bound to each plain target ``name = expression``, by the id of the target."""
        found: dict[int, ast.expr] = {}
        for node in _walk_own(self.node):
            match node:
                case ast.Assign(targets=[ast.Name() as target], value=value):
                    found[id(target)] = value
                case ast.AnnAssign(target=ast.Name() as target, value=ast.expr() as value):
                    found[id(target)] = value
                case _:
                    pass
        return found


def _unannotated(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a statement or expression, without annotations."""
    skipped = node.annotation if isinstance(node, ast.AnnAssign) else None
    return (child for child in ast.iter_child_nodes(node) if child is not skipped)


def own_children(node: ScopeNode) -> Iterator[ast.AST]:
    """The parts of a definition that run in its own scope."""
    if isinstance(node, COMPREHENSIONS):
        yield from _comprehension_children(node)
    elif isinstance(node, ast.Lambda):
        yield node.body
    else:
        yield from node.body


def outer_children(node: ScopeNode) -> Iterator[ast.AST]:
    """The parts of a definition that run in the scope around it: decorators, defaults, bases, the first iterable."""
    if isinstance(node, COMPREHENSIONS):
        yield node.generators[0].iter
        return
    if isinstance(node, ast.ClassDef):
        yield from (*node.decorator_list, *node.bases, *node.keywords)
        return
    if not isinstance(node, ast.Lambda):
        yield from node.decorator_list
    yield from (*node.args.defaults, *(default for default in node.args.kw_defaults if default is not None))


def _comprehension_children(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, ast.DictComp):
        yield from (node.key, node.value)
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
        yield node.elt
    for index, generator in enumerate(node.generators):  # type: ignore[attr-defined]  # all four have it
        yield from (generator.target, *generator.ifs)
        if index:
            yield generator.iter


def _walk_own(node: ScopeNode) -> Iterator[ast.AST]:
    todo = list(own_children(node))
    while todo:
        child = todo.pop()
        yield child
        todo.extend(outer_children(child) if isinstance(child, SCOPES) else ast.iter_child_nodes(child))


def _parameters(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None)


def _imported(binder: ast.AST, name: str) -> Chain | None:
    if isinstance(binder, ast.Import):
        for alias in binder.names:
            if alias.asname == name:
                return (import_root(0, alias.name),)
            if alias.asname is None and alias.name.partition(".")[0] == name:
                return (import_root(0, name),)
    if isinstance(binder, ast.ImportFrom):
        for alias in binder.names:
            if (alias.asname or alias.name) == name:
                return (import_root(binder.level, binder.module or ""), alias.name)
    return None
