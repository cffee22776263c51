"""What goes wrong at run time in a decorated function: counted, said once, or raised where the user asked for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo._log import Once
from dynmemo.errors import InvalidTableError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.errors import UnreadableValueError
    from dynmemo.stats import Stats

T = TypeVar("T")

_BROKEN = (StoreUnavailableError, InvalidTableError)


class Trouble:
    """The troubles of one decorated function.

    Args:
        name: of the function.
        stats: its counters.
        raises: whether a broken store and broken stored bytes raise.
    """

    def __init__(self, name: str, stats: Stats, *, raises: bool) -> None:
        self.stats = stats
        self._name = name
        self._raises = raises
        self._log = Once()

    def guarded(self, step: Callable[..., T], *args: Any) -> T | None:
        """What `step` returns for `args`; None when the store is out of order and the call may go on without it."""
        try:
            return step(*args)
        except _BROKEN as error:
            self.stats.add("errors")
            self._broken(error, getattr(error, "code", None) or type(error).__name__)
            return None

    def unreadable(self, error: UnreadableValueError) -> None:
        """There is a live entry that cannot be turned into the value."""
        self.stats.add("unreadable")
        self._broken(error, f"unreadable: {error.cause}")

    def misconfigured(self, error: Exception) -> None:
        """The default cache cannot be made from what the environment says."""
        self.stats.add("errors")
        self._broken(error, "configuration")

    def not_stored(self, cause: str, reason: str) -> None:
        """A result is returned and not stored."""
        self.stats.add("bypassed")
        self._log.warning(cause, "%s(): the result is returned but not stored: %s", self._name, reason)

    def stale(self, error: BaseException) -> None:
        """An expired value is returned because computing failed."""
        self.stats.add("stale")
        kind = type(error).__name__
        self._log.warning(("stale", kind), "%s(): serving an expired value, computing raised %s", self._name, kind)

    def background(self, error: BaseException) -> None:
        """A refresh in the background raised."""
        kind = type(error).__name__
        self._log.warning(("ahead", kind), "%s(): refreshing ahead of expiry raised %s", self._name, kind)

    def _broken(self, error: Exception, cause: str) -> None:
        if self._raises:
            raise error
        self._log.warning(cause, "%s(): computing without the cache: %s", self._name, error)
