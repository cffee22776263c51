"""Things of the standard library whose content pickle does not tell, by the names of their types; and live things."""

from __future__ import annotations

import contextlib
import gc
import os
from typing import TYPE_CHECKING, Any, Final

from dynmemo.keys.encoding import ELEMENTS, InWalk, Named, node, size
from dynmemo.keys.objects import State, constant_name, own_state
from dynmemo.keys.own import type_name
from dynmemo.keys.refusal import Refusal
from dynmemo.keys.scalars import LEAVES

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.keys.encoding import Handler, Node
    from dynmemo.keys.walk import Walk


def _parts(kind: bytes, *names: str) -> Handler:
    """A reader of a fixed list of attributes; a name with ``()`` is called."""
    order = Named(*[f".{name}" for name in names])

    def part(value: Any, name: str) -> object:
        found = getattr(value, name.removesuffix("()"))
        return found() if name.endswith("()") else found

    return lambda value: node(kind, (type_name(type(value)), *(part(value, name) for name in names)), order)


def _sentinel(value: object) -> Node:
    name = constant_name(value, everywhere=True)
    if name is None:
        raise Refusal(object, "a bare object(), which only its identity tells from another", "Use a member of an Enum")
    return node(b"constant", (name,))


def _context_variable(value: Any) -> Node:
    try:
        return node(b"context variable", (value.name, value.get()))
    except LookupError:
        return node(b"context variable", (value.name,))


def _local(value: Any) -> Node:
    return node(b"thread local", (type(value), State(vars(value))))


def _weak(value: Any) -> Node:
    return node(b"weak reference", (value() if callable(value) else None,))


def _proxy(value: Any) -> Node:
    raise Refusal(type(value), "a weak proxy, which has no stable content", "Pass the object")


def _code_object(value: Any) -> bytes | Node:
    from dynmemo.keys.source import structure

    return node(b"code", (structure(value),))


def _by_key(value: Any) -> Node:
    return node(b"cmp_to_key", gc.get_referents(value))


def _hash(value: Any) -> Node:
    digest = value.digest(32) if not value.digest_size else value.digest()
    return node(b"hash", (value.name, value.digest_size, value.block_size, digest))


def _described(value: Any, kind: bytes, *names: str) -> Node:
    """A descriptor of functools by these attributes, and by its state where a class is made of it."""
    parts = [getattr(value, name) for name in names]
    if type(value).__module__ != "functools":
        parts += [type(value), State({name: one for name, one in own_state(value).items() if name not in names})]
    return node(kind, parts)


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


def _local_proxy(value: Any) -> Node:
    try:
        current = value._get_current_object()
    except RuntimeError:  # outside of its context
        return node(b"local proxy", ("unbound",))
    return node(b"local proxy", (current,))


