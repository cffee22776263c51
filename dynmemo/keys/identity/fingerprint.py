"""The code part of a key."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Literal

from dynmemo.keys.digest import register_code
from dynmemo.keys.identity import lookup
from dynmemo.keys.identity.graph import hash_texts
from dynmemo.keys.identity.hook import current_answer
from dynmemo.keys.identity.ingredients import Ingredient, ingredients_of
from dynmemo.keys.identity.options import checked_mode, checked_version, package_versions
from dynmemo.keys.identity.own import is_own_class, is_own_function
from dynmemo.keys.identity.pins import pin
from dynmemo.keys.identity.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dynmemo.keys.identity.tracker import Snapshot

Portable = dict[str, tuple[object, ...]]


class CodeIdentity:
    """What the code of one decorated function is, as of each call.

    Args:
        function: the function itself, not what stands in its place once it is decorated.
        code: ``"deep"`` for the function and everything of the user's own that it reaches; ``"own"`` for the
            function with its defaults and what it has closed over; ``"off"`` for nothing.
        depends_on: packages whose installed versions count.
        version: stands in place of the code.
        walked: told of the fingerprint whenever it had to be taken anew, with a function that gives its ingredients.

    Raises:
        InvalidOptionError: an option is not allowed, or a package is not installed.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        code: Literal["deep", "own", "off"] = "deep",
        depends_on: Sequence[str] = (),
        version: str | int | None = None,
        walked: Callable[[str, Callable[[], list[Ingredient]]], None] | None = None,
    ) -> None:
        mode = checked_mode(code)
        pinned = checked_version(version) or ("off" if mode == "off" else None)
        self._versions = package_versions(depends_on)
        versions = [f"{name}={found}" for name, found in self._versions.items()]
        self._tracker = Tracker(
            function,
            getattr(function, "__qualname__", type(function).__qualname__),
            globals_too=mode == "deep",
            is_users=True,
            salt=(mode, *versions),
            walked=None if walked is None else self._walked,
        )
        self._report = walked
        if pinned is not None and versions:
            pinned = f"{pinned}~{hash_texts(*versions)[:16]}"
        self._pinned = pinned
        if pinned is not None:
            pin(function, pinned)

    def current(self) -> str:
        """The code part of the key as of now: ``v...`` or ``off`` where the code does not count, else 32 hex digits."""
        return self._pinned if self._pinned is not None else self._tracker.current()

    def ingredients(self) -> list[Ingredient]:
        """Everything that `current` is made of or that was left out of it on purpose, the function itself first."""
        if self._pinned is not None:
            return [Ingredient("package", name, None, f"version {found}") for name, found in self._versions.items()]
        return ingredients_of(self._tracker.snapshot(), self._versions)

    def _walked(self, snapshot: Snapshot) -> None:
        if self._report is not None:
            self._report(snapshot.fingerprint, lambda: ingredients_of(snapshot, self._versions))

    def portable(self) -> Portable:
        """What a process without the source of this code needs for the same fingerprint; plain data, to be pickled.

        Bytecode travels with cloudpickle and source does not, so the digests of the trees go along, by the
        bytecode that they belong to.
        """
        if self._pinned is not None:
            return {}
        nodes = self._tracker.snapshot().nodes
        return lookup.pack(
            node.thing for node in nodes if type(node.thing) is types.FunctionType and node.label.startswith("tree:")
        )

    @staticmethod
    def install(portable: Mapping[str, tuple[object, ...]]) -> None:
        """Take what `portable` gave in another process, before the functions that came with it are used."""
        lookup.install(portable)


def class_identity(cls: type) -> str:
    """The digest of a class with its code and everything that this reaches, as of now."""
    return _tracker_of(cls).current()


def code_digest(thing: Any) -> str | None:
    """What stands for a function or class in digested data; None where its qualified name says all."""
    if isinstance(thing, type) and thing.__module__.startswith("dynmemo."):
        return thing.__name__  # where it is defined here is nobody's business
    answer = current_answer()
    if not _has_own_code(thing):
        return None
    return answer(thing) if answer is not None else _tracker_of(thing).current()


def _has_own_code(thing: Any) -> bool:
    if isinstance(thing, type):
        return is_own_class(thing)
    if isinstance(thing, staticmethod | classmethod):
        return _has_own_code(thing.__func__)
    if isinstance(thing, property):
        return any(_has_own_code(part) for part in (thing.fget, thing.fset, thing.fdel))
    return type(thing) is types.FunctionType and (bool(thing.__closure__) or is_own_function(thing))


_trackers: dict[int, tuple[object, Tracker]] = {}
_MOST_TRACKERS = 1_000


def _tracker_of(thing: Any) -> Tracker:
    known = _trackers.get(id(thing))
    if known is not None and known[0] is thing:
        return known[1]
    tracker = Tracker(thing, getattr(thing, "__qualname__", type(thing).__qualname__))
    # A function that has closed over something may hold large data, and is often new with every call.
    if isinstance(thing, type) or not getattr(thing, "__closure__", ()):
        if len(_trackers) >= _MOST_TRACKERS:
            _trackers.clear()
        _trackers[id(thing)] = (thing, tracker)
    return tracker


register_code(code_digest)
