"""Several worker processes share forecasts of real weather: ``python -m dynmemo demo``.

All ask for the same forecasts at the same time, and then again. Each must be computed once in the whole run (or not
at all when an earlier run left it in the cache), and everybody must have got the same one.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dynmemo.calls import dynamo_cached
from dynmemo.defaults import configure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.synchronize import Barrier

    import pandas as pd
    from rich.console import Console

    from dynmemo.cache import Cache

VARIABLES = ("precipitation", "temp_max", "temp_min", "wind")
HORIZON = 90
BAND = 0.8
"""Part of the days that are expected to fall into the band around a forecast."""
BARRIER_SECONDS = 300.0

_computed: list[str] = []  # what this process computed, noted by the function itself and not by the cache


def weather() -> pd.DataFrame:
    """Daily weather of Seattle from 2012 to 2015 as NOAA recorded it, one row per day."""
    from vega_datasets import local_data

    daily: pd.DataFrame = local_data.seattle_weather().set_index("date").asfreq("D")
    return daily


# The version is given by hand because this package's own code is a library's, which no fingerprint follows.
# Raise it with every change that alters a forecast.
@dynamo_cached(ttl="30d", version="1")
def forecast(history: pd.Series[float], horizon: int = HORIZON) -> pd.DataFrame:
    """The days after `history`: the best of nine SARIMAX models with a yearly course. Takes seconds."""
    import pandas as pd
    from statsmodels.tsa.deterministic import DeterministicProcess, Fourier
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    _computed.append(str(history.name))
    year = DeterministicProcess(history.index, constant=True, additional_terms=[Fourier(period=365.25, order=2)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of poor first guesses, which the fit then leaves behind
        fits = [
            SARIMAX(history, exog=year.in_sample(), order=(p, 0, q)).fit(disp=False)
            for p, q in itertools.product((1, 2, 3), (0, 1, 2))
        ]
    best = min(fits, key=lambda fit: float(fit.aic))
    predicted = best.get_forecast(horizon, exog=year.out_of_sample(horizon))
    band = predicted.conf_int(alpha=1 - BAND).to_numpy()
    return pd.DataFrame({"mean": predicted.predicted_mean, "lower": band[:, 0], "upper": band[:, 1]})


@dataclass(frozen=True, slots=True)
class Call:
    """What one worker saw of one call."""

    pid: int
    variable: str
    again: bool
    computed: bool
    waited: bool
    """Another worker was computing it."""
    seconds: float
    saved: float
    """Seconds of computing, as `cache_info()` says."""
    result: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that came out of one demo."""

    cache: Cache
    works: tuple[list[Call], ...]
    """The calls of each worker."""
    compute_seconds: dict[str, float]
    """By variable, as the cache remembers it; without those that it did not keep."""

    @property
    def calls(self) -> list[Call]:
        """The calls of all workers."""
        return list(itertools.chain(*self.works))


def run(url: str | None = None, workers: int = 4) -> Run:
    """Start `workers` processes on the cache at `url` (default: the one in force) and collect what they saw.

    Raises:
        InvalidOptionError: `url` is not a cache URL.
        StoreUnavailableError, InvalidTableError: the cache cannot be used.
    """
    cache = configure(url)
    cache.get("dynmemo-demo")  # a cache that does not work is an error here; the workers would just compute
    works = _works(workers)
    entries = {variable: forecast.entry(series) for variable, series in _series().items()}
    return Run(cache, works, {variable: entry.seconds for variable, entry in entries.items() if entry is not None})


def _works(workers: int) -> tuple[list[Call], ...]:
    # For the workers: models this small are slower with several threads, many times so on a busy machine.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_share, initargs=(barrier,)) as pool:
        futures = [pool.submit(_work, number) for number in range(workers)]
    return tuple(future.result() for future in futures)


def problems(calls: Sequence[Call]) -> list[str]:
    """What must not be: a forecast that was computed more than once, workers that got different ones."""
    found = []
    for variable in VARIABLES:
        of_it = [call for call in calls if call.variable == variable]
        computed = Counter(call.pid for call in of_it if call.computed)
        if computed.total() > 1:
            who = ", ".join(f"{pid} ({times} times)" if times > 1 else str(pid) for pid, times in computed.items())
            found.append(f"{variable} was computed {computed.total()} times, by the processes {who}")
        others = sorted({call.pid for call in of_it if not call.result.equals(of_it[0].result)})
        if others:
            found.append(f"{variable} differs: process {of_it[0].pid} got another forecast than {others}")
    return found


