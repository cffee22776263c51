"""What all adapters have in common: sealed objects in a region."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo import InvalidOptionError
from dynmemo._process import Once
from dynmemo.integrations import sealed
from dynmemo.integrations.sealed import MISSING, Sealed
from dynmemo.item import Item
from dynmemo.testing import Clock
from dynmemo.testing.together import at_once
from tests.pythons import printed

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo import Cache

SECRET, OTHER_SECRET = "s" * 32, "t" * 32


@pytest.fixture
def clock() -> Clock:
    return Clock.present()


@pytest.fixture
def make(url: str, clock: Clock) -> Callable[..., Sealed]:
    """Makes objects in one region, as another process would."""

    def make(**options: Any) -> Sealed:
        made = Sealed(url, "things", **{"secret": SECRET, **options})
        made.cache.clock = clock
        return made

    return make


@pytest.fixture
def things(make: Callable[..., Sealed]) -> Sealed:
    return make()


class Witness:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_objects_come_back_also_where_they_are_nothing(things: Sealed) -> None:
    assert things.get("a", MISSING) is MISSING
    things.set("a", None, 60)
    things.set_many({"b": {"x": (1, b"2")}, "c": 0}, 60)
    assert things.get("a", MISSING) is None
    assert things.get_many(["a", "b", "c", "d"]) == {"a": None, "b": {"x": (1, b"2")}, "c": 0}
    assert things.peek("a", MISSING) == (None, 60)
    assert things.peek("d", MISSING) == (MISSING, None)
    info = things.info()
    assert (info.hits, info.misses, info.unreadable) == (5, 3, 0)


def test_an_idle_window_starts_anew_with_each_read_until_the_hard_limit(
    make: Callable[..., Sealed], clock: Clock
) -> None:
    things = make(sliding="90s")
    things.set("a", 1, 200)
    for _ in range(2):
        clock.now += 89
        assert things.get("a") == 1
    clock.now += 23
    assert things.get("a") is None, "the hard limit"
    things.set("a", 1, None)
    clock.now += 91
    assert things.get("a") is None


def test_new_dates_reach_beyond_the_first_ones(things: Sealed, clock: Clock) -> None:
    things.set("a", 1, 10)
    assert things.touch("a", 100)
    clock.now += 99
    assert things.get("a") == 1
    assert things.touch("a", None)
    clock.now += 1e9
    assert things.get("a") == 1
    assert not things.touch("b", 100)


def test_a_time_that_is_over_leaves_nothing(things: Sealed) -> None:
    for ttl in (0, -5):
        things.set_many({"a": 1, "b": 1, "c": 1}, 60)
        things.set("a", 2, ttl)
        things.set_many({"b": 2}, ttl)
        assert things.touch("c", ttl)
        assert not things.touch("c", ttl)
        assert things.get_many("abc") == {}
        assert things.add("a", 1, ttl)
        assert things.get_many("a") == {}


def test_a_fraction_of_a_second_counts_as_one(things: Sealed) -> None:
    things.set("a", 1, 0.2)
    assert things.peek("a") == (1, 1.0)


def test_no_end_means_none_whatever_the_caches_default_is(make: Callable[..., Sealed], clock: Clock) -> None:
    things = make(default_ttl="1h")
    things.set("a", 1, None)
    things.add("b", 1, None)
    clock.now += 1e8
    assert things.get_many("ab") == {"a": 1, "b": 1}


def test_what_another_secret_has_signed_is_absent_and_is_never_unpickled(
    make: Callable[..., Sealed], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    witness = tmp_path / "witness"
    make(secret=OTHER_SECRET).set_many({"session-1": Witness(witness), "session-2": Witness(witness)}, 60)
    things = make()
    with caplog.at_level(logging.WARNING, "dynmemo"):
        assert things.get("session-1") is None
        assert things.get_many(["session-1", "session-2"]) == {}
        assert things.peek("session-1", MISSING) == (MISSING, None)
        with pytest.raises(KeyError):
            things.change("session-1", lambda value: value)
        assert things.add("session-1", "fresh", 60)
    assert not witness.exists()
    assert things.get("session-1") == "fresh"
    assert things.info().unreadable == 6
    (line,) = caplog.messages
    assert "things" in line
    assert "secret" in line
    assert "session-1" not in line, "whoever reads the log could use the session"
    make(secret=OTHER_SECRET).get("session-2")
    assert witness.exists(), "the witness would have told"


def test_what_lies_under_another_key_is_absent(make: Callable[..., Sealed]) -> None:
    things = make()
    things.set("mine", {"is_admin": False}, 60)
    things.set("theirs", {"is_admin": True}, 60)
    store = things.cache.store
    row = store.read("things::theirs")
    assert row is not None
    store.write("things::mine", Item(row.value, fn=row.fn, gen=row.gen))
    assert things.get("mine") is None
    assert things.info().unreadable == 1


@pytest.mark.parametrize(
    ("serializer", "harm"), [("pickle", "run code in this program"), ("bytes", "make up what this program finds")]
)
def test_without_a_secret_one_line_says_who_could_do_what(
    serializer: str,
    harm: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sealed, "_once", Once())
    path = tmp_path / "cache.db"
    with caplog.at_level(logging.WARNING, "dynmemo"):
        for _ in range(2):
            Sealed(f"sqlite:///{path}", "things", serializer=serializer)
        Sealed(f"sqlite:///{path}", "others", serializer=serializer, secret=SECRET)
    (line,) = caplog.messages
    assert harm in line
    assert str(path) in line


def test_what_cannot_be_pickled_says_so_and_stores_nothing(things: Sealed, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        for store in (
            lambda: things.set("a", {"file": file}, 60),
            lambda: things.set_many({"b": 1, "a": file}, 60),
            lambda: things.add("a", file, 60),
        ):
            with pytest.raises(pickle.PicklingError, match="an open file"):
                store()
    assert things.get_many("ab") == {}


def test_of_all_that_add_at_once_one_is_told_that_it_did(things: Sealed) -> None:
    things.set("a", "gone", 60)
    things.region.remove("a")
    told = at_once(8, lambda n: things.add("a", n, 60))
    assert sum(told) == 1
    assert things.get("a") == told.index(True)


def test_no_change_of_many_is_lost_and_the_dates_stay(things: Sealed, clock: Clock) -> None:
    things.set("a", 0, 60)
    clock.now += 10
    assert sorted(at_once(8, lambda _: things.change("a", lambda value: value + 1))) == list(range(1, 9))
    assert things.peek("a") == (8, 50)


def test_the_default_cache_is_the_one_where_none_is_given(
    url: str, things: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    things.set("a", 1, 60)
    monkeypatch.setenv("DYNMEMO_URL", url)
    monkeypatch.setenv("DYNMEMO_SECRET", SECRET)
    assert Sealed(None, "things").get("a") == 1


def test_options_are_those_of_a_cache_that_is_yet_to_be_made(cache: Cache) -> None:
    assert Sealed(cache, "things").cache.store.location == cache.store.location
    with pytest.raises(InvalidOptionError, match="secret: give these to the cache itself"):
        Sealed(cache, "things", secret=SECRET)
    with pytest.raises(InvalidOptionError, match="'sliding_window' is no option of a sqlite cache"):
        Sealed("sqlite:///cache.db", "things", sliding_window=90)
    with pytest.raises(InvalidOptionError, match="sliding='soon'"):
        Sealed("sqlite:///cache.db", "things", sliding="soon")


def test_requests_are_counted_for_each_alone(make: Callable[..., Sealed], kind: str) -> None:
    things, others = make(), make()
    things.set("a", 1, 60)
    before = things.info()
    assert others.get("a") == 1
    assert things.info() == before
    things.get("a")
    info = things.info()
    assert info.requests - before.requests == 1
    assert info.read_units - before.read_units == (0 if kind == "sqlite" else 1)


MISSING_FRAMEWORKS = """
import importlib, sys
for module, framework in {"django": "django", "cachelib": "cachelib", "litestar": "litestar",
                          "starsessions": "starsessions", "key_value": "key_value"}.items():
    sys.modules[framework] = None
    try:
        importlib.import_module(f"dynmemo.integrations.{module}")
    except ImportError as error:
        print(error)
"""


def test_a_missing_framework_says_which_extra_to_install() -> None:
    lines = printed("-c", MISSING_FRAMEWORKS).splitlines()
    extras = ["django", "cachelib", "litestar", "starsessions", "key-value"]
    assert [line.rpartition(": ")[2] for line in lines] == [f'pip install "dynmemo[{extra}]"' for extra in extras]
