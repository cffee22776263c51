"""Where functions and classes come in: what stands for them is known one room above."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from dynmemo.keys.digest.encoding import text
from dynmemo.keys.digest.names import module_name, type_name
from dynmemo.keys.digest.node import Named, node
from dynmemo.keys.digest.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.keys.digest.node import Node

CodeHandler = Callable[[Any], str | None]

_handlers: list[CodeHandler] = []
_BOUND = Named("", ".__self__")


class _Mode(threading.local):
    by_name = False


_mode = _Mode()


class TypeOf:
    """The class of a value, as a part of the value."""

    __slots__ = ("cls",)

    def __init__(self, cls: type) -> None:
        self.cls = cls


def type_within(cls: type, package: str) -> str | TypeOf:
    """The bare name of a class of `package`, which moves its classes about between versions; else the class."""
    return cls.__name__ if cls.__module__.partition(".")[0] == package else TypeOf(cls)


def register_code(handler: CodeHandler) -> None:
    """Let `handler` say what stands for a function or class: a text, or None where its qualified name says all.

    It is called with functions and classes that are (in) an argument, and with the class of every plain
    object, once for each digest. Without a handler functions and classes are refused as arguments, and the
    class of an object counts by its name.
    """
    _handlers[:] = [handler]


@contextmanager
def code_by_name() -> Iterator[None]:
    """Within this block, in this thread, functions and classes count by name, and the handler is not asked."""
    before = _mode.by_name
    _mode.by_name = True
    try:
        yield
    finally:
        _mode.by_name = before


def take_type_apart(value: TypeOf) -> bytes:
    """What stands for the class of a value."""
    return _encoding(b"C", value.cls)


def take_code_apart(value: Any) -> bytes | Node:
    """What stands for a function or class that is itself a value."""
    if not _handlers and not _mode.by_name:
        noun = "a class" if isinstance(value, type) else "a function"
        raise Refusal(type(value), f"{noun}, which has no stable content")
    owner = getattr(value, "__self__", None) if isinstance(value, (BuiltinFunctionType, MethodWrapperType)) else None
    if owner is None or type(owner) is type(threading):
        return _encoding(b"K", value)
    return node(b"bound", (value.__name__, TypeOf(owner) if isinstance(owner, type) else owner), _BOUND)


def _encoding(tag: bytes, value: Any) -> bytes:
    """Always a hash, which is remembered as long as the digest takes."""
    code = _handlers[0](value) if _handlers and not _mode.by_name else None
    name = tag + b"n" + text(_name(value)) if code is None else tag + b"c" + text(code)
    return b"#" + blake3(name).digest()


def _name(value: Any) -> str:
    if isinstance(value, type):
        return type_name(value)
    owner = getattr(value, "__objclass__", None)
    if owner is not None:
        return f"{type_name(owner)}.{value.__name__}"
    return f"{module_name(value.__module__ or 'builtins')}.{value.__qualname__}"


CODE_TYPES: Final = (
    FunctionType,
    BuiltinFunctionType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    type,
)
"""What is digested by its code; of `type` the subclasses too, which make classes."""
