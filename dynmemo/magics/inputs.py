"""Which names a cell may read before it binds them: beside the names that it never binds, those are its inputs.

A name is bound for certain behind a statement that always binds it. In doubt, as after a loop that may run zero times,
the name counts as read. The body of a function is read where its name is, not where it stands.
"""

from __future__ import annotations

import ast
import re
import symtable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def read_before_bound(statements: Sequence[ast.stmt], asked: Iterable[str]) -> set[str]:
    """The names that top-level `statements` may read before they bind them, builtins and other globals among them.

    Args:
        statements: of a cell.
        asked: names that are read at its end.
    """
    reader = _Reader()
    reader.read(asked, reader.follow(statements, set()))
    return reader.found


_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.Lambda, *_COMPREHENSIONS)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_HARMLESS_DECORATORS = frozenset({"classmethod", "property", "staticmethod"})
_SWALLOWS = re.compile("ignor|quiet|raises|silen|suppress")
"""In the name of a context manager behind which its body may have ended early."""


def bound_names(statements: Iterable[ast.AST]) -> set[str]:
    """The global names that top-level `statements` may bind."""
    found: set[str] = set()
    todo = list(statements)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Lambda):
            pass
        elif isinstance(node, _COMPREHENSIONS):
            found |= {one.target.id for one in ast.walk(node) if isinstance(one, ast.NamedExpr)}
        else:
            found |= _bound_here(node)
            todo += ast.iter_child_nodes(node)
    return found


