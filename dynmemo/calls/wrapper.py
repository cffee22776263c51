"""What stands in the place of a decorated function: the only place that knows wrapt."""

from __future__ import annotations

import asyncio
import copy
import types
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, SupportsIndex, TypeVar, cast, overload

import wrapt

from dynmemo import views
from dynmemo.calls.many import AsyncMany, SyncMany
from dynmemo.calls.memo import Computation, value_of
from dynmemo.calls.miss import Compute
from dynmemo.calls.travel import Traveller, reduce_bound, reduce_function
from dynmemo.counters import counts, in_short
from dynmemo.expiry import parse_duration
from dynmemo.tracebacks import short_tracebacks, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.calls import TtlOption
    from dynmemo.calls.memo import Memo
    from dynmemo.counters import CacheInfo
    from dynmemo.entries import Entry
    from dynmemo.explain import Explanation

if TYPE_CHECKING:
    _Function = wrapt.FunctionWrapper[..., Any]
    _BoundFunction = wrapt.BoundFunctionWrapper[..., Any]
else:  # older releases of wrapt cannot be subscripted
    _Function = wrapt.FunctionWrapper
    _BoundFunction = wrapt.BoundFunctionWrapper

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
Rest = ParamSpec("Rest")


class _Annotations(dict[str, Any]):
    """Those of a class, which has none, and of an instance those of the function.

    Up to Python 3.13 who asks a class without this for its annotations gives it an empty dict of its own, which hides
    the function's.
    """

    def __get__(self, instance: Any, owner: type) -> dict[str, Any]:
        found: dict[str, Any] = self if instance is None else instance.__wrapped__.__annotations__
        return found

    def __set__(self, instance: Any, annotations: dict[str, Any]) -> None:
        instance.__wrapped__.__annotations__ = annotations


class _Plain(Generic[P, R]):
    """What both kinds have and never waits for a store."""

    _is_bound = False

    if TYPE_CHECKING:
        # Not annotated, or `f.__annotations__` would be those of this class and not those of the function.
        _self_memo = cast("Memo", None)

        @property
        def __wrapped__(self) -> Callable[P, R]: ...

        def _self_with_owner(self, args: tuple[Any, ...]) -> tuple[Any, ...]: ...

    def __dir__(self) -> list[str]:
        """The function's own names and those of this class, for completion by TAB; wrapt gives the function's only."""
        return sorted(
            {"__wrapped__", *dir(self.__wrapped__), *(name for name in dir(type(self)) if not name.startswith("_"))}
        )

    def __repr__(self) -> str:
        memo = self._self_memo
        return f"<dynmemo.CachedFunction {memo.name} in {memo.place()}: {in_short(memo.stats.info())}>"

    def _repr_html_(self) -> str:
        memo = self._self_memo
        info = memo.stats.info()
        lifetime = [("ttl", _lasting(memo.options.ttl)), ("sliding", _lasting(memo.options.sliding))]
        return views.page(memo.name, in_short(info), views.facts([("cache", memo.place()), *lifetime, *counts(info)]))

    __str__ = __repr__  # wrapt's is that of the function

    def __dynmemo_digest__(self) -> object:
        """In arguments and other data it counts as what it decorates."""
        return self.__wrapped__

    def cache_info(self) -> CacheInfo:
        """Counts of this process since it started or since the last `cache_clear`, as a `CacheInfo`."""
        return self._self_memo.stats.info()

    def cache_parameters(self) -> dict[str, Any]:
        """The options given to `dynamo_cached`, defaults filled in."""
        return self._self_memo.parameters()

    @short_tracebacks
    def cache_key(self, /, *args: P.args, **kwargs: P.kwargs) -> str:
        """The key of this call, as `Cache.get` takes it; the partition key is that with ``dc:`` before it.

        Raises:
            UnhashableArgumentError: an argument has no stable content.
        """
        return self._self_memo.key(self._self_with_owner(args), kwargs)


def _lasting(given: TtlOption | None) -> str:
    """A `ttl` or `sliding` in words."""
    if given is None or isinstance(given, (str, datetime)):
        return str(given or "")
    return "as the result says" if callable(given) else views.duration(parse_duration(given, "ttl"))


