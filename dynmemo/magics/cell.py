"""A cell as a key sees it: a function that takes nothing and reads the same global names, and is never called."""

from __future__ import annotations

import ast
import copy
import inspect
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynmemo.errors import InvalidOptionError
from dynmemo.keys.reading import read_tree
from dynmemo.keys.source import install, structure
from dynmemo.magics.inputs import bound_names, declared_global, read_before_bound, reads_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FORMAT = 1
"""The number of the form in which what a cell did is stored; another form never shares a key with this one."""

HARMLESS = frozenset({"autoreload", "config", "load_ext", "matplotlib", "precision", "reload_ext"})
"""Line magics that have no bearing on a value."""

_RUN_WHAT_NO_KEY_SEES = frozenset({"system", "getoutput", "run_cell_magic", "run_line_magic", "ev", "ex", "run_cell"})
_RUN_TEXT = frozenset({"eval", "exec"})
_GIVE_ALL_NAMES = frozenset({"globals", "locals", "vars"})
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell."""

    statements: Sequence[ast.stmt]
    """What runs."""
    shown: frozenset[ast.stmt]
    """Expressions among these whose values are shown."""
    names: tuple[str, ...]
    """What it is to bind, in order of the alphabet."""
    bound: frozenset[str]
    """The global names that it may bind."""
    function: types.FunctionType
    """What its key is made from."""

    @property
    def definitions(self) -> list[ast.stmt]:
        """Its imports, functions and classes, and the harmless magics; they run again on a hit."""
        return [one for one in self.statements if _defines(one) or _harmless(one)]

    @property
    def has_classes(self) -> bool:
        """Whether what it binds may be of its own classes."""
        return any(isinstance(one, ast.ClassDef) for one in self.statements)

    @property
    def assigned(self) -> frozenset[str]:
        """The names that it binds by other statements than definitions."""
        rest = [one for one in self.statements if not _defines(one)]
        return frozenset(bound_names(_plain(rest)) | declared_global(self.statements))

    @property
    def needed(self) -> frozenset[str]:
        """Those of them without which its functions and classes would not do on a hit what they do here."""
        again = bound_names(_plain(self.definitions))
        return self.assigned & again.union(*_reads(self.statements).values())

    @property
    def unsettled(self) -> frozenset[str]:
        """Those of them that its functions and classes read where they stand, and that are bound behind that again."""
        found = declared_global(self.statements) & set().union(*_reads(self.statements, now=True).values())
        for node, names in _reads(self.statements, now=True).items():
            behind = self.statements[self.statements.index(node) + 1 :]
            found |= names & bound_names(_plain(one for one in behind if not _defines(one)))
        return frozenset(found)


def cell_name(names: Iterable[str]) -> str:
    """What a cell that binds `names` is called in keys."""
    return f"cell.{','.join(sorted(set(names)))}"


def read_cell(tree: ast.Module, names: Iterable[str], shown: str, namespace: dict[str, Any]) -> Cell:
    """Read a cell.

    Args:
        tree: of its code, with magics as IPython turns them into calls.
        names: what it is to bind.
        shown: ``"last"`` or ``"all"`` for the expressions whose values are shown, else none is.
        namespace: the global names of the notebook.

    Raises:
        InvalidOptionError: something in it cannot be cached.
        SyntaxError: it is no Python.
    """
    _refuse(tree)
    _refuse_texts(tree, namespace)
    statements = tree.body
    names = tuple(sorted(set(names)))
    expressions = [one for one in (statements if shown == "all" else statements[-1:]) if isinstance(one, ast.Expr)]
    values = frozenset(one for one in expressions if shown in ("all", "last") and not _harmless(one))
    body = _plain(statements)
    bound = bound_names(body)
    # Of these the function knows only what the cell binds, so the values from before are read apart.
    every = bound | declared_global(body)
    carried = read_before_bound(body, names) & every
    body = [_Nonlocal(bound).visit(one) for one in body]
    # Constants on a line of their own do nothing in a function.
    constants = [one.value for one in expressions if one in values and isinstance(one.value, ast.Constant)]
    ending = ast.Return(ast.Tuple([ast.Constant(FORMAT), ast.Constant(len(values)), *constants], ast.Load()))
    node, code = _compiled([*_reading(carried), *body, ending])
    install({structure(code): read_tree(node, None, code)})
    return Cell(statements, values, names, frozenset(every), types.FunctionType(code, namespace, "cell"))


# -- what is refused -----------------------------------------------------------------------------------------------


def _refuse(tree: ast.Module) -> None:
    code = compile(tree, "<cell>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        raise InvalidOptionError(
            "a cell that awaits cannot be cached; put `await` into an `async def` function with @dynamo_cached"
        )
    harmless = {id(one.value) for one in tree.body if isinstance(one, ast.Expr) and _harmless(one)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            raise InvalidOptionError(
                f"`from {node.module} import *` does not say which names the cell binds; import them by name, or in "
                "another cell"
            )
        if (does := _asked_of_ipython(node)) in _RUN_WHAT_NO_KEY_SEES and id(node) not in harmless:
            what = "`!`" if does in ("system", "getoutput") else "`%`"
            raise InvalidOptionError(
                f"a {what} line in a cell does what no key sees; put it into a cell of its own "
                f"(allowed are lines with {', '.join('%' + name for name in sorted(HARMLESS))})"
            )


def _refuse_texts(tree: ast.Module, namespace: dict[str, Any]) -> None:
    """Refuse what reads or binds names that stand nowhere in the cell."""
    functions = [one for one in ast.walk(tree) if isinstance(one, _FUNCTIONS)]
    inside = {id(one) for function in functions for one in ast.walk(function)}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="eval"), args=[ast.Constant(), *_]):
                continue
            case ast.Call(func=ast.Name(id=name), args=[_], keywords=[]) if name in _RUN_TEXT:
                pass
            case ast.Call(func=ast.Name(id=name), args=[], keywords=[]) if name in _GIVE_ALL_NAMES:
                if name != "globals" and id(node) in inside:
                    continue
            case _:
                continue
        if name not in namespace:
            raise InvalidOptionError(
                f"`{name}` in a cell reads or binds names that its code does not show; write the names themselves, or "
                "put it into a cell of its own"
            )


def _asked_of_ipython(node: ast.AST) -> str:
    """The method in ``get_ipython().method(...)``, which IPython makes of magics; empty for anything else."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id="get_ipython")), attr=method)):
            return method
    return ""


