"""Half a minute of mixed load leaves nothing behind; `scripts/soak.py` does the same for ten minutes."""

from __future__ import annotations

import logging

import pytest

from tests.fleet.helpers import patient
from tests.fleet.soak import Load, Usage

MEBIBYTE = 1 << 20


@pytest.mark.slow
def test_a_mixed_load_leaks_no_memory_threads_files_or_leases(url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "dynmemo")  # what is said is kept here, and counts as memory
    options = "&lease_seconds=1" if "?" in url else "?lease_seconds=1"
    caches = [patient(url + options) for _ in range(2)]
    load = Load(caches)
    load.run(3)
    before = Usage.now(caches)
    load.run(27)
    after = Usage.now(caches)
    assert load.wrong == 0
    assert load.calls > load.computed > 100
    assert after.leases == 0
    assert after.threads == before.threads
    assert after.files <= before.files
    assert after.memory <= before.memory + 20 * MEBIBYTE
