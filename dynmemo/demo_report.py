"""What the demo prints: who computed, who hit, how long each call took, and where the entries lie."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dynmemo.demo import VARIABLES, forecast, problems
from dynmemo.urls import parse_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from dynmemo.cache import Cache
    from dynmemo.demo import Call, Run, Work

_LIST_ENTRIES = (
    "import sqlite3, sys; [print(*row) for row in sqlite3.connect(sys.argv[1])"
    ".execute('SELECT size, key FROM entries ORDER BY key')]"
)


def report(run: Run, console: Console) -> bool:
    """Print the run; whether every forecast was computed once at most and all workers agree."""
    console.print(_table(run))
    found = problems(run.calls)
    if found:
        _complain(found, run, console)
        return False
    _praise(run, console)
    return True


def _table(run: Run) -> Table:
    table = Table(
        title="Forecasts of Seattle's weather, asked for by several processes",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_footer=True,
    )
    table.add_column("process", footer="computing\nlater call\nfaster")
    seconds = {variable: (run.compute_seconds.get(variable), _later(run, variable)) for variable in VARIABLES}
    for variable in VARIABLES:
        table.add_column(variable, justify="right", footer=_footer(*seconds[variable]))
    for work in run.works:
        table.add_row(f"{work.calls[0].pid}\n  again", *(_cell(work, variable) for variable in VARIABLES))
    return table


def _cell(work: Work, variable: str) -> Text:
    lines = [_line(call) for call in work.calls if call.variable == variable]
    return Text("\n").join(lines)


def _line(call: Call) -> Text:
    if call.computed:
        return Text(f"computed {_time(call.seconds)}", style="bold yellow")
    if call.waited:
        return Text(f"waited {_time(call.seconds)}", style="cyan")
    return Text(f"hit {_time(call.seconds)}", style="green")


def _later(run: Run, variable: str) -> float:
    """Median time of the second calls: the process is warm, its client connected."""
    return statistics.median(call.seconds for call in run.calls if call.again and call.variable == variable)


def _footer(computing: float | None, later: float) -> str:
    if computing is None:  # not kept by the cache
        return f"-\n{_time(later)}\n-"
    return f"{_time(computing)}\n{_time(later)}\n{computing / later:,.0f} x"


def _complain(found: list[str], run: Run, console: Console) -> None:
    for problem in found:
        console.print(f"[bold red]Failed:[/] {escape(problem)}.", soft_wrap=True)
    console.print(
        f"The cache at {escape(run.cache.store.location)} did not keep what was stored, or did not answer: "
        "see what was logged above.",
        soft_wrap=True,
    )


def _praise(run: Run, console: Console) -> None:
    computed = sum(call.computed for call in run.calls)
    hits = sum(work.hits for work in run.works)
    waits = sum(work.waited for work in run.works)
    saved = sum(work.seconds_saved for work in run.works)
    done = f"{computed} forecasts computed, each once" if computed else "Nothing computed, an earlier run had left all"
    shared = f"{hits} hits; {waits} waits" if waits else f"{hits} hits"
    console.print(f"[bold]{done}; {shared}; {_time(saved)} saved.[/]", highlight=False)
    console.print(f"All {len(run.works)} processes got the same forecasts.", highlight=False)
    if computed:
        console.print("Run it again: then nothing is computed any more.")


def say_where(cache: Cache, console: Console) -> None:
    """Print where the entries lie, how to look at them and how to forget them."""
    console.print(f"\nThe entries lie in {escape(cache.store.location)}.", soft_wrap=True)
    if cache.url is None:
        return
    for purpose, command in (("look at", look(cache.url)), ("forget", forget(cache.url))):
        console.print(f"To {purpose} them:\n  {escape(command)}", soft_wrap=True, highlight=False)


def look(url: str) -> str:
    """A command that lists the entries of the cache at `url`."""
    kind, arguments = parse_url(url)
    if kind == "dynamodb":
        return _aws(arguments)
    return f'python -c "{_LIST_ENTRIES}" "{arguments["path"]}"'


def _aws(arguments: Mapping[str, object]) -> str:
    options = {"table-name": "table_name", "region": "region", "profile": "profile", "endpoint-url": "endpoint_url"}
    given = " ".join(f"--{option} {arguments[name]}" for option, name in options.items() if name in arguments)
    key, ttl = arguments.get("partition_key_name", "id"), arguments.get("ttl_attribute_name", "ttl_date")
    return f'aws dynamodb scan {given} --query "Items[].[{key}.S, {ttl}.N]" --output table'


def forget(url: str) -> str:
    """A command that clears the demo's forecasts in the cache at `url`."""
    return f'python -m dynmemo clear {forecast.cache_parameters()["name"]} --url "{url}"'


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:,.0f} s"
