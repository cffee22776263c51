"""What a call leaves as it would be without the decorator: the context of an exception, a coroutine that is closed."""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING

import pytest

from dynmemo import dynamo_cached

if TYPE_CHECKING:
    from collections.abc import Generator

    from dynmemo import Cache


def _fail() -> None:
    try:
        raise KeyError("first")
    except KeyError:
        raise ValueError("then")  # noqa: B904 - an implicit context is what is looked at


def test_an_exception_keeps_the_one_during_whose_handling_it_was_raised(cache: Cache) -> None:
    fail = dynamo_cached(cache=cache)(_fail)

    def handle() -> None:
        try:
            raise TypeError("of the caller")
        except TypeError:
            fail()

    with pytest.raises(ValueError, match="then") as raised:
        handle()
    assert isinstance(raised.value.__context__, KeyError)


def test_an_exception_of_an_async_function_has_no_context_of_ours(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    async def fail() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as raised:
        asyncio.run(fail())
    assert raised.value.__context__ is None


def test_a_coroutine_can_be_closed_while_it_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNMEMO_URL", "no cache")  # so that the first thing it waits for is the function
    closed = []

    @types.coroutine
    def pause() -> Generator[None, None, None]:
        yield

    @dynamo_cached
    async def wait() -> None:
        try:
            await pause()
        finally:
            closed.append(True)

    coroutine = wait()
    coroutine.send(None)
    coroutine.close()
    assert closed == [True]
