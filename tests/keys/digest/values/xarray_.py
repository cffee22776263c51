from __future__ import annotations

import numpy as np
import xarray as xr


def array() -> xr.DataArray:
    table = np.arange(6.0).reshape(2, 3)
    return xr.DataArray(table, dims=("x", "y"), coords={"y": [1, 2, 3]}, name="a", attrs={"unit": "m"})


def tree(top: str = "a", **below: float) -> xr.DataTree:
    parts = {"/": array().rename(top).to_dataset(), "/below": xr.Dataset({"b": 1.0, **below})}
    return xr.DataTree.from_dict(parts, name="top")


def _trees() -> dict[str, object]:
    return {
        "~tree": tree(),
        "~tree, another set below": tree(c=2.0),
        "~tree of another name": xr.DataTree(tree().to_dataset(), children=tree().children, name="other"),
        "~part of a tree": tree()["below"],
        "~part of another tree": tree("c")["below"],
        "~part by itself": xr.DataTree(xr.Dataset({"b": 1.0}), name="below"),
    }


def _looked_at(value: xr.DataTree) -> xr.DataTree:
    assert repr(value)
    return value


def different() -> dict[str, object]:
    return {
        **(_trees() if hasattr(xr, "DataTree") else {}),
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
        **({"tree before and after a look": (tree(), _looked_at(tree()))} if hasattr(xr, "DataTree") else {}),
        "sliced": (array()[:, ::2], array()[:, [0, 2]]),
        "transposed twice": (array(), array().T.copy(deep=True).T),
    }
