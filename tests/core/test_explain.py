"""`explain()`: what a key is made of, what the cache holds for it, and in what a missing call differs from others."""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
import textwrap
import types
from typing import TYPE_CHECKING, Any

import pytest

import dynmemo
from dynmemo import Cache, StoreUnavailableError, UnhashableArgumentError, dynamo_cached
from dynmemo.explain.differences import MOST_CALLS, MOST_CODES, History, history
from dynmemo.item import Item
from dynmemo.leases import Leases, Spot
from dynmemo.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dynmemo import Explanation
    from dynmemo.keys.identity import Ingredient
    from dynmemo.testing import Clock


class KeepsRows(SqliteStore):
    """A store that, as DynamoDB, deletes nothing when a function is cleared."""

    def remove_all(self, prefix: str = "", **_: Any) -> int:
        return 0


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> Iterator[Cache]:
    made = Cache(KeepsRows(str(tmp_path / "cache.db")), clock=clock)
    yield made
    made.close()


class Notebook:
    """Cells that are run in one module, each from a source of its own."""

    def __init__(self, path: Path, cache: Cache) -> None:
        self._path = path
        self.module = types.ModuleType(f"notebook_{path.name}")
        self.module.__dict__.update(dynamo_cached=dynamo_cached, cache=cache, __file__=str(path / "notebook.py"))
        self._cells = 0

    def run(self, source: str) -> None:
        self._cells += 1
        file = self._path / f"cell_{self._cells}.py"
        text = textwrap.dedent(source)
        file.write_text(text, encoding="utf-8")
        exec(compile(text, str(file), "exec"), vars(self.module))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


@pytest.fixture
def notebook(tmp_path: Path, cache: Cache) -> Iterator[Notebook]:
    made = Notebook(tmp_path, cache)
    sys.modules[made.module.__name__] = made.module
    yield made
    del sys.modules[made.module.__name__]


FORECAST = """
    import logging

    RATE = 0.1
    SETTINGS = {"depth": [1, 2]}
    log = logging.getLogger("weather")
    seen = []

    class Model:
        def predict(self, x):
            return x * RATE

    def smooth(x):
        return x / 2

    @dynamo_cached(cache=cache, ttl="1h", ignore=["verbose"])
    def forecast(city, horizon=14, *, verbose=False):
        seen.append(city)
        log.info("forecasting")
        return smooth(Model().predict(horizon)) + SETTINGS["depth"][0]
"""


@pytest.fixture
def weather(notebook: Notebook) -> Notebook:
    notebook.run(FORECAST)
    return notebook


def named(explanation: Explanation) -> dict[str, tuple[str, str | None]]:
    return {one.name: (one.kind, one.digest) for one in explanation.ingredients}


# -- what the key is made of ----------------------------------------------------------------------


def test_the_parts_of_the_key_are_told(weather: Notebook) -> None:
    told = weather.forecast.explain("SEA")
    assert told.key == weather.forecast.cache_key("SEA")
    assert told.name == f"{weather.module.__name__}.forecast"
    assert told.key.split(":")[1] == told.code


def test_everything_that_went_into_the_fingerprint_is_listed_and_the_function_comes_first(weather: Notebook) -> None:
    told = weather.forecast.explain("SEA")
    parts = named(told)
    assert told.ingredients[0].name == "forecast"
    kinds = {name: kind for name, (kind, _) in parts.items()}
    assert kinds["smooth"] == "function"
    assert kinds["Model"] == "class"
    assert (kinds["RATE"], kinds["SETTINGS"], kinds["horizon"]) == ("global", "global", "default")
    assert (kinds["log"], kinds["seen"]) == ("opaque", "global")
    assert all(parts[name][1] for name in ("forecast", "smooth", "Model", "RATE", "SETTINGS"))
    assert parts["log"][1] is None


