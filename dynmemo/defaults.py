"""Which cache a function uses that names none: `configure`, then ``DYNMEMO_URL``, then a file of the user's."""

from __future__ import annotations

import enum
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dynmemo import telling
from dynmemo._process import NO, announce, logger
from dynmemo.cache import Cache
from dynmemo.cache.options import checked_switch
from dynmemo.errors import InvalidOptionError, StoreUnavailableError
from dynmemo.stores.files import cache_folder, temporary_folder
from dynmemo.tracebacks import short_tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

URL_VARIABLE = "DYNMEMO_URL"
DISABLE_VARIABLE = "DYNMEMO_DISABLE"

SECRET_VARIABLE = "DYNMEMO_SECRET"  # noqa: S105  # a name, no secret

instead: Cache | None = None
"""In the place of every other cache, see `only`."""
configured: Cache | None = None
"""What `configure` was given."""
_adopted: Cache | None = None
"""What came along with a function, for a process that has nothing configured."""
_exported: dict[str, tuple[str, str | None]] = {}
"""What `configure` set in the environment, and what stood there before."""
_looked_up: tuple[str | None, str | None, Cache] | None = None


class _Unchanged(enum.Enum):
    """What was not given, where None means something."""

    UNCHANGED = "the cache in force"


@short_tracebacks
def configure(
    url_or_cache: str | Cache | _Unchanged | None = _Unchanged.UNCHANGED,
    *,
    namespace: str | None = None,
    check: bool = False,
    verbose: bool | None = None,
) -> Cache:
    """Make this the cache of every decorated function that names none, here and in child processes.

    Child processes find it in the environment: the URL as ``DYNMEMO_URL`` and its secret, if it has one of its own, as
    ``DYNMEMO_SECRET``. A cache made from a live client has no URL, so they do not get it.

    Example:
        >>> dynmemo.configure("sqlite:///shared.db")
        <dynmemo.Cache sqlite:///...shared.db: in order>

    Args:
        url_or_cache: a `Cache`, a URL as for `Cache.from_url`, or None to go back to the environment's
            ``DYNMEMO_URL`` or the user's own file. Default: the cache stays the one that it is.
        namespace: a name of its own for all functions and regions in that cache, as the option of `Cache`; empty for
            none. Default: that of the cache.
        verbose: whether to show in words what happens, hit by hit: on stderr, in a notebook as output of the cell.
            Logging stays as it is set up. Default: as it was; at first what ``DYNMEMO_VERBOSE`` says.
        check: try at once whether it can serve; `dynmemo.doctor` says more. Nothing is created by that.

    Returns:
        The cache that is in force now.

    Raises:
        InvalidOptionError: neither a Cache nor a valid URL, or `verbose` is neither True nor False.
        StoreUnavailableError: with `check`, what cannot serve and what to do. The cache is in force nevertheless.
    """
    if verbose is not None:
        telling.verbose = checked_switch(verbose, "verbose")
    if not isinstance(url_or_cache, _Unchanged):
        _configure(url_or_cache)
    if namespace is not None:
        _configure(default_cache().in_namespace(namespace))
    cache = default_cache()
    if check:
        for finding in cache.store.examine(quick=True):
            if finding.is_good is False:
                advice = f" To do: {finding.advice}." if finding.advice else ""
                found = finding.found.removesuffix(".")
                raise StoreUnavailableError(f"{cache.store.location}: {finding.what}: {found}.{advice}")
    return cache


def _configure(url_or_cache: object) -> None:
    global configured, _adopted
    if url_or_cache is not None and not isinstance(url_or_cache, (str, Cache)):
        raise InvalidOptionError(f"configure() takes a Cache or a URL, not {type(url_or_cache).__name__}")
    _adopted = None
    _withdraw()  # before the cache is made, which must not take the previous cache's secret for its own
    try:
        configured = Cache.from_url(url_or_cache) if isinstance(url_or_cache, str) else url_or_cache
    finally:
        if configured is not None and instead is None:
            _export(configured)


def _withdraw() -> None:
    for name, (ours, before) in _exported.items():
        if os.environ.get(name) != ours:
            continue  # somebody has set it since
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
    _exported.clear()


def _export(cache: Cache) -> None:
    url, secret = cache.url, cache.environment_secret()
    if url is None or secret is None:
        return
    for name, value in ((URL_VARIABLE, url), (SECRET_VARIABLE, secret)):
        if value:
            _exported[name] = (value, os.environ.get(name))
            os.environ[name] = value


