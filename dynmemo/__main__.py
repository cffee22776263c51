"""The command line: ``python -m dynmemo``, also installed as ``dynmemo``."""

from __future__ import annotations

import io
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

_CLI = ("typer", "rich")
_DEMO = ("pandas", "statsmodels", "vega_datasets")


def _require(extra: str, packages: tuple[str, ...]) -> None:
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        sys.exit(f'{" and ".join(missing)} {verb} not installed; run: pip install "dynmemo[{extra}]"')


_require("cli", _CLI)

import typer  # noqa: E402 - the line above says what to install when it is missing
from rich import box  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import dynmemo  # noqa: E402
from dynmemo.calls import rows_of  # noqa: E402
from dynmemo.cli import care, look, move  # noqa: E402
from dynmemo.cli.shared import Json, Name, Url, Yes, consent, imported, print_json, table_console  # noqa: E402
from dynmemo.defaults import present_cache  # noqa: E402
from dynmemo.errors import DynmemoError, InvalidOptionError  # noqa: E402
from dynmemo.explain.inventory import check_known  # noqa: E402
from dynmemo.generations import ALL  # noqa: E402
from dynmemo.purging import clear_functions  # noqa: E402

if TYPE_CHECKING:
    from dynmemo.costs import Cost
    from dynmemo.prices import Prices
    from dynmemo.purging import Purged

