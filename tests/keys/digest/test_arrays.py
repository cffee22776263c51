"""How content is read: in pieces, by threads, block by block, without copies and without imports."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from blake3 import blake3

from dynmemo.keys import arrays as buffers
from dynmemo.keys import pandas_types
from dynmemo.keys.digest import NoStableContent, digest
from tests.keys.digest.values.pandas_ import frame
from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "C order": lambda table: table,
    "F order": np.asfortranarray,
    "backwards": lambda table: table[::-1].copy()[::-1],
    "every second": lambda table: np.repeat(table, 2, axis=1)[:, ::2],
    "foreign byte order": lambda table: table.astype(table.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 100_000), (40, 40_000), (1_000, 200), (2, 5), (1, 1), (0, 3), (3, 0)])
@pytest.mark.parametrize("dtype", ["f8", "f4", "c16", "i2", "g"])
def test_content_is_the_same_in_every_layout(layout: str, shape: tuple[int, int], dtype: str) -> None:
    table = np.random.default_rng(0).normal(size=shape).astype(dtype)
    expected = buffers.content_hash(table)
    rows = [buffers.content_hash(row) for row in table]
    laid_out = LAYOUTS[layout](table)
    assert buffers.content_hash(laid_out) == expected
    assert buffers.row_hashes(laid_out) == rows


def test_content_is_the_bytes_of_the_array() -> None:
    table = np.arange(300_000.0).reshape(300, -1)
    assert buffers.content_hash(table) == blake3(table.astype("<f8").tobytes()).digest()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_change_nothing(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).normal(size=(30, 50_000))
    table[7, 7] = -np.nan
    expected = buffers.content_hash(table)
    monkeypatch.setattr(buffers, "_THREADS", 4)
    monkeypatch.setattr(buffers, "_WORTH_THREADS", 0)
    assert buffers.content_hash(LAYOUTS[layout](table)) == expected


@pytest.mark.parametrize("place", [0, 65_535, 65_536, 299_999])
def test_every_element_counts(place: int) -> None:
    table = np.zeros(300_000)
    before = digest(table)
    table[place] = 1e-300
    assert digest(table) != before


@pytest.mark.parametrize("layout", ["C order", "F order", "every second"])
def test_a_large_array_is_not_copied(layout: str) -> None:
    table = LAYOUTS[layout](np.zeros((1_000, 4_000)))
    digest(np.zeros((2, 2)))
    tracemalloc.start()
    digest(table)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < table.nbytes / 8


def test_blocks_of_a_frame_are_only_a_short_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(0).normal(size=(50, 7))
    tables = [frame(), pd.DataFrame(numbers), pd.DataFrame(np.asfortranarray(numbers)), pd.DataFrame(index=[1, 2])]
    expected = [digest(table) for table in tables]
    monkeypatch.setattr(pandas_types, "_blocks", lambda _: None)
    assert [digest(table) for table in tables] == expected


def test_the_path_names_the_column() -> None:
    table = pd.DataFrame({"a": [1, 2], "jobs": [1, (n for n in "abc")]})
    with pytest.raises(NoStableContent) as caught:
        digest({"df": table})
    assert caught.value.path == 'value["df"]["jobs"][1]'
    with pytest.raises(NoStableContent) as caught:
        digest(table.rename(columns={"jobs": "jobs of anna@example.com"}))
    assert caught.value.path == "value[column 1][1]"


def test_a_ufunc_of_ones_own_counts_by_its_function() -> None:
    first, same, other = (np.frompyfunc(f, 1, 1) for f in (lambda x: x + 1, lambda x: x + 1, lambda x: x - 1))
    assert digest(first) == digest(same) != digest(other)
    assert digest(np.frompyfunc(max, 2, 1)) != digest(np.frompyfunc(max, 2, 1, identity=0))


def test_a_ufunc_that_no_package_has_under_its_name_is_refused() -> None:
    umath = pytest.importorskip("numpy._core.umath")
    unknown = next(one for one in vars(umath).values() if isinstance(one, np.ufunc) and not hasattr(np, one.__name__))
    with pytest.raises(NoStableContent, match="a ufunc of unknown origin"):
        digest(unknown)


def test_an_index_that_is_nearly_even_is_told_apart() -> None:
    even = np.arange(100)
    uneven = even.copy()
    uneven[50] = 51
    assert len({digest(pd.Index(values)) for values in (even, uneven, even + 1, even * 2, even[:-1])}) == 5


def test_a_subclass_of_a_frame_is_told_apart() -> None:
    class Weather(pd.DataFrame):
        station: str
        _metadata = ["station"]  # noqa: RUF012 - as pandas wants it

        @property
        def _constructor(self) -> Any:
            return Weather

    first, second = Weather({"a": [1]}), Weather({"a": [1]})
    first.station, second.station = "SEA", "PDX"
    assert len({digest(table) for table in (first, second, pd.DataFrame({"a": [1]}))}) == 3


def test_a_subclass_of_a_polars_frame_or_a_dataset_is_told_apart() -> None:
    pl, xr = pytest.importorskip("polars"), pytest.importorskip("xarray")
    frame: Any = type("Weather", (pl.DataFrame,), {"warm": lambda self: self["a"] > 1})
    dataset: Any = type("Field", (xr.Dataset,), {"__slots__": ("station",)})
    for base, cls, content in ((pl.DataFrame, frame, {"a": [1]}), (xr.Dataset, dataset, {"a": ("x", [1])})):
        first, second, bare = cls(content), cls(content), cls(content)
        first.station, second.station = "SEA", "PDX"
        assert len({digest(one) for one in (base(content), bare, first, second)}) == 4
        assert digest(cls(content)) == digest(bare)


def test_the_limits_of_a_dtype_may_be_printed() -> None:
    limits = np.finfo("f2")
    before = digest(limits)
    assert repr(limits)
    assert digest(limits) == before


def test_a_frame_of_dask_may_be_looked_at() -> None:
    dask = pytest.importorskip("dask.dataframe")

    def frame(name: str) -> Any:
        return dask.from_pandas(pd.DataFrame({name: [1, 2, 3]}), npartitions=2).map_partitions(len)

    before, looked_at = digest(frame("a")), frame("a")
    assert looked_at.divisions
    looked_at.compute(scheduler="sync")
    assert digest(looked_at) == before != digest(frame("b"))


NAMED_IN_PLANS = """
import polars as pl
import helpers
import helpers as other
from dynmemo.keys.digest import digest
column = pl.col("a")
plan = pl.LazyFrame({"a": [bytes([128, 4, 149]) + bytes(8)]})
for one in (
    column.map_elements(helpers.twice, return_dtype=pl.Int64),
    column.map_elements(lambda x: other.twice(x), return_dtype=pl.Int64),
    column.name.map(helpers.twice),
    plan.map_batches(helpers.twice),
    plan.select(column.map_batches(helpers.twice, return_dtype=pl.Int64)),
    plan,
):
    print(digest(one))