class _Sync(_Plain[P, R], SyncMany[P, R]):
    """The methods of a decorated plain function."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result: stored, or computed and stored."""
        memo = self._self_memo
        given = self._self_with_owner(args) if type(self)._is_bound else args  # wrapt takes long to look up the method
        # The frames of `Memo.play` and `short_tracebacks` would be more of them for each level of a recursive function.
        try:
            hit, story = memo.call(given, kwargs)
            if hit is not None or story is None:
                if story is not None:
                    memo.begin([(story, given, kwargs)])
                return hit.value  # type: ignore[union-attr, return-value]  # one of them is there
            try:
                outcome = memo.go_on(story)
                while isinstance(outcome, Compute):
                    with Computation(memo, given, kwargs) as computation:
                        computation.value = memo.function(*given, **kwargs)
                    outcome = memo.go_on(story, computation.outcome)
                return value_of(outcome)  # type: ignore[no-any-return]
            finally:
                story.close()
        except BaseException as error:
            shorten(error)
            raise

    @short_tracebacks
    def cache_clear(self) -> None:
        """Forget all calls of this function, in every process; counters begin at zero again.

        Other processes may serve what they know for at most five seconds more.

        Raises:
            StoreUnavailableError, InvalidTableError: the store did not do it, or only its answer was lost.
        """
        self._self_memo.clear()

    @short_tracebacks
    def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget one call, in every process. Raises as `cache_clear` and `cache_key`."""
        self._self_memo.invalidate(self._self_with_owner(args), kwargs)

    @short_tracebacks
    def recompute(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute, store and return, whatever is stored now. Raises what the function raises; then nothing changes."""
        memo, given = self._self_memo, self._self_with_owner(args)
        result: R = memo.play(memo.story_anew(given, kwargs), given, kwargs)
        return result

    @short_tracebacks
    def entry(self, /, *args: P.args, **kwargs: P.kwargs) -> Entry[R] | None:
        """What is stored for this call, None if nothing live is; never computes. Raises as `invalidate`."""
        return self._self_memo.entry(self._self_with_owner(args), kwargs)

    @short_tracebacks
    def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What the key of this call is made of, what is stored for it, and why it is a miss if it is one.

        Computes and writes nothing; a broken store is part of the answer. What a miss is compared with are recent calls
        of this process and, in a local store, the entries of this function.

        Raises:
            UnhashableArgumentError: an argument has no stable content, so there is no key.
        """
        return self._self_memo.explain(self._self_with_owner(args), kwargs)


class _Async(_Plain[P, R], AsyncMany[P, R]):
    """The methods of a decorated ``async def`` function; those that wait for a store are coroutines."""

    @short_tracebacks
    async def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The result: stored, or computed and stored."""
        result: R = await self._self_memo.call_async(self._self_with_owner(args), kwargs)
        return result

    @short_tracebacks
    async def cache_clear(self) -> None:
        """Forget all calls of this function, in every process, as that of a plain function."""
        memo = self._self_memo
        await memo.run(memo.clear)

    @short_tracebacks
    async def invalidate(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forget one call."""
        memo = self._self_memo
        await memo.run(memo.invalidate, self._self_with_owner(args), kwargs)

    @short_tracebacks
    async def recompute(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Compute, store and return, whatever is stored now. Raises what the function raises; then nothing changes."""
        memo, given = self._self_memo, self._self_with_owner(args)
        result: R = await memo.play_async(memo.story_anew(given, kwargs), given, kwargs)
        return result

    @short_tracebacks
    async def entry(self, /, *args: P.args, **kwargs: P.kwargs) -> Entry[R] | None:
        """What is stored for this call, None if nothing live is; never computes."""
        memo = self._self_memo
        found: Entry[R] | None = await memo.run(memo.entry, self._self_with_owner(args), kwargs)
        return found

    @short_tracebacks
    async def explain(self, /, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What the key of this call is made of and what is stored for it, as that of a plain function."""
        # Not in the cache's own threads: there may be no cache.
        return await asyncio.to_thread(self._self_memo.explain, self._self_with_owner(args), kwargs)


def _unused(wrapped: object, instance: object, args: object, kwargs: object) -> None:
    raise AssertionError("calls go through __call__ of the wrapper")  # pragma: no cover


class _Wrapper(Traveller, _Function):
    """Stands in the place of the function, and binds like it."""

    def __init__(self, function: Callable[..., Any], memo: Memo) -> None:
        super().__init__(function, _unused)
        self._self_memo = memo

    def _self_with_owner(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of the underlying function."""
        return args

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return reduce_function(self)

    def __copy__(self) -> _Wrapper:
        return self  # as functions are copied

    def __deepcopy__(self, memo: dict[int, Any]) -> _Wrapper:
        return self

    # Its own class, not the function's that wrapt would answer: cloudpickle takes whatever is an instance of
    # FunctionType for a plain function, and would ship it undecorated.
    __class__ = property(type)


class BoundCachedFunction(_BoundFunction):
    """A `_Wrapper` got from an instance or class; wrapt looks up what it does not have, `_self_memo`, there."""

    def _self_with_owner(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of the underlying function: of a bound method, the instance or class comes first."""
        bound = self.__wrapped__
        return (bound.__self__, *args) if isinstance(bound, types.MethodType) else args

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return reduce_bound(self)

    def __copy__(self) -> BoundCachedFunction:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        owner = getattr(self.__wrapped__, "__self__", None)
        return self if owner is None else getattr(copy.deepcopy(owner, memo), self.__name__)

    __class__ = property(type)


class _BoundSync(_Sync[P, R], BoundCachedFunction):
    __annotations__ = _Annotations()
    _is_bound = True


class _BoundAsync(_Async[P, R], BoundCachedFunction):
    __annotations__ = _Annotations()


class CachedFunction(_Sync[P, R], _Wrapper):
    """A plain function decorated with `dynamo_cached`: it is called, bound and inspected like the function itself.

    The methods below take the arguments of a call and are about that call; `map` and its like are about many.

    Example:
        >>> forecast("SEA") == forecast(city="SEA", horizon=14)
        True
        >>> forecast.cache_info().hits, forecast.cache_info().computed
        (1, 1)
        >>> forecast.entry("SEA").size < 1_000  # bytes
        True
        >>> forecast.explain("SEA", 7).differences
        ('argument `horizon` differs',)
        >>> forecast.invalidate("SEA")
        >>> forecast.entry("SEA") is None
        True
    """

    __annotations__ = _Annotations()
    __bound_function_wrapper__ = _BoundSync

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: type | None = None, /) -> CachedFunction[P, R]: ...
        @overload
        def __get__(
            self: CachedFunction[Concatenate[S, Rest], R], instance: S, owner: type | None = None, /
        ) -> CachedFunction[Rest, R]: ...
        def __get__(self, instance: Any, owner: type | None = None, /) -> Any: ...


class AsyncCachedFunction(_Async[P, R], _Wrapper):
    """An ``async def`` function decorated with `dynamo_cached`: as `CachedFunction`, with coroutines.

    `cache_info`, `cache_parameters` and `cache_key` stay plain; calls and all other methods are awaited.

    Example:
        >>> import asyncio
        >>> @dynamo_cached
        ... async def slow(x: int) -> int:
        ...     return x + 1
        >>> asyncio.run(slow(1)), asyncio.run(slow.map([1, 2]))
        (2, [2, 3])
    """

    __annotations__ = _Annotations()
    __bound_function_wrapper__ = _BoundAsync

    if TYPE_CHECKING:

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: type | None = None, /) -> AsyncCachedFunction[P, R]: ...
        @overload
        def __get__(
            self: AsyncCachedFunction[Concatenate[S, Rest], R], instance: S, owner: type | None = None, /
        ) -> AsyncCachedFunction[Rest, R]: ...
        def __get__(self, instance: Any, owner: type | None = None, /) -> Any: ...


for _public in (CachedFunction, AsyncCachedFunction):
    _public.__module__ = "dynmemo"  # as for all public names; see there
