"""The source of code objects: the tree from which one was compiled, for certain or not at all.

A file may have been edited since it was imported, a name may stand in it twice, several lambdas may stand
on one line. So a tree is accepted only if it compiles to the structure of the code object at hand. Where
two trees do (``lambda: 1 + 1, lambda: 2``), they do the same.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import pickle
import struct
import sys
import types
import warnings
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import blake3

from dynmemo._process import MAIN_MODULES, ipython, new_lock
from dynmemo.keys.own import SENT, is_own_file
from dynmemo.keys.reading import FUNCTIONS, nested, read_bytecode, read_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dynmemo.keys.reading import FunctionNode, Reading

_FUTURE_FLAGS = 0
"""Of a code object, those that say which ``__future__`` features were in force."""
for _feature in __future__.all_feature_names:
    _FUTURE_FLAGS |= getattr(__future__, _feature).compiler_flag

_known: dict[int, tuple[weakref.ref[types.CodeType], Reading]] = {}
_travelled: dict[str, Reading] = {}
_seen: dict[str, Reading] = {}
_MOST_SEEN = 20_000


def read(thing: types.FunctionType | types.CodeType, namespace: Mapping[str, Any] | None = None) -> Reading:
    """What the code of a function does, from its source, from what travelled along with it, or from its bytecode.

    Args:
        thing: a function or code object.
        namespace: the globals of a code object, whose loader may know the source of a zipped module.
    """
    code = thing if isinstance(thing, types.CodeType) else thing.__code__
    known = _known.get(id(code))
    if known is not None and known[0]() is code:
        return known[1]
    key = id(code)
    # Two threads may both look; they find the same.
    reading = _find(code, (thing.__globals__ if isinstance(thing, types.FunctionType) else namespace) or {})
    _known[key] = (weakref.ref(code, lambda _: _known.pop(key, None) and None), reading)
    return reading


def _find(code: types.CodeType, namespace: Mapping[str, Any]) -> Reading:
    key = structure(code)
    # What travelled goes first: the sender's source is the one that its keys were made from. Then, for code that came
    # by value, what was found for its original or for an earlier copy: with every one come new code objects.
    known = _travelled.get(key) or (_seen.get(key) if code.co_filename == SENT else None)
    if known is None:
        trees = (_sources.find(text, code) for text in _texts_of(code, namespace))
        found = next((tree for tree in trees if tree is not None), None)
        with suppress(RecursionError):
            known = None if found is None else read_tree(found.node, found.owner, code)
    if len(_seen) >= _MOST_SEEN:
        _seen.clear()
    reading = _seen[key] = known or read_bytecode(code, key)
    return reading


# -- readings that travel -----------------------------------------------------------------------------------------


def pack(functions: Iterable[types.FunctionType]) -> dict[str, Reading]:
    """What was read of functions, by the structure of their code; without those without source."""
    found = {structure(function.__code__): read(function) for function in functions}
    return {key: reading for key, reading in found.items() if reading.from_source}


def install(packed: Mapping[str, Reading]) -> None:
    """Take what `pack` gave in the sending process; it counts for code that was not looked at before."""
    for key, data in packed.items():
        _travelled.setdefault(key, data)


# -- the structure of code ----------------------------------------------------------------------------------------


def structure(code: types.CodeType) -> str:
    """32 hex digits of all that the interpreter executes, without positions and file names.

    It is the same on all machines for one minor version of Python.
    """
    return blake3.blake3(constant(code)).hexdigest(16)


def constant(value: object) -> bytes:
    """A constant with its type, so that ``1``, ``1.0``, ``True`` and ``-0.0`` are four things."""
    match value:
        case types.CodeType():
            head = (value.co_argcount, value.co_posonlyargcount, value.co_kwonlyargcount, value.co_flags)
            names = (value.co_name, value.co_names, value.co_varnames, value.co_cellvars, value.co_freevars)
            return b"%d,%d,%d,%d:" % head + constant((*names, value.co_code, value.co_exceptiontable, value.co_consts))
        case str():
            data = value.encode("utf-8", "surrogatepass")
        case bytes():
            data = value
        case float() | complex():
            data = struct.pack("<dd", value.real, value.imag)
        case tuple():
            data = b"".join(map(constant, value))
        case frozenset():
            data = b"".join(sorted(map(constant, value)))
        case _:  # the decimal digits of an integer are limited
            data = (hex(value) if type(value) is int else repr(value)).encode()
    return b"%s:%d:" % (type(value).__name__.encode(), len(data)) + data


# -- the texts in which the source may stand ----------------------------------------------------------------------


def _texts_of(code: types.CodeType, namespace: Mapping[str, Any]) -> Iterator[str]:
    if code.co_filename == SENT:
        for name in _likely_files(namespace):
            yield from _texts(name, namespace)
        return
    yield from _texts(code.co_filename, namespace)
    if code.co_filename.startswith("<"):
        yield from _bodies_of_magics()


def _likely_files(namespace: Mapping[str, Any]) -> Iterator[str]:
    """Where code that came by value may have been written, also a copy that came back to where it was written.

    The file of its module, which cloudpickle tells, then the cells of this notebook, the latest first.
    """
    file = namespace.get("__file__")
    if isinstance(file, str):
        yield file
    if namespace.get("__name__") in MAIN_MODULES:
        yield from reversed(_cells_with(""))


def _cells_with(word: str) -> list[str]:
    """The cells of this notebook, or texts of this prompt, in which `word` stands."""
    # Cells have no time of change.
    known: dict[str, Any] = dict(linecache.cache)
    cells = [(name, entry) for name, entry in known.items() if entry[1:2] == (None,)]
    return [name for name, entry in cells if any(word in line for line in entry[2])]


def _bodies_of_magics() -> Iterator[str]:
    """What stands under ``%%time`` in the cells of this notebook, the latest first: it runs under a name of its own."""
    shell = ipython()
    for cell in reversed(getattr(getattr(shell, "history_manager", None), "input_hist_raw", ())):
        while cell.lstrip().startswith("%%"):
            cell = cell.lstrip().partition("\n")[2]
            with suppress(SyntaxError):
                body = shell.transform_cell(cell)
                yield body
                yield _TIMEIT + "".join(f"  {line}" for line in body.splitlines(keepends=True))


_TIMEIT = "def inner(_it, _timer):\n for _i in _it:\n"


def _texts(filename: str, namespace: Mapping[str, Any]) -> Iterator[str]:
    """The source as `linecache` has it, which knows notebook cells, and as it is now if that differs."""
    about = _about(namespace)
    lines = linecache.getlines(filename, about)
    if lines:
        yield "".join(lines)
    linecache.checkcache(filename)
    fresh = linecache.getlines(filename, about)
    if fresh and fresh is not lines:
        yield "".join(fresh)


def _mark(filename: str, namespace: Mapping[str, Any]) -> object:
    """What changes when the text of a file or cell does."""
    linecache.checkcache(filename)
    linecache.getlines(filename, _about(namespace))
    return linecache.cache.get(filename, ())[:2]


def _about(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """What `linecache` wants to know of a module."""
    return {name: namespace[name] for name in ("__name__", "__loader__", "__spec__") if name in namespace}


# -- the functions in a text --------------------------------------------------------------------------------------


class _Candidate(NamedTuple):
    """A function in a text."""

    line: int
    node: FunctionNode
    owner: str | None
    """The class in whose body it stands, for names that begin with two underscores."""


class _Source:
    """One text and its functions by the structure of their code; each top-level statement is compiled when needed."""

    def __init__(self, statements: list[ast.stmt]) -> None:
        cells = [body for one in statements if (body := _cell(one))]
        self._statements = [*statements, *(one for cell in cells for one in cell)]
        self._by_name: dict[str, list[int]] = {}
        for index, statement in enumerate(self._statements):
            for name in {_name(node) for node in ast.walk(statement) if isinstance(node, FUNCTIONS)}:
                self._by_name.setdefault(name, []).append(index)
        # Since Python 3.12 calls of what the module imports are compiled in their own way; in a notebook or at the
        # prompt, where statements are compiled one by one, they are not.
        imports = [_module_imports(one) for one in (statements, *cells)]
        self._contexts: list[list[ast.stmt]] = [*(one for one in imports if one), []]
        self._indexed: set[tuple[int, int, int]] = set()
        self._found: dict[tuple[int, str], list[tuple[_Candidate, types.CodeType]]] = {}

    def find(self, code: types.CodeType) -> _Candidate | None:
        """The function that compiles to `code`, of several the one nearest to its line."""
        flags, line = code.co_flags & _FUTURE_FLAGS, code.co_firstlineno
        key = (flags, structure(code))
        # The statements with a function of its name, the one at the line of the code first.
        indices = sorted(self._by_name.get(code.co_name, ()), key=lambda index: not self._spans(index, line))
        for context in range(len(self._contexts)):
            for index in indices:
                self._index(index, context, flags)
                if key in self._found:
                    return min((one for one, _ in self._found[key]), key=lambda one: abs(one.line - line))
        return None

    def all(self, flags: int) -> Iterator[tuple[str, Reading]]:
        """What is read of all functions."""
        for index in sorted({index for indices in self._by_name.values() for index in indices}):
            for context in range(len(self._contexts)):
                self._index(index, context, flags)
        for (of, key), candidates in self._found.items():
            if of == flags:
                (_, node, owner), code = candidates[0]
                with suppress(RecursionError):
                    yield key, read_tree(node, owner, code)

    def _spans(self, index: int, line: int) -> bool:
        statement = self._statements[index]
        return _first_line(statement) <= line <= (statement.end_lineno or statement.lineno)

    def _index(self, index: int, context: int, flags: int) -> None:
        if (index, context, flags) in self._indexed:
            return
        self._indexed.add((index, context, flags))
        # A cell may have been refused when it was to run, or have warned then.
        with suppress(SyntaxError, ValueError, RecursionError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for found in _functions_in(self._statements[index], self._contexts[context], flags):
                self._found.setdefault((flags, structure(found[1])), []).append(found)


def _cell(node: ast.stmt) -> list[ast.stmt]:
    """The body under ``@app.cell`` in a marimo notebook, which runs as a module of its own; empty for anything else."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for decorator in node.decorator_list:
            match decorator:
                case ast.Attribute(attr="cell") | ast.Call(func=ast.Attribute(attr="cell")):
                    return node.body
    return []


