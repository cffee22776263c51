"""The public names: where they say they come from, and what they show of themselves."""

from __future__ import annotations

import inspect
import pickle
import pydoc
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import dynmemo
from dynmemo import dynamo_cached
from tests.test_imports import module_names

NAMES = [name for name in dynmemo.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_says_that_it_comes_from_the_package(name: str) -> None:
    assert getattr(dynmemo, name).__module__ == "dynmemo"


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_pickled_by_the_package_and_comes_back_the_same(name: str) -> None:
    public = getattr(dynmemo, name)
    stored = pickle.dumps(public)
    assert b"dynmemo." not in stored
    assert pickle.loads(stored) is public


@pytest.mark.parametrize("name", dynmemo.__all__)
def test_no_module_bears_a_public_name(name: str) -> None:
    assert find_spec(f"dynmemo.{name}") is None
    assert not inspect.ismodule(getattr(dynmemo, name))


def test_every_error_that_can_reach_a_user_is_public_and_in_the_reference() -> None:
    for name in module_names():
        import_module(f"dynmemo.{name}".rstrip("."))
    ours = {dynmemo.DynmemoError}
    while more := {kind for one in ours for kind in one.__subclasses__()} - ours:
        ours |= more
    names = {kind.__name__ for kind in ours} - {"CannotSerialize"}  # caught where it is raised
    assert names <= set(dynmemo.__all__)
    reference = (Path(__file__).parent.parent / "docs/reference/caches.md").read_text("utf-8")
    assert all(name in reference for name in names)


def test_the_reference_has_every_public_name() -> None:
    reference = (Path(__file__).parent.parent / "docs/reference/api.md").read_text("utf-8")
    assert set(re.findall(r"^\.\. auto\w+:: dynmemo\.(\w+)$", reference, re.MULTILINE)) == set(NAMES)


def test_public_signatures_use_public_types_only() -> None:
    assert {"Serializer", "Ingredient", "Argument", "Store"} <= set(dynmemo.__all__)


def test_the_decorator_shows_its_options_with_their_defaults_and_describes_each() -> None:
    parameters = inspect.signature(dynamo_cached).parameters
    options = {name: parameter for name, parameter in parameters.items() if name != "func"}
    assert all(option.kind is option.KEYWORD_ONLY for option in options.values())
    assert (options["ttl"].default, options["code"].default, options["single_flight"].default) == (None, "deep", True)
    assert "single_flight: 'bool' = True" in pydoc.plain(pydoc.render_doc(dynamo_cached))
    described = inspect.getdoc(dynamo_cached)
    assert described is not None
    assert all(f"\n    {name}: " in described for name in options)


def test_the_options_shown_are_those_that_cache_parameters_tells() -> None:
    options = [name for name in inspect.signature(dynamo_cached).parameters if name != "func"]
    assert list(dynamo_cached(lambda: None).cache_parameters()) == options
