"""pyarrow: arrays, chunked arrays, tables, schemas and scalars.

An array is its type, which elements are null, and the others; how it is cut into chunks, where a slice begins
and what lies under a null does not count. Metadata of schemas and fields does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from dynmemo.keys.arrays import content_hash
from dynmemo.keys.encoding import Columns, large, node, typed

if TYPE_CHECKING:
    from dynmemo.keys.arrays import Array
    from dynmemo.keys.encoding import Handler, Node


def _array(value: pa.Array | pa.ChunkedArray) -> Node:
    is_one = isinstance(value, pa.Array)
    kind, chunks = (b"arrow array", [value]) if is_one else (b"arrow chunks", value.chunks)
    return typed(kind, _type_text(value.type), (len(value), *_parts(value.type, chunks)))


def content(value: pa.ChunkedArray) -> list[object]:
    """What is in an array, without its type."""
    return [len(value), *_parts(value.type, value.chunks)]


def _table(value: pa.Table | pa.RecordBatch) -> Node:
    kind = b"arrow table" if isinstance(value, pa.Table) else b"arrow batch"
    order = Columns("", ".schema", labels=value.schema.names)
    return node(kind, (value.num_rows, value.schema, *value.columns), order)


def _field(value: pa.Field) -> Node:
    return typed(b"arrow field", _type_text(value.type), (value.name, value.nullable, value.metadata))


TYPES: Final[dict[type, Handler]] = {
    pa.Array: _array,
    pa.ChunkedArray: _array,
    pa.Table: _table,
    pa.RecordBatch: _table,
    pa.Schema: lambda value: node(b"arrow schema", (value.metadata, *value)),
    pa.Field: _field,
    pa.Scalar: lambda value: node(b"arrow scalar", (pa.repeat(value, 1),)),
    pa.DataType: lambda value: typed(b"arrow type", _type_text(value), ()),
    pa.Buffer: lambda value: large(b"arrow buffer", memoryview(value)),
}
"""The reader of a type and of those made of it; the first that fits."""


def _type_text(kind: pa.DataType) -> str:
    if isinstance(kind, pa.ExtensionType):
        return f"{kind} {kind.extension_name} {kind.__arrow_ext_serialize__()!r} {kind.storage_type}"
    return str(kind)


def _parts(kind: pa.DataType, chunks: list[pa.Array]) -> list[object]:
    """The content of an array that comes in `chunks`, the same however it was cut."""
    if pa.types.is_null(kind):
        return []
    if isinstance(kind, pa.BaseExtensionType):
        return _parts(kind.storage_type, [chunk.storage for chunk in chunks])
    if pa.types.is_dictionary(kind):
        chunks = pa.chunked_array(chunks, kind).unify_dictionaries().chunks
        words = [chunk.dictionary for chunk in chunks[:1]]
        values = [len(words[0]) if words else 0, *_parts(kind.value_type, words)]
        return values + _parts(kind.index_type, [chunk.indices for chunk in chunks])
    read = next((read for is_kind, read in _LAYOUTS if is_kind(kind)), None)
    if read is None:  # maps, unions, runs, views: their values will do
        return [[value for chunk in chunks for value in chunk.to_pylist()]]
    parts: list[object] = [None]
    if any(chunk.null_count for chunk in chunks):
        parts = [content_hash(*[_bytes_of(chunk.is_valid()) for chunk in chunks])]
        chunks = [chunk.drop_null() for chunk in chunks]
    return parts + read(kind, [chunk for chunk in chunks if len(chunk)])


def _struct_parts(kind: pa.DataType, chunks: list[pa.Array]) -> list[object]:
    fields = zip(*[chunk.flatten() for chunk in chunks], strict=True) if chunks else [()] * kind.num_fields
    return [part for i, field in enumerate(fields) for part in _parts(kind.field(i).type, list(field))]


def _list_parts(kind: pa.DataType, chunks: list[pa.Array]) -> list[object]:
    lengths = [np.diff(_offsets(chunk)) for chunk in chunks]
    return [content_hash(*lengths), *_parts(kind.value_type, [chunk.flatten() for chunk in chunks])]


def _text_parts(_: pa.DataType, chunks: list[pa.Array]) -> list[object]:
    offsets = list(map(_offsets, chunks))
    texts = [
        np.frombuffer(chunk.buffers()[2] or b"", np.uint8)[where[0] : where[-1]]
        for chunk, where in zip(chunks, offsets, strict=True)
    ]
    return [content_hash(*map(np.diff, offsets)), content_hash(*texts)]


def _offsets(chunk: pa.Array) -> Array:
    """Where each element begins and the last one ends, as 64 bits whatever the type has."""
    wide = str(chunk.type).startswith("large_")
    offsets = np.frombuffer(chunk.buffers()[1], np.int64 if wide else np.int32)
    return offsets[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64, copy=False)


def _fixed_width(kind: pa.DataType, chunk: pa.Array) -> Array:
    width = kind.bit_width // 8
    letter = "f" if pa.types.is_floating(kind) else "i" if width in {1, 2, 4, 8} else "V"
    values = np.frombuffer(chunk.buffers()[1], f"{letter}{width}")
    return values[chunk.offset : chunk.offset + len(chunk)]


def _bytes_of(booleans: pa.Array) -> Array:
    array: Array = booleans.to_numpy(zero_copy_only=False)
    return array


def _fixed_parts(kind: pa.DataType, chunks: list[pa.Array]) -> list[object]:
    return [content_hash(*[_fixed_width(kind, chunk) for chunk in chunks])]


_LAYOUTS: Final = (
    (pa.types.is_boolean, lambda _, chunks: [content_hash(*map(_bytes_of, chunks))]),
    (pa.types.is_struct, _struct_parts),
    (pa.types.is_fixed_size_list, lambda kind, chunks: _parts(kind.value_type, [chunk.flatten() for chunk in chunks])),
    (lambda kind: pa.types.is_list(kind) or pa.types.is_large_list(kind), _list_parts),
    (lambda kind: str(kind).removeprefix("large_") in {"string", "binary"}, _text_parts),
    (pa.types.is_primitive, _fixed_parts),
    (pa.types.is_decimal, _fixed_parts),
    (pa.types.is_fixed_size_binary, _fixed_parts),
)
"""What tells a kind of array, and how those of its elements that are not null are read."""
