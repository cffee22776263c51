"""Whether a cache can serve: each thing that calls need, good or with what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynmemo import views
from dynmemo.cache.options import HOW_TO_MAKE_A_SECRET, SHORTEST_GOOD_SECRET
from dynmemo.item import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dynmemo.cache import Cache

_MARKS = {True: "good", False: "BAD", None: "-"}


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis:
    """What `doctor` found; `print` its `table`, or let a notebook show it.

    Example:
        >>> diagnosis = dynmemo.doctor("sqlite:///cache.db")
        >>> diagnosis.is_good, diagnosis.table()[0]
        (True, ['what', '', 'found', 'what to do'])
    """

    location: str
    """A path, or table, region and endpoint."""
    findings: tuple[Finding, ...]
    """In the order in which they were tried."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is bad."""
        return all(finding.is_good is not False for finding in self.findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __repr__(self) -> str:
        return f"<dynmemo.Diagnosis {self.location}: {self._headline()}>"

    def table(self) -> list[list[str]]:
        """In words: a line of titles, then one for each finding."""
        lines = [[finding.what, _MARKS[finding.is_good], finding.found, finding.advice] for finding in self.findings]
        return [["what", "", "found", "what to do"], *lines]

    def _repr_html_(self) -> str:
        cells = [[views.label(what), *map(views.plain, rest)] for what, *rest in self.table()[1:]]
        return views.page(self.location, self._headline(), views.table("", cells))

    def _headline(self) -> str:
        return "in order" if self.is_good else "not in order"


def examine(cache: Cache) -> Diagnosis:
    """Try what the calls of decorated functions need, without changing or creating anything."""
    return Diagnosis(cache.store.location, (*cache.store.examine(), _secret(cache)))


def _secret(cache: Cache) -> Finding:
    if not cache.secrets:
        advice = "set the same DYNMEMO_SECRET for all programs"
        return Finding("secret", None, "none: who can write there can run code here", advice)
    if any(len(secret) < SHORTEST_GOOD_SECRET for secret in cache.secrets):
        found = f"shorter than {SHORTEST_GOOD_SECRET} bytes, so it could be guessed"
        return Finding("secret", None, found, HOW_TO_MAKE_A_SECRET)
    more = f", {len(cache.secrets) - 1} more accepted" if len(cache.secrets) > 1 else ""
    return Finding("secret", True, f"set{more}{', values are encrypted' if cache.encrypt else ''}")
