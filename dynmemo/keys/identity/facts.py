"""What is known of one code object: its digest, what it reads from outside, and what it changes there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Chain: TypeAlias = tuple[str, ...]
"""A name from outside the function and the attributes after it: ``mymod.sub.CONST`` is ``("mymod", "sub", "CONST")``.

The root is a global or closed-over name, or what `parameter_root` makes of a parameter and `import_root` of an import
in the function.
"""

BIND = "="
ITEM = "[]="
ITEM_CALL = "[]."


class Write(NamedTuple):
    """Something that the code does to `chain`.

    `how` is `BIND` (the last name is bound anew or deleted), `ITEM` (an item is set or deleted), the name
    of a method called on it, or that name after `ITEM_CALL` for a method of one of its items.
    """

    chain: Chain
    how: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one code object with everything nested in it."""

    digest: str
    """32 hex digits of the tree, or of the bytecode."""
    from_source: bool
    reads: tuple[Chain, ...]
    writes: tuple[Write, ...]
    attributes: tuple[str, ...]
    """All names of attributes, of whatever: the methods that may be called."""

    def dump(self) -> tuple[object, ...]:
        """As plain data, to travel in a pickle."""
        return (
            self.digest,
            self.from_source,
            self.reads,
            tuple((w.chain, w.how) for w in self.writes),
            self.attributes,
        )

    @classmethod
    def load(cls, data: tuple[object, ...]) -> Facts:
        digest, from_source, reads, writes, attributes = data
        return cls(digest, from_source, reads, tuple(Write(*pair) for pair in writes), attributes)  # type: ignore[arg-type, attr-defined]


def parameter_root(name: str) -> str:
    """The root of a chain that begins with a parameter: an instance in methods, or a default."""
    return f"parameter {name}"


def parameter_name(root: str) -> str | None:
    """The parameter of a root made by `parameter_root`, None for any other root."""
    return root[10:] if root.startswith("parameter ") else None


def import_root(level: int, module: str) -> str:
    """The root of a chain that begins with an import in the function."""
    return f"import {'.' * level}{module}"


def imported_module(root: str) -> str | None:
    """The module (with leading dots if relative) of a root made by `import_root`, None for any other root."""
    return root[7:] if root.startswith("import ") else None
