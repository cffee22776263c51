"""What a hit returns is made of the reader's own classes, as long as their code counts the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CLASSES = """
import abc, collections, dataclasses, enum, sys, typing
import attrs
import pandas as pd
from dynmemo import dynamo_cached

T = typing.TypeVar("T")

class Trend(enum.Enum):
    UP = 1
    DOWN = -1

    def flipped(self):
        return Trend(-self.value)

class Level(enum.IntEnum):
    LOW = 1

class Access(enum.IntFlag):
    READ = 1
    WRITE = 2

class Mode(enum.Flag):
    A = enum.auto()
    B = enum.auto()

class Name(enum.StrEnum):
    SEA = "sea"

@dataclasses.dataclass
class Fit:
    __match_args__ = ("slope",)
    slope: float
    trend: Trend = Trend.UP

@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = dataclasses.field(default=0, kw_only=True)

@dataclasses.dataclass
class Model(Fit):
    points: list = dataclasses.field(default_factory=list)

    def area(self):
        return super().__class__ and len(self.points)

class Pair(typing.NamedTuple):
    a: int
    b: int = 2

Old = collections.namedtuple("Old", "x")

class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

class Square(Shape):
    def __init__(self, side):
        self.side = side

    def area(self):
        return self.side ** 2

    def __eq__(self, other):
        return type(other) is Square and other.side == self.side

@Shape.register
class Line:
    pass