_barrier: Barrier


def _share(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _work(number: int) -> list[Call]:
    """One worker: every forecast once, each worker beginning with another one, and then all of them again."""
    series = _series()
    first = [VARIABLES[(number + step) % len(VARIABLES)] for step in range(len(VARIABLES))]
    _barrier.wait(BARRIER_SECONDS)
    calls = [_call(series[variable], again=False) for variable in first]
    return calls + [_call(series[variable], again=True) for variable in VARIABLES]


def _call(series: pd.Series[float], *, again: bool) -> Call:
    computed, before = len(_computed), forecast.cache_info()
    start = time.perf_counter()
    result = forecast(series)
    seconds = time.perf_counter() - start
    info = forecast.cache_info()
    return Call(
        os.getpid(),
        str(series.name),
        again,
        len(_computed) > computed,
        info.waited > before.waited,
        seconds,
        info.seconds_saved - before.seconds_saved,
        result,
    )


def _series() -> dict[str, pd.Series[float]]:
    daily = weather()
    return {variable: daily[variable] for variable in VARIABLES}


def report(run: Run, console: Console) -> bool:
    """Print the run; whether every forecast was computed once at most and all workers agree."""
    console.print(_table(run))
    found = problems(run.calls)
    for problem in found:
        console.print(f"[bold red]Failed:[/] {escape(problem)}.", soft_wrap=True)
    if found:
        where = escape(run.cache.store.location)
        console.print(
            f"The cache at {where} did not keep what was stored, or did not answer: see what was logged above.",
            soft_wrap=True,
        )
        return False
    computed = sum(call.computed for call in run.calls)
    waits = sum(call.waited for call in run.calls)
    hits = len(run.calls) - computed - waits
    saved = sum(call.saved for call in run.calls)
    done = f"{computed} forecasts computed, each once" if computed else "Nothing computed, an earlier run had left all"
    shared = f"{hits} hits; {waits} waits" if waits else f"{hits} hits"
    console.print(f"[bold]{done}; {shared}; {_time(saved)} saved.[/]", highlight=False)
    console.print(f"All {len(run.works)} processes got the same forecasts.", highlight=False)
    if computed:
        console.print("Run it again: then nothing is computed any more.")
    return True


def _table(run: Run) -> Table:
    table = Table(
        title="Forecasts of Seattle's weather, asked for by several processes",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_footer=True,
    )
    table.add_column("process", footer="computing\nlater call\nfaster")
    for variable in VARIABLES:
        computing = run.compute_seconds.get(variable)
        # Of the second calls: then the process is warm, its client connected.
        later = statistics.median(call.seconds for call in run.calls if call.again and call.variable == variable)
        footer = f"-\n{_time(later)}\n-"  # not kept by the cache
        if computing is not None:
            footer = f"{_time(computing)}\n{_time(later)}\n{computing / later:,.0f} x"
        table.add_column(variable, justify="right", footer=footer)
    for work in run.works:
        cells = (Text("\n").join(_line(call) for call in work if call.variable == name) for name in VARIABLES)
        table.add_row(f"{work[0].pid}\n  again", *cells)
    return table


def _line(call: Call) -> Text:
    what, style = ("waited", "cyan") if call.waited else ("hit", "green")
    what, style = ("computed", "bold yellow") if call.computed else (what, style)
    return Text(f"{what} {_time(call.seconds)}", style=style)


def say_where(cache: Cache, console: Console) -> None:
    """Print where the entries lie, how to look at them and how to forget them."""
    console.print(f"\nThe entries lie in {escape(cache.store.location)}.", soft_wrap=True)
    if cache.url is None:
        return
    name = forecast.cache_parameters()["name"]
    for purpose, command in (("look at", "ls"), ("forget", "clear")):
        line = f'python -m dynmemo {command} {name} --url "{cache.url}"'
        console.print(f"To {purpose} them:\n  {escape(line)}", soft_wrap=True, highlight=False)


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:,.0f} s"
