"""What `python -m dynmemo purge` shows: a progress bar, then a summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dynmemo.purging import purge

if TYPE_CHECKING:
    from dynmemo.cache import Cache
    from dynmemo.calls import RowsOf
    from dynmemo.purging import Purged


def run(cache: Cache, rows: RowsOf, *, expired: bool, superseded: bool, orphans: bool, dry_run: bool) -> Purged:
    """Purge, with a bar on a terminal. How many rows there are nobody knows before the end, so it only moves."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)
        return purge(
            cache,
            fn=rows.fn,
            expired=expired,
            superseded=superseded,
            code=rows.code() if superseded else None,
            orphans=orphans,
            dry_run=dry_run,
            progress=lambda now: bar.update(task, description=f"{now.scanned:,} read, {_what(now)}"),
        )


def summary(done: Purged, location: str, *, dry_run: bool) -> str:
    """One line: what was deleted, or would be, and what it costs where that is billed."""
    verb, cost = ("Would delete", "about ") if dry_run else ("Deleted", "")
    line = f"{verb} {_what(done)} of {done.scanned:,} looked at in {location}."
    if not done.read_units:
        return line
    return f"{line}\nRead units: {done.read_units:,.1f}; write units: {cost}{done.write_units:,.0f}."


def _what(done: Purged) -> str:
    return f"{done.rows:,} entries and {done.parts:,} parts"
