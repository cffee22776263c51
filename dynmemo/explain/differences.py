"""What this process knows of recent calls, and in what a call differs from them, in words.

Only digests and names are kept, and small scalars whose digest nobody has asked for. A call is noted when it misses,
never on the way of a hit.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from dynmemo._process import Once, new_lock
from dynmemo.keys.builtin import size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from dynmemo.keys.arguments import Argument
    from dynmemo.keys.identity import Ingredient

_once = Once()
_ORDER = (
    "%s(): the argument `%s` has the same items as in an earlier call, in another order, so it is another call. Where "
    "the order says nothing, as in a dict built from a set, sort it."
)

_UNKNOWN = 3
"""For how many differences a part counts of which only the hash is known."""

MOST_NAMED = 3
"""Attributes or items of one argument that are named."""

_WORDS = {
    "function": ("helper `{}`", "was edited"),
    "class": ("class `{}`", "was edited"),
    "global": ("global `{}`", "changed"),
    "closure": ("closed-over `{}`", "changed"),
    "default": ("default `{}`", "changed"),
    "package": ("package `{}`", "has another version"),
    "opaque": ("`{}`, which counts by its type and name,", "changed"),
}


class Known:
    """A call, to be compared with others.

    Args:
        key: of the call.
        ingredients: of its code.
        each: its arguments.
    """

    def __init__(self, key: str, ingredients: Sequence[Ingredient], each: Sequence[Argument]) -> None:
        self.key = key
        self.fn, self.code, self.arguments = key.rsplit(":", 2)
        self.ingredients = ingredients
        self.each = each

    def nearest(self, history: History, stored: Iterable[tuple[str, str]]) -> tuple[str, tuple[str, ...]]:
        """Which of the calls that are known is the nearest, and in what this one differs; both empty if none is known.

        Known are those that this process remembers, and those whose parts of code and arguments are `stored`. The same
        arguments under another code are nearer than other arguments, then the number of differences decides.
        """
        calls = history.calls()
        digests = {call.arguments: call for call in calls}
        found: list[tuple[bool, int, str, tuple[str, ...]]] = []
        for what, call in (("a call that this process made", one) for one in calls):
            found += self._compared(what, call.code, call.arguments, call, history)
        for code, arguments in stored:
            found += self._compared("an entry in the store", code, arguments, digests.get(arguments), history)
        return min(found, key=lambda one: one[:2])[2:] if found else ("", ())

    def _compared(
        self, what: str, code: str, arguments: str, call: Call | None, history: History
    ) -> Iterator[tuple[bool, int, str, tuple[str, ...]]]:
        if (code, arguments) == (self.code, self.arguments):
            return
        of_code, cost = self._code_differences(code, history)
        of_arguments, more = self._argument_differences(arguments, call)
        yield arguments != self.arguments, cost + more, what, (*of_arguments, *of_code)

    def _code_differences(self, code: str, history: History) -> tuple[list[str], int]:
        if code == self.code:
            return [], 0
        then = history.ingredients(code)
        if then is None or not self.ingredients:
            return [f"the code differs: it was {code[:12]} there (what that was made of is not known here)"], _UNKNOWN
        found = list(_edits(self.ingredients, then))
        found = found or ["the code differs in how its parts are put together"]
        return found, len(found)

    def _argument_differences(self, arguments: str, call: Call | None) -> tuple[list[str], int]:
        if arguments == self.arguments:
            return [], 0
        if call is None:
            return ["the arguments differ (which of them is not known here)"], _UNKNOWN
        found, unsure = [], []
        for one in self.each:
            then = call.each.get(one.name)
            if one.digest is not None and then is not None and one.digest != then.digest:
                found.append(f"argument `{one.name}` {_how(one, then)}")
            elif one.digest is not None and then is None:
                unsure.append(one.name)
        if not found and not unsure:
            return ["what key= returns differs"], 1
        if len(unsure) == 1 and not found:
            return [f"argument `{unsure[0]}` differs"], 1
        found += [f"argument `{name}` may differ: it was too large to be remembered" for name in unsure]
        return found, len(found)


def _how(now: Argument, then: Argument) -> str:
    """In what an argument differs from that of another call."""
    if now.unordered == then.unordered:
        return "has the same items in another order"
    here, there = dict(now.parts), dict(then.parts)
    steps = [step for step in {**here, **there} if here.get(step) != there.get(step)]
    if not here or not there or not steps:
        return "differs"
    more = f" and {len(steps) - MOST_NAMED} more" if len(steps) > MOST_NAMED else ""
    return "differs in " + ", ".join(f"`{now.name}{step}`" for step in steps[:MOST_NAMED]) + more


def _edits(now: Sequence[Ingredient], then: Sequence[Ingredient]) -> Iterator[str]:
    """What a fingerprint's ingredients say of an edit; the first of them is the function itself."""
    if now[0].digest != then[0].digest:
        yield "the function itself was edited"
    here, there = _by_name(now[1:]), _by_name(then[1:])
    for kind, name in sorted(here.keys() | there.keys()):
        words, changed = _WORDS[kind]
        subject = words.format(name)
        if (kind, name) not in there:
            yield f"{subject} is used now and was not then"
        elif (kind, name) not in here:
            yield f"{subject} was used then and is not now"
        elif here[kind, name] != there[kind, name]:
            yield f"{subject} {changed}"


