"""Where an entry comes from: who computed it, in which program, from which commit and with which packages.

All of it is names and versions. No argument, no command line and no environment is in it.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import blake3

from dynmemo import views
from dynmemo._process import at_fork, new_token, run_as
from dynmemo._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dynmemo.origin.git import Commit

MOST_BYTES = 1_000
"""Of an origin in an envelope."""

MOST_LEASE_BYTES = 200
"""Of what a lease row says of its holder. With the longest names the row has less than 1 KB: that is one write unit."""
_TIMES_BYTES = len(',"since":32503680000,"took":1.43e+05')

_LATEST = 32_503_680_000  # the year 3000, up to which every system can tell local times
_LONGEST_TEXT = 200
_SHORT_COMMIT = 10
_PYTHON = ".".join(map(str, sys.version_info[:3]))


class Origin(NamedTuple):
    """Where an entry comes from. What is not known is empty or None.

    Example:
        >>> forecast("SEA", 1)
        [12.5]
        >>> forecast.entry("SEA", 1).origin.dynmemo == dynmemo.__version__
        True
    """

    user: str = ""
    """Who ran the program, as the system calls them."""
    host: str = ""
    """The machine, as it calls itself."""
    pid: int = 0
    """The process."""
    program: str = ""
    """Name of the notebook or script, without its folder, or of the module that ``python -m`` ran."""
    python: str = ""
    """Its version."""
    dynmemo: str = ""
    """Its version."""
    commit: str | None = None
    """The git commit that was checked out where the function's file lies (for a notebook: in its working folder) when
    this process first stored a result of this code."""
    dirty: bool | None = None
    """Whether a file in that repository from which the function or anything it reaches comes was another one than git
    had in its index, or not there at all. A change that is staged and not committed does not show, nor does one of a
    cell that is not saved. None where it cannot be told."""
    packages: Mapping[str, str] = {}
    """Versions of the packages that the function reaches, by the names by which it imports them."""

    @property
    def who(self) -> str:
        """``anna@gpu3 (pid 4711, notebook sales.ipynb)``."""
        kind = {"ipynb": "notebook ", "py": "script "}.get(self.program.rpartition(".")[2], "")
        program = f", {kind}{self.program}" if self.program else ""
        return f"{self.user}@{self.host} (pid {self.pid}{program})"

    def __str__(self) -> str:
        told = [self.who]
        if self.commit is not None:
            changes = " with changes" if self.dirty else ""
            told.append(f"commit {self.commit[:_SHORT_COMMIT]}{changes}")
        named = {"Python": self.python, "dynmemo": self.dynmemo, **self.packages}
        return ", ".join([*told, *(f"{name} {version}" for name, version in named.items() if version)])


class Reach(NamedTuple):
    """What the origin of a function's results is looked up by."""

    code: str
    """Its fingerprint: of other code the commit is asked anew."""
    files: tuple[str, ...]
    """From which the code comes that it reaches, its own first."""
    packages: tuple[str, ...]


# -- writing ------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1_000)
def described(reach: Reach) -> bytes:
    """The origin, in this process, of results of code that reaches so much, as it stands in envelopes.

    Never raises: what the system does not tell is left out.
    """
    known: dict[str, Any] = {**_here()._asdict(), "python": _PYTHON, "dynmemo": __version__}
    with suppress(Exception):
        known |= _commit(reach.files)._asdict()
    with suppress(Exception):
        known["packages"] = {name: version for name in reach.packages if (version := _version(name))}
    return _fitted({name: value for name, value in known.items() if value not in ("", None, {})}, MOST_BYTES)


def holder_text(since: float, took: float | None) -> str:
    """What a lease row says of this process, which takes it at `since` (Unix seconds).

    Args:
        took: seconds that the same call took last time, if that is known.
    """
    last = "" if _number(took) is None else f',"took":{took:.3g}'
    return f'{_beginning(_here())},"since":{int(since)}{last}}}'


@functools.lru_cache(maxsize=1)
def _beginning(here: _Here) -> str:
    """Of what a lease row says: the same for every claim of this process."""
    return _fitted(here._asdict(), MOST_LEASE_BYTES - _TIMES_BYTES)[:-1].decode()


def _commit(files: Sequence[str]) -> Commit:
    """What is checked out where the first of the files lies, or where a notebook does, whose code has no file."""
    from dynmemo.origin.git import Commit, commit_of

    paths = [path for path in map(Path, files) if path.is_file()]
    if paths and str(paths[0]) == files[0]:
        return commit_of(paths[0].parent, paths)
    is_notebook = hasattr(sys.modules.get("__main__"), "get_ipython")
    return commit_of(Path.cwd(), paths) if is_notebook else Commit()


