"""Prints the digest of every value by its name, as JSON: `python -m tests.keys.digest.report`."""

from __future__ import annotations

import json

from dynmemo.keys.digest import digest
from tests.keys.digest import values


def digests() -> dict[str, str]:
    """The digest of every value whose package is installed."""
    return {name: digest(value) for name, value in values.different().items()}


if __name__ == "__main__":
    print(json.dumps(digests()))
