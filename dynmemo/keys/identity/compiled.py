"""Every function in a statement, by the structure of the code that it compiles to."""

from __future__ import annotations

import ast
import types
from typing import TYPE_CHECKING, NamedTuple

from dynmemo.keys.identity.bytecode import structure
from dynmemo.keys.identity.scope import FUNCTIONS, SCOPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dynmemo.keys.identity.tree import FunctionNode


class Candidate(NamedTuple):
    """A function in a text."""

    line: int
    node: FunctionNode
    owner: str | None
    """The class in whose body it stands, for names that begin with two underscores."""


def functions_in(statement: ast.stmt, imports: Sequence[ast.stmt], flags: int) -> Iterator[tuple[str, Candidate]]:
    """The functions and lambdas of a top-level statement.

    Args:
        statement: as parsed.
        imports: statements to compile along with it. Since Python 3.12 calls of what the module imports are compiled
            in their own way; in a notebook or at the prompt, where statements are compiled one by one, they are not.
        flags: of the ``__future__`` features in force.
    """
    nodes = list(_nodes(statement, None))
    definitions = {
        (first_line(c.node), getattr(c.node, "name", "")): c for c in nodes if not isinstance(c.node, ast.Lambda)
    }
    if definitions:
        for code in _codes(_compile(statement, imports, flags)):
            candidate = definitions.get((code.co_firstlineno, code.co_name))
            if candidate is not None:
                yield structure(code), candidate
    lambdas = [candidate for candidate in nodes if isinstance(candidate.node, ast.Lambda)]
    if lambdas:
        yield from _lambdas(statement, imports, lambdas, flags)


def names_of_functions(statement: ast.stmt) -> set[str]:
    """The names of the functions in a top-level statement, as their code objects have them."""
    return {getattr(node, "name", "<lambda>") for node in ast.walk(statement) if isinstance(node, FUNCTIONS)}


def _lambdas(
    statement: ast.stmt, imports: Sequence[ast.stmt], lambdas: list[Candidate], flags: int
) -> Iterator[tuple[str, Candidate]]:
    """Lambdas share lines, so each is moved to lines of its own while they are compiled."""
    stride = (statement.end_lineno or statement.lineno) + 1
    numbers = {id(candidate.node): number for number, candidate in enumerate(lambdas, start=1)}
    _move(statement, 0, stride, numbers)
    try:
        places = {candidate.node.lineno: candidate for candidate in lambdas}
        compiled = list(_codes(_compile(statement, imports, flags)))
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


def _compile(statement: ast.stmt, imports: Sequence[ast.stmt], flags: int) -> types.CodeType:
    module = ast.Module([*imports, statement], [])
    # In cells an `await` may stand outside of a function.
    flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code: types.CodeType = compile(module, "<source>", "exec", flags=flags, dont_inherit=True)
    return code


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield value
            yield from _codes(value)


def _nodes(node: ast.AST, owner: str | None) -> Iterator[Candidate]:
    if isinstance(node, FUNCTIONS):
        yield Candidate(first_line(node), node, owner)
    inside = node.name if isinstance(node, ast.ClassDef) else owner
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child, inside)


def first_line(node: FunctionNode) -> int:
    """The line that a code object compiled from `node` calls its first: that of the first decorator."""
    if isinstance(node, ast.Lambda):
        return node.lineno
    return min((decorator.lineno for decorator in node.decorator_list), default=node.lineno)


def module_imports(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The imports of a module, apart from those in functions and classes and those from ``__future__``."""
    found: list[ast.stmt] = []
    todo: list[ast.AST] = list(statements)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__"):
            found.append(node)
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case) and not isinstance(node, SCOPES):
            todo.extend(ast.iter_child_nodes(node))
    return found