def test_every_argument_has_its_type_and_digest_and_an_ignored_one_says_so(weather: Notebook) -> None:
    city, horizon, verbose = weather.forecast.explain("SEA", verbose=True).arguments
    assert (city.name, city.type_name, horizon.name, horizon.type_name) == ("city", "str", "horizon", "int")
    assert city.digest
    assert horizon.digest
    assert (verbose.name, verbose.digest, verbose.note) == ("verbose", None, "ignored")
    assert weather.forecast.explain("PDX").arguments[0].digest != city.digest


def test_with_key_no_argument_counts_by_itself_and_key_is_called_once(cache: Cache) -> None:
    asked: list[str] = []

    def upper(city: str) -> str:
        asked.append(city)
        return city.upper()

    @dynamo_cached(cache=cache, key=upper)
    def length(city: str) -> int:
        return len(city)

    (city,) = length.explain("sea").arguments
    assert (city.digest, asked) == (None, ["sea"])
    assert "key=" in city.note
    length("sea")
    assert asked == ["sea", "sea"]
    assert length.explain("Sea").state == "live"
    assert length.explain("pdx").differences == ("what key= returns differs",)


def test_a_method_without_its_state_is_told_by_its_class(cache: Cache) -> None:
    class Station:
        @dynamo_cached(cache=cache, ignore="self")
        def read(self, hour: int) -> int:
            return hour

    told = Station().read.explain(3)
    assert [one.name for one in told.arguments] == ["self", "hour"]
    assert told.arguments[0].note.startswith("its class alone")
    assert told.key == Station().read.cache_key(3)


def test_a_pinned_version_and_code_that_does_not_count_say_so(cache: Cache) -> None:
    pinned = dynamo_cached(cache=cache, version="2", depends_on=["blake3"])(lambda: 1).explain()
    assert "pinned by version= (v2~" in str(pinned)
    assert [(one.kind, one.name) for one in pinned.ingredients] == [("package", "blake3")]
    assert 'does not count (code="off")' in str(dynamo_cached(cache=cache, code="off")(lambda: 1).explain())


# -- what the cache holds -------------------------------------------------------------------------


def test_a_live_entry_says_until_when(weather: Notebook, clock: Clock) -> None:
    weather.forecast("SEA")
    told = weather.forecast.explain("SEA")
    assert told.state == "live"
    assert told.expires_at is not None
    assert told.expires_at.timestamp() == clock.now + 3600
    assert "2023-11-14 23:13:20 UTC" in told.detail
    assert told.differences == ()
    assert "hit" in str(told).splitlines()[0]


def test_an_expired_entry_says_since_when(weather: Notebook, clock: Clock) -> None:
    weather.forecast("SEA")
    clock.now += 3601
    told = weather.forecast.explain("SEA")
    assert (told.state, told.differences) == ("expired", ())
    assert told.expires_at is not None
    assert told.expires_at.timestamp() == clock.now - 1


def test_a_cleared_entry_is_told_from_one_that_never_was(weather: Notebook) -> None:
    weather.forecast("SEA")
    weather.forecast.cache_clear()
    assert weather.forecast.explain("SEA").state == "cleared"
    assert weather.forecast.explain("PDX").state == "absent"


def test_a_call_that_was_removed_is_told_from_one_that_never_was(weather: Notebook) -> None:
    weather.forecast("SEA")
    weather.forecast.invalidate("SEA")
    told = weather.forecast.explain("SEA")
    assert (told.state, told.differences) == ("absent", ())
    assert "removed since" in told.detail
    assert "removed since" not in weather.forecast.explain("PDX").detail


def test_an_unreadable_entry_says_why(weather: Notebook, cache: Cache) -> None:
    weather.forecast("SEA")
    key = weather.forecast.cache_key("SEA")
    row = cache.store.read(key)
    assert row is not None
    cache.store.write(key, Item(b"rubbish", fn=row.fn, gen=row.gen))
    told = weather.forecast.explain("SEA")
    assert told.state == "unreadable"
    assert told.detail


