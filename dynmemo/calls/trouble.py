"""What goes wrong at run time in a decorated function: counted, said once, or raised where the user asked for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo._log import Once, logger
from dynmemo.breaker import FAILURES
from dynmemo.errors import InvalidTableError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.breaker import Breaker
    from dynmemo.errors import UnreadableValueError
    from dynmemo.stats import Stats

T = TypeVar("T")


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

    def guarded(self, breaker: Breaker, step: Callable[..., T], *args: Any) -> T | None:
        """What `step` returns for `args`; None when the store is out of order and the call may go on without it.

        The circuit sees how it ended; while that is open nothing is asked of the store.
        """
        if breaker.is_open and not breaker.may_try():
            self.left_alone(breaker)
            return None
        return self._tried(breaker, step, *args)

    def beside(self, breaker: Breaker, step: Callable[..., T], *args: Any) -> T | None:
        """As `guarded` for what the call's own result does not need: left undone without a word by an open circuit."""
        if breaker.is_open and not breaker.may_try():
            return None
        return self._tried(breaker, step, *args)

    def left_alone(self, breaker: Breaker) -> None:
        """A call goes on without the store because a circuit is open."""
        self.stats.add("bypassed")
        if self._raises:
            raise StoreUnavailableError(
                f"{breaker.words.left_alone}; that is tried again in {breaker.seconds_left():.0f} s. "
                f"The last failure: {breaker.last_failure}"
            )

    def _tried(self, breaker: Breaker, step: Callable[..., T], *args: Any) -> T | None:
        try:
            result = step(*args)
        except StoreUnavailableError as error:
            self._failed(breaker, error)
            return None
        except InvalidTableError as error:  # an answer, and a quick one
            _succeeded(breaker)
            self.stats.add("errors")
            self._broken(error, type(error).__name__)
            return None
        except BaseException:
            breaker.let_go()
            raise
        if breaker.is_troubled:
            _succeeded(breaker)
        return result

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

    def _failed(self, breaker: Breaker, error: StoreUnavailableError) -> None:
        self.stats.add("errors")
        if breaker.failed(str(error)):
            logger.warning(f"{breaker.words.opened}. The last failure: %s", FAILURES, error)
        self._broken(error, error.code or type(error).__name__)

    def _broken(self, error: Exception, cause: str) -> None:
        if self._raises:
            raise error
        self._log.warning(cause, "%s(): computing without the cache: %s", self._name, error)


def _succeeded(breaker: Breaker) -> None:
    if breaker.succeeded():
        logger.warning("%s. The last failure was: %s", breaker.words.closed, breaker.last_failure)
