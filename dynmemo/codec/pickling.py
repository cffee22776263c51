"""Pickle, by value where another kernel could not import the class or function."""

from __future__ import annotations

import functools
import inspect
import io
import pickle
import struct
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from dynmemo._process import new_lock_in_children
from dynmemo.codec.envelope import BUFFERS, BY_VALUE, Encoded
from dynmemo.codec.refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynmemo.codec.compression import Reader
    from dynmemo.codec.envelope import Bytes

PROTOCOL = 5
OUT_OF_BAND = 16 * 1024
"""Buffers of arrays from this size on are stored beside the pickle stream, which saves copying them twice."""

_SPAWNED_MAIN = "__mp_main__"
_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")


storing: ContextVar[bool] = ContextVar("dynmemo_storing", default=False)
"""Whether this thread pickles for the store: a secret must not get into what it writes."""


def dump(value: object) -> Encoded:
    """The plain pickler, and cloudpickle for what only this process could import."""
    token = storing.set(True)
    try:
        return _dump(value)
    finally:
        storing.reset(token)


def _dump(value: object) -> Encoded:
    buffers: list[memoryview] = []
    try:
        stream = pickle.dumps(value, PROTOCOL, buffer_callback=_keep_large(buffers))
    except Exception:  # noqa: BLE001 - local classes, lambdas and more: cloudpickle can, or knows what is in the way
        return _dump_by_value(value)
    if _only_importable_here(stream):
        return _dump_by_value(value)
    return _encoded(stream, buffers)


def load_with_code(payload: Bytes) -> object:
    """The value of a stream without buffers beside it that may hold code by value."""
    return _UnpicklerOfCode(io.BytesIO(payload)).load()


def load_with_buffers(reader: Reader, *, code: bool) -> object:
    """Count of buffers, length of the stream, lengths of the buffers, then all of them. The value owns the buffers."""
    (count,) = _COUNT.unpack(reader.take(_COUNT.size))
    lengths = [_LENGTH.unpack(reader.take(_LENGTH.size))[0] for _ in range(count + 1)]
    stream, *buffers = [reader.take(length) for length in lengths]
    reader.finish()
    if code:
        return _UnpicklerOfCode(io.BytesIO(stream), buffers=buffers).load()
    return pickle.loads(stream, buffers=buffers)


class _UnpicklerOfCode(pickle.Unpickler):
    """Leaves the classes that live here as they are.

    A class that cloudpickle reads back where it was defined is that very class, and gets copies of its methods for its
    methods, which see none of the later edits of what they use.
    """

    def find_class(self, module: str, name: str, /) -> Any:
        found = super().find_class(module, name)
        if name == "_class_setstate" and module.startswith("cloudpickle"):
            return functools.partial(_set_state_of_copy, found)
        return found


def _set_state_of_copy(set_state: Callable[[type, object], type], cls: type, state: object) -> type:
    return cls if _lives_here(cls) else set_state(cls, state)


def _lives_here(cls: type) -> bool:
    """Whether this process has defined the class, and not read it from a pickle."""
    if found_here(cls.__module__, cls.__qualname__) is cls:
        return True
    # The methods of a copy have globals of their own.
    home = sys.modules.get(cls.__module__)
    return any(getattr(value, "__globals__", None) is vars(home) for value in _functions_in(cls) if home)


def found_here(module: str, qualname: str) -> Any:
    """What a module that is loaded has under a qualified name, None if there is nothing."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name, None)
    return found


def _functions_in(cls: type) -> Iterator[object]:
    for value in list(vars(cls).values()):
        yield from (getattr(value, name, None) for name in ("__func__", "fget", "func", "__wrapped__"))
        yield value


def _dump_by_value(value: object) -> Encoded:
    buffers: list[memoryview] = []
    out = io.BytesIO()
    pickler = _tracking_pickler()(out, PROTOCOL, buffer_callback=_keep_large(buffers))
    try:
        with _spawned_main.by_value():
            pickler.dump(value)
    except Exception as error:  # noqa: BLE001 - objects may raise anything while they are pickled
        raise refuse(value, pickler.last, error) from None
    return _encoded(out.getvalue(), buffers)


def _encoded(stream: bytes, buffers: list[memoryview]) -> Encoded:
    # What was pickled by value names cloudpickle's functions, be it nested in bytes that an object made itself.
    # A text that merely mentions the word is taken for code as well: it is then computed anew on another Python.
    flags = BY_VALUE if b"cloudpickle" in stream else 0
    if not buffers:
        return Encoded([stream], flags)
    index = [_COUNT.pack(len(buffers)), _LENGTH.pack(len(stream)), *(_LENGTH.pack(len(b)) for b in buffers)]
    return Encoded([b"".join(index), stream, *buffers], flags | BUFFERS)


def _only_importable_here(stream: bytes) -> bool:
    """Whether the stream may refer to the running script or notebook, or to a module registered to go by value."""
    if b"_main__" in stream:  # __main__ and, in spawned workers, __mp_main__
        return True
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is not None and any(
        name.encode() in stream for name in cloudpickle.list_registry_pickle_by_value()
    )


def _keep_large(buffers: list[memoryview]) -> Callable[[pickle.PickleBuffer], bool]:
    def in_band(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if len(raw) < OUT_OF_BAND:
            return True
        buffers.append(raw)
        return False

    return in_band


@functools.cache
def _tracking_pickler() -> Any:
    import cloudpickle

    class TrackingPickler(cloudpickle.Pickler):  # type: ignore[misc]
        """Remembers the object that it was busy with when something went wrong."""

        last: object = None

        def reducer_override(self, obj: object) -> object:
            self.last = obj
            if isinstance(obj, memoryview | io.TextIOWrapper):  # would come back as bytes, as a copy of the content
                raise pickle.PicklingError
            return super().reducer_override(obj)

    return TrackingPickler


class _SpawnedMain:
    """In a spawned worker the script is called `__mp_main__`, and cloudpickle takes that for importable elsewhere.

    So it is registered to go by value while anybody here pickles, and not longer: the registry is the user's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._registered = False
        new_lock_in_children(self)

    @contextmanager
    def by_value(self) -> Iterator[None]:
        import cloudpickle

        main = sys.modules.get(_SPAWNED_MAIN)
        if main is None or main.__name__ != _SPAWNED_MAIN:  # elsewhere it is another name of __main__
            yield
            return
        with self._lock:
            self._users += 1
            if _SPAWNED_MAIN not in cloudpickle.list_registry_pickle_by_value():
                cloudpickle.register_pickle_by_value(main)
                self._registered = True
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._registered and not self._users:
                    cloudpickle.unregister_pickle_by_value(main)
                    self._registered = False


_spawned_main = _SpawnedMain()
