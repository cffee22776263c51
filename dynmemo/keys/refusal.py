"""Values without a content of their own, and what to say about them."""

from __future__ import annotations

from typing import Final

from dynmemo.keys.own import type_name

ADVICE: Final = "ame the parameter in ignore=, or register a digest."


class NoStableContent(Exception):  # noqa: N818 - the room above turns it into the error that users see
    """A value, or something inside it, has no content that could stand for it.

    Attributes:
        path: where it is, for example ``jobs[2].source``.
        type_name: the qualified name of its type.
        reason: what it is: ``a generator, which has no stable content``.
        advice: what to do, as a sentence.
    """

    def __init__(self, path: str, type_name: str, reason: str, advice: str) -> None:
        super().__init__(f"`{path}` is {reason}. {advice}")
        self.path = path
        self.type_name = type_name
        self.reason = reason
        self.advice = advice

    def __reduce__(self) -> tuple[object, ...]:
        return NoStableContent, (self.path, self.type_name, self.reason, self.advice)


class Refusal(Exception):  # noqa: N818 - never leaves this package
    """What `NoStableContent` says, from a place that does not know the path."""

    def __init__(self, cls: type, reason: str, hint: str = "", advice: str = "") -> None:
        super().__init__(reason)
        self.type_name = type_name(cls)
        self.reason = reason
        self.hint = hint
        self.advice = advice

    def at(self, path: str) -> NoStableContent:
        """The same with its path."""
        advice = self.advice or (f"{self.hint}, n{ADVICE}" if self.hint else f"N{ADVICE}")
        return NoStableContent(path, self.type_name, self.reason, advice)

    def __reduce__(self) -> tuple[object, ...]:
        # Dask sends the context of an exception along.
        return self.at("value").__reduce__()
