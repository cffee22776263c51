from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.keys.identity.helpers import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    before = set(sys.modules)
    yield Lab(tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("lab"):
            del sys.modules[name]
