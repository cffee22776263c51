"""The code part of a key: what a decorated function is as of each call, and what its computations change themselves."""

from __future__ import annotations

import itertools
import re
import sys
import types
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import blake3

from dynmemo._process import Once
from dynmemo.errors import InvalidOptionError, UnhashableArgumentError
from dynmemo.keys import source
from dynmemo.keys.code import pin
from dynmemo.keys.digest import insist_on_stability
from dynmemo.keys.encoding import NoStableContent
from dynmemo.keys.left_out import LIVE, NO_BEARING, listed
from dynmemo.keys.objects import Frozen
from dynmemo.keys.own import seen_through
from dynmemo.keys.places import MISSING, Place, attribute_place, start
from dynmemo.keys.snapshots import Snapshot, Tracker, by_snapshot, class_identity, encoded, has_own_code, name_of
from dynmemo.keys.state import Running, records, running
from dynmemo.origin import Reach

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextvars import Token

    from dynmemo.keys.places import Key
    from dynmemo.keys.reading import Reading
    from dynmemo.keys.snapshots import Kind, Parts, Read
    from dynmemo.keys.walk import Walk

__all__ = ["CodeIdentity", "Ingredient", "class_identity"]

Portable = dict[str, "Reading"]

_SHORT = 12
_MOST_MET = 100
RESTLESS = 10
"""Lookups one after the other that find a place changed, after which a function that never hit is said not to."""
_LIVE_NOTE = "only its name and what can be read of its settings count"
_once = Once()
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Ingredient:
    """One thing that a code fingerprint was made of, or that was left out of it on purpose.

    Example:
        >>> function, *others = forecast.explain("SEA").ingredients
        >>> function.kind, function.name, others[0].kind
        ('function', 'forecast', 'default')
    """

    kind: Kind
    """``function``, ``class``, ``global`` and the like."""
    name: str
    """As the user would say it: ``smooth``, ``Model.predict``, ``settings.SCALE``."""
    digest: str | None
    """The first digits of the digest of this thing alone; None if it has none."""
    note: str = ""
    """What else there is to say."""


Ingredient.__module__ = "dynmemo"  # as for all public names; see there


class Watching:
    """Looks, around one computation, at the places that its code may change and at all others that it reads."""

    def __init__(self, function: int, snapshots: Sequence[Snapshot], look_at_arguments: Callable[[], None]) -> None:
        self._function = function
        self._look_at_arguments = look_at_arguments
        self._snapshots = snapshots
        self._mark: Token[tuple[Running, ...]] | None = None
        self._reason = ""

    def begin(self) -> None:
        """The computation begins."""
        for snapshot in self._snapshots[:1]:
            if not snapshot.watch.unchanged() and (changed := snapshot.watch.changed()):
                self._reason = f"`{changed[0][1]}` was changed after its key was taken"
        mine = [Running(self._function, one) for one in self._snapshots]
        self._mark = running.set((*running.get(), *mine))

    def end(self) -> str:
        """The computation is over: why its result must not be stored, empty if it may."""
        if self._mark is not None:
            with suppress(ValueError):  # a coroutine that is closed by somebody else
                running.reset(self._mark)
        reasons = [self._reason, *map(self._look_at, self._snapshots)]
        self._look_at_arguments()  # which knows by now what the code changes itself
        return next(filter(None, reasons), "")

    def _look_at(self, snapshot: Snapshot) -> str:
        if snapshot.not_stored or snapshot.watch.unchanged():
            return snapshot.not_stored
        reason = ""
        for place, name, before, after in snapshot.watch.changed():
            if snapshot.may_be_written(place.key):
                records.changed(self._function, place, before, after, snapshot.counted(place.key))
                snapshot.watch.left(place.key, after)
            else:
                reason = f"`{name}` was changed while it computed, and not by its own code"
        return reason


