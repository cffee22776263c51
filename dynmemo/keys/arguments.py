"""The arguments of a call become the last part of its key."""

from __future__ import annotations

import contextlib
import inspect
import marshal
import re
import weakref
from collections.abc import Collection
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from dynmemo._process import Once
from dynmemo.errors import InvalidOptionError, UnhashableArgumentError
from dynmemo.keys.digest import NoStableContent, digest, digest_arguments, digests_of_parts, is_immutable
from dynmemo.keys.own import type_name
from dynmemo.keys.snapshots import by_snapshot, class_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynmemo.keys.walk import Walk

_once = Once()
_CHANGED = (
    "%s(): its computation changed the argument `%s`, so the next call with that object is another one. If it only "
    "fills a cache inside the object, say what counts with __dynmemo_digest__ or register_digest(); else pass a copy, "
    "for a hit changes nothing."
)
_UNSTABLE = (
    "%s(): the argument `%s` has another digest each time, so no call with it is ever a hit. Say what counts of it "
    "with __dynmemo_digest__ or register_digest()."
)

_RESTLESS = (
    "%s(): the argument `%s` was the same object with other content in each of the last %d calls, so none was a hit. %s"
)
RESTLESS = 10
"""Misses one after the other for which an argument was changed, after which a function that never hit says so."""

_ADVICE = "Say what counts of it with key=, or with a method __dynmemo_digest__ of its class; or leave it out: ignore=."

_SCALARS = frozenset({type(None), bool, int, float, str})
"""Exact types of arguments that nothing can change, so that a call with the same ones need not digest them again."""
_MOST_SPELLED = 10_000
"""Calls whose arguments are remembered with their key, some 400 bytes each: a sweep may be done again and again."""
_LONGEST_SPELLED = 200
"""Bytes of arguments that are remembered with their key."""


class Argument(NamedTuple):
    """One parameter of a call, as `explain()` tells of it.

    Example:
        >>> city, horizon = forecast.explain("SEA").arguments
        >>> horizon.name, horizon.type_name
        ('horizon', 'int')
    """

    name: str
    """Of the parameter."""
    type_name: str
    """Of the argument."""
    digest: str | None
    """Of its value alone; None where it was not taken."""
    note: str = ""
    """What else there is to say, such as that it does not count."""
    unordered: str | None = None
    """The same without the order of dicts; equal where there is none in it."""
    parts: tuple[tuple[str, str], ...] = ()
    """The digests of its attributes or items after ``.name`` or ``["key"]``."""


Argument.__module__ = "dynmemo"  # as for all public names; see there


