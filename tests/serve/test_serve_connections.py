"""Idle and trickling connections take nobody's place."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import pytest
import uvicorn

from glesam.serve.connections import connections_within, limited

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Says who asked; `/slow` takes its time, and a body is read first."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await asyncio.sleep(0.8)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def with_server(scenario: Any, most: int, head_seconds: float = 60.0) -> None:
    """Run a scenario with the port of a server."""
    config = uvicorn.Config(answer, port=0, http=limited(most, head_seconds), log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        await scenario(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = server.force_exit = True
        await task


async def ask(port: int, head: bytes = GET) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    got = await asyncio.wait_for(reader.read(200), 5)
    writer.close()
    return got


def test_idle_connections_at_the_cap_do_not_silence_the_server() -> None:
    async def scenario(port: int) -> None:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        trickling = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        for _, writer in trickling:
            writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
        slow = asyncio.create_task(ask(port, GET.replace(b"/ ", b"/slow ", 1)))
        await asyncio.sleep(0.05)
        more = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        start = time.monotonic()
        assert b"200" in await ask(port)
        assert time.monotonic() - start < 1
        assert b"200" in await slow  # what is at work is never closed
        for _, writer in (*idle, *trickling, *more):
            writer.close()

    asyncio.run(with_server(scenario, most=16))


def test_a_head_that_does_not_come_is_not_waited_for() -> None:
    async def scenario(port: int) -> None:
        for begun in (b"", b"GET / HT", GET + b"GET / HT"):  # the last: after an answer, on the same connection
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun[:-8] if begun.startswith(GET) else begun)
            await asyncio.sleep(0.1)
            writer.write(begun[-8:] if begun.startswith(GET) else b"")
            start = time.monotonic()
            try:
                got = await asyncio.wait_for(reader.read(), 5)
            except ConnectionResetError:
                got = b""
            assert time.monotonic() - start < 4  # uvicorn's own patience with silence after an answer is 5
            assert got.count(b"200 OK") == (1 if begun.startswith(GET) else 0)
            writer.close()

    asyncio.run(with_server(scenario, most=16, head_seconds=0.2))


def test_a_request_that_takes_longer_than_a_head_may_is_answered() -> None:
    async def scenario(port: int) -> None:
        assert b"200" in await ask(port, GET.replace(b"/ ", b"/slow ", 1))

    asyncio.run(with_server(scenario, most=16, head_seconds=0.2))


@pytest.mark.parametrize(("files", "wanted", "most"), [(1024, 1000, 896), (20_000, 1000, 1000), (100, 1000, 16)])
def test_connections_leave_files_for_others(files: int, wanted: int, most: int) -> None:
    assert connections_within(files, wanted) == most


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are no files there")
def test_the_soft_limit_of_files_is_raised() -> None:
    code = (
        "import resource; hard = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard));"
        "from glesam.serve.connections import raise_file_limit;"
        "print(raise_file_limit(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], hard)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said[0] == said[1] == said[2]
