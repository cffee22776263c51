"""Things whose content pickle does not tell, by the names of their types, and live things; nothing is imported here.

To add a type, write its reader into `THINGS`: the name of the class stands for those made of it as well.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from dynmemo.keys.builtin import leaf_of
from dynmemo.keys.encoding import ELEMENTS, Fields, InWalk, Named, Refusal, node, size, typed
from dynmemo.keys.left_out import attributes_left_out
from dynmemo.keys.objects import added, attributes, constant_name, own_state, read_object, type_within
from dynmemo.keys.own import is_own_class, type_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.keys.encoding import Handler, Node
    from dynmemo.keys.walk import Walk


def _parts(kind: bytes, *names: str) -> Handler:
    """A reader of the class and a fixed list of attributes; a name with ``()`` is called."""
    order = Named("", *[f".{name}" for name in names])

    def part(value: Any, name: str) -> object:
        found = getattr(value, name.removesuffix("()"))
        return found() if name.endswith("()") else found

    return lambda value: node(kind, [type_name(type(value)), *(part(value, name) for name in names)], order)


def _state(left_out: tuple[str, ...] = ()) -> Handler:
    """A reader of all attributes but some."""

    def read(value: Any) -> Node:
        state = {name: one for name, one in own_state(value).items() if name not in left_out}
        return node(b"slots", (type_name(type(value)), attributes(state)))

    return read


# -- the standard library ------------------------------------------------------------------------------------


def _sentinel(value: object, walk: Walk) -> Node:
    name = constant_name(value, everywhere=True)
    if name is None and walk.is_attribute():
        name = ""  # of a class or object, whose name for it counts
    if name is None:
        raise Refusal(object, "a bare object(), which only its identity tells from another", "Use a member of an Enum")
    return node(b"constant", (name,))


def _context_variable(value: Any) -> Node:
    try:
        return node(b"context variable", (value.name, value.get()))
    except LookupError:
        return node(b"context variable", (value.name,))


def _proxy(value: Any) -> Node:
    raise Refusal(type(value), "a weak proxy, which has no stable content", "Pass the object")


def _code_object(value: Any) -> Node:
    from dynmemo.keys.source import structure

    return node(b"code", (structure(value),))


def _hash(value: Any) -> Node:
    digest = value.digest(32) if not value.digest_size else value.digest()
    return node(b"hash", (value.name, value.digest_size, value.block_size, digest))


def _described(kind: bytes, *names: str) -> Handler:
    """A descriptor of functools by these attributes, and by its state where a class is made of it."""

    def read(value: Any) -> Node:
        parts = [getattr(value, name) for name in names]
        if type(value).__module__ != "functools":
            parts += [
                type(value),
                attributes({name: one for name, one in own_state(value).items() if name not in names}),
            ]
        return node(kind, parts)

    return read


def _context_manager(value: Any) -> Node:
    """What ``@contextmanager`` gives, by what it is made of; used once it is only a generator."""
    if "func" not in vars(value):
        raise Refusal(type(value), "a context manager that was entered", "Pass what it is made of")
    return node(b"context manager", (value.func, value.args, value.kwds), Named(".func", ".args", ".kwds"))


def _decimal_context(value: Any) -> Node:
    """Without the flags, which only tell what has happened."""
    numbers = (value.prec, value.rounding, value.Emin, value.Emax, value.capitals, value.clamp)
    return node(b"decimal context", (*numbers, sorted(signal.__name__ for signal, on in value.traps.items() if on)))


def _counter(value: Any, walk: Walk) -> Node:
    """A counter of `itertools` as a global: what it would give next. As an argument it is used up by the call."""
    if not walk.follows or walk.strict:
        raise Refusal(type(value), "an iterator, which has no stable content", "Pass a list")
    walk.foreign()
    return node(b"counter", value.__reduce__()[1])


def _mock(value: Any, walk: Walk) -> bytes:
    walk.not_stored = "it reaches a double of unittest.mock"
    return b"#" + os.urandom(32)


_FIELD = ("name", "type", "default", "default_factory", "repr", "hash", "init", "compare", "metadata", "kw_only")

_STANDARD: Final[dict[str, Handler]] = {
    "builtins.object": InWalk(_sentinel),
    "_struct.Struct": _parts(b"struct", "format"),
    "_io.StringIO": _parts(b"text in memory", "getvalue()", "tell()"),
    "_io.BytesIO": _parts(b"bytes in memory", "getvalue()", "tell()"),
    "re.Match": _parts(b"match", "re", "string", "pos", "endpos", "regs"),
    "sqlite3.Row": lambda value: node(b"row", (value.keys(), tuple(value))),
    "_contextvars.ContextVar": _context_variable,
    "_thread._local": lambda value: node(b"thread local", (type(value), attributes(vars(value)))),
    "weakref.ReferenceType": lambda value: node(b"weak reference", (value() if callable(value) else None,)),
    "weakref.ProxyType": _proxy,
    "weakref.CallableProxyType": _proxy,
    "weakref.WeakSet": lambda value: node(b"weak set", (set(value),)),
    "weakref.WeakValueDictionary": lambda value: node(b"weak dict", (dict(value),)),
    "weakref.WeakKeyDictionary": lambda value: node(b"weak dict", (dict(value),)),
    "builtins.code": _code_object,
    "functools.KeyWrapper": lambda value: node(b"cmp_to_key", gc.get_referents(value)),
    "contextlib._GeneratorContextManagerBase": _context_manager,
    "decimal.Context": _decimal_context,
    **dict.fromkeys(("_hashlib.HASH", "_hashlib.HMAC", "_blake2.blake2b", "_blake2.blake2s", "_md5.md5"), _hash),
    "builtins.cell": lambda value: node(b"cell", (value.cell_contents,)),
    "functools.cached_property": _described(b"cached property", "func"),
    "functools.singledispatchmethod": _described(b"dispatch", "func", "dispatcher"),
    "functools.partialmethod": _described(b"partial method", "func", "args", "keywords"),
    "dataclasses._DataclassParams": _parts(b"options", "init", "repr", "eq", "order", "unsafe_hash", "frozen"),
    "dataclasses.Field": _parts(b"field", *_FIELD, "_field_type"),
    # Copies of these come with classes that are sent by value.
    "dataclasses._MISSING_TYPE": lambda value: node(b"missing", ()),
    "dataclasses._FIELD_BASE": lambda value: node(b"kind of field", (value.name,)),
    "itertools.count": InWalk(_counter),
    "unittest.mock.Base": InWalk(_mock),
    "unittest.mock._Call": InWalk(_mock),
}

# -- scipy: a sparse matrix is its class (which is its format), dtype, shape, and the stored elements in order of their
# place, those stored twice added up. The same matrix in another format differs.


def _sparse(matrix: Any, walk: Walk) -> bytes | Node:
    head = type_within(type(matrix), "scipy")
    if not isinstance(head, str):  # a class of the user's, with whatever it adds
        return read_object(matrix, walk)
    from dynmemo.keys.arrays import dtype_name

    extra = matrix.blocksize if matrix.format == "bsr" else None
    compressed = matrix.format in {"csr", "csc"} and matrix.ndim == 2
    parts = _compressed_parts(matrix) if compressed else _coordinate_parts(matrix)
    return node(b"sparse", (head, dtype_name(matrix.dtype), matrix.shape, extra, *parts))


def _compressed_parts(matrix: Any) -> list[object]:
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return [matrix.data, _wide(matrix.indices), _wide(matrix.indptr)]


def _coordinate_parts(matrix: Any) -> list[object]:
    coordinates = matrix.tocoo(copy=True)
    coordinates.sum_duplicates()
    places = coordinates.coords if hasattr(coordinates, "coords") else (coordinates.row, coordinates.col)
    # Which of the axes comes first differs between versions of scipy.
    order = sys.modules["numpy"].lexsort(places[::-1])
    return [coordinates.data[order], *[_wide(place)[order] for place in places]]


def _wide(places: Any) -> Any:
    """Places as 64 bits: how wide scipy stores them depends on how the matrix came about."""
    return places.astype("int64", copy=False)


# -- torch: tensors in the memory of the processor, by dtype, shape and every element ------------------------


def _tensor(tensor: Any) -> Node:
    torch, cls = sys.modules["torch"], type(tensor)
    if tensor.device.type != "cpu":
        raise Refusal(cls, f"a tensor on the device {tensor.device.type}, which is not read", "Pass tensor.cpu()")
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise Refusal(cls, "a sparse or quantized tensor, which is not read", "Pass tensor.to_dense()")
    content = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
    about = (type_within(cls, "torch"), tuple(tensor.shape), bool(tensor.requires_grad))
    return typed(b"tensor", str(tensor.dtype), (*about, blake3(content.numpy()).digest()))


def _about_tensors(value: Any) -> Node:
    return typed(b"torch", type(value).__name__, (str(value),))


# -- xarray: by dimensions, coordinates, attributes and every element ----------------------------------------


def _variable(value: Any) -> Node:
    parts = (value.dims, value.attrs, value.values, value.encoding or None)
    return node(b"xarray variable", (*parts, *added(value, "xarray")), Named("", ".attrs", ".values", ".encoding"))


def _data_array(value: Any) -> Node:
    parts = (value.name, value.variable, _variables(value.coords), list(value.xindexes))
    return node(b"xarray array", (*parts, *added(value, "xarray")), Named(".name", ".variable", ".coords"))


def _dataset(value: Any) -> Node:
    parts = (value.attrs, _variables(value.data_vars), _variables(value.coords), value.encoding or None)
    order = Named(".attrs", ".data_vars", ".coords", ".encoding")
    return node(b"xarray set", (*parts, list(value.xindexes), *added(value, "xarray")), order)


def _tree(value: Any) -> Node:
    parts = (value.name, value.to_dataset(inherit=False), dict(value.children), value.parent)
    return node(b"xarray tree", (*parts, *added(value, "xarray")), Named(".name", ".dataset", ".children", ".parent"))


def _variables(named: Any) -> dict[object, object]:
    return {name: array.variable for name, array in named.items()}


# -- pydantic: models by class, fields and private attributes. Which fields were set by hand does not count: two equal
# models are one call.

_MODEL = Fields(3)


def _model(model: Any, walk: Walk) -> bytes | Node:
    cls: Any = type(model)
    if cls.__getstate__ is not sys.modules["pydantic"].BaseModel.__getstate__:
        return read_object(model, walk)
    left_out = attributes_left_out(cls)
    fields = list(chain.from_iterable(pair for pair in vars(model).items() if pair[0] not in left_out))
    return b"m" + size(len(fields)), [cls, model.__pydantic_extra__, model.__pydantic_private__, *fields], _MODEL


def _validated(value: Any) -> Node:
    config = getattr(getattr(value, "config_wrapper", None), "config_dict", None) or getattr(value, "_config", None)
    hints = dict(getattr(value.function, "__annotations__", {}))
    return node(b"validated", (value.function, config, hints, getattr(value, "validate_return", None)))


# -- SQLAlchemy: statements as compiled, tables by their columns, engines by their URL -----------------------


def _engine(value: Any) -> Node:
    url = value.url
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        raise Refusal(type(value), "an engine whose database lies in memory", "Pass its content")
    return node(b"engine", (url.render_as_string(hide_password=True),))


def _column(value: Any) -> Node:
    parts = (value.name, value.type, value.primary_key, value.nullable, value.default, value.onupdate)
    foreign = sorted(str(key.target_fullname) for key in value.foreign_keys)
    return node(b"column", (*parts, str(value.server_default), foreign, value.unique, value.index, value.key))


def _column_default(value: Any) -> Node:
    return node(b"default", (getattr(value.arg, "__wrapped__", value.arg),))


def _statement(value: Any) -> Node:
    compiled = value.compile()
    types = [one.type for one in sys.modules["sqlalchemy.sql.visitors"].iterate(value) if _says_more(one)]
    return node(b"statement", (type(value).__name__, str(compiled), dict(compiled.params), *types))


def _says_more(element: Any) -> bool:
    """Whether the type of an element does what the text of the statement does not tell."""
    cls = type(getattr(element, "type", None))
    return is_own_class(cls) or "TypeCoerce" in {base.__name__ for base in type(element).__mro__}


def _mapper(value: Any) -> Node:
    return node(b"mapper", (value.class_.__name__,))


# -- others --------------------------------------------------------------------------------------------------


def _neighbours(value: Any) -> Node:
    """A tree of scikit-learn, without the count of its queries."""
    state = value.__reduce__()[2]
    return node(b"neighbours", (type(value), *state[:7], *state[11:]))


def _dask_expression(value: Any) -> Node:
    """What it is made of, without what it has computed of that."""
    return node(b"dask expression", (type(value), *value.operands))


def _wrapped(value: Any) -> Node:
    """A proxy stands for what it wraps, with the state that it adds; a decorated function for the function."""
    cls = type(value)
    if cls.__module__.partition(".")[0] == "dynmemo":
        return node(b"remembered", (value.__wrapped__,))
    # What wraps is a member of the class where wrapt is written in C.
    names = {name for base in cls.__mro__ for name in vars(base) if name.startswith("_self_")}
    members = {name: getattr(value, name) for name in sorted(names)}
    return node(b"wrapper", (cls, value.__wrapped__, attributes({**members, **own_state(value)})))


def _local_proxy(value: Any) -> Node:
    try:
        return node(b"local proxy", (value._get_current_object(),))
    except RuntimeError:  # outside of its context
        return node(b"local proxy", ("unbound",))


THINGS: Final[dict[str, Handler]] = {
    **_STANDARD,
    "scipy.sparse._base._spbase": InWalk(_sparse),
    "torch.Tensor": _tensor,
    **dict.fromkeys(("torch.dtype", "torch.device", "torch.Size"), _about_tensors),
    "xarray.core.variable.Variable": _variable,
    "xarray.core.dataarray.DataArray": _data_array,
    "xarray.core.dataset.Dataset": _dataset,
    "xarray.core.datatree.DataTree": _tree,
    "pydantic.main.BaseModel": InWalk(_model),
    "pydantic.fields.FieldInfo": _state(
        ("_attributes_set", "_original_annotation", "_original_assignment", "_complete", "_qualifiers")
    ),
    "pydantic.type_adapter.TypeAdapter": _parts(b"type adapter", "_type", "_config"),
    "pydantic._internal._validate_call.ValidateCallWrapper": _validated,
    "pydantic_core._pydantic_core.PydanticUndefinedType": lambda _: node(b"undefined", ()),
    "attr._make.Attribute": _state(("inherited",)),
    "sqlalchemy.engine.base.Engine": _engine,
    "sqlalchemy.sql.schema.MetaData": lambda value: node(b"metadata", (value.schema, sorted(value.tables))),
    "sqlalchemy.sql.schema.Table": lambda value: node(b"table", (value.fullname, *value.columns)),
    "sqlalchemy.sql.schema.Column": _column,
    "sqlalchemy.sql.schema.ColumnDefault": _column_default,
    "sqlalchemy.sql.type_api.TypeEngine": lambda value: node(b"type", (type(value), repr(value))),
    "sqlalchemy.sql.elements.ClauseElement": _statement,
    "sqlalchemy.sql.base.Executable": _statement,
    "sqlalchemy.orm.attributes.QueryableAttribute": lambda value: node(
        b"attribute", (value.key, getattr(value, "type", None), value.expression)
    ),
    "sqlalchemy.orm.mapper.Mapper": _mapper,
    "sqlalchemy.orm.instrumentation.ClassManager": _mapper,
    "sqlalchemy.orm.decl_api.registry": lambda value: node(b"registry", ()),
    **dict.fromkeys(
        [f"sklearn.neighbors._{kind}_tree.BinaryTree{bits}" for kind in ("kd", "ball") for bits in ("", "32", "64")],
        _neighbours,
    ),
    **dict.fromkeys(("_wrappers.ObjectProxy", "wrapt.wrappers.ObjectProxy"), _wrapped),
    "dask._expr.Expr": _dask_expression,
    "rpds.HashTrieMap": lambda value: (b"rpds" + size(len(value)), list(value.items()), ELEMENTS),
    "rpds.HashTrieSet": lambda value: (b"rpds" + size(len(value)), list(value), ELEMENTS),
    "werkzeug.local.LocalProxy": _local_proxy,
    "flask.app.Flask": lambda value: node(b"flask", (value.import_name, dict(value.config))),
}
"""The reader of a type by the type's name."""

