"""``push`` and ``pull``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dynmemo import moving, views
from dynmemo.cache import Cache
from dynmemo.cli.shared import Json, Name, Url, print_json
from dynmemo.defaults import present_cache

if TYPE_CHECKING:
    from dynmemo.transfer import Transferred

app = typer.Typer()
Replace = Annotated[bool, typer.Option("--replace", help="Also over entries that were computed later.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing; count entries, bytes and write units.")]


@app.command()
def push(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="The cache that gets the entries.")],
    name: Name = None,
    replace: Replace = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Copy live entries of one function, or of all, from the cache to another one."""
    target = Cache.from_url(to)
    done = moving.push(name, to=target, replace=replace, dry_run=dry_run, cache=url)
    _tell(done, target.store.location, dry_run=dry_run, as_json=as_json)


@app.command()
def pull(
    source: Annotated[str, typer.Option("--from", metavar="URL", help="The cache that has the entries.")],
    name: Name = None,
    replace: Replace = False,
    dry_run: DryRun = False,
    as_json: Json = False,
    url: Url = None,
) -> None:
    """Copy live entries of one function, or of all, from another cache to the cache."""
    target = present_cache(url)
    done = moving.pull(name, source=source, replace=replace, dry_run=dry_run, cache=target)
    _tell(done, target.store.location, dry_run=dry_run, as_json=as_json)


def _tell(done: Transferred, location: str, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        verb = "Would copy" if dry_run else "Copied"
        print(f"{verb} {views.counted(done.copied, 'entry', 'entries')}, {views.size(done.size)}, to {location}.")
        for what, count in done.in_words().items():
            print(f"{count} {what}.")
    if done.unreadable or done.too_large:
        sys.exit(1)
