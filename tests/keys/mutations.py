# ruff: noqa: E501
"""Small modules with one place that is changed: each change gives `feat` another result, so it must change the key."""

from __future__ import annotations

from typing import NamedTuple

# The ways by which a decorated function gets to what it uses. `PKG` is the package, `feat` what is used.
WAYS = {
    "a name": "from PKG.core import feat\n@cached\ndef f(x): return feat(x)",
    "an attribute of a module": "from PKG import core\n@cached\ndef f(x): return core.feat(x)",
    "a dotted module": "import PKG.core\n@cached\ndef f(x): return PKG.core.feat(x)",
    "an import inside": "@cached\ndef f(x):\n    from PKG.core import feat as other\n    return other(x)",
    "a closure": "from PKG.core import feat\ndef made(g):\n    @cached\n    def f(x): return g(x)\n    return f\nf = made(feat)",
    "a default": "from PKG.core import feat\ndef call(x, back=feat): return back(x)\n@cached\ndef f(x): return call(x)",
    "a lambda": "from PKG.core import feat\nf = cached(lambda x: feat(x), name='PKG.f')",
    "a static method": "from PKG.core import feat\nclass M:\n    go = staticmethod(feat)\n@cached\ndef f(x): return M().go(x)",
    "an inherited method": (
        "from PKG.core import feat\nclass B:\n    def go(self, x): return feat(x)\nclass M(B): pass\n"
        "@cached\ndef f(x): return M().go(x)"
    ),
    "a table": "from PKG.core import feat\nT = {'a': [feat]}\n@cached\ndef f(x): return T['a'][0](x)",
    "a partial": (
        "import functools\nfrom PKG.core import feat\ncall = functools.partial(lambda g, x: g(x), feat)\n"
        "@cached\ndef f(x): return call(x)"
    ),
    "a comprehension": "from PKG.core import feat\n@cached\ndef f(x): return [feat(y) for y in (x,)][0]",
    "a decorator": (
        "import functools\nfrom PKG.core import feat\ndef deco(g):\n    @functools.wraps(g)\n"
        "    def inner(x): return g(x)\n    return inner\nh = deco(feat)\n@cached\ndef f(x): return h(x)"
    ),
    "an attribute of an instance": (
        "from PKG.core import feat\nclass S:\n    def __init__(self, g): self.g = g\ns = S(feat)\n"
        "@cached\ndef f(x): return s.g(x)"
    ),
    "an argument": (
        "from PKG.core import feat\n@cached\ndef run(g, x): return g(x)\n"
        "class F:\n    def cache_key(self, x): return run.cache_key(feat, x)\n"
        "    def __wrapped__(self, x): return feat(x)\nf = F()"
    ),
    "an instance as argument": (
        "from PKG.core import feat\nclass A:\n    def go(self, x): return feat(x)\n@cached\ndef run(a, x): return a.go(x)\n"
        "class F:\n    def cache_key(self, x): return run.cache_key(A(), x)\n"
        "    def __wrapped__(self, x): return feat(x)\nf = F()"
    ),
}


class Mutation(NamedTuple):
    """A text for `core.py` in which `OLD` is replaced by `old` or `new`."""

    text: str
    old: str
    new: str


