"""Programs whose ``f`` changes something, and programs with an ``edit`` that does."""
# ruff: noqa: E501, ISC004 - a program to a line is easier to compare

from __future__ import annotations

# Program, and what ingredients call the state. Calling f() changes it.
STATE = {
    "a global bound anew": ("n = 0\ndef f():\n    global n\n    n += 1", "n"),
    "a global bound anew by a helper": ("n = 0\ndef g():\n    global n\n    n = n + 1\ndef f():\n    g()", "n"),
    "a global bound anew by a nested function": (
        "n = 0\ndef f():\n    def g():\n        global n\n        n += 1\n    g()",
        "n",
    ),
    "a global bound by an import": ("json = None\ndef f():\n    global json\n    import json\n    return json", "json"),
    "a closed-over name bound anew": (
        "def make():\n    n = 0\n    def f():\n        nonlocal n\n        n += 1\n    return f\nf = make()",
        "n",
    ),
    "an item set": ("c = {}\ndef f():\n    c[len(c)] = 1", "c"),
    "an item increased": ("n = [0]\ndef f():\n    n[0] += 1", "n"),
    "an item deleted": ("c = [1, 2, 3]\ndef f():\n    del c[0]", "c"),
    "an item of an item": ("c = {'a': {}}\ndef f():\n    c['a'][len(c['a'])] = 1", "c"),
    "a slice": ("c = [1]\ndef f():\n    c[:0] = [1]", "c"),
    "append": ("seen = []\ndef f():\n    seen.append(1)", "seen"),
    "append to a list of lists": (
        "from collections import defaultdict\nseen = defaultdict(list)\ndef f():\n    seen['a'].append(1)",
        "seen",
    ),
    "add": ("seen = set()\ndef f():\n    seen.add(len(seen))", "seen"),
    "update": ("c = {}\ndef f():\n    c.update({len(c): 1})", "c"),
    "setdefault": ("c = {}\ndef f():\n    return c.setdefault(len(c), 1)", "c"),
    "counting": (
        "from collections import Counter\nc = Counter()\ndef f():\n    c.update('a')",
        "c",
    ),
    "popping from a deque": (
        "from collections import deque\nd = deque(range(9))\ndef f():\n    return d.popleft()",
        "d",
    ),
    "an attribute set": (
        "class M:\n    count = 0\nm = M()\ndef f():\n    m.count += 1",
        "m.count",
    ),
    "an attribute's item": (
        "class M:\n    def __init__(self): self.log = {}\nm = M()\ndef f():\n    m.log[len(m.log)] = 1",
        "m.log",
    ),
    "an attribute's list": (
        "class M:\n    def __init__(self): self.log = []\nm = M()\ndef f():\n    m.log.append(1)",
        "m.log",
    ),
    "a slot": (
        "class M:\n    __slots__ = ('count',)\n    def __init__(self): self.count = 0\nm = M()\ndef f():\n    m.count += 1",
        "m.count",
    ),
    "a class attribute": ("class M:\n    count = 0\ndef f():\n    M.count += 1", "M.count"),
    "a class attribute in the constructor": (
        "class M:\n    count = 0\n    def __init__(self): M.count += 1\ndef f():\n    M()",
        "M.count",
    ),
    "an attribute set by a method": (
        "class M:\n    def __init__(self): self.count = 0\n    def bump(self): self.count += 1\n"
        "m = M()\ndef f():\n    m.bump()",
        "M.count",
    ),
    "an attribute set by a method's helper": (
        "class M:\n    def __init__(self): self.log = []\n    def bump(self): self._note()\n"
        "    def _note(self): self.log.append(1)\nm = M()\ndef f():\n    m.bump()",
        "M.log",
    ),
    "a private attribute set by a method": (
        "class M:\n    def __init__(self): self.__n = 0\n    def bump(self): self.__n += 1\nm = M()\ndef f():\n    m.bump()",
        "M._M__n",
    ),
    "an attribute set by calling the instance": (
        "class M:\n    def __init__(self): self.n = 0\n    def __call__(self): self.n += 1\nm = M()\ndef f():\n    m()",
        "M.n",
    ),
    "an attribute of an attribute set by a method": (
        "class C:\n    def __init__(self): self.n = 0\n    def go(self): self.n += 1\n"
        "class M:\n    def __init__(self): self.client = C()\n    def go(self): self.client.go()\n"
        "m = M()\ndef f():\n    m.go()",
        "C.n",
    ),
    "a function's attribute": ("def g(): pass\ng.calls = 0\ndef f():\n    g.calls += 1", "g.calls"),
    "its own attribute": ("def f():\n    f.calls += 1\nf.calls = 0", "f.calls"),
    "another name for it": ("c = {}\ndef f():\n    d = c\n    d[len(d)] = 1", "c"),
    "a helper's default": ("def g(seen=[]):\n    seen.append(1)\ndef f():\n    g()", "seen"),
    "a decorator's memory": (
        "def memo(g):\n    cache = {}\n    def w(x):\n        if x not in cache:\n            cache[x] = g(x)\n        return cache[x]\n"
        "    return w\n@memo\ndef g(x): return x\ndef f():\n    for i in range(9): g(i)",
        "cache",
    ),
    "a global set by a method that is called": (
        "n = 0\nclass M:\n    def bump(self):\n        global n\n        n += 1\ndef f():\n    M().bump()",
        "n",
    ),
    "a class attribute by the type of an instance": (
        "class M:\n    n = 0\n    def __init__(self): type(self).n += 1\ndef f():\n    M()",
        "M.n",
    ),
    "a class attribute by the class of an instance": (
        "class M:\n    n = 0\n    def __init__(self):\n        cls = self.__class__\n        cls.n += 1\ndef f():\n    M()",
        "M.n",
    ),
    "a class attribute of a class method": (
        "class M:\n    made = []\n    @classmethod\n    def make(cls): cls.made.append(1)\ndef f():\n    M.make()",
        "M.made",
    ),
    "an object that its class keeps": (
        "class M:\n    last = None\n    def __new__(cls):\n        cls.last = super().__new__(cls)\n        return cls.last\n"
        "    def __init__(self): self.k = 1\ndef f():\n    M()",
        "M.last",
    ),
    "a registry of a metaclass": (
        "class Meta(type):\n    def __call__(cls, *args):\n        cls.made = cls.made + 1\n        return super().__call__(*args)\n"
        "class M(metaclass=Meta):\n    made = 0\ndef f():\n    M()",
        "M.made",
    ),
    "an attribute set by a function that is given the object": (
        "class M: pass\nm = M()\nm.n = 0\ndef bump(o): o.n += 1\ndef f():\n    bump(m)",
        "m.n",
    ),
    "an attribute set by a function that a method gives the object": (
        "def bump(o): o.n += 1\nclass M:\n    def __init__(self): self.n = 0\n    def go(self): bump(self)\n"
        "m = M()\ndef f():\n    m.go()",
        "m.n",
    ),
    "a list given to a function that is given as well": (
        "c = []\ndef fill(c): c.append(1)\ndef call(g, c): g(c)\ndef f():\n    call(fill, c)",
        "c",
    ),
    "a heap, by another name of the function": (
        "from heapq import heappush as push\nh = []\ndef f():\n    push(h, len(h))",
        "h",
    ),
    "generators of random numbers in a list": (
        "import random\nrs = [random.Random(1)]\ndef f():\n    for r in rs: r.random()",
        "rs",
    ),
    "an own object in a table": (
        "class C:\n    def __init__(self): self.n = 0\n    def inc(self): self.n += 1\nt = {'a': [C()]}\ndef f():\n    t['a'][0].inc()",
        "t",
    ),
    "a list of a class, by an instance": (
        "class M:\n    made = []\n    def __init__(self): self.made.append(1)\ndef f():\n    M()",
        "M.made",
    ),
    "a column": ("import pandas as pd\nd = pd.DataFrame({'x': [1]})\ndef f():\n    d[len(d.columns)] = 1", "d"),
    "a frame in place": (
        "import warnings\nimport pandas as pd\nd = pd.DataFrame({'x': range(9)})\ndef f():\n    with warnings.catch_warnings():\n"
        "        warnings.simplefilter('ignore')\n        d.drop(d.index[0], inplace=True)",
        "d",
    ),
}

