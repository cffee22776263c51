"""How far a sweep has got, for who looks: a record, one line in a terminal, or one bar in a notebook."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from dynmemo import views
from dynmemo.calls.display import screen

if TYPE_CHECKING:
    from collections.abc import Callable


class Progress(NamedTuple):
    """What has become so far of the calls of a `map`, `starmap` or `warm`; a function given as ``progress=`` gets it.

    Example:
        >>> told = []
        >>> computed = forecast.warm(["SEA", "PDX"], progress=told.append)
        >>> told[-1].computed, told[-1].left
        (2, 0)
    """

    found: int
    """Calls answered from the cache at once, and calls equal to another one of the same sweep."""
    computed: int
    """Calls that this sweep computed."""
    elsewhere: int
    """Calls that somebody else computed meanwhile."""
    failed: int
    """Calls that raised."""
    left: int | None
    """Calls that have no result yet; None while nobody knows how many items there are."""
    seconds_left: float | None
    """How long these will take, in seconds, if it goes on like this; None while there is no telling."""

    def __str__(self) -> str:
        names = ("found", "computed", "elsewhere", "failed", "left")
        counts = [f"{getattr(self, name):,} {name}" for name in names if getattr(self, name)]
        if self.seconds_left is not None and self.left:
            counts.append(f"{views.duration(math.ceil(self.seconds_left))} to go")
        return ", ".join(counts) or "nothing to do"

    @property
    def part(self) -> float | None:
        """Which part (0 to 1) of the calls has its result."""
        done = self.found + self.computed + self.elsewhere + self.failed
        if self.left is None:
            return None
        return done / (done + self.left) if self.left else 1.0


class Tally:
    """Counts what becomes of the calls of one or several sweeps, and tells who wants to know.

    Args:
        report: called with a `Progress`.
        total: how many calls there will be, if that is known before they come.
        is_open: whether more may come than have come, so that nobody knows how many there will be.
    """

    def __init__(
        self, report: Callable[[Progress], object] | None = None, *, total: int | None = None, is_open: bool = False
    ) -> None:
        self.counts = {"found": 0, "computed": 0, "elsewhere": 0, "failed": 0}
        self._report = report
        self._total = total
        self._is_open = is_open
        self._came = 0
        self._began = time.monotonic()
        self._told: Progress | None = None

    def came(self, calls: int) -> None:
        """So many calls are to be made, beside those before."""
        self._came += calls

    def add(self, kind: str, calls: int) -> None:
        """So many calls have their result now; `kind` is a field of `Progress`."""
        self.counts[kind] += calls

    def tell(self) -> None:
        """Report how far it has got."""
        if self._report is None:
            return
        progress = self.progress()
        if self._told is None or self._told[:-1] != progress[:-1]:
            self._told = progress
            self._report(progress)

    def progress(self) -> Progress:
        """How far it has got."""
        done = sum(self.counts.values())
        total = self._came if self._total is None else self._total
        left = None if self._is_open and self._total is None else total - done
        slow = done - self.counts["found"]
        seconds = None if left is None or not slow else (time.monotonic() - self._began) * left / slow
        return Progress(**self.counts, left=left, seconds_left=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if isinstance(self._report, Shown):
            self._report.end(self.progress()._replace(seconds_left=None))


class Shown:
    """Shows a `Progress` where somebody looks."""

    def __init__(self) -> None:
        self._display = screen(bar=True)

    def __call__(self, progress: Progress) -> None:
        self._display.show(str(progress), progress.part)

    def end(self, progress: Progress) -> None:
        """Leave the last one."""
        self._display.end(str(progress), 1.0 if progress.part is None else progress.part)
