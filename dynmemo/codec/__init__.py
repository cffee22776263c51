"""Results to stored bytes and back."""

from dynmemo.codec.by_value import Own
from dynmemo.codec.envelope import Codec, Decoded, Opened, header_told, origin_told
from dynmemo.codec.refusal import CannotSerialize
from dynmemo.codec.serializers import Serializer

__all__ = ["CannotSerialize", "Codec", "Decoded", "Opened", "Own", "Serializer", "header_told", "origin_told"]