"""


def test_a_function_in_a_plan_of_polars_counts_by_its_code(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    digests = []
    for factor in (2, 3, 2):
        (tmp_path / "helpers.py").write_text(f"def twice(x):\n    return x * {factor}\n")
        digests.append(printed("-B", "-c", NAMED_IN_PLANS, folder=tmp_path).split())
    *functions, plan = zip(*digests, strict=True)
    assert all(first == again != edited for first, edited, again in functions)
    assert len(set(plan)) == 1


PROGRAM = """
import sys
from dynmemo.keys.digest import digest
digest([1, "a", {2: (3.0, None)}])
names = ("numpy", "pandas", "polars", "pyarrow", "scipy", "xarray", "pydantic")
heavy = [name for name in names if name in sys.modules]
assert heavy == [], heavy
"""

POLARS = """
import sys
import polars as pl
from dynmemo.keys.digest import digest
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"numpy", "pyarrow"}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocker())
for values in ([1, None, 3], [1.5, None, float("nan")], [True, None], ["a", None], [[1], None]):
    print(digest(pl.Series(values)))
assert "numpy" not in sys.modules
assert "pyarrow" not in sys.modules
"""


def test_nothing_is_imported_for_a_digest() -> None:
    printed("-c", PROGRAM)


def test_polars_is_read_without_numpy_and_pyarrow_to_the_same_digest() -> None:
    pl = pytest.importorskip("polars")
    values = ([1, None, 3], [1.5, None, float("nan")], [True, None], ["a", None], [[1], None])
    assert printed("-c", POLARS).split() == [digest(pl.Series(each)) for each in values]