class CodeIdentity:
    """What the code of one decorated function is, as of each call.

    Args:
        function: the function itself, not what stands in its place once it is decorated.
        code: ``"deep"`` for the function and everything of the user's own that it reaches; ``"own"`` for the
            function with its defaults and what it has closed over; ``"off"`` for nothing.
        depends_on: packages whose installed versions count.
        version: stands in place of the code.
        ignore_globals: globals that do not count, by name, with module where it is not the function's own.
        walked: told of the fingerprint whenever it had to be taken anew, with a function that gives its ingredients.
        has_hit: says whether a result was ever found.

    Raises:
        InvalidOptionError: an option is not allowed, or a package is not installed.
        UnhashableArgumentError: the function is an object that holds something without content.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        code: Literal["deep", "own", "off"] = "deep",
        depends_on: Sequence[str] = (),
        version: str | int | None = None,
        ignore_globals: Collection[str] = (),
        walked: Callable[[str, Callable[[], list[Ingredient]]], None] | None = None,
        has_hit: Callable[[], bool] = lambda: False,
    ) -> None:
        mode = checked_mode(code)
        pinned = checked_version(version) or ("off" if mode == "off" else None)
        self._versions = package_versions(depends_on)
        versions = [f"{name}={found}" for name, found in self._versions.items()]
        self._name = name_of(function)
        self._number = next(_numbers)
        self._options: dict[str, Any] = {"state": self._number, "check": insist_on_stability}
        self._tracker = Tracker(
            function,
            self._name,
            salt=(mode, *versions),
            walked=self._walked,
            globals_too=mode == "deep",
            is_users=True,
            ignored=_ignored(function, ignore_globals),
            **self._options,
        )
        self._report = walked
        self._has_hit = has_hit
        self._met: dict[int, Tracker] = {}
        self._changes: dict[Key, int] = {}
        self._reached: tuple[Snapshot, Reach] | None = None
        if pinned is not None and versions:
            pinned = f"{pinned}~{blake3.blake3(chr(10).join(versions).encode()).hexdigest(8)}"
        self._pinned = pinned
        if pinned is not None:
            pin(function, pinned)
        elif type(seen_through(function)) is not types.FunctionType:
            self._refuse_root(function)

    def current(self) -> str:
        """The code part of the key as of now: ``v...`` or ``off`` where the code does not count, else 32 hex digits.

        Raises:
            UnhashableArgumentError: something that the function reaches has no content.
        """
        if self._pinned is not None:
            return self._pinned
        known = self._tracker.known  # asked here, for every call comes this way
        return (known if known is not None and known.watch.unchanged() else self._snapshot()).fingerprint

    def not_stored(self) -> str:
        """Why no result can be stored now, empty if it can."""
        return "" if self._pinned is not None or self._tracker.known is None else self._tracker.known.not_stored

    def changed(self) -> list[tuple[Place, str, bytes]]:
        """The places that are others now than when the key was taken, with their names and what their tokens were."""
        known = self._tracker.known
        if known is None or known.watch.unchanged():
            return []
        return [(place, name, before) for place, name, before, _ in known.watch.changed()]

    def _snapshot(self) -> Snapshot:
        known = self._tracker.known
        if known is not None and not known.watch.unchanged():
            self._notice(known)
        try:
            return self._tracker.current()
        except NoStableContent as error:
            raise self._refused(error) from None

    def _refused(self, error: NoStableContent) -> UnhashableArgumentError:
        advice = error.advice.replace("ame the parameter in ignore=", "ame the global in ignore_globals=")
        return UnhashableArgumentError(f"{self._name}(): what it reaches as `{error.path}` is {error.reason}. {advice}")

    def _refuse_root(self, function: object) -> None:
        """Say at decoration that an object which is called can have no key; globals may still be defined later."""
        try:
            Snapshot(function, self._name, globals_too=False, is_users=True, **self._options)
        except NoStableContent as error:
            raise self._refused(error) from None

    def _notice(self, known: Snapshot) -> None:
        """Say once that a place is another at every lookup, so that no result is ever found again."""
        changed = {place.key: (place, name) for place, name, _, _ in known.watch.changed()}
        self._changes = {key: self._changes.get(key, 0) + 1 for key in changed}
        for key, count in self._changes.items():
            if count == RESTLESS and not self._has_hit():
                place, name = changed[key]
                _once.warning(
                    (self._name, name),
                    "%s(): `%s` was changed before each of the last %d lookups, so results are not found again. If it "
                    "has no bearing on them, leave it out: ignore_globals=(%r,)",
                    self._name,
                    name,
                    RESTLESS,
                    self._global_name(place, name),
                )

    def _global_name(self, place: Place, name: str) -> str:
        """What `ignore_globals` calls a global, or else the global that leads to a place."""
        root, (first, *rest) = seen_through(self._tracker.thing), name.split(".")
        home: Any = getattr(root, "__globals__", None)
        if not _is_global(place):
            found = start(root, first) if type(root) is types.FunctionType else None
            while rest and found is not None and isinstance(found.get(), types.ModuleType):
                found = attribute_place(found.get(), rest.pop(0))
            if found is None or not _is_global(found):
                return first
            place = found
        holder: Any = place.holder
        return str(place.name) if holder is home else f"{holder['__name__']}.{place.name}"

    # -- functions and classes in arguments -------------------------------------------------------

    def in_arguments(self, thing: Any, walk: Walk) -> Any:
        """What stands for a function or class in the arguments of a call."""
        if not has_own_code(thing):
            return by_snapshot(thing, walk)
        known = self._met.get(id(thing))
        if known is None or known.thing is not thing:
            if len(self._met) >= _MOST_MET:
                self._met.clear()
            known = self._met[id(thing)] = Tracker(thing, name_of(thing), strict=True, **self._options)
        return by_snapshot(thing, walk, known)

    # -- computations -----------------------------------------------------------------------------

    def watching(self, look_at_arguments: Callable[[], None] = lambda: None) -> Watching:
        """For one computation: tells what it changes of what it may, and what was changed meanwhile."""
        mine = self._tracker.known
        if self._pinned is not None or mine is None:  # nothing was looked up
            return Watching(self._number, (), look_at_arguments)
        met = [tracker.known for tracker in list(self._met.values())]
        known = [mine, *[one for one in met if one is not None and one.watch.unchanged()]]
        return Watching(self._number, known, look_at_arguments)

    # -- what it is made of -------------------------------------------------------------------------

    def ingredients(self) -> list[Ingredient]:
        """Everything that `current` is made of or that was left out of it on purpose, the function itself first."""
        if self._pinned is not None:
            return [Ingredient("package", name, None, f"version {found}") for name, found in self._versions.items()]
        self._snapshot()
        return _ingredients(self._tracker.walked(), self._versions)

    def reach(self) -> Reach:
        """Where the code lies that `current` stood for last, and what packages it reaches."""
        known = self._tracker.known
        if self._pinned is None and known is not None:
            reached = self._reached  # one read: another thread may replace it
            if reached is None or reached[0] is not known:
                packages = (*known.third_party, *self._versions)
                reached = self._reached = known, Reach(known.fingerprint, known.files, packages)
            return reached[1]
        code = getattr(seen_through(self._tracker.thing), "__code__", None)
        return Reach(self._pinned or "", () if code is None else (code.co_filename,), tuple(self._versions))

    def _walked(self, snapshot: Snapshot) -> None:
        for read in (read for parts in snapshot.nodes for read in parts.reads):
            noun = None if read.place is None or read.type is None else listed(read.type, LIVE)
            if noun is not None:
                message = "%s(): `%s` is %s: %s, not what lies behind it"
                _once.warning((self._name, read.name), message, self._name, read.name, noun[1], _LIVE_NOTE)
        if self._report is not None:
            self._report(snapshot.fingerprint, lambda: _ingredients(snapshot, self._versions))

    def portable(self) -> Portable:
        """What a process without the source of this code needs for the same fingerprint; to be pickled.

        Bytecode travels with cloudpickle and source does not, so the digests of the trees go along, by the
        bytecode that they belong to.
        """
        return {} if self._pinned is not None else source.pack(self._snapshot().functions)

    @staticmethod
    def install(portable: Portable) -> None:
        """Take what `portable` gave in another process, before the functions that came with it are used."""
        source.install(portable)


def _is_global(place: Place) -> bool:
    return isinstance(place.holder, dict) and "__builtins__" in place.holder


def _ignored(function: Any, names: Collection[str]) -> frozenset[Key]:
    """The places of the globals that a user says have no bearing on a result."""
    given: object = names
    if isinstance(given, str) or not isinstance(given, (tuple, list, set, frozenset)):
        raise InvalidOptionError(f"ignore_globals= takes names of globals: ignore_globals=({given!r},)")
    found = []
    function = seen_through(getattr(function, "__func__", function))
    for name in given:
        module, _, last = str(name).rpartition(".")
        namespace: Any = vars(sys.modules[module]) if module in sys.modules else None
        if not module and type(function) is types.FunctionType:
            place = start(function, last)
        else:
            place = None if namespace is None else Place(namespace, last)
        if place is None or place.get() is MISSING:
            raise InvalidOptionError(
                f"ignore_globals= names {name!r}, which is no global here; give names of globals of the function's "
                "module, and those of other modules as module.NAME"
            )
        found.append(place.key)
    return frozenset(found)


# -- the list of everything that went into a fingerprint, for people -----------------------------------------


def _ingredients(walk: Snapshot, versions: dict[str, str]) -> list[Ingredient]:
    """The function itself first, then what it reaches, by kind and name."""
    root = getattr(walk.root, "__module__", None)
    found = {
        Ingredient("function", _code_name(function, root), None if digest is None else digest[:_SHORT], note)
        for function, digest, note in walk.found
    }
    first = next((one for one in found if one.name == _code_name(walk.root, root)), None)
    first = first or Ingredient("function", _code_name(walk.root, root), walk.fingerprint[:_SHORT])
    for parts in walk.nodes:
        if isinstance(parts.thing, type):
            found.add(Ingredient("class", _code_name(parts.thing, root), _short(parts.alone())))
        found.update(one for read in parts.reads for one in _of(read, parts, walk.root, root))
    found.update(Ingredient("state", name, None, "left out by ignore_globals=") for name in walk.left_out)
    for key, name in walk.state.items():
        note = "changed by the code itself, so it counts as it was before"
        found.add(Ingredient("state", walk.may_write.get(key, name), None, note))
    for name in {*walk.third_party, *versions}:
        note = f"version {versions[name]}" if name in versions else _NOT_FOLLOWED
        found.add(Ingredient("package", name, None, note))
    return [first, *sorted(found - {first}, key=lambda one: (one.kind, one.name, one.digest or ""))]


_NOT_FOLLOWED = "not followed; its version counts where depends_on= names its package"


def _of(read: Read, parts: Parts, root: object, home: str | None) -> Iterator[Ingredient]:
    forgiven = type(read.value) is Frozen
    if read.place is None or (read.type is None and not forgiven):
        return
    name = read.name
    if read.kind in {"closure", "default"}:
        name = name if parts.thing is root else f"{_code_name(parts.thing, home)}.{name}"
    elif read.module is not None and read.module != home and "." not in name:
        name = f"{read.module}.{name}"
    for kinds, note in ((NO_BEARING, "no bearing on a value"), (LIVE, _LIVE_NOTE)):
        if read.type is not None and listed(read.type, kinds) is not None:
            yield Ingredient("opaque", name, None, f"{read.type.__name__}: {note}")
            return
    yield Ingredient(read.kind, name, _short(encoded(read.data)))


def _code_name(thing: object, root: str | None) -> str:
    name = str(getattr(thing, "__qualname__", type(thing).__name__)).rpartition("<locals>.")[2]
    module = getattr(thing, "__module__", None)
    return name if module in {root, None} else f"{module}.{name}"


def _short(data: bytes) -> str:
    return blake3.blake3(data).hexdigest(_SHORT // 2)


# -- what the user says: ``code=``, ``version=`` and ``depends_on=`` -----------------------------------------

MODES = ("deep", "own", "off")
LONGEST_VERSION = 100
"""Bytes of an escaped version that stand in a key as they are."""

_ESCAPES = str.maketrans({":": "%3A", "#": "%23", "%": "%25", "~": "%7E"})


def checked_mode(code: str) -> str:
    """`code` if it is one of the allowed."""
    if code not in MODES:
        raise InvalidOptionError(f"code={code!r} is not allowed; give one of {', '.join(map(repr, MODES))}")
    return code


def checked_version(version: str | int | None) -> str | None:
    """`version` as it stands in keys: ``v`` and the text, escaped; a long one ends in its hash."""
    if version is None:
        return None
    given: object = version  # callers without a type checker give anything
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        shown = "an empty text" if version == "" else f"a {type(version).__name__}"
        raise InvalidOptionError(
            f"version= takes a text that is not empty or an integer, not {shown}; change it when results should be new"
        )
    escaped = str(version).translate(_ESCAPES)
    encoded = escaped.encode("utf-8", "surrogatepass")
    if len(encoded) <= LONGEST_VERSION:
        return f"v{escaped}"
    tail = blake3.blake3(encoded).hexdigest(16)
    return f"v{encoded[: LONGEST_VERSION - len(tail) - 1].decode(errors='ignore')}~{tail}"


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """The installed version of each package; a name may be that of the package or that of its import.

    Raises:
        InvalidOptionError: one is not installed, or `names` is no sequence of names.
    """
    if isinstance(names, str):
        raise InvalidOptionError(f"depends_on= takes a sequence of package names: depends_on=({names!r},)")
    found = {}
    for name in names:
        if not isinstance(name, str):
            raise InvalidOptionError(f"depends_on= takes package names, not a {type(name).__name__}")
        found[re.sub(r"[-_.]+", "-", name).lower()] = _version(name)
    return dict(sorted(found.items()))


def _version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        pass
    packages = metadata.packages_distributions().get(name, [])
    if not packages:
        raise InvalidOptionError(
            f"depends_on= names {name!r}, which is not installed here; "
            "give names as `pip list` shows them, or install it"
        )
    return ",".join(sorted(f"{package}={metadata.version(package)}" for package in set(packages)))
