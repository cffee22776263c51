"""``doctor``, ``table`` and ``policy``."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dynmemo import looking
from dynmemo.cli.shared import Json, Url, print_json, print_table
from dynmemo.defaults import present_cache
from dynmemo.errors import InvalidOptionError

if TYPE_CHECKING:
    from dynmemo.stores.dynamodb import DynamoDBStore

app = typer.Typer()
table = typer.Typer(help="The DynamoDB table of a cache.", no_args_is_help=True)
app.add_typer(table, name="table")

Place = Annotated[
    str | None, typer.Argument(metavar="URL", help="The cache. Default: the default one.", show_default=False)
]


class Format(StrEnum):
    """How a policy is printed."""

    json = "json"
    cloudformation = "cloudformation"
    terraform = "terraform"


@app.command()
def doctor(place: Place = None, as_json: Json = False, url: Url = None) -> None:
    """Try whether the cache can serve, changing nothing; exit code 1 if something is bad."""
    diagnosis = looking.doctor(place or url)
    if as_json:
        print_json(list(diagnosis))
    else:
        print(diagnosis.location)
        print_table(diagnosis.table())
    if not diagnosis.is_good:
        raise typer.Exit(1)


@table.command()
def create(place: Place = None, url: Url = None) -> None:
    """Create the table of the URL, on demand and with TTL, where it is missing."""
    store = _table_of(place or url)
    store.create_table()
    print(f"The {store.location} can serve.")


@table.command()
def check(place: Place = None, as_json: Json = False, url: Url = None) -> None:
    """As `doctor`: key, TTL and permissions of the table; exit code 1 if something is bad."""
    _table_of(place or url)
    doctor(place, as_json=as_json, url=url)


@app.command()
def policy(
    place: Place = None,
    form: Annotated[Format, typer.Option("--format", help="The others have the table, too.")] = Format.json,
    scans: Annotated[bool, typer.Option("--scans", help="Also what purge, ls and stats need.")] = False,
    account: Annotated[str, typer.Option(help="The AWS account of the table.")] = "*",
    url: Url = None,
) -> None:
    """Print the least IAM policy for the options of a URL. Asks nobody."""
    from dynmemo.stores.dynamodb import policy as forms

    store = _table_of(place or url)
    document = store.policy(scans=scans, account=account)
    if form == Format.json:
        print(json.dumps(document, indent=2))
    elif form == Format.cloudformation:
        print(json.dumps(forms.cloudformation(document, *store.names_given), indent=2))
    else:
        print(forms.terraform(document, *store.names_given), end="")


def _table_of(url: str | None) -> DynamoDBStore:
    from dynmemo.stores.dynamodb import DynamoDBStore

    store = present_cache(url).store
    if not isinstance(store, DynamoDBStore):
        raise InvalidOptionError(f"{store.location} is no DynamoDB table; give a URL such as dynamodb://TABLE")
    return store
