"""Bytes that were changed, cut, moved or forged are found before anything is decoded."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from backports import zstd

from dynmemo.codec import Codec, envelope, serializers
from dynmemo.codec.envelope import Seal, read_header
from dynmemo.errors import UnreadableValueError
from tests.codec.helpers import KEY, NOW, SECRET, cause, forge, read, resealed, witness, write

if TYPE_CHECKING:
    from pathlib import Path

PROTECTIONS: list[dict[str, Any]] = [{}, {"secrets": [SECRET]}, {"secrets": [SECRET], "encrypt": True}]
VALUES = [{"city": "SEA", "mean": [1.5, 2.5]}, ["SEA"] * 2000, np.arange(5000)]


@pytest.mark.parametrize("options", PROTECTIONS, ids=["plain", "signed", "encrypted"])
@pytest.mark.parametrize("value", VALUES, ids=["small", "compressed", "buffers"])
def test_every_changed_byte_is_found(value: object, options: dict[str, Any]) -> None:
    codec = Codec(**options)
    data = write(codec, value, origin=b'{"user":"anna"}')
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << position % 8
        assert cause(codec, bytes(damaged)) in {"format", "digest", "secret", "encryption"}


@pytest.mark.parametrize("options", PROTECTIONS, ids=["plain", "signed", "encrypted"])
def test_every_truncation_and_extension_is_found(options: dict[str, Any]) -> None:
    codec = Codec(**options)
    data = write(codec, VALUES[0], origin=b'{"user":"anna"}')
    for end in range(len(data)):
        assert cause(codec, data[:end]) in {"format", "digest"}
    assert cause(codec, data + b"\0") == "digest"


@pytest.mark.parametrize("options", PROTECTIONS, ids=["plain", "signed", "encrypted"])
def test_an_entry_moved_to_another_key_is_not_read(options: dict[str, Any]) -> None:
    codec = Codec(**options)
    data = write(codec, 1)
    assert cause(codec, data, key=KEY.replace("forecast", "history")) == "digest"
    assert cause(codec, data, key="prefix:" + KEY) == "digest"


def test_key_and_content_cannot_be_shifted_into_each_other() -> None:
    key = KEY.encode()
    body = write(Codec(), 1)[: -envelope.TRAILER_SIZE]
    assert Seal().trailer(key, [body]) != Seal().trailer(key + body[:1], [body[1:]])


def test_bytes_without_the_magic_are_never_unpickled(tmp_path: Path) -> None:
    path, payload = witness(tmp_path)
    for data in (payload, resealed(payload), resealed(b"\x9ddynmem0" + payload), b"", b"\x80", envelope.MAGIC):
        assert cause(Codec(), data) == "format"
    assert not path.exists()


def test_the_witness_would_tell(tmp_path: Path) -> None:
    path, payload = witness(tmp_path)
    read(Codec(), forge(payload))
    assert path.exists()


def test_an_unsigned_entry_is_refused_when_a_secret_is_set(tmp_path: Path) -> None:
    path, payload = witness(tmp_path)
    assert cause(Codec(secrets=[SECRET]), forge(payload)) == "secret"
    assert not path.exists()


def test_an_entry_that_calls_itself_signed_still_needs_the_mac(tmp_path: Path) -> None:
    path, payload = witness(tmp_path)
    codec = Codec(secrets=[SECRET])
    key_id = read_header(write(codec, 1)).key_id
    pretender = Seal()
    pretender.key_id = key_id
    assert cause(codec, forge(payload, flags=envelope.SIGNED, seal=pretender)) == "digest"
    assert cause(codec, forge(payload, flags=envelope.SIGNED, seal=Seal(b"another secret"))) == "secret"
    stolen = write(codec, 1)[-envelope.TRAILER_SIZE :]
    forged = forge(payload, flags=envelope.SIGNED, seal=pretender)
    assert cause(codec, forged[: -envelope.TRAILER_SIZE] + stolen) == "digest"
    assert not path.exists()


def test_a_payload_meant_for_pickle_is_not_unpickled_by_another_serializer(tmp_path: Path) -> None:
    path, payload = witness(tmp_path)
    for serializer in ("json", "bytes"):
        buffers = np.array([0], "<u4").tobytes() + np.array([len(payload)], "<u8").tobytes() + payload
        for flags, content in ((0, payload), (serializers.BUFFERS, buffers)):
            assert cause(Codec(serializer), forge(content, flags=flags)) == "serializer"
            if flags:
                forged = forge(content, flags=flags, serializer=serializer)
                assert cause(Codec(serializer), forged) == "format"
    assert not path.exists()


@pytest.mark.parametrize("claimed", [0, 10, 3999, 4001, 10**12, 2**64 - 1])
def test_a_payload_of_another_length_than_announced_is_refused(claimed: int) -> None:
    payload = pickle.dumps(b"x" * 4000)
    claimed += len(payload) - 4000 if claimed in {3999, 4001} else 0
    for content, flags in ((payload, 0), (zstd.compress(payload), envelope.ZSTD)):
        assert cause(Codec(), forge(content, flags=flags, length=claimed)) in {"format", "length"}


def test_a_bomb_is_refused_at_the_announced_length_not_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envelope, "MAX_LENGTH", 1_000_000)
    bomb = zstd.compress(bytes(50_000_000))
    assert len(bomb) < 10_000
    codec = Codec("bytes")
    assert cause(codec, forge(bomb, flags=envelope.ZSTD, serializer="bytes", length=50_000_000)) == "length"
    assert cause(codec, forge(bomb, flags=envelope.ZSTD, serializer="bytes", length=1000)) == "format"


def test_a_length_that_is_a_lie_costs_no_memory() -> None:
    payload = forge(zstd.compress(b"short"), flags=envelope.ZSTD, serializer="bytes", length=1_900_000_000)
    tracemalloc.start()
    try:
        assert cause(Codec("bytes"), payload) == "format"
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_in_the_index_of_buffers_is_refused() -> None:
    index = np.array([1], "<u4").tobytes() + np.array([10, 2**62], "<u8").tobytes()
    assert cause(Codec(), forge(index + bytes(10), flags=serializers.BUFFERS)) == "format"
    assert cause(Codec(), forge(b"\xff" * 100, flags=serializers.BUFFERS)) == "format"


def test_two_compressed_frames_in_a_row_are_refused() -> None:
    payload = pickle.dumps("x" * 4000)
    twice = zstd.compress(payload) + zstd.compress(payload)
    assert cause(Codec(), forge(twice, flags=envelope.ZSTD, length=len(payload))) == "format"


def test_a_payload_that_is_not_what_its_flags_say_is_unreadable() -> None:
    assert cause(Codec(), forge(b"no frame", flags=envelope.ZSTD)) == "pickle"
    assert cause(Codec(), forge(b"no pickle")) == "pickle"
    assert cause(Codec("json"), forge(b"no json", serializer="json")) == "decode"


def test_a_later_format_and_unknown_flags_are_unreadable() -> None:
    body = bytearray(forge(pickle.dumps(1))[: -envelope.TRAILER_SIZE])
    body[8] = 2
    assert cause(Codec(), resealed(bytes(body))) == "format"
    body[8] = 1
    body[9] = 0x80
    assert cause(Codec(), resealed(bytes(body))) == "format"


def test_the_message_of_a_refusal_does_not_show_the_content() -> None:
    data = write(Codec(), {"token": "hunter2hunter2"})
    for changed in (data[:-1], data[:-1] + b"\0", b"hunter2hunter2" * 10):
        with pytest.raises(UnreadableValueError) as raised:
            Codec().loads(changed, key=KEY, now=NOW)
        assert "hunter2" not in str(raised.value)
