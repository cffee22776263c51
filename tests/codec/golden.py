"""Envelopes as earlier releases wrote them. `python -m tests.codec.golden` adds the missing ones, never changes one."""

from __future__ import annotations

import datetime
import enum
import itertools
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from dynmemo.codec import Codec, Own
from tests.codec.helpers import DEADLINE, SECRET, write

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent / "golden"

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "signed": {"secrets": [SECRET]},
    "encrypted": {"secrets": [SECRET], "encrypt": True},
}

TEXT = "SEA rain " * 400
DATA = {"city": "SEA", "mean": [1.5, -0.0, 2**70], "ok": True, "none": None, "text": "Zürich"}
DAY = (DATA, datetime.datetime(2024, 2, 29, 12, tzinfo=datetime.UTC), frozenset([1]), 1j)

VALUES: dict[str, tuple[str, object]] = {
    "pickle": ("pickle", DAY),
    "pickle-zstd": ("pickle", [TEXT]),
    "pickle-buffers": ("pickle", np.random.default_rng(0).integers(0, 256, 16_384, "u1")),
    "pickle-aligned": ("pickle", [np.arange(3000), np.random.default_rng(0).integers(0, 256, 16_384, "u1")]),
    "pickle-buffers-zstd": ("pickle", [np.arange(4096), np.zeros(4096)]),
    "json": ("json", DATA),
    "json-zstd": ("json", {"text": TEXT}),
    "bytes": ("bytes", bytes(range(256))),
    "bytes-zstd": ("bytes", TEXT.encode()),
    "arrow-pandas": (
        "arrow",
        pd.DataFrame({"mean": [1.5, None], "model": ["x", None]}, index=pd.date_range("2024", periods=2, name="day")),
    ),
    "arrow-series-zstd": ("arrow", pd.Series(np.zeros(500), name="mean")),
    "arrow-polars": ("arrow", pl.DataFrame({"a": [1, None], "b": ["x", "y"]})),
    "arrow-table": ("arrow", pa.table({"a": [1, None]})),
    "json-origin": ("json", DATA),
    "pickle-aligned-origin": ("pickle", [np.arange(3000), np.random.default_rng(0).integers(0, 256, 16_384, "u1")]),
}


class Trend(enum.Enum):
    UP = 1


NO_LONGER_WRITTEN = {"pickle-buffers-plain", "pickle-buffers-signed"}
"""Buffers that do not begin at multiples of 64 bytes."""

NAMES = [f"{value}-{protection}" for value, protection in itertools.product(VALUES, OPTIONS)]


def codec_and_value(name: str) -> tuple[Codec, object]:
    what, protection = name.rsplit("-", 1)
    serializer, value = VALUES[what]
    return Codec(serializer, compress=not what.startswith("pickle-aligned"), **OPTIONS[protection]), value


def origin(name: str) -> bytes:
    """Where the value of that name comes from."""
    return b'{"user":"anna","host":"gpu3","pid":4711}' if "-origin-" in name else b""


def load(name: str) -> bytes:
    return bytes.fromhex((FOLDER / f"{name}.hex").read_text(encoding="ascii"))


def save(name: str, data: bytes) -> None:
    path = FOLDER / f"{name}.hex"
    if not path.exists():
        path.write_text("\n".join(textwrap.wrap(data.hex(), 120)) + "\n", encoding="ascii")


def main() -> None:
    for name in NAMES:
        codec, value = codec_and_value(name)
        save(name, write(codec, value, deadline=DEADLINE, origin=origin(name)))
    by_value: Callable[[int], int] = lambda x: x + 41  # noqa: E731 - a lambda goes by value, a def of this module would not
    save("code-plain", write(Codec(), by_value, deadline=None))
    # Of the program that runs now, so by value, and with the name under which others import it.
    save("class-plain", write(Codec(own=Own(by_name=True)), [Trend.UP, Trend], deadline=None))


if __name__ == "__main__":
    main()
