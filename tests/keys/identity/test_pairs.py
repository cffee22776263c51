"""Edits of a program: those that change nothing for ``f``, and those that make it another function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.keys.identity.programs import DIFFERENT, SAME

if TYPE_CHECKING:
    from tests.keys.identity.helpers import Lab


@pytest.mark.parametrize("edit", SAME)
def test_an_edit_that_means_nothing_keeps_the_fingerprint(lab: Lab, edit: str) -> None:
    before, after = SAME[edit]
    assert lab.fingerprint(before) == lab.fingerprint(after)


@pytest.mark.parametrize("edit", DIFFERENT)
def test_an_edit_that_matters_changes_the_fingerprint(lab: Lab, edit: str) -> None:
    before, after = DIFFERENT[edit]
    first, second = lab.fingerprint(before), lab.fingerprint(after)
    assert first != second
    assert first == lab.fingerprint(before)
