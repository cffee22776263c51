"""Decorated functions on their way to other processes.

A function of an importable module travels by reference, as plain functions do. One of ``__main__``, a notebook or
another function travels by reference too where the receiver has the very same, as a spawned child of a script does, and
by value where not, as in the workers of joblib and Dask. No pickler says which receiver it writes for, so both ways go
along. With the value go the cache in force here and the function's name; beside it goes what its fingerprint, and
those of its arguments' classes, need where there is no source. With a reference to a function that names no cache goes
the one that is configured here, for receivers in which none is.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import pkgutil
import sys
from collections import OrderedDict
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from dynmemo._process import MAIN_MODULES, new_lock
from dynmemo.cache import Cache
from dynmemo.calls.memo import Memo
from dynmemo.codec.by_value import found_here
from dynmemo.codec.serializers import storing
from dynmemo.defaults import adopt, configured_cache, default_cache
from dynmemo.errors import DynmemoError, InvalidOptionError
from dynmemo.keys.identity import CodeIdentity
from dynmemo.keys.source import structure, take_written, written

if TYPE_CHECKING:
    from dynmemo.calls import Options
    from dynmemo.keys.identity import Portable

    Beside = tuple[Portable, tuple[bytes, ...]]

MOST_ARRIVED = 64
MOST_ARRIVED_BYTES = 32_000_000
"""How many functions that came by value are remembered, so that each is the same object when it comes again."""

MOST_WITHIN = 20

_within: ContextVar[int] = ContextVar("dynmemo_within", default=0)
"""How deep the pickling of decorated functions is nested: one may refer to another by value."""


class Traveller:
    """A decorated function, as opposed to a method that was got from an instance or class."""


def reduce_function(wrapper: Any) -> str | tuple[Any, ...]:
    """How a decorated function is pickled; see `object.__reduce__`."""
    memo: Memo = wrapper._self_memo
    module, qualname = memo.function.__module__, memo.function.__qualname__
    cache = _default_to_send(memo)
    if _is_importable(wrapper):
        return qualname if cache is None else (_named, (module, qualname, cache))
    value = _value(wrapper, needed=found_here(module, qualname) is not wrapper)
    beside = None if value is None else (memo.identity.portable(), written())
    return _arrive, (_token(memo), module, qualname, sys.version_info[:2], value, beside, cache)


def reduce_bound(bound: Any) -> tuple[Any, ...]:
    """How a decorated method is pickled that was got from an instance or class."""
    name, owner = bound.__name__, getattr(bound.__wrapped__, "__self__", None)
    if owner is None:  # got from the class, and not a classmethod
        return _bind, (bound._self_parent, bound._self_owner, name)
    return _bound, (owner, name, _default_to_send(bound._self_memo))


def _default_to_send(memo: Memo) -> Cache | None:
    """The default cache for processes that have none of their own, if this function uses it and it can be sent."""
    # What is stored is read by others who need not know the secret, and changes no settings of theirs.
    cache = configured_cache() if memo.cache is None and not storing.get() else None
    return cache if cache is not None and cache.can_travel else None


def _is_importable(wrapper: Any) -> bool:
    """Whether every process has it under its name."""
    function = wrapper._self_memo.function
    module = function.__module__
    here = found_here(module, function.__qualname__) is wrapper
    return here and module not in MAIN_MODULES and not _is_by_value(module)


def _bind(parent: Any, owner: type | None, name: str) -> Any:
    return parent if owner is None else getattr(owner, name)


def _bound(owner: Any, name: str, cache: Cache | None) -> Any:
    adopt(cache)
    return getattr(owner, name)


def _named(module: str, qualname: str, cache: Cache) -> Any:
    adopt(cache)
    return pkgutil.resolve_name(f"{module}:{qualname}")


def _value(wrapper: Any, *, needed: bool) -> bytes | None:
    """The plain function; None when it cannot be pickled and the receiver does not need it."""
    depth = _within.get()
    token = _within.set(depth + 1)
    try:
        if depth > MOST_WITHIN:
            raise pickle.PicklingError("decorated functions that refer to each other through pickles of their own")
        out = io.BytesIO()
        _pickler()(out, pickle.HIGHEST_PROTOCOL).dump(wrapper)
        value = out.getvalue()
    except DynmemoError:
        raise  # a cache that refuses to travel says what to do
    except Exception:
        if needed:
            raise
        return None
    finally:
        _within.reset(token)
    return value


@functools.cache
def _pickler() -> Any:
    """A kind of cloudpickle's pickler with one pickle for all decorated functions that refer to each other."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, thing: Any) -> Any:
            if not issubclass(type(thing), Traveller) or _is_importable(thing):
                return super().reducer_override(thing)
            # In circles too: the shell is there before its content is read.
            return _shell, (type(thing),), _content(thing), None, None, _fill

    return Pickler