@pytest.mark.parametrize("beside", [False, True], ids=["in its row", "beside an old value"])
def test_a_call_that_somebody_computes_says_so(cache: Cache, clock: Clock, *, beside: bool) -> None:
    @dynamo_cached(cache=cache, ttl="1h", stale_if_error="1h" if beside else None)
    def slow(x: int) -> int:
        return x

    slow(1)
    key = slow.cache_key(1)
    row = cache.store.read(key)
    assert row is not None
    assert row.gen is not None
    clock.now += 3601
    spot = Spot.beside(key, row) if beside else Spot.at(key)
    leases = Leases(cache.store, row.fn or "", clock=clock)
    lease = leases.claim(spot, row.gen, None)
    assert slow.explain(1).state == "computing"
    clock.now += 7 * 86_400  # a lease that nobody renews
    assert slow.explain(1).state in {"expired", "absent"}
    del lease


def test_a_result_that_cannot_be_shared_says_why(cache: Cache, clock: Clock) -> None:
    @dynamo_cached(cache=cache)
    def unshared(x: int) -> int:
        return x

    unshared(0)
    stored = cache.store.read(unshared.cache_key(0))
    assert stored is not None
    row = Item(ttl_date=int(clock.now) + 30, fn=stored.fn, gen=stored.gen, no_store="the result is a generator")
    cache.store.write(unshared.cache_key(1), row)
    told = unshared.explain(1)
    assert told.state == "not shareable"
    assert "the result is a generator" in told.detail


def test_a_broken_store_is_part_of_the_answer(tmp_path: Path) -> None:
    class Broken(SqliteStore):
        def read(self, key: str, *, consistent: bool = False) -> Item | None:
            raise StoreUnavailableError("the disk is gone", operation="read")

    broken = Cache(Broken(str(tmp_path / "broken.db")))

    @dynamo_cached(cache=broken, on_error="raise")
    def double(x: int) -> int:
        return 2 * x

    told = double.explain(1)
    assert (told.state, told.detail) == ("unavailable", "the disk is gone")
    assert told.ingredients


def test_a_default_cache_that_cannot_be_made_is_part_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNMEMO_URL", "nonsense://x")
    told = dynamo_cached(lambda x: x).explain(1)
    assert told.state == "unavailable"
    assert told.store == ""