def _raw_environment() -> tuple[Mapping[Any, Any], Callable[[str], Any]]:
    """The environment as it is now, and how a name stands in it.

    Every call asks for three variables, and `os.environ.get` takes 0.8 us for one that is not set (it raises and
    catches), so the mapping beneath it is asked where there is one.
    """
    environ: Any = os.environ
    data: Any = getattr(environ, "_data", None)
    return (data, environ.encodekey) if isinstance(data, dict) else (environ, str)


environment, _raw = _raw_environment()
"""Ask only whether a name is in it, such as `DISABLE`."""
_URL, _SECRET, DISABLE = _raw(URL_VARIABLE), _raw(SECRET_VARIABLE), _raw(DISABLE_VARIABLE)


def _url() -> str | None:
    return os.environ.get(URL_VARIABLE) if _URL in environment else None


def default_cache(given: Cache | None = None) -> Cache:
    """The cache in force for functions that name none, or the one `given`.

    Raises:
        InvalidOptionError: ``DYNMEMO_URL`` is not a cache URL, which the message says.
    """
    global _looked_up
    if (chosen := instead or given or configured) is not None:
        return chosen
    url, secret = _url(), os.environ.get(SECRET_VARIABLE) if _SECRET in environment else None
    known = _looked_up  # one read: another thread may replace it
    if known is not None and known[0] == url and known[1] == secret:
        return known[2] if url or _adopted is None else _adopted
    if not url and _adopted is not None:
        return _adopted
    cache = _of_environment(url) if url else _own_file()
    _looked_up = (url, secret, cache)
    return cache


def given_cache(given: Cache | str) -> Cache:
    """The cache that is given, itself or by its URL. None is refused: it stands for no default here."""
    return given if isinstance(given, Cache) else Cache.from_url(given)


def present_cache(given: Cache | str | None = None) -> Cache:
    """A cache that is `given`, itself or by its URL, else `default_cache` for who only looks: no file is created."""
    if given is not None:
        return given_cache(given)
    if (instead or configured or _adopted) is None and not _url():
        return Cache.sqlite(default_path())
    return default_cache()


def configured_cache(given: Cache | None = None) -> Cache | None:
    """`default_cache` if somebody has said which; None where it is the user's own file, or the URL is wrong."""
    if (chosen := instead or given or configured) is not None or not _url():
        return chosen or _adopted
    try:
        return default_cache()
    except InvalidOptionError:
        return None


def known_cache(given: Cache | None = None) -> Cache | None:
    """`default_cache`; None where it is the user's own file and nobody has used it yet, or the URL is wrong."""
    looked = _looked_up
    return configured_cache(given) or (looked[2] if looked is not None and looked[0] == _url() else None)


def adopt(cache: Cache | None) -> None:
    """Take the default cache of the process from which a function came, unless this one has one of its own."""
    global _adopted
    if cache is not None and configured is None and not _url():
        _adopted = cache


@contextmanager
def only(cache: Cache) -> Iterator[None]:
    """Meanwhile every function uses this cache, whatever it names and `configure` is given; then all is as before."""
    global instead, configured, _adopted, _exported
    before = instead, configured, _adopted, _exported
    instead, _exported = cache, {}
    try:
        yield
    finally:
        instead, configured, _adopted, _exported = before


def _of_environment(url: str) -> Cache:
    try:
        return Cache.from_url(url)
    except InvalidOptionError as error:
        raise InvalidOptionError(
            f"the URL in the environment variable {URL_VARIABLE} gives no cache: {error}"
        ) from None


def default_path() -> Path:
    """The file that is used when nothing is configured: in the user's cache folder.

    Where there is none, as in a container without HOME, with an unknown user or with a home that is not theirs, it lies
    in a folder of the user's own below the temporary one.

    Raises:
        InvalidOptionError: somebody else could write into that folder.
    """
    return (cache_folder() or temporary_folder()) / "cache.db"


def _own_file() -> Cache:
    path = default_path()
    if cache_folder() is None:
        logger.warning(
            "there is no home folder of ours, so dynmemo keeps results in %s, as long as temporary files are kept. "
            "Set HOME, XDG_CACHE_HOME or %s for another place.",
            path,
            URL_VARIABLE,
        )
        return Cache.sqlite(path)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError:
        pass  # it is there already, or the store will say what is wrong with the place
    else:
        announce(
            "dynmemo keeps results in %s, shared by all programs of this user. To share them between machines, call "
            "dynmemo.configure('dynamodb://TABLE?region=REGION') or set %s.",
            path,
            URL_VARIABLE,
        )
    return Cache.sqlite(path)


def is_disabled() -> bool:
    """Whether ``DYNMEMO_DISABLE`` says that decorated functions just compute."""
    given = os.environ.get(DISABLE_VARIABLE) if DISABLE in environment else None
    return given is not None and given.lower() not in NO
