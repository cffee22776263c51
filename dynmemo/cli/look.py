"""``ls``, ``show`` and ``stats``."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dynmemo import looking, views
from dynmemo.cli.shared import (
    Json,
    Name,
    Url,
    Yes,
    can_answer,
    imported,
    print_facts,
    print_json,
    print_table,
)
from dynmemo.defaults import present_cache
from dynmemo.errors import DynmemoError, InvalidOptionError
from dynmemo.explain.inventory import check_known, extent_of

if TYPE_CHECKING:
    from dynmemo.cache import Cache

app = typer.Typer()
_NUMBERS = ("entries", "others", "size", "codes", "saved", "took")


@app.command()
def ls(
    name: Name = None,
    expired: Annotated[bool, typer.Option("--expired", help="Entries of NAME that are not live, too.")] = False,
    sort: Annotated[
        str | None, typer.Option(metavar="size|age|saved|name", help="Default: functions by name, entries by age.")
    ] = None,
    long: Annotated[bool, typer.Option("--long", help="Say who computed each entry of NAME.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """List the functions that have stored something, or the entries of one. Reads all rows, without their values."""
    cache = present_cache(url)
    _agree_to_scan(cache, yes=yes)
    if name is not None and cache.store.exists():
        check_known(cache, name)
    listing = looking.ls(name, expired=expired, sort=sort, long=long, cache=cache)
    if as_json:
        print_json(listing)
    elif listing:
        print_table(listing.table(long=long), right=_NUMBERS)
    else:
        print(f"There is nothing in {listing.location}." if name is None else f"There are no live entries of {name}.")


@app.command(context_settings={"ignore_unknown_options": True})
def show(
    what: Annotated[str, typer.Argument(metavar="KEY|FUNCTION", help="A key, or module.qualname of a function.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="ARGS", help="Of a call: Python literals, else texts; name=value.")
    ] = None,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Show what is stored for a key, or for a call of a function, which is imported from this folder."""
    shown = None if arguments else looking.show(what, cache=url)
    if shown is None and (arguments or ":" not in what):
        shown = _show_call(what, arguments or [], url)
    if shown is None:
        sys.exit(f"Nothing is stored for {what}{' with these arguments' if arguments else ''}.")
    if as_json:
        print_json(shown)
    else:
        print_facts({"key": shown.key, **shown.in_words()})


@app.command()
def stats(yes: Yes = False, as_json: Json = False, url: Url = None) -> None:
    """Say how much lies in the cache, by function, and what its limit will do. Reads all rows, without their values."""
    cache = present_cache(url)
    _agree_to_scan(cache, yes=yes)
    stock = looking.stats(cache)
    if as_json:
        print_json(stock)
        return
    print_facts({"cache": stock.location, **stock.in_words()})
    if stock.functions:
        print()
        print_table(stock.functions.table(), right=_NUMBERS)


def _agree_to_scan(cache: Cache, *, yes: bool) -> None:
    """Say what reading all rows costs where that costs something, and ask where somebody can answer."""
    if not cache.store.exists():
        return
    extent = extent_of(cache)
    if extent is None:
        cost = "how much there is cannot be told (dynamodb:DescribeTable is not allowed)"
    elif extent.is_billed:
        cost = (
            f"some {views.counted(extent.rows or 0, 'item')} and {views.size(extent.size or 0)} as of some hours ago, "
            f"so about {extent.read_units:,.0f} read units"
        )
    else:
        return
    said = f"This reads all of {cache.store.location}: {cost}."
    if yes or not can_answer():
        print(said, file=sys.stderr)
    else:
        typer.confirm(f"{said} Go on?", abort=True, err=True)


def _show_call(name: str, arguments: list[str], url: str | None) -> looking.ShownEntry | None:
    given, named = _call(arguments)
    try:
        return looking.show(imported(name), *given, cache=url, **named)
    except DynmemoError:
        raise
    except TypeError as error:  # in Python's own words
        raise InvalidOptionError(f"{error}; give the arguments of a call: dynmemo show {name} ARGS") from error


def _call(texts: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call as they were typed."""
    given: list[Any] = []
    named: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and name.isidentifier():
            named[name] = _literal(value)
        elif named:
            raise InvalidOptionError(f"argument {len(given) + len(named) + 1} has no name and follows one that has")
        else:
            given.append(_literal(text))
    return given, named


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
