"""What the user says about the code part of the key: ``code=``, ``version=`` and ``depends_on=``."""

from __future__ import annotations

import importlib.metadata
import re
from typing import TYPE_CHECKING

import blake3

from dynmemo.errors import InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES = ("deep", "own", "off")
LONGEST_VERSION = 100
"""Bytes of an escaped version that stand in a key as they are."""

_ESCAPES = str.maketrans({":": "%3A", "#": "%23", "%": "%25", "~": "%7E"})


def checked_mode(code: str) -> str:
    """`code` if it is one of the allowed."""
    if code not in MODES:
        raise InvalidOptionError(f"code={code!r} is not allowed; give one of {', '.join(map(repr, MODES))}")
    return code


def checked_version(version: str | int | None) -> str | None:
    """`version` as it stands in keys: ``v`` and the text, escaped; a long one ends in its hash."""
    if version is None:
        return None
    given: object = version  # callers without a type checker give anything
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise InvalidOptionError(
            f"version= takes a text that is not empty or an integer, not {_shown(version)}; "
            "change it when results should be new"
        )
    escaped = str(version).translate(_ESCAPES)
    encoded = escaped.encode("utf-8", "surrogatepass")
    if len(encoded) <= LONGEST_VERSION:
        return f"v{escaped}"
    tail = blake3.blake3(encoded).hexdigest(16)
    return f"v{encoded[: LONGEST_VERSION - len(tail) - 1].decode(errors='ignore')}~{tail}"


def _shown(version: object) -> str:
    return "an empty text" if version == "" else f"a {type(version).__name__}"


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """The installed version of each package; a name may be that of the package or that of its import.

    Raises:
        InvalidOptionError: one is not installed, or `names` is no sequence of names.
    """
    if isinstance(names, str):
        raise InvalidOptionError(f"depends_on= takes a sequence of package names: depends_on=({names!r},)")
    found = {}
    for name in names:
        if not isinstance(name, str):
            raise InvalidOptionError(f"depends_on= takes package names, not a {type(name).__name__}")
        found[_normal(name)] = _version(name)
    return dict(sorted(found.items()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        pass
    packages = importlib.metadata.packages_distributions().get(name, [])
    if not packages:
        raise InvalidOptionError(
            f"depends_on= names {name!r}, which is not installed here; "
            "give names as `pip list` shows them, or install it"
        )
    return ",".join(sorted(f"{package}={importlib.metadata.version(package)}" for package in set(packages)))