def _by_name(ingredients: Iterable[Ingredient]) -> dict[tuple[str, str], set[tuple[str | None, str]]]:
    found: dict[tuple[str, str], set[tuple[str | None, str]]] = {}
    for one in ingredients:
        if one.kind == "state":  # which is no input
            continue
        found.setdefault((one.kind, one.name), set()).add((one.digest, one.note))
    return found


K = TypeVar("K")
V = TypeVar("V")

MOST_CALLS = 64
"""Distinct calls remembered of one function."""
MOST_CODES = 16
"""Fingerprints of one function whose ingredients are remembered."""
MOST_FUNCTIONS = 1_000


LARGE = 1_000_000
"""Arguments of so many bytes or more are not digested a second time only to be remembered."""


_SMALL = frozenset({type(None), bool, int, float, complex})


def is_small(value: object) -> bool:
    """Whether the digest of an argument costs next to nothing."""
    return type(value) in _SMALL or size_of(value) < LARGE


class Call:
    """The code part and the arguments part of a key, with each argument.

    Args:
        code: the one part.
        arguments: the other one.
        each: gives the arguments.
    """

    def __init__(self, code: str, arguments: str, each: Callable[[], Iterable[Argument]]) -> None:
        self.code = code
        self.arguments = arguments
        self._each = each

    @cached_property
    def each(self) -> Mapping[str, Argument]:
        """The arguments whose digest was taken."""
        return {one.name: one for one in self._each() if one.digest is not None}


class History:
    """Recent calls and fingerprints of the functions of one name: in a notebook a redefined function is another."""

    def __init__(self, fn: str = "") -> None:
        self._fn = fn
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

    def saw_call(self, call: Call, *, is_fixed: bool) -> None:
        """A call is about to be computed. Where it `is_fixed`, its arguments are looked at when somebody asks.

        Else they are looked at now: before anything changes them, and for those that are others only by their order.
        """
        code, arguments = call.code, call.arguments
        may_differ_in_order = not is_fixed and any(one.unordered != one.digest for one in call.each.values())
        with self._lock:
            before = [one for one in self._calls.values() if one.code == code] if may_differ_in_order else []
            _put(self._calls, (code, arguments), call, MOST_CALLS)
        if before:
            for name in next(filter(None, (_in_another_order(call, one) for one in before)), ()):
                _once.warning((self._fn, name), _ORDER, self._fn, name)

    def ingredients(self, code: str) -> list[Ingredient] | None:
        """What a fingerprint was made of, if this process has taken it."""
        with self._lock:
            return self._codes.get(code)

    def codes(self) -> list[str]:
        """The fingerprints that this process has taken, of late."""
        with self._lock:
            return list(self._codes)

    def was_called(self, code: str, arguments: str) -> bool:
        """Whether this process has computed, or tried to compute, that very call."""
        with self._lock:
            return (code, arguments) in self._calls

    def calls(self) -> list[Call]:
        """The latest first."""
        with self._lock:
            return list(self._calls.values())[::-1]


def _in_another_order(call: Call, other: Call) -> list[str]:
    """The arguments that have the same items in another order, if two calls differ in nothing else."""
    found = []
    for name, one in call.each.items():
        then = other.each.get(name)
        if then is None or then.unordered != one.unordered:
            return []
        if then.digest != one.digest:
            found.append(name)
    return found


def _put(kept: dict[K, V], key: K, value: V, most: int) -> None:
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > most:
        kept.pop(next(iter(kept)), None)


_histories: dict[tuple[str, str], History] = {}


def history(fn: str, program: str = "") -> History:
    """What is known of the functions with this name in keys, those of one notebook or script if it is theirs."""
    known = _histories.setdefault((fn, program), History(fn))
    for oldest in list(_histories)[:-MOST_FUNCTIONS]:
        _histories.pop(oldest, None)
    return known
