from __future__ import annotations

import contextvars
import datetime as dt
import decimal
import enum
import hashlib
import http.cookiejar
import io
import logging
import operator
import re
import signal
import struct
import threading
import urllib.request
import uuid
from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from http import HTTPStatus
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType, SimpleNamespace
from zoneinfo import ZoneInfo

NOON = dt.datetime(2024, 2, 29, 12, 0, 0, 5)
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = dt.timezone(dt.timedelta(hours=1))


def different() -> dict[str, object]:
    return {**_scalars(), **_times(), **_containers(), **_others()}


def _scalars() -> dict[str, object]:
    return {
        "None": None,
        "True": True,
        "False": False,
        "Ellipsis": ...,
        "NotImplemented": NotImplemented,
        "0": 0,
        "1": 1,
        "-1": -1,
        "2**63-1": 2**63 - 1,
        "2**63": 2**63,
        "-2**63": -(2**63),
        "-2**63-1": -(2**63) - 1,
        "2**64": 2**64,
        "10**5000": 10**5000,
        "1.0": 1.0,
        "0.0": 0.0,
        "-0.0": -0.0,
        "infinity": float("inf"),
        "-infinity": float("-inf"),
        "nan": float("nan"),
        "1+0j": 1 + 0j,
        "1-0j": complex(1, -0.0),
        "nan+0j": complex("nan"),
        "empty text": "",
        "text 1": "1",
        "text 1.0": "1.0",
        "text None": "None",
        "text é": "é",
        "text é, decomposed": "e\u0301",
        "text with NUL": "a\0b",
        "lone surrogate": "\ud800",
        "surrogate pair": "\ud83d\ude00",
        "emoji": "\U0001f600",
        "text of 254 bytes": "x" * 254,
        "text of 255 bytes": "x" * 255,
        "long text": "x" * 100_000,
        "empty bytes": b"",
        "bytes 1": b"1",
        "long bytes": b"x" * 100_000,
        "bytearray": bytearray(b"1"),
        "memoryview": memoryview(b"1"),
        "memoryview of 2x2": memoryview(b"1234").cast("B", (2, 2)),
        "memoryview of 4": memoryview(b"1234"),
        "array of ints": array("i", [1]),
        "array of long longs": array("q", [1]),
        "array of unsigned": array("I", [1]),
        "array of doubles": array("d", [1]),
        "Decimal 1": Decimal(1),
        "Decimal 1.0": Decimal("1.0"),
        "Decimal -0": Decimal("-0"),
        "Decimal NaN": Decimal("NaN"),
        "Fraction 1": Fraction(1),
        "Fraction 1/2": Fraction(1, 2),
        "UUID": uuid.UUID(int=1),
        "range 3": range(3),
        "range 3 by 2": range(0, 3, 2),
        "range 4 by 2": range(0, 4, 2),
        "slice": slice(1, 2),
        "slice with step": slice(1, 2, 1),
    }


def _times() -> dict[str, object]:
    return {
        "date": NOON.date(),
        "datetime": NOON,
        "datetime, fold": NOON.replace(fold=1),
        "datetime, microsecond": NOON.replace(microsecond=6),
        "datetime in UTC": NOON.replace(tzinfo=dt.UTC),
        "datetime in zone UTC": NOON.replace(tzinfo=ZoneInfo("UTC")),
        "datetime an hour ahead": NOON.replace(tzinfo=HOUR),
        "datetime in Berlin": NOON.replace(tzinfo=BERLIN),
        "datetime in Paris": NOON.replace(tzinfo=ZoneInfo("Europe/Paris")),
        "time": NOON.time(),
        "time in UTC": NOON.timetz().replace(tzinfo=dt.UTC),
        "timedelta": dt.timedelta(days=1),
        "timedelta of an hour": dt.timedelta(hours=1),
        "UTC": dt.UTC,
        "an hour ahead": HOUR,
        "an hour ahead, named": dt.timezone(dt.timedelta(hours=1), "CET"),
        "Berlin": BERLIN,
    }


def _containers() -> dict[str, object]:
    return {
        "empty list": [],
        "empty tuple": (),
        "empty dict": {},
        "empty set": set(),
        "empty frozenset": frozenset(),
        "list 1": [1],
        "list True": [True],
        "list 1.0": [1.0],
        "tuple 1": (1,),
        "set 1": {1},
        "frozenset 1": frozenset([1]),
        "list list": [[]],
        "list 1 2": [1, 2],
        "list 2 1": [2, 1],
        "list of list 1, 2": [[1], 2],
        "list of list 1 2": [[1, 2]],
        "dict": {"a": 1},
        "dict of 1": {1: "a"},
        "dict of True": {True: "a"},
        "dict of 1.0": {1.0: "a"},
        "dict of two": {"a": 1, "b": 2},
        "dict of two, crossed": {"a": 2, "b": 1},
        "dict of two, other order": {"b": 2, "a": 1},
        "dict of 99": {str(i): i for i in range(99)},
        "dict of 99, other order": {str(i): i for i in reversed(range(99))},
        "list of pairs": [("a", 1), ("b", 2)],
        "keys": {"a": 1}.keys(),
        "values": {"a": 1}.values(),
        "items": {"a": 1}.items(),
        "ordered dict": OrderedDict(a=1, b=2),
        "ordered dict, other order": OrderedDict(b=2, a=1),
        "default dict of lists": defaultdict(None, {"a": 1}),
        "counter": Counter("aab"),
        "counter, other order": Counter("baa"),
        "mapping proxy": MappingProxyType({"a": 1}),
        "chain map": ChainMap({"a": 1}, {"b": 2}),
        "user dict": UserDict(a=1),
        "deque": deque([1]),
        "bounded deque": deque([1], 3),
        "namespace": SimpleNamespace(a=1),
        "32 ints": list(range(32)),
        "33 ints": list(range(33)),
        "33 ints in a tuple": tuple(range(33)),
        "33 ints, one of them large": [*range(32), 2**64],
        "33 floats": [float(i) for i in range(33)],
        "33 floats with NaN": [*(float(i) for i in range(32)), float("nan")],
        "33 texts": [str(i) for i in range(33)],
        "33 texts, cut otherwise": ["", "01", *(str(i) for i in range(2, 33))],
        "33 texts with é": [*(str(i) for i in range(32)), "é"],
        "33 bytes": [str(i).encode() for i in range(33)],
        "33 booleans": [i == 3 for i in range(33)],
        "33 Nones": [None] * 33,
        "33 of several types": [None, True, 1, 1.0, "1", b"1"] * 6,
        "33 of several types, crossed": [True, None, 1, 1.0, "1", b"1"] * 6,
        "100 lists": [[i] for i in range(100)],
        "set of 100": set(range(100)),
        "deep list": _deep(),
    }


