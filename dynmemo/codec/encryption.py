"""Encryption of a payload: AES-256-GCM with a key of its own for every envelope (extra ``crypto``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blake3 import blake3

from dynmemo.errors import UnreadableValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.ciphers import Cipher, modes

    from dynmemo.item import Bytes

_SALT_SIZE = 16
_NONCE_SIZE = 12
_TAG_SIZE = 16


def encrypt(secret_key: bytes, about: bytes, chunks: Iterable[Bytes]) -> list[Bytes]:
    """Salt, nonce, ciphertext, tag; only who knows what they are `about` can decrypt them."""
    salt, nonce = os.urandom(_SALT_SIZE), os.urandom(_NONCE_SIZE)
    encryptor = _cipher(secret_key, salt, nonce).encryptor()
    encryptor.authenticate_additional_data(about)
    sealed: list[Bytes] = [salt, nonce]
    sealed += [encryptor.update(chunk) for chunk in chunks]
    sealed.append(encryptor.finalize())
    sealed.append(encryptor.tag)
    return sealed


def decrypt(secret_key: bytes, about: bytes, payload: memoryview) -> memoryview:
    """What was encrypted; raises if it or what it is `about` was changed."""
    start = _SALT_SIZE + _NONCE_SIZE
    if len(payload) < start + _TAG_SIZE:
        raise UnreadableValueError("the encrypted payload is cut off", cause="format")
    salt, nonce = bytes(payload[:_SALT_SIZE]), bytes(payload[_SALT_SIZE:start])
    decryptor = _cipher(secret_key, salt, nonce, tag=bytes(payload[-_TAG_SIZE:])).decryptor()
    decryptor.authenticate_additional_data(about)
    plain = decryptor.update(payload[start:-_TAG_SIZE])
    decryptor.finalize()
    return memoryview(plain)


def _cipher(secret_key: bytes, salt: bytes, nonce: bytes, tag: bytes | None = None) -> Cipher[modes.GCM]:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    # A fresh key for each envelope: random nonces under a single key are only safe for some 2**32 writes.
    once = blake3(salt, key=secret_key).digest()
    return Cipher(algorithms.AES256(once), modes.GCM(nonce, tag))
