"""Signing and encryption: which secret signs, which are accepted, and what is refused."""

from __future__ import annotations

import pytest

from dynmemo.codec import Codec
from dynmemo.codec.envelope import read_header
from tests.codec.helpers import SECRET, cause, read, write

OLD = b"an old secret, still accepted"
NEW = b"the new secret, which signs"


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
    stranger = Codec(secrets=[b"a secret that nobody here knows"], encrypt=encrypt)
    assert cause(Codec(secrets=[SECRET], encrypt=encrypt), write(stranger, 1)) == "secret"


def test_a_signed_value_is_unreadable_without_a_secret_and_the_other_way_round() -> None:
    signed, plain = Codec(secrets=[SECRET]), Codec()
    assert cause(plain, write(signed, 1)) == "secret"
    assert cause(signed, write(plain, 1)) == "secret"


def test_the_configuration_decides_whether_values_are_encrypted() -> None:
    signed, encrypted = Codec(secrets=[SECRET]), Codec(secrets=[SECRET], encrypt=True)
    assert cause(signed, write(encrypted, 1)) == "encryption"
    assert cause(encrypted, write(signed, 1)) == "encryption"


@pytest.mark.parametrize("value", ["hunter2" * 3, "hunter2" * 1000, b"hunter2" * 10_000], ids=len)
def test_an_encrypted_value_shows_nothing_of_its_content(value: object) -> None:
    data = write(Codec("pickle", secrets=[SECRET], encrypt=True), value)
    assert b"hunter2" not in data


def test_the_same_value_is_encrypted_differently_every_time() -> None:
    codec = Codec(secrets=[SECRET], encrypt=True)
    payloads = {write(codec, 1)[read_header(write(codec, 1)).size :] for _ in range(20)}
    assert len({payload[:16] for payload in payloads}) == 20
    assert len({payload[28:] for payload in payloads}) == 20


def test_a_secret_is_in_no_representation_and_no_envelope() -> None:
    codec = Codec(secrets=[SECRET], encrypt=True)
    assert SECRET.decode() not in f"{codec!r} {codec._seals!r}"
    assert SECRET not in write(codec, 1)
