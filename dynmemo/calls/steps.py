"""The steps of a call: what its story yields, and what the story is sent in answer.

A story is a generator, so that it is told once for plain and for async functions. `Memo.play` does its steps in
place, `Memo.play_async` awaits them. What goes wrong in a step is raised where the story has yielded it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dynmemo.codec import Decoded
from dynmemo.entries import Computed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.failures import Breaker
    from dynmemo.leases import Flight

T = TypeVar("T")
Arguments = tuple[Any, ...]
Keywords = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The user's function raised."""

    error: BaseException


# An outcome instead of an exception, because a StopIteration of the user's function must not end the story.
Outcome = Computed | Decoded | Failed


class Work:
    """Call `do`, which may take long; answered with what it returns."""

    __slots__ = ("args", "do", "kwargs")

    def __init__(self, do: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.do = do
        self.args = args
        self.kwargs = kwargs


class Ask(Work):
    """Ask the store for what the call needs. Raises `OutOfOrder` when the store fails and the call goes on without it.

    Args:
        circuit: sees how it ended; while that is open nothing is asked.
    """

    __slots__ = ("circuit",)

    def __init__(self, circuit: Breaker, do: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.circuit = circuit
        self.do = do
        self.args = args
        self.kwargs = kwargs


class Try(Work):
    """Ask the store for what the result does not depend on. Raises nothing; answered with None when it was not done."""

    __slots__ = ("circuit",)
    __init__ = Ask.__init__


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


Step = Work | Sleep | Wait | Compute
Steps = Generator[Step, Any, T]
Story = Steps[Outcome]


def compute() -> Story:
    """The story of a call that goes without the cache."""
    outcome: Outcome = yield Compute()
    return outcome
