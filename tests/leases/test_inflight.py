"""Single-flight within a process: threads and tasks that lead, follow, fail, are cancelled, and call each other."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dynmemo.leases import Flights, Waited, led
from dynmemo.testing.together import at_once, until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from dynmemo.leases import Flight

LANDED, HANDED_OVER, TIMED_OUT, DEADLOCK = (
    Waited.LANDED,
    Waited.HANDED_OVER,
    Waited.TIMED_OUT,
    Waited.DEADLOCK,
)


@pytest.fixture
def flights() -> Flights[object]:
    return Flights()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def waiting(flight: Flight[object]) -> int:
    return len(flight._wakers)


def waiting_for(flights: Flights[object], key: object = "k") -> int:
    flight = flights._flights.get(key)
    return 0 if flight is None else waiting(flight)


def shared(flights: Flights[object], key: object, compute: Callable[[], object]) -> object:
    """A call that goes through flights only."""
    while True:
        flight, leads = flights.join(key)
        if leads:
            break
        waited = flight.wait()
        if waited is LANDED:
            return given(flight.outcome)
        if waited is not HANDED_OVER:
            return compute()
    with flight.leading():
        try:
            result = compute()
        except Exception as error:
            flight.land(error)
            raise
        flight.land(result)
        return result


async def ashared(flights: Flights[object], key: object, compute: Callable[[], Any]) -> object:
    """`shared` for a coroutine function."""
    while True:
        flight, leads = flights.join(key)
        if leads:
            break
        waited = await flight.wait_async()
        if waited is LANDED:
            return given(flight.outcome)
        if waited is not HANDED_OVER:
            return await compute()
    with flight.leading():
        try:
            result = await compute()
        except Exception as error:
            flight.land(error)
            raise
        flight.land(result)
        return result


def given(outcome: object) -> object:
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


class Computation:
    """Counts how often it runs, and goes on when told to."""

    def __init__(self, outcome: object = "result") -> None:
        self.outcome = outcome
        self.runs: list[int] = []
        self.go = threading.Event()

    def __call__(self) -> object:
        self.runs.append(threading.get_ident())
        assert self.go.wait(60)
        return given(self.outcome)


def leading(flights: Flights[object], key: object = "k") -> Flight[object]:
    flight, leads = flights.join(key)
    assert leads
    return flight


def following(flights: Flights[object], key: object = "k") -> Flight[object]:
    flight, leads = flights.join(key)
    assert not leads
    return flight


# --- one leads, the others follow ---


def test_of_many_threads_that_join_at_once_one_leads(flights: Flights[object]) -> None:
    joined = at_once(16, lambda _: flights.join("k"))
    assert sum(leads for _, leads in joined) == 1
    assert len({flight for flight, _ in joined}) == 1


def test_threads_get_the_one_result_of_their_leader(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    compute = Computation(outcome=["the very object"])
    calls = [pool.submit(shared, flights, "k", compute) for _ in range(8)]
    until(lambda: compute.runs and waiting_for(flights) == 7)
    compute.go.set()
    assert all(call.result() is compute.outcome for call in calls)
    assert len(compute.runs) == 1


def test_other_keys_are_other_flights(flights: Flights[object]) -> None:
    leading(flights, ("cache", "k"))
    leading(flights, ("cache", "j"))
    leading(flights, ("other cache", "k"))
    following(flights, ("cache", "k"))


def test_after_the_landing_the_next_call_leads_a_new_flight(flights: Flights[object]) -> None:
    first = leading(flights)
    late = following(flights)
    first.land(1)
    assert late.wait() is LANDED
    assert leading(flights) is not first


def test_an_outcome_is_published_once(flights: Flights[object]) -> None:
    flight = leading(flights)
    flight.land(1)
    flight.land(2)
    flight.hand_over()
    assert flight.outcome == 1
    assert flight.wait() is LANDED


def test_an_old_flight_that_ends_again_leaves_the_new_one_alone(flights: Flights[object]) -> None:
    old = leading(flights)
    old.hand_over()
    new = leading(flights)
    old.land(1)
    assert following(flights) is new


def test_followers_share_the_exception_of_their_leader(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    compute = Computation(outcome=ValueError("no such city"))
    calls = [pool.submit(shared, flights, "k", compute) for _ in range(8)]
    until(lambda: compute.runs and waiting_for(flights) == 7)
    compute.go.set()
    assert all(call.exception() is compute.outcome for call in calls)
    assert len(compute.runs) == 1


def test_a_failure_is_not_remembered(flights: Flights[object]) -> None:
    flight = leading(flights)
    with pytest.raises(ValueError, match="x"), flight.leading():
        raise ValueError("x")
    leading(flights)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_an_interrupted_leader_hands_over_to_one_of_its_followers(
    flights: Flights[object], pool: ThreadPoolExecutor, interruption: type[BaseException]
) -> None:
    flight = leading(flights)
    compute = Computation()
    calls = [pool.submit(shared, flights, "k", compute) for _ in range(8)]
    until(lambda: waiting(flight) == 8)
    with pytest.raises(interruption), flight.leading():
        raise interruption
    until(lambda: compute.runs and waiting_for(flights) == 7)
    compute.go.set()
    assert [call.result() for call in calls] == ["result"] * 8
    assert len(compute.runs) == 1


def test_waiting_ends_after_the_timeout_and_harms_nobody(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    flight = leading(flights)
    patient = pool.submit(flight.wait)
    until(lambda: waiting(flight) == 1)
    assert pool.submit(flight.wait, 0.01).result() is TIMED_OUT
    assert pool.submit(flight.wait, 0).result() is TIMED_OUT
    assert waiting(flight) == 1
    flight.land("result")
    assert patient.result() is LANDED


def test_a_timeout_may_be_longer_than_any_system_waits(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    flight = leading(flights)
    follower = pool.submit(flight.wait, 1e12)
    until(lambda: waiting(flight) == 1)
    flight.land("result")
    assert follower.result() is LANDED


def test_a_leader_whose_thread_is_gone_is_replaced(flights: Flights[object]) -> None:
    thread = threading.Thread(target=flights.join, args=("k",))
    thread.start()
    thread.join()
    assert following(flights).wait() is HANDED_OVER
    leading(flights)


def test_a_flight_may_be_led_beside_another_one_and_gets_all_who_join_later(
    flights: Flights[object], pool: ThreadPoolExecutor
) -> None:
    old = leading(flights)
    early = pool.submit(old.wait)
    new = flights.lead("k")
    assert following(flights) is new
    old.land("old")
    assert following(flights) is new
    assert early.result() is LANDED
    late = pool.submit(shared, flights, "k", Computation())
    until(lambda: waiting(new) == 1)
    new.land("new")
    assert late.result() == "new"
    assert not flights._flights


def test_a_call_below_a_flight_that_replaced_another_does_not_wait_for_itself(flights: Flights[object]) -> None:
    leading(flights)
    with flights.lead("k").leading():
        assert following(flights).wait() is DEADLOCK


# --- tasks ---


def test_tasks_get_the_one_result_of_their_leader(flights: Flights[object]) -> None:
    runs = []

    async def compute() -> str:
        runs.append(1)
        while waiting_for(flights) < 49:
            await asyncio.sleep(0)
        return "result"

    async def main() -> list[object]:
        return await asyncio.gather(*(ashared(flights, "k", compute) for _ in range(50)))

    assert asyncio.run(main()) == ["result"] * 50
    assert runs == [1]


def test_the_loop_goes_on_while_a_task_waits(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    compute = Computation()
    leader = pool.submit(shared, flights, "k", compute)
    until(lambda: compute.runs)

    async def main() -> object:
        follower = asyncio.create_task(ashared(flights, "k", asyncio.Event().wait))
        while not waiting_for(flights):
            await asyncio.sleep(0)
        compute.go.set()
        return await follower

    assert asyncio.run(main()) == "result"
    assert leader.result() == "result"


def test_threads_and_tasks_of_several_loops_follow_one_leader(
    flights: Flights[object], pool: ThreadPoolExecutor
) -> None:
    flight = leading(flights)

    async def follow() -> list[object]:
        return await asyncio.gather(*(ashared(flights, "k", asyncio.Event().wait) for _ in range(3)))

    loops = [pool.submit(asyncio.run, follow()) for _ in range(3)]
    plain = [pool.submit(shared, flights, "k", Computation()) for _ in range(3)]
    until(lambda: waiting(flight) == 12)
    flight.land("result")
    assert [call.result() for call in loops] == [["result"] * 3] * 3
    assert [call.result() for call in plain] == ["result"] * 3


def test_threads_follow_a_task(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    async def compute() -> str:
        followers.extend(pool.submit(shared, flights, "k", Computation()) for _ in range(3))
        while waiting_for(flights) < 3:
            await asyncio.sleep(0)
        return "result"

    followers: list[Any] = []
    assert asyncio.run(ashared(flights, "k", compute)) == "result"
    assert [follower.result() for follower in followers] == ["result"] * 3


def test_a_cancelled_waiter_harms_neither_the_leader_nor_other_waiters(flights: Flights[object]) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def compute() -> str:
            await go.wait()
            return "result"

        leader, first, second = [asyncio.create_task(ashared(flights, "k", compute)) for _ in range(3)]
        while waiting_for(flights) < 2:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        assert waiting_for(flights) == 1
        go.set()
        assert [await leader, await second] == ["result"] * 2

    asyncio.run(main())


def test_a_cancelled_task_hands_over_and_cancels_nobody_else(
    flights: Flights[object], pool: ThreadPoolExecutor
) -> None:
    runs = []

    async def main() -> None:
        go = asyncio.Event()

        async def compute() -> str:
            runs.append(1)
            await go.wait()
            return "result"

        leader, *others = [asyncio.create_task(ashared(flights, "k", compute)) for _ in range(4)]
        while waiting_for(flights) < 3:
            await asyncio.sleep(0)
        thread = pool.submit(shared, flights, "k", in_thread)
        while waiting_for(flights) < 4:
            await asyncio.sleep(0.001)
        leader.cancel()
        while len(runs) + len(in_thread.runs) < 2 or waiting_for(flights) < 3:
            await asyncio.sleep(0.001)
        go.set()
        in_thread.go.set()
        assert await asyncio.gather(*others) == ["result"] * 3
        assert await asyncio.wrap_future(thread) == "result"
        assert leader.cancelled()

    in_thread = Computation()
    asyncio.run(main())
    assert len(runs) + len(in_thread.runs) == 2


def test_a_task_stops_waiting_after_the_timeout(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    flight = leading(flights)
    assert pool.submit(asyncio.run, flight.wait_async(0.01)).result() is TIMED_OUT
    assert pool.submit(asyncio.run, flight.wait_async(0)).result() is TIMED_OUT
    assert waiting(flight) == 0


def test_a_waiter_whose_loop_was_closed_disturbs_no_landing(flights: Flights[object]) -> None:
    flight = leading(flights)
    loop = asyncio.new_event_loop()
    waiter = loop.create_task(flight.wait_async())
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert waiting(flight) == 1
    loop.close()
    flight.land("result")
    assert flight.wait() is LANDED
    waiter.get_coro().close()
    waiter._log_destroy_pending = False  # type: ignore[attr-defined]  # the loop that it waited for is gone on purpose


def test_followers_of_a_task_whose_loop_was_stopped_do_not_wait_for_ever(flights: Flights[object]) -> None:
    loop = asyncio.new_event_loop()

    async def lead() -> None:
        with leading(flights).leading():
            await asyncio.Event().wait()

    task = loop.create_task(lead())
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert following(flights).wait() is HANDED_OVER
    leading(flights)
    task.cancel()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()


def test_a_leader_that_is_thrown_away_hands_over(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    def story() -> Iterator[None]:
        with leading(flights).leading():
            yield

    steps = story()
    next(steps)
    follower = pool.submit(following(flights).wait)
    until(lambda: waiting_for(flights) == 1)
    del steps
    gc.collect()
    assert follower.result() is HANDED_OVER


def test_who_was_interrupted_before_leading_or_while_ending_hands_over(flights: Flights[object]) -> None:
    abandoned = leading(flights)  # and never led
    assert following(flights).wait() is HANDED_OVER
    block = leading(flights).leading()
    block.__enter__()
    token = led.set(())  # as it is once the call that led is over
    assert following(flights).wait() is HANDED_OVER
    led.reset(token)
    block.__exit__()
    assert abandoned.is_over
    leading(flights)


def test_another_thread_waits_no_longer_than_an_entry_for_who_was_interrupted_before_leading(
    flights: Flights[object], pool: ThreadPoolExecutor
) -> None:
    leading(flights)
    assert pool.submit(following(flights).wait).result() is HANDED_OVER


def test_an_end_that_was_interrupted_is_done_again(flights: Flights[object]) -> None:
    flight = leading(flights)
    flight._open.pop()  # the first that is done of it
    flight.hand_over()
    assert flight.is_over
    leading(flights)


def test_a_leader_that_is_closed_in_another_context_hands_over(flights: Flights[object]) -> None:
    def story() -> Generator[None, None, None]:
        with leading(flights).leading():
            yield

    steps = story()
    next(steps)
    contextvars.copy_context().run(steps.close)
    leading(flights)


# --- calls within calls ---


def test_a_call_that_asks_for_itself_does_not_wait(flights: Flights[object]) -> None:
    with leading(flights).leading():
        assert following(flights).wait() is DEADLOCK
        assert asyncio.run(following(flights).wait_async()) is DEADLOCK


def test_recursion_through_other_keys_does_not_wait(flights: Flights[object]) -> None:
    with leading(flights, "even").leading(), leading(flights, "odd").leading():
        assert following(flights, "even").wait() is DEADLOCK


def test_recursion_is_seen_in_threads_and_tasks_that_belong_to_the_call(flights: Flights[object]) -> None:
    async def main() -> None:
        with leading(flights).leading():
            assert await asyncio.to_thread(following(flights).wait) is DEADLOCK
            assert await asyncio.create_task(following(flights).wait_async()) is DEADLOCK

    asyncio.run(main())


def test_what_was_led_before_is_no_longer_in_the_way(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    with (flight := leading(flights)).leading():
        flight.land(1)
        other = pool.submit(leading, flights).result()
        joined = following(flights)
        waiter = threading.Timer(0.01, other.land, (2,))
        waiter.start()
        assert joined.wait(60) is LANDED
    waiter.join()


def test_a_wait_for_what_was_led_before_that_is_about_to_end_is_no_ring(
    flights: Flights[object], pool: ThreadPoolExecutor
) -> None:
    other = leading(flights, "other")
    with (first := leading(flights, "first")).leading():
        later = contextvars.copy_context()
    other.awaits.append(first)  # it has landed, and the other's leader has not woken up yet
    assert pool.submit(later.run, other.wait, 0.01).result() is TIMED_OUT


def test_a_task_begun_in_a_call_may_wait_for_its_key_after_the_call(
    flights: Flights[object], pool: ThreadPoolExecutor
) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def later() -> Waited:
            await go.wait()
            return await following(flights).wait_async()

        with leading(flights).leading():
            task = asyncio.create_task(later())
            await asyncio.sleep(0)
        other = pool.submit(leading, flights).result()
        go.set()
        while not waiting(other):
            await asyncio.sleep(0)
        other.land("result")
        assert await task is LANDED

    asyncio.run(main())


def crossing(flights: Flights[object], mine: str, theirs: str, ready: threading.Barrier, both: bool) -> Waited:
    """Lead one key and wait for another that somebody else leads."""
    with leading(flights, mine).leading():
        ready.wait()
        waited = asyncio.run(following(flights, theirs).wait_async()) if both else following(flights, theirs).wait()
        if waited is DEADLOCK:
            flights.join(mine)[0].land(mine)
        return waited


@pytest.mark.parametrize("tasks", [False, True], ids=["threads", "tasks of two loops"])
@pytest.mark.parametrize("ring", [2, 3, 5])
def test_calls_that_would_wait_for_each_other_in_a_ring_do_not_all_wait(
    flights: Flights[object], pool: ThreadPoolExecutor, ring: int, tasks: bool
) -> None:
    for turn in range(20):
        ready = threading.Barrier(ring)
        keys = [f"{turn}:{n}" for n in range(ring)]
        calls = [pool.submit(crossing, flights, keys[n], keys[(n + 1) % ring], ready, tasks) for n in range(ring)]
        ended = [call.result(60) for call in calls]
        assert DEADLOCK in ended
        assert set(ended) <= {DEADLOCK, LANDED, HANDED_OVER}


def test_a_chain_of_waits_without_a_ring_waits(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    def link(mine: str, theirs: str) -> Waited:
        with (flight := leading(flights, mine)).leading():
            waited = following(flights, theirs).wait()
            flight.land(mine)
            return waited

    end = leading(flights, "0")
    links = []
    for n in range(1, 6):
        links.append(pool.submit(link, str(n), str(n - 1)))
        until(lambda n=n: waiting_for(flights, str(n - 1)) == 1)  # type: ignore[misc]
    end.land("0")
    assert [found.result() for found in links] == [LANDED] * 5


def test_a_ring_through_the_branches_of_a_gather_is_seen(flights: Flights[object], pool: ThreadPoolExecutor) -> None:
    ready = threading.Barrier(2)

    async def branches() -> list[Waited]:
        with leading(flights, "a").leading():
            await asyncio.to_thread(ready.wait)
            return list(
                await asyncio.gather(following(flights, "b").wait_async(), following(flights, "c").wait_async())
            )

    def other() -> Waited:
        with leading(flights, "b").leading():
            ready.wait()
            until(lambda: waiting_for(flights, "c") == 1 and waiting_for(flights, "b") == 1)
            return following(flights, "a").wait()

    end = leading(flights, "c")
    first, second = pool.submit(asyncio.run, branches()), pool.submit(other)
    assert second.result(60) is DEADLOCK
    end.land("c")
    assert first.result(60) == [HANDED_OVER, LANDED]


def test_a_plain_call_never_blocks_the_loop_for_a_task_of_that_loop(flights: Flights[object]) -> None:
    async def main() -> None:
        task = asyncio.create_task(ashared(flights, "k", asyncio.Event().wait))
        await asyncio.sleep(0)
        assert following(flights).wait() is DEADLOCK
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())


def test_a_plain_call_never_blocks_the_loop_for_what_waits_for_a_task_of_that_loop(
    flights: Flights[object], pool: ThreadPoolExecutor
) -> None:
    def elsewhere() -> Waited:
        with leading(flights, "elsewhere").leading():
            return following(flights, "here").wait()

    async def main() -> None:
        task = asyncio.create_task(ashared(flights, "here", asyncio.Event().wait))
        await asyncio.sleep(0)
        thread = pool.submit(elsewhere)
        while not waiting_for(flights, "here"):
            await asyncio.sleep(0.001)
        assert following(flights, "elsewhere").wait() is DEADLOCK
        task.cancel()
        await asyncio.wait([task])
        assert await asyncio.wrap_future(thread) is HANDED_OVER

    asyncio.run(main())


# --- forks and the rest ---


FORK = """
import os, threading
from dynmemo.leases import flights, Waited

