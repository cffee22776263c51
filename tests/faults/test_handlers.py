"""Calls from where one does not expect them: handlers of signals and of log records, and finalizers."""

from __future__ import annotations

import gc
import logging
import signal
from typing import TYPE_CHECKING

import pytest

from dynmemo import Cache, dynamo_cached
from tests.pythons import printed

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import faulthandler, signal, sys
from dynmemo import Cache, dynamo_cached

faulthandler.dump_traceback_later(60, exit=True)
cache = Cache.sqlite(sys.argv[1])

@dynamo_cached(cache=cache)
def state(x):
    return 2 * x

handled = 0

def handle(*_):
    global handled
    handled += 1
    number = handled % 10 if sys.argv[2] == "hits" else 1_000_000 + handled
    assert state(number) == 2 * number

state(0)
signal.signal(signal.SIGALRM, handle)
calls = 0
while handled < 300:
    signal.setitimer(signal.ITIMER_REAL, 0.0001 + 0.0001 * (calls % 23))  # at another place each time
    calls += 1
    number = calls % 10 if sys.argv[2] == "hits" else calls
    assert state(number) == 2 * number
    state.cache_info()
signal.setitimer(signal.ITIMER_REAL, 0)
info = state.cache_info()
assert info.hits + info.misses == calls + handled + 1, (info, calls, handled)
print("done")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
@pytest.mark.parametrize("mode", ["hits", "misses"])
def test_a_signal_handler_may_call_a_cached_function_while_one_is_under_way(tmp_path: Path, mode: str) -> None:
    assert printed("-c", PROGRAM, str(tmp_path / "cache.db"), mode) == "done\n"


def test_a_handler_of_our_log_records_may_call_a_cached_function(tmp_path: Path) -> None:
    broken = tmp_path / "cache.db"
    broken.mkdir()  # where the file should be
    handled: list[int] = []

    @dynamo_cached(cache=Cache.sqlite(broken))
    def double(x: int) -> int:
        return 2 * x

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            handled.append(double(len(handled)))

    handler = Handler()
    logging.getLogger("dynmemo").addHandler(handler)
    try:
        assert [double(x) for x in range(10, 15)] == [20, 22, 24, 26, 28]
    finally:
        logging.getLogger("dynmemo").removeHandler(handler)
    assert handled


def test_a_finalizer_may_call_a_cached_function_while_one_is_under_way(cache: Cache) -> None:
    finalized: list[int] = []

    @dynamo_cached(cache=cache)
    def double(x: int) -> int:
        return 2 * x

    class Circle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            finalized.append(double(1_000 + len(finalized)))

    before = gc.get_threshold()
    gc.set_threshold(1)  # a collection at almost every allocation
    try:
        for x in range(20):
            Circle()
            assert double(x) == 2 * x
            double.cache_info()
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert len(finalized) == 20
    info = double.cache_info()
    assert info.hits + info.misses == 40


INTERRUPTED = """
import random, signal, sys, time
from dynmemo import Cache, dynamo_cached

cache = Cache.sqlite(sys.argv[1], lease_seconds=3600)
random.seed(7)

@dynamo_cached(cache=cache)
def state(x):
    time.sleep(0.001)
    return 2 * x

def interrupt(*_):
    raise KeyboardInterrupt

sys.unraisablehook = lambda _: None  # those in finalizers
signal.signal(signal.SIGALRM, interrupt)
state(0)
interrupts = rounds = kept = 0
while interrupts < 150 and rounds < 1_000:
    rounds += 1
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.01), random.choice((0, 0.0005)))
        for x in range(1, 20):  # no longer: an interrupt that comes in a finalizer is lost
            state(x)
            state.invalidate(x)
    except KeyboardInterrupt as error:
        interrupts += 1
        kept = error  # as a notebook keeps it
    finally:
        while True:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
                break
            except KeyboardInterrupt:
                pass
assert interrupts > 20
assert [state(x) for x in range(20)] == [2 * x for x in range(20)]
print("done")
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
def test_no_call_waits_for_a_lease_of_a_computation_that_was_interrupted(tmp_path: Path) -> None:
    assert printed("-c", INTERRUPTED, str(tmp_path / "cache.db")) == "done\n"


FIRST_CALL = """
import faulthandler, sys, tempfile
faulthandler.dump_traceback_later(100, exit=True)
from dynmemo import Cache, dynamo_cached
from dynmemo.stores.sqlite import SqliteStore

def first_call(moment):
    # The first call of a cache, within which another one comes as from a handler of signals; how many moments it has.
    # One that comes within a transaction computes without the cache, after it has waited for itself.
    cache = Cache(SqliteStore(tempfile.mkdtemp(dir=sys.argv[1]) + "/cache.db", busy_timeout=0.01))
    moments = 0

    @dynamo_cached(cache=cache, version=1)
    def double(x):
        return 2 * x

    def handler(*_):
        nonlocal moments
        moments += 1
        if moments == moment:
            sys.setprofile(None)
            assert double(5) == 10

    sys.setprofile(handler)
    try:
        assert double(1) == 2
    finally:
        sys.setprofile(None)
    assert [double(1), double(5)] == [2, 10]
    cache.close()
    return moments

for moment in range(1, first_call(0), 41):
    first_call(moment)
print("done")
"""


def test_a_handler_may_call_in_the_middle_of_the_first_call(tmp_path: Path) -> None:
    assert printed("-c", FIRST_CALL, str(tmp_path)) == "done\n"
