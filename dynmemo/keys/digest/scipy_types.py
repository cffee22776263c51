"""scipy: sparse matrices and arrays.

A matrix is its class (which is its format), dtype, shape, and the stored elements in order of their
place, those stored twice added up. The same matrix in another format differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynmemo.keys.digest.code import type_within
from dynmemo.keys.digest.node import node
from dynmemo.keys.digest.numpy_types import dtype_name

if TYPE_CHECKING:
    from dynmemo.keys.digest.node import Handler, Node


def handler(cls: type) -> Handler | None:
    """The handler of a sparse matrix; nothing else in scipy needs one."""
    if not cls.__module__.startswith("scipy.sparse") or not hasattr(cls, "tocoo"):
        return None
    head = type_within(cls, "scipy")

    def take_apart(matrix: Any) -> Node:
        extra = getattr(matrix, "blocksize", None) if matrix.format == "bsr" else None
        compressed = matrix.format in {"csr", "csc"} and matrix.ndim == 2
        parts = _compressed_parts(matrix) if compressed else _coordinate_parts(matrix)
        return node(b"sparse", (head, dtype_name(matrix.dtype), matrix.shape, extra, *parts))

    return take_apart


def _compressed_parts(matrix: Any) -> list[object]:
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return [matrix.data, _index(matrix.indices), _index(matrix.indptr)]


def _coordinate_parts(matrix: Any) -> list[object]:
    coordinates = matrix.tocoo(copy=True)
    coordinates.sum_duplicates()
    places = coordinates.coords if hasattr(coordinates, "coords") else (coordinates.row, coordinates.col)
    # Which of the axes comes first differs between versions of scipy.
    order = np.lexsort(places[::-1])
    return [coordinates.data[order], *[_index(place)[order] for place in places]]


def _index(places: Any) -> Any:
    """Places as 64 bits: how wide scipy stores them depends on how the matrix came about."""
    return np.asarray(places).astype(np.int64, copy=False)