def _deep() -> object:
    value: object = 1
    for _ in range(5_000):
        value = [value]
    return value


def _others() -> dict[str, object]:
    return {
        "path": Path("a/b"),
        "path ending in c": Path("a/b/c"),
        "POSIX path": PurePosixPath("a/b"),
        "Windows path": PureWindowsPath("a/b"),
        "regex": re.compile("a"),
        "regex, ignoring case": re.compile("a", re.IGNORECASE),
        "regex of bytes": re.compile(b"a"),
        "item getter": operator.itemgetter(1),
        "item getter of 2": operator.itemgetter(2),
        "attribute getter": operator.attrgetter("a"),
        "method caller": operator.methodcaller("a", 1),
        "enum": HTTPStatus.OK,
        "other member": HTTPStatus.CREATED,
        "flag": re.IGNORECASE,
        "flags": re.IGNORECASE | re.MULTILINE,
        "other flag": enum.FlagBoundary.KEEP,
        "signal": signal.SIGINT,
        "text in memory": io.StringIO("a"),
        "text in memory, at its end": _at_the_end(io.StringIO("a")),
        "bytes in memory": io.BytesIO(b"a"),
        "struct": struct.Struct("<H"),
        "struct, big": struct.Struct(">H"),
        "match": re.match("a", "ab"),
        "match in another text": re.match("a", "ac"),
        "hash": hashlib.md5(b"a"),
        "other hash": hashlib.md5(b"b"),
        "decimal context": decimal.Context(prec=3),
        "other decimal context": decimal.Context(prec=4),
        "context variable": contextvars.ContextVar("x", default=1),
        "other context variable": contextvars.ContextVar("x", default=2),
        "~compiled text": compile("1", "a", "eval"),
        "lock": threading.Lock(),
        "event": threading.Event(),
        "logger": logging.getLogger("a"),
        "other logger": logging.getLogger("b"),
        "exception": ValueError("a"),
        "other exception": KeyError("a"),
        "exception with two arguments": ValueError("a", "b"),
    }


def _at_the_end(text: io.StringIO) -> io.StringIO:
    text.read()
    return text


def _asked(error: Exception) -> Exception:
    vars(error)
    return error


def _used(jar: http.cookiejar.CookieJar) -> http.cookiejar.CookieJar:
    jar.add_cookie_header(urllib.request.Request("http://a"))
    return jar


def equal() -> dict[str, tuple[object, ...]]:
    part = [1, 2]
    return {
        "exceptions asked for attributes or not": (OSError(1), _asked(OSError(1))),
        "cookies used or not": (http.cookiejar.CookieJar(), _used(http.cookiejar.CookieJar())),
        "sets in any order": ({"a", "b", "c"}, {"c", "b", "a"}),
        "large sets in any order": (set(range(0, 9999, 7)), set(range(9996, -1, -7))),
        "shared and separate": ([part, part], [[1, 2], [1, 2]], [part, [1, 2]]),
        "shared and separate, large": ([list(range(99))] * 2, [list(range(99)), list(range(99))]),
        "shared and separate, in a dict": ({"a": part, "b": part}, {"a": [1, 2], "b": [1, 2]}),
        "interned and built": ("abc", "".join(["a", "b", "c"])),
        "keys interned and built": ({"abc": 1}, {"".join(["a", "b", "c"]): 1}),
        "ints small and built": (256 + 1, int("257")),
        "NaN": (float("nan"), -float("nan"), float("inf") - float("inf")),
        "NaN in lists": ([float("nan")] * 40, [-float("nan")] * 40),
        "fractions": (Fraction(1, 2), Fraction(2, 4)),
        "paths": (Path("a/b"), Path("a//b/"), Path("a") / "b"),
        "byte arrays": (bytearray(b"ab"), bytearray(b"a") + b"b"),
        "views": (memoryview(b"abc")[::2], memoryview(b"ac")),
        "arrays": (array("d", [1, 2]), array("d", [0, 1, 2])[1:]),
        "zones": (NOON.replace(tzinfo=BERLIN), NOON.replace(tzinfo=ZoneInfo.no_cache("Europe/Berlin"))),
        "named and plain zone": (dt.timezone(dt.timedelta(hours=1)), HOUR),
        "namespaces": (SimpleNamespace(a=1, b=2), SimpleNamespace(b=2, a=1)),
        "regexes": (re.compile("a", re.IGNORECASE), re.compile("a", re.IGNORECASE | re.UNICODE)),
    }
