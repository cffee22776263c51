"""How far a sweep has got, for who looks: a record, one line in a terminal, or one bar in a notebook."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from dynmemo import views
from dynmemo._process import in_notebook

if TYPE_CHECKING:
    from collections.abc import Callable

SHOW_SECONDS = 0.1
"""How often a display changes at most."""


class Progress(NamedTuple):
    """What has become of the calls of a `map`, `starmap` or `warm` so far."""

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
    """How long these will take if it goes on like this; None while there is no telling."""

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
        if isinstance(self._report, _Display):
            self._report.end(self.progress()._replace(seconds_left=None))


class _Display:
    """Shows a `Progress` now and then."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + SHOW_SECONDS
            self.show(progress)

    def show(self, progress: Progress) -> None:
        raise NotImplementedError

    def end(self, progress: Progress) -> None:
        """Show the last one."""
        self.show(progress)


class _Line(_Display):
    """One line of a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._length = 0

    def show(self, progress: Progress) -> None:
        part = progress.part
        text = f"{progress}" if part is None else f"{part:4.0%} {progress}"
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except (OSError, ValueError):  # no file
            columns = 0
        # Some terminals do not say how wide they are, and some begin a new line in the last column.
        sys.stderr.write("\r" + text.ljust(self._length)[: (columns or 80) - 1])
        sys.stderr.flush()
        self._length = len(text)

    def end(self, progress: Progress) -> None:
        super().end(progress)
        sys.stderr.write("\n")


class _Bar(_Display):
    """One bar of a notebook."""

    def __init__(self) -> None:
        super().__init__()
        self._handle: Any = None
        self._text = self._html = ""

    def show(self, progress: Progress, *, is_over: bool = False) -> None:
        from IPython import display

        self._text, part = str(progress), 1.0 if is_over and progress.part is None else progress.part
        value = "" if part is None else f' value="{part:.4f}"'  # without one the bar is a moving one
        style = "width: 20em; vertical-align: middle; margin-right: 1em"
        self._html = f'<progress style="{style}"{value}></progress>{self._text}'
        if self._handle is None:
            show: Any = display.display
            self._handle = show(self, display_id=True)
        else:
            self._handle.update(self)

    def end(self, progress: Progress) -> None:
        self.show(progress, is_over=True)

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


def display() -> Callable[[Progress], object] | None:
    """What shows a `Progress` where this program runs; None where nobody looks."""
    if in_notebook():
        return _Bar()
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    return _Line() if is_terminal else None
