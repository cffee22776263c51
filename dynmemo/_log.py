"""The logger, and saying a thing once."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

from dynmemo._forks import new_lock_in_children

logger = logging.getLogger("dynmemo")


class Once:
    """Logs each cause once; a broken store must not fill a log with one line per call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[Hashable] = set()
        new_lock_in_children(self)

    def warning(self, cause: Hashable, message: str, *details: object) -> None:
        """Log `message % details` as a warning unless `cause` was logged before."""
        with self._lock:
            if cause in self._said:
                return
            self._said.add(cause)
        logger.warning(message, *details)
