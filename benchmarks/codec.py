"""What the envelope costs beside bare pickle, what its origin and signing add, and which compression level pays.

python benchmarks/codec.py [--seconds 2]

The candidates of a table take turns in random order within one run, and medians are told, so that a busy machine and
a warm allocator treat all alike.
Needs the extras `crypto` and `demo`: the frames are noisy daily forecasts made from the Seattle weather series.
"""

from __future__ import annotations

import argparse
import pickle
import random
import statistics
import sys
import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
from vega_datasets import local_data

from dynmemo.codec import Codec
from dynmemo.codec.compression import LEVEL
from dynmemo.origin import Reach, described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Name = TypeVar("Name", str, int)

KEY = "dc:weather.forecast:9f31c2a0f31c2a0f:7f83b1657ff1fc53b92dc18148a1d65d"
LEVELS = (-5, 1, 2, 3, 4, 5, 6, 9, 12)
REACH = Reach("9f31c2a0f31c2a0f", (__file__,), ("numpy", "pandas", "statsmodels"))
ORIGIN = "with origin"
SECRET = b"a secret of forty characters, as it were"


def main() -> None:
    seconds = _options().seconds
    values = {
        "dict of 100 numbers": {"city": "SEA", "mean": [day / 7 for day in range(100)]},
        "forecast of one city": forecasts(1),
        "forecasts of 100 cities": forecasts(100),
        "10 MB of random numbers": np.random.default_rng(0).random(1_250_000),
    }
    for name, value in values.items():
        _envelopes(name, value, seconds)
    for name in ("forecast of one city", "forecasts of 100 cities"):
        _levels(name, values[name], seconds)


def forecasts(cities: int) -> pd.DataFrame:
    """Mean and interval per city and day over four years, as a model returns them."""
    series = local_data.seattle_weather()
    noise = np.random.default_rng(1)
    return pd.concat([_forecast(f"C{city:03d}", series, noise) for city in range(cities)], ignore_index=True)


def _forecast(city: str, series: pd.DataFrame, noise: np.random.Generator) -> pd.DataFrame:
    days = len(series)
    mean = np.convolve(series["temp_max"] + noise.normal(0, 2, days), np.ones(7) / 7, "same")
    spread = 1.96 * (1 + 0.7 * np.sqrt(np.arange(1, days + 1)))
    columns = {"city": city, "date": series["date"], "mean": mean, "lower": mean - spread, "upper": mean + spread}
    return pd.DataFrame({**columns, "model": "SARIMAX(1,0,1)"})


def _envelopes(name: str, value: object, seconds: float) -> None:
    codecs = {
        "plain digest": Codec(),
        ORIGIN: Codec(),
        "signed": Codec(secrets=[SECRET]),
        "encrypted": Codec(secrets=[SECRET], encrypt=True),
    }
    bare = pickle.dumps(value, protocol=5)
    stored = {label: _write(codec, value, label) for label, codec in codecs.items()}
    writes: dict[str, Callable[[], object]] = {"pickle": lambda: pickle.dumps(value, protocol=5)}
    reads: dict[str, Callable[[], object]] = {"pickle": lambda: pickle.loads(bare)}
    for label, codec in codecs.items():
        writes[label] = lambda codec=codec, label=label: _write(codec, value, label)  # type: ignore[misc]
        reads[label] = lambda codec=codec, data=stored[label]: codec.loads(data, key=KEY, now=1.0)  # type: ignore[misc]
    wrote, was_read = _medians(writes, seconds), _medians(reads, seconds)
    print(f"\n{name}, {len(bare):,} bytes pickled")
    print(f"{'':14}{'stored':>12}{'dumps':>14}{'loads':>14}")
    for label in writes:
        size = len(stored.get(label, bare))
        print(f"{label:14}{size:>12,}{wrote[label] * 1e6:>11,.1f} us{was_read[label] * 1e6:>11,.1f} us")


def _levels(name: str, value: object, seconds: float) -> None:
    data = pickle.dumps(value, protocol=5)
    compressed = {level: zstd.compress(data, level) for level in LEVELS}
    writes = {level: lambda level=level: zstd.compress(data, level) for level in LEVELS}  # type: ignore[misc]
    reads = {level: lambda packed=compressed[level]: zstd.decompress(packed) for level in LEVELS}  # type: ignore[misc]
    wrote, was_read = _medians(writes, seconds), _medians(reads, seconds)
    print(f"\n{name}, {len(data):,} bytes pickled: zstd levels ({LEVEL} is used)")
    print(f"{'level':>5}{'size':>9}{'compress':>14}{'decompress':>14}")
    for level in LEVELS:
        ratio = len(compressed[level]) / len(data)
        print(f"{level:>5}{ratio:>9.1%}{wrote[level] * 1e3:>11.2f} ms{was_read[level] * 1e3:>11.2f} ms")


def _write(codec: Codec, value: object, label: str) -> bytes:
    origin = described(REACH) if label == ORIGIN else b""
    return bytes(codec.dumps(value, key=KEY, computed_at=0.0, seconds=1.0, deadline=None, origin=origin))


def _medians(candidates: Mapping[Name, Callable[[], object]], seconds: float) -> dict[Name, float]:
    times: dict[Name, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[next(iter(times))]) < 5:
        for name in random.sample(list(candidates), len(candidates)):
            call = candidates[name]
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each column of each table (default 2)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
