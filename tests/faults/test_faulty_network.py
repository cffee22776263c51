"""Half of all requests fail in one way or another, under load: values stay right, calls bounded, and it heals."""

from __future__ import annotations

import pytest
from botocore.config import Config

from tests.faults.load import FAULTS, Bounds, run

LOAD_SECONDS = 10.0
"""For each fault; `python scripts/faults.py` does it for a minute each, with the settings that users have."""

SHORT = Bounds(read=0.2, attempts=2)
BUSY_MACHINE = 5.0
"""Seconds that threads may wait for a processor."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_is_right_and_bounded_and_afterwards_all_hit(
    fault: str, dynamodb_endpoint: str, dynamodb_table: str
) -> None:
    config = Config(read_timeout=SHORT.read, retries={"total_max_attempts": SHORT.attempts, "mode": "standard"})
    outcome = run(FAULTS[fault], LOAD_SECONDS, endpoint=dynamodb_endpoint, table=dynamodb_table, config=config)
    assert outcome.wrong == 0
    assert outcome.broken > 0
    # What drips comes late, and whole most often; what is throttled is asked again for longer than this lasts.
    assert outcome.errors > 0 or fault in ("drip", "throttling")
    assert outcome.slowest_operation < SHORT.operation + BUSY_MACHINE
    assert outcome.slowest_call < SHORT.call
    assert outcome.heals_after < 120
