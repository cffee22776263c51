"""pyarrow: arrays, chunked arrays, tables, schemas and scalars.

An array is its type, which elements are null, and the others; how it is cut into chunks, where a slice begins
and what lies under a null does not count. Metadata of schemas and fields does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dynmemo.keys.arrays import content_hash
from dynmemo.keys.encoding import Named, large, node, typed

if TYPE_CHECKING:
    from dynmemo.keys.arrays import Array
    from dynmemo.keys.encoding import Handler, Node


def handler(cls: type) -> Handler | None:
    """The handler of a pyarrow type."""
    for base, take_apart in _HANDLERS.items():
        if issubclass(cls, base):
            return take_apart
    return None


def _array(value: pa.Array) -> Node:
    return typed(b"arrow array", _type_text(value.type), (len(value), *_parts(value.type, [value])))


def _chunked(value: pa.ChunkedArray) -> Node:
    return typed(b"arrow chunks", _type_text(value.type), (len(value), *_parts(value.type, value.chunks)))


def content(value: pa.ChunkedArray) -> list[object]:
    """What is in an array, without its type."""
    return [len(value), *_parts(value.type, value.chunks)]


def _scalar(value: pa.Scalar) -> Node:
    return node(b"arrow scalar", (pa.repeat(value, 1),))


def _table(value: pa.Table | pa.RecordBatch) -> Node:
    kind = b"arrow table" if isinstance(value, pa.Table) else b"arrow batch"
    order = Named("", ".schema", *[f'["{name}"]' if name.isidentifier() else "" for name in value.schema.names])
    return node(kind, (value.num_rows, value.schema, *value.columns), order)


def _schema(value: pa.Schema) -> Node:
    return node(b"arrow schema", (value.metadata, *value))


def _field(value: pa.Field) -> Node:
    return typed(b"arrow field", _type_text(value.type), (value.name, value.nullable, value.metadata))


_HANDLERS: dict[type, Handler] = {
    pa.Array: _array,
    pa.ChunkedArray: _chunked,
    pa.Table: _table,
    pa.RecordBatch: _table,
    pa.Schema: _schema,
    pa.Field: _field,
    pa.Scalar: _scalar,
    pa.DataType: lambda value: typed(b"arrow type", _type_text(value), ()),
    pa.Buffer: lambda value: large(b"arrow buffer", memoryview(value)),
}


_WITHOUT_VIEW = {"string_view": pa.large_string(), "binary_view": pa.large_binary()}


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
        return _dictionary_parts(kind, chunks)
    if pa.types.is_run_end_encoded(kind):
        return _parts(kind.value_type, [pc.run_end_decode(chunk) for chunk in chunks])
    if str(kind) in _WITHOUT_VIEW:
        kind = _WITHOUT_VIEW[str(kind)]
        chunks = [pc.cast(chunk, kind) for chunk in chunks]
    if not _is_regular(kind):
        return [[value for chunk in chunks for value in chunk.to_pylist()]]
    parts: list[object] = [None]
    if any(chunk.null_count for chunk in chunks):
        parts = [content_hash(*[_bytes_of(chunk.is_valid()) for chunk in chunks])]
        chunks = [chunk.drop_null() for chunk in chunks]
    return parts + _present_parts(kind, [chunk for chunk in chunks if len(chunk)])


def _dictionary_parts(kind: pa.DataType, chunks: list[pa.Array]) -> list[object]:
    chunks = pa.chunked_array(chunks, kind).unify_dictionaries().chunks
    words = [chunk.dictionary for chunk in chunks[:1]]
    values = [len(words[0]) if words else 0, *_parts(kind.value_type, words)]
    return values + _parts(kind.index_type, [chunk.indices for chunk in chunks])


def _present_parts(kind: pa.DataType, chunks: list[pa.Array]) -> list[object]:
    types = pa.types
    if types.is_boolean(kind):
        return [content_hash(*map(_bytes_of, chunks))]
    if types.is_struct(kind):
        columns = zip(*[chunk.flatten() for chunk in chunks], strict=True) if chunks else [()] * kind.num_fields
        return [part for i, column in enumerate(columns) for part in _parts(kind.field(i).type, list(column))]
    if types.is_map(kind) or _is_list(kind):
        return _list_parts(kind, chunks)
    if _is_text(kind):
        return _text_parts(chunks)
    return [content_hash(*[_fixed_width(kind, chunk) for chunk in chunks])]


def _is_regular(kind: pa.DataType) -> bool:
    """Whether the layout is one of those read here. Unions and views of lists are rare: their values will do."""
    types = pa.types
    nested = types.is_struct(kind) or types.is_map(kind) or _is_list(kind)
    fixed = types.is_primitive(kind) or types.is_decimal(kind) or types.is_fixed_size_binary(kind)
    return nested or fixed or _is_text(kind)


def _is_list(kind: pa.DataType) -> bool:
    return any((pa.types.is_list(kind), pa.types.is_large_list(kind), pa.types.is_fixed_size_list(kind)))


def _list_parts(kind: pa.DataType, chunks: list[pa.Array]) -> list[object]:
    if pa.types.is_fixed_size_list(kind):
        return _parts(kind.value_type, [chunk.flatten() for chunk in chunks])
    offsets = list(map(_offsets, chunks))
    lengths = content_hash(*map(np.diff, offsets))
    if pa.types.is_map(kind):
        # Unlike flatten() of a list these two know nothing of slices.
        keys = [chunk.keys[where[0] : where[-1]] for chunk, where in zip(chunks, offsets, strict=True)]
        items = [chunk.items[where[0] : where[-1]] for chunk, where in zip(chunks, offsets, strict=True)]
        return [lengths, *_parts(kind.key_type, keys), *_parts(kind.item_type, items)]
    return [lengths, *_parts(kind.value_type, [chunk.flatten() for chunk in chunks])]


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return any((types.is_string(kind), types.is_large_string(kind), types.is_binary(kind), types.is_large_binary(kind)))


def _text_parts(chunks: list[pa.Array]) -> list[object]:
    offsets = list(map(_offsets, chunks))
    texts = [_text_bytes(chunk, where) for chunk, where in zip(chunks, offsets, strict=True)]
    return [content_hash(*map(np.diff, offsets)), content_hash(*texts)]


def _text_bytes(chunk: pa.Array, offsets: Array) -> Array:
    buffer = chunk.buffers()[2]
    return np.frombuffer(buffer or b"", np.uint8)[offsets[0] : offsets[-1]]


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
