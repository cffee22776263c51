"""One site in four frameworks, for server processes: a page that counts a user's visits, and one that only looks.

Idle timeout 90 s, hard limit 8 h. The store, its secret and the file with the time come from the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dynmemo.generations import Generations

if TYPE_CHECKING:
    from dynmemo.integrations.sealed import Sealed

IDLE_SECONDS = 90
LONGEST_SECONDS = 8 * 3600

URL = os.environ.get("SITE_URL", "")


def now() -> float:
    return float(Path(os.environ["SITE_CLOCK"]).read_text(encoding="ascii"))


def at_test_time(sealed: Sealed) -> None:
    """Let the test say the time. What is read every five seconds is read once, so that requests can be counted."""
    sealed.cache.clock = now
    sealed.cache.generations = Generations(lambda: 0.0)


def counted(sealed: Sealed) -> list[float]:
    """Requests, read units and write units of this process."""
    info = sealed.info()
    return [info.requests, info.read_units, info.write_units]
