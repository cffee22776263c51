"""The steps of a call's story, and how they are done: in place by a plain function, awaited by an async one.

A story is a generator that yields steps and is sent their answers, so that it is told once for both.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynmemo.entries import Computed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dynmemo.leases import Flight

Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """A result that somebody else computed."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """The user's function raised."""

    error: BaseException


# An outcome instead of an exception, because a StopIteration of the user's function must not end the story.
Outcome = Computed | Found | Failed


@dataclass(frozen=True, slots=True)
class Blocking:
    """Wait for a store; answered with what `do` returns."""

    do: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for a flight of this process, at most so many seconds; answered with `Waited`."""

    flight: Flight[Any]
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Compute:
    """Run the user's function; answered with `Computed` or `Failed`."""


Step = Blocking | Sleep | Wait | Compute
Story = Generator[Step, Any, Outcome]


def compute() -> Story:
    """The whole story where there is no cache; a part of it where there is one."""
    outcome: Outcome = yield Compute()
    return outcome


def play(story: Story, function: Callable[[], Any]) -> Any:
    """Do the steps of a story one after the other; give or raise its outcome."""
    answer: object = None
    try:
        while True:
            try:
                step = story.send(answer)
            except StopIteration as end:
                outcome: Outcome = end.value
                break
            match step:
                case Compute():
                    answer = _compute(function)
                case Blocking():
                    answer = step.do()
                case Sleep():
                    time.sleep(step.seconds)
                case Wait():
                    answer = step.flight.wait(step.timeout)
    finally:
        story.close()
    return _given(outcome)


async def play_async(
    story: Story, function: Callable[[], Awaitable[Any]], run: Callable[[Callable[[], Any]], Awaitable[Any]]
) -> Any:
    """`play` for an async function; `run` does the blocking steps in a thread."""
    answer: object = None
    try:
        while True:
            try:
                step = story.send(answer)
            except StopIteration as end:
                outcome: Outcome = end.value
                break
            match step:
                case Compute():
                    answer = await _compute_async(function)
                case Blocking():
                    answer = await run(step.do)
                case Sleep():
                    await asyncio.sleep(step.seconds)
                case Wait():
                    answer = await step.flight.wait_async(step.timeout)
    finally:
        story.close()
    return _given(outcome)


def _compute(function: Callable[[], Any]) -> Outcome:
    started, clock = time.time(), time.perf_counter()
    try:
        value = function()
    except BaseException as error:  # noqa: BLE001 - raised again by `_given`
        return Failed(error)
    return Computed(value, started, time.perf_counter() - clock)


async def _compute_async(function: Callable[[], Awaitable[Any]]) -> Outcome:
    started, clock = time.time(), time.perf_counter()
    try:
        value = await function()
    except GeneratorExit:  # closed from outside: nothing may be awaited any more
        raise
    except BaseException as error:  # noqa: BLE001 - raised again by `_given`
        return Failed(error)
    return Computed(value, started, time.perf_counter() - clock)


def _given(outcome: Outcome) -> Any:
    if not isinstance(outcome, Failed):
        return outcome.value
    context = outcome.error.__context__
    try:
        raise outcome.error
    finally:
        outcome.error.__context__ = context  # `raise` put what the caller is handling in its place
