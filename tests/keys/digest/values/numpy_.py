from __future__ import annotations

import warnings
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
TABLE = np.arange(12.0).reshape(3, 4)
RECORDS = np.array([(1, 2.5, "a"), (3, 4.5, "b")], [("i", "<i4"), ("f", "<f8"), ("t", "<U1")])
TEXT_ARRAYS = hasattr(np.dtypes, "StringDType")


def different() -> dict[str, object]:
    return {**_scalars(), **_arrays(), **_others()}


def _scalars() -> dict[str, object]:
    values: dict[str, object] = {f"{name} 1": np.dtype(name).type(1) for name in _NUMBERS}
    return values | {
        "float64 -0.0": np.float64(-0.0),
        "float64 nan": np.float64("nan"),
        "long double": np.longdouble(1) / 3,
        "str": np.str_("1"),
        "bytes": np.bytes_(b"1"),
        "datetime64 of a day": np.datetime64("2024-02-29"),
        "datetime64 of a second": np.datetime64("2024-02-29", "s"),
        "NaT": _no_time(),
        "timedelta64": np.timedelta64(1, "s"),
        "record": RECORDS[0],
    }


def _no_time() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy 2.5 wants a unit
        return np.datetime64("NaT")


_NUMBERS = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "complex64", "complex128"),
)


def _arrays() -> dict[str, object]:
    values: dict[str, object] = {f"array of {name}": np.ones(2, name) for name in _NUMBERS}
    values |= {
        "array of no dimension": np.array(1),
        "array of 1": np.array([1]),
        "array of 1x1": np.array([[1]]),
        "empty array": np.zeros(0),
        "empty array of 0x2": np.zeros((0, 2)),
        "empty array of 2x0": np.zeros((2, 0)),
        "table": TABLE,
        "transposed table": TABLE.T,
        "flat table": TABLE.ravel(),
        "table of 4x3": TABLE.reshape(4, 3),
        "table, one element else": TABLE + np.eye(3, 4),
        "table with NaN": np.where(TABLE == 3, np.nan, TABLE),
        "table with -0.0": np.where(TABLE == 0, -0.0, TABLE),
        "array of long doubles": np.array([1, 2], np.longdouble) / 3,
        "array of text": np.array(["a", "b"]),
        "array of wider text": np.array(["a", "b"], "U2"),
        "array of bytes": np.array([b"a", b"b"]),
        "array of void": np.array([b"a", b"b"], "V1"),
        "array of days": np.array([19782], "M8[D]"),
        "array of seconds": np.array([19782], "M8[s]"),
        "array of spans": np.array([1], "m8[25s]"),
        "array of objects": np.array([1, "a", None], object),
        "array of other objects": np.array([1.0, "a", None], object),
        "records": RECORDS,
        "records with other names": RECORDS.astype([("j", "<i4"), ("f", "<f8"), ("t", "<U1")]),
        "records with padding": RECORDS.astype(np.dtype([("i", "<i4"), ("f", "<f8"), ("t", "<U1")], align=True)),
        "records in records": np.zeros(1, [("a", [("b", "i1", (2,))])]),
        "masked": np.ma.array([1, 2], mask=[False, True]),
        "masked elsewhere": np.ma.array([1, 2], mask=[True, False]),
        "masked, other fill": np.ma.array([1, 2], mask=[False, True], fill_value=9),
        "masked constant": np.ma.masked,
        "large array": np.arange(300_000.0),
        "large array, last element else": np.append(np.arange(299_999.0), 0),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        values["matrix"] = np.matrix([[1]])
    if TEXT_ARRAYS:
        values["array of long text"] = np.array(["a", "bc"], np.dtypes.StringDType())
    return values


def _others() -> dict[str, object]:
    drawn = np.random.default_rng(1)
    drawn.random()
    spawned = np.random.default_rng(1)
    spawned.spawn(1)
    return {
        "swapped numbers": np.arange(3.0, dtype=">f8"),
        "swapped text": np.array(["ab"], ">U2"),
        "swapped records": RECORDS.astype(RECORDS.dtype.newbyteorder()),
        "numbers with a unit": np.zeros(1, np.dtype("f8", metadata={"unit": "m"})),
        "numbers with another unit": np.zeros(1, np.dtype("f8", metadata={"unit": "s"})),
        "swapped dtype": np.dtype("int64").newbyteorder(),
        "dtype": np.dtype("int64"),
        "other dtype": np.dtype("int32"),
        "dtype of records": RECORDS.dtype,
        "generator": np.random.default_rng(1),
        "generator of another seed": np.random.default_rng(2),
        "generator that has drawn": drawn,
        "generator that has spawned": spawned,
        "generator of another kind": np.random.Generator(np.random.MT19937(1)),
        "random state": np.random.RandomState(1),
        "random state of another seed": np.random.RandomState(2),
        "bit generator": np.random.PCG64(1),
        "seeds": np.random.SeedSequence(1),
        "ufunc": np.add,
        "other ufunc": np.subtract,
        "business days": np.busdaycalendar(holidays=np.array([19844], "M8[D]")),
    }


def equal() -> dict[str, tuple[object, ...]]:
    wide = np.arange(600_000.0).reshape(3, -1)
    nan = np.array([np.nan, -1.0])
    return {
        "C and F order": (TABLE, np.asfortranarray(TABLE), TABLE.T.copy().T),
        "views and copies": (TABLE[::2, ::-1], TABLE[::2, ::-1].copy()),
        "large views": (wide[:, ::2], wide[:, ::2].copy(), np.asfortranarray(wide[:, ::2])),
        "long view": (wide.ravel()[::3], wide.ravel()[::3].copy()),
        "read-only": (_read_only(TABLE), TABLE),
        "broadcast": (np.broadcast_to(np.arange(3), (2, 3)), np.array([[0, 1, 2]] * 2)),
        "every NaN": (nan, np.copysign(nan, -1), np.array([0x7FF8000000000001, -0x4010000000000000]).view("f8")),
        "every NaN, complex": (nan + 0j, np.copysign(nan, -1) + 0j),
        "letters of one width": (np.ones(2, "l"), np.ones(2, "q")) if np.dtype("l") == np.dtype("q") else (1, 1),
        "records": (RECORDS, RECORDS[::-1][::-1]),
        "under the mask": (np.ma.array([1, 2], mask=[False, True]), np.ma.array([1, 7], mask=[False, True])),
        "no mask": (np.ma.array([1, 2]), np.ma.array([1, 2], mask=[False, False])),
        "objects": (np.array([1, "a", None], object), np.array([None, "a", 1], object)[::-1]),
        "generators": (np.random.default_rng(1), np.random.default_rng(1)),
        "shared and separate": ([wide, wide], [wide, wide.copy()]),
    }


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
