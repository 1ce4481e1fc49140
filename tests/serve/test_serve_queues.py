"""Order, bounds, deadlines and a clean end of a lane."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

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
