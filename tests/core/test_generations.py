"""The generations of one process, asked by two threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynmemo.generations import Generations
from dynmemo.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from dynmemo.item import Item


class SlowAnswers(SqliteStore):
    """Does something between what a read finds and its answer."""

    meanwhile = staticmethod(lambda: None)

    def read(self, key: str, *, consistent: bool = False) -> Item | None:
        found = super().read(key, consistent=consistent)
        if key == "fn#gen":
            self.meanwhile()
        return found


def test_an_answer_that_was_under_way_when_this_process_cleared_is_not_believed(tmp_path: Path) -> None:
    store = SlowAnswers(str(tmp_path / "cache.db"))
    now = 100.0
    generations = Generations(lambda: now)
    before = generations.ensured(store, "fn")
    now += 60

    def clear() -> None:
        nonlocal now
        now += 0.1
        generations.renew(store, "fn")

    store.meanwhile = clear
    generations.known(store, "fn")
    store.meanwhile = lambda: None
    assert generations.known(store, "fn") != before
    assert generations.known(store, "fn") == generations.confirmed(store, "fn")
    store.close()
