"""What a function's code does, as far as a key wants to know it: its normal form, what it reads and what it may write.

The compiler knows what a name means, so which names come from outside is asked of the code object. Only what is done
with them is read from the syntax tree: the attributes asked of them, the stores, the method calls. The tree is not
taken scope by scope: a name that means something from outside in one place and a local one in another counts as
from outside in both, which can only be a read or a possible write too many.
"""

from __future__ import annotations

import ast
import dis
import re
import sys
import warnings
from collections import Counter
from contextlib import suppress
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import blake3

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Chain: TypeAlias = tuple[str, ...]
"""A name and the attributes after it: ``mymod.sub.CONST`` is ``("mymod", "sub", "CONST")``.

The first is a global or closed-over name, or a parameter after `PARAMETER`, or a module that the function imports, with
leading dots if relative, after `IMPORT`. A call and a subscript end a chain by ``__call__`` and ``__getitem__``.
"""

PARAMETER, IMPORT = "parameter ", "import "
BIND = "="
ITEM = "[]="
ITEM_CALL = "[]."
HANDED = "()"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_NAMED_IN_TEXT = re.compile(r"@([A-Za-z_][\w.]*)")


class Write(NamedTuple):
    """Something that the code may do to what `chain` leads to.

    `how` is `BIND` (the last name is bound anew or deleted), `ITEM` (an item is set or deleted, or it changes in
    place), `HANDED` and the name of what is called (it is an argument of that call), the name of a method called on
    it, or that name after `ITEM_CALL` for a method of one of its items.
    """

    chain: Chain
    how: str


class Reading(NamedTuple):
    """Of one code object, with everything nested in it. It travels in pickles."""

    form: str
    """32 hex digits of the normal form of its source, or of its bytecode."""
    reads: tuple[Chain, ...]
    """What it reads from outside; a name that is only asked for attributes does not stand there alone."""
    writes: tuple[Write, ...]
    """What it may change outside. Not known without source, apart from names bound anew."""
    attributes: tuple[str, ...]
    """All names of attributes, of whatever."""
    from_source: bool = True


def read_tree(node: FunctionNode, owner: str | None, code: CodeType) -> Reading:
    """Read a function from its tree.

    Args:
        node: the function.
        owner: the class in whose body it stands.
        code: what the tree compiles to.

    Raises:
        RecursionError: the tree is too deep, as that of a generated expression with thousands of terms.
    """
    form = blake3.blake3(normal_form(node).encode("utf-8", "surrogatepass")).hexdigest(16)
    return _Reader(node, owner, code).reading(form)


def read_bytecode(code: CodeType, structure: str) -> Reading:
    """Read a code object without source: the names alone, for what is done with them only the tree tells."""
    minor = b"%d.%d:" % sys.version_info[:2]
    names = _names_of(code)
    reads = names.loaded | names.stored | names.free | {IMPORT + name for name in names.imported}
    return Reading(
        blake3.blake3(b"bytecode:" + minor + structure.encode()).hexdigest(16),
        tuple((name,) for name in sorted(reads)),
        tuple(Write((name,), BIND) for name in sorted(names.stored)),
        tuple(sorted({name for one in nested(code) for name in one.co_names})),
        from_source=False,
    )


# -- names, from the code object ----------------------------------------------------------------------------------

_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_STORES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_STORES_CELL = frozenset({"STORE_DEREF", "DELETE_DEREF"})


class _Names(NamedTuple):
    loaded: set[str]
    stored: set[str]
    free: set[str]
    imported: set[str]


def _names_of(code: CodeType) -> _Names:
    names = _Names(set(), set(), set(code.co_freevars), set())
    for one in nested(code):
        before: list[Any] = []
        for instruction in dis.get_instructions(one):
            name = instruction.opname
            if name in _LOADS and (name, instruction.argval) != ("LOAD_NAME", "__name__"):
                names.loaded.add(instruction.argval)
            elif name in _STORES or (name in _STORES_CELL and instruction.argval in names.free & {*one.co_freevars}):
                names.stored.add(instruction.argval)
            elif name == "IMPORT_NAME":
                names.imported.add("." * (before[-2] or 0) + instruction.argval)
            elif name.startswith("LOAD_"):
                before.append(instruction.argval)
    return names


