"""What functions and classes are inside data: answered by whoever is digesting the data at the moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

Answer: TypeAlias = Callable[[object], str]


class _Current(threading.local):
    answer: Answer | None = None


_current = _Current()


@contextmanager
def answering(answer: Answer) -> Iterator[None]:
    """Within this block functions and classes in digested data count as `answer` says, in this thread."""
    before = _current.answer
    _current.answer = answer
    try:
        yield
    finally:
        _current.answer = before


def current_answer() -> Answer | None:
    """Who answers in this thread, None outside of any walk."""
    return _current.answer
