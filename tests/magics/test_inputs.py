"""Which names a cell may read before it binds them."""

from __future__ import annotations

import ast

import pytest

from dynmemo.magics.inputs import bound_names, declared_global, read_before_bound

READ = {
    "x = x + 1": "x",
    "x = 1\ny = x + z": "z",
    "total += 1": "total",
    "d = {}\nd['a'] = e\ng[k], o.p = 1, 2": "e g k o",
    "del a\na": "a",
    "import os.path as p, sys\np, sys, os": "os",
    "[x for x in y]\nx = 1": "y",
    "f = lambda p: p + n\nn = 1": "n",
    "a = (b := c)": "c",
    # What a function reads is read where it may be called.
    "def f(a, b=K):\n    return g(a) + w\nv = f(1)\nw = 2\ndef g(x): return x": "K g w",
    "def f(): return g()\ndef g(): return w\nw = 1\nf()": "",
    "@once\ndef f(): return w\nw = 1": "once w",
    "class A(B):\n    k = C\n    def m(self): return D\nD = 1\nA()": "B C",
    "class A:\n    def m(self): return D\nA()\nD = 1": "D",
    "class A:\n    k = [D for _ in C]\n    class B: k = E, (lambda: F)()\nD = E = F = 1": "C D E F",
    "class A:\n    @property\n    def m(self): return D\nD = 1": "property",
    "class A:\n    @once\n    def m(self): return D\nD = 1": "D once",
    "for d[k] in g: pass\nwith o as p.q: pass\nd = k = p = 1": "d g k o p",
    "df.query('x > @n')\neval('p + 1')\nn = p = 1": "df eval n p",
    # What is bound for certain.
    "if c:\n    y = 1\nelse:\n    y = 2\ny": "c",
    "if c:\n    y = 1\ny": "c y",
    "if c:\n    y = 1\nelse:\n    raise E\ny": "E c",
    "for i in range(3): t = i\nt, i": "range",
    "for i in [1, 2]: t = i\nt, i": "",
    "for i in rows: t = i\nt": "rows t",
    "for i in range(3):\n    if c: break\n    t = i\nt": "c range t",
    "for i in range(0): t = i\nt": "range t",
    "while c: t = 1\nt": "c t",
    "with open(p) as f: d = f.read()\nd, f": "open p",
    "with suppress(E): d = 1\nd": "E d suppress",
    "with quiet(): d = 1\nd": "d quiet",
    "try:\n    import q\nexcept ImportError:\n    q = None\nq": "ImportError",
    "try:\n    y = 1\nexcept E:\n    pass\ny": "E y",
    "try:\n    y = 1\nfinally:\n    z = 2\ny, z": "",
    "try:\n    y = 1\nexcept E as e:\n    raise\ny, e": "E e",
    "match v:\n    case [a, *b]: c = a, b\n    case {'k': d, **rest} if rest: c = d\nc": "c v",
    "match v:\n    case K.a | P(x=1): pass\nK = P = 1": "K P v",
}


@pytest.mark.parametrize("source", READ)
def test_names_that_may_be_read_before_they_are_bound(source: str) -> None:
    assert read_before_bound(ast.parse(source).body, ()) == set(READ[source].split())


def test_names_asked_for_at_the_end_are_read_there() -> None:
    assert read_before_bound(ast.parse("if c:\n    x = 1").body, ["x", "y"]) == {"c", "x", "y"}


def test_names_that_a_cell_may_bind() -> None:
    source = """
import a.b, c as d
from e import f
def g(): h = 1
class I: j = 1
k, (l, *m) = 1, (2,)
for n in [o for o in (p := [1])]: q: int = 1
with r as s: del t
try: pass
except u as v: pass
match w:
    case {"x": y, **z}: pass
"""
    assert bound_names(ast.parse(source).body) == {*"adfgIklmnpqstvyz"}


def test_names_that_functions_and_classes_of_a_cell_may_bind() -> None:
    source = "def f():\n    def g():\n        global a, b\nclass C:\n    global c\nd = 1"
    assert declared_global(ast.parse(source).body) == {"a", "b", "c"}
