"""Reading or writing N MB takes no more than about 3 N beside the value itself."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from dynmemo.codec import Codec
from tests.codec.helpers import SECRET, read, write

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 20_000_000
ALLOWED = 3.2

ENCRYPTED: dict[str, Any] = {"secrets": [SECRET], "encrypt": True}


def noise() -> Any:
    return np.random.default_rng(0).random(SIZE // 8)


def table() -> Any:
    return pd.DataFrame({"mean": noise(), "lower": np.arange(SIZE // 8.0)}).iloc[: SIZE // 16].copy()


VALUES: dict[str, tuple[Callable[[], Any], str]] = {
    "noise": (noise, "pickle"),
    "regular": (lambda: np.arange(SIZE // 8), "pickle"),
    "frame": (table, "pickle"),
    "text": (lambda: "0123456789" * (SIZE // 10), "pickle"),
    "random bytes": (lambda: np.random.default_rng(0).bytes(SIZE), "bytes"),
    "arrow": (table, "arrow"),
}


def peak(work: Callable[[], object]) -> float:
    """Most memory held during `work` and not before, in sizes of the value."""
    tracemalloc.start()
    try:
        kept = work()
        del kept
        return tracemalloc.get_traced_memory()[1] / SIZE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("options", [{}, ENCRYPTED], ids=["plain", "encrypted"])
@pytest.mark.parametrize("kind", VALUES)
def test_memory_stays_bounded(kind: str, options: dict[str, Any]) -> None:
    make, serializer = VALUES[kind]
    codec = Codec(serializer, **options)
    value = make()
    written = peak(lambda: write(codec, value))
    data = write(codec, value)
    was_read = peak(lambda: read(codec, data).value) - 1  # the value itself
    assert written < ALLOWED
    assert was_read < ALLOWED
