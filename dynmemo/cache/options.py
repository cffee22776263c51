"""The options of a cache, checked when it is made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dynmemo import expiry
from dynmemo.errors import InvalidOptionError

LONGEST_LEASE = 3600.0


def check_key(key: object) -> None:
    """Refuse what no store takes for a key."""
    if not isinstance(key, str):
        raise InvalidOptionError(f"a key is a text, not {type(key).__name__}")
    if not key:
        raise InvalidOptionError("a key has at least one character; the given one is empty")
    try:
        key.encode()
    except UnicodeEncodeError:
        raise InvalidOptionError("a key has no half of a surrogate pair in it; the given one has") from None


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
    return str(Path(name).expanduser().absolute())


def checked_secrets(secret: object) -> tuple[bytes, ...]:
    """The secrets given, or those of the environment; the first signs."""
    if secret is None:
        secret = [text.strip() for text in os.environ.get("DYNMEMO_SECRET", "").split(",")]
    several = [secret] if isinstance(secret, (str, bytes)) else secret
    keys = [_key_bytes(one) for one in several] if isinstance(several, Sequence) else [None]
    if None in keys:
        raise InvalidOptionError("secret= takes text, bytes, or a list of these (the first signs, all are accepted)")
    return tuple(key for key in keys if key)


def _key_bytes(secret: object) -> bytes | None:
    if isinstance(secret, str):
        return secret.encode()
    return secret if isinstance(secret, bytes) else None


def checked_encrypt(encrypt: object, secrets: tuple[bytes, ...]) -> bool:
    """Whether to encrypt, for which there must be a secret."""
    if not isinstance(encrypt, bool):
        raise InvalidOptionError(f"encrypt= takes True or False, not {encrypt!r}")
    if encrypt and not secrets:
        raise InvalidOptionError(
            "encrypt=True needs a secret to derive its key from; give secret= or set DYNMEMO_SECRET"
        )
    return encrypt


def checked_max_value_bytes(limit: object) -> int | None:
    """The largest value in bytes, None for no limit."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidOptionError(f"max_value_bytes={limit!r} is no size; give a number of bytes from 1, or None")
    return limit


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
