"""One key, one moment, and how to write and read under them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blake3 import blake3

from dynmemo.codec.envelope import NO_PYTHON, Header, Seal, write_header
from dynmemo.errors import UnreadableValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.codec import Codec, Decoded

KEY = "dc:weather.forecast:9f31c2a0:7f83b165"
COMPUTED_AT = 1_700_000_000.25
SECONDS = 12.5
DEADLINE = 2_000_000_000
NOW = COMPUTED_AT + 60
SECRET = b"correct horse battery staple"


def write(codec: Codec, value: object, key: str = KEY, deadline: int | None = DEADLINE, origin: bytes = b"") -> bytes:
    return bytes(
        codec.dumps(value, key=key, computed_at=COMPUTED_AT, seconds=SECONDS, deadline=deadline, origin=origin)
    )


def read(codec: Codec, data: bytes, key: str = KEY, now: float = NOW) -> Decoded:
    return codec.loads(data, key=key, now=now)


def round_trip(codec: Codec, value: object) -> Any:
    return read(codec, write(codec, value)).value


def cause(codec: Codec, data: bytes, key: str = KEY, now: float = NOW) -> str:
    """Why `data` cannot be read; the test fails if it can."""
    with pytest.raises(UnreadableValueError) as raised:
        codec.loads(data, key=key, now=now)
    return raised.value.cause


def forge(
    payload: bytes, *, flags: int = 0, serializer: str = "pickle", length: int | None = None, seal: Seal | None = None
) -> bytes:
    """An envelope with a right trailer around any payload, as who may write the table (and has the secret) can make."""
    seal = seal or Seal()
    length = len(payload) if length is None else length
    header = write_header(Header(flags, NO_PYTHON, seal.key_id, COMPUTED_AT, SECONDS, None, length, serializer))
    return header + payload + seal.trailer(KEY.encode(), [header, payload])


def resealed(body: bytes) -> bytes:
    """Any bytes with the plain digest that belongs to them."""
    key = KEY.encode()
    return body + blake3(len(key).to_bytes(8, "little") + key + body).digest()


class Witness:
    """Unpickled, it creates a file: whoever finds the file knows that unchecked bytes were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


def witness(tmp_path: Path) -> tuple[Path, bytes]:
    """The file that must not come to be, and the pickle that would create it."""
    path = tmp_path / "unpickled"
    return path, pickle.dumps(Witness(path))
