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
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dynmemo._process import new_lock_in_children
from dynmemo.keys.identity.bytecode import structure
from dynmemo.keys.identity.compiled import functions_in, module_imports, names_of_functions
from dynmemo.keys.identity.names import tree_facts
from dynmemo.keys.identity.own import MAIN_MODULES, SENT

if TYPE_CHECKING:
    import types
    from collections.abc import Iterator, Mapping

    from dynmemo.keys.identity.compiled import Candidate
    from dynmemo.keys.identity.facts import Facts

FUTURE_FLAGS = 0
"""Of a code object, those that say which ``__future__`` features were in force."""
for _feature in __future__.all_feature_names:
    FUTURE_FLAGS |= getattr(__future__, _feature).compiler_flag


def source_facts(code: types.CodeType, namespace: Mapping[str, Any]) -> Facts | None:
    """The facts of the tree behind `code`, None if there is no source that is certain to be its own.

    Args:
        code: of a function or lambda.
        namespace: the globals of the function, whose loader may know the source of a zipped module.
    """
    names = (code.co_filename,) if code.co_filename != SENT else _likely_files(namespace)
    for name in names:
        for text in _texts(name, namespace):
            found = _sources.find(name, text, code)
            if found is not None:
                try:
                    return tree_facts(found.node, found.owner)
                except RecursionError:
                    return None
    return None


def _likely_files(namespace: Mapping[str, Any]) -> Iterator[str]:
    """Where code that came by value may have been written, also a copy that came back to where it was written.

    The file of its module, which cloudpickle tells, then the cells of this notebook, the latest first.
    """
    file = namespace.get("__file__")
    if isinstance(file, str):
        yield file
    if namespace.get("__name__") in MAIN_MODULES:
        yield from reversed(cells_with(""))


def cells_with(word: str) -> list[str]:
    """The cells of this notebook, or texts of this prompt, in which `word` stands."""
    # Cells have no time of change.
    known: dict[str, Any] = dict(linecache.cache)
    cells = [(name, entry) for name, entry in known.items() if entry[1:2] == (None,)]
    return [name for name, entry in cells if any(word in line for line in entry[2])]


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


def written_in(filename: str, namespace: Mapping[str, Any], flags: int) -> dict[str, Facts]:
    """The facts of every function and lambda that is written in a file or cell, by the structure of its code.

    Args:
        filename: as code objects have it.
        namespace: the globals of what is written there.
        flags: of `FUTURE_FLAGS`.
    """
    text = next(_texts(filename, namespace), None)
    return {} if text is None else _sources.all_in(filename, text, flags)


def text_mark(filename: str, namespace: Mapping[str, Any]) -> object:
    """What changes when the text of a file or cell does."""
    linecache.checkcache(filename)
    linecache.getlines(filename, _about(namespace))
    return linecache.cache.get(filename, ())[:2]


def _about(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """What `linecache` wants to know of a module."""
    return {name: namespace[name] for name in ("__name__", "__loader__", "__spec__") if name in namespace}


class _Source:
    """One text and its functions by the structure of their code; each top-level statement is compiled when needed."""

    def __init__(self, text: str, statements: list[ast.stmt]) -> None:
        self.text = text
        self._statements = statements
        self._by_name: dict[str, list[int]] = {}
        for index, statement in enumerate(statements):
            for name in names_of_functions(statement):
                self._by_name.setdefault(name, []).append(index)
        imports = module_imports(statements)
        self._contexts: list[list[ast.stmt]] = [imports, []] if imports else [[]]
        self._indexed: set[tuple[int, int, int]] = set()
        self._found: dict[tuple[int, str], list[Candidate]] = {}

    def find(self, code: types.CodeType) -> Candidate | None:
        flags = code.co_flags & FUTURE_FLAGS
        key = (flags, structure(code))
        likely = self._likely(code)
        for context in range(len(self._contexts)):
            for index in likely:
                self._index(index, context, flags)
                if key in self._found:
                    return min(self._found[key], key=lambda candidate: abs(candidate.line - code.co_firstlineno))
        return None

    def all(self, flags: int) -> dict[str, Facts]:
        """The facts of all functions."""
        for index in sorted({index for indices in self._by_name.values() for index in indices}):
            for context in range(len(self._contexts)):
                self._index(index, context, flags)
        found = {}
        for (of, key), candidates in self._found.items():
            if of != flags:
                continue
            with suppress(RecursionError):
                found[key] = tree_facts(candidates[0].node, candidates[0].owner)
        return found

    def _likely(self, code: types.CodeType) -> list[int]:
        """The statements with a function of its name, the one at the line of the code first."""
        line = code.co_firstlineno
        indices = self._by_name.get(code.co_name, ())
        return sorted(indices, key=lambda index: not _spans(self._statements[index], line))

    def _index(self, index: int, context: int, flags: int) -> None:
        if (index, context, flags) in self._indexed:
            return
        self._indexed.add((index, context, flags))
        # A cell may have been refused when it was to run, or have warned then.
        with suppress(SyntaxError, ValueError, RecursionError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for key, candidate in functions_in(self._statements[index], self._contexts[context], flags):
                self._found.setdefault((flags, key), []).append(candidate)


def _spans(statement: ast.stmt, line: int) -> bool:
    first = min((node.lineno for node in getattr(statement, "decorator_list", ())), default=statement.lineno)
    return first <= line <= (statement.end_lineno or statement.lineno)


_MOST_SOURCES = 16  # a tree takes some thirty times the memory of its text


class _Sources:
    """The texts parsed so far, by file name.

    One thread at a time, because trees are changed while they are compiled.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Source | None] = {}
        new_lock_in_children(self)

    def find(self, filename: str, text: str, code: types.CodeType) -> Candidate | None:
        """The tree in `text` that compiles to `code`."""
        with self._lock:
            source = self._source(filename, text)
            return None if source is None else source.find(code)

    def all_in(self, filename: str, text: str, flags: int) -> dict[str, Facts]:
        """The facts of all functions in `text`."""
        with self._lock:
            source = self._source(filename, text)
            return {} if source is None else source.all(flags)

    def _source(self, filename: str, text: str) -> _Source | None:
        source = self._known.get(filename)
        if source is None or source.text != text:
            if len(self._known) >= _MOST_SOURCES:
                del self._known[next(iter(self._known))]
            source = self._known[filename] = _parsed(text)
        return source


def _parsed(text: str) -> _Source | None:
    try:
        return _Source(text, ast.parse(text).body)
    except (SyntaxError, ValueError, RecursionError):
        return None


_sources = _Sources()
