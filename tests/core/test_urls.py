from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dynmemo import Cache, InvalidOptionError
from dynmemo.cache.options import build_url, parameters_of, parse_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_dynamodb_url_names_table_and_options() -> None:
    kind, arguments = parse_url(
        "dynamodb://Weather_Cache?region=eu-west-1&create_table_if_not_exists=true&use_consistent_reads=false"
        "&endpoint_url=http%3A%2F%2F127.0.0.1%3A8000&default_ttl=24h&refresh_after=0.5&max_value_bytes=1_000&near=30s"
    )
    assert kind == "dynamodb"
    assert arguments == {
        "table_name": "Weather_Cache",
        "region": "eu-west-1",
        "create_table_if_not_exists": True,
        "use_consistent_reads": False,
        "endpoint_url": "http://127.0.0.1:8000",
        "default_ttl": 86_400.0,
        "refresh_after": 0.5,
        "max_value_bytes": 1000,
        "near": 30.0,
    }


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////abs/my%20cache.db", "/abs/my cache.db"),
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:///C:/Users/me/cache.db", "C:/Users/me/cache.db"),
        ("sqlite:///a%23b.db?max_bytes=5000", "a#b.db"),
    ],
)
def test_a_sqlite_url_names_a_path(url: str, path: str) -> None:
    kind, arguments = parse_url(url)
    assert kind == "sqlite"
    assert arguments["path"] == path


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "starts with dynamodb:// or sqlite://"),
        ("redis://localhost", "starts with dynamodb:// or sqlite://, not 'redis'"),
        ("/tmp/x.db", r"'/tmp/x\.db' is no cache URL.*did you mean sqlite:////tmp/x\.db\?"),
        ("/", r"did you mean sqlite:////cache\.db\?"),
        ("x.db", r"'x\.db' is no cache URL.*did you mean sqlite:///x\.db\?"),
        (r"C:\Users\me\x.db", r"did you mean sqlite:///C:/Users/me/x\.db\?"),
        ("sqlite:/tmp/x.db", r"did you mean sqlite:////tmp/x\.db\?"),
        ("weather_cache", r"'weather_cache' is no cache URL.*did you mean dynamodb://weather_cache\?"),
        ("dynamodb:/weather_cache", r"did you mean dynamodb://weather_cache\?"),
        ("no cache", "what is given does not"),
        ("dynamodb://", "names one table"),
        ("dynamodb://table/more", "names one table"),
        ("sqlite://cache.db", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite:////tmp/a%00.db", "zero byte"),
        ("dynamodb://tab?regoin=eu-west-1", "'regoin' is no option.*region"),
        ("dynamodb://tab?create_table_if_not_exists=perhaps", "must be true or false"),
        ("sqlite:////a.db?max_bytes=many", "must be a whole number"),
        ("sqlite:////a.db?max_bytes=-5", "must be a whole number"),
        ("dynamodb://tab?default_ttl=soon", "default_ttl='soon'"),
        ("dynamodb://tab?near=soon", "near='soon'"),
        ("dynamodb://tab?near=0.5", "near=0.5 is below one second"),
        ("sqlite:////a.db?near=30s", "near= is for DynamoDB"),
        ("dynamodb://tab?refresh_after=x", "must be a number"),
        ("dynamodb://tab?region=a&region=b", "twice"),
        ("dynamodb://tab?region", "name=value"),
        ("dynamodb://tab#x", "fragment"),
        ("http://[broken", "not a cache URL"),
    ],
)
def test_another_url_is_refused_with_what_is_allowed(url: str, message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        Cache.from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://user:hunter2@table",
        "dynamodb://user%3Ahunter2%40table",
        "dynamodb://hunter2@",
        "sqlite://user:hunter2@host/cache.db",
        "hunter2:more@table",
        "hunter2:more@host/cache.db",
        "weather_cache?secret=hunter2",
        "dynamodb://user:hunter2\u2100@table",  # which urlsplit refuses, quoting it
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidOptionError, match="dynamodb://weather_cache") as caught:
        Cache.from_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_sqlite_cache_is_a_file() -> None:
    for make, path in ((Cache.sqlite, ":memory:"), (Cache.from_url, "sqlite:///:memory:")):
        with pytest.raises(InvalidOptionError, match=r"no cache in memory; give one, such as 'cache\.db'"):
            make(path)
    for number in (5, b"cache.db", None):
        with pytest.raises(InvalidOptionError, match=r"path=.* is no file; give a text or a pathlib\.Path"):
            Cache.sqlite(number)  # type: ignore[arg-type]


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="Cache or a URL, not as int"):
        Cache.from_url(5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "dynamodb://Weather_Cache",
        "dynamodb://tab?create_table_if_not_exists=true&region=eu-west-1",
        "sqlite:////abs/my%20cache.db?max_bytes=5000",
        "sqlite:///C:/Users/me/cache.db",
    ],
)
def test_a_url_survives_being_parsed_and_built(url: str) -> None:
    assert build_url(*parse_url(url)) == url


