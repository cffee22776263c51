"""What calls of the code itself change: its own state, which is no input of it."""

from __future__ import annotations

import array
import collections
import collections.abc

from dynmemo.keys.identity.own import is_own_class
from dynmemo.keys.identity.words import words

_LIST = words("append extend insert pop remove clear sort reverse __setitem__ __delitem__")
_DICT = words("update setdefault pop popitem clear move_to_end subtract __setitem__ __delitem__")
_SET = words("add discard remove pop clear update difference_update intersection_update symmetric_difference_update")

_BY_TYPE: tuple[tuple[type, frozenset[str]], ...] = (
    (list, _LIST),
    (bytearray, _LIST),
    (array.array, _LIST),
    (collections.deque, _LIST | words("appendleft extendleft popleft rotate")),
    (dict, _DICT),
    (set, _SET),
    (collections.abc.MutableMapping, _DICT),
    (collections.abc.MutableSet, _SET),
    (collections.abc.MutableSequence, _LIST),
)
# In these packages most methods of such names return something new (`Series.add`), so only a few count.
_BY_NAME = {
    "numpy.ndarray": words("sort fill put resize partition"),
    "pandas.core.frame.DataFrame": words("insert pop update"),
    "pandas.core.series.Series": words("pop update"),
    "queue.Queue": words("put put_nowait"),
    "_queue.SimpleQueue": words("put put_nowait"),
}


def mutates(value: object, method: str) -> bool:
    """Whether calling `method` on `value` changes it. Methods of the user's own are read instead."""
    cls = type(value)
    for base in cls.__mro__:
        if method in vars(base):
            if is_own_class(base):
                return False
            break
    if any(issubclass(cls, known) and method in methods for known, methods in _BY_TYPE):
        return True
    return any(method in _BY_NAME.get(f"{base.__module__}.{base.__qualname__}", ()) for base in cls.__mro__)


def items_mutate(value: object, method: str) -> bool:
    """Whether ``value[...].method()`` changes what is in `value`: a registry of lists, still empty perhaps."""
    items: collections.abc.Iterable[object]
    if isinstance(value, dict):
        items = value.values()
    elif isinstance(value, list | tuple):
        items = value
    else:
        return False
    return all(mutates(item, method) for item in items)


def is_plain_instance(value: object) -> bool:
    """Whether all there is to an instance of an own class are its attributes, one by one."""
    cls = type(value)
    if not is_own_class(cls) or isinstance(value, type):
        return False
    if any(hasattr(cls, name) for name in ("__dynmemo_digest__", "__getnewargs_ex__", "__getnewargs__", "__wrapped__")):
        return False
    if cls.__reduce_ex__ is not object.__reduce_ex__ or cls.__reduce__ is not object.__reduce__:
        return False
    # A class made of a built-in one has content beside its attributes.
    return cls.__getstate__ is object.__getstate__ and all(base is object or is_own_class(base) for base in cls.__mro__)
