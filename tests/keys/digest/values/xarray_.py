from __future__ import annotations

import numpy as np
import xarray as xr


def array() -> xr.DataArray:
    table = np.arange(6.0).reshape(2, 3)
    return xr.DataArray(table, dims=("x", "y"), coords={"y": [1, 2, 3]}, name="a", attrs={"unit": "m"})


def different() -> dict[str, object]:
    return {
        "array": array(),
        "set of a and b": xr.Dataset({"a": ("x", [1]), "b": ("x", [2])}),
        "set of a and b, other order": xr.Dataset({"b": ("x", [2]), "a": ("x", [1])}),
        "array, other element": array().copy(data=np.ones((2, 3))),
        "array, other name": array().rename("b"),
        "array, other dimension": array().rename(x="z"),
        "array, transposed": array().T,
        "array, other coordinate": array().assign_coords(y=[1, 2, 4]),
        "array without coordinate": array().drop_vars("y"),
        "array, other attribute": array().assign_attrs(unit="km"),
        "variable": array().variable,
        "set": array().to_dataset(),
        "set with attributes": array().to_dataset().assign_attrs(source="here"),
        "set of two": array().to_dataset().assign(b=("x", [1, 2])),
    }


def equal() -> dict[str, tuple[object, ...]]:
    return {
        "sliced": (array()[:, ::2], array()[:, [0, 2]]),
        "transposed twice": (array(), array().T.copy(deep=True).T),
    }
