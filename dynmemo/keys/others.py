"""Types of packages that need a word or two: nothing is imported here that is not there already."""

from __future__ import annotations

import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from dynmemo.keys.encoding import Fields, Named, node, size, typed
from dynmemo.keys.left_out import attributes_left_out
from dynmemo.keys.objects import State, own_state, type_within
from dynmemo.keys.own import type_name
from dynmemo.keys.refusal import Refusal

if TYPE_CHECKING:
    from dynmemo.keys.encoding import Handler, Node


def handler(cls: type) -> Handler | None:
    """The reader of a type of one of these packages."""
    for base in cls.__mro__:
        package = str(base.__module__).partition(".")[0]
        for find in _FINDERS.get(package, ()):
            found: Handler | None = find(cls, base)
            if found is not None:
                return found
    return None


# -- scipy: sparse matrices and arrays -----------------------------------------------------------------------
# A matrix is its class (which is its format), dtype, shape, and the stored elements in order of their place, those
# stored twice added up. The same matrix in another format differs.


def _sparse(cls: type, base: type) -> Handler | None:
    if not cls.__module__.startswith("scipy.sparse") or not hasattr(cls, "tocoo"):
        return None
    from dynmemo.keys.arrays import dtype_name

    head = type_within(cls, "scipy")

    def read(matrix: Any) -> Node:
        extra = getattr(matrix, "blocksize", None) if matrix.format == "bsr" else None
        compressed = matrix.format in {"csr", "csc"} and matrix.ndim == 2
        parts = _compressed_parts(matrix) if compressed else _coordinate_parts(matrix)
        return node(b"sparse", (head, dtype_name(matrix.dtype), matrix.shape, extra, *parts))

    return read


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
    order = sys.modules["numpy"].lexsort(places[::-1])
    return [coordinates.data[order], *[_index(place)[order] for place in places]]


def _index(places: Any) -> Any:
    """Places as 64 bits: how wide scipy stores them depends on how the matrix came about."""
    return places.astype("int64", copy=False)


# -- torch: tensors in the memory of the processor, by dtype, shape and every element ------------------------


def _torch(cls: type, base: type) -> Handler | None:
    torch: Any = sys.modules["torch"]
    if cls in {torch.dtype, torch.device, torch.Size}:
        return lambda value: typed(b"torch", cls.__name__, (str(value),))
    return _tensor(cls, torch) if issubclass(cls, torch.Tensor) else None


def _tensor(cls: type, torch: Any) -> Handler:
    head = type_within(cls, "torch")

    def read(tensor: Any) -> Node:
        if tensor.device.type != "cpu":
            raise Refusal(cls, f"a tensor on the device {tensor.device.type}, which is not read", "Pass tensor.cpu()")
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise Refusal(cls, "a sparse or quantized tensor, which is not read", "Pass tensor.to_dense()")
        content = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
        extra = (head, tuple(tensor.shape), bool(tensor.requires_grad), blake3(content.numpy()).digest())
        return typed(b"tensor", str(tensor.dtype), extra)

    return read


# -- xarray: variables, data arrays and datasets, by dimensions, coordinates, attributes and every element ---

_VARIABLE = Named("", ".attrs", ".values", ".encoding")
_ARRAY = Named(".name", ".variable", ".coords")
_SET = Named(".attrs", ".data_vars", ".coords", ".encoding")


def _xarray(cls: type, base: type) -> Handler | None:
    xr: Any = sys.modules["xarray"]
    if issubclass(cls, xr.Variable):
        return lambda value: node(
            b"xarray variable", (value.dims, value.attrs, value.values, value.encoding or None), _VARIABLE
        )
    if issubclass(cls, xr.DataArray):
        return lambda value: node(
            b"xarray array", (value.name, value.variable, _variables(value.coords), list(value.xindexes)), _ARRAY
        )
    if issubclass(cls, xr.Dataset):
        return lambda value: node(
            b"xarray set",
            (
                *(value.attrs, _variables(value.data_vars), _variables(value.coords)),
                *(value.encoding or None, list(value.xindexes)),
            ),
            _SET,
        )
    return None


def _variables(named: Any) -> dict[object, object]:
    return {name: array.variable for name, array in named.items()}


# -- pydantic: models by class, fields and private attributes ------------------------------------------------
# Which fields were set by hand does not count: two equal models are one call.

_MODEL = Fields(3)


def _pydantic(cls: type, base: type) -> Handler | None:
    name = type_name(base)
    if name == "pydantic.fields.FieldInfo":
        return _slots(
            cls,
            left_out=("_attributes_set", "_original_annotation", "_original_assignment", "_complete", "_qualifiers"),
        )
    if name == "pydantic.type_adapter.TypeAdapter":
        return lambda value: node(b"type adapter", (value._type, value._config))
    if name == "pydantic._internal._validate_call.ValidateCallWrapper":
        return _validated
    if name != "pydantic.main.BaseModel" or cls.__getstate__ is not base.__getstate__:
        return None
    left_out = attributes_left_out(cls)

    def read(model: Any) -> Node:
        fields = list(chain.from_iterable(pair for pair in vars(model).items() if pair[0] not in left_out))
        return b"m" + size(len(fields)), [cls, model.__pydantic_extra__, model.__pydantic_private__, *fields], _MODEL

    return read