def _fitted(known: dict[str, Any], most: int) -> bytes:
    """As JSON of at most so many bytes: without the last packages, then with the longest texts cut off."""
    import json

    while len(data := json.dumps(known, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")) > most:
        if known.get("packages"):
            known["packages"].popitem()
        else:
            longest = max((name for name in known if isinstance(known[name], str)), key=lambda name: len(known[name]))
            known[longest] = known[longest][: -(len(data) - most) // 4]
    return data


class _Here(NamedTuple):
    user: str
    host: str
    pid: int
    program: str


@functools.cache
def _here() -> _Here:
    import socket

    return _Here(_user(), socket.gethostname(), os.getpid(), _program())


def _user() -> str:
    """Not from the environment, which anybody may have set."""
    if sys.platform == "win32":
        with suppress(OSError):
            return os.getlogin()
        return ""
    else:  # noqa: RET505  mypy takes what follows the block for unreachable on Windows
        import pwd

        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:  # as in a container that runs under a number
            return str(os.geteuid())


def program_id(main: Mapping[str, Any]) -> str:
    """By what the entries of a notebook or script, with these globals, are told from those of others: its path.

    Where that is not known, as in a terminal, it is this process with those that are forked from it.
    """
    notebook, file = _program_of(main)
    return _id_of(notebook or file or os.environ.get("JPY_SESSION_NAME", ""))


@functools.lru_cache(maxsize=100)
def _id_of(path: str) -> str:
    with suppress(OSError, RuntimeError):
        path = path and str(Path(path).resolve())
    return blake3.blake3(path.encode(errors="surrogateescape")).hexdigest(4) if path else new_token()[:8]


def _program() -> str:
    """The name of the notebook or script."""
    main = getattr(sys.modules.get("__main__"), "__dict__", {})
    (notebook, file), module = _program_of(main), run_as(main)
    if module is not None:  # run by ``python -m``, as the workers of a notebook may be that know its name
        file = os.environ.get("JPY_SESSION_NAME") or module.removesuffix(".__main__")
    return Path(notebook or file or os.environ.get("JPY_SESSION_NAME", "")).name


def _program_of(main: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The notebook that VS Code names in the main module, and its file.

    Jupyter's server names a notebook in the environment.
    """
    notebook, file = main.get("__vsc_ipynb_file__"), main.get("__file__")
    return notebook if isinstance(notebook, str) else None, file if isinstance(file, str) else None


@functools.cache
def _version(name: str) -> str:
    """Of a package, by the name of its import or its own; that of the module in use, if it says one."""
    said = getattr(sys.modules.get(name), "__dict__", {}).get("__version__")
    if isinstance(said, str):
        return said
    from importlib import metadata

    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, ValueError):
        return ""


def _forget() -> None:
    _here.cache_clear()
    described.cache_clear()


at_fork(after_in_child=_forget)


# -- reading: whoever can write to the store may have written it ---------------------------------------------------


def read_origin(data: bytes) -> Origin | None:
    """The origin as it stands in an envelope; None if there is none."""
    known = _known(data)
    return None if known is None else _origin(known)


def told_holder(text: str | None) -> str:
    """What `holder_text` wrote, in words; a lease row may say nothing of its holder."""
    known = _known(text or "")
    if known is None:
        return "computed by another process"
    since, took = _number(known.get("since")), _number(known.get("took"))
    begun = "" if since is None else f" since {views.clock_time(since, time.time())}"
    last = "" if took is None else f", last time it took {views.duration(took)}"
    return f"computed{begun} by {_origin(known).who}{last}"


def _known(data: bytes | str) -> dict[str, Any] | None:
    import json

    try:
        known = json.loads(data) if data else None
    except (ValueError, RecursionError):
        return None
    return known if isinstance(known, dict) else None


def _origin(known: dict[str, Any]) -> Origin:
    texts = {name: _text(known.get(name)) for name in ("user", "host", "program", "python", "dynmemo")}
    pid, dirty, packages = known.get("pid"), known.get("dirty"), known.get("packages")
    return Origin(
        **texts,
        pid=pid if type(pid) is int else 0,
        commit=_text(known.get("commit")) or None,
        dirty=dirty if isinstance(dirty, bool) else None,
        packages={_text(k): _text(v) for k, v in packages.items()} if isinstance(packages, dict) else {},
    )


def _text(value: object) -> str:
    """Nothing that moves the cursor of a terminal."""
    return "".join(filter(str.isprintable, value))[:_LONGEST_TEXT] if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < _LATEST and math.isfinite(value) else None  # type: ignore[operator, arg-type]  # it is one
