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
    "a hit brings an instance of a class, and then what the class uses is edited": [
        """
        def shift(x):
            return x + 1
        class Shifter:
            def of(self, x):
                return shift(x)
        @cached
        def make_shifter():
            print('computing')
            return Shifter()
        @cached
        def shifted(x):
            print('computing')
            return Shifter().of(x)
        """,
        Ask("shifted(1)", 2, True),
        Ask("make_shifter().of(1)", 2, True),
        Ask("make_shifter().of(1)", 2, False),
        Ask("shifted(1)", 2, False),
        """
        def shift(x):
            return x + 100
        """,
        Ask("Shifter().of(1)", 101, False),
        Ask("make_shifter().of(1)", 101, True),
        Ask("make_shifter().of(1)", 101, False),
        Ask("shifted(1)", 101, True),
    ],
    "a helper is edited in another cell": [
        """
        def add_tax(x):
            return x + 1
        """,
        """
        @cached
        def price(x):
            print('computing')
            return add_tax(x)
        """,
        Ask("price(1)", 2, True),
        Ask("price(1)", 2, False),
        """
        def add_tax(x):
            return x + 2
        """,
        Ask("price(1)", 3, True),
        """
        def add_tax(x):
            return x + 1
        """,
        Ask("price(1)", 2, False),
    ],
    "a helper's helper is edited": [
        """
        def inner(x):
            return x + 1
        """,
        """
        def outer(x):
            return inner(x)
        """,
        """
        @cached
        def nested(x):
            print('computing')
            return [outer(y) for y in [x]][0]
        """,
        Ask("nested(1)", 2, True),
        """
        def inner(x):
            return x + 2
        """,
        Ask("nested(1)", 3, True),
    ],
    "a global is rebound": [
        "RATE = 2",
        """
        @cached
        def rated(x):
            print('computing')
            return x * RATE
        """,
        Ask("rated(3)", 6, True),
        "RATE = 4",
        Ask("rated(3)", 12, True),
        "RATE = 2",
        Ask("rated(3)", 6, False),
    ],
    "a global list is appended to": [
        "WEIGHTS = [1]",
        """
        @cached
        def weighted(x):
            print('computing')
            return x * sum(WEIGHTS)
        """,
        Ask("weighted(1)", 1, True),
        "WEIGHTS.append(5)",
        Ask("weighted(1)", 6, True),
        Ask("weighted(1)", 6, False),
    ],
    "a global frame is changed in place": [
        """
        import pandas as pd
        df = pd.DataFrame({'x': [1, 2], 'y': [0, 0]})
        """,
        """
        @cached
        def total():
            print('computing')
            return int(df['x'].sum())
        """,
        Ask("total()", 3, True),
        "df['x'] *= 2",
        Ask("total()", 6, True),
        "df.loc[0, 'x'] = 10",
        Ask("total()", 14, True),
        Ask("total()", 14, False),
    ],
    "an instance in a global is changed": [
        """
        class Settings:
            scale = 1
        settings = Settings()
        """,
        """
        @cached
        def scaled(x):
            print('computing')
            return x * settings.scale
        """,
        Ask("scaled(3)", 3, True),
        "settings.scale = 2",
        Ask("scaled(3)", 6, True),
    ],
    "closures": [
        """
        def adder(n):
            @cached
            def add(x):
                print('computing')
                return x + n
            return add
        """,
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
        """
        @cached
        def applied(function, x):
            print('computing')
            return function(x)
        """,
        Ask("applied(lambda x: x + 1, 1)", 2, True),
        Ask("applied(lambda x: x - 1, 1)", 0, True),
        Ask("applied(lambda x: x + 1, 1)", 2, False),
    ],
    "an instance as an argument, its class edited": [
        """
        class Point:
            def __init__(self, x):
                self.x = x
            def norm(self):
                return self.x
        """,
        """
        @cached
        def length(point):
            print('computing')
            return point.norm()
        """,
        Ask("length(Point(3))", 3, True),
        Ask("length(Point(4))", 4, True),
        Ask("length(Point(3))", 3, False),
        """
        class Point:
            def __init__(self, x):
                self.x = x
            def norm(self):
                return 2 * self.x
        """,
        Ask("length(Point(3))", 6, True),
    ],
    "a method, by its instance's state": [
        """
        class Model:
            def __init__(self, k):
                self.k = k
            @cached
            def predict(self, x):
                print('computing')
                return x * self.k
        """,
        Ask("Model(1).predict(3)", 3, True),
        Ask("Model(2).predict(3)", 6, True),
        Ask("Model(1).predict(3)", 3, False),
    ],
    "a method that a subclass overrides": [
        """
        class Base:
            def unit(self):
                return 1
            @cached
            def measure(self, x):
                print('computing')
                return x * self.unit()
        """,
        """
        class Sub(Base):
            def unit(self):
                return 100
        """,
        Ask("Base().measure(3)", 3, True),
        Ask("Sub().measure(3)", 300, True),
    ],
    "a default is changed": [
        """
        LIMIT = 1
        @cached
        def limited(x, limit=LIMIT):
            print('computing')
            return min(x, limit)
        """,
        Ask("limited(5)", 1, True),
        """
        LIMIT = 3
        @cached
        def limited(x, limit=LIMIT):
            print('computing')
            return min(x, limit)
        """,
        Ask("limited(5)", 3, True),
    ],
    "one and the other spelling of a call": [
        """
        @cached
        def spelled(a, b=2):
            print('computing')
            return a + b
        """,
        Ask("spelled(1)", 3, True),
        Ask("spelled(1, 2)", 3, False),
        Ask("spelled(b=2, a=1)", 3, False),
    ],
    "1, 1.0, True and '1'": [
        """
        @cached
        def kind(x):
            print('computing')
            return type(x).__name__
        """,
        Ask("kind(1)", "int", True),
        Ask("kind(1.0)", "float", True),
        Ask("kind(True)", "bool", True),
        Ask("kind('1')", "str", True),
        Ask("kind(1)", "int", False),
    ],
    "a result is changed by who got it": [
        """
        @cached
        def listed(x):
            print('computing')
            return [x]
        """,
        Ask("listed(1).append(2)", None, True),
        Ask("listed(1).append(3)", None, False),
        Ask("listed(1)", [1], False),
    ],
    "arrays that differ in one element of a million": [
        """
        import numpy
        @cached
        def total(array):
            print('computing')
            return int(array.sum())
        million = numpy.ones(1_000_000, dtype=int)
        other = million.copy()
        other[500_000] = 2
        """,
        Ask("total(million)", 1_000_000, True),
        Ask("total(other)", 1_000_001, True),
        Ask("total(million.copy())", 1_000_000, False),
    ],
    "a comment, a docstring and a type hint": [
        """
        @cached
        def noted(x):
            print('computing')
            return x + 1
        """,
        Ask("noted(1)", 2, True),
        """
        @cached
        def noted(x: int) -> int:
            '''Adds one.'''
            # to x
            print('computing')
            return x + 1
        """,
        Ask("noted(1)", 2, False),
    ],
    "another formatting": [
        """
        @cached
        def formatted(x):
            print('computing')
            return max(x, 2)
        """,
        Ask("formatted(1)", 2, True),
        """
        @cached
        def formatted( x ):

          print( "computing" )
          return (max(x,
            2))
        """,
        Ask("formatted(1)", 2, False),
    ],
    "the cell is moved down and run again": [
        """
        def moved_helper(x):
            return x + 1
        """,
        """
        @cached
        def moved(x):
            print('computing')
            return moved_helper(x)
        """,
        Ask("moved(1)", 2, True),
        "unrelated = 1",
        """
        # lower now

        other = 2
        @cached
        def moved(x):
            print('computing')
            return moved_helper(x)
        def moved_helper(x):
            return x + 1
        """,
        Ask("moved(1)", 2, False),
    ],
    "an unrelated cell is edited": [
        """
        def unrelated_helper():
            return 1
        """,
        """
        @cached
        def untouched(x):
            print('computing')
            return x
        """,
        Ask("untouched(1)", 1, True),
        """
        def unrelated_helper():
            return 2
        UNRELATED = 3
        """,
        Ask("untouched(1)", 1, False),
    ],
    "counters and registries that the function itself changes": [
        """
        count = 0
        seen = []
        memory = {}
        """,
        """
        @cached
        def counted(x):
            global count
            count += 1
            seen.append(x)
            memory[x] = count
            print('computing')
            return x
        """,
        Ask("counted(1)", 1, True),
        Ask("counted(2)", 2, True),
        Ask("counted(1)", 1, False),
        Ask("(counted(2), count, seen)", (2, 2, [1, 2]), False),
    ],
    "a logger and a lock": [
        """
        import logging, threading
        log = logging.getLogger('mine')
        lock = threading.Lock()
        """,
        """
        @cached
        def locked(x):
            with lock:
                log.info('x')
                print('computing')
                return x
        """,
        Ask("locked(1)", 1, True),
        Ask("locked(1)", 1, False),
        "lock = threading.Lock()",
        Ask("locked(1)", 1, False),
    ],
    "a module of one's own is edited and reloaded": [
        """
        import importlib, pathlib, sys
        sys.dont_write_bytecode = True
        sys.path.insert(0, '.')
        pathlib.Path('own_module.py').write_text('def scale(x):\\n    return x * 2\\n')
        import own_module
        """,
        """
        @cached
        def by_module(x):
            print('computing')
            return own_module.scale(x)
        """,
        Ask("by_module(1)", 2, True),
        """
        pathlib.Path('own_module.py').write_text('# twice\\ndef scale(x):\\n    return x * 2\\n')
        own_module = importlib.reload(own_module)
        """,
        Ask("by_module(1)", 2, False),
        """
        pathlib.Path('own_module.py').write_text('def scale(x):\\n    return x * 30\\n')
        own_module = importlib.reload(own_module)
        """,
        Ask("by_module(1)", 30, True),
    ],
    "a module of one's own with a logger and a lock": [
        """
        import importlib, pathlib, sys
        sys.dont_write_bytecode = True
        sys.path.insert(0, '.')
        pathlib.Path('own_logging.py').write_text('''import logging, threading
        log = logging.getLogger(__name__)
        lock = threading.Lock()
        def careful(x):
            with lock:
                log.debug('x')
                return x + 1
        ''')
        import own_logging
        """,
        """
        @cached
        def with_care(x):
            print('computing')
            return own_logging.careful(x)
        """,
        Ask("with_care(1)", 2, True),
        "own_logging = importlib.reload(own_logging)",
        Ask("with_care(1)", 2, False),
    ],
}

