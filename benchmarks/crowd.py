"""Many clients at once at a real server: some send garbage, some leave; what they are told, and what it costs.

Run: `python benchmarks/crowd.py [--clients 64] [--seconds 60] [--idle 1100] [--pause 4]`. Starts `glesam serve`; prints
a Markdown table of statuses, the latency of clicks, memory over time, and `/healthz` beside idle connections.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import socket
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from server import PHOTO, memory, start

GARBAGE = (b"not json", b'{"id": 7}', b'{"id": "x", "objects": []}', b"[" * 5000, b"\xff\xd8\xff\xe0 no image")
JSON = {"Content-Type": "application/json"}
SHARE = 0.1
LEAVE_SECONDS = 0.02


@dataclass
class Seen:
    """What clients saw.

    Attributes:
        statuses: number of answers by status; 0 for clients that left.
        clicks: milliseconds of clicks that were answered.
        memories: MiB of the server.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    clicks: list[float] = field(default_factory=list)
    memories: list[float] = field(default_factory=list)


async def one_request(client: httpx.AsyncClient, key: str, chance: random.Random, seen: Seen) -> None:
    """A click, or with a share of chance garbage, or something long that is left."""
    kind = chance.random()
    if kind < SHARE:
        path = chance.choice(("/v1/segment", "/v1/embed", "/v1/everything", "/v1/degrade"))
        answer = await client.post(path, content=chance.choice(GARBAGE), headers=JSON)
        seen.statuses[answer.status_code] += 1
    elif kind < 2 * SHARE:
        path, extra = chance.choice((("/v1/everything", {}), ("/v1/degrade", {"level": 3}), ("/v1/segment", CLICK)))
        try:
            await client.post(path, json={"id": key, **extra}, timeout=LEAVE_SECONDS)
        except httpx.TimeoutException:
            seen.statuses[0] += 1
    else:
        body = {"id": key, "objects": [{"points": [[chance.uniform(0, 599), chance.uniform(0, 399)]]}]}
        begin = time.perf_counter()
        answer = await client.post("/v1/segment", json=body)
        seen.statuses[answer.status_code] += 1
        seen.clicks.append(1000 * (time.perf_counter() - begin))


CLICK = {"objects": [{"points": [[300, 200]]}]}


async def crowd(
    address: str, key: str, clients: int, end: float, most: float = float("inf"), seed: int = 0, pause: float = 0
) -> Seen:
    """Let clients ask until a moment of `time.monotonic`, or until each has asked so often.

    Before each request a client pauses as people do, `pause` seconds on average, exponentially distributed.
    """
    seen = Seen()
    # One client with a connection for each: making 64 clients keeps the loop busy for a second.
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)

    async def client_of(number: int, client: httpx.AsyncClient) -> None:
        chance = random.Random(f"{seed}-{number}")
        asked = 0
        while time.monotonic() < end and asked < most:
            if pause:
                await asyncio.sleep(chance.expovariate(1 / pause))
                if time.monotonic() >= end:
                    break
            await one_request(client, key, chance, seen)
            asked += 1

    async def watch() -> None:
        with httpx.Client(base_url=address, timeout=60) as client:
            while time.monotonic() < end:
                seen.memories.append(await asyncio.to_thread(memory, client))
                await asyncio.sleep(max(0.2, (end - time.monotonic()) / 10))

    watching = asyncio.create_task(watch())
    async with httpx.AsyncClient(base_url=address, timeout=120, verify=False, limits=limits) as client:
        await asyncio.gather(*(client_of(number, client) for number in range(clients)))
    watching.cancel()
    return seen


def health(address: str, idle: int) -> float:
    """Worst milliseconds of ten `/healthz` on new connections beside idle ones."""
    port = int(address.rsplit(":", 1)[1])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(idle)]
    worst = 0.0
    for _ in range(10):
        begin = time.perf_counter()
        httpx.get(f"{address}/healthz", timeout=30).raise_for_status()
        worst = max(worst, 1000 * (time.perf_counter() - begin))
    for each in silent:
        each.close()
    return worst


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--idle", type=int, default=1100)
    parser.add_argument("--pause", type=float, default=4, help="mean seconds before each request of a client")
    options = parser.parse_args()
    process, address = start(options)
    try:
        content = PHOTO.read_bytes()
        key = httpx.post(f"{address}/v1/embed", content=content, timeout=60).raise_for_status().json()["id"]
        seen = asyncio.run(
            crowd(address, key, options.clients, time.monotonic() + options.seconds, pause=options.pause)
        )
        worst = health(address, options.idle)
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(120)
    print(f"{options.clients} clients, each every {options.pause:g} s, for {options.seconds:g} s\n")
    print("| status | answers |\n|---|---|")
    print("\n".join(f"| {each or 'left'} | {count} |" for each, count in sorted(seen.statuses.items())))
    marks = statistics.quantiles(seen.clicks, n=100)
    print(f"\nClicks: median {statistics.median(seen.clicks):.0f} ms, p95 {marks[94]:.0f} ms.")
    print(f"Memory of the server: {', '.join(f'{each:.0f}' for each in seen.memories)} MiB.")
    print(f"/healthz beside {options.idle} idle connections: at most {worst:.0f} ms. Exit status: {status}.")


if __name__ == "__main__":
    main()
