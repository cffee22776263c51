"""Tables as an Arrow IPC stream, which outlives library upgrades and cannot run code."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any

from dynmemo.codec.refusal import CannotSerialize, type_name
from dynmemo.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.codec.serializers import Encoded
    from dynmemo.item import Bytes

_TAG = b"dynmemo"
"""Entry of the schema's metadata, JSON: which type to restore, and what Arrow does not know of it."""


class Arrow:
    """pandas frames and series, polars frames and pyarrow tables; each comes back as what it was, or is refused."""

    name = "arrow"
    cause = "decode"

    def __init__(self) -> None:
        if importlib.util.find_spec("pyarrow") is None:
            raise InvalidOptionError('serializer="arrow" needs the extra "arrow": pip install "dynmemo[arrow]"')

    def encode(self, value: object) -> Encoded:
        kind = _kind(value)
        if kind is None:
            raise CannotSerialize(
                f'the result is of type {type_name(value)}; serializer="arrow" stores pandas DataFrame and Series, '
                "polars DataFrame and pyarrow Table. Return one of them, or choose another serializer"
            )
        try:
            table = _to_table(kind, value)
            same = _SAME[kind](value, _from_table(table))
        except Exception as error:
            raise _lossy(value, f"Arrow refused it with {type(error).__name__}") from error
        if not same:
            raise _lossy(value, "it would come back different")
        return [_write(table)], 0

    def decode(self, payload: Bytes) -> object:
        import pyarrow as pa

        # Memory of the value's own, aligned as Arrow wants it.
        own = bytes(payload) if isinstance(payload, memoryview) else payload
        table = pa.ipc.open_stream(pa.py_buffer(own)).read_all()
        table.validate(full=True)
        return _from_table(table, copy=True)


def _kind(value: object) -> str | None:
    """The exact type: a subclass (a GeoDataFrame) carries what Arrow would lose."""
    for kind in _SAME:
        module, _, name = kind.partition(".")
        if type(value) is getattr(sys.modules.get(module), name, None):
            return kind
    return None


def _to_table(kind: str, value: Any) -> Any:
    import pyarrow as pa

    tag: dict[str, object] = {"type": kind}
    if kind == "polars.DataFrame":
        table = value.to_arrow()
    elif kind == "pyarrow.Table":
        table = value
    else:
        tag["freq"] = getattr(value.index, "freqstr", None)
        if kind == "pandas.Series":
            tag["name"] = value.name
            value = value.to_frame("value")
        table = pa.Table.from_pandas(value, nthreads=1)
    return table.replace_schema_metadata({**(table.schema.metadata or {}), _TAG: json.dumps(tag)})


def _write(table: Any) -> memoryview:
    """The stream, in memory of exactly its size: a buffer that grows would hold it three times over."""
    import pyarrow as pa

    measure = pa.MockOutputStream()
    _write_to(measure, table)
    buffer = pa.allocate_buffer(measure.size())
    _write_to(pa.FixedSizeBufferWriter(buffer), table)
    return memoryview(buffer).cast("B")


def _write_to(sink: Any, table: Any) -> None:
    import pyarrow as pa

    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _from_table(table: Any, *, copy: bool = False) -> object:
    """What the table was made from; pandas shares some columns with Arrow, read-only, unless they are copied."""
    metadata = dict(table.schema.metadata)
    tag = json.loads(metadata.pop(_TAG))
    table = table.replace_schema_metadata(metadata or None)
    if tag["type"] == "pyarrow.Table":
        return table
    if tag["type"] == "polars.DataFrame":
        import polars

        return polars.from_arrow(table)
    frame = _to_pandas(tag, table)
    return frame.copy() if copy else frame


def _to_pandas(tag: dict[str, Any], table: Any) -> Any:
    frame = table.to_pandas(use_threads=False)  # Arrow's threads do not live on in a forked process
    if tag["freq"] is not None:
        frame.index.freq = tag["freq"]
    return frame if tag["type"] == "pandas.DataFrame" else frame["value"].rename(tag["name"])


def _same_frame(given: Any, restored: Any) -> bool:
    columns = range(given.shape[1])
    return bool(
        _same_index(given.index, restored.index)
        and given.columns.equals(restored.columns)
        and list(given.columns.names) == list(restored.columns.names)
        and given.attrs == restored.attrs
        and all(_same_column(given.iloc[:, i], restored.iloc[:, i]) for i in columns)
    )


def _same_series(given: Any, restored: Any) -> bool:
    return bool(
        _same_index(given.index, restored.index)
        and type(given.name) is type(restored.name)
        and given.name == restored.name
        and given.attrs == restored.attrs
        and _same_column(given, restored)
    )


def _same_index(given: Any, restored: Any) -> bool:
    return bool(given.identical(restored) and given.dtype == restored.dtype and _same_objects(given, restored))


def _same_column(given: Any, restored: Any) -> bool:
    return bool(given.dtype == restored.dtype and given.array.equals(restored.array) and _same_objects(given, restored))


def _same_objects(given: Any, restored: Any) -> bool:
    """For pandas a None equals NaN and True equals 1; here the types must agree."""
    return given.dtype != object or all(type(a) is type(b) for a, b in zip(given, restored, strict=True))


_SAME: dict[str, Callable[[Any, Any], bool]] = {
    "pandas.DataFrame": _same_frame,
    "pandas.Series": _same_series,
    "polars.DataFrame": lambda given, restored: given.schema == restored.schema and given.equals(restored),
    "pyarrow.Table": lambda given, restored: given.schema.equals(restored.schema, check_metadata=True),
}
"""What it stores, and whether something of that kind comes back as it was."""


def _lossy(value: object, why: str) -> CannotSerialize:
    return CannotSerialize(
        f'the result ({type_name(value)}) cannot be kept by serializer="arrow": {why}. '
        'Columns must each have one type that Arrow knows; otherwise choose serializer="pickle"'
    )
