"""What commands have in common: their options, the cache, questions, and tables."""

from __future__ import annotations

import json
import os
import pkgutil
import sys
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dynmemo.errors import InvalidOptionError
from dynmemo.explain.listed import Listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="A function's name, module.qualname. Default: all.", show_default=False),
]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="The cache, such as sqlite:///cache.db or dynamodb://TABLE?region=REGION. "
        "Default: DYNMEMO_URL, else a file in your cache folder.",
        show_default=False,
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="For programs.")]


def can_answer() -> bool:
    """Whether somebody sees a question and can answer it.

    Jupyter gives what `!` starts a terminal, but nobody can type there; its kernels tell by these variables.
    """
    in_kernel = "JPY_PARENT_PID" in os.environ or "matplotlib_inline" in os.environ.get("MPLBACKEND", "")
    # A process that was started with a closed stream has None there.
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr)) and not in_kernel


def consent(question: str, *, yes: bool) -> None:
    """Go on only if that is wanted: with --yes, or after a question where somebody can answer it."""
    if yes:
        return
    if not can_answer():
        print(f"{question} Nobody can be asked here; give --yes to do it, or a NAME or limits.", file=sys.stderr)
        raise typer.Exit(2)
    typer.confirm(question, abort=True, err=True)


def imported(name: str) -> Any:
    """The decorated function of that name, module.qualname, found from the present folder."""
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidOptionError(
            f"{name} cannot be imported from this folder ({error}); a function with a name= of its own is imported "
            "by where it stands, module.qualname"
        ) from error
    except (Exception, SystemExit) as error:  # whatever its code raises
        raise InvalidOptionError(
            f"{name} cannot be imported, for its module raises {type(error).__name__}: {error}; "
            "import it in Python to see where"
        ) from error


def print_json(what: object) -> None:
    """A record, or several, for programs: times as in ISO 8601, sizes in bytes."""
    print(json.dumps(_plain(what), indent=2))


def print_facts(facts: Mapping[str, str]) -> None:
    """Labels and texts; what has no text is left out."""
    width = max(map(len, facts), default=0)
    for label, text in facts.items():
        if text:
            print(f"{label:<{width}}  {_printable(text)}")


def print_table(lines: Iterable[Iterable[str]], right: Iterable[str] = ()) -> None:
    """A line of titles, then rows."""
    titles, *rows = [[_printable(text) for text in line] for line in lines]
    console = table_console()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for title, width in zip(titles, _widths([titles, *rows], console.width), strict=True):
        table.add_column(title, justify="right" if title in right else "left", overflow="fold", width=width)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def table_console() -> Console:
    """What prints tables: as wide as the screen, and as they are where nobody has one."""
    console = Console()
    return console if console.is_terminal else Console(width=10_000)


_GAP = 2  # between two columns


def _widths(lines: list[list[str]], room: int) -> list[int]:
    """Of the columns: as their texts if there is room, else as their words, of which only the longest are broken."""
    columns = list(zip(*lines, strict=True))
    wanted = [max(map(cell_len, column)) for column in columns]
    widths = [max(map(cell_len, " ".join(column).split()), default=0) for column in columns]
    spare = room - sum(widths) - _GAP * (len(columns) - 1)
    for _ in range(-spare):
        widths[widths.index(max(widths))] -= 1
    for _ in range(spare):
        lacking = [want - width for want, width in zip(wanted, widths, strict=True)]
        if not any(lacking):
            break
        widths[lacking.index(max(lacking))] += 1
    return [max(1, width) for width in widths]


def _printable(text: str) -> str:
    """Rows of other programs may hold anything, such as what moves the cursor of a terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _plain(value: Any) -> Any:
    """What JSON can say of it, with the names of all fields."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, Listing)) or type(value) is tuple:
        return [_plain(each) for each in value]
    if hasattr(value, "_asdict"):  # else it would be a list without names
        value = value._asdict()
    elif is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: _plain(each) for name, each in value.items()} if isinstance(value, dict) else value
