"""Functions in which the versions of Python differ: how they parse, compile or write them."""
# ruff: noqa
# mypy: ignore-errors

import os
import json as js

RATE, SEEN, TABLE, LIMIT, N = 2, [], {}, 3, 0


def texts(x, w):
    quoted = f"{x!r:>{w}}a{{b}}c{TABLE['k']}{js.dumps('it')}"
    nested = f"{f'{x}':{w}.{RATE}}" + f"{x:{w}{RATE}}" + f"""{x + RATE}"""
    dated = f"{x:%H:%M}{x=}{'éü'}\N{EM DASH}\n\t\\"
    return quoted, nested, dated, "\U0001fae8 newly printable", "\ud800", rb"\x00", "u", 0xFFFFFFFFFFFFFFFFFFFFFFFF


def comprehensions(x):
    RATE_OF = [RATE for RATE in x]
    inner = {k: [LIMIT * v for v in TABLE[k] if (last := v)] for k in x}
    return RATE_OF, inner, (os.sep for _ in x), {N for N in x}, last


def dead(x):
    if 0:
        return os.never
    if __debug__:
        assert RATE, LIMIT
    while True:
        return x if 1 else TABLE
    return js.after


def nested_class(x):
    class Inner(dict):
        rate: int = RATE
        RATE = RATE
        field: "LIMIT"
        __secret = LIMIT

        def get(self):
            self.__secret = os.environ
            TABLE[self.__secret] = super().__len__()
            return [self.__secret for _ in x], __class__

    return Inner


class Outer:
    def __private(self):
        return __hidden, self.__private.__doc__

    def method(self, other=None):
        self.count = self.parts.count = 1
        self.items["a"].append(other)
        SEEN[0].x = del_ = self.__dict__.setdefault("a", [])
        del SEEN[0], TABLE["a"]["b"], del_
        return lambda: (self.count, lambda N: N)


def written(*args, **kwargs):
    global N
    N += 1
    alias = TABLE
    alias["a"] = alias.get("b").append(args)
    first, *SEEN_TOO = SEEN
    for TABLE.key in args:
        with open(os.devnull) as SEEN[1], os.scandir() as kwargs["a"]:
            pass
    return sorted(SEEN, key=js.loads), print(*SEEN, **TABLE)


def imports(x):
    from . import sibling as s
    from .deep.down import thing
    import a.b.c, d.e as f

    try:
        import fast as impl
    except ImportError:
        import slow as impl
    return s.run(thing), a.b.c.K, f.K, impl.go(x)


def patterns(x):
    match x:
        case {"a": os.sep, **rest} if rest:
            return rest
        case [js.JSONDecoder(strict=y), *_] | (Outer(count=y)):
            return y
        case "text" | b"b" | -1.5 | 2 + 3j | None as z:
            return z


def closing(x):
    total = RATE

    def add(y):
        nonlocal total
        total += y
        return total, x

    return [lambda: total, add, lambda x: x], lambda a, /, b=RATE, *c, d=LIMIT, **e: (a, b, c, d, e)


def frames(df, pd):
    return df.query("price > @LIMIT and a == @TABLE.k"), pd.eval("RATE * 2"), eval("N + len(SEEN)"), df.eval("a + b")


async def awaiting(x):
    async with x as y, os.scandir() as (z, w):
        yield [i async for i in y if await i], (yield), z, w


def operators(x):
    return x[1:RATE, ...], (-x) ** -RATE, not (x and LIMIT) or x, (yield x), x @ TABLE, 1 if x else 2, (), {*()}, (*x,)


lambdas = [lambda x: x + 1, lambda x: x + 2, lambda x=(lambda: RATE): x, lambda: (lambda: LIMIT)()]
