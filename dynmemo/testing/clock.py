"""A clock that tests set."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dynmemo.expiry import parse_duration

if TYPE_CHECKING:
    from dynmemo.expiry import Duration


class Clock:
    """Gives Unix seconds that move only when a test says so, or by `step` whenever they are asked for."""

    def __init__(self, now: float = 1_700_000_000.0, *, step: float = 0.0) -> None:
        self.now = now
        self.step = step

    @classmethod
    def present(cls, ahead: float = 0.0) -> Clock:
        """The present, whole seconds: DynamoDB deletes what has expired by its own clock."""
        return cls(float(int(time.time())) + ahead)

    def __call__(self) -> float:
        self.now += self.step
        return self.now

    def tick(self, duration: Duration) -> None:
        """Let time pass: seconds, a `timedelta`, or text such as ``"90s"`` or ``"25h"``; at least a second.

        Raises:
            InvalidOptionError: for anything else.
        """
        self.now += parse_duration(duration, "duration")
