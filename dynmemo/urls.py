"""Cache URLs: ``dynamodb://table?region=eu-west-1`` and ``sqlite:////abs/path.db?max_bytes=1000000``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from dynmemo.errors import InvalidOptionError
from dynmemo.expiry import parse_duration


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError("true or false") from None


def _integer(text: str) -> int:
    if not re.fullmatch(r"[0-9][0-9_]*", text):
        raise ValueError("a whole number")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("a number") from None


def _duration(option: str, text: str) -> float:
    try:
        value: object = float(text)
    except ValueError:
        value = text
    return parse_duration(value, option)


_Parsers = Mapping[str, Callable[[str], object]]

_COMMON: _Parsers = {
    "secret": str,
    "encrypt": _boolean,
    "max_value_bytes": _integer,
    "overflow": str,
    "default_ttl": partial(_duration, "default_ttl"),
    "refresh_after": _number,
    "lease_seconds": partial(_duration, "lease_seconds"),
}
_OPTIONS: Mapping[str, _Parsers] = {
    "sqlite": {"max_bytes": _integer, **_COMMON},
    "dynamodb": {
        "partition_key_name": str,
        "ttl_attribute_name": str,
        "partition_key_prefix": str,
        "create_table_if_not_exists": _boolean,
        "use_consistent_reads": _boolean,
        "region": str,
        "profile": str,
        "endpoint_url": str,
        **_COMMON,
    },
}
_PLACE = {"sqlite": "path", "dynamodb": "table_name"}
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
    if kind not in _OPTIONS:
        raise InvalidOptionError(
            f"a cache URL starts with dynamodb:// or sqlite://, not {kind or 'nothing'!r}; give {_EXAMPLES}"
        )
    if parts.fragment:
        raise InvalidOptionError("a cache URL has no #fragment; write # as %23 in a path or option")
    arguments: dict[str, object] = {_PLACE[kind]: _place(kind, parts.netloc, parts.path)}
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise InvalidOptionError(
            f"the options of a cache URL have the form ?name=value&name=value; give {_EXAMPLES}"
        ) from None
    for name, text in pairs:
        if name in arguments:
            raise InvalidOptionError(f"option {name} stands twice in the {kind} URL; give it once")
        arguments[name] = _option(kind, name, text)
    return kind, arguments


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
    name = unquote(path[1:])
    if "\0" in name:
        raise InvalidOptionError("the path in a SQLite URL has a zero byte (%00), which no file name has")
    return name


def _option(kind: str, name: str, text: str) -> object:
    parser = _OPTIONS[kind].get(name)
    if parser is None:
        allowed = ", ".join(sorted(_OPTIONS[kind]))
        raise InvalidOptionError(f"{name!r} is no option of a {kind} URL; there are {allowed}")
    try:
        return parser(text)
    except InvalidOptionError:
        raise
    except ValueError as error:
        raise InvalidOptionError(f"option {name}={text!r} of the {kind} URL must be {error}") from None


def build_url(kind: str, arguments: Mapping[str, object]) -> str | None:
    """The URL that gives these arguments, without the secret; None if one of them cannot stand in a URL."""
    options = {name: value for name, value in arguments.items() if name not in {_PLACE[kind], "secret"}}
    if not options.keys() <= _OPTIONS[kind].keys():
        return None
    place = str(arguments[_PLACE[kind]])
    start = (
        f"dynamodb://{quote(place, safe='')}"
        if kind == "dynamodb"
        else f"sqlite:///{quote(place.replace(chr(92), '/'), safe='/:')}"
    )
    query = urlencode({name: _text(value) for name, value in sorted(options.items())})
    return f"{start}?{query}" if query else start


def _text(value: object) -> str:
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    return str(value).lower() if isinstance(value, bool) else str(value)