def _name(node: FunctionNode) -> str:
    return getattr(node, "name", "<lambda>")


def _first_line(node: ast.stmt | FunctionNode) -> int:
    """The line that a code object compiled from `node` calls its first: that of the first decorator."""
    return min((one.lineno for one in getattr(node, "decorator_list", ())), default=node.lineno)


def _functions_in(
    statement: ast.stmt, imports: Sequence[ast.stmt], flags: int
) -> Iterator[tuple[_Candidate, types.CodeType]]:
    """The functions and lambdas of a top-level statement, each with its code.

    Lambdas share lines, so each is moved to lines of its own while they are compiled. Definitions are not, as Python
    3.13 keeps the lines of the classes in them.
    """
    nodes = list(_functions(statement, None))
    stride = (statement.end_lineno or statement.lineno) + 1
    numbers = {id(node): number for number, (node, _) in enumerate(nodes, start=1) if isinstance(node, ast.Lambda)}
    _move(statement, 0, stride, numbers)
    try:
        candidates = (_Candidate(_first_line(node), node, owner) for node, owner in nodes)
        places = {(one.line, _name(one.node)): one for one in candidates}
        # In cells an `await` may stand outside of a function.
        flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        module = ast.Module([*imports, statement], [])
        compiled: types.CodeType = compile(module, "<source>", "exec", flags=flags, dont_inherit=True)
    finally:
        _move(statement, 0, -stride, numbers)
    for code in nested(compiled):
        found = places.get((code.co_firstlineno, code.co_name))
        if found is not None:
            yield found, code


