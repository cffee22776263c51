"""``push`` and ``pull``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from dynmemo import views
from dynmemo.cli.shared import Json, Name, Url, cache_of, moving_bar, print_json
from dynmemo.explain.inventory import check_known
from dynmemo.keys import key_name
from dynmemo.transfer import transfer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.cache import Cache
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
    _move(cache_of(url), cache_of(to), name, replace=replace, dry_run=dry_run, as_json=as_json)


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
    _move(cache_of(source), cache_of(url), name, replace=replace, dry_run=dry_run, as_json=as_json)


def _move(source: Cache, target: Cache, name: str | None, *, replace: bool, dry_run: bool, as_json: bool) -> None:
    fn = None if name is None else key_name(name)
    if fn is not None:
        check_known(source, fn)
    elif not source.store.exists():
        print(f"There is nothing at {source.store.location}.", file=sys.stderr)
    for warning in _warnings(source, target):
        print(warning, file=sys.stderr)
    with moving_bar() as show:

        def tell(now: Transferred) -> None:
            show(f"{now.copied:,} copied, {views.size(now.size)}")

        done = transfer(source, target, fn=fn, replace=replace, dry_run=dry_run, progress=tell)
    if as_json:
        print_json(done)
    else:
        print(_summary(done, target.store.location, dry_run=dry_run))
    if done.unreadable or done.too_large:
        sys.exit(1)


def _warnings(source: Cache, target: Cache) -> Iterator[str]:
    """What moving means for who relies on a secret or on encryption."""
    if target.secrets and not source.secrets:
        yield (
            f"Nothing in {source.store.location} is signed, so it can only be checked for damage. Signed with the "
            "secret of where it goes, it is trusted there, whoever wrote it: push only what you would run."
        )
    if source.encrypt and not target.encrypt:
        yield f"Values are encrypted in {source.store.location}, and will not be in {target.store.location}."


def _summary(done: Transferred, location: str, *, dry_run: bool) -> str:
    verb = "Would copy" if dry_run else "Copied"
    line = f"{verb} {views.counted(done.copied, 'entry', 'entries')}, {views.size(done.size)}, to {location}"
    line += f"; some {done.write_units:,} write units." if done.write_units else "."
    for count, why in (
        (done.kept, "were there already, as new or newer"),
        (done.unreadable, "cannot be verified with the source's secret, or have lost their value"),
        (done.too_large, "are larger than the target accepts"),
    ):
        line += f"\n{count:,} {why}." if count else ""
    return line