# Program with an `edit` that changes, while `f` computes, what the code of `f` cannot change; and what it changes.
MEANWHILE = {
    "a table given to a builtin": ("c = {'a': 1}\ndef edit():\n    c['a'] = 2\ndef f():\n    return sorted(c)", "c"),
    "a table given to an own function that only reads": (
        "c = {'a': 1}\nseen = []\ndef note(seen): seen.append(1)\ndef total(t): return sum(t.values())\n"
        "def edit():\n    c['a'] = 2\ndef f():\n    note(seen)\n    return total(c)",
        "c",
    ),
    "an object of a package that is only asked for attributes": (
        "import argparse\nc = argparse.Namespace(rate=1)\ndef edit():\n    c.rate = 2\ndef f():\n    return c.rate",
        "c",
    ),
    "an object whose constructor alone sets its attributes": (
        "class M:\n    def __init__(self): self.rate = 1\nc = M()\ndef edit():\n    c.rate = 2\ndef f():\n    return c.rate",
        "c.rate",
    ),
    "a table of such objects": (
        "class M:\n    def __init__(self): self.rate = 1\nc = [M()]\ndef edit():\n    c[0].rate = 2\ndef f():\n    return c[0].rate",
        "c",
    ),
    "a frame of which a mean is taken": (
        "import pandas as pd\nd = pd.DataFrame({'x': [1]})\ndef edit():\n    d['x'] = 2\ndef f():\n    return d.mean()",
        "d",
    ),
    "an attribute of a class of which a method is called": (
        "class M:\n    w = 0\n    @staticmethod\n    def get(): return 1\ndef edit():\n    M.w = 1\ndef f():\n    return M.get()",
        "M.w",
    ),
    "an attribute of a class that an instance sets for itself": (
        "class M:\n    w = 0\n    def go(self): self.w = 2\ndef edit():\n    M.w = 1\ndef f():\n    M().go()",
        "M.w",
    ),
}