def nested(code: CodeType) -> Iterator[CodeType]:
    """A code object and all in it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from nested(value)


# -- the normal form ----------------------------------------------------------------------------------------------


_BODIES = frozenset({"body", "orelse", "finalbody"})
_LEFT_OUT = frozenset({"annotation", "returns", "type_comment", "kind"})


def normal_form(node: FunctionNode) -> str:
    """The source of a function as every Python writes it, without what has no bearing on a result.

    Left out: formatting, comments, docstrings, annotations, and of the function itself its name, its decorators and
    the expressions of its defaults (their values count instead).
    """
    arguments = _normal(node.args)
    arguments.defaults, arguments.kw_defaults = [], [None] * len(arguments.kwonlyargs)
    if isinstance(node, ast.Lambda):
        return ast.unparse(ast.Lambda(arguments, _normal(node.body)))
    plain = type(node)("_", arguments, _body(node.body), [], lineno=0, col_offset=0)
    plain.type_params = []  # type: ignore[union-attr,unused-ignore]
    return ast.unparse(plain)


def _normal(node: Any) -> Any:
    """A copy of a tree in its normal form."""
    match node:
        case list():
            return [_normal(one) for one in node]
        case ast.Constant(value=str(text)):
            return ast.Name(ascii(text))  # what is printable differs between the versions
        case ast.Constant(value=int(number)) if type(number) is int:
            return ast.Name(hex(number)) if number.bit_length() > 64 else node  # decimal digits are limited
        case ast.JoinedStr(values=values):
            return ast.Call(ast.Name("f-string"), list(_pieces(values)), [])
        case ast.AnnAssign(value=None):
            return ast.Pass()
        case ast.AnnAssign(target=target, value=value):
            return ast.Assign([_normal(target)], _normal(value), lineno=0, col_offset=0)
        case ast.AST():
            copied: dict[str, Any] = {}
            for name, value in ast.iter_fields(node):
                if name in _BODIES and isinstance(value, list):
                    copied[name] = _body(value, in_class=isinstance(node, ast.ClassDef)) if value else []
                else:
                    copied[name] = None if name in _LEFT_OUT else _normal(value)
            if isinstance(node, ast.stmt):  # `ast.unparse` looks for comments there
                copied["lineno"] = 0
            return type(node)(**copied)
        case _:
            return node


def _body(statements: list[ast.stmt], *, in_class: bool = False) -> list[ast.stmt]:
    """Without what does nothing: ``pass``, docstrings and other bare constants."""
    kept = []
    for statement in statements:
        if in_class and isinstance(statement, ast.AnnAssign):  # it may make a field
            value = None if statement.value is None else _normal(statement.value)
            kept.append(ast.AnnAssign(_normal(statement.target), _normal(statement.annotation), value, 1))
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            kept.append(_normal(statement))
    return [one for one in kept if not isinstance(one, ast.Pass)] or [ast.Pass()]


def _pieces(values: Iterable[ast.expr]) -> Iterator[ast.expr]:
    """An f-string with neighbouring texts joined and empty ones dropped: the versions cut them differently."""
    text = ""
    for value in values:
        if isinstance(value, ast.FormattedValue):
            if text:
                yield ast.Name(ascii(text))
                text = ""
            spec = value.format_spec
            pieces = list(_pieces(spec.values)) if isinstance(spec, ast.JoinedStr) else []
            yield ast.Tuple([_normal(value.value), ast.Constant(value.conversion), *pieces])
        elif isinstance(value, ast.JoinedStr):  # nested by implicit concatenation in a format specification
            text += "".join(str(one.value) for one in value.values if isinstance(one, ast.Constant))
        elif isinstance(value, ast.Constant):
            text += str(value.value)
    if text:
        yield ast.Name(ascii(text))


# -- what is done with the names, from the tree -------------------------------------------------------------------


class _Base(NamedTuple):
    """What an expression begins with: ``a.b[0].c()`` with ``a.b``."""

    name: str
    attributes: Chain
    inside: str
    """Empty if that is all, else ``[`` if only items follow, ``.`` if anything does."""


class _Reader(ast.NodeVisitor):
    """Visits every expression that runs when the function does."""

    def __init__(self, node: FunctionNode, owner: str | None, code: CodeType) -> None:
        self._owner, self._code = owner, code
        self._loaded: set[str] = set()
        self._bound: Counter[str] = Counter()
        self._imports: dict[str, set[Chain]] = {}
        self._modules: set[Chain] = set()
        self._aliases: dict[str, list[_Base]] = {}
        self._asked: set[tuple[str, Chain]] = set()
        self._writes: set[tuple[_Base, str]] = set()
        self._attributes: set[str] = set()
        self._texts: list[str] = []
        self._evaluated: list[str] = []
        arguments = node.args
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        self._parameters = {self._mangled(one.arg) for one in every if one is not None}
        for part in [node.body] if isinstance(node, ast.Lambda) else node.body:
            self.visit(part)

    def reading(self, form: str) -> Reading:
        names = _names_of(self._code)
        # Names in code that never runs are dropped by some versions, and asserts by -O.
        outside = (self._loaded & names.loaded) | (self._loaded - self._bound.keys() - self._parameters)
        texts = self._texts if {"query", "eval"} & (self._attributes | self._loaded) else []
        in_texts = [one.split(".") for text in texts for one in _NAMED_IN_TEXT.findall(text)]
        in_texts += [[one] for text in self._evaluated for one in _names_in(text)]
        for name, *attributes in in_texts:
            if name not in self._bound.keys() | self._parameters:
                outside.add(name)
                self._asked.add((name, tuple(attributes)))
        outside = (outside - _ALWAYS_THERE) | names.free | names.stored
        reads = set(self._modules)
        for name, chain in self._asked:
            for one in self._resolved(_Base(name, chain, ""), outside):
                if not one.inside and not one.name.startswith(PARAMETER):
                    reads.add((one.name, *one.attributes))
        writes = {Write((name,), BIND) for name in names.stored}
        for base, how in self._writes:
            writes |= {_write(one, how) for one in self._resolved(base, outside)}
        return Reading(form, tuple(sorted(reads)), tuple(sorted(writes)), tuple(sorted(self._attributes)))

    def _resolved(self, base: _Base, outside: set[str], depth: int = 0) -> Iterator[_Base]:
        """The chains from outside that a chain of the function stands for: ``c`` after ``c = cache`` is ``cache``."""
        if base.name in outside:
            yield base
        if base.name in self._parameters:
            yield base._replace(name=PARAMETER + base.name)
        for name, *attributes in self._imports.get(base.name, ()):
            yield _Base(name, (*attributes, *base.attributes), base.inside)
        for alias in self._aliases.get(base.name, ()) if depth < 8 and self._bound[base.name] == 1 else ():
            if alias.inside:
                inside = "[" if alias.inside == "[" and not base.attributes and base.inside != "." else "."
                yield from self._resolved(alias._replace(inside=inside), outside, depth + 1)
            else:
                chain = (*alias.attributes, *base.attributes)
                yield from self._resolved(_Base(alias.name, chain, base.inside), outside, depth + 1)

    def _mangled(self, name: str) -> str:
        """A name as Python knows it in the body of a class: ``__x`` is ``_Model__x``."""
        if self._owner is None or not self._owner.strip("_") or not name.startswith("__") or name.endswith("__"):
            return name
        return f"_{self._owner.lstrip('_')}{name}"

    def _base(self, node: ast.AST) -> _Base | None:
        attributes: list[str] = []
        inside = ""
        while True:
            if isinstance(node, ast.Attribute):
                attributes.append(self._mangled(node.attr))
                node = node.value
            elif isinstance(node, ast.Subscript):
                inside = "." if attributes or inside == "." else "["
                attributes.clear()
                node = node.value
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                inside = "."
                attributes.clear()
                node = node.func.value
            else:
                break
        if isinstance(node, ast.Call) and _is_type(node):  # `type(self).count` is `self.__class__.count`
            attributes.append("__class__")
            node = node.args[0]
        if not isinstance(node, ast.Name):
            return None
        return _Base(self._mangled(node.id), tuple(reversed(attributes)), inside)

    def _ask(self, node: ast.AST, *more: str) -> None:
        base = self._base(node)
        if base is not None and not base.inside:
            self._asked.add((base.name, (*base.attributes, *more)))

    def _write(self, node: ast.AST, how: str) -> None:
        base = self._base(node)
        if base is not None:
            self._writes.add((base, how))

    # -- expressions ------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> None:
        name = self._mangled(node.id)
        if isinstance(node.ctx, ast.Load):
            self._loaded.add(name)
            self._asked.add((name, ()))
        else:
            self._bound[name] += 1

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._write(node, BIND)
        self._ask(node if isinstance(node.ctx, ast.Load) else node.value)
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            self._attributes.add(self._mangled(inner.attr))
            inner = inner.value
        if isinstance(inner, ast.Name):  # the name alone is not asked for
            self._loaded.add(self._mangled(inner.id))
        else:
            self.visit(inner)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Load):
            self._ask(node.value, "__getitem__")
        else:
            self._write(node.value, ITEM)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        self._ask(node.func, "__call__")
        if isinstance(node.func, ast.Attribute):
            in_place = any(one.arg == "inplace" for one in node.keywords)
            self._write(node.func.value, ITEM if in_place else self._mangled(node.func.attr))
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        for one in given:
            self._write(one.value if isinstance(one, ast.Starred) else one, HANDED + self._called(node.func))
        if _is_eval(node.func):
            self._evaluated += [one.value for one in given if isinstance(one, ast.Constant) and type(one.value) is str]
        self.generic_visit(node)

    def _called(self, function: ast.expr) -> str:
        """The name of what is called; empty for a parameter, and for what the function itself binds."""
        if isinstance(function, ast.Attribute):
            return self._mangled(function.attr)
        name = self._mangled(function.id) if isinstance(function, ast.Name) else ""
        if name in self._imports:
            return min(self._imports[name])[-1]
        return "" if name in self._bound or name in self._parameters else name

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._texts.append(node.value)

    # -- what binds names -------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> None:
        self._alias(node.targets, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._alias([node.target], node.value)
            self.visit(node.value)
        self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._alias([node.target], node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._write(node.target, ITEM)  # a list grows in place
            self._loaded.add(self._mangled(node.target.id))
        self._ask(node.target)
        self.generic_visit(node)

    def _alias(self, targets: list[ast.expr], value: ast.expr) -> None:
        base = self._base(value)
        if base is not None:
            for target in targets:
                if isinstance(target, ast.Name):
                    self._aliases.setdefault(self._mangled(target.id), []).append(base)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self._import(alias.asname or top, (IMPORT + (alias.name if alias.asname else top),))
            self._modules.add((IMPORT + alias.name,))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            chain = (f"{IMPORT}{'.' * node.level}{node.module or ''}", alias.name)
            self._import(alias.asname or alias.name, chain)
            self._modules.add(chain)

    def _import(self, name: str, chain: Chain) -> None:
        self._bound[self._mangled(name)] += 1
        self._imports.setdefault(self._mangled(name), set()).add(chain)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._bound[self._mangled(node.name)] += 1
        for part in (*node.decorator_list, *node.bases, *node.keywords, *getattr(node, "type_params", ())):
            self.visit(part)
        owner, self._owner = self._owner, node.name
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                self.visit(statement.annotation)
            self.visit(statement)
        self._owner = owner

    def generic_visit(self, node: ast.AST) -> None:
        """Any other node: what it binds, and what is in it apart from annotations."""
        for name, value in ast.iter_fields(node):
            if isinstance(value, str):
                if name in _BINDING and not isinstance(node, ast.alias):
                    self._bound[self._mangled(value)] += 1
            elif name not in {"annotation", "returns"}:
                for one in value if isinstance(value, list) else (value,):
                    if isinstance(one, ast.AST):
                        self.visit(one)


_ALWAYS_THERE = frozenset({"__class__", "__debug__"})
"""Names that the compiler knows where nothing binds them."""


def _write(base: _Base, how: str) -> Write:
    """What a store, or the call of a method, changes of what the chain leads to."""
    chain = (base.name, *base.attributes)
    if not base.inside or how.startswith(HANDED):
        return Write(chain, how)
    if how == ITEM and base.inside == "[":
        return Write(chain, ITEM)
    return Write(chain, ITEM_CALL + {BIND: "__setattr__", ITEM: "__setitem__"}.get(how, how))


_BINDING = frozenset({"name", "arg", "rest"})
"""The fields of definitions, parameters, handlers and patterns that bind what they say."""


def _names_in(text: str) -> set[str]:
    """The names in an expression for `eval`."""
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _names_of(compile(text.strip().replace("@", ""), "<text>", "eval", dont_inherit=True)).loaded
    return set()


def _is_type(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "type" and len(node.args) == 1 and not node.keywords


def _is_eval(function: ast.expr) -> bool:
    """Whether it is `eval` of Python or of a module, to which names mean variables and not columns."""
    if isinstance(function, ast.Attribute):
        return (
            function.attr == "eval" and isinstance(function.value, ast.Name) and function.value.id in {"pd", "pandas"}
        )
    return isinstance(function, ast.Name) and function.id == "eval"