def _bound_here(node: ast.AST) -> set[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            return {name}
        case ast.alias(name=name, asname=asname):
            return {asname or name.partition(".")[0]}
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            return {name}
        case ast.MatchMapping(rest=str(name)):
            return {name}
    return set()


def declared_global(statements: Iterable[ast.AST]) -> set[str]:
    """The global names that functions and classes in `statements` may bind."""
    scopes = [one for node in statements for one in ast.walk(node) if isinstance(one, _DEFINITIONS)]
    return {name for scope in scopes for one in ast.walk(scope) if isinstance(one, ast.Global) for name in one.names}


class _Reader:
    """Follows statements in the order in which they run."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._inside: dict[str, set[str]] = {}
        """What functions and the methods of classes read, by the name under which they are defined."""

    def read(self, names: Iterable[str], bound: set[str]) -> None:
        """These names are read, and with them what the functions of these names read."""
        seen: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += self._inside.get(name, ())
        self.found |= seen - bound

    def follow(self, statements: Sequence[ast.stmt], bound: set[str]) -> set[str]:
        """The names that are bound for certain behind `statements`, if they were `bound` before."""
        for statement in statements:
            bound = self._one(statement, set(bound))
        return bound

    def _one(self, node: ast.stmt, bound: set[str]) -> set[str]:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                now, later = reads_of(node)
                self.read(now, bound)
                self._inside.setdefault(node.name, set()).update(later)
                return bound | {node.name}
            case ast.If(test=test, body=body, orelse=orelse):
                self.read(_names_in(test), bound)
                return _in_all([self._branch(body, bound), self._branch(orelse, bound)], bound)
            case ast.For(target=target, iter=values, body=body, orelse=orelse):
                self.read(_names_in(values) | _names_in_target(target), bound)
                behind = self.follow(body, bound | _targets(target))
                self.follow(orelse, bound)
                return behind if _runs_for_certain(node) else bound
            case ast.While(test=test, body=body, orelse=orelse):
                self.read(_names_in(test), bound)
                self.follow(body, bound)
                self.follow(orelse, bound)
                return bound
            case ast.With(items=items, body=body):
                for item in items:
                    target = item.optional_vars or ast.Tuple([], ast.Store())
                    self.read(_names_in(item.context_expr) | _names_in_target(target), bound)
                    bound = bound | _targets(target)
                behind = self.follow(body, bound)
                return bound if any(_SWALLOWS.search(ast.unparse(item.context_expr)) for item in items) else behind
            case ast.Try() | ast.TryStar():
                return self._try(node, bound)
            case ast.Match(subject=subject, cases=cases):
                self.read(_names_in(subject), bound)
                for case in cases:
                    patterns = bound_names([case.pattern])
                    self.read({one.id for one in ast.walk(case.pattern) if isinstance(one, ast.Name)}, bound)
                    self.read(set() if case.guard is None else _names_in(case.guard), bound | patterns)
                    self.follow(case.body, bound | patterns)
                return bound
            case ast.Delete(targets=targets):
                names = {one.id for one in targets if isinstance(one, ast.Name)}
                self.read(names | _names_in(node), bound)
                return bound - names
        self.read(_names_in(node), bound)
        return bound | _bound_by(node)

    def _branch(self, statements: Sequence[ast.stmt], bound: set[str]) -> set[str] | None:
        """As `follow`; None for a branch that raises in the end."""
        behind = self.follow(statements, bound)
        return None if statements and isinstance(statements[-1], ast.Raise) else behind

    def _try(self, node: ast.Try | ast.TryStar, bound: set[str]) -> set[str]:
        ends = [self._branch([*node.body, *node.orelse], bound)]
        for handler in node.handlers:
            self.read(set() if handler.type is None else _names_in(handler.type), bound)
            caught = {handler.name} if handler.name else set()
            end = self._branch(handler.body, bound | caught)
            ends.append(None if end is None else end - caught)
        return _in_all(ends, bound) | self.follow(node.finalbody, bound)


def _in_all(ends: Sequence[set[str] | None], bound: set[str]) -> set[str]:
    reached = [end for end in ends if end is not None]
    return set.intersection(*reached) if reached else bound


def reads_of(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> tuple[set[str], set[str]]:
    """What a definition reads where it stands, and what it may read when it is used."""
    scopes = [one for one in _table(ast.unparse(node)).get_children() if one.get_name() == node.name]
    later = _in_texts(node).union(*map(_global_in, scopes))
    if isinstance(node, ast.ClassDef):
        parts = node.bases
    else:
        parts = [one for one in ast.walk(node.args) if isinstance(one, ast.expr)]
    parts = [*parts, *node.decorator_list, *(keyword.value for keyword in getattr(node, "keywords", ()))]
    now = set[str]().union(*map(_names_in, parts))
    if isinstance(node, ast.ClassDef):
        now = now.union(*map(_read_in_class, scopes))
    # A decorator may call what it is given.
    inner = [one for one in ast.walk(node) if isinstance(one, _DEFINITIONS)]
    decorators = {ast.unparse(decorator) for one in inner for decorator in one.decorator_list}
    calls = node.decorator_list or (isinstance(node, ast.ClassDef) and decorators - _HARMLESS_DECORATORS)
    return (now | later if calls else now), later


def _read_in_class(table: symtable.SymbolTable) -> set[str]:
    """The names that the body of a class reads where it stands, with those of the class."""
    found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    for child in table.get_children():
        if child.get_name() in {"dictcomp", "genexpr", "lambda", "listcomp", "setcomp"}:
            found |= _global_in(child)
        elif child.get_type() != "function":
            found |= _read_in_class(child)
    return found


def _names_in(node: ast.AST) -> set[str]:
    """The names that an expression or simple statement reads, with what the functions in it may read."""
    if isinstance(node, ast.expr):
        parts = list(ast.walk(node))
        loaded = {one.id for one in parts if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
        if not any(isinstance(one, _SCOPES) for one in parts):
            return loaded | _in_texts(node)
        again = {one.target.id for one in parts if isinstance(one, ast.NamedExpr)}
        # In a function, whose scope has what comprehensions bind in no version of Python.
        return _global_in(_table(f"def _():\n return ({ast.unparse(node)})")) | (again & loaded) | _in_texts(node)
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(getattr(child, "ctx", None), ast.Store | ast.Del):
            found |= _names_in_target(child)
        elif isinstance(child, ast.expr):
            found |= _names_in(child)
    return found | _targets(node.target) if isinstance(node, ast.AugAssign) else found


def _names_in_target(node: ast.AST) -> set[str]:
    """The names that are read to find out where a target stores."""
    inside = [one for one in ast.walk(node) if isinstance(one, ast.Subscript | ast.Attribute)]
    return set[str]().union(*map(_names_in, inside))


def _in_texts(node: ast.AST) -> set[str]:
    """The names in texts for `eval`, and behind an @ in those for the queries of frames."""
    found: set[str] = set()
    for one in ast.walk(node):
        match one:
            case ast.Constant(value=str(text)):
                found.update(re.findall(r"@\s*([^\W\d]\w*)", text))
            case ast.Call(func=ast.Name(id="eval"), args=[ast.Constant(value=str(text)), *_]):
                found.update(re.findall(r"[^\W\d]\w*", text))
    return found


def _table(text: str) -> symtable.SymbolTable:
    return symtable.symtable(text, "<cell>", "exec")


def _global_in(table: symtable.SymbolTable) -> set[str]:
    """The names that the functions and classes in a scope read from outside of all of them, with those of the scope."""
    is_module = table.get_type() == "module"
    found = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and not is_module}
    return found.union(*map(_global_in, table.get_children()))


def _targets(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


def _bound_by(node: ast.stmt) -> set[str]:
    """The names that a simple statement always binds."""
    match node:
        case ast.Assign(targets=targets):
            return set().union(*map(_targets, targets))
        case ast.AugAssign(target=target):
            return _targets(target)
        case ast.AnnAssign(target=target, value=ast.expr()):
            return _targets(target)
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {one.asname or one.name.partition(".")[0] for one in names}
    return set()


def _runs_for_certain(node: ast.For) -> bool:
    """Whether the body of a loop runs to its end at least once: over `range` of numbers, without a way out."""
    if any(isinstance(one, ast.Break | ast.Continue) for one in ast.walk(node)):
        return False
    match node.iter:
        case ast.List(elts=[first, *_]) | ast.Tuple(elts=[first, *_]):
            return not isinstance(first, ast.Starred)
        case ast.Call(func=ast.Name(id="range"), args=arguments, keywords=[]) if arguments:
            numbers = [one.value for one in arguments if isinstance(one, ast.Constant) and type(one.value) is int]
            with suppress(TypeError, ValueError):
                return len(numbers) == len(arguments) and bool(range(*numbers))
    return False