MUTATIONS = {
    "an operator": Mutation("def feat(x): return x OLD 3", "+", "-"),
    "a comparison in a comprehension": Mutation("def feat(x): return [y for y in range(9) if y OLD x]", "<", ">="),
    "a constant": Mutation("RATE = OLD\ndef feat(x): return x * RATE", "2", "3"),
    "a float that was an integer": Mutation("RATE = OLD\ndef feat(x): return x * RATE", "2", "2.0"),
    "the sign of zero": Mutation("Z = OLD\ndef feat(x): return Z", "0.0", "-0.0"),
    "an item of a nested table": Mutation("T = {'a': [1, (2, OLD)]}\ndef feat(x): return T['a'][1][1]", "3", "4"),
    "a default": Mutation("def go(x, by=OLD): return x * by\ndef feat(x): return go(x)", "2", "3"),
    "a default that is a keyword": Mutation("def go(x, *, by=OLD): return x * by\ndef feat(x): return go(x)", "2", "3"),
    "a text in an f-string": Mutation("def feat(x): return f'{x}OLD'", "a", "b"),
    "a format": Mutation("def feat(x): return f'{x:>OLD}'", "5", "6"),
    "a pattern of a match": Mutation(
        "def feat(x):\n    match x:\n        case OLD: return 1\n        case _: return 2", "7", "8"
    ),
    "the order of bases": Mutation(
        "class A:\n    k = 1\nclass B:\n    k = 2\nclass C(OLD): pass\ndef feat(x): return C.k", "A, B", "B, A"
    ),
    "a keyword of a class": Mutation(
        "class B:\n    def __init_subclass__(cls, by): cls.by = by\nclass C(B, by=OLD): pass\ndef feat(x): return C.by",
        "1",
        "2",
    ),
    "a descriptor": Mutation(
        "class D:\n    def __get__(self, one, cls): return OLD\nclass C:\n    d = D()\ndef feat(x): return C().d",
        "1",
        "2",
    ),
    "a property": Mutation("class C:\n    @property\n    def p(self): return OLD\ndef feat(x): return C().p", "1", "2"),
    "a class method": Mutation(
        "class C:\n    @classmethod\n    def m(cls): return OLD\ndef feat(x): return C.m()", "1", "2"
    ),
    "a special method": Mutation("class C:\n    def __len__(self): return OLD\ndef feat(x): return len(C())", "1", "2"),
    "an attribute that tools put into other classes": Mutation(
        "class C:\n    metadata = {'rate': OLD}\n    registry = [1]\ndef feat(x): return x * C.metadata['rate']",
        "2",
        "3",
    ),
    "an entry of a registry": Mutation(
        "class C:\n    registry = {}\n    def __init_subclass__(cls, **options): C.registry[cls.__name__] = options\n"
        "class D(C, by=OLD): pass\ndef feat(x): return x * C.registry['D']['by']",
        "2",
        "3",
    ),
    "a private attribute of a class": Mutation(
        "class C:\n    _k = OLD\n    def m(self): return self._k\ndef feat(x): return C().m()", "1", "2"
    ),
    "a field of a dataclass": Mutation(
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n    a: int = OLD\ndef feat(x): return P().a", "1", "2"
    ),
    "a factory of a field": Mutation(
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n"
        "    a: list = dataclasses.field(default_factory=lambda: [OLD])\ndef feat(x): return P().a",
        "1",
        "2",
    ),
    "the metadata of a field": Mutation(
        "import dataclasses\n@dataclasses.dataclass\nclass P:\n"
        "    a: int = dataclasses.field(default=1, metadata={'unit': OLD})\n"
        "def feat(x): return dataclasses.fields(P)[0].metadata['unit']",
        "2",
        "3",
    ),
    "an option of a dataclass": Mutation(
        "import dataclasses\n@dataclasses.dataclass(repr=OLD)\nclass P:\n    a: int = 1\n"
        "def feat(x): return 'object' in repr(P())",
        "True",
        "False",
    ),
    "a member of an enum": Mutation(
        "import enum\nclass E(enum.Enum):\n    A = OLD\ndef feat(x): return E.A.value", "1", "2"
    ),
    "an attribute of a member of an enum": Mutation(
        "import enum\nclass E(enum.Enum):\n    A = (1, OLD)\n    def __new__(cls, value, size):\n"
        "        one = object.__new__(cls); one._value_ = value; one.size = size\n        return one\n"
        "def feat(x): return E.A.size",
        "10",
        "20",
    ),
    "a default of a named tuple": Mutation(
        "from typing import NamedTuple\nclass P(NamedTuple):\n    a: int = OLD\ndef feat(x): return P().a", "1", "2"
    ),
    "the argument of a generic base": Mutation(
        "from typing import Generic, TypeVar, get_args\nT = TypeVar('T')\nclass A: k = 1\nclass B: k = 2\n"
        "class G(Generic[T]): pass\nclass R(G[OLD]): pass\n"
        "def feat(x): return get_args(R.__orig_bases__[0])[0].k",
        "A",
        "B",
    ),
    "a class that only hides what a base says": Mutation(
        "class B: k = 1\nclass M(B):\n    OLD\nclass O(B): k = 2\nclass C(M, O): pass\ndef feat(x): return C.k",
        "k = 1",
        "pass",
    ),
    "what a context manager around a function is made of": Mutation(
        "import contextlib\n@contextlib.contextmanager\ndef scaled(by): TABLE.append(by); yield; TABLE.clear()\n"
        "TABLE = []\n@scaled(OLD)\ndef feat(x): return x * TABLE[-1]",
        "2",
        "3",
    ),
    "a registered implementation": Mutation(
        "import functools\n@functools.singledispatch\ndef show(x): return 0\n"
        "@show.register(int)\ndef _(x): return OLD\ndef feat(x): return show(x)",
        "1",
        "2",
    ),
    "a function under lru_cache": Mutation(
        "import functools\n@functools.lru_cache\ndef g(x): return x + OLD\ndef feat(x): return g(x)", "1", "2"
    ),
    "a keyword of a partial": Mutation(
        "import functools\np = functools.partial(lambda a, b: a * b, b=OLD)\ndef feat(x): return p(x)", "2", "3"
    ),
    "an operator by name": Mutation(
        "import functools, operator\ndef feat(x): return functools.reduce(operator.OLD, [2, 3, x])", "add", "mul"
    ),
    "a compiled pattern": Mutation(
        "import re\nP = re.compile('OLD')\ndef feat(x): return P.match('aaa').end()", "a+", "a"
    ),
    "the order of a table": Mutation(
        "T = OLD\ndef feat(x): return next(iter(T))", "{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"
    ),
    "the name of a function": Mutation(
        "def OLD(x): return x\nM = [OLD]\ndef feat(x): return {m.__name__: m(x) for m in M}", "mean", "average"
    ),
    "an attribute of a function": Mutation(
        "def a(x): return x\na.weight = OLD\nS = [a]\ndef feat(x): return sum(s.weight for s in S)", "2", "3"
    ),
    "an attribute of a method": Mutation(
        "class M:\n    def a(self): pass\n    a.mark = OLD\n"
        "def feat(x): return [v.mark for v in vars(M).values() if hasattr(v, 'mark')]",
        "2",
        "3",
    ),
    "a module that is handed on": Mutation(
        "import sys, types\ndef call(m, x): return m.rate * x\nm = types.ModuleType('PKG.linear')\nm.rate = OLD\n"
        "m.__file__ = __file__\nsys.modules[m.__name__] = m\ndef feat(x): return call(m, x)",
        "2",
        "3",
    ),
    "functions that call each other": Mutation(
        "def even(n): return OLD if n <= 0 else odd(n - 1)\ndef odd(n): return 0 if n <= 0 else even(n - 1)\n"
        "def feat(x): return even(x) or odd(x)",
        "2",
        "3",
    ),
    "a closed-over variable that is counted up": Mutation(
        "def counter():\n    n = 1\n    def up():\n        nonlocal n\n        n += OLD\n        return n\n    return up\n"
        "def feat(x): return counter()()",
        "1",
        "2",
    ),
    "an object inside objects": Mutation(
        "class L:\n    def __init__(self, k): self.k = k\nclass P:\n    def __init__(self, *s): self.s = list(s)\n"
        "PIPE = P(L(1), P(L(OLD)))\ndef feat(x): return PIPE.s[1].s[0].k",
        "2",
        "3",
    ),
    "a cached property set by hand": Mutation(
        "import functools\nclass S:\n    @functools.cached_property\n    def rate(self): return 1\ns = S()\ns.rate = OLD\n"
        "def feat(x): return s.rate * x",
        "2",
        "3",
    ),
    "a subclass of a list with a lock": Mutation(
        "import threading\nclass L(list):\n    def __init__(self, *a): super().__init__(*a); self.lock = threading.Lock()\n"
        "S = L([OLD])\ndef feat(x): return S[0]",
        "1",
        "2",
    ),
    "an attribute of a subclass of float": Mutation(
        "class M(float): pass\nm = M(1.5)\nm.unit = OLD\ndef feat(x): return m.unit", "'eur'", "'usd'"
    ),
    "a struct": Mutation("import struct\nH = struct.Struct('OLDH')\ndef feat(x): return H.pack(x)", "<", ">"),
    "a text in memory": Mutation("import io\nD = io.StringIO('a,OLD')\ndef feat(x): return D.getvalue()", "2", "3"),
    "a hash object": Mutation(
        "import hashlib\nS = hashlib.sha256(b'OLD')\ndef feat(x): return S.hexdigest()", "salt", "pepper"
    ),
    "the default of a context variable": Mutation(
        "import contextvars\nP = contextvars.ContextVar('p', default=OLD)\ndef feat(x): return P.get()", "2", "3"
    ),
    "a sort key made of a comparison": Mutation(
        "import functools\nK = functools.cmp_to_key(lambda a, b: OLD)\ndef feat(x): return sorted([3, 1, 2], key=K)",
        "a - b",
        "b - a",
    ),
    "a name in a text for eval": Mutation("RATE = OLD\ndef feat(x): return eval('RATE * 2')", "2", "3"),
}

# What is not noticed yet.
NOT_YET = frozenset({"a cached property set by hand"})
