"""The options of a cache: checked when it is made, read from its URL and written there.

URLs are dynamodb://table?region=eu-west-1 and sqlite:////abs/path.db?max_bytes=1000000.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from dynmemo import expiry
from dynmemo._process import Once
from dynmemo.errors import InvalidOptionError
from dynmemo.expiry import parse_duration
from dynmemo.item import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_KEY = 2_045
"""Bytes of a key, so that it moves from one store to another: DynamoDB takes 2,048 with the ``dc:`` before it."""

LONGEST_LEASE = 3600.0
SHORTEST_GOOD_SECRET = 16
HOW_TO_MAKE_A_SECRET = "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes a good one"  # noqa: S105  no secret

_once = Once()


def check_key(key: object) -> None:
    """Refuse what no store takes for a key."""
    if not isinstance(key, str):
        raise InvalidOptionError(f"a key is a text, not {type(key).__name__}")
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidOptionError("a key has no half of a surrogate pair in it; the given one has") from None
    if length > LONGEST_KEY:
        raise InvalidOptionError(
            f"a key has at most {LONGEST_KEY:,} bytes in UTF-8, in every store; the given one has {length:,}"
        )


def checked_path(path: object) -> str:
    """The absolute path of a SQLite file."""
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise InvalidOptionError(f"path={path!r} is no file; give a text or a pathlib.Path, such as 'cache.db'")
    if name == ":memory:":
        raise InvalidOptionError(
            "path=':memory:' is no file, and there is no cache in memory; give one, such as 'cache.db', in a temporary "
            "folder if it shall not stay"
        )
    try:
        return str(Path(name).expanduser().absolute())
    except (RuntimeError, OSError):  # no home folder, or no working directory any more
        raise InvalidOptionError(
            f"path={name!r} cannot be made absolute: this process has no home or working folder; give the whole path"
        ) from None


COMPRESSIONS = ("auto", "zstd", "none")


def checked_secrets(secret: object) -> tuple[bytes, ...]:
    """The secrets given, or those of the environment; the first signs."""
    if secret is None:
        secret = [text.strip() for text in os.environ.get("DYNMEMO_SECRET", "").split(",")]
    several = [secret] if isinstance(secret, (str, bytes)) else secret
    if not isinstance(several, Sequence) or not all(isinstance(one, (str, bytes)) for one in several):
        raise InvalidOptionError("secret= takes text, bytes, or a list of these (the first signs, all are accepted)")
    given = tuple(one.encode() if isinstance(one, str) else one for one in several if one)
    if any(len(key) < SHORTEST_GOOD_SECRET for key in given):
        _once.warning(
            "short secret",
            "a secret is shorter than %d bytes and could be guessed; %s",
            SHORTEST_GOOD_SECRET,
            HOW_TO_MAKE_A_SECRET,
        )
    return given


def checked_switch(given: object, option: str) -> bool:
    """Yes or no."""
    if not isinstance(given, bool):
        raise InvalidOptionError(f"{option}= takes True or False, not {given!r}")
    return given


def checked_namespace(given: object) -> str:
    """The name of a namespace, empty for none."""
    if given is None or given == "":
        return ""
    if not isinstance(given, str) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,30}", given):
        raise InvalidOptionError(
            f"namespace={given!r} is no name; give one of at most 30 letters, digits, dots, hyphens and underscores"
        )
    return given


def checked_encrypt(given: object, secrets: tuple[bytes, ...]) -> bool:
    """Whether to encrypt, for which there must be a secret and the library."""
    encrypt = checked_switch(given, "encrypt")
    if encrypt and not secrets:
        raise InvalidOptionError(
            "encrypt=True needs a secret to derive its key from; give secret= or set DYNMEMO_SECRET"
        )
    if encrypt:
        try:
            import cryptography  # noqa: F401
        except ImportError:
            raise InvalidOptionError('encrypt=True needs the extra "crypto": pip install "dynmemo[crypto]"') from None
    return encrypt


def checked_compression(name: object) -> str:
    """The name of a compression."""
    if name not in COMPRESSIONS:
        raise InvalidOptionError(f"compression={name!r}: allowed are {', '.join(map(repr, COMPRESSIONS))}")
    return str(name)


def checked_max_value_bytes(limit: object) -> int | None:
    """The largest value in bytes, None for no limit."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidOptionError(f"max_value_bytes={limit!r} is no size; give a number of bytes from 1, or None")
    return limit


