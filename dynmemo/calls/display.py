"""Where a person looks: one line of a terminal, or one output of a notebook, whose text changes and goes away."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Self

from dynmemo._process import in_notebook
from dynmemo.keys import name_here
from dynmemo.origin import told_holder
from dynmemo.telling import INFO, tell

if TYPE_CHECKING:
    from dynmemo.item import Item

SHOW_SECONDS = 0.1
"""How often a text changes at most."""

NOTICE_SECONDS = 2.0
"""How long somebody waits before they are told for what."""


class Display:
    """One text that changes, for a `with` block at most. This one shows nothing: nobody looks.

    No method raises, since what is shown is no part of the work.

    Args:
        bar: whether it says how far something is, and not for what somebody waits.
    """

    shown: ClassVar[Display | None] = None
    """The one that shows."""

    def __init__(self, *, bar: bool = False) -> None:
        self.bar = bar
        self._next = 0.0
        self._has_shown = False
        self._last: tuple[str, float | None] = ("", None)
        self._note = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def show(self, text: str, part: float | None = None) -> None:
        """Show this text in place of the one before, unless that has just come, and how far (0 to 1) things are."""
        self._last = (text, part)
        if time.monotonic() >= self._next:
            self._show()

    def add(self, note: str) -> None:
        """Let the text that shows say this, too, from now on; nothing more if it is empty."""
        self._note = note
        if Display.shown is self:
            self._show()

    def _show(self) -> None:
        self._next = time.monotonic() + SHOW_SECONDS
        self._has_shown = True
        Display.shown = self
        text, part = self._last
        with suppress(Exception):
            # The note first: a narrow terminal cuts off what is told by the bar as well.
            self._put("; ".join(filter(None, (self._note, text))), part)

    def wait(self, seconds: float) -> None:
        """Show nothing for so long: what is over by then is not worth a look."""
        self._next = time.monotonic() + seconds

    def end(self, text: str = "", part: float | None = None) -> None:
        """Take the text away, or leave this one in its place."""
        if Display.shown is self:
            Display.shown = None
        if text or self._has_shown:
            with suppress(Exception):
                self._put(text, part, is_last=True)

    def _put(self, text: str, part: float | None, *, is_last: bool = False) -> None:
        pass


class _Line(Display):
    """Of a terminal."""

    def __init__(self, *, bar: bool) -> None:
        super().__init__(bar=bar)
        self._length = 0
        """Of the longest line that may stand there."""

    def _put(self, text: str, part: float | None, *, is_last: bool = False) -> None:
        line = f"{_drawn(part)} {text}" if self.bar and text else text
        columns = 0
        with suppress(OSError, ValueError):  # no file
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        # Some terminals do not say how wide they are, and some begin a new line in the last column.
        end = "" if not is_last else "\n" if text else "\r"
        self._length = max(self._length, len(line))  # before it is written: an interrupt may come right after that
        sys.stderr.write("\r" + line.ljust(self._length)[: (columns or 80) - 1] + end)
        sys.stderr.flush()


def _drawn(part: float | None) -> str:
    """A bar of letters, on which something moves where nobody knows how far things are."""
    if part is None:
        return f"[{' ' * int(time.monotonic() * 5 % 8)}###".ljust(11) + "]"
    return f"[{'#' * int(10 * part):<10}] {part:4.0%}"


class _Output(Display):
    """Of a notebook."""

    def __init__(self, *, bar: bool) -> None:
        super().__init__(bar=bar)
        self._text = ""
        self._part: float | None = None
        self._handle: Any = None

    def _put(self, text: str, part: float | None, *, is_last: bool = False) -> None:
        self._text, self._part = text, part
        if self._handle is None:
            from IPython import display

            show: Any = display.display
            self._handle = show(self, display_id=True)
        else:
            self._handle.update(self)

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        import html

        value = "" if self._part is None else f' value="{self._part:.4f}"'
        text = html.escape(self._text)
        if not self.bar or not text:
            return text and f'<span style="opacity:.7">{text}</span>'
        return f'<progress style="width: 20em; vertical-align: middle; margin-right: 1em"{value}></progress>{text}'


def screen(*, bar: bool = False) -> Display:
    """Where somebody looks at this program, in a notebook with a bar. Nobody looks at workers."""
    process: Any = sys.modules.get("multiprocessing.process")
    is_worker = process is not None and process.current_process().name != "MainProcess"
    if not is_worker and in_notebook():
        return _Output(bar=bar)
    with suppress(AttributeError, ValueError):  # there may be no stderr, or a closed one
        if sys.stderr.isatty() and not is_worker:
            return _Line(bar=bar)
    return Display(bar=bar)


class Notice:
    """One wait, as a `with` block: the logger is told of it, and after a while the person, until the block is left.

    That is done where the main thread waits, for whom the person waits. A bar that shows already says it as well;
    beside any other text nothing is shown.

    Args:
        name: of the function.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._told = self._shown = ""
        self._display: Display | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._display is not None and self._display.bar:
            self._display.add("")
        elif self._display is not None:
            self._display.end()

    def look(self, row: Item | None = None) -> None:
        """To be called now and then while it waits, for the lease in `row` or else for this process."""
        by = "computed in this process" if row is None else told_holder(row.lease_by)
        if by != self._told:
            self._told = by
            tell(INFO, "waiting for %s(): %s", self._name, by)
        if by == self._shown or time.monotonic() - self._began < NOTICE_SECONDS:
            return
        there, line = Display.shown, f"waiting for {name_here(self._name)}(): {by}"
        if threading.current_thread() is not threading.main_thread():
            return
        if there is not None and there.bar:
            self._display = there
            there.add(line)
        elif there is None or there is self._display:
            self._display = self._display or screen()
            self._display.show(line)
        else:
            return
        self._shown = by