def _validated(value: Any) -> Node:
    config = getattr(getattr(value, "config_wrapper", None), "config_dict", None) or getattr(value, "_config", None)
    function = value.function
    hints = dict(getattr(function, "__annotations__", {}))
    return node(b"validated", (function, config, hints, getattr(value, "validate_return", None)))


def _undefined(cls: type, base: type) -> Handler | None:
    return (lambda _: node(b"undefined", ())) if cls.__name__ == "PydanticUndefinedType" else None


def _slots(cls: type, left_out: tuple[str, ...] = ()) -> Handler:
    def read(value: Any) -> Node:
        state = {name: one for name, one in own_state(value).items() if name not in left_out}
        return node(b"slots", (type_name(cls), State(state)))

    return read


def _attrs(cls: type, base: type) -> Handler | None:
    if cls.__name__ == "Attribute":
        return _slots(cls, left_out=("inherited",))
    return None


# -- SQLAlchemy: statements as compiled, tables by their columns, engines by their URL -----------------------


def _sqlalchemy(cls: type, base: type) -> Handler | None:
    name = type_name(base)
    if name == "sqlalchemy.engine.base.Engine":
        return _engine
    if name == "sqlalchemy.sql.schema.MetaData":
        return lambda value: node(b"metadata", (value.schema, sorted(value.tables)))
    if name == "sqlalchemy.sql.schema.Table":
        return lambda value: node(b"table", (value.fullname, *value.columns))
    if name == "sqlalchemy.sql.schema.Column":
        return _column
    if name in {"sqlalchemy.sql.schema.ColumnDefault", "sqlalchemy.sql.schema.CallableColumnDefault"}:
        return lambda value: node(b"default", (getattr(value.arg, "__wrapped__", value.arg),))
    if name == "sqlalchemy.sql.type_api.TypeEngine":
        return lambda value: node(b"type", (cls, repr(value)))
    if name in {"sqlalchemy.sql.elements.ClauseElement", "sqlalchemy.sql.base.Executable"}:
        return _statement
    if name == "sqlalchemy.orm.attributes.QueryableAttribute":
        return lambda value: node(b"attribute", (value.key, getattr(value, "type", None), value.expression))
    if name in {"sqlalchemy.orm.mapper.Mapper", "sqlalchemy.orm.instrumentation.ClassManager"}:
        return lambda value: node(b"mapper", (value.class_.__name__,))
    if name == "sqlalchemy.orm.decl_api.registry":
        return lambda value: node(b"registry", ())
    return None


def _engine(value: Any) -> Node:
    url = value.url
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        raise Refusal(type(value), "an engine whose database lies in memory", "Pass its content")
    return node(b"engine", (url.render_as_string(hide_password=True),))


def _column(value: Any) -> Node:
    parts = (value.name, value.type, value.primary_key, value.nullable, value.default, value.onupdate)
    foreign = sorted(str(key.target_fullname) for key in value.foreign_keys)
    return node(b"column", (*parts, str(value.server_default), foreign, value.unique, value.index, value.key))


def _statement(value: Any) -> Node:
    compiled = value.compile()
    return node(b"statement", (type(value).__name__, str(compiled), dict(compiled.params)))


# -- scikit-learn: trees of neighbours count their queries ---------------------------------------------------


def _sklearn(cls: type, base: type) -> Handler | None:
    if base.__name__ not in {"BinaryTree64", "BinaryTree32", "BinaryTree"}:
        return None

    def read(value: Any) -> Node:
        state = value.__reduce__()[2]
        return node(b"neighbours", (cls, *state[:7], *state[11:]))

    return read


# -- proxies -------------------------------------------------------------------------------------------------


def _wrapped(cls: type, base: type) -> Handler | None:
    """A proxy that stands for what it wraps, with the state that it adds."""
    if not hasattr(cls, "__wrapped__"):
        return None
    if str(cls.__module__).partition(".")[0] == "dynmemo":
        return lambda value: node(b"remembered", (value.__wrapped__,))
    return lambda value: node(b"wrapper", (cls, value.__wrapped__, State(own_state(value))))


_FINDERS: dict[str, tuple[Any, ...]] = {
    "scipy": (_sparse,),
    "torch": (_torch,),
    "xarray": (_xarray,),
    "pydantic": (_pydantic,),
    "pydantic_core": (_undefined,),
    "attr": (_attrs,),
    "sqlalchemy": (_sqlalchemy,),
    "sklearn": (_sklearn,),
    "dynmemo": (_wrapped,),
    "wrapt": (_wrapped,),
}