# -- live things ---------------------------------------------------------------------------------------------


def live(cls: type, noun: str) -> Handler:
    """A reader for connections, files and the like: as a global by what of their settings can be read."""
    advice = (
        "Pass what it takes to open it, say with key= what of it decides the result, "
        "name the parameter in ignore=, or register a digest."
    )

    def read(value: Any, walk: Walk) -> Node:
        if not walk.follows or walk.strict:
            raise Refusal(cls, f"{noun}, which has no stable content", advice=advice)
        if _is_in_memory(value):
            walk.not_stored = f"it reads {noun} whose content lies in this process"
        return node(b"live", (type_name(cls), attributes(_settings(value))))

    return InWalk(read)


def _settings(value: Any) -> dict[str, object]:
    """The plain attributes of a live thing, and what is known of some."""
    found: dict[str, object] = {}
    with contextlib.suppress(Exception):
        for name, one in own_state(value).items():
            if _is_plain(one):
                found[name] = one
            elif type(one).__name__ in {"URL", "Timeout", "PosixPath", "WindowsPath", "Url"}:
                found[name] = str(one)
    for name in map(type_name, type(value).__mro__):
        if name in _KNOWN:
            with contextlib.suppress(Exception):
                found[""] = _KNOWN[name](value)
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        value = tuple(chain.from_iterable(value.items()))
    return all(leaf_of(type(one)) for one in (value if isinstance(value, (tuple, list)) else (value,)))


