"""Places: where a name leads to at the moment."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MISSING: Final = object()


class Place:
    """A variable, attribute or closure cell, which may be bound anew at any time.

    Attributes:
        key: identifies the place as long as this object lives.
        bindable: False for a place that cannot be bound anew, such as the function inside a partial.
    """

    __slots__ = ("bindable", "holder", "key", "name")

    def __init__(
        self, holder: Mapping[Any, Any] | types.CellType, name: Any, owner: object = None, *, bindable: bool = True
    ) -> None:
        self.holder = holder
        self.name = name
        self.bindable = bindable
        self.key: tuple[int, Any] = (id(holder if owner is None else owner), name)

    def get(self) -> Any:
        """What stands there now, `MISSING` if nothing does."""
        if isinstance(self.holder, types.CellType):
            try:
                return self.holder.cell_contents
            except ValueError:
                return MISSING
        return self.holder.get(self.name, MISSING)


def cell_place(cell: types.CellType) -> Place:
    """The place of a closed-over variable, whatever each function calls it."""
    return Place(cell, "")


def class_place(cls: type, name: str) -> Place:
    """The place of an attribute in the body of `cls`."""
    return Place(vars(cls), name, owner=cls)


def fixed_place(value: object) -> Place:
    """A place that cannot be bound anew, such as the function inside a partial."""
    return Place({"": value}, "", bindable=False)
