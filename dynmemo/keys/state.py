"""What computations of decorated functions change themselves: their own state, which is no input.

The code only says which places *may* be written. What counts is what was seen: a place that was another after a
computation than before counts, for the function that computed, as it did before, for as long as it is as a computation
left it. Any other change counts. What is known of a place is shared by the decorated functions of this process, so two
that fill one memo do not make each other miss; it is forgiven only to a function that was itself seen to change it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from dynmemo._process import new_lock

if TYPE_CHECKING:
    from dynmemo.keys.places import Key, Place
    from dynmemo.keys.snapshots import Snapshot

_MOST = 10_000


class _Record:
    """What is known of one place.

    Attributes:
        place: kept, so that its key stays its own.
        left: the token of the place as the last computation that changed it left it.
        counted: by function, what stands for the place in its keys.
    """

    __slots__ = ("counted", "left", "place")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.left: object = None
        self.counted: dict[int, bytes] = {}


class Running(NamedTuple):
    """A computation that has begun, with what was found just before."""

    function: int
    snapshot: Snapshot


running: ContextVar[tuple[Running, ...]] = ContextVar("dynmemo_running", default=())


class _Records:
    def __init__(self) -> None:
        self._lock = new_lock(self)
        self._known: dict[Key, _Record] = {}

    def forgiven(self, function: int, key: Key, token: Any) -> bytes | None:
        """What stands for a place in the keys of `function`, None if the place counts as it is."""
        record = self._known.get(key)
        if record is not None and function in record.counted and record.left == token():
            return record.counted[function]
        for one in reversed(running.get()):  # it is changed further while that computation goes on
            may = one.snapshot.may_write() if one.function == function else ()
            if key in may or (key[0], None) in may:
                return one.snapshot.counted(key)
        return None

    def is_known(self, function: int, key: Key) -> bool:
        """Whether `function` was seen to change a place."""
        record = self._known.get(key)
        return record is not None and function in record.counted

    def changed(self, function: int, place: Place, before: bytes, after: bytes, counted: bytes) -> None:
        """A computation of `function` has changed a place.

        Args:
            function: identifies it in this process.
            place: that was changed.
            before: its token when the computation began.
            after: its token now.
            counted: what stood for it in the key.
        """
        with self._lock:
            record = self._known.get(place.key)
            if record is None:
                if len(self._known) >= _MOST:
                    self._known.pop(next(iter(self._known)))
                record = self._known[place.key] = _Record(place)
            elif record.left != before:  # somebody else has changed it since, which counts for all
                record.counted = dict.fromkeys(record.counted, counted)
            record.counted[function] = counted
            record.left = after


records = _Records()