def _database(value: Any) -> list[object]:
    return [row[2] for row in value.execute("pragma database_list")]


def _is_in_memory(value: Any) -> bool:
    if type(value).__module__ != "sqlite3":
        return False
    try:
        return not all(_database(getattr(value, "connection", value)))
    except Exception:  # noqa: BLE001 - closed, or of another thread: nothing can be read of it
        return False


def _aws(value: Any) -> list[object]:
    return [value.meta.service_model.service_name, value.meta.region_name, value.meta.endpoint_url]


_KNOWN: Final[dict[str, Callable[[Any], object]]] = {
    "sqlite3.Connection": _database,
    "sqlite3.Cursor": lambda value: _database(value.connection),
    "botocore.client.BaseClient": _aws,
    "boto3.session.Session": lambda value: [value.region_name, value.profile_name],
    "_io._IOBase": lambda value: [str(value.name), value.mode],
    "http.client.HTTPConnection": lambda value: [value.host, value.port],
    "requests.sessions.Session": lambda value: [dict(value.headers), value.verify],
    "redis.client.Redis": lambda value: [
        str(value.connection_pool.connection_kwargs.get(name)) for name in ("host", "port", "db")
    ],
    "sqlalchemy.orm.session.Session": lambda value: value.bind.url.render_as_string(hide_password=True),
    "sqlalchemy.engine.base.Connection": lambda value: value.engine.url.render_as_string(hide_password=True),
}