THINGS: Final[dict[str, Handler]] = {
    "builtins.object": _sentinel,
    "_struct.Struct": _parts(b"struct", "format"),
    "_io.StringIO": _parts(b"text in memory", "getvalue()", "tell()"),
    "_io.BytesIO": _parts(b"bytes in memory", "getvalue()", "tell()"),
    "re.Match": _parts(b"match", "re", "string", "pos", "endpos", "regs"),
    "sqlite3.Row": lambda value: node(b"row", (value.keys(), tuple(value))),
    "_contextvars.ContextVar": _context_variable,
    "_thread._local": _local,
    "weakref.ReferenceType": _weak,
    "weakref.ProxyType": _proxy,
    "weakref.CallableProxyType": _proxy,
    "weakref.WeakSet": lambda value: node(b"weak set", (set(value),)),
    "weakref.WeakValueDictionary": lambda value: node(b"weak dict", (dict(value),)),
    "weakref.WeakKeyDictionary": lambda value: node(b"weak dict", (dict(value),)),
    "builtins.code": _code_object,
    "functools.KeyWrapper": _by_key,
    "contextlib._GeneratorContextManagerBase": _context_manager,
    "decimal.Context": _decimal_context,
    "_hashlib.HASH": _hash,
    "_hashlib.HMAC": _hash,
    "_blake2.blake2b": _hash,
    "_blake2.blake2s": _hash,
    "_md5.md5": _hash,
    "builtins.cell": lambda value: node(b"cell", (value.cell_contents,)),
    "functools.cached_property": lambda value: _described(value, b"cached property", "func"),
    "functools.singledispatchmethod": lambda value: _described(value, b"dispatch", "func", "dispatcher"),
    "functools.partialmethod": lambda value: _described(value, b"partial method", "func", "args", "keywords"),
    "dataclasses._DataclassParams": _parts(b"options", "init", "repr", "eq", "order", "unsafe_hash", "frozen"),
    "dataclasses.Field": _parts(
        b"field",
        *("name", "type", "default", "default_factory", "repr", "hash", "init", "compare", "metadata", "kw_only"),
        "_field_type",
    ),
    # Copies of these come with classes that are sent by value.
    "dataclasses._MISSING_TYPE": lambda value: node(b"missing", ()),
    "dataclasses._FIELD_BASE": lambda value: node(b"kind of field", (value.name,)),
    "rpds.HashTrieMap": lambda value: (b"rpds" + size(len(value)), list(value.items()), ELEMENTS),
    "rpds.HashTrieSet": lambda value: (b"rpds" + size(len(value)), list(value), ELEMENTS),
    "werkzeug.local.LocalProxy": _local_proxy,
    "flask.app.Flask": lambda value: node(b"flask", (value.import_name, dict(value.config))),
    "itertools.count": InWalk(_counter),
    "unittest.mock.Base": InWalk(_mock),
    "unittest.mock._Call": InWalk(_mock),
}

# -- live things ---------------------------------------------------------------------------------------------


def live(cls: type, noun: str) -> Handler:
    """A reader for connections, files and the like: as a global by what of their settings can be read."""
    advice = (
        f"N{'ame'} what of it decides the result instead: key=lambda self, x: (self.url, x), "
        "pass what it takes to open it, name the parameter in ignore=, or register a digest."
    )

    def read(value: Any, walk: Walk) -> Node:
        if not walk.follows or walk.strict:
            raise Refusal(cls, f"{noun}, which has no stable content", advice=advice)
        if _is_in_memory(value):
            walk.not_stored = f"it reads {noun} whose content lies in this process"
        return node(b"live", (type_name(cls), State(_settings(value))))

    return InWalk(read)


def _settings(value: Any) -> dict[str, object]:
    """The plain attributes of a live thing, and what is known of some."""
    found: dict[str, object] = {}
    with contextlib.suppress(Exception):
        for name, one in own_state(value).items():
            text = _plain(one)
            if text is not None:
                found[name] = text
    for type_, read in _KNOWN.items():
        if any(type_name(base) == type_ for base in type(value).__mro__):
            with contextlib.suppress(Exception):
                found[""] = read(value)
    return found


def _plain(value: Any) -> object:
    if type(value) in LEAVES:
        return value
    if isinstance(value, (tuple, list)) and all(type(one) in LEAVES for one in value):
        return value
    if isinstance(value, dict) and all(type(one) in LEAVES for pair in value.items() for one in pair):
        return value
    return str(value) if type(value).__name__ in {"URL", "Timeout", "PosixPath", "WindowsPath", "Url"} else None


def _database(value: Any) -> list[object]:
    return [row[2] for row in value.execute("pragma database_list")]


def _is_in_memory(value: Any) -> bool:
    if type(value).__module__ != "sqlite3":
        return False
    try:
        return not all(_database(getattr(value, "connection", value)))
    except Exception:  # noqa: BLE001 - closed, or of another thread: nothing can be read of it
        return False


_KNOWN: Final[dict[str, Callable[[Any], object]]] = {
    "sqlite3.Connection": _database,
    "sqlite3.Cursor": lambda value: _database(value.connection),
    "botocore.client.BaseClient": lambda value: [
        value.meta.service_model.service_name,
        value.meta.region_name,
        value.meta.endpoint_url,
    ],
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
