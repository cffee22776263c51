"""Signing and encryption: which secret signs, which are accepted, and what is refused."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest

from dynmemo._process import Once
from dynmemo.codec import Codec
from dynmemo.codec import envelope as secrets_module
from dynmemo.errors import InvalidOptionError
from tests.codec.helpers import SECRET, cause, read, round_trip, write

if TYPE_CHECKING:
    from collections.abc import Sequence

OLD = "an old secret, still accepted"
NEW = "the new secret, which signs"


@pytest.mark.parametrize("encrypt", [False, True])
def test_the_first_secret_signs_and_all_are_accepted(encrypt: bool) -> None:
    old, new = Codec(secrets=[OLD], encrypt=encrypt), Codec(secrets=[NEW], encrypt=encrypt)
    both = Codec(secrets=[NEW, OLD], encrypt=encrypt)
    assert read(both, write(old, 1)).value == 1
    assert read(both, write(new, 2)).value == 2
    assert read(new, write(both, 3)).value == 3
    assert cause(old, write(both, 4)) == "secret"


@pytest.mark.parametrize("encrypt", [False, True])
def test_a_value_signed_with_an_unknown_secret_is_unreadable(encrypt: bool) -> None:
    stranger = Codec(secrets=["a secret that nobody here knows"], encrypt=encrypt)
    assert cause(Codec(secrets=[SECRET], encrypt=encrypt), write(stranger, 1)) == "secret"


def test_a_signed_value_is_unreadable_without_a_secret_and_the_other_way_round() -> None:
    signed, plain = Codec(secrets=[SECRET]), Codec()
    assert cause(plain, write(signed, 1)) == "secret"
    assert cause(signed, write(plain, 1)) == "secret"


def test_the_configuration_decides_whether_values_are_encrypted() -> None:
    signed, encrypted = Codec(secrets=[SECRET]), Codec(secrets=[SECRET], encrypt=True)
    assert cause(signed, write(encrypted, 1)) == "encryption"
    assert cause(encrypted, write(signed, 1)) == "encryption"


@pytest.mark.parametrize("none", [(), [""], [b"", ""], ""])
def test_empty_secrets_are_none(none: Sequence[str | bytes]) -> None:
    assert not Codec.header(write(Codec(secrets=none), 1)).signed
    assert read(Codec(secrets=none), write(Codec(), 1)).value == 1


@pytest.mark.parametrize(("one", "other"), [(SECRET, SECRET.encode()), ([SECRET], SECRET), (["ü"], ["ü".encode()])])
def test_a_secret_may_be_text_or_bytes_alone_or_in_a_list(
    one: Sequence[str | bytes], other: Sequence[str | bytes]
) -> None:
    assert read(Codec(secrets=one), write(Codec(secrets=other), 1)).value == 1


def test_a_short_secret_works_and_is_warned_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets_module, "_once", Once())
    with caplog.at_level(logging.WARNING, logger="dynmemo"):
        assert round_trip(Codec(secrets=["hunter2"]), 1) == 1
        Codec(secrets=["hunter3"])
        Codec(secrets=["x" * 16])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "16 bytes" in caplog.text
    assert "hunter" not in caplog.text


def test_what_is_not_a_secret_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="a secret is of type int: allowed are str and bytes"):
        Codec(secrets=[7])  # type: ignore[list-item]


def test_encryption_needs_a_secret() -> None:
    with pytest.raises(InvalidOptionError, match=r"encrypt=True needs a secret: .*DYNMEMO_SECRET"):
        Codec(encrypt=True)


def test_encryption_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(InvalidOptionError, match=r'pip install "dynmemo\[crypto\]"'):
        Codec(secrets=[SECRET], encrypt=True)


@pytest.mark.parametrize("value", ["hunter2" * 3, "hunter2" * 1000, b"hunter2" * 10_000], ids=len)
def test_an_encrypted_value_shows_nothing_of_its_content(value: object) -> None:
    data = write(Codec("pickle", secrets=[SECRET], encrypt=True), value)
    assert b"hunter2" not in data


def test_the_same_value_is_encrypted_differently_every_time() -> None:
    codec = Codec(secrets=[SECRET], encrypt=True)
    payloads = {write(codec, 1)[codec.header(write(codec, 1)).size :] for _ in range(20)}
    assert len({payload[:16] for payload in payloads}) == 20
    assert len({payload[28:] for payload in payloads}) == 20


def test_a_secret_is_in_no_representation_and_no_envelope() -> None:
    codec = Codec(secrets=[SECRET], encrypt=True)
    keyring = codec._keyring
    assert SECRET not in f"{codec!r} {keyring!r} {keyring.seal!r}"
    assert SECRET.encode() not in write(codec, 1)
