"""Moving entries between stores: verified where they lie, resealed and restamped for where they go, never unpickled."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynmemo import expiry, views
from dynmemo._process import Backlog, logger
from dynmemo.codec import Codec
from dynmemo.errors import UnreadableValueError, ValueTooLargeError
from dynmemo.generations import Stamp
from dynmemo.item import SEGMENTS, Expect, Refused
from dynmemo.keys import GENERATION_SUFFIX, is_name_in, keys_of, names_in
from dynmemo.leases import Watch
from dynmemo.parts import bytes_of, owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynmemo.cache import Cache
    from dynmemo.generations import Generation
    from dynmemo.item import Content, Item

LONGEST_WAIT = 60.0
"""Seconds for which it waits, at the end, to see whether who computes in the target still lives."""
_ATTRIBUTES_BYTES = 300
"""Of a row beside its value, about."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """What `push` or `pull` did, or would do as a dry run.

    Example:
        >>> forecast("SEA", 1)
        [12.5]
        >>> dry = dynmemo.push(to="sqlite:///shared.db", dry_run=True)
        >>> dry.copied, dry.size < 1_000
        (1, True)
    """

    copied: int = 0
    """Entries that lie in the target now."""
    kept: int = 0
    """Entries that it had already, as new or newer, or is computing."""
    unreadable: int = 0
    """Entries that the source's secret does not verify, or whose value is missing."""
    too_large: int = 0
    """Entries that the target does not accept."""
    size: int = 0
    """Bytes of the copied ones as stored."""
    write_units: int = 0
    """DynamoDB write units that they take, about; 0 where the target does not bill."""

    def in_words(self) -> dict[str, str]:
        """What a table says of it, beside entries and bytes."""
        counts = {
            "write units": self.write_units,
            "there already, as new or newer": self.kept,
            "not to be verified with the source's secret, or without their value": self.unreadable,
            "larger than the target accepts": self.too_large,
        }
        return {what: f"{count:,}" for what, count in counts.items() if count}

    def _repr_html_(self) -> str:
        copied = f"{views.counted(self.copied, 'entry', 'entries')}, {views.size(self.size)}"
        return views.page("transfer", copied, views.facts(self.in_words().items()))


def transfer(
    source: Cache,
    target: Cache,
    *,
    fn: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    progress: Callable[[Transferred], None] | None = None,
) -> Transferred:
    """Copy live entries of decorated functions and regions. Done again, it goes on where it stopped.

    What a worker that has died computed in the target is no hindrance: whether it has, is seen at the end.

    Args:
        source, target: from where to where; each with its prefix, secret and encryption.
        fn: a key name; only entries of this function.
        replace: also over entries that were computed later.
        dry_run: write nothing; count what there is, be it in the target already or not.
        progress: called with what was done so far after each entry.

    Raises:
        StoreUnavailableError, InvalidTableError: what was copied so far is there.
    """
    move = _Move(source, target, replace=replace, dry_run=dry_run)
    if not source.store.exists():
        logger.warning("there is nothing at %s", source.store.location)
        return move.so_far()
    _warn(source, target)

    def count(counted: Counter[str]) -> None:
        move.counts.update(counted)
        if progress is not None:
            progress(move.so_far())

    with Backlog("dynmemo-transfer", count) as backlog:
        for key, row in source.store.patient().scan(keys_of(fn, source.namespace), segments=SEGMENTS):
            if move.takes(key, row):
                backlog.submit(move.one, key)
    for key, dead_at in sorted(move.held.items(), key=lambda held: held[1]):
        time.sleep(max(0.0, dead_at - time.monotonic()))
        move.counts["kept"] -= 1
        count(move.one(key))
    return move.so_far()


def _warn(source: Cache, target: Cache) -> None:
    """Say what moving means for who relies on a secret or on encryption."""
    if target.secrets and not source.secrets:
        logger.warning(
            "nothing in %s is signed, so it can only be checked for damage. Signed with the secret of where it goes, "
            "it is trusted there, whoever wrote it: push only what you would run",
            source.store.location,
        )
    if source.encrypt and not target.encrypt:
        logger.warning(
            "values are encrypted in %s, and will not be in %s", source.store.location, target.store.location
        )


