"""What this process knows of recent calls, so that `explain()` can say in what a call differs from them.

Only digests and names are kept. A call is noted when it misses, never on the way of a hit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dynmemo._process import new_lock
from dynmemo.keys.identity.cost import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dynmemo.keys import Argument
    from dynmemo.keys.identity import Ingredient

K = TypeVar("K")
V = TypeVar("V")

MOST_CALLS = 64
"""Distinct calls remembered of one function."""
MOST_CODES = 16
"""Fingerprints of one function whose ingredients are remembered."""
MOST_FUNCTIONS = 1_000


LARGE = 1_000_000
"""Arguments of so many bytes or more are not digested a second time only to be remembered."""


def is_small(value: object) -> bool:
    """Whether the digest of an argument costs next to nothing."""
    return size_of(value) < LARGE


@dataclass(frozen=True, slots=True)
class Call:
    """The code part and the arguments part of a key, with the digest of each argument that was taken."""

    code: str
    arguments: str
    digests: Mapping[str, str | None]


class History:
    """Recent calls and fingerprints of the functions of one name: in a notebook a redefined function is another."""

    def __init__(self) -> None:
        self._lock = new_lock(self)
        self._codes: dict[str, list[Ingredient]] = {}
        self._calls: dict[tuple[str, str], Call] = {}

    def saw_code(self, fingerprint: str, ingredients: Callable[[], list[Ingredient]]) -> None:
        """A fingerprint was taken, most often by a call that is under way."""
        with self._lock:
            known = self._codes.get(fingerprint)
        try:
            found = ingredients() if known is None else known
        except Exception:  # noqa: BLE001 - what is only for people to read must not fail a call
            return
        with self._lock:
            _put(self._codes, fingerprint, found, MOST_CODES)

    def saw_call(self, code: str, arguments: str, each: Iterable[Argument]) -> None:
        """A call is about to be computed."""
        call = Call(code, arguments, {one.name: one.digest for one in each})
        with self._lock:
            _put(self._calls, (code, arguments), call, MOST_CALLS)

    def ingredients(self, code: str) -> list[Ingredient] | None:
        """What a fingerprint was made of, if this process has taken it."""
        with self._lock:
            return self._codes.get(code)

    def was_called(self, code: str, arguments: str) -> bool:
        """Whether this process has computed, or tried to compute, that very call."""
        with self._lock:
            return (code, arguments) in self._calls

    def calls(self) -> list[Call]:
        """The latest first."""
        with self._lock:
            return list(self._calls.values())[::-1]


def _put(kept: dict[K, V], key: K, value: V, most: int) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        kept.pop(next(iter(kept)), None)


class _Functions:
    def __init__(self) -> None:
        self._lock = new_lock(self)
        self._known: dict[str, History] = {}

    def of(self, fn: str) -> History:
        with self._lock:
            known = self._known.get(fn) or History()
            _put(self._known, fn, known, MOST_FUNCTIONS)
        return known


_functions = _Functions()


def history(fn: str) -> History:
    """What is known of the functions with this name in keys."""
    return _functions.of(fn)
