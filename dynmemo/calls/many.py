"""`map`, `starmap` and `warm` of decorated functions: what a user gives and gets of a sweep."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

from dynmemo.calls.drawn import single, spread
from dynmemo.calls.executors import run_in
from dynmemo.calls.progress import Shown, Tally
from dynmemo.calls.sweep import SIZES, Sweep
from dynmemo.errors import InvalidOptionError
from dynmemo.tracebacks import short_tracebacks, shorten

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Executor

    from dynmemo.calls.drawn import Row
    from dynmemo.calls.progress import Progress

    Report = bool | Callable[[Progress], object]
    OnItemError = Literal["raise", "return"]

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")
Rest = ParamSpec("Rest")

CONCURRENCY = 10


class SyncMany(Generic[P, R]):
    """Many calls of a plain function."""

    @overload
    def map(
        self: SyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        executor: Executor | None = None,
        lazy: Literal[False] = False,
        progress: Report = False,
        on_item_error: Literal["raise"] = "raise",
    ) -> list[R]: ...
    @overload
    def map(
        self: SyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        executor: Executor | None = None,
        lazy: Literal[True],
        progress: Report = False,
        on_item_error: Literal["raise"] = "raise",
    ) -> Iterator[R]: ...
    @overload
    def map(
        self: SyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        executor: Executor | None = None,
        lazy: Literal[False] = False,
        progress: Report = False,
        on_item_error: Literal["return"],
    ) -> list[R | Exception]: ...
    @overload
    def map(
        self: SyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        executor: Executor | None = None,
        lazy: Literal[True],
        progress: Report = False,
        on_item_error: Literal["return"],
    ) -> Iterator[R | Exception]: ...
    @short_tracebacks
    def map(
        self,
        items: Iterable[Any],
        *,
        executor: Executor | None = None,
        lazy: bool = False,
        progress: Report = False,
        on_item_error: OnItemError = "raise",
    ) -> Any:
        """The results of a call for each item, in their order; of those that are missing the fleet computes each once.

        All keys are looked up in batches. What is missing is computed here, but for what another worker computes
        meanwhile: that is put off, and waited for when nothing else is left. By then every result is stored that was
        computed, and none is computed twice, also if many workers do this with the same items.

        Example:
            >>> [days[0] for days in forecast.map(["SEA", "PDX"])]
            [12.5, 12.5]

        Args:
            items: what the function is called with, as its one positional argument.
            executor: a `concurrent.futures.Executor` whose workers compute. Default: this thread does.
            lazy: return an iterator, which takes items and computes as it goes, some hundred at a time.
            progress: True for one bar in a line of the terminal or in a notebook, or a function that is called with a
                `Progress`.
            on_item_error: ``"raise"`` the first error, or ``"return"`` each in the place of its result.

        Raises:
            UnhashableArgumentError: an item from which no key can be built, before anything is computed.
            InvalidOptionError: an option that is not allowed.
        """
        return _Options(progress=progress, on_item_error=on_item_error, executor=executor).results(
            self, items, single(items), lazy=lazy
        )

    @overload
    def starmap(
        self,
        rows: Iterable[tuple[Any, ...] | Mapping[str, Any]],
        *,
        executor: Executor | None = None,
        lazy: Literal[False] = False,
        progress: Report = False,
        on_item_error: Literal["raise"] = "raise",
    ) -> list[R]: ...
    @overload
    def starmap(
        self,
        rows: Iterable[tuple[Any, ...] | Mapping[str, Any]],
        *,
        executor: Executor | None = None,
        lazy: Literal[True],
        progress: Report = False,
        on_item_error: Literal["raise"] = "raise",
    ) -> Iterator[R]: ...
    @overload
    def starmap(
        self,
        rows: Iterable[tuple[Any, ...] | Mapping[str, Any]],
        *,
        executor: Executor | None = None,
        lazy: Literal[False] = False,
        progress: Report = False,
        on_item_error: Literal["return"],
    ) -> list[R | Exception]: ...
    @overload
    def starmap(
        self,
        rows: Iterable[tuple[Any, ...] | Mapping[str, Any]],
        *,
        executor: Executor | None = None,
        lazy: Literal[True],
        progress: Report = False,
        on_item_error: Literal["return"],
    ) -> Iterator[R | Exception]: ...
    @short_tracebacks
    def starmap(
        self,
        rows: Iterable[Any],
        *,
        executor: Executor | None = None,
        lazy: bool = False,
        progress: Report = False,
        on_item_error: OnItemError = "raise",
    ) -> Any:
        """`map` for several arguments: each row is a tuple of them, or a dict of keyword arguments.

        Example:
            >>> forecast.starmap([("SEA", 1), {"city": "PDX", "horizon": 2}])
            [[12.5], [12.5, 12.5]]
        """
        return _Options(progress=progress, on_item_error=on_item_error, executor=executor).results(
            self, rows, spread(rows), lazy=lazy
        )

    @short_tracebacks
    def warm(
        self: SyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        executor: Executor | None = None,
        progress: Report = False,
        on_item_error: OnItemError = "raise",
    ) -> int:
        """`map` that keeps no results: see that the cache holds them. Returns how many had to be computed here.

        Example:
            >>> forecast.warm(["SEA", "PDX"]), forecast.warm(["SEA", "PDX"])
            (2, 0)
        """
        options = _Options(progress=progress, on_item_error=on_item_error, executor=executor)
        with options.tally(items) as tally:
            options.sweep(self, single(items), tally, keeps=False)
            return tally.counts["computed"]


class AsyncMany(Generic[P, R]):
    """Many calls of an async function."""

    @overload
    async def map(
        self: AsyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        concurrency: int = CONCURRENCY,
        lazy: Literal[False] = False,
        progress: Report = False,
        on_item_error: Literal["raise"] = "raise",
    ) -> list[R]: ...
    @overload
    async def map(
        self: AsyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        concurrency: int = CONCURRENCY,
        lazy: Literal[True],
        progress: Report = False,
        on_item_error: Literal["raise"] = "raise",
    ) -> AsyncIterator[R]: ...
    @overload
    async def map(
        self: AsyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        concurrency: int = CONCURRENCY,
        lazy: Literal[False] = False,
        progress: Report = False,
        on_item_error: Literal["return"],
    ) -> list[R | Exception]: ...
    @overload
    async def map(
        self: AsyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        concurrency: int = CONCURRENCY,
        lazy: Literal[True],
        progress: Report = False,
        on_item_error: Literal["return"],
    ) -> AsyncIterator[R | Exception]: ...
    @short_tracebacks
    async def map(
        self,
        items: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY,
        lazy: bool = False,
        progress: Report = False,
        on_item_error: OnItemError = "raise",
    ) -> Any:
        """The results of a call for each item, in their order, as `map` of a plain function.

        Args:
            items: what the function is called with, as its one positional argument.
            concurrency: how many calls are computed at a time.
            lazy: return an async iterator, which takes items and computes as it goes, some hundred at a time.
            progress, on_item_error: as of a plain function.
        """
        return await _Options(progress=progress, on_item_error=on_item_error, concurrency=concurrency).results_async(
            self, items, single(items), lazy=lazy
        )

    @overload
    async def starmap(
        self,
        rows: Iterable[tuple[Any, ...] | Mapping[str, Any]],
        *,
        concurrency: int = CONCURRENCY,
        lazy: Literal[False] = False,
        progress: Report = False,
        on_item_error: Literal["raise"] = "raise",
    ) -> list[R]: ...
    @overload
    async def starmap(
        self,
        rows: Iterable[tuple[Any, ...] | Mapping[str, Any]],
        *,
        concurrency: int = CONCURRENCY,
        lazy: Literal[True],
        progress: Report = False,
        on_item_error: Literal["raise"] = "raise",
    ) -> AsyncIterator[R]: ...
    @overload
    async def starmap(
        self,
        rows: Iterable[tuple[Any, ...] | Mapping[str, Any]],
        *,
        concurrency: int = CONCURRENCY,
        lazy: Literal[False] = False,
        progress: Report = False,
        on_item_error: Literal["return"],
    ) -> list[R | Exception]: ...
    @overload
    async def starmap(
        self,
        rows: Iterable[tuple[Any, ...] | Mapping[str, Any]],
        *,
        concurrency: int = CONCURRENCY,
        lazy: Literal[True],
        progress: Report = False,
        on_item_error: Literal["return"],
    ) -> AsyncIterator[R | Exception]: ...
    @short_tracebacks
    async def starmap(
        self,
        rows: Iterable[Any],
        *,
        concurrency: int = CONCURRENCY,
        lazy: bool = False,
        progress: Report = False,
        on_item_error: OnItemError = "raise",
    ) -> Any:
        """`map` for several arguments: each row is a tuple of them, or a dict of keyword arguments."""
        return await _Options(progress=progress, on_item_error=on_item_error, concurrency=concurrency).results_async(
            self, rows, spread(rows), lazy=lazy
        )

    @short_tracebacks
    async def warm(
        self: AsyncMany[Concatenate[Item, Rest], R],
        items: Iterable[Item],
        *,
        concurrency: int = CONCURRENCY,
        progress: Report = False,
        on_item_error: OnItemError = "raise",
    ) -> int:
        """`map` that keeps no results: see that the cache holds them. Returns how many had to be computed here."""
        options = _Options(progress=progress, on_item_error=on_item_error, concurrency=concurrency)
        with options.tally(items) as tally:
            await options.sweep_async(self, single(items), tally, keeps=False)
            return tally.counts["computed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """How a sweep runs and what it tells."""

    progress: Report
    on_item_error: OnItemError
    executor: Executor | None = None
    concurrency: int = CONCURRENCY

    def __post_init__(self) -> None:
        if not isinstance(self.progress, bool) and not callable(self.progress):
            raise InvalidOptionError(
                f"progress={self.progress!r} is neither True nor False nor a function; give one that takes a Progress"
            )
        if self.on_item_error not in ("raise", "return"):
            raise InvalidOptionError(f"on_item_error={self.on_item_error!r} is unknown; give 'raise' or 'return'")
        if self.executor is not None and not callable(getattr(self.executor, "submit", None)):
            raise InvalidOptionError(
                f"executor= is a {type(self.executor).__name__}, which has no submit(); give a "
                "concurrent.futures.Executor, of Dask client.get_executor()"
            )
        given: object = self.concurrency
        if not isinstance(given, int) or isinstance(given, bool) or given < 1:
            raise InvalidOptionError(f"concurrency={self.concurrency!r} is no number of tasks; give one from 1 on")

    def tally(self, items: object, *, lazy: bool = False) -> Tally:
        """Counts, and shows if that is wanted."""
        report = self.progress if callable(self.progress) else Shown() if self.progress else None
        return Tally(report, total=len(items) if isinstance(items, Sized) else None, is_open=lazy)

    def sweep(self, function: Any, rows: Iterable[Row], tally: Tally, **more: Any) -> Sweep:
        """Make the calls of a plain function."""
        sweep = Sweep(function, rows, tally, returns_errors=self.on_item_error == "return", **more)
        if self.executor is None:
            sweep.run()
        else:
            run_in(self.executor, sweep)
        return sweep

    async def sweep_async(self, function: Any, rows: Iterable[Row], tally: Tally, **more: Any) -> Sweep:
        """Make the calls of an async function."""
        sweep = Sweep(function, rows, tally, returns_errors=self.on_item_error == "return", **more)
        await sweep.run_async(self.concurrency)
        return sweep

    def results(self, function: Any, items: object, rows: Iterator[Row], *, lazy: bool) -> list[Any] | Iterator[Any]:
        """All results, or an iterator over them."""
        if lazy:
            return self._lazily(function, items, rows)
        with self.tally(items) as tally:
            return self.sweep(function, rows, tally).results

    async def results_async(
        self, function: Any, items: object, rows: Iterator[Row], *, lazy: bool
    ) -> list[Any] | AsyncIterator[Any]:
        """All results, or an async iterator over them."""
        if lazy:
            return self._lazily_async(function, items, rows)
        with self.tally(items) as tally:
            return (await self.sweep_async(function, rows, tally)).results

    def _lazily(self, function: Any, items: object, rows: Iterator[Row]) -> Iterator[Any]:
        first, size = 0, SIZES[-1]
        try:
            with self.tally(items, lazy=True) as tally:
                while (sweep := self.sweep(function, islice(rows, size), tally, first=first)).results:
                    first, size = first + len(sweep.results), sweep.size
                    yield from _popped(sweep.results)
        except BaseException as error:
            shorten(error)
            raise

    async def _lazily_async(self, function: Any, items: object, rows: Iterator[Row]) -> AsyncIterator[Any]:
        first, size = 0, SIZES[-1]
        try:
            with self.tally(items, lazy=True) as tally:
                while (sweep := await self.sweep_async(function, islice(rows, size), tally, first=first)).results:
                    first, size = first + len(sweep.results), sweep.size
                    for result in _popped(sweep.results):
                        yield result
        except BaseException as error:
            shorten(error)
            raise


def _popped(results: list[Any]) -> Iterator[Any]:
    """The results, of which each is let go when it is given."""
    results.reverse()
    while results:
        yield results.pop()