app = typer.Typer(
    help=(dynmemo.__doc__ or "").partition("\n")[0],
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(look.app)
app.add_typer(care.app)
app.add_typer(move.app)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"dynmemo {dynmemo.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command()
def demo(
    url: Url = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that ask for the forecasts.")] = 4,
) -> None:
    """Several processes share forecasts of real weather; fails if one was computed twice or they differ."""
    _require("demo", _DEMO)
    from dynmemo import demo as story

    console = Console()
    with console.status(f"{workers} processes ask for the same forecasts; computing one takes seconds"):
        run = story.run(url, workers)
    succeeded = story.report(run, console)
    story.say_where(run.cache, console)
    if not succeeded:
        raise typer.Exit(1)


@app.command()
def clear(
    name: Name = None,
    yes: Yes = False,
    url: Url = None,
) -> None:
    """Forget the results of one function, or of all of them, in every process that uses the cache."""
    cache, rows = present_cache(url), rows_of(name, "clear")
    where = cache.store.location
    if rows.name is not None:
        check_known(cache, rows.name)
    elif not cache.store.exists():
        print(f"There is nothing at {where}.")
        return
    else:
        consent(f"Forget the results of all functions in {where}?", yes=yes)
    forgotten = clear_functions(cache, rows.fn(cache) or ALL)
    what = f"all results of {name}" if name else "the results of all functions"
    how_many = "by one write, without counting them" if forgotten is None else f"{forgotten:,} entries"
    print(f"Forgot {what} in {where}: {how_many}.")


@app.command()
def purge(
    name: Name = None,
    expired: Annotated[bool, typer.Option("--expired", help="Entries whose time has run out.")] = False,
    superseded: Annotated[bool, typer.Option("--superseded", help="Entries that were cleared.")] = False,
    orphans: Annotated[bool, typer.Option("--orphans", help="Parts of large values without an entry.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing; count, and estimate the cost.")] = False,
    yes: Yes = False,
    load: Annotated[
        bool,
        typer.Option(
            "--import",
            help="Import NAME, found from this folder, so that --superseded means entries of other versions of its "
            "code too, and its own cache is the default.",
        ),
    ] = False,
    url: Url = None,
) -> None:
    """Delete results for real: all, or those that the options name. Reads the whole table."""
    cache = present_cache(url)
    rows = rows_of(_imported(name) if load else name)
    if url is None and rows.cache is not None:
        cache = rows.cache
    if not cache.store.exists():
        print(f"There is nothing at {cache.store.location}.")
        return
    if rows.name is not None and rows.memo is None:
        check_known(cache, rows.name)
    if not (name or expired or superseded or orphans or dry_run):
        consent(f"Delete the results of all functions in {cache.store.location}?", yes=yes)
    done = rows.purge(cache, expired=expired, superseded=superseded, orphans=orphans, dry_run=dry_run)
    print(_summary(done, cache.store.location, dry_run=dry_run))


def _imported(name: str | None) -> Any:
    if name is None:
        raise InvalidOptionError("--import needs a NAME to import, such as package.module.function")
    return imported(name)


def _summary(done: Purged, location: str, *, dry_run: bool) -> str:
    """One line: what was deleted, or would be, and what it costs where that is billed."""
    verb, cost = ("Would delete", "about ") if dry_run else ("Deleted", "")
    line = f"{verb} {_what(done)} of {done.scanned:,} looked at in {location}."
    if not done.read_units:
        return line
    return f"{line}\nRead units: {done.read_units:,.1f}; write units: {cost}{done.write_units:,.0f}."


def _what(done: Purged) -> str:
    return f"{done.rows:,} entries and {done.parts:,} parts"


@app.command()
def cost(
    entries: Annotated[int, typer.Option(help="Stored results that are in use.")],
    size: Annotated[int, typer.Option(metavar="BYTES", help="Of one result, serialized and compressed.")],
    calls: Annotated[float, typer.Option(help="Calls a second, of all processes together.")],
    new: Annotated[float, typer.Option(help="Of these, calls with arguments that nobody has used before.")] = 0.0,
    ttl: Annotated[str | None, typer.Option(metavar="TIME", help="As of the decorator: 90s, 1h30m, 24h, 7d.")] = None,
    sliding: Annotated[str | None, typer.Option(metavar="TIME", help="As of the decorator.")] = None,
    refresh_after: Annotated[
        float, typer.Option(metavar="PART", help="Of the window, that goes by before a hit moves the date.")
    ] = 0.1,
    near: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long a process serves an entry from its memory.")
    ] = None,
    eventually_consistent: Annotated[
        bool, typer.Option("--eventually-consistent", help="Reads at half price.")
    ] = False,
    processes: Annotated[int, typer.Option(help="Processes that call the function.")] = 1,
    seconds: Annotated[float, typer.Option(metavar="SECONDS", help="That computing one result takes.")] = 0.0,
    name: Annotated[str, typer.Option(help="The function's name; it stands in every row.")] = "module.function",
    region: Annotated[str, typer.Option(help="Whose list prices count.")] = "us-east-1",
    write_price: Annotated[
        float | None, typer.Option(metavar="DOLLARS", help="Of a million write units, instead of the list price.")
    ] = None,
    read_price: Annotated[
        float | None, typer.Option(metavar="DOLLARS", help="Of a million read units, instead of the list price.")
    ] = None,
    storage_price: Annotated[
        float | None, typer.Option(metavar="DOLLARS", help="Of a GB for a month, instead of the list price.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a function will cost on DynamoDB in a month, beside an update with every hit. Asks no table."""
    from dynmemo import costs

    prices = costs.prices_of(region, write=write_price, read=read_price, storage=storage_price)
    workload = costs.Workload(
        entries=entries,
        size=size,
        calls=calls,
        new=new,
        ttl=ttl,
        sliding=sliding,
        refresh_after=refresh_after,
        near=near,
        consistent=not eventually_consistent,
        processes=processes,
        seconds=seconds,
        name=name,
    )
    month = costs.cost(workload, prices=prices)
    if as_json:
        print_json({"workload": workload, "prices": prices, **month._asdict()})
    else:
        _show(month, prices)


def _show(month: Cost, prices: Prices) -> None:
    """The shares of a month and their sum, that of the .NET provider, and where the prices come from."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in ("a month", "requests", "read units", "write units", "dollars"):
        table.add_column(column, justify="left" if column == "a month" else "right", overflow="fold")
    for share in month.shares:
        table.add_row(*_cells(share))
    table.add_section()
    for total in (month, month.dotnet):
        if total is not None:
            table.add_row(*_cells(total), style="bold" if total is month else None)
    table_console().print(table)
    console = Console()
    if month.dotnet is None:
        console.print("\nThe .NET provider cannot store such values: it has one item for each, of 400 KB at most.")
    since = f" since {prices.since}" if prices.since else ""
    console.print(
        f"\nOn demand in {prices.region}{since}, in dollars: {prices.write:g} a million write units, {prices.read:g} a "
        f"million read units, {prices.storage:g} a GB stored. Prices: {prices.source}.",
        highlight=False,
    )


def _cells(cost: Cost) -> list[str]:
    units = (cost.requests, cost.read_units, cost.write_units)
    dollars = "< 0.01" if 0 < cost.dollars < 0.005 else f"{cost.dollars:,.2f}"
    return [cost.what, *(f"{amount:,.0f}" for amount in units), dollars]


def main() -> None:
    """Run the command line; errors of ours are one line, not a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names may have letters that a pipe or log has not
    try:
        app()
    except DynmemoError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
