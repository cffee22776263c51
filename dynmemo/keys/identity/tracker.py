"""The fingerprint of one function or class as of now: walked once, then only checked for changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynmemo.keys.identity.data import relabel
from dynmemo.keys.identity.graph import digest_graph, reachable
from dynmemo.keys.identity.walk import Walk
from dynmemo.keys.identity.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dynmemo.keys.identity.graph import Node

FORMAT = 1
"""The number of this fingerprint's format; another format never shares a key with this one."""


@dataclass(slots=True)
class Snapshot:
    """What one walk found."""

    walk: Walk
    nodes: list[Node]
    watch: Watch
    token: tuple[object, ...]
    fingerprint: str


class Tracker:
    """Knows the fingerprint of `thing` and when it is another one.

    Args:
        thing: a function, class or other thing with code.
        name: what log lines call it.
        globals_too: whether globals are followed.
        is_users: whether `thing` counts by its code even if a package defines it.
        salt: texts that go into the fingerprint as well.
        walked: told of every walk.
    """

    def __init__(
        self,
        thing: object,
        name: str,
        *,
        globals_too: bool = True,
        is_users: bool = False,
        salt: Sequence[str] = (),
        walked: Callable[[Snapshot], None] | None = None,
    ) -> None:
        self._thing = thing
        self._name = name
        self._globals_too = globals_too
        self._is_users = is_users
        self._salt = (f"identity {FORMAT}", *salt)
        self._report = walked
        self._known: Snapshot | None = None

    def current(self) -> str:
        """32 hex digits."""
        known = self._known
        if (
            known is not None
            and known.watch.unchanged()
            and (not known.watch.live or known.watch.token() == known.token)
        ):
            return known.fingerprint
        return self._walked().fingerprint

    def snapshot(self) -> Snapshot:
        """What `current` was made from, as of now."""
        return self._walked()

    def _walked(self) -> Snapshot:
        # Without a lock: two threads may both walk, and find the same.
        walk = Walk(self._thing, self._name, globals_too=self._globals_too, is_users=self._is_users)
        nodes = reachable(walk.root, walk.is_state)
        watch = Watch(nodes, walk.is_state)
        # Before the content is used: what changes meanwhile is then seen by the next call.
        token = watch.token()
        fingerprint = digest_graph(nodes, walk.is_state, lambda node, labels: relabel(walk, node, labels), self._salt)
        self._known = snapshot = Snapshot(walk, nodes, watch, token, fingerprint)
        if self._report is not None:
            self._report(snapshot)
        return snapshot