def checked_near_max_bytes(limit: object) -> int:
    """The bytes of near entries, 0 for none."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise InvalidOptionError(f"near_max_bytes={limit!r} is no size; give a number of bytes from 0")
    return limit


NEAR_IS_NOT_NEEDED = (
    "near= is for DynamoDB: in SQLite small entries are near without it, as long as nothing in the file has changed; "
    "leave it out"
)


def checked_near(seconds: object, store: Store) -> float | None:
    """Seconds for which a row may be used after it was read; None for stores that tell when something has changed."""
    if seconds is not None and type(store).version is not Store.version:
        raise InvalidOptionError(NEAR_IS_NOT_NEEDED)
    return None if seconds is None else parse_duration(seconds, "near")


def checked_lease_seconds(given: object) -> float:
    """Seconds of a lease."""
    seconds = expiry.parse_duration(given, "lease_seconds")
    if seconds > LONGEST_LEASE:
        raise InvalidOptionError(
            f"lease_seconds={given!r} is over an hour, after which everybody takes a silent computation for dead; "
            "it is renewed while it runs, so a short lease serves long computations too"
        )
    return seconds


def checked_refresh_after(part: object) -> float | None:
    """The part of a sliding window, None where the caller decides."""
    if part is None:
        return None
    if isinstance(part, bool) or not isinstance(part, (int, float)) or not 0 <= part <= 1:
        raise InvalidOptionError(f"refresh_after={part!r} is no part of the window; give a number from 0 to 1")
    return part


def _whole(option: str, text: str) -> int:
    if not re.fullmatch(r"[0-9][0-9_]*", text):
        raise ValueError(text)
    return int(text)


def _duration(option: str, text: str) -> float:
    try:
        value: object = float(text)
    except ValueError:
        value = text
    return parse_duration(value, option)


_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_PARSERS: Mapping[str, tuple[str, Callable[[str, str], object]]] = {
    "bool": ("true or false", lambda option, text: _BOOLEANS[text.lower()]),
    "int": ("a whole number", _whole),
    "int | None": ("a whole number", _whole),
    "float | None": ("a number", lambda option, text: float(text)),
    "str": ("a text", lambda option, text: text),
    "str | None": ("a text", lambda option, text: text),
    "Secret | None": ("a text", lambda option, text: text),
    "Duration": ("a duration", _duration),
    "Duration | None": ("a duration", _duration),
}
"""What an option in a URL must be and how to read it, by its annotation in the constructor.

Options of other types stand in no URL.
"""

CONSTRUCTORS: dict[str, Callable[..., object]] = {}
"""By the scheme of the URL; the first parameter is the place, the others are the options."""


@functools.cache
def parameters_of(constructor: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a constructor by their names."""
    return inspect.signature(constructor).parameters


@functools.cache
def _read_from_urls(kind: str) -> tuple[str, Mapping[str, tuple[str, Callable[[str, str], object]]]]:
    """The name of the place, and how to read the options."""
    place, *options = parameters_of(CONSTRUCTORS[kind]).values()
    return place.name, {each.name: _PARSERS[each.annotation] for each in options if each.annotation in _PARSERS}


_EXAMPLES = "dynamodb://weather_cache?region=eu-west-1 or sqlite:////home/me/cache.db"