# First the steps in one kernel, then those in another one with the same cache.
OWN_CLASSES: Scenario = [
    """
    import dataclasses, enum
    class Trend(enum.Enum):
        UP = 1
    @dataclasses.dataclass(frozen=True)
    class Fit:
        x: int
        trend: Trend
    class FitError(Exception):
        def __init__(self, code):
            super().__init__(code)
            self.code = code
    class Shape:
        sides = 3
    """,
    """
    @cached
    def fitted(x):
        print('computing')
        return Fit(x, Trend.UP)
    @cached
    def failed(x):
        print('computing')
        return FitError(x)
    @cached
    def trend_of(fit):
        print('computing')
        return fit.trend
    @cached
    def named(name):
        print('computing')
        return globals()[name]()
    def caught(error):
        try:
            raise error
        except FitError as error:
            return error.code
    """,
]

TWO_KERNELS: dict[str, tuple[Scenario, Scenario]] = {
    "the kernel is restarted and results are of classes of the notebook": (
        [
            *OWN_CLASSES,
            Ask("fitted(1) == Fit(1, Trend.UP)", True, True),
            Ask("fitted(1) == Fit(1, Trend.UP)", True, False),
            Ask("failed(2).code", 2, True),
            Ask("trend_of(Fit(1, Trend.UP)) is Trend.UP", True, True),
            # The function does not name the class that is only looked up in it.
            Ask("named('Shape').sides", 3, True),
        ],
        [
            *OWN_CLASSES,
            Ask("fitted(1) == Fit(1, Trend.UP)", True, False),
            Ask("fitted(1).trend is Trend.UP", True, False),
            Ask("isinstance(fitted(1), Fit)", True, False),
            Ask("caught(failed(2))", 2, False),
            Ask("trend_of(Fit(1, Trend.UP)) is Trend.UP", True, False),
            Ask("trend_of(fitted(1)) is Trend.UP", True, False),
            Ask("isinstance(named('Shape'), Shape)", True, False),
            "class Shape:\n    sides = 3",  # its cell runs again
            Ask("isinstance(named('Shape'), Shape)", True, False),
            "class Shape:\n    sides = 4",
            Ask("(isinstance(named('Shape'), Shape), named('Shape').sides)", (False, 3), False),
            "class Fit(Fit):\n    pass",
            Ask("fitted(1) == Fit(1, Trend.UP)", True, True),
        ],
    ),
    "the kernel is restarted": (
        [
            """
            FACTOR = {'b': 2, 'a': {3, 1}}
            class Shape:
                sides = 3
            def area(x):
                return x * FACTOR['b']
            """,
            """
            @cached
            def restarted(x, shape=None):
                print('computing')
                return area(x)
            """,
            Ask("restarted(2, Shape())", 4, True),
        ],
        [
            """
            # now in one cell
            class Shape:
                sides = 3
            FACTOR = {'b': 2, 'a': {1, 3}}
            @cached
            def restarted(x, shape=None):
                print('computing')
                return area(x)
            def area(x):
                return x * FACTOR['b']
            """,
            Ask("restarted(2, Shape())", 4, False),
        ],
    ),
    "two notebooks define the same name with different code": (
        [
            """
            @cached
            def load(x):
                print('computing')
                return x + 1
            """,
            Ask("load(1)", 2, True),
        ],
        [
            """
            @cached
            def load(x):
                print('computing')
                return x - 1
            """,
            Ask("load(1)", 0, True),
        ],
    ),
    "two notebooks have different helpers of the same name": (
        [
            """
            def clean(x):
                return x + 1
            @cached
            def cleaned(x):
                print('computing')
                return clean(x)
            """,
            Ask("cleaned(1)", 2, True),
        ],
        [
            """
            def clean(x):
                return x - 1
            @cached
            def cleaned(x):
                print('computing')
                return clean(x)
            """,
            Ask("cleaned(1)", 0, True),
        ],
    ),
    "an instance of a class that came back from a worker": (
        [
            """
            class Rate:
                def __init__(self, rate):
                    self.rate = rate
                def of(self, x):
                    return self.rate * x
            @cached
            def rated(rate, x):
                print('computing')
                return rate.of(x)
            """,
            Ask("rated(Rate(3), 2)", 6, True),
        ],
        [
            """
            class Rate:
                def __init__(self, rate):
                    self.rate = rate
                def of(self, x):
                    return self.rate * x
            @cached
            def rated(rate, x):
                print('computing')
                return rate.of(x)
            """,
            """
            import cloudpickle
            back = cloudpickle.loads(cloudpickle.dumps(Rate(3)))
            """,
            Ask("rated(back, 2)", 6, False),
            Ask("rated(Rate(3), 2)", 6, False),
        ],
    ),
    "a set and strings under another hash seed": (
        [
            """
            @cached
            def joined(x):
                print('computing')
                return sorted(x)
            """,
            Ask("joined({'a', 'b', 'c', 'd'})", ["a", "b", "c", "d"], True),
        ],
        [
            """
            @cached
            def joined(x):
                print('computing')
                return sorted(x)
            """,
            Ask("joined({'d', 'c', 'b', 'a'})", ["a", "b", "c", "d"], False),
        ],
    ),
}
