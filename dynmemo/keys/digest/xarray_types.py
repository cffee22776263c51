"""xarray: variables, data arrays and datasets, by dimensions, coordinates, attributes and every element."""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from dynmemo.keys.digest.node import Named, node

if TYPE_CHECKING:
    from dynmemo.keys.digest.node import Handler, Node


def handler(cls: type) -> Handler | None:
    """The handler of an xarray type."""
    for base, take_apart in _HANDLERS.items():
        if issubclass(cls, base):
            return take_apart
    return None


_VARIABLE = Named("", ".attrs", ".values")
_ARRAY = Named(".name", ".variable", ".coords")
_SET = Named(".attrs", ".data_vars", ".coords")


def _variable(value: xr.Variable) -> Node:
    return node(b"xarray variable", (value.dims, value.attrs, value.values), _VARIABLE)


def _data_array(value: xr.DataArray) -> Node:
    return node(b"xarray array", (value.name, value.variable, _variables(value.coords)), _ARRAY)


def _dataset(value: xr.Dataset) -> Node:
    return node(b"xarray set", (value.attrs, _variables(value.data_vars), _variables(value.coords)), _SET)


def _variables(named: object) -> dict[object, object]:
    return {name: array.variable for name, array in named.items()}  # type: ignore[attr-defined]


_HANDLERS: dict[type, Handler] = {
    xr.Variable: _variable,
    xr.DataArray: _data_array,
    xr.Dataset: _dataset,
}
