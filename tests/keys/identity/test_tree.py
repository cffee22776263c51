"""Normal forms: equal exactly where code means the same; and the names that code takes from outside."""

from __future__ import annotations

import ast
import linecache
import math
import types
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dynmemo.keys.reading import normal_form
from dynmemo.keys.source import constant, read

CONSTANTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
    | st.just(...),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)


def _same(first: Any, second: Any) -> bool:
    """Whether the interpreter would tell them apart."""
    if type(first) is not type(second):
        return False
    if isinstance(first, tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, frozenset):
        return len(first) == len(second) and all(any(_same(a, b) for b in second) for a in first)
    if isinstance(first, float):
        return first == second and math.copysign(1, first) == math.copysign(1, second)
    if isinstance(first, complex):
        return _same(first.real, second.real) and _same(first.imag, second.imag)
    return bool(first == second)


@given(CONSTANTS, CONSTANTS)
def test_constants_are_equal_if_and_only_if_they_are_the_same(first: object, second: object) -> None:
    assert (constant(first) == constant(second)) is _same(first, second)


def _function(text: str) -> ast.FunctionDef | ast.Lambda:
    node = ast.parse(text).body[0]
    if isinstance(node, ast.Expr):
        assert isinstance(node.value, ast.Lambda)
        return node.value
    assert isinstance(node, ast.FunctionDef)
    return node


@given(st.text(), st.text(alphabet="ab{}\"'\\\n"))
def test_texts_in_f_strings_count_however_they_are_quoted(before: str, after: str) -> None:
    def written(text: str) -> str:
        return repr(text).replace("{", "{{").replace("}", "}}")

    def digest(*pieces: str) -> str:
        return normal_form(_function(f"lambda x: ({' '.join(pieces)})"))

    value = "f'{x}'"
    assert digest("f" + written(before), value, repr(after)) == digest(repr(before), value, "f" + written(after), "''")
    assert (digest(repr(before), value) == digest(value, repr(before))) is (before == "")


def _reads(text: str) -> set[str]:
    cell = "<cell of test_tree>"
    linecache.cache[cell] = (len(text), None, text.splitlines(keepends=True), cell)
    code = next(one for one in compile(text, cell, "exec").co_consts if isinstance(one, types.CodeType))
    reading = read(code)
    del linecache.cache[cell]
    assert reading.from_source
    return {".".join(chain) for chain in reading.reads}


def test_names_from_outside_are_those_that_python_would_look_up_there() -> None:
    assert _reads("def f(a, *b, c=d, **e): return a, b, c, e, g") == {"g"}
    assert _reads("def f():\n    x = x1\n    del x\n    for y in y1: pass\n    with w1 as w: w") == {"x1", "y1", "w1"}
    assert _reads("lambda: [a for a in b if (c := a)] + [c]") >= {"b"}
    assert _reads("lambda: {k: v for k, v in items for v in (lambda k: k + free)}") == {"items", "free"}
    assert _reads("def f():\n    class C(Base, metaclass=Meta):\n        x = y\n        def m(self): return x") == {
        "Base",
        "Meta",
        "x",
        "y",
    }
    assert _reads(
        "def f():\n    try: pass\n    except (A, B) as e: e\n    match v:\n        case C(x=D.y) as m: m"
    ) == {
        "A",
        "B",
        "C",
        "D.y",
        "v",
    }
    assert _reads("def f(a: T) -> R:\n    x: U = 1\n    def g(y: V) -> W: return y\n    return x, g") == set()
    assert _reads("def f(x):\n    @deco\n    def g(y=default): return y\n    return g") == {"deco", "default"}
    assert _reads("def f():\n    import a.b as c, d.e\n    return c.g, d.e.h") == {
        "import a.b",
        "import a.b.g",
        "import d.e",
        "import d.e.h",
    }
