"""Digests as they were in earlier releases. `python -m tests.keys.digest.golden` adds what is missing, changes none."""

from __future__ import annotations

import json
from pathlib import Path

from tests.keys.digest.report import digests

FILE = Path(__file__).parent / "golden.json"


def golden() -> dict[str, str]:
    """The digests of earlier releases by the names of the values."""
    found: dict[str, str] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def main() -> None:
    known = golden() if FILE.exists() else {}
    promised = {name: found for name, found in digests().items() if not name.startswith("~")}
    FILE.write_text(json.dumps(promised | known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