def _move(node: ast.AST, by: int, stride: int, numbers: Mapping[int, int]) -> None:
    if not numbers:
        return
    by = stride * numbers.get(id(node), 0) or by
    if hasattr(node, "lineno"):
        node.lineno += by
        node.end_lineno += by  # type: ignore[attr-defined]  # ast.parse gives both or none
    for child in ast.iter_child_nodes(node):
        _move(child, by, stride, numbers)


def _functions(node: ast.AST, owner: str | None) -> Iterator[tuple[FunctionNode, str | None]]:
    if isinstance(node, FUNCTIONS):
        yield node, owner
    inside = node.name if isinstance(node, ast.ClassDef) else owner
    for child in ast.iter_child_nodes(node):
        yield from _functions(child, inside)


def _module_imports(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """The imports of a module, apart from those in functions and classes and those from ``__future__``."""
    found: list[ast.stmt] = []
    todo: list[ast.AST] = list(statements)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module != "__future__"):
            found.append(node)
        elif isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case) and not isinstance(
            node, (*FUNCTIONS, ast.ClassDef)
        ):
            todo.extend(ast.iter_child_nodes(node))
    return found


_MOST_SOURCES = 16  # a tree takes some thirty times the memory of its text


class _Sources:
    """The texts parsed so far.

    One thread at a time, because trees are changed while they are compiled.
    """

    def __init__(self) -> None:
        self._lock = new_lock(self)
        self._known: dict[str, _Source | None] = {}

    def find(self, text: str, code: types.CodeType) -> _Candidate | None:
        """The tree in `text` that compiles to `code`."""
        with self._lock:
            source = self._source(text)
            return None if source is None else source.find(code)

    def all_in(self, text: str, flags: int) -> dict[str, Reading]:
        """What is read of all functions in `text`."""
        with self._lock:
            source = self._source(text)
            return {} if source is None else dict(source.all(flags))

    def _source(self, text: str) -> _Source | None:
        if text not in self._known:
            if len(self._known) >= _MOST_SOURCES:
                del self._known[next(iter(self._known))]
            self._known[text] = None
            with suppress(SyntaxError, ValueError, RecursionError):
                self._known[text] = _Source(ast.parse(text).body)
        return self._known[text]


