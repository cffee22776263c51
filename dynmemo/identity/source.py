"""The tree from which a code object was compiled, for certain or not at all.

A file may have been edited since it was imported, a name may stand in it twice, several lambdas may stand
on one line. So a tree is accepted only if it compiles to the structure of the code object at hand. Where
two trees do (``lambda: 1 + 1, lambda: 2``), they do the same.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import threading
import types
from typing import TYPE_CHECKING, Any, NamedTuple

from dynmemo._forks import new_lock_in_children
from dynmemo.identity.bytecode import structure
from dynmemo.identity.names import tree_facts
from dynmemo.identity.scope import FUNCTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dynmemo.identity.facts import Facts
    from dynmemo.identity.tree import FunctionNode

_FUTURE_FLAGS = 0
for _feature in __future__.all_feature_names:
    _FUTURE_FLAGS |= getattr(__future__, _feature).compiler_flag


class _Candidate(NamedTuple):
    line: int
    node: FunctionNode
    owner: str | None
    """The class in whose body it stands, for names that begin with two underscores."""


def source_facts(code: types.CodeType, namespace: Mapping[str, Any]) -> Facts | None:
    """The facts of the tree behind `code`, None if there is no source that is certain to be its own.

    Args:
        code: of a function or lambda.
        namespace: the globals of the function, whose loader may know the source of a zipped module.
    """
    for text in _texts(code.co_filename, namespace):
        found = _sources.find(code.co_filename, text, code)
        if found is not None:
            try:
                return tree_facts(found.node, found.owner)
            except RecursionError:
                return None
    return None


def _texts(filename: str, namespace: Mapping[str, Any]) -> Iterator[str]:
    """The source as `linecache` has it, which knows notebook cells, and as it is now if that differs."""
    lines = linecache.getlines(filename, dict(namespace))
    if lines:
        yield "".join(lines)
    linecache.checkcache(filename)
    fresh = linecache.getlines(filename, dict(namespace))
    if fresh and fresh is not lines:
        yield "".join(fresh)


class _Source:
    """One text and its functions by the structure of their code; each top-level statement is compiled when needed."""

    def __init__(self, text: str, statements: list[ast.stmt]) -> None:
        self.text = text
        self._statements = statements
        self._indexed: set[tuple[int, int]] = set()
        self._found: dict[tuple[int, str], list[_Candidate]] = {}

    def find(self, code: types.CodeType) -> _Candidate | None:
        flags = code.co_flags & _FUTURE_FLAGS
        key = (flags, structure(code))
        for index in self._likely(code):
            self._index(index, flags)
            if key in self._found:
                return min(self._found[key], key=lambda candidate: abs(candidate.line - code.co_firstlineno))
        return None

    def _likely(self, code: types.CodeType) -> list[int]:
        """The statements, the one at the line of the code first."""
        line = code.co_firstlineno
        return sorted(range(len(self._statements)), key=lambda index: not _spans(self._statements[index], line))

    def _index(self, index: int, flags: int) -> None:
        if (index, flags) in self._indexed:
            return
        self._indexed.add((index, flags))
        for key, candidate in _functions(self._statements[index], flags):
            self._found.setdefault((flags, key), []).append(candidate)


def _spans(statement: ast.stmt, line: int) -> bool:
    first = min((node.lineno for node in getattr(statement, "decorator_list", ())), default=statement.lineno)
    return first <= line <= (statement.end_lineno or statement.lineno)


def _functions(statement: ast.stmt, flags: int) -> Iterator[tuple[str, _Candidate]]:
    """Every function in a statement, by the structure of its code."""
    nodes = list(_nodes(statement, None))
    definitions = {
        (first_line(c.node), getattr(c.node, "name", "")): c for c in nodes if not isinstance(c.node, ast.Lambda)
    }
    if definitions:
        for code in _codes(_compile(statement, flags)):
            candidate = definitions.get((code.co_firstlineno, code.co_name))
            if candidate is not None:
                yield structure(code), candidate
    lambdas = [candidate for candidate in nodes if isinstance(candidate.node, ast.Lambda)]
    if lambdas:
        yield from _lambdas(statement, lambdas, flags)


def _lambdas(statement: ast.stmt, lambdas: list[_Candidate], flags: int) -> Iterator[tuple[str, _Candidate]]:
    """Lambdas share lines, so each is moved to lines of its own while they are compiled."""
    stride = (statement.end_lineno or statement.lineno) + 1
    numbers = {id(candidate.node): number for number, candidate in enumerate(lambdas, start=1)}
    _move(statement, 0, stride, numbers)
    try:
        places = {candidate.node.lineno: candidate for candidate in lambdas}
        compiled = list(_codes(_compile(statement, flags)))
    finally:
        _move(statement, 0, -stride, numbers)
    for code in compiled:
        if code.co_name == "<lambda>" and code.co_firstlineno in places:
            yield structure(code), places[code.co_firstlineno]


def _move(node: ast.AST, by: int, stride: int, numbers: Mapping[int, int]) -> None:
    by = stride * numbers.get(id(node), 0) or by
    if hasattr(node, "lineno"):
        node.lineno += by
        node.end_lineno += by  # type: ignore[attr-defined]  # ast.parse gives both or none
    for child in ast.iter_child_nodes(node):
        _move(child, by, stride, numbers)


def _compile(statement: ast.stmt, flags: int) -> types.CodeType:
    module = ast.Module([statement], [])
    code: types.CodeType = compile(module, "<source>", "exec", flags=flags, dont_inherit=True)
    return code


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield value
            yield from _codes(value)


def _nodes(node: ast.AST, owner: str | None) -> Iterator[_Candidate]:
    if isinstance(node, FUNCTIONS):
        yield _Candidate(first_line(node), node, owner)
    inside = node.name if isinstance(node, ast.ClassDef) else owner
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child, inside)


def first_line(node: FunctionNode) -> int:
    """The line that a code object compiled from `node` calls its first: that of the first decorator."""
    if isinstance(node, ast.Lambda):
        return node.lineno
    return min((decorator.lineno for decorator in node.decorator_list), default=node.lineno)


class _Sources:
    """The texts parsed so far, by file name.

    One thread at a time, because trees are changed while they are compiled.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Source | None] = {}
        new_lock_in_children(self)

    def find(self, filename: str, text: str, code: types.CodeType) -> _Candidate | None:
        """The tree in `text` that compiles to `code`."""
        with self._lock:
            source = self._known.get(filename)
            if source is None or source.text != text:
                source = self._known[filename] = _parsed(text)
            return None if source is None else source.find(code)


def _parsed(text: str) -> _Source | None:
    try:
        return _Source(text, ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError):
        return None


_sources = _Sources()
