"""Code becomes a hash: what a function is, and everything of the user's own that it reaches."""

from __future__ import annotations

from dynmemo.keys.identity.fingerprint import CodeIdentity, class_identity
from dynmemo.keys.identity.ingredients import Ingredient
from dynmemo.keys.identity.written import take_written, written

__all__ = ["CodeIdentity", "Ingredient", "class_identity", "take_written", "written"]