@pytest.mark.parametrize("make", [Cache.sqlite, Cache.dynamodb])
def test_every_option_can_stand_in_a_url_but_for_objects(make: Callable[..., Cache]) -> None:
    place, *options = parameters_of(make)
    with pytest.raises(InvalidOptionError, match="is no option of") as caught:
        Cache.from_url(f"{make.__name__}:///x?no=1" if place == "path" else f"{make.__name__}://x?no=1")
    listed = set(str(caught.value).partition("there are ")[2].split(", "))
    assert set(options) - listed <= {"config", "client", "client_factory"}
    assert listed <= set(options)


def test_a_built_url_never_has_the_secret() -> None:
    url = build_url(*parse_url("dynamodb://tab?secret=hush&region=x"))
    assert url == "dynamodb://tab?region=x"


@pytest.mark.skipif(os.name == "nt", reason="Windows divides folders by a backslash and knows no other bytes")
@pytest.mark.parametrize("name", [b"back\\slash.db", b"latin-1-\xfc.db", "größe ?#%&+.db".encode(), b"new\nline.db"])
def test_a_cache_has_a_url_whatever_its_file_is_called(tmp_path: Path, name: bytes) -> None:
    made = Cache.sqlite(tmp_path / os.fsdecode(name))
    made.set("k", b"v")
    made.close()
    assert made.url is not None
    assert made.url.isascii()
    read = Cache.from_url(made.url)
    assert read.get("k") == b"v"
    read.close()
    assert os.fsdecode(name) in {entry.name for entry in tmp_path.iterdir()}


def test_equal_urls_share_one_cache(tmp_path: Path) -> None:
    url = f"sqlite:///{(tmp_path / 'a.db').as_posix()}"
    assert Cache.from_url(url) is Cache.from_url(url)
    assert Cache.from_url(url) is not Cache.from_url(url + "?max_bytes=1000000")
    assert Cache.from_url("dynamodb://tab?region=a&profile=b") is Cache.from_url("dynamodb://tab?profile=b&region=a")


def test_options_take_the_place_of_those_in_a_url(tmp_path: Path) -> None:
    url = f"sqlite:///{(tmp_path / 'a.db').as_posix()}?default_ttl=1h"
    made = Cache.from_url(url, default_ttl="2h", secret=["one" * 8, "two" * 8], refresh_after=None)
    assert (made.default_ttl, len(made.secrets), made.refresh_after) == (7200, 2, None)
    assert made is Cache.from_url(url, default_ttl="2h", secret=("one" * 8, "two" * 8))
    assert made is not Cache.from_url(url, default_ttl="2h")
    for name in ("path", "near", "max_size"):
        with pytest.raises(InvalidOptionError, match=rf"'{name}' is no option of a sqlite cache"):
            Cache.from_url(url, **{name: "x"})


def test_times_of_every_form_survive_in_a_url(tmp_path: Path) -> None:
    made = Cache.sqlite(tmp_path / "cache.db", default_ttl=timedelta(hours=1), lease_seconds="20s")
    assert made.url is not None
    read = Cache.from_url(made.url)
    assert (read.default_ttl, read.lease_seconds) == (3600, 20)
