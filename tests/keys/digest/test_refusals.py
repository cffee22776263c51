"""What has no content is refused, with the path to it and what to do; nothing of the content is told."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import itertools
import queue
import socket
import sqlite3
import sys
import tempfile
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from dynmemo.keys.digest import NoStableContent, digest, digest_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Job:
    def __init__(self, source: object) -> None:
        self.source = source


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None:
    pass


async def async_generator() -> Any:
    yield 1


def entered() -> object:
    manager = contextlib.contextmanager(generator)()
    manager.__enter__()
    return manager


def refusal(value: object) -> NoStableContent:
    with pytest.raises(NoStableContent) as caught:
        digest(value)
    return caught.value


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "generator": (generator, "a generator"),
    "generator expression": (lambda: (n for n in "abc"), "a generator"),
    "async generator": (async_generator, "an async generator"),
    "iterator": (lambda: iter([1]), "an iterator"),
    "iterator over a dict": (lambda: iter({}), "an iterator"),
    "map": (lambda: map(str, []), "an iterator"),
    "zip": (lambda: zip([], strict=True), "an iterator"),
    "filter": (lambda: filter(None, []), "an iterator"),
    "enumerate": (lambda: enumerate([]), "an iterator"),
    "reversed": (lambda: reversed([]), "an iterator"),
    "itertools": (lambda: itertools.count(), "an iterator"),
    "module": (lambda: sys, "a module"),
    "queue": (queue.Queue, "a queue"),
    "simple queue": (queue.SimpleQueue, "a queue"),
    "future": (concurrent.futures.Future, "a future"),
    "weak proxy": (lambda: weakref.proxy(Job), "a weak proxy"),
    "frame": (sys._getframe, "a frame"),
    "context manager": (entered, "a context manager that was entered"),
    "AWS client": (lambda: boto3.client("s3"), "a live connection"),
    "AWS resource": (lambda: boto3.resource("s3"), "a live connection"),
    "AWS session": (boto3.Session, "a live connection"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_content_is_refused(name: str) -> None:
    make, noun = REFUSED[name]
    value = make()
    refused = refusal({"job": [value]})
    assert refused.path == 'value["job"][0]'
    assert refused.reason.startswith(noun)
    assert "ame the parameter in ignore=, or register a digest." in refused.advice


def test_what_must_be_closed_is_refused(tmp_path: Path) -> None:
    with (
        (tmp_path / "file").open("w") as text,
        (tmp_path / "file").open("rb") as data,
        tempfile.NamedTemporaryFile() as temporary,
        socket.socket() as plug,
        sqlite3.connect(":memory:") as connection,
    ):
        reasons = [refusal(value).reason.partition(",")[0] for value in (text, data, temporary, plug, connection)]
    connection.close()
    assert reasons == ["an open file"] * 3 + ["a socket", "a live connection"]


def test_a_coroutine_is_refused_and_can_still_be_awaited() -> None:
    awaitable = coroutine()
    assert refusal(awaitable).advice.startswith("Await it and pass the result, ")
    asyncio.run(awaitable)


def test_a_generator_is_not_consumed() -> None:
    numbers = generator()
    refusal(numbers)
    assert list(numbers) == [1]


def test_the_message_is_a_sentence_for_people() -> None:
    with pytest.raises(NoStableContent) as caught:
        digest_arguments([("city", "SEA"), ("jobs", [Job(1), Job(2), Job(generator())])])
    assert str(caught.value) == (
        "`jobs[2].source` is a generator, which has no stable content. "
        "Pass a list, name the parameter in ignore=, or register a digest."
    )
    assert caught.value.type_name == "builtins.generator"


PATHS: dict[str, tuple[Callable[[Any], object], str]] = {
    "item": (lambda it: [1, (2, it)], "value[1][1]"),
    "item by name": (lambda it: {"db": it}, 'value["db"]'),
    "item by number": (lambda it: {7: it}, "value[7]"),
    "item by a secret": (lambda it: {"anna@example.com": it}, "value[key 0]"),
    "item by a long text": (lambda it: {"x" * 41: it}, "value[key 0]"),
    "item by a tuple": (lambda it: {1: 1, ("a", 1): it}, "value[key 1]"),
    "key": (lambda it: {(1, it): 1}, "value.keys()[0][1]"),
    "element": (lambda it: {(1, it)}, "value[element][1]"),
    "attribute": (lambda it: SimpleNamespace(a=1, conn=it), "value.conn"),
    "attribute of an object": (lambda it: Job({"a": it}), 'value.source["a"]'),
    "argument of a partial": (lambda it: functools.partial(len, it), "value.args[0]"),
    "many items": (lambda it: [*range(100), it], "value[100]"),
    "deep item": (
        lambda it: functools.reduce(lambda inner, _: [inner], range(99), it),
        "value" + "[0]" * 6 + "..." + "[0]" * 6,
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_the_path_leads_to_the_culprit(name: str) -> None:
    make, path = PATHS[name]
    assert refusal(make(generator())).path == path


def test_the_path_leads_through_values_that_contain_themselves() -> None:
    parent = Job(None)
    parent.source = [Job(parent), Job([parent, generator()])]
    assert refusal({"a": parent}).path == 'value["a"].source[1].source[1]'


def test_what_is_nested_too_deep_is_refused() -> None:
    value: object = 1
    for _ in range(100_100):
        value = [value]
    assert refusal(value).reason == "nested more than 100,000 levels deep"


def test_a_refusal_can_be_pickled_for_the_parent_process() -> None:
    import pickle

    refused = refusal([generator()])
    assert str(pickle.loads(pickle.dumps(refused.__context__))) == str(refused.__context__.at("value"))  # type: ignore[union-attr]
    copy = pickle.loads(pickle.dumps(refused))
    assert (str(copy), copy.path, copy.advice) == (str(refused), refused.path, refused.advice)