_sources = _Sources()


# -- what is written here, for processes that get the bytecode of it and not the source ----------------------------
# A decorated function that is sent by value takes along what is needed for its own fingerprint. But its arguments,
# which it does not see, may be instances of any class that is sent by value too: of ``__main__``, or of a module that
# the user registered for that. So what is read of everything that is written there goes along as well.

_MOST_RECEIVED = 16
_MOST_WRAPPERS = 100
_Text: TypeAlias = tuple[str, int, object]
"""A file or cell, the flags for its ``__future__`` features, and what changes with its text."""

_texts_read: dict[_Text, dict[str, Reading]] = {}
_whole: dict[frozenset[_Text], bytes] = {}
"""The one pickle of all that is written now."""
_received: dict[bytes, bytes] = {}
"""What came from others, by its digest, to be passed on."""


def written() -> tuple[bytes, ...]:
    """What is written here, and what others sent; for `take_written`. Quick once it was asked for."""
    try:
        mine = _written_here()
    except Exception:  # noqa: BLE001 - what a namespace holds may do anything; then arguments may miss over there
        mine = b""
    return tuple(blob for blob in (mine, *_received.values()) if blob)


def take_written(blobs: Sequence[bytes]) -> None:
    """Take what `written` gave in another process."""
    for blob in blobs:
        mark = blake3.blake3(blob).digest()
        if mark in _received:
            continue
        install(pickle.loads(blob))
        while len(_received) >= _MOST_RECEIVED:
            _received.pop(next(iter(_received)), None)
        _received[mark] = blob


def _written_here() -> bytes:
    namespaces = {text: namespace for namespace in _namespaces() for text in _texts_in(namespace)}
    key = frozenset(namespaces)
    blob = _whole.get(key)
    if blob is None:
        for text in _texts_read.keys() - key:
            _texts_read.pop(text, None)
        found: dict[str, Reading] = {}
        for text, namespace in namespaces.items():
            if text not in _texts_read:
                content = next(_texts(text[0], namespace), None)
                _texts_read[text] = {} if content is None else _sources.all_in(content, text[1])
            found |= _texts_read[text]
        blob = pickle.dumps(found, pickle.HIGHEST_PROTOCOL) if found else b""
        _whole.clear()
        _whole[key] = blob
    return blob


def _namespaces() -> Iterator[dict[str, Any]]:
    """Those of the modules whose functions and classes go by value."""
    names = {"__main__"}
    cloudpickle = sys.modules.get("cloudpickle")
    if cloudpickle is not None:
        registered = tuple(cloudpickle.list_registry_pickle_by_value())
        names |= {name for name in list(sys.modules) for of in registered if name == of or name.startswith(f"{of}.")}
    for name in sorted(names):
        module = sys.modules.get(name)
        if type(module) is types.ModuleType:
            yield vars(module)


def _texts_in(namespace: dict[str, Any]) -> set[_Text]:
    """The files and cells from which the functions of a namespace come."""
    found = {(code.co_filename, code.co_flags & _FUTURE_FLAGS) for code in _codes(namespace)}
    if namespace.get("__name__") in MAIN_MODULES:
        of_cells = {flags for _, flags in found} or {0}
        found |= {(name, flags) for name in _cells_with("lambda") for flags in of_cells}
    return {(name, flags, _mark(name, namespace)) for name, flags in found if name != SENT and is_own_file(name)}


def _codes(namespace: dict[str, Any]) -> Iterator[types.CodeType]:
    """Of the functions of a namespace, and of the methods of its classes."""
    for thing in list(namespace.values()):
        # The real type decides: some objects say of themselves that they are something else, or raise when asked.
        for one in list(vars(thing).values()) if issubclass(type(thing), type) else [thing]:
            for function in _functions_of(one):
                if function.__globals__ is namespace:
                    yield function.__code__


def _functions_of(thing: Any) -> Iterator[types.FunctionType]:
    if type(thing) in (staticmethod, classmethod):
        thing = thing.__func__
    elif type(thing) is property:
        thing = thing.fget
    for _ in range(_MOST_WRAPPERS):
        if type(thing) is not types.FunctionType:
            return
        yield thing
        thing = thing.__dict__.get("__wrapped__")
