"""Latency and memory of the server on this machine: clicks on an embedded photo over HTTP, from one client and several.

Run: `python benchmarks/server.py [--threads 2] [--model compact] [--clicks 2000]`. Starts `glesam serve`, prints a
Markdown table, and the server's memory on the way.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

PHOTO = Path(__file__).parents[1] / "examples" / "photos" / "coffee.jpg"


def start(options: argparse.Namespace) -> tuple[subprocess.Popen[str], str]:
    """Start a server on a free port; its process and address."""
    command = [sys.executable, "-m", "glesam", "serve", "--port", "0", "--device", "cpu"]
    command += ["--threads", str(options.threads), "--model", options.model]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    )
    for line in process.stderr or ():
        found = re.search(r"at (http://\S+) ", line)
        if found:
            return process, found[1]
        sys.stderr.write(line)
    raise SystemExit("the server did not start")


def click(client: httpx.Client, key: str, number: int, form: str = "rle") -> float:
    """Milliseconds of one click on a place that differs from click to click."""
    point = [20 + number * 37 % 560, 20 + number * 23 % 360]
    begin = time.perf_counter()
    answer = client.post("/v1/segment", json={"id": key, "objects": [{"points": [point]}], "format": form})
    answer.raise_for_status()
    return 1000 * (time.perf_counter() - begin)


def memory(client: httpx.Client) -> float:
    """MiB of the server's process, as it says itself."""
    text = client.get("/metrics").text
    return float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.M)[1]) / 2**20  # type: ignore[index]


def row(name: str, times: list[float]) -> str:
    """One row of the table."""
    marks = statistics.quantiles(times, n=100)
    return f"| {name} | {len(times)} | {statistics.median(times):.1f} | {marks[94]:.1f} | {max(times):.1f} |"


def several(address: str, key: str, clients: int, each: int) -> list[float]:
    """Clicks of several clients at once."""

    def one(_: int) -> list[float]:
        with httpx.Client(base_url=address, timeout=60) as client:
            return [click(client, key, number) for number in range(each)]

    with ThreadPoolExecutor(clients) as pool:
        return [value for some in pool.map(one, range(clients)) for value in some]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--clicks", type=int, default=2000)
    options = parser.parse_args()
    process, address = start(options)
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            key = client.post("/v1/embed", content=PHOTO.read_bytes()).raise_for_status().json()["id"]
            for number in range(20):
                click(client, key, number)
            rows, memories, times = [], [], []
            for number in range(options.clicks):
                times.append(click(client, key, number))
                if number % max(1, options.clicks // 4) == 49 or number == options.clicks - 1:
                    memories.append(f"{memory(client):.0f} MiB after {number + 1}")
            rows.append(row("click, RLE, one client", times))
            rows += [
                row(f"click, {form}, one client", [click(client, key, number, form) for number in range(100)])
                for form in ("polygons", "png")
            ]
            rows.append(row("click, RLE, 4 clients at once", several(address, key, 4, 50)))
            health = []
            for _ in range(200):
                begin = time.perf_counter()
                client.get("/healthz").raise_for_status()
                health.append(1000 * (time.perf_counter() - begin))
            rows.append(row("GET /healthz", health))
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(120)
    print(f"{options.model}, {options.threads} threads, photo of 600x400\n")
    print("| request | number | median ms | p95 ms | worst ms |\n|---|---|---|---|---|")
    print("\n".join(rows))
    print(f"\nMemory of the server: {', '.join(memories)} clicks. Exit status after SIGTERM: {status}.")


if __name__ == "__main__":
    main()