def _harmless(node: ast.stmt) -> bool:
    """Whether a statement is a line magic that has no bearing on a value."""
    match node:
        case ast.Expr(value=ast.Call(args=[ast.Constant(value=str(name)), *_]) as call):
            return _asked_of_ipython(call) == "run_line_magic" and name in HARMLESS
    return False


# -- what a hit runs again -----------------------------------------------------------------------------------------


def _defines(node: ast.stmt) -> bool:
    """Whether a statement is an import, a function, a class, or a `try` around such."""
    match node:
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=[]):
            parts = [*body, *orelse, *(one for handler in handlers for one in handler.body)]
            return all(_defines(one) or isinstance(one, ast.Pass) or _binds_constant(one) for one in parts)
    return isinstance(node, _DEFINITIONS)


def _binds_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)


def _reads(statements: Iterable[ast.stmt], *, now: bool = False) -> dict[ast.stmt, set[str]]:
    """The names that each function or class at the top level reads; or that are read `now`, where it stands."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [(one, *reads_of(one)) for one in statements if isinstance(one, definitions)]
    if not now:
        return {node: first | later for node, first, later in found}
    used = {node.name: later for node, _, later in found}
    reads: dict[ast.stmt, set[str]] = {}
    for node, first, _ in found:
        todo, names = list(first), set[str]()
        while todo:
            name = todo.pop()
            if name not in names:
                names.add(name)
                todo += used.get(name, ())
        reads[node] = names
    return reads


# -- the function --------------------------------------------------------------------------------------------------


def _plain(statements: Iterable[ast.stmt]) -> list[ast.stmt]:
    """A copy of what counts, as it may stand in a function."""
    kept = (copy.deepcopy(one) for one in statements if not _harmless(one) and not _is_future(one))
    return [_NoGlobal().visit(one) for one in kept]


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


class _NoGlobal(ast.NodeTransformer):
    """At the top level of a cell ``global`` says nothing."""

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Global):
            return ast.copy_location(ast.Pass(), node)
        inner = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        return node if inner else self.generic_visit(node)


class _Nonlocal(ast.NodeTransformer):
    """What is global to a function in the cell belongs to the function that the cell becomes."""

    def __init__(self, bound: set[str]) -> None:
        self._bound = bound

    def visit_Global(self, node: ast.Global) -> ast.AST | list[ast.AST]:
        ours = [name for name in node.names if name in self._bound]
        others = [name for name in node.names if name not in self._bound]
        kinds: list[tuple[type[ast.Global | ast.Nonlocal], list[str]]] = [(ast.Nonlocal, ours), (ast.Global, others)]
        return [ast.copy_location(kind(names), node) for kind, names in kinds if names]


def _reading(names: Iterable[str]) -> list[ast.stmt]:
    """A function that reads global names though the function around it binds them, too."""
    ordered = sorted(names)
    if not ordered:
        return []
    read: list[ast.stmt] = [ast.Expr(ast.Name(name, ast.Load())) for name in ordered]
    return [_definition("inputs", [ast.Global(ordered), *read])]


def _compiled(body: list[ast.stmt]) -> tuple[ast.FunctionDef, types.CodeType]:
    node = _definition("cell", body)
    module = ast.fix_missing_locations(ast.Module([node], []))
    compiled: types.CodeType = compile(module, "<dynmemo cell>", "exec", dont_inherit=True)
    return node, next(one for one in compiled.co_consts if isinstance(one, types.CodeType))


def _definition(name: str, body: list[ast.stmt]) -> ast.FunctionDef:
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    node = ast.FunctionDef(name, nothing, body, [])
    node.type_params = []  # type: ignore[attr-defined,unused-ignore]
    return node
