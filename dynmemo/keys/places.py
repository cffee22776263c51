"""Places: where a name leads to at the moment."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


class Missing:
    """What stands where nothing does."""

    __slots__ = ()


MISSING: Final = Missing()

Key = tuple[int, Any]


class Place:
    """A variable, attribute or closure cell, which may be bound anew at any time.

    Attributes:
        key: identifies the place as long as this object lives.
        fixed: it cannot be bound anew, as an element of a tuple.
    """

    __slots__ = ("fixed", "holder", "key", "name", "owner")

    def __init__(
        self, holder: Mapping[Any, Any] | types.CellType, name: Any, owner: object = None, *, fixed: bool = False
    ) -> None:
        self.holder = holder
        self.name = name
        self.owner = owner  # keeps the id in the key its own
        self.fixed = fixed
        self.key: Key = (id(holder if owner is None else owner), name)

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
    return Place(vars(cls), name, cls)


def instance_place(instance: object, name: str) -> Place:
    """The place of an attribute of an instance."""
    return Place(attributes_of(instance), name, instance)


class Slots(Mapping[str, Any]):
    """The attributes of an instance whose class has slots, as they are now."""

    def __init__(self, instance: object) -> None:
        self._instance = instance
        self._dict: Mapping[str, Any] = getattr(instance, "__dict__", {})
        self._slots = {
            name: slot
            for base in reversed(type(instance).__mro__)
            for name, slot in vars(base).items()
            if isinstance(slot, types.MemberDescriptorType)
        }

    def __getitem__(self, name: str) -> Any:
        if name in self._dict:
            return self._dict[name]
        try:
            return self._slots[name].__get__(self._instance)
        except AttributeError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        yield from self._dict
        yield from (name for name in self._slots if self.get(name, MISSING) is not MISSING)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def attributes_of(instance: object) -> Mapping[str, Any]:
    """The attributes that an instance has of its own, live."""
    has_slots = any(
        isinstance(value, types.MemberDescriptorType)
        for base in type(instance).__mro__
        for value in vars(base).values()
    )
    return Slots(instance) if has_slots else getattr(instance, "__dict__", {})
