"""What people do in notebooks, with the answers that a memoizer should give.

The memoizer is called `cached`; functions print "computing" when they run. Steps are cells, or questions with
the right answer and whether the function has to run for it.
"""

from __future__ import annotations

from typing import NamedTuple


class Ask(NamedTuple):
    """An expression, its right value, and whether the function has to run for it."""

    expression: str
    value: object
    computes: bool


Step = str | Ask
Scenario = list[Step]

ONE_NOTEBOOK: dict[str, Scenario] = {
    "a helper is edited in another cell": [
        "def add_tax(x):\n    return x + 1",
        "@cached\ndef price(x):\n    print('computing')\n    return add_tax(x)",
        Ask("price(1)", 2, True),
        Ask("price(1)", 2, False),
        "def add_tax(x):\n    return x + 2",
        Ask("price(1)", 3, True),
        "def add_tax(x):\n    return x + 1",
        Ask("price(1)", 2, False),
    ],
    "a helper's helper is edited": [
        "def inner(x):\n    return x + 1",
        "def outer(x):\n    return inner(x)",
        "@cached\ndef nested(x):\n    print('computing')\n    return [outer(y) for y in [x]][0]",
        Ask("nested(1)", 2, True),
        "def inner(x):\n    return x + 2",
        Ask("nested(1)", 3, True),
    ],
    "a global is rebound": [
        "RATE = 2",
        "@cached\ndef rated(x):\n    print('computing')\n    return x * RATE",
        Ask("rated(3)", 6, True),
        "RATE = 4",
        Ask("rated(3)", 12, True),
        "RATE = 2",
        Ask("rated(3)", 6, False),
    ],
    "a global list is appended to": [
        "WEIGHTS = [1]",
        "@cached\ndef weighted(x):\n    print('computing')\n    return x * sum(WEIGHTS)",
        Ask("weighted(1)", 1, True),
        "WEIGHTS.append(5)",
        Ask("weighted(1)", 6, True),
        Ask("weighted(1)", 6, False),
    ],
    "a global frame is changed in place": [
        "import pandas as pd\ndf = pd.DataFrame({'x': [1, 2], 'y': [0, 0]})",
        "@cached\ndef total():\n    print('computing')\n    return int(df['x'].sum())",
        Ask("total()", 3, True),
        "df['x'] *= 2",
        Ask("total()", 6, True),
        "df.loc[0, 'x'] = 10",
        Ask("total()", 14, True),
        Ask("total()", 14, False),
    ],
    "an instance in a global is changed": [
        "class Settings:\n    scale = 1\nsettings = Settings()",
        "@cached\ndef scaled(x):\n    print('computing')\n    return x * settings.scale",
        Ask("scaled(3)", 3, True),
        "settings.scale = 2",
        Ask("scaled(3)", 6, True),
    ],
    "closures": [
        "def adder(n):\n    @cached\n    def add(x):\n        print('computing')\n        return x + n\n    return add",
        "add_one, add_ten = adder(1), adder(10)",
        Ask("add_one(1)", 2, True),
        Ask("add_ten(1)", 11, True),
        Ask("adder(10)(1)", 11, False),
    ],
    "two lambdas on one line": [
        "plus, times = cached(lambda x: print('computing') or x + 3), cached(lambda x: print('computing') or x * 3)",
        Ask("plus(2)", 5, True),
        Ask("times(2)", 6, True),
        Ask("plus(2)", 5, False),
    ],
    "a lambda as an argument": [
        "@cached\ndef applied(function, x):\n    print('computing')\n    return function(x)",
        Ask("applied(lambda x: x + 1, 1)", 2, True),
        Ask("applied(lambda x: x - 1, 1)", 0, True),
        Ask("applied(lambda x: x + 1, 1)", 2, False),
    ],
    "an instance as an argument, its class edited": [
        "class Point:\n    def __init__(self, x):\n        self.x = x\n    def norm(self):\n        return self.x",
        "@cached\ndef length(point):\n    print('computing')\n    return point.norm()",
        Ask("length(Point(3))", 3, True),
        Ask("length(Point(4))", 4, True),
        Ask("length(Point(3))", 3, False),
        "class Point:\n    def __init__(self, x):\n        self.x = x\n    def norm(self):\n        return 2 * self.x",
        Ask("length(Point(3))", 6, True),
    ],
    "a method, by its instance's state": [
        (
            "class Model:\n    def __init__(self, k):\n        self.k = k\n    @cached\n    def predict(self, x):\n"
            "        print('computing')\n        return x * self.k"
        ),
        Ask("Model(1).predict(3)", 3, True),
        Ask("Model(2).predict(3)", 6, True),
        Ask("Model(1).predict(3)", 3, False),
    ],
    "a method that a subclass overrides": [
        (
            "class Base:\n    def unit(self):\n        return 1\n    @cached\n    def measure(self, x):\n"
            "        print('computing')\n        return x * self.unit()"
        ),
        "class Sub(Base):\n    def unit(self):\n        return 100",
        Ask("Base().measure(3)", 3, True),
        Ask("Sub().measure(3)", 300, True),
    ],
    "a default is changed": [
        "LIMIT = 1\n@cached\ndef limited(x, limit=LIMIT):\n    print('computing')\n    return min(x, limit)",
        Ask("limited(5)", 1, True),
        "LIMIT = 3\n@cached\ndef limited(x, limit=LIMIT):\n    print('computing')\n    return min(x, limit)",
        Ask("limited(5)", 3, True),
    ],
    "one and the other spelling of a call": [
        "@cached\ndef spelled(a, b=2):\n    print('computing')\n    return a + b",
        Ask("spelled(1)", 3, True),
        Ask("spelled(1, 2)", 3, False),
        Ask("spelled(b=2, a=1)", 3, False),
    ],
    "1, 1.0, True and '1'": [
        "@cached\ndef kind(x):\n    print('computing')\n    return type(x).__name__",
        Ask("kind(1)", "int", True),
        Ask("kind(1.0)", "float", True),
        Ask("kind(True)", "bool", True),
        Ask("kind('1')", "str", True),
        Ask("kind(1)", "int", False),
    ],
    "a comment, a docstring and a type hint": [
        "@cached\ndef noted(x):\n    print('computing')\n    return x + 1",
        Ask("noted(1)", 2, True),
        "@cached\ndef noted(x: int) -> int:\n    '''Adds one.'''\n    # to x\n    print('computing')\n    return x + 1",
        Ask("noted(1)", 2, False),
    ],
    "another formatting": [
        "@cached\ndef formatted(x):\n    print('computing')\n    return max(x, 2)",
        Ask("formatted(1)", 2, True),
        '@cached\ndef formatted( x ):\n\n  print( "computing" )\n  return (max(x,\n    2))',
        Ask("formatted(1)", 2, False),
    ],
    "the cell is moved down and run again": [
        "def moved_helper(x):\n    return x + 1",
        "@cached\ndef moved(x):\n    print('computing')\n    return moved_helper(x)",
        Ask("moved(1)", 2, True),
        "unrelated = 1",
        (
            "# lower now\n\nother = 2\n@cached\ndef moved(x):\n    print('computing')\n    return moved_helper(x)\n"
            "def moved_helper(x):\n    return x + 1"
        ),
        Ask("moved(1)", 2, False),
    ],
    "an unrelated cell is edited": [
        "def unrelated_helper():\n    return 1",
        "@cached\ndef untouched(x):\n    print('computing')\n    return x",
        Ask("untouched(1)", 1, True),
        "def unrelated_helper():\n    return 2\nUNRELATED = 3",
        Ask("untouched(1)", 1, False),
    ],
    "counters and registries that the function itself changes": [
        "count = 0\nseen = []\nmemory = {}",
        (
            "@cached\ndef counted(x):\n    global count\n    count += 1\n    seen.append(x)\n    memory[x] = count\n"
            "    print('computing')\n    return x"
        ),
        Ask("counted(1)", 1, True),
        Ask("counted(2)", 2, True),
        Ask("counted(1)", 1, False),
        Ask("(counted(2), count, seen)", (2, 2, [1, 2]), False),
    ],
    "a logger and a lock": [
        "import logging, threading\nlog = logging.getLogger('mine')\nlock = threading.Lock()",
        "@cached\ndef locked(x):\n    with lock:\n        log.info('x')\n        print('computing')\n        return x",
        Ask("locked(1)", 1, True),
        Ask("locked(1)", 1, False),
        "lock = threading.Lock()",
        Ask("locked(1)", 1, False),
    ],
    "a module of one's own is edited and reloaded": [
        (
            "import importlib, pathlib, sys\nsys.dont_write_bytecode = True\nsys.path.insert(0, '.')\n"
            "pathlib.Path('own_module.py').write_text('def scale(x):\\n    return x * 2\\n')\nimport own_module"
        ),
        "@cached\ndef by_module(x):\n    print('computing')\n    return own_module.scale(x)",
        Ask("by_module(1)", 2, True),
        (
            "pathlib.Path('own_module.py').write_text('# twice\\ndef scale(x):\\n    return x * 2\\n')\n"
            "own_module = importlib.reload(own_module)"
        ),
        Ask("by_module(1)", 2, False),
        (
            "pathlib.Path('own_module.py').write_text('def scale(x):\\n    return x * 30\\n')\n"
            "own_module = importlib.reload(own_module)"
        ),
        Ask("by_module(1)", 30, True),
    ],
    "a module of one's own with a logger and a lock": [
        (
            "import importlib, pathlib, sys\nsys.dont_write_bytecode = True\nsys.path.insert(0, '.')\n"
            "pathlib.Path('own_logging.py').write_text('''import logging, threading\n"
            "log = logging.getLogger(__name__)\nlock = threading.Lock()\n"
            "def careful(x):\n    with lock:\n        log.debug('x')\n        return x + 1\n''')\n"
            "import own_logging"
        ),
        "@cached\ndef with_care(x):\n    print('computing')\n    return own_logging.careful(x)",
        Ask("with_care(1)", 2, True),
        "own_logging = importlib.reload(own_logging)",
        Ask("with_care(1)", 2, False),
    ],
}