flight, leads = flights.join("k")
with flight.leading():
    follower = threading.Thread(target=flights.join("k")[0].wait)
    follower.start()
    if os.fork() == 0:
        mine, leads = flights.join("k")
        assert leads and mine is not flight
        flight.land("the parent's")
        with mine.leading():
            assert flights.join("k")[0].wait() is Waited.DEADLOCK
            mine.land("result")
        assert flights.join("k")[1]
        os._exit(0)
    assert os.wait()[1] == 0
    assert flight.outcome is None and flights.join("k") == (flight, False)
    flight.land("result")
follower.join()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="this system does not fork")
def test_what_is_in_flight_in_the_parent_is_forgotten_in_a_forked_child() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_many_threads_and_tasks_on_few_keys_lose_no_wake_up_and_leave_nothing_behind(flights: Flights[object]) -> None:
    runs: list[int] = []

    def compute() -> str:
        runs.append(1)
        time.sleep(0)
        return "result"

    async def acompute() -> str:
        runs.append(1)
        await asyncio.sleep(0)
        return "result"

    async def tasks() -> None:
        for turn in range(50):
            await asyncio.gather(*(ashared(flights, turn % 3, acompute) for _ in range(5)))

    def work(number: int) -> None:
        if number % 2:
            asyncio.run(tasks())
        else:
            for turn in range(250):
                assert shared(flights, turn % 3, compute) == "result"

    at_once(8, work)
    assert len(runs) < 2_000
    assert not flights._flights


class Interleaved(dict[Any, Any]):
    """Joined and led flights, of which another thread leads a new one as soon as one is looked up."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.other = threading.Thread(target=act)

    def get(self, key: Any, default: Any = None) -> Any:
        found = super().get(key, default)
        self.other.start()
        self.other.join(0.2)
        return found


def test_the_end_of_a_flight_leaves_the_one_that_has_taken_its_place(flights: Flights[object]) -> None:
    newer: list[Flight[object]] = []
    flights._flights = known = Interleaved(lambda: newer.append(flights.lead("k")))
    flight, leads = flights.join("k")
    assert leads
    with flight.leading():
        flight.land("old")
    known.other.join()
    assert flights.join("k") == (newer[0], False)
