"""What a traceback shows of us: nothing where the error is the user's, or says itself what was wrong.

Our frames are taken out of it where the error leaves, so every reader of tracebacks sees the same: the line that called
us, then the user's own code. The frames of an error that nobody foresaw stay, for they say where the bug is.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dynmemo.errors import DynmemoError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

P = ParamSpec("P")
R = TypeVar("R")

_BETWEEN = frozenset({"dynmemo", "asyncio", "concurrent", "contextlib", "functools", "threading"})
"""Whose frames lie between a caller and code of the user's: ours, and those of the threads that we run in."""


def shorten(error: BaseException) -> None:
    """Take our frames out of the traceback of an error that is about to leave; to be followed by a bare ``raise``.

    They go up to the first frame of the user's, such as that of the decorated function. Where there is none, all go if
    the error is one of ours, or if the innermost of them says ``__tracebackhide__``: it raises on the caller's behalf.
    What the standard library raises at the end of our frames may be a bug of ours, so then they stay.
    """
    rest = last = error.__traceback__
    while rest is not None and rest.tb_frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        last, rest = rest, rest.tb_next
    if not _is_anybodys(rest):
        rest = None
    on_behalf = last is not None and last.tb_frame.f_locals.get("__tracebackhide__")
    if rest is None and not on_behalf and not isinstance(error, DynmemoError):
        return
    error.__traceback__ = rest
    if isinstance(error, DynmemoError):
        _shorten_causes(error)


def _is_anybodys(frames: TracebackType | None) -> bool:
    """Whether one of the frames is neither ours nor of the standard library."""
    import sys

    library = sys.stdlib_module_names - {"__main__"}
    while frames is not None:
        module = frames.tb_frame.f_globals.get("__name__", "").partition(".")[0]
        if module not in library and module not in _BETWEEN:
            return True
        frames = frames.tb_next
    return False


def _shorten_causes(error: BaseException) -> None:
    """Leave of each cause its one line; who asks for more finds the errors behind it in ``__context__``."""
    cause, seen = error.__cause__, {id(error)}
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        cause.__traceback__ = None
        cause.__suppress_context__ = True
        cause = cause.__cause__


def short_tracebacks(function: Callable[P, R]) -> Callable[P, R]:
    """Let the errors that leave a public function, plain or async, leave without our frames."""
    call: Any = function

    @functools.wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return call(*args, **kwargs)
        except BaseException as error:
            __tracebackhide__ = True  # of arguments that do not fit this is the innermost frame
            shorten(error)
            raise

    @functools.wraps(function)
    async def awaiting(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return await call(*args, **kwargs)
        except BaseException as error:
            __tracebackhide__ = True
            shorten(error)
            raise

    return awaiting if inspect.iscoroutinefunction(function) else plain  # type: ignore[return-value]  # as `function`