# First the steps in one kernel, then those in another one with the same cache.
TWO_KERNELS: dict[str, tuple[Scenario, Scenario]] = {
    "the kernel is restarted": (
        [
            "FACTOR = {'b': 2, 'a': {3, 1}}\nclass Shape:\n    sides = 3\ndef area(x):\n    return x * FACTOR['b']",
            "@cached\ndef restarted(x, shape=None):\n    print('computing')\n    return area(x)",
            Ask("restarted(2, Shape())", 4, True),
        ],
        [
            (
                "# now in one cell\nclass Shape:\n    sides = 3\nFACTOR = {'a': {1, 3}, 'b': 2}\n"
                "@cached\ndef restarted(x, shape=None):\n    print('computing')\n    return area(x)\n"
                "def area(x):\n    return x * FACTOR['b']"
            ),
            Ask("restarted(2, Shape())", 4, False),
        ],
    ),
    "two notebooks define the same name with different code": (
        [
            "@cached\ndef load(x):\n    print('computing')\n    return x + 1",
            Ask("load(1)", 2, True),
        ],
        [
            "@cached\ndef load(x):\n    print('computing')\n    return x - 1",
            Ask("load(1)", 0, True),
        ],
    ),
    "two notebooks have different helpers of the same name": (
        [
            "def clean(x):\n    return x + 1\n@cached\ndef cleaned(x):\n    print('computing')\n    return clean(x)",
            Ask("cleaned(1)", 2, True),
        ],
        [
            "def clean(x):\n    return x - 1\n@cached\ndef cleaned(x):\n    print('computing')\n    return clean(x)",
            Ask("cleaned(1)", 0, True),
        ],
    ),
    "a set and strings under another hash seed": (
        [
            "@cached\ndef joined(x):\n    print('computing')\n    return sorted(x)",
            Ask("joined({'a', 'b', 'c', 'd'})", ["a", "b", "c", "d"], True),
        ],
        [
            "@cached\ndef joined(x):\n    print('computing')\n    return sorted(x)",
            Ask("joined({'d', 'c', 'b', 'a'})", ["a", "b", "c", "d"], False),
        ],
    ),
}
