"""``%load_ext dynmemo``: cells that are computed once, and a look at the cache from a notebook. Alone knows IPython."""

from __future__ import annotations

import argparse
import keyword
import shlex
from typing import TYPE_CHECKING, Any, NoReturn, cast

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from dynmemo import looking
from dynmemo.calls import Options, clear
from dynmemo.calls.wrapper import AsyncCachedFunction, CachedFunction
from dynmemo.counters import CacheInfo
from dynmemo.defaults import default_cache
from dynmemo.errors import InvalidOptionError, UnhashableArgumentError
from dynmemo.magics.cell import cell_name, read_cell
from dynmemo.magics.running import Run, frames_of

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_SHOWN = {"all": "all", "none": ""}
"""What `ast_node_interactivity` means; anything else means the last expression."""


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Called by ``%load_ext dynmemo``."""
    shell.register_magics(CellMagics)


@magics_class
class CellMagics(Magics):
    """``%%dynamo_cached`` and ``%dynmemo``."""

    shell: Any

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._infos: dict[str, CacheInfo] = {}

    @no_var_expand
    @cell_magic
    def dynamo_cached(self, line: str, cell: str) -> None:
        """Compute the cell once, for the same code and the same values of what it reads, and share what it does.

            %%dynamo_cached [--ttl 1d] [--sliding 1h] [--show-hit] name [name ...]

        A hit binds the names, runs the cell's own imports, functions and classes again, and shows what the cell showed.

        Args:
            --ttl: how long it is kept: seconds, or text such as 90s, 1h30m, 24h or 7d. Default: that of the cache.
            --sliding: it is kept while it is used at least so often, never past the ttl.
            --show-hit: say of a hit when and by whom it was computed, where it lies and what that saved.
            name: the global names that the cell binds and that are kept.
        """
        __tracebackhide__ = True
        arguments = _parsed(line)
        try:
            file, run = self._prepared(arguments, cell)
        except InvalidOptionError as error:
            raise UsageError(str(error)) from None
        except SyntaxError as error:
            raise error.with_traceback(None) from None
        try:
            told = run.play(tells=arguments.show_hit)
        except BaseException as error:
            of_cell = next(frames_of(file, error), None)
            if of_cell is None and isinstance(error, UnhashableArgumentError):
                raise UsageError(str(error).replace(" name the global in ignore_globals=,", "")) from None
            # From the cell on: our frames say nothing to who reads it.
            error.__traceback__ = of_cell or error.__traceback__
            raise
        name = cell_name(arguments.names)
        self._infos[name] = _sum(self._infos.get(name), told.info)
        if told.hit:
            print(told.hit)

    def _prepared(self, arguments: Any, source: str) -> tuple[str, Run]:
        shell = self.shell
        _check_names(arguments.names)
        options = Options(ttl=_time(arguments.ttl), sliding=_time(arguments.sliding), name=cell_name(arguments.names))
        options.check()
        text = f"\n{shell.transform_cell(source)}"  # the magic has the first line
        file = shell.compile.cache(text, shell.displayhook.prompt_count, raw_code=source)
        tree = shell.transform_ast(shell.compile.ast_parse(text, filename=file))
        shown = _SHOWN.get(shell.ast_node_interactivity, "last")
        quiet = shell.displayhook.semicolon_at_end_of_expression(text)
        cell = read_cell(tree, arguments.names, "" if quiet else shown, shell.user_ns)
        return file, Run(shell, cell, file, options)

    @no_var_expand
    @line_magic
    def dynmemo(self, line: str) -> object:
        """Look at the cache of this notebook.

        %dynmemo info: what the cells and decorated functions of this notebook did.
        %dynmemo where: where results are kept.
        %dynmemo ls [NAME]: the functions that have stored something there, or the entries of one.
        %dynmemo doctor: whether calls can use it, and what to do where they cannot.
        %dynmemo clear NAME...: forget what cells that bind exactly these names have stored, or a decorated function.
        """
        what, *names = line.split() or ["info"]
        if what == "info" and not names:
            print(self._info())
        elif what == "where" and not names:
            print(default_cache().store.location)
        elif what == "clear" and names:
            print(self._clear(names))
        elif what == "ls" and len(names) <= 1:
            return looking.ls(*names)
        elif what == "doctor" and not names:
            return looking.doctor()
        else:
            raise UsageError(
                "%dynmemo takes info, where, doctor, ls with or without a name, or clear with the names of a cell"
            )
        return None

    def _info(self) -> str:
        rows: list[tuple[str, ...]] = [("", "hits", "computed", "waited", "not stored", "seconds saved")]
        for name, info in sorted({**self._infos, **self._functions()}.items()):
            counts = (info.hits, info.computed, info.waited, info.bypassed, f"{info.seconds_saved:.3g}")
            rows.append((name, *map(str, counts)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ("  ".join((row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:]))).rstrip() for row in rows)
        return "\n".join(lines) if len(rows) > 1 else "no cell was cached here, and no function is decorated"

    def _functions(self) -> dict[str, CacheInfo]:
        found = list(self.shell.user_ns.values())
        functions = [one for one in found if type(one) in (CachedFunction, AsyncCachedFunction)]
        return {one._self_memo.name: one.cache_info() for one in functions}

    def _clear(self, names: list[str]) -> str:
        function = self.shell.user_ns.get(names[0]) if len(names) == 1 else None
        if type(function) in (CachedFunction, AsyncCachedFunction):
            clear(function)
            return f"Forgot all results of {names[0]}."
        try:
            _check_names(names)
        except InvalidOptionError as error:
            raise UsageError(str(error)) from None
        clear(cell_name(names))
        self._infos.pop(cell_name(names), None)
        return f"Forgot what cells that bind {', '.join(sorted(names))} have stored."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.format_usage().strip()}")


_parser = _Parser("%%dynamo_cached", add_help=False, usage="%(prog)s [--ttl T] [--sliding T] [--show-hit] name ...")
_parser.add_argument("--ttl")
_parser.add_argument("--sliding")
_parser.add_argument("--show-hit", action="store_true")
_parser.add_argument("names", nargs="+")


def _parsed(line: str) -> argparse.Namespace:
    try:
        return _parser.parse_args(shlex.split(line))
    except ValueError as error:
        raise UsageError(f"the line of %%dynamo_cached cannot be read: {error}") from None


def _check_names(names: list[str]) -> None:
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise InvalidOptionError(f"{name!r} is no name that a cell can bind; give names, with blanks between")


def _time(given: str | None) -> float | str | None:
    """A time on the line of the magic: a bare number means seconds."""
    if given is None:
        return None
    try:
        return float(given)
    except ValueError:
        return given


def _sum(one: CacheInfo | None, other: CacheInfo) -> CacheInfo:
    if one is None:
        return other
    sums: list[Any] = [None if a is None else a + b for a, b in zip(one, cast("Any", other), strict=True)]
    return CacheInfo(*sums)
