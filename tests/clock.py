"""A clock that the tests set."""

from __future__ import annotations

import time


class Clock:
    """Seconds that move only when a test says so, or by `step` whenever they are asked for."""

    def __init__(self, now: float = 1_700_000_000.0, *, step: float = 0.0) -> None:
        self.now = now
        self.step = step

    @classmethod
    def present(cls, ahead: float = 0.0) -> Clock:
        """The present, whole seconds: DynamoDB Local deletes what has expired by its own clock."""
        return cls(float(int(time.time())) + ahead)

    def __call__(self) -> float:
        self.now += self.step
        return self.now
