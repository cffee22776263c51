"""A result that has no stored form is refused with its part, its type, and what to return instead."""

from __future__ import annotations

import asyncio
import io
import socket
import sqlite3
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.codec import CannotSerialize, Codec
from tests.codec.helpers import round_trip, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


def numbers() -> Iterator[int]:
    yield 1


async def number() -> int:
    return 1


async def async_numbers() -> AsyncIterator[int]:
    yield 1


class Model:
    def __init__(self) -> None:
        self.fitted = {"parameters": [1, threading.Lock()]}


class Slotted:
    __slots__ = ("empty", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Node:
    def __init__(self) -> None:
        self.itself = self
        self.source = numbers()


class Hostile:
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("hunter2")

    def __reduce__(self) -> str:
        raise RuntimeError("hunter2")


def refusal(value: object) -> str:
    with pytest.raises(CannotSerialize) as raised:
        write(Codec(), value)
    return str(raised.value)


def with_lock() -> Callable[[], object]:
    lock = threading.Lock()
    return lambda: lock


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (numbers(), "the result is a generator (generator). Return a list of what it yields"),
        ({"rows": numbers()}, "`result['rows']` is a generator (generator). Return a list of what it yields"),
        ([async_numbers()], "`result[0]` is a generator (async_generator). Return a list of what it yields"),
        (Model(), "`result.fitted['parameters'][1]` is a lock (_thread.lock). Return the data without it"),
        (Slotted(), "`result.lock` is a lock (_thread.lock). Return the data without it"),
        (Node(), "`result.source` is a generator (generator)"),
        ([threading.Condition()], "is a lock (_thread.RLock)"),
        ((1, memoryview(b"hunter2")), "`result[1]` is a view of memory (memoryview). Return bytes"),
        (with_lock(), "`result.<variable lock>` is a lock (_thread.lock)"),
        ({"key of hunter2": numbers()}, "`result[...]` is a generator"),
        ({3: numbers()}, "`result[...]` is a generator"),
        ({"a": {numbers()}}, "`result['a']{...}` is a generator"),
        (Hostile(), "(tests.codec.test_refusal.Hostile)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_refusal_names_part_type_and_way_out(value: object, text: str) -> None:
    said = refusal(value)
    assert text in said
    assert "hunter2" not in said


def test_a_part_at_the_end_of_a_large_result_is_found() -> None:
    rows = [[number] for number in range(200_000)]
    assert "`result[200000]` is a generator" in refusal([*rows, numbers()])
    assert "a part of the result (list) is a generator" in refusal([*rows, [numbers()]])


def test_open_files_are_refused_though_cloudpickle_would_copy_them(tmp_path: Path) -> None:
    path = tmp_path / "hunter2"
    path.write_text("hunter2")
    with path.open() as text, path.open("rb") as binary, tempfile.TemporaryFile() as temporary:
        for file in (text, binary, temporary):
            said = refusal({"source": file})
            assert "`result['source']` is an open file (_io." in said
            assert "Return its content or its path" in said
            assert "hunter2" not in said


def test_live_connections_are_refused() -> None:
    connection = sqlite3.connect(":memory:")
    with socket.socket() as plug:
        assert "is a live connection (sqlite3.Connection). Return the data that was read" in refusal(connection)
        assert "`result[0]` is a live connection (socket.socket)" in refusal([plug])
    connection.close()


def test_coroutines_and_futures_are_refused() -> None:
    coroutine = number()
    assert refusal(coroutine) == "the result is a coroutine (coroutine). Await it and return its result"
    coroutine.close()
    loop = asyncio.new_event_loop()
    assert "is a coroutine (_asyncio.Future). Await it" in refusal({"a": loop.create_future()})
    loop.close()


def test_too_deep_a_nesting_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    try:
        assert "nested too deeply" in refusal(deep)
        with pytest.raises(CannotSerialize, match="nested too deeply"):
            write(Codec("json"), deep)
    finally:
        while deep:  # taken apart by hand: freeing it at once would exhaust the C stack on some versions
            deep = deep.pop()


def test_running_out_of_memory_while_pickling_is_a_refusal() -> None:
    class Huge:
        def __reduce__(self) -> str:
            raise MemoryError

    assert "not enough memory" in refusal(Huge())


def test_streams_in_memory_and_iterators_that_pickle_are_stored() -> None:
    assert round_trip(Codec(), io.BytesIO(b"abc")).read() == b"abc"
    assert list(round_trip(Codec(), iter([1, 2]))) == [1, 2]