def test_a_disabled_cache_says_so(weather: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNMEMO_DISABLE", "1")
    assert weather.forecast.explain("SEA").state == "disabled"


def test_nothing_is_computed_and_nothing_written(weather: Notebook, cache: Cache) -> None:
    weather.forecast("SEA")
    rows = dict(cache.store.scan())
    for city in ("SEA", "PDX"):
        weather.forecast.explain(city)
    assert dict(cache.store.scan()) == rows
    assert weather.forecast.cache_info().computed == 1
    assert (weather.forecast.cache_info().hits, weather.forecast.cache_info().misses) == (0, 1)


def test_explaining_before_the_first_call_writes_nothing(weather: Notebook, cache: Cache) -> None:
    assert weather.forecast.explain("SEA").state == "absent"
    assert list(cache.store.scan()) == []


def test_an_argument_without_content_is_refused_as_at_the_call(weather: Notebook) -> None:
    with pytest.raises(UnhashableArgumentError, match="argument `city` is a generator"):
        weather.forecast.explain(x for x in "SEA")


# -- in what a miss differs -----------------------------------------------------------------------


def test_without_any_known_call_nothing_is_compared(weather: Notebook) -> None:
    told = weather.forecast.explain("SEA")
    assert (told.state, told.nearest, told.differences) == ("absent", "", ())


def test_a_differing_argument_is_named(weather: Notebook) -> None:
    weather.forecast("SEA")
    assert weather.forecast.explain("SEA", 7).differences == ("argument `horizon` differs",)
    assert weather.forecast.explain("PDX", 7).differences == ("argument `city` differs", "argument `horizon` differs")


EDITS = {
    "helper": ("def smooth(x):\n    return x / 3", "helper `smooth` was edited"),
    "method": ("class Model:\n    def predict(self, x):\n        return RATE", "helper `Model.predict` was edited"),
    "rebound global": ("RATE = 0.2", "global `RATE` changed"),
    "mutated global": ("SETTINGS['depth'].append(3)", "global `SETTINGS` changed"),
    "default": ("forecast.__wrapped__.__defaults__ = (15,)", "default `horizon` changed"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_named(weather: Notebook, edit: str) -> None:
    source, difference = EDITS[edit]
    weather.forecast("SEA", 3)
    weather.run(source)
    told = weather.forecast.explain("SEA", 3)
    assert (told.state, told.differences) == ("absent", (difference,))


def test_an_edit_of_the_function_itself_is_named(weather: Notebook) -> None:
    weather.forecast("SEA")
    weather.run(FORECAST.replace("smooth(Model", "abs(Model"))
    assert weather.forecast.explain("SEA").differences == (
        "the function itself was edited",
        "helper `smooth` was used then and is not now",
    )


def test_an_edit_is_named_in_a_process_that_only_had_hits(weather: Notebook) -> None:
    weather.forecast("SEA")
    history(weather.module.__name__ + ".forecast")._calls.clear()
    assert weather.forecast("SEA")
    weather.run("RATE = 0.2")
    told = weather.forecast.explain("SEA")
    assert (told.nearest, told.differences) == ("an entry in the store", ("global `RATE` changed",))


def test_the_store_tells_of_the_same_call_under_code_that_this_process_never_had(weather: Notebook) -> None:
    weather.forecast("SEA")
    code = weather.forecast.explain("SEA").code
    known = history(weather.module.__name__ + ".forecast")
    known._calls.clear()
    known._codes.clear()
    weather.run("RATE = 0.2")
    told = weather.forecast.explain("SEA")
    assert told.nearest == "an entry in the store"
    (difference,) = told.differences
    assert code[:12] in difference
    assert "arguments" in weather.forecast.explain("PDX").differences[0]


def test_the_same_arguments_under_other_code_are_nearer_than_other_arguments(weather: Notebook) -> None:
    weather.forecast("SEA")
    weather.run("RATE = 0.2")
    weather.forecast("PDX")
    assert weather.forecast.explain("SEA").differences == ("global `RATE` changed",)
    assert weather.forecast.explain("BOS").differences == ("argument `city` differs",)


def test_the_items_and_attributes_in_which_an_argument_differs_are_named(cache: Cache) -> None:
    class Model:
        def __init__(self, **settings: object) -> None:
            self.rate, self.settings = 1, settings

        @dynamo_cached(cache=cache)
        def fit(self, config: dict[Any, Any]) -> int:
            return 1

    config = {"rate": 1, "depth": 2, ("a", 1): 3, "text of more words": 4}
    Model(a=1).fit(config)

    def told(model: Model, **changed: int) -> tuple[str, ...]:
        return model.fit.explain({**config, **changed}).differences

    assert told(Model(a=2)) == ("argument `self` differs in `self.settings`",)
    assert told(Model(a=1), rate=2) == ('argument `config` differs in `config["rate"]`',)
    assert told(Model(a=1), new=2) == ('argument `config` differs in `config["new"]`',)
    (secret,) = Model(a=1).fit.explain({**config, ("a", 1): 5, "text of more words": 6}).differences
    assert secret == "argument `config` differs in `config[key 2]`, `config[key 3]`"
    many = dict.fromkeys(config, 0) | {"b": 1}
    assert Model(a=1).fit.explain(many).differences[0].endswith("`config[key 2]` and 2 more")
    large = dict.fromkeys(range(1_000), 0)
    assert Model(a=1).fit.explain(large).differences == ("argument `config` differs",)


def test_a_large_argument_is_named_though_it_was_not_remembered(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    def total(numbers: bytes, scale: int = 1) -> int:
        return len(numbers) * scale

    total(bytes(2_000_000))
    assert total.explain(bytes(2_000_001)).differences == ("argument `numbers` differs",)
    assert total.explain(bytes(2_000_000), 2).differences[0] == "argument `scale` differs"


def test_a_list_that_cannot_be_made_fails_no_call() -> None:
    known = History()

    def broken() -> list[Ingredient]:
        raise RuntimeError("mine")

    known.saw_code("f" * 32, broken)
    assert known.ingredients("f" * 32) is None


def test_a_shared_table_is_not_read_as_a_whole(dynamodb_table: str, dynamodb_endpoint: str) -> None:
    cache = Cache.dynamodb(dynamodb_table, endpoint_url=dynamodb_endpoint)

    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        return 2 * x

    double(1)
    history(double._self_memo.fn)._calls.clear()
    before = double.cache_info().requests
    told = double.explain(2)
    assert (told.state, told.nearest) == ("absent", "")
    assert double.cache_info().requests - before == 1  # the row; the generation is known
    double.cache_clear()
    assert double.explain(1).state == "cleared"
    cache.close()


def test_what_is_remembered_is_bounded(weather: Notebook) -> None:
    for hour in range(MOST_CALLS + 10):
        weather.forecast("SEA", hour)
    for rate in range(MOST_CODES + 10):
        weather.run(f"RATE = {rate}")
        weather.forecast.cache_key("SEA")
    known = history(weather.module.__name__ + ".forecast")
    assert len(known.calls()) == MOST_CALLS
    assert len(known._codes) == MOST_CODES
    assert weather.forecast.explain("SEA", 10_000).nearest


# -- how it is shown ------------------------------------------------------------------------------


def test_the_text_tells_it_all(weather: Notebook) -> None:
    weather.forecast("SEA")
    weather.run("def smooth(x):\n    return x / 3")
    text = str(weather.forecast.explain("SEA"))
    for part in ("miss, absent", "helper `smooth` was edited", "own state", "by name only", "ignored", "horizon"):
        assert part in text
    assert text == repr(weather.forecast.explain("SEA"))


def test_ipython_gets_the_same_text(weather: Notebook) -> None:
    pretty = pytest.importorskip("IPython.lib.pretty")
    explanation = weather.forecast.explain("SEA")
    assert pretty.pretty(explanation) == str(explanation)


def test_no_content_is_shown(cache: Cache) -> None:
    secret = "hunter2hunter2"

    @dynamo_cached(cache=cache)
    def login(password: str, options: dict[str, str]) -> int:
        return len(password + secret)

    for explanation in (login.explain(secret, {"k": secret}), login.explain("", {})):
        assert "hunter2" not in str(explanation)
        assert "hunter2" not in explanation._repr_html_()
    login("", {})
    assert "hunter2" not in str(login.explain(secret, {"k": secret}))


def test_the_table_escapes_everything(cache: Cache) -> None:
    told = dynamo_cached(cache=cache, name="<script>alert(1)</script>&")(lambda: 1).explain()
    page = told._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<lambda>" not in page
    assert page.count("<table") == page.count("</table>") == 3


# -- every kind of function -----------------------------------------------------------------------


def test_an_async_function_is_explained_by_a_coroutine(cache: Cache) -> None:
    @dynamo_cached(cache=cache)
    async def double(x: int) -> int:
        return 2 * x

    async def story() -> list[Explanation]:
        before = double.explain(1)
        assert inspect.iscoroutine(before)
        first = await before
        await double(1)
        return [first, await double.explain(1), await double.explain(2)]

    first, second, third = asyncio.run(story())
    assert (first.state, second.state) == ("absent", "live")
    assert third.differences == ("argument `x` differs",)


def test_a_bound_method_is_explained_with_its_instance(cache: Cache) -> None:
    class Model:
        def __init__(self, scale: int) -> None:
            self.scale = scale

        @dynamo_cached(cache=cache)
        def predict(self, x: int) -> int:
            return x * self.scale

    Model(1).predict(3)
    assert Model(1).predict.explain(3).state == "live"
    assert Model(2).predict.explain(3).differences == ("argument `self` differs in `self.scale`",)


def test_nothing_is_logged(weather: Notebook, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "dynmemo"):
        weather.forecast.explain("SEA")
    assert caplog.records == []


def test_the_explanation_is_exported(weather: Notebook) -> None:
    assert type(weather.forecast.explain("SEA")) is dynmemo.Explanation