class ArgumentKeys:
    """Digests the arguments of one function's calls, however they were spelled.

    Args:
        function: the function called.
        label: what errors call it.
        ignore: parameters that are left out; ``self`` stands for its class still, since that decides which code runs.
        key: called with the arguments; what it returns identifies the call.
        code: says what stands for functions and classes in arguments.

    Raises:
        InvalidOptionError: `ignore` names no parameter, or stands beside `key`.
    """

    def __init__(
        self,
        function: Callable[..., object],
        label: str,
        ignore: Collection[str] = (),
        key: Callable[..., object] | None = None,
        code: Callable[[Any, Walk], Any] = by_snapshot,
    ) -> None:
        self._function = function
        self._label = label
        self._key = key
        self._code = code
        self._ignore_given = ignore
        self._notes: dict[str, str] = {}
        self._last: dict[str, tuple[weakref.ref[Any], str | None, int]] = {}
        """Of each argument of the last miss the object, its digest, and how often in a row that was another one."""
        self._bind_to(function)

    def _bind_to(self, function: Callable[..., object]) -> None:
        label, key, ignore = self._label, self._key, self._ignore_given
        seen = _defaults_of(function)
        self._signature, followed = _signature(function, label)
        self._ignore = _checked_ignore(ignore, self._signature, label, key)
        self._class_only = "self" in self._ignore
        parameters = self._signature.parameters.values()
        plain = all(p.kind in {p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY} for p in parameters)
        self._names = tuple(p.name for p in parameters)
        filled_in = {type(p.default) for p in parameters if p.default is not p.empty}
        self._by_spelling = key is None and filled_in <= _SCALARS
        # Only for signatures without *args, ** and keyword-only parameters; the others are bound by inspect.
        self._plain = plain
        self._positional_only = frozenset(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
        # A wrapper may put a default of its own in the place of the one that is read here.
        self._defaults = {} if followed else {p.name: p.default for p in parameters if p.default is not p.empty}
        self._outer = inspect.signature(function, follow_wrapped=False) if followed else None
        self._spelled: dict[bytes, tuple[str, str, tuple[str, str]]] = {}
        """What `key` gave for scalars, with the code part and the name, by how these are spelled."""
        self._seen = seen  # last: another thread that finds these binds by nothing older

    def key(self, fn: str, code: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, str]:
        """The key of a call of `fn`, a key name, with this code part; and why its result must not be stored if so.

        Raises:
            TypeError: the arguments do not fit the signature, as calling the function would say.
            UnhashableArgumentError: an argument has no stable content.
        """
        function: Any = self._function
        seen = self._seen
        if seen is not None:
            by_name = function.__kwdefaults__
            if function.__defaults__ is not seen[0] or (by_name is not seen[1] and _differ(by_name, seen[1])):
                self._bind_to(function)  # they were set anew, as hot reload does
        remembered = self._spelled  # another thread that binds anew replaces it
        spelled = _spelling(args, kwargs) if self._by_spelling else None
        known = None if spelled is None else remembered.get(spelled)
        if known is None or known[0] is not code or known[1] != fn:
            arguments, not_stored = self._digest(self._counted(args, kwargs))
            known = (code, fn, (f"{fn}:{code}:{arguments}", not_stored))
            if spelled is not None and len(spelled) <= _LONGEST_SPELLED:
                if len(remembered) >= _MOST_SPELLED:
                    remembered.clear()
                remembered[spelled] = known
        return known[2]

    def _counted(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[str, object]]:
        """What of the arguments counts."""
        if self._key is not None:
            return [("key()", self._key(*args, **kwargs))]
        pairs = self._pairs(args, kwargs)
        return self._without_ignored(pairs) if self._ignore else pairs

    def _digest(self, pairs: list[tuple[str, object]]) -> tuple[str, str]:
        try:
            return digest_arguments(pairs, self._code)
        except NoStableContent as error:
            what = "the result of key=" if self._key is not None else f"argument `{error.path}`"
            advice = self._advice_on_self() if re.match(r"self\b", error.path) else error.advice
            raise UnhashableArgumentError(f"{self._label}(): {what} is {error.reason}. {advice}") from None

    def _advice_on_self(self) -> str:
        """What to do about an instance: with ignore="self" all of them would share their results."""
        others = ", ".join(name for name in self._names if name != "self")
        key = f"key=lambda self, {others}: (self.url, {others})" if others else "key=lambda self: self.url"
        return f"Say what of the instance decides the result: {key}, or a method __dynmemo_digest__ of its class."

    def each(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], wanted: Callable[[object], bool] = lambda value: True
    ) -> Callable[[], list[Argument]]:
        """What gives the parameters of a call one by one; those whose value is not `wanted` come without digest.

        With ``key=`` none has a digest: what it returns is digested as a whole, and it is not called again here.
        """
        pairs = self._pairs(args, kwargs)
        return lambda: [self._one(name, value, wanted) for name, value in pairs]

    def are_fixed(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether nothing can change the arguments of a call, which are small; seldom False for others that are."""
        spelled = _spelling(args, kwargs) if self._by_spelling else None
        return spelled is not None and len(spelled) <= _LONGEST_SPELLED

    def missed(
        self,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        each: Mapping[str, Argument],
        has_hit: Callable[[], bool],
    ) -> None:
        """A call with these arguments is a miss; says once that an object is changed before every call.

        Only of the same object can that be told: other values in each call are what a sweep has as well.
        """
        for name, value in self._pairs(args, kwargs):
            digest = each[name].digest if name in each else None
            if self._changes(name, value, digest) == RESTLESS and name not in self._notes and not has_hit():
                self._notes[name] = "it was changed before each call"
                advice = self._advice_on_self() if name == "self" else _ADVICE
                _once.warning((self._label, name), _RESTLESS, self._label, name, RESTLESS, advice)

    def _changes(self, name: str, value: object, digest: str | None) -> int:
        """How often in a row an argument was the same object with other content."""
        last, then, count = self._last.pop(name, (None, None, 0))
        is_changed = last is not None and last() is value and digest != then
        with contextlib.suppress(TypeError):  # who knows whether a list or a dict is the one of the last call
            self._last[name] = weakref.ref(value), digest, count + 1 if is_changed else 0
            return self._last[name][2]
        return 0

    def _one(self, name: str, value: object, wanted: Callable[[object], bool]) -> Argument:
        cls = type(value)
        kind = cls.__qualname__ if cls.__module__ == "builtins" else type_name(cls)
        if self._key is not None:
            return Argument(name, kind, None, "key= decides what of it counts")
        if name == "self" and self._class_only:
            return Argument(name, kind, class_identity(cls), "its class alone: the state is ignored")
        if name in self._ignore:
            return Argument(name, kind, None, "ignored")
        note = self._notes.get(name, "")
        if not wanted(value):
            return Argument(name, kind, None, note)
        plain = digest(value, name)
        if is_immutable(value):
            return Argument(name, kind, plain, note, plain)
        return Argument(name, kind, plain, note, digest(value, name, loose=True), digests_of_parts(value))

    def watched(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], wanted: Callable[[object], bool]
    ) -> Callable[[], None]:
        """For one computation; to be called after it: notes, and logs once, what it changed of the arguments."""
        before: list[tuple[str, object, str]] = []
        if self._key is None and not self.are_fixed(args, kwargs):
            with contextlib.suppress(Exception):  # objects may do anything when looked at
                for name, value in self._pairs(args, kwargs):
                    if not is_immutable(value) and name not in self._ignore and wanted(value):
                        before.append((name, value, self._alone(value)))
        return lambda: self._look_again(before)

    def _alone(self, value: object) -> str:
        return digest_arguments([("", value)], self._code)[0]

    def _look_again(self, before: list[tuple[str, object, str]]) -> None:
        for name, value, then in before:
            with contextlib.suppress(Exception):
                if (now := self._alone(value)) == then:
                    continue
                unstable = self._alone(value) != now
                self._notes[name] = "it has another digest each time" if unstable else "a computation changed it"
                _once.warning((self._label, name, unstable), _UNSTABLE if unstable else _CHANGED, self._label, name)

    def _pairs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[str, object]]:
        """The parameters with their values; what `inspect` would bind otherwise, or refuse, is left to it."""
        if not self._plain:
            return self._bound_pairs(args, kwargs)
        names = self._names
        given = len(args)
        if given == len(names) and not kwargs:
            return list(zip(names, args, strict=True))
        if given > len(names):
            return self._bound_pairs(args, kwargs)  # raises as the function would
        pairs: list[tuple[str, object]] = list(zip(names, args, strict=False))
        used = 0
        defaults = self._defaults
        for name in names[given:]:
            if name in kwargs and name not in self._positional_only:
                pairs.append((name, kwargs[name]))
                used += 1
            elif name in defaults:
                pairs.append((name, defaults[name]))
            else:
                return self._bound_pairs(args, kwargs)
        return pairs if used == len(kwargs) else self._bound_pairs(args, kwargs)

    def _bound_pairs(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[str, object]]:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            if self._outer is None or self._ignore:
                _refuse(self._function, self._label, args, kwargs, error)
            bound = self._outer.bind(*args, **kwargs)  # the wrapper gives some of the arguments itself
        if self._outer is None:
            bound.apply_defaults()
        return list(bound.arguments.items())

    def _without_ignored(self, pairs: list[tuple[str, object]]) -> list[tuple[str, object]]:
        kept = [(name, value) for name, value in pairs if name not in self._ignore]
        if self._class_only:
            owner = next(value for name, value in pairs if name == "self")
            kept.append(("type(self)", type(owner)))
        return kept


def _spelling(args: tuple[Any, ...], kwargs: Any) -> bytes | None:
    """Bytes that no other arguments have; None unless all of them are scalars, which nothing can change."""
    for value in args:
        if type(value) not in _SCALARS:
            return None
    if not kwargs:
        return marshal.dumps(args, 2)
    try:
        return marshal.dumps((args, kwargs), 2) if _SCALARS.issuperset(map(type, kwargs.values())) else None
    except ValueError:  # a mapping that is no dict
        return None


def _refuse(
    function: Callable[..., object], label: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], error: TypeError
) -> NoReturn:
    """Raise what Python says of arguments that do not fit."""
    __tracebackhide__ = True
    words = f"{label}(): {error}"
    if type(function) is FunctionType:
        try:
            _with_parameters_of(function)(*args, **kwargs)
        except TypeError as said:
            words = str(said)
    raise TypeError(words) from None


def _with_parameters_of(function: FunctionType) -> FunctionType:
    """A function of the same name and parameters that does nothing."""
    code, nothing = function.__code__, (lambda: None).__code__
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    twin = FunctionType(
        nothing.replace(
            co_argcount=code.co_argcount,
            co_posonlyargcount=code.co_posonlyargcount,
            co_kwonlyargcount=code.co_kwonlyargcount,
            co_flags=nothing.co_flags | code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS),
            co_nlocals=count,
            co_varnames=code.co_varnames[:count],
        ),
        {},
    )
    twin.__qualname__ = function.__qualname__
    twin.__defaults__, twin.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return twin


def _defaults_of(function: Any) -> tuple[object, dict[str, object] | None] | None:
    if type(function) is not FunctionType:
        return None
    by_name = function.__kwdefaults__
    return function.__defaults__, None if by_name is None else dict(by_name)


def _differ(now: dict[str, object] | None, seen: dict[str, object] | None) -> bool:
    """Whether the defaults of keyword-only parameters are others: their dict may be changed in place."""
    if now is None or seen is None:
        return now is not seen
    return now.keys() != seen.keys() or any(now[name] is not value for name, value in seen.items())


def _signature(function: Callable[..., object], label: str) -> tuple[inspect.Signature, bool]:
    """The signature that calls are bound to, and whether an open wrapper (``*args, **kwargs``) hides it.

    A wrapper that names its parameters is bound by these: `functools.wraps` gives it the signature of the function
    inside, whose defaults and order may be others.
    """
    try:
        inner = inspect.signature(function)
    except ValueError:
        raise InvalidOptionError(
            f"{label}(): its parameters cannot be told; decorate a function of your own that calls it"
        ) from None
    try:
        outer = inspect.signature(function, follow_wrapped=False)
    except ValueError:  # written in C, as `functools.lru_cache` is, and changes no argument
        return inner, False
    kinds = {parameter.kind for parameter in outer.parameters.values()}
    is_open = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD} <= kinds
    return (inner, True) if is_open and inner != outer else (outer, False)


def _checked_ignore(
    ignore: Collection[str], signature: inspect.Signature, label: str, key: Callable[..., object] | None
) -> frozenset[str]:
    given: object = ignore
    if not isinstance(given, Collection):
        raise InvalidOptionError(f"{label}(): ignore={given!r} is no list of parameters; give their names")
    names = frozenset((ignore,) if isinstance(ignore, str) else ignore)
    if names and key is not None:
        raise InvalidOptionError(
            f"{label}(): ignore= and key= exclude each other; let key= leave out what does not count"
        )
    for name in names:
        if name not in signature.parameters:
            allowed = ", ".join(signature.parameters) or "none"
            raise InvalidOptionError(f"{label}(): ignore={name!r} is no parameter; its parameters are: {allowed}")
    return names