class FitError(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code

class Slots:
    __slots__ = ("a", "__weakref__")

    def __init__(self, a):
        self.a = a

class Outer:
    class Inner:
        class Most:
            pass

class Box(typing.Generic[T]):
    def __init__(self, item):
        self.item = item

class Meta(type):
    def __eq__(cls, other):
        return cls is other

    __hash__ = type.__hash__

class WithMeta(metaclass=Meta):
    pass

class Table(dict):
    pass

class Counted:
    made = 0

    def __init__(self):
        Counted.made += 1

class Custom:
    def __init__(self, x):
        self.x = x

    def __getstate__(self):
        return {"x": self.x}

    def __setstate__(self, state):
        self.x = state["x"]

class Plugin:
    known = {}

    def __init_subclass__(cls):
        Plugin.known[cls.__name__] = cls

class Wind(Plugin):
    pass

class Typed(typing.TypedDict):
    x: int

@attrs.define
class Defined:
    x: int = 1

@attrs.frozen
class Cold:
    x: int = 1

class Tree:
    def __init__(self, *children):
        self.children = children
        self.trend = Trend.DOWN

    def walk(self):
        return [self, *(node for child in self.children for node in child.walk())]

    def again(self):
        return Tree(Tree()), Fit(2.0), helper

def helper(x):
    return Fit(x).slope

def matches(value):
    match value:
        case Fit(slope):
            return slope == 1.5
    return False

def raises(error):
    try:
        raise error
    except FitError as caught:
        return caught.code == 5
    except Exception:
        return False
"""

# A result, and what is true of it where it was computed.
RESULTS = {
    "Trend.UP": "r == Trend.UP and r is Trend.UP and r in {Trend.UP} and r.flipped() is Trend.DOWN",
    "Level.LOW": "r is Level.LOW",
    "Access.READ | Access.WRITE": "r == Access.READ | Access.WRITE and isinstance(r, Access)",
    "Mode.A | Mode.B": "r == Mode.A | Mode.B and Mode.A in r",
    "Name.SEA": "r is Name.SEA",
    "{Trend.UP: [Trend.DOWN]}": "r[Trend.UP][0] is Trend.DOWN",
    "Fit(1.5)": "r == Fit(1.5) and isinstance(r, Fit) and matches(r) and r.trend is Trend.UP",
    "Point(1, y=2)": "r == Point(1, y=2) and r in {Point(1, y=2)}",
    "Model(1.5, points=[Point(1)])": "r == Model(1.5, points=[Point(1)]) and isinstance(r, Fit) and r.area() == 1",
    "Pair(1)": "isinstance(r, Pair) and r == Pair(1)",
    "Old(1)": "isinstance(r, Old)",
    "Square(3)": "isinstance(r, Shape) and r == Square(3) and r.area() == 9",
    "Line()": "isinstance(r, Line) and isinstance(r, Shape)",
    "FitError(5)": "isinstance(r, FitError) and raises(r)",
    "Slots(4)": "isinstance(r, Slots) and r.a == 4",
    "Outer.Inner.Most()": "isinstance(r, Outer.Inner.Most)",
    "Box(Box(1))": "isinstance(r, Box) and isinstance(r.item, Box)",
    "Box[int]": "r == Box[int] and typing.get_origin(r) is Box",
    "WithMeta()": "isinstance(r, WithMeta) and type(r) == WithMeta",
    "Table(a=1)": "isinstance(r, Table) and r == Table(a=1)",
    "Counted()": "isinstance(r, Counted)",
    "Custom(2)": "isinstance(r, Custom) and r.x == 2",
    "Wind()": "isinstance(r, Wind) and Plugin.known == {'Wind': Wind}",
    "Typed(x=1)": "r == {'x': 1}",
    "Typed": "r is Typed",
    "Defined()": "r == Defined()",
    "Cold()": "r == Cold() and r in {Cold()}",
    "Tree(Tree())": "all(isinstance(node, Tree) and node.trend is Trend.DOWN for node in r.walk())",
    "[Trend, Fit, Box, FitError, Shape]": "r == [Trend, Fit, Box, FitError, Shape] and r[0].UP is Trend.UP",
    "helper": "r is helper",
    "Square(3).area": "isinstance(r.__self__, Square) and r() == 9",
    "Trend.UP.flipped": "r() is Trend.DOWN",
    "pd.Series([Trend.UP, Trend.DOWN])": "list(r == Trend.UP) == [True, False]",
    "pd.DataFrame({'t': [Trend.UP] * 9000, 'x': 1.5})": "bool((r.t == Trend.UP).all())",
    "(type(Fit(1)), int, Fit)": "r[0] is r[2] is Fit",
}

QUESTIONS = f"""
def ask(compute):
    for text, check in {RESULTS!r}.items():
        before = compute.cache_info().hits
        result = compute(text)
        word = "hit" if compute.cache_info().hits > before else "miss"
        print(word, text, eval(check, globals(), {{"r": result}}))
"""

COMPUTE = """
@dynamo_cached(cache=sys.argv[1], {options})
def compute(text):
    return eval(text)
"""


def run(folder: Path, program: str, *arguments: str) -> list[str]:
    (folder / "script.py").write_text(program)
    return start(folder, ["script.py"], *arguments)


def start(folder: Path, python: list[str], *arguments: str, url: str = "") -> list[str]:
    """What a program prints; it is told the URL of the cache first."""
    url = url or f"sqlite:///{(folder / 'cache.db').as_posix()}"
    return printed(*python, url, *arguments, folder=folder).splitlines()


def answers(word: str) -> list[str]:
    return [f"{word} {text} True" for text in RESULTS]


@pytest.mark.parametrize("options", ["", "version=1", 'code="off"', 'code="own"'])
def test_a_script_that_runs_again_gets_its_own_classes(tmp_path: Path, options: str) -> None:
    program = CLASSES + COMPUTE.format(options=options) + QUESTIONS + "ask(compute)\n"
    assert run(tmp_path, program) == answers("miss")
    assert run(tmp_path, program) == answers("hit")


def test_so_it_does_from_dynamodb(
    tmp_path: Path, dynamodb_endpoint: str, dynamodb_new_table: Callable[[], str]
) -> None:
    (tmp_path / "script.py").write_text(CLASSES + COMPUTE.format(options="") + QUESTIONS + "ask(compute)\n")
    url = f"dynamodb://{dynamodb_new_table()}?endpoint_url={dynamodb_endpoint}"
    assert start(tmp_path, ["script.py"], url=url) == answers("miss")
    assert start(tmp_path, ["script.py"], url=url) == answers("hit")


REPLACED = """
import functools, sys
from dynmemo import dynamo_cached

def derived(cls):
    return type(cls.__name__, (cls,), {{"__module__": cls.__module__, "__qualname__": cls.__qualname__}})

def loud(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)
    return inner

class Plain:
    pass

Base = Plain
Plain = derived(Plain)

@loud
def helper(x):
    return x + 1

@dynamo_cached(cache=sys.argv[1], {options})
def compute(name):
    return eval(name)

base, derived_one, function, inner = compute("Base()"), compute("Plain()"), compute("helper"), compute("loud(len)")
print(type(base) is not Plain, isinstance(derived_one, Plain), function is helper, function(1), inner("ab"))
print(compute.cache_info().misses)
"""


@pytest.mark.parametrize("options", ["", "version=1"])
def test_what_a_decorator_put_in_the_place_of_another_thing_is_not_taken_for_that(options: str, tmp_path: Path) -> None:
    program = REPLACED.format(options=options)
    assert run(tmp_path, program) == ["True True True 2 2", "4"]
    assert run(tmp_path, program) == ["True True True 2 2", "0"]


def test_a_spawned_worker_and_the_script_get_each_its_own_classes(tmp_path: Path) -> None:
    program = (
        CLASSES
        + COMPUTE.format(options="")
        + QUESTIONS
        + """
if __name__ == "__main__":
    import multiprocessing
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        if sys.argv[2] == "worker first":
            pool.apply(ask, (compute,))
            ask(compute)
        else:
            ask(compute)
            pool.apply(ask, (compute,))
"""
    )
    both = [*answers("miss"), *answers("hit")]
    assert run(tmp_path, program, "worker first") == both
    (tmp_path / "cache.db").unlink()
    assert run(tmp_path, program, "script first") == both


def test_a_module_run_as_the_program_and_imported_by_another_share_results(tmp_path: Path) -> None:
    program = CLASSES + COMPUTE.format(options="") + QUESTIONS + "if __name__ == '__main__':\n    ask(compute)\n"
    (tmp_path / "trends.py").write_text(program)
    (tmp_path / "user.py").write_text("import trends\ntrends.ask(trends.compute)\n")
    as_program, imported = ["-m", "trends"], ["user.py"]
    assert start(tmp_path, as_program) == answers("miss")
    assert start(tmp_path, as_program) == start(tmp_path, imported) == answers("hit")
    (tmp_path / "cache.db").unlink()
    assert start(tmp_path, imported) == answers("miss")
    assert start(tmp_path, as_program) == answers("hit")


AGAIN = """
import sys
from typing import Protocol
from dynmemo import dynamo_cached

CELL = '''
class Sized(Protocol):
    sides = 3
    def size(self): ...

class Square(Sized):
    def size(self): return 4
'''
exec(CELL)
old = Square.__new__(Square)
exec(CELL)

@dynamo_cached(cache=sys.argv[1], {options})
def compute(name):
    return globals()[name]

square = compute("old")
print(type(square) is Square, Sized in type(square).__mro__, square.size(), compute.cache_info().hits)
print(compute.cache_info().bypassed)
"""


@pytest.mark.parametrize("options", ["", "version=1"])
def test_what_an_earlier_run_of_a_cell_made_is_stored_and_read_as_what_the_cell_makes_now(
    options: str, tmp_path: Path
) -> None:
    program = AGAIN.format(options=options)
    assert run(tmp_path, program) == ["False False 4 0", "0"]
    assert run(tmp_path, program) == ["True True 4 1", "0"]


EDITED = """
import dataclasses, sys
from dynmemo import dynamo_cached

def scaled(x):
    return {factor} * x

@dataclasses.dataclass
class Base:
    x: int = 1

    def of(self):
        return scaled(self.x)

class Fit(Base):
    {extra}

@dynamo_cached(cache=sys.argv[1], {options})
def compute(name):
    return eval(name)()

fit = compute(sys.argv[2])
print(fit.of(), type(fit) is Fit, isinstance(fit, Base), compute.cache_info().hits)
"""


def test_of_a_class_edited_in_between_a_hit_returns_the_one_that_was_stored(tmp_path: Path) -> None:
    def edited(options: str, factor: int = 1, extra: str = "pass") -> list[str]:
        return run(tmp_path, EDITED.format(options=options, factor=factor, extra=extra), "Fit")

    assert edited("") == ["1 True True 0"]
    assert edited("") == ["1 True True 1"]
    # The function does not name the class, so the edit does not change its key; what is stored is not the class of now.
    assert edited("", extra="def more(self): pass") == ["1 False True 1"]
    assert edited("", factor=2) == ["1 False False 1"]
    assert edited("") == ["1 True True 1"]
    assert edited("version=1") == ["1 True True 0"]
    assert edited("version=1", factor=2, extra="def more(self): pass") == ["2 True True 1"]


GONE = """
import dataclasses, sys
from dynmemo import dynamo_cached

{definition}

@dynamo_cached(cache=sys.argv[1], {options})
def compute():
    return globals()["Fit"](1)

fit = compute()
print(fit.x, fit.double(), type(fit).__qualname__, compute.cache_info().hits)
"""
FIT = """
class Fit:
    def __init__(self, x): self.x = x
    def double(self): return self.x * 2
"""


@pytest.mark.parametrize("options", ["", "version=1"])
@pytest.mark.parametrize("now", ["", "Fit = 3", "def Fit(x): return x"])
def test_who_has_no_such_class_gets_a_copy(options: str, now: str, tmp_path: Path) -> None:
    assert run(tmp_path, GONE.format(definition=FIT, options=options)) == ["1 2 Fit 0"]
    assert run(tmp_path, GONE.format(definition=now, options=options)) == ["1 2 Fit 1"]


WORKER = """
import sys
from joblib import Parallel, delayed
from dynmemo import dynamo_cached
import dataclasses, enum

class Trend(enum.Enum):
    UP = 1

@dataclasses.dataclass
class Fit:
    trend: Trend

@dynamo_cached(cache=sys.argv[1])
def fitted(n):
    return Fit(Trend.UP)

@dynamo_cached(cache=sys.argv[1])
def trend(fit):
    return fit.trend

def check(n, fit):
    made, got = fitted(n), trend(fit)
    misses = fitted.cache_info().misses + trend.cache_info().misses
    return isinstance(made, Fit), made == Fit(Trend.UP), made.trend is Trend.UP, got is Trend.UP, fit == made, misses

for answer in Parallel(n_jobs=2)(delayed(check)(n, Fit(Trend.UP)) for n in range(2)):
    print(*answer)
made = fitted(0)
print(made == Fit(Trend.UP), trend(made) is Trend.UP, fitted.cache_info().misses + trend.cache_info().misses)
"""


def test_a_worker_that_has_the_classes_by_value_gets_those_that_came_with_the_function(tmp_path: Path) -> None:
    first, second = run(tmp_path, WORKER), run(tmp_path, WORKER)
    assert {line.rpartition(" ")[0] for line in first[:2]} == {"True True True True True"}
    assert first[2] == "True True 0"
    assert second == ["True True True True True 0"] * 2 + ["True True 0"]
