"""What happens, told as it happens: to the logger, where somebody listens there, and in words where they are wanted."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from dynmemo._process import NO, in_notebook

if TYPE_CHECKING:
    from logging import Logger

DEBUG, INFO = 10, 20

VERBOSE_VARIABLE = "DYNMEMO_VERBOSE"

verbose = os.environ.get(VERBOSE_VARIABLE, "").lower() not in NO
"""Whether all of it is shown in words."""

_logger: Logger | None = None
_here = threading.local()


def tells(level: int) -> bool:
    """Whether anybody is told what has this level. Asked at every hit."""
    global _logger
    if _logger is None and "logging" in sys.modules:  # else nobody has set it up
        with suppress(AttributeError):  # another thread is importing it just now
            _logger = sys.modules["logging"].getLogger("dynmemo")
    return verbose or (_logger is not None and _logger.isEnabledFor(level))


def tell(level: int, message: str, *details: object) -> None:
    """Tell who wants to know `message % details`, in which is no content of arguments and results.

    Never raises, whatever handles the line: it is no part of the work.
    """
    if not tells(level) or getattr(_here, "is_telling", False):  # a handler may call a cached function
        return
    _here.is_telling = True
    try:
        with suppress(Exception):
            if _logger is not None:
                _logger.log(level, message, *details)
        with suppress(Exception):
            if verbose:
                stream = sys.stdout if in_notebook() else sys.stderr  # a notebook shows the latter as an error
                stream.write(f"{time.strftime('%H:%M:%S')} dynmemo: {message % details}\n")
                stream.flush()
    finally:
        _here.is_telling = False
