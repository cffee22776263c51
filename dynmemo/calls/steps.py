"""The steps of a call: what its story yields, and what the story is sent in answer.

A story is a generator, so that it is told once for plain and for async functions. `Memo.go_on` does its steps in
place, `Memo.play_async` awaits them. What goes wrong in a step is raised where the story has yielded it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo.codec import Decoded
from dynmemo.entries import Computed

if TYPE_CHECKING:
    from dynmemo.leases import Flight

T = TypeVar("T")
Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]

Work = partial
"""Call this, which may take long; answered with what it returns."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The user's function raised."""

    error: BaseException


# An outcome instead of an exception, because a StopIteration of the user's function must not end the story.
Outcome = Computed | Decoded | Failed


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


Step = Work[Any] | Sleep | Wait | Compute
Steps = Generator[Step, Any, T]
Story = Steps[Outcome]


def compute() -> Story:
    """The story of a call that goes without the cache."""
    outcome: Outcome = yield Compute()
    return outcome
