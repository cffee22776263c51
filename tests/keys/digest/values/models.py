from __future__ import annotations

import attrs
import pydantic


class Model(pydantic.BaseModel):
    a: int
    b: list[int] = []
    _hidden: int = pydantic.PrivateAttr(default=1)


class OtherModel(Model):
    pass


class OpenModel(pydantic.BaseModel, extra="allow"):
    a: int


@attrs.define
class Defined:
    a: int
    b: object = None


@attrs.frozen(slots=False, unsafe_hash=True, cache_hash=True)
class Hashed:
    a: str


def hashed(text: str) -> Hashed:
    value = Hashed(text)
    hash(value)
    return value


def hidden(value: int) -> Model:
    model = Model(a=1)
    model._hidden = value
    return model


def different() -> dict[str, object]:
    return {
        "~model": Model(a=1),
        "~model, other field": Model(a=2),
        "~model, hidden": hidden(2),
        "~other model": OtherModel(a=1),
        "~open model": OpenModel(a=1),
        "~open model with more": OpenModel(a=1, b=2),  # type: ignore[call-arg]
        "~defined": Defined(1),
        "~defined otherwise": Defined(1, 2),
        "~hashed": Hashed("a"),
    }


def equal() -> dict[str, tuple[object, ...]]:
    return {
        "models": (Model(a=1), Model.model_validate({"a": 1}), Model(a=1).model_copy(), Model(a=1, b=[])),
        "hash that attrs keeps": (Hashed("a"), hashed("a")),
        "defined": (Defined(1, [2]), Defined(1, [2])),
    }
