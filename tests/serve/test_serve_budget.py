"""Memory for work: who fits goes on, who does not waits in turn, and nobody's part is lost."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
from PIL import Image
from serve_helpers import encoded

from glesam.degrade import real, robustseg
from glesam.serve.budget import DEGRADE_BYTES, Budget, degrade_bytes, pixel_count
from glesam.serve.refusals import RefusalError


def now() -> float:
    return asyncio.get_running_loop().time()


def test_never_more_than_the_total_and_first_come_first_served() -> None:
    budget, order, most = Budget(10), [], 0

    async def one(name: str, count: int) -> None:
        nonlocal most
        async with budget.hold(count, now() + 10):
            order.append(name)
            most = max(most, budget.held)
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        # The small one came after the large one: it must not overtake it, or the large one would never have its turn.
        await asyncio.gather(one("a", 6), one("b", 10), one("c", 1), one("d", 9), one("e", 0))

    asyncio.run(scenario())
    assert order == ["a", "b", "c", "d", "e"]
    assert most == 10
    assert budget.held == 0


def test_what_never_fits_and_what_does_not_fit_in_time() -> None:
    budget = Budget(2**20)

    async def scenario() -> list[RefusalError]:
        found = []
        for count, wait in ((2**20 + 1, 10.0), (1, 0.05)):
            async with budget.hold(2**20, now() + 1):
                with pytest.raises(RefusalError) as refused:
                    async with budget.hold(count, now() + wait):
                        pass
                found.append(refused.value)
        return found

    never, late = asyncio.run(scenario())
    assert (never.status, "--memory" in never.text) == (413, True)
    assert (late.status, "Retry-After" in late.headers) == (503, True)
    assert budget.held == 0


def test_those_who_go_away_give_their_part_back() -> None:
    budget = Budget(10)

    async def waiting() -> None:
        async with budget.hold(10, now() + 10):
            await asyncio.sleep(10)

    async def scenario() -> None:
        tasks = [asyncio.ensure_future(waiting()) for _ in range(4)]
        await asyncio.sleep(0.01)
        for task in tasks:  # the first holds, the others wait
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with budget.hold(10, now() + 1):
            assert budget.held == 10

    asyncio.run(scenario())
    assert budget.held == 0


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (encoded(width=61, height=40), 61 * 40),
        (encoded(width=200, height=200), 30_000),
        (b"no image", 30_000),
        (encoded()[:20], 30_000),
    ],
)
def test_pixels_by_the_header(data: bytes, count: int) -> None:
    assert pixel_count(data, 30_000) == count


def test_a_bomb_counts_as_the_limit_without_being_decoded() -> None:
    stream = io.BytesIO()
    Image.new("1", (16_000, 16_000)).save(stream, "PNG")
    assert pixel_count(stream.getvalue(), 1000) == 1000


def test_every_kind_has_its_bytes() -> None:
    known: dict[str, Any] = {**robustseg.KINDS, **real.KINDS}
    assert all(0 < degrade_bytes(kind) <= DEGRADE_BYTES for kind in known)
    assert degrade_bytes("rain") * 40_000_000 < 2 * 2**30  # 40 megapixels of rain fit
