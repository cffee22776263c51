from __future__ import annotations

import numpy as np
import scipy.sparse as sp

TABLE = np.array([[0, 1.5, 0], [2, 0, 3]])
FORMATS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


def different() -> dict[str, object]:
    values: dict[str, object] = {}
    for name in FORMATS:
        values[f"{name} matrix"] = getattr(sp, f"{name}_matrix")(TABLE)
        values[f"{name} array"] = getattr(sp, f"{name}_array")(TABLE)
    return values | {
        "other element": sp.csr_array(np.where(TABLE == 3, 4, TABLE)),
        "other place": sp.csr_array(TABLE[:, ::-1]),
        "other shape": sp.csr_array(TABLE.T),
        "other dtype": sp.csr_array(TABLE.astype("f4")),
        "empty": sp.csr_array((2, 3)),
        "empty, wider": sp.csr_array((2, 4)),
    }


def equal() -> dict[str, tuple[object, ...]]:
    unsorted = sp.csr_array((np.array([3.0, 2.0]), np.array([2, 0]), np.array([0, 2])), shape=(1, 3))
    twice = sp.coo_array((np.array([1.0, 2.0, 3.0]), (np.array([0, 1, 0]), np.array([1, 0, 1]))), shape=(2, 2))
    wide = sp.csr_array(TABLE)
    wide.indices = wide.indices.astype(np.int64)
    wide.indptr = wide.indptr.astype(np.int64)
    return {
        "unsorted": (unsorted, sp.csr_array(np.array([[2.0, 0, 3.0]]))),
        "stored twice": (twice, sp.coo_array(np.array([[0, 4.0], [2.0, 0]]))),
        "wider places": (wide, sp.csr_array(TABLE)),
        **{name: (sp.csr_array(TABLE).asformat(name), sp.coo_array(TABLE).asformat(name)) for name in FORMATS},
    }