def parse_url(url: str) -> tuple[str, dict[str, object]]:
    """The kind of cache (``"sqlite"`` or ``"dynamodb"``) and the arguments of its constructor.

    Raises:
        InvalidOptionError: another scheme, no table or path, an unknown option or a value that it does not take.
    """
    if not isinstance(url, str):
        raise InvalidOptionError(
            f"a cache is given as a Cache or a URL, not as {type(url).__name__}; for example {_EXAMPLES}"
        )
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may hold a password
        raise InvalidOptionError(f"this is not a cache URL; give {_EXAMPLES}") from None
    kind = parts.scheme if "://" in url else ""  # of "user:password@table" nothing is repeated
    if kind not in CONSTRUCTORS:
        raise InvalidOptionError(_no_url(kind, url))
    if parts.fragment:
        raise InvalidOptionError("a cache URL has no #fragment; write # as %23 in a path or option")
    place, parsers = _read_from_urls(kind)
    arguments: dict[str, object] = {place: _place(kind, parts.netloc, parts.path)}
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise InvalidOptionError(
            f"the options of a cache URL have the form ?name=value&name=value; give {_EXAMPLES}"
        ) from None
    for name, text in pairs:
        if name in arguments:
            raise InvalidOptionError(f"option {name} stands twice in the {kind} URL; give it once")
        if name not in parsers:
            if name == "near":
                raise InvalidOptionError(NEAR_IS_NOT_NEEDED)
            allowed = ", ".join(sorted(parsers))
            raise InvalidOptionError(f"{name!r} is no option of a {kind} URL; there are {allowed}")
        wanted, parse = parsers[name]
        try:
            arguments[name] = parse(name, text)
        except InvalidOptionError:
            raise
        except (KeyError, ValueError):
            raise InvalidOptionError(f"option {name}={text!r} of the {kind} URL must be {wanted}") from None
    return kind, arguments


_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_FILE = re.compile(r".*\.(?:db|sqlite3?)|[~./].*|(?:[A-Za-z]:)?[^:]*[/\\].*")


def _no_url(kind: str, url: str) -> str:
    """What is wrong with text that is no cache URL, with a guess; only what may be a table or a file is repeated."""
    if kind:
        return f"a cache URL starts with dynamodb:// or sqlite://, not {kind!r}; give {_EXAMPLES}"
    place = url.partition("?")[0]
    meant, _, rest = place.partition(":")
    bare = rest if meant in CONSTRUCTORS else place
    guess = ""
    if "@" not in url and meant != "dynamodb" and _FILE.fullmatch(bare):
        file = bare.replace("\\", "/")
        file = f"{file.rstrip('/')}/cache.db" if Path(file).is_dir() else file
        guess = f"sqlite:///{quote(file, safe='/:~')}"
    elif meant != "sqlite" and _TABLE_NAME.fullmatch(table := bare.strip("/")):
        guess = f"dynamodb://{table}"
    if not guess:
        return f"a cache URL starts with dynamodb:// or sqlite://, as {_EXAMPLES} do; what is given does not"
    return f"{place!r} is no cache URL, which starts with dynamodb:// or sqlite://; did you mean {guess}?"


def _place(kind: str, netloc: str, path: str) -> str:
    if "@" in unquote(netloc):
        raise InvalidOptionError(
            f"a cache URL holds no user name or password; boto3 finds credentials itself, or with profile=: {_EXAMPLES}"
        )
    if kind == "dynamodb":
        if not netloc or path not in {"", "/"}:
            raise InvalidOptionError(f"a DynamoDB URL names one table and no path: {_EXAMPLES}")
        return unquote(netloc)
    if netloc or len(path) < 2:
        raise InvalidOptionError(
            "a SQLite URL has three slashes before a relative path and four before an absolute one: "
            "sqlite:///cache.db, sqlite:////home/me/cache.db, sqlite:///C:/Users/me/cache.db"
        )
    name = unquote(path[1:], errors="surrogateescape")
    if "\0" in name:
        raise InvalidOptionError("the path in a SQLite URL has a zero byte (%00), which no file name has")
    return name


def build_url(kind: str, arguments: Mapping[str, object]) -> str | None:
    """The URL that gives these arguments, without the secret; None if one of them cannot stand in a URL."""
    place_name, parsers = _read_from_urls(kind)
    options = {name: value for name, value in arguments.items() if name not in {place_name, "secret"}}
    if not options.keys() <= parsers.keys():
        return None
    place = str(arguments[place_name])
    start = (
        f"dynamodb://{quote(place, safe='')}"
        if kind == "dynamodb"
        # A backslash divides folders on Windows only. Names that are no UTF-8 come back as they were.
        else f"sqlite:///{quote(Path(place).as_posix(), safe='/:', errors='surrogateescape')}"
    )
    query = urlencode({name: _text(value) for name, value in sorted(options.items())})
    return f"{start}?{query}" if query else start


def _text(value: object) -> str:
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    return str(value).lower() if isinstance(value, bool) else str(value)