def _content(wrapper: Any) -> tuple[Any, Options, str]:
    memo: Memo = wrapper._self_memo
    return wrapper.__wrapped__, _sent(memo), memo.program


def _sent(memo: Memo) -> Options:
    """The options that go along, the name in force filled in, and the cache unless they are to be stored."""
    if not storing.get():
        cache = memo.cache
        with suppress(InvalidOptionError):  # calls here compute, for there is no place; there may be one there
            cache = default_cache(cache)
        return replace(memo.options, name=memo.name, cache=cache)
    if isinstance(memo.options.cache, Cache) and memo.options.cache.environment_secret() != "":
        raise InvalidOptionError(f"{memo.name}() has a cache with a secret, which is not stored with a result")
    return replace(memo.options, name=memo.name)


def _shell(kind: Any) -> Any:
    return kind.__new__(kind)


def _fill(shell: Any, content: tuple[Any, Options, str]) -> None:
    function, options, program = content
    inner = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function
    type(shell).__init__(shell, function, Memo(inner, options, program))


def _arrive(
    token: str,
    module: str,
    qualname: str,
    python: tuple[int, int],
    value: bytes | None,
    beside: Beside | None,
    cache: Cache | None,
) -> Any:
    found = found_here(module, qualname)
    memo = getattr(found, "_self_memo", None)
    if isinstance(memo, Memo) and (value is None or _token(memo) == token):
        adopt(cache)
        return found
    if value is None or beside is None:
        raise AttributeError(f"there is no function {qualname!r} in {module!r} here, and it could not be sent by value")
    if python != sys.version_info[:2]:
        sent, here = (".".join(map(str, version)) for version in (python, sys.version_info[:2]))
        raise pickle.UnpicklingError(
            f"{qualname}() was sent by value from Python {sent}, whose bytecode does not run on Python {here}; "
            "use the same version, or put the function into a module that both can import"
        )
    facts, others = beside
    CodeIdentity.install(facts)
    take_written(others)
    return _arrived.get(value)


class _Arrived:
    """Functions that came by value. The same value gives the same function, whose counters go on."""

    def __init__(self) -> None:
        self._lock = new_lock(self)
        self._known: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def get(self, value: bytes) -> Any:
        mark = hashlib.sha256(value).hexdigest()
        with self._lock:
            known = self._known.get(mark)
            if known is not None:
                self._known.move_to_end(mark)
                return known[1]
        import cloudpickle

        wrapper = cloudpickle.loads(value)  # outside of the lock: its globals may have functions of their own
        with self._lock:
            wrapper = self._known.setdefault(mark, (len(value), wrapper))[1]
            while len(self._known) > 1 and (len(self._known) > MOST_ARRIVED or self._size() > MOST_ARRIVED_BYTES):
                self._known.popitem(last=False)
        return wrapper

    def _size(self) -> int:
        return sum(size for size, _ in self._known.values())


_arrived = _Arrived()


def _token(memo: Memo) -> str:
    """A text that differs for functions of one name that do different things, and is the same in every process."""
    options = (f"{field.name}={_word(getattr(memo.options, field.name))}" for field in fields(memo.options))
    code = getattr(memo.function, "__code__", None)
    # Where the user has said that the code does not count, or pinned it, what it reaches is not looked at either.
    return "\n".join((memo.name, memo.identity.current(), "" if code is None else structure(code), *options))


def _word(option: object) -> str:
    """An option as text, equal for those that mean the same."""
    if isinstance(option, Cache):
        return str(option.url)
    code = getattr(option, "__code__", None)
    if code is not None:
        return structure(code)
    if isinstance(option, (set, frozenset, list, tuple)):
        return str(sorted(map(str, option)))
    return f"{type(option).__qualname__} {getattr(option, 'name', option)}"


def _is_by_value(module: str) -> bool:
    """Whether the user told cloudpickle to send what this module defines by value."""
    cloudpickle = sys.modules.get("cloudpickle")
    return cloudpickle is not None and module.partition(".")[0] in {
        name.partition(".")[0] for name in cloudpickle.list_registry_pickle_by_value()
    }
