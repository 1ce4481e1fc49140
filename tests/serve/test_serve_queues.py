"""Order, bounds, deadlines and a clean end of a lane."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pytest

from glesam.common.stopping import check
from glesam.serve.queues import Lane
from glesam.serve.refusals import RefusalError

SOON = 0.2


def run(scenario: Any) -> Any:
    return asyncio.run(scenario)


def now() -> float:
    return asyncio.get_running_loop().time()


def test_jobs_run_in_order_in_one_other_thread() -> None:
    lane, seen = Lane("test", 10), []

    async def scenario() -> list[int]:
        def job(number: int) -> int:
            seen.append((number, threading.get_ident()))
            return number * number

        return await asyncio.gather(*(lane.run(lambda n=n: job(n), now() + 60) for n in range(5)))

    assert run(scenario()) == [0, 1, 4, 9, 16]
    assert [number for number, _ in seen] == [0, 1, 2, 3, 4]
    assert {thread for _, thread in seen}.isdisjoint({threading.get_ident()})
    assert len({thread for _, thread in seen}) == 1
    lane.close()


def test_what_a_job_raises_comes_back_and_the_lane_goes_on() -> None:
    lane = Lane("test", 1)

    async def scenario() -> int:
        with pytest.raises(ZeroDivisionError):
            await lane.run(lambda: 1 // 0, now() + 60)
        await asyncio.sleep(0.05)  # the place is free once the thread is done with the job
        return await lane.run(lambda: 7, now() + 60)

    assert run(scenario()) == 7
    lane.close()


def test_a_full_lane_refuses_and_says_when_to_come_again() -> None:
    lane, gate = Lane("test", 2), threading.Event()

    async def scenario() -> RefusalError:
        first = [asyncio.ensure_future(lane.run(lambda: gate.wait(30), now() + 60)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RefusalError) as refused:
            await lane.run(lambda: None, now() + 60)
        gate.set()
        assert await asyncio.gather(*first) == [True, True]
        return refused.value

    refusal = run(scenario())
    assert refusal.status == 503
    assert 1 <= int(refusal.headers["Retry-After"]) <= 60
    lane.close()


def steps(begun: threading.Event, seconds: float = 30.0) -> None:
    """Long work in short steps."""
    begun.set()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        check()
        time.sleep(0.005)


def test_work_of_a_client_that_has_gone_is_dropped_or_stops_at_its_next_step() -> None:
    lane, begun, done = Lane("test", 5), threading.Event(), []

    async def scenario() -> None:
        running = asyncio.ensure_future(lane.run(lambda: steps(begun), now() + 60))
        waiting = asyncio.ensure_future(lane.run(lambda: done.append("waiting"), now() + 60))
        last = asyncio.ensure_future(lane.run(lambda: done.append("last"), now() + 60))
        await asyncio.to_thread(begun.wait, 10)
        for each in (running, waiting):
            each.cancel()
        await last

    start = time.monotonic()
    run(scenario())
    assert time.monotonic() - start < 10
    assert done == ["last"]
    lane.close()
    assert lane.pending == 0


def test_giving_up_answers_all_at_once_and_stops_what_runs() -> None:
    lane, begun = Lane("test", 5), threading.Event()

    async def scenario() -> list[Any]:
        jobs = [asyncio.ensure_future(lane.run(lambda: steps(begun), now() + 60)) for _ in range(3)]
        await asyncio.to_thread(begun.wait, 10)
        lane.give_up()
        return await asyncio.gather(*jobs, return_exceptions=True)

    assert [refusal.status for refusal in run(scenario())] == [503, 503, 503]
    assert lane.close(10)


def test_closing_waits_only_so_long_for_work_without_steps() -> None:
    lane, gate = Lane("test", 5), threading.Event()

    async def scenario() -> bool:
        job = asyncio.ensure_future(lane.run(lambda: gate.wait(30), now() + 60))
        await asyncio.sleep(0.05)
        lane.give_up()
        with pytest.raises(RefusalError):
            await job
        return lane.close(0.05)

    assert run(scenario()) is False
    gate.set()
    assert lane.close(10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_is_told_at_once() -> None:
    lane = Lane("test", 5)
    run(lane_run(lane))  # its thread is there
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            run(lane_run(lane))
        except RefusalError as error:
            os.write(writing, str(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        assert "got a fork of it" in stream.read()
    os.waitpid(child, 0)
    lane.close()


async def lane_run(lane: Lane) -> int:
    return await lane.run(lambda: 7, now() + 60)


def test_at_the_deadline_waiting_jobs_are_dropped_and_running_ones_go_on() -> None:
    lane, gate, done = Lane("test", 5), threading.Event(), []

    async def scenario() -> list[Any]:
        running = lane.run(lambda: (gate.wait(30), done.append("running")), now() + SOON)
        waiting = lane.run(lambda: done.append("waiting"), now() + SOON)
        return await asyncio.gather(running, waiting, return_exceptions=True)

    running, waiting = run(scenario())
    assert (running.status, waiting.status) == (504, 503)
    assert "Retry-After" in waiting.headers
    gate.set()
    lane.close()
    assert done == ["running"]
    assert lane.pending == 0


def test_closing_finishes_what_was_queued() -> None:
    lane, done = Lane("test", 50), []

    async def scenario() -> None:
        jobs = [lane.run(lambda n=n: (time.sleep(0.005), done.append(n)), now() + 60) for n in range(20)]
        tasks = [asyncio.ensure_future(job) for job in jobs]
        await asyncio.sleep(0)
        lane.close()
        await asyncio.gather(*tasks)

    run(scenario())
    assert done == list(range(20))
