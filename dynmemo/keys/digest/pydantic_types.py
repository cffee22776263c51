"""pydantic: models, by class, fields and private attributes.

Which fields were set by hand counts: `model_dump(exclude_unset=True)` shows it.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import pydantic

from dynmemo.keys.digest.code import TypeOf
from dynmemo.keys.digest.encoding import size
from dynmemo.keys.digest.node import Fields

if TYPE_CHECKING:
    from dynmemo.keys.digest.node import Handler, Node

_MODEL = Fields(4)


def handler(cls: type) -> Handler | None:
    """The handler of a model that leaves its state to pydantic."""
    base = getattr(pydantic, "BaseModel", None)
    if base is None or not issubclass(cls, base) or cls.__getstate__ is not base.__getstate__:
        return None
    head = TypeOf(cls)

    def take_apart(model: Any) -> Node:
        fields = list(chain.from_iterable(vars(model).items()))
        rest = (model.__pydantic_extra__, model.__pydantic_private__, model.__pydantic_fields_set__)
        return b"m" + size(len(fields)), [head, *rest, *fields], _MODEL

    return take_apart
