"""A function's syntax tree as canonical bytes: what it does, not how it is written down.

Left out: positions, comments, docstrings, annotations, the function's own decorators and the expressions of its
own defaults (their values count instead). ``ast.dump`` will not do, because what it prints and how f-strings are
parsed differ between Python versions.
"""

from __future__ import annotations

import ast
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

import blake3

if TYPE_CHECKING:
    from collections.abc import Iterator

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SKIPPED_FIELDS = frozenset({"ctx", "type_comment", "type_params", "kind", "returns", "annotation", "simple"})


def tree_digest(node: FunctionNode) -> str:
    """32 hex digits that are equal for functions with the same meaning of every statement.

    Raises:
        RecursionError: the tree is too deep, as that of a generated expression with thousands of terms.
    """
    out: list[bytes] = []
    _arguments(node.args, out, defaults=False)
    if isinstance(node, ast.Lambda):
        out.append(b"lambda")
        _value(node.body, out)
    else:
        out.append(b"async" if isinstance(node, ast.AsyncFunctionDef) else b"def")
        _body(node.body, out)
    return blake3.blake3(b"".join(out)).hexdigest(16)


def _value(value: object, out: list[bytes]) -> None:
    """One field of a node, whatever it is."""
    if isinstance(value, ast.AST):
        _node(value, out)
    elif isinstance(value, list):
        items = [item for item in value if not _is_idle(item)]
        out.append(b"[%d" % len(items))
        for item in items:
            _value(item, out)
    else:
        constant(value, out)


def _node(node: ast.AST, out: list[bytes]) -> None:
    if isinstance(node, ast.AnnAssign):
        _annotated(node, out, in_class=False)
    elif isinstance(node, ast.JoinedStr):
        _joined(node, out)
    elif isinstance(node, ast.arguments):
        _arguments(node, out, defaults=True)
    else:
        _plain(node, out)


def _plain(node: ast.AST, out: list[bytes]) -> None:
    out.append(b"(%s" % type(node).__name__.encode())
    for name in node._fields:
        value: Any = getattr(node, name, None)
        if name in _SKIPPED_FIELDS or (value is None and not isinstance(node, ast.Constant)) or value == []:
            continue
        out.append(b".%s" % name.encode())
        if name == "body" and isinstance(node, _DEFINITIONS):
            _body(value, out, in_class=isinstance(node, ast.ClassDef))
        else:
            _value(value, out)
    out.append(b")")


def _body(statements: list[ast.stmt], out: list[bytes], *, in_class: bool = False) -> None:
    kept = [statement for statement in statements if not _is_idle(statement)]
    out.append(b"{")
    for statement in kept:
        if in_class and isinstance(statement, ast.AnnAssign):
            _annotated(statement, out, in_class=True)
        else:
            _value(statement, out)
    out.append(b"}")


def _is_idle(item: object) -> bool:
    """Whether a statement does nothing: ``pass``, a docstring or another bare constant."""
    return isinstance(item, ast.Pass) or (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))


def _annotated(node: ast.AnnAssign, out: list[bytes], *, in_class: bool) -> None:
    """``x: int = 1`` is ``x = 1``, except in a class, where the annotation may make a field of it."""
    if in_class:
        out.append(b"(field")
        for part in (node.target, node.annotation, node.value):
            _value(part, out)
        out.append(b")")
    elif node.value is not None:
        _plain(ast.Assign(targets=[node.target], value=node.value), out)


def _arguments(arguments: ast.arguments, out: list[bytes], *, defaults: bool) -> None:
    out.append(b"(arguments")
    for kind, names in (
        (b"/", arguments.posonlyargs),
        (b"=", arguments.args),
        (b"*", [arguments.vararg] if arguments.vararg else []),
        (b"k", arguments.kwonlyargs),
        (b"**", [arguments.kwarg] if arguments.kwarg else []),
    ):
        for argument in names:
            out.append(kind)
            constant(argument.arg, out)
    if defaults:
        _value(arguments.defaults, out)
        _value(arguments.kw_defaults, out)
    out.append(b")")


def _joined(node: ast.JoinedStr, out: list[bytes]) -> None:
    """An f-string, with neighbouring texts joined and empty ones dropped: the versions cut them differently."""
    out.append(b"(JoinedStr")
    for piece in _merged(node.values):
        if isinstance(piece, str):
            constant(piece, out)
            continue
        out.append(b"{")
        _value(piece.value, out)
        out.append(b"!%d" % piece.conversion)
        spec = piece.format_spec
        if isinstance(spec, ast.JoinedStr) and any(_merged(spec.values)):
            _joined(spec, out)
        out.append(b"}")
    out.append(b")")


def _merged(values: list[ast.expr]) -> Iterator[str | ast.FormattedValue]:
    text = ""
    for value in values:
        if isinstance(value, ast.FormattedValue):
            if text:
                yield text
                text = ""
            yield value
        elif isinstance(value, ast.JoinedStr):  # nested by implicit concatenation in a format specification
            text += "".join(piece for piece in _merged(value.values) if isinstance(piece, str))
        elif isinstance(value, ast.Constant):
            text += str(value.value)
    if text:
        yield text


def constant(value: object, out: list[bytes]) -> None:
    """A constant with its type, so that ``1``, ``1.0``, ``True`` and ``-0.0`` are four things."""
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
    elif isinstance(value, bytes):
        data = value
    elif isinstance(value, float):
        data = struct.pack("<d", value)
    elif isinstance(value, complex):
        data = struct.pack("<dd", value.real, value.imag)
    elif isinstance(value, tuple | frozenset):
        data = _collection(value)
    elif value is None or value is ... or isinstance(value, int):
        data = hex(value).encode() if type(value) is int else repr(value).encode()
    else:
        raise TypeError(f"no constant of Python code: {type(value).__name__}")
    out.append(b"%s:%d:" % (type(value).__name__.encode(), len(data)))
    out.append(data)


def _collection(value: tuple[object, ...] | frozenset[object]) -> bytes:
    items = []
    for item in value:
        out: list[bytes] = []
        constant(item, out)
        items.append(b"".join(out))
    return b"".join(sorted(items) if isinstance(value, frozenset) else items)