# Program with an `edit`, called from elsewhere, that changes an input.
INPUT = {
    "a global set by others": "n = 0\ndef edit():\n    global n\n    n = 1\ndef f():\n    return n",
    "a list filled by others": "c = [0]\ndef edit():\n    c.append(1)\ndef f():\n    return c[0]",
    "another attribute than the one set": (
        "class M: pass\nm = M()\nm.rate = 1\nm.count = 0\ndef edit():\n    m.rate = 2\ndef f():\n    m.count += 1\n    return m.rate"
    ),
    "a pure method named like one that changes": (
        "class C:\n    def __init__(self): self.n = 0\n    def add(self, x): return self.n + x\n"
        "c = C()\ndef edit():\n    c.n = 1\ndef f():\n    return c.add(1)"
    ),
    "a module's function named like one that changes": (
        "import os\nn = [0]\ndef edit():\n    n[0] = 1\ndef f():\n    return os.remove, n[0]"
    ),
    "a copy under the same name as the original": (
        "c = {'a': 0}\ndef edit():\n    c['a'] = 1\ndef f():\n    d = c\n    d = dict(d)\n    d['b'] = 1\n    return d"
    ),
    "what a method that is not called sets": (
        "n = 0\nclass M:\n    def configure(self, x):\n        global n\n        n = x\n    def predict(self): return n\n"
        "m = M()\ndef edit():\n    m.configure(1)\ndef f():\n    return m.predict()"
    ),
    "what a method that is not called sets in its instance": (
        "class M:\n    def __init__(self): self.w = 0\n    def fit(self): self.w += 1\n    def predict(self): return self.w\n"
        "m = M()\ndef edit():\n    m.fit()\ndef f():\n    return m.predict()"
    ),
    "what a method that is not called sets in its class": (
        "class M:\n    w = 0\n    @staticmethod\n    def configure(): M.w = 1\n    def predict(self): return self.w\n"
        "def edit():\n    M.configure()\ndef f():\n    return M().predict()"
    ),
    "a method that is put there later": (
        "class M:\n    def m(self): return 1\ndef edit():\n    M.m = lambda self: 2\ndef f():\n    return M().m()"
    ),
    "a method that is put into a base": (
        "class B: pass\nclass M(B): pass\ndef edit():\n    B.m = lambda self: 2\ndef f():\n    return M().m()"
    ),
    "the class of an instance": (
        "class A:\n    x = 1\nclass B:\n    x = 2\na = A()\ndef edit():\n    a.__class__ = B\ndef f():\n    return a.x"
    ),
    "an attribute that is new": (
        "class M: pass\nm = M()\ndef edit():\n    m.x = 1\ndef f():\n    return getattr(m, 'x', 0)"
    ),
    "a nested list": "c = {'a': [[1]]}\ndef edit():\n    c['a'][0].append(2)\ndef f():\n    return c",
    "a list in a tuple": "c = ([1],)\ndef edit():\n    c[0].append(2)\ndef f():\n    return c",
    "a list in an attribute": (
        "class M:\n    def __init__(self): self.w = [1]\nm = M()\ndef edit():\n    m.w.append(2)\ndef f():\n    return m.w"
    ),
    "a list in a class": "class M:\n    w = [1]\ndef edit():\n    M.w.append(2)\ndef f():\n    return M.w",
    "a list beside a lock": (
        "import threading\nc = {'lock': threading.Lock(), 'w': [1]}\ndef edit():\n    c['w'].append(2)\ndef f():\n    return c['w']"
    ),
    "what is new beside a lock": (
        "import threading\nc = {'lock': threading.Lock()}\ndef edit():\n    c['w'] = 1\ndef f():\n    return c.get('w')"
    ),
    "the code of a helper": (
        "def g(): return 1\ndef h(): return 2\ndef edit():\n    g.__code__ = h.__code__\ndef f():\n    return g()"
    ),
    "the defaults of a helper": "def g(x=1): return x\ndef edit():\n    g.__defaults__ = (2,)\ndef f():\n    return g()",
    "a keyword default of a helper": (
        "def g(*, x=1): return x\ndef edit():\n    g.__kwdefaults__['x'] = 2\ndef f():\n    return g()"
    ),
    "the keyword defaults of a helper": (
        "def g(*, x=1): return x\ndef edit():\n    g.__kwdefaults__ = {'x': 2}\ndef f():\n    return g()"
    ),
    "a list that is a default": (
        "W = [1]\ndef g(x=W): return x\ndef edit():\n    W.append(2)\ndef f():\n    return g()"
    ),
    "a function in a registry": (
        "R = {'a': lambda: 1}\ndef edit():\n    R['a'] = lambda: 2\ndef f():\n    return R['a']()"
    ),
    "closures that change places": (
        "def make(n): return lambda: n\nR = {'a': make(1), 'b': make(2)}\n"
        "def edit():\n    R['a'], R['b'] = R['b'], R['a']\ndef f():\n    return R['a']()"
    ),
    "a global of a function in a registry": (
        "n = 1\ndef g(): return n\nR = [g]\ndef edit():\n    global n\n    n = 2\ndef f():\n    return R[0]()"
    ),
    "a closed-over name": (
        "def make():\n    n = 1\n    def edit():\n        nonlocal n\n        n = 2\n    return edit, lambda: n\nedit, f = make()"
    ),
    "a name that was missing": "def edit():\n    global n\n    n = 1\ndef f():\n    return n",
    "a name that goes": "n = 1\ndef edit():\n    global n\n    del n\ndef f():\n    return n",
    "a builtin that is hidden": "def edit():\n    global len\n    len = sum\ndef f():\n    return len([1])",
    "a partial's list": (
        "from functools import partial\nW = [1]\ng = partial(sum, W)\ndef edit():\n    W.append(2)\ndef f():\n    return g()"
    ),
    "a function's attribute": (
        "def g(): pass\ng.limit = 1\ndef edit():\n    g.limit = 2\ndef f():\n    return g.limit"
    ),
    "a function's first attribute": (
        "def g(): pass\ndef edit():\n    g.limit = 2\ndef f():\n    return getattr(g, 'limit', 1)"
    ),
    "a name in the place of a method that dataclass made": (
        "from dataclasses import dataclass\n@dataclass\nclass S:\n    x: int\n"
        "def edit():\n    del S.__eq__\n    S.y = 2\ndef f():\n    return S(1) == S(1), getattr(S, 'y', 1)"
    ),
    "a dataclass's value": (
        "from dataclasses import dataclass\n@dataclass\nclass S:\n    x: int\ns = S(1)\ndef edit():\n    s.x = 2\ndef f():\n    return s.x"
    ),
    "a slot's value": (
        "class S:\n    __slots__ = ('x',)\ns = S()\ns.x = 1\ndef edit():\n    s.x = 2\ndef f():\n    return s.x"
    ),
    "a subclass of dict": ("class S(dict): pass\ns = S(x=1)\ndef edit():\n    s['x'] = 2\ndef f():\n    return s['x']"),
    "an implementation that is registered": (
        "import functools\n@functools.singledispatch\ndef g(x): return 0\ndef edit():\n    g.register(int, lambda x: 1)\n"
        "def f():\n    return g(1)"
    ),
    "a slot that is filled": (
        "class S:\n    __slots__ = ('x',)\ns = S()\ndef edit():\n    s.x = 2\ndef f():\n    return s.x"
    ),
    "an item in a partial": (
        "from functools import partial\ng = partial(dict, a=1)\ndef edit():\n    g.keywords['b'] = 2\ndef f():\n    return g()"
    ),
    "an array": "import numpy as np\na = np.ones(3)\ndef edit():\n    a[0] = 2\ndef f():\n    return a",
    "a frame": (
        "import pandas as pd\nd = pd.DataFrame({'x': [1]})\ndef edit():\n    d['x'] *= 2\ndef f():\n    return d"
    ),
}
