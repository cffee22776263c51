"""Decorated functions on their way to other processes.

A function of an importable module travels by reference, as plain functions do. One of ``__main__``, a notebook or
another function travels by reference too where the receiver has it, as a spawned child of a script does, and by value
where not, as in the workers of joblib and Dask. No pickler says which receiver it writes for, so both ways
go along. With the value go the cache in force here and the function's name; beside it goes what its fingerprint, and
those of its arguments' classes, need where there is no source.
"""

from __future__ import annotations

import hashlib
import inspect
import pickle
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from dynmemo.errors import DynmemoError
from dynmemo.identity import CodeIdentity, take_written, written
from dynmemo.memo.story import Memo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dynmemo.identity.fingerprint import Portable

_MAIN = {"__main__", "__mp_main__"}

_departing: ContextVar[tuple[Memo, ...]] = ContextVar("dynmemo_departing", default=())
_arriving: ContextVar[Mapping[int, Any]] = ContextVar("dynmemo_arriving", default={})  # noqa: B039 - never changed
_arrived: dict[str, Any] = {}


def reduce_function(wrapper: Any) -> str | tuple[Any, ...]:
    """How a decorated function is pickled; see `object.__reduce__`."""
    memo: Memo = wrapper._self_memo
    module, qualname = memo.function.__module__, memo.function.__qualname__
    found = _lookup(module, qualname)
    if found is wrapper and module not in _MAIN and not _is_by_value(module):
        return qualname
    if memo in _departing.get():
        return _fellow, (id(memo), type(wrapper))
    value = _value(wrapper, memo, needed=found is not wrapper)
    beside = None if value is None else (memo.facts(), written())
    return _arrive, (id(memo), memo.token(), module, qualname, sys.version_info[:2], value, beside)


def reduce_bound(bound: Any) -> tuple[Any, ...]:
    """How a decorated method is pickled that was got from an instance or class."""
    name, owner = bound.__name__, getattr(bound.__wrapped__, "__self__", None)
    if owner is None:  # got from the class, and not a classmethod
        return _bind, (bound._self_parent, bound._self_owner, name)
    return getattr, (owner, name)


def _bind(parent: Any, owner: type | None, name: str) -> Any:
    return parent if owner is None else getattr(owner, name)


def _value(wrapper: Any, memo: Memo, *, needed: bool) -> bytes | None:
    """The function itself; None if it cannot be pickled and need not be."""
    import cloudpickle

    token = _departing.set((*_departing.get(), memo))
    try:
        value: bytes = cloudpickle.dumps((type(wrapper), wrapper.__wrapped__, memo.sent()))
    except DynmemoError:
        raise  # a cache that refuses to travel says what to do
    except Exception:
        if needed:
            raise
        return None
    finally:
        _departing.reset(token)
    return value


def _arrive(
    mark: int,
    token: str,
    module: str,
    qualname: str,
    python: tuple[int, int],
    value: bytes | None,
    beside: tuple[Portable, tuple[bytes, ...]] | None,
) -> Any:
    found = _lookup(module, qualname)
    memo = getattr(found, "_self_memo", None)
    if isinstance(memo, Memo) and memo.token() == token:
        return found
    if value is None or beside is None:
        raise AttributeError(f"there is no function {qualname!r} in {module!r} here, and it could not be sent by value")
    if python != sys.version_info[:2]:
        sent = ".".join(map(str, python))
        raise pickle.UnpicklingError(
            f"{qualname}() was sent by value from Python {sent}, whose bytecode runs only there"
        )
    facts, others = beside
    CodeIdentity.install(facts)
    take_written(others)
    known = hashlib.sha256(value).hexdigest()
    if known not in _arrived:
        _arrived[known] = _rebuilt(mark, value)
    return _arrived[known]


def _fellow(mark: int, kind: type) -> Any:
    """A function whose globals, which are on their way, refer to it."""
    return _arriving.get()[mark][kind]


def _rebuilt(mark: int, value: bytes) -> Any:
    import cloudpickle

    from dynmemo.memo.wrapper import AsyncCachedFunction, CachedFunction

    # Its globals may refer to it, so it has to be there, empty, before they are read.
    shells = {kind: kind.__new__(kind) for kind in (CachedFunction, AsyncCachedFunction)}
    reset = _arriving.set({**_arriving.get(), mark: shells})
    try:
        kind, function, options = cloudpickle.loads(value)
    finally:
        _arriving.reset(reset)
    wrapper = shells[kind]
    inner = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function
    kind.__init__(wrapper, function, Memo(inner, options))
    return wrapper


def _lookup(module: str, qualname: str) -> Any:
    """What a module that is loaded has under a qualified name, None if there is nothing."""
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name, None)
    return found


def _is_by_value(module: str) -> bool:
    """Whether the user told cloudpickle to send what this module defines by value."""
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is not None and module.partition(".")[0] in {
        name.partition(".")[0] for name in cloudpickle.list_registry_pickle_by_value()
    }