class _Move:
    """From one cache to another."""

    def __init__(self, source: Cache, target: Cache, *, replace: bool, dry_run: bool) -> None:
        self._source, self._target = source, target
        self._from, self._to = source.store.patient(), target.store.patient()
        self._replace, self._dry_run = replace, dry_run
        self._opening = Codec(secrets=source.secrets, encrypt=source.encrypt)
        self._sealing = Codec(secrets=target.secrets, encrypt=target.encrypt, compress=target.compress)
        self._generations: dict[str, Generation | None] = {}
        """Of the target, by function; None where nothing is written."""
        self._watch = Watch()
        self.counts: Counter[str] = Counter()
        self.held: dict[str, float] = {}
        """What somebody computes in the target, and when (monotonic) that will be known to be given up."""

    def takes(self, key: str, row: Item) -> bool:
        """Whether a row is a live entry."""
        if row.fn is None or row.lease_owner is not None or row.no_store is not None:
            return False
        if not is_name_in(self._source.namespace, row.fn):
            return False
        if key.endswith(GENERATION_SUFFIX) or owner(key) is not None:
            return False
        fn = self._there(row.fn)
        if fn not in self._generations:
            self._source.generations.confirmed(self._from, row.fn)
            # Before anything is read: what is cleared in the target meanwhile stays forgotten.
            self._generations[fn] = None if self._dry_run else self._target.generations.ensured(self._to, fn)
        # Known for some seconds: what is cleared in the source meanwhile is not copied any more.
        present = self._source.generations.known(self._from, row.fn)
        return present.covers(row.gen, key) and not expiry.is_expired(row, self._source.clock())

    def _there(self, name_or_key: str) -> str:
        """A key name, or a key, in the namespace of the target."""
        return names_in(self._target.namespace) + name_or_key.removeprefix(names_in(self._source.namespace))

    def one(self, key: str) -> Counter[str]:
        """Copy an entry: what is to be counted for it."""
        row = self._from.read(key)
        if row is None or row.fn is None or not self.takes(key, row):
            return Counter()
        try:
            value, computed_at = self._sealed(key, row)
            size = len(value)
            self._target.check_size(size)
            row = row._replace(value=value, parts=None, fn=self._there(row.fn))
            if not self._dry_run and not self._put(key, row, computed_at):
                return Counter(kept=1)
        except UnreadableValueError:
            return Counter(unreadable=1)
        except ValueTooLargeError:
            return Counter(too_large=1)
        units = -(-(size + len(key) + _ATTRIBUTES_BYTES) // 1024) if self._to.is_billed else 0
        return Counter(copied=1, size=size, write_units=units)

    def _sealed(self, key: str, row: Item) -> tuple[bytes | Content, float]:
        """The value as the target has to store it, and when it was computed."""
        is_of_region = key.split(":")[1:2] == [""]
        value = row.value
        if is_of_region:
            with suppress(OSError):  # a file may have gone
                value = bytes_of(row)
        if value is None:
            raise UnreadableValueError("the value is missing", cause="missing")
        try:
            unsealed = self._opening.unseal(value, key=self._from.partition_key(key))
        except UnreadableValueError:
            if is_of_region:  # bytes of the user's own, and not those of an adapter
                return value, 0.0
            raise
        there = self._to.partition_key(self._there(key))
        return self._sealing.reseal(unsealed, key=there), unsealed.header.computed_at

    def _put(self, key: str, row: Item, computed_at: float) -> bool:
        """Whether the row was put: nothing that is as new or newer stood there."""
        generation, stamp = self._generations[row.fn or ""], Stamp.of(row.gen)
        if generation is not None:
            row = row._replace(gen=generation.stamp(stamp.program if stamp is not None else ""))
        where = self._there(key)
        answer = self._to.write(where, row, Expect())
        there = answer.row if isinstance(answer, Refused) else None
        if there is not None and not self._stays(key, there, row, computed_at):
            answer = self._to.write(where, row, Expect.seen(there))
        return not isinstance(answer, Refused)

    def _stays(self, key: str, standing: Item, row: Item, computed_at: float) -> bool:
        present = self._generations[row.fn or ""]
        if present is None or not present.can_tell(standing.gen or ""):
            present = self._target.generations.confirmed(self._to, row.fn or "")
        # Cleared since this began? Then what stands there may be new, and what comes is forgotten already.
        if not present.covers(row.gen, key) or not present.covers(standing.gen, key):
            return not present.covers(row.gen, key)
        if standing.lease_owner is not None and not expiry.is_expired(standing, self._target.clock()):
            if self._watch.expect_if_dead(standing) is not None:
                return False
            if (standing.lease_seconds or 0) <= LONGEST_WAIT:
                self.held[key] = time.monotonic() + (standing.lease_seconds or 0)
            return True
        if standing.value is None or expiry.is_expired(standing, self._target.clock()):
            return False
        if computed_at == 0:
            return not self._replace
        try:
            there = self._sealing.unseal(standing.value, key=self._to.partition_key(self._there(key)))
        except UnreadableValueError:  # as with a secret that the target has no more: nobody there can use it
            return False
        newer = there.header.computed_at - computed_at
        return newer == 0 or (newer > 0 and not self._replace)

    def so_far(self) -> Transferred:
        return Transferred(**self.counts)
