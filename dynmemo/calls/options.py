"""The options of `dynamo_cached`, checked at decoration."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from dynmemo.cache import Cache
from dynmemo.errors import InvalidOptionError
from dynmemo.expiry import DURATIONS, Lifetime, Ttl, parse_duration, parse_lasting, parse_wait

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dynmemo.codec import Serializer
    from dynmemo.expiry import Duration

TtlOption = Ttl | Callable[[Any], Ttl | None]
OnError = Literal["compute", "raise"]
Code = Literal["deep", "own", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was given to `dynamo_cached`; see there for the meanings."""

    ttl: TtlOption | None = None
    sliding: Duration | None = None
    cache: Cache | str | None = None
    name: str | None = None
    version: str | int | None = None
    code: Code = "deep"
    depends_on: Sequence[str] = ()
    ignore: Collection[str] = ()
    ignore_globals: Collection[str] = ()
    key: Callable[..., object] | None = None
    serializer: str | Serializer = "pickle"
    cache_if: Callable[[Any], object] | None = None
    single_flight: bool = True
    wait_timeout: Duration | None = None
    stale_if_error: Duration | None = None
    refresh_ahead: float | None = None
    on_error: OnError = "compute"

    def checked_cache(self) -> Cache | None:
        """The cache given, None for the default one."""
        if self.cache is None or isinstance(self.cache, Cache):
            return self.cache
        return Cache.from_url(self.cache)

    def check(self) -> None:
        """Raise `InvalidOptionError` for what is wrong whatever the function is."""
        _check_callable("key", self.key)
        _check_callable("cache_if", self.cache_if)
        if self.on_error not in ("compute", "raise"):
            raise InvalidOptionError(f"on_error={self.on_error!r} is unknown; give 'compute' or 'raise'")
        _check_name(self.name)
        _check_single_flight(self.single_flight)
        _check_part(self.refresh_ahead)
        if self.wait_timeout is not None:
            parse_wait(self.wait_timeout, "wait_timeout")
        now = time.time()
        if self.stale_if_error is not None:
            parse_lasting(self.stale_if_error, "stale_if_error", now)
        if _is_function_of_result(self.ttl):
            Lifetime.parse(None, self.sliding, now)
        else:
            Lifetime.parse(self.ttl, self.sliding, now)  # type: ignore[arg-type]  # a callable was excluded

    def packages(self) -> tuple[str, ...]:
        """The names in `depends_on`, which may be one text."""
        given: object = self.depends_on
        names = (given,) if isinstance(given, str) else given
        if not isinstance(names, Iterable):
            raise InvalidOptionError(f"depends_on={given!r} is no list of packages; give their names")
        return tuple(names)

    def stale_for(self) -> int | None:
        """Whole seconds that an expired value is kept for the case that computing fails."""
        return None if self.stale_if_error is None else math.ceil(parse_duration(self.stale_if_error, "stale_if_error"))

    def fixed_lifetime(self, cache: Cache) -> Lifetime | None:
        """The expiration options where they are the same for every result; None where `lifetime_of` has to say."""
        if _is_function_of_result(self.ttl):
            return None
        return _unless_past(self.ttl, self.sliding, cache, cache.clock())  # type: ignore[arg-type]

    def lifetime_of(self, cache: Cache, result: object) -> Lifetime | None:
        """The expiration options for `result`; None when its time has run out already.

        Raises:
            InvalidOptionError: a callable `ttl` returned what is not a time.
        """
        now = cache.clock()
        if not _is_function_of_result(self.ttl):
            return _unless_past(self.ttl, self.sliding, cache, now)  # type: ignore[arg-type]
        given = self.ttl(result)  # type: ignore[operator, misc]  # it is callable
        if isinstance(given, timedelta):
            given = given.total_seconds()
        if isinstance(given, (int, float)) and not isinstance(given, bool) and given <= 0:
            return None
        try:
            return _unless_past(given, self.sliding, cache, now)
        except InvalidOptionError:
            # What it returned may be the result, which no log shows.
            raise InvalidOptionError(
                f"the function given as ttl= returned a {type(given).__name__} that is no lifetime; return "
                f"{DURATIONS}, an aware datetime, or None, from one second to the year 9999"
            ) from None


def _unless_past(ttl: Ttl | None, sliding: Duration | None, cache: Cache, now: float) -> Lifetime | None:
    if isinstance(ttl, datetime) and ttl.tzinfo is not None and ttl.timestamp() < now:
        return None
    return cache.lifetime(ttl, sliding, now)


def _is_function_of_result(ttl: object) -> bool:
    return callable(ttl)


def _check_callable(option: str, value: object) -> None:
    if value is not None and not callable(value):
        raise InvalidOptionError(f"{option}={value!r} is not callable; give a function, or None")


def _check_single_flight(value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidOptionError(f"single_flight={value!r} is neither True nor False")


def _check_part(part: object) -> None:
    if part is None:
        return
    if isinstance(part, bool) or not isinstance(part, (int, float)) or not 0 < part < 1:
        raise InvalidOptionError(
            f"refresh_ahead={part!r} is no part of the life; give a number between 0 and 1, or None"
        )


def _check_name(name: object) -> None:
    if name is None:
        return
    if not isinstance(name, str) or not name:
        raise InvalidOptionError(f"name={name!r} is no name; give a text of at least one character")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidOptionError(f"name={name!r} has half a surrogate pair in it, which no store takes") from None


def check_function(function: object) -> None:
    """Refuse what cannot be decorated, with the likely cause."""
    if isinstance(function, (classmethod, staticmethod)):
        return
    if inspect.isclass(function):
        raise InvalidOptionError(
            f"dynamo_cached decorates functions and methods, not the class {function.__qualname__}; "
            "decorate its methods, or a function that makes instances"
        )
    if not callable(function):
        raise InvalidOptionError(
            f"dynamo_cached decorates a function, not {function!r}; "
            "options are given by name: @dynamo_cached(ttl='24h')"
        )
