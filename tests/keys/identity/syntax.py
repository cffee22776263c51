"""A function for every kind of syntax that Python 3.11 has, to be fingerprinted by every version."""
# ruff: noqa
# mypy: ignore-errors

from __future__ import annotations

import contextlib
import functools
from bisect import bisect
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, Flag
from functools import reduce
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import NamedTuple

SCALE = 1.5
opened = open
TABLE = {"a": [1, 2.0, (3, None)], "b": {"c": {1, 2}}}


def texts(x, w=3):
    return (
        f"{x}",
        f"{x!r:>{w}}",
        f"{x=}",
        f"{x = !s:^10}",
        f"{{}}{x:%H:%M}",
        f"{x['a']}",
        f"a{x}bc",
        f"\N{EM DASH}" if x else f"",
        rf"\d{x}",
        f"{x:{w}.{w}}",
        f"""{x + w}""",
        "\ud800",
        "é\n",
        b"\x00\xff",
        f"plain",
        f"{x:}",
        f"{lambda_ if (lambda_ := x) else 1}",
    )


def numbers():
    return (
        1,
        1.0,
        True,
        -1,
        -0.0,
        1e400,
        -1e400,
        1j,
        0x_FF,
        10**30,
        1_000,
        ...,
        None,
        3.14159,
        255,
        2**64,
        not 1,
        ~1,
        +1,
    )


def operators(a, b):
    a += 1
    a -= b
    a *= 2
    a //= 3
    a **= 2
    a <<= 1
    a |= 4
    a @= b
    a %= 7
    a ^= b
    a &= b
    a >>= 1
    a /= 2
    return (
        a and b or not a,
        a if b else (b, a),
        a < b <= a != b is not a not in b,
        a[1:2, ::3, ...],
        a[b:],
        [*a, *b],
        {**a, 1: b},
    )


def flow(x, *args, key=None, **kwargs):
    global SCALE
    for i, (j, *k) in x:
        if i:
            continue
        elif j:
            break
        else:
            pass
    else:
        del i
    while x and (y := x.pop()):
        assert y, "message"
    try:
        raise ValueError(x) from None
    except (ValueError, KeyError) as error:
        return error
    except Exception:
        raise
    else:
        return 1
    finally:
        print(x, *args, sep="", **kwargs)


def groups(x):
    try:
        x()
    except* ValueError as group:
        print(group)


def withs(a, b):
    with a as x, b() as (y, z), contextlib.suppress(OSError):
        yield x
        value = yield
        yield from y
    with a, b:
        return value


async def waiting(x):
    async with x as y:
        async for z in y:
            await z
    return [i async for i in x if await i]


def matching(x):
    match x:
        case 1 | -2.5 | "a" | b"b" | None | True:
            return 1
        case [a, *rest] if a:
            return rest
        case {"k": v, **more}:
            return v, more
        case complex(real=r, imag=0):
            return r
        case TABLE.x:
            return 2
        case (1 + 2j) as c:
            return c
        case _:
            return 3


def comprehensions(x):
    return (
        [i for j in x for i in j if i if j],
        {i: SCALE for i in x},
        {i for i in x},
        (lambda a, /, b, *c, d=SCALE, **e: (a, b, c, d, e)),
        sum(i * SCALE for i in x),
    )


def nested(x):
    class Local(list, metaclass=type):
        y: int = 3
        z: str

        @property
        def p(self):
            return self.y + x

    def inner(a: int = SCALE, /, *, b: str = "b") -> None:
        nonlocal x
        x = a
        return lambda: inner(b)

    @functools.wraps(inner)
    def outer():
        "Docstring."

    from os.path import join as j
    import os.path, json as js

    return Local, inner, outer, j, js, os


def data():
    return TABLE, SCALE, texts, Colour.RED, Point(1), Access.READ, Bag()


class Colour(Enum):
    RED = 1
    BLUE = "b"

    def shade(self):
        return self.value


class Access(Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int = SCALE


@dataclass(frozen=True, order=True)
class Bag:
    items: list = field(default_factory=list)
    size: int = 3

    def __len__(self):
        return len(self.items)


@functools.total_ordering
class Shape:
    sides = 0
    __slots__ = ("name", "__private")

    def __init__(self, name):
        self.__private = name

    def __lt__(self, other):
        return self.sides < other.sides

    @classmethod
    def make(cls):
        return cls(super().__repr__())

    @staticmethod
    def area():
        return SCALE

    @functools.cached_property
    def edges(self):
        return self.sides

    @functools.singledispatchmethod
    def add(self, x):
        return x


class Square(Shape):
    sides = 4


def libraries(x):
    import glob
    from email.mime.text import MIMEText

    return (
        Path(x),
        PurePosixPath(x),
        datetime.now,
        OrderedDict,
        Mapping,
        reduce,
        opened(x),
        bisect,
        glob.glob,
        MIMEText,
        Lock,
    )


def classes():
    return Shape, Square


lambdas = [lambda x: x + 1, lambda x: x + 2, lambda: lambda: SCALE]


def everything():
    return [
        texts,
        numbers,
        operators,
        flow,
        groups,
        withs,
        waiting,
        matching,
        comprehensions,
        nested,
        data,
        classes,
        lambdas,
    ]
