"""A person at the page: a real server, a real browser, and what such a person does and sees."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

ROOT = Path(__file__).parents[2]
Bits = npt.NDArray[np.bool_]
EXAMPLE = ROOT / "src" / "glesam" / "serve" / "page" / "example.jpg"
SIZE = (400, 600)
CUP = (300, 180)
SPOON = (345, 310)
TABLE = (560, 60)
CUP_BOX = (75, 15, 470, 385)
START_SECONDS = 180
WAIT_SECONDS = 90

SETTLED = """
  (() => {
    const { state, sides, resultOf } = glesam;
    const usable = state.objects.filter((object) => object.box || object.labels.includes(1));
    return state.work.size === 0 && Boolean(state.image?.id)
      && usable.every((object) => sides().every((side) => resultOf(object, side)?.fresh));
  })()
"""


@contextmanager
def running_server() -> Iterator[str]:
    """`glesam serve` with the bundled model on a free port; gives its address."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    environment.pop("GLESAM_TOKEN", None)
    command = [sys.executable, "-m", "glesam", "serve", "--port", "0", "--device", "cpu"]
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield _address(server)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        if server.stderr:
            server.stderr.close()


@contextmanager
def served(app: Any, port: int) -> Iterator[str]:
    """An application in a thread of this process, to be stopped and started within a test; gives its address."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        _await_health(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


def _address(server: subprocess.Popen[str]) -> str:
    """What the server says when it listens; then wait until it answers."""
    if server.stderr is None:
        raise RuntimeError("the server's messages are not read")
    said = []
    for line in server.stderr:
        said.append(line)
        found = re.search(r"http://[\d.:]+\d", line)
        if found:
            _await_health(found.group())
            return found.group()
    raise RuntimeError(f"the server did not start: {''.join(said)[-2000:]}")


def _await_health(address: str) -> None:
    """Wait until the server answers: it listens a moment earlier."""
    end = time.monotonic() + START_SECONDS
    while not _is_healthy(address):
        if time.monotonic() > end:
            raise RuntimeError("the server does not answer")
        time.sleep(0.1)


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=5):
            return True
    except OSError:
        return False


def post(address: str, path: str, body: dict[str, Any]) -> Any:
    """Ask the API without the page."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
        return json.load(answer)


class Person:
    """Acts in pixels of the photo, and sees the canvas.

    Args:
        page: Playwright's page, opened.
    """

    def __init__(self, page: Any) -> None:
        self.page = page

    def until(self, expression: str, seconds: float = WAIT_SECONDS) -> None:
        """Wait; Playwright's own way needs `eval`, which the page's security policy forbids."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"never became true: {expression}; {self.page.inner_text('#message')}")
            self.page.wait_for_timeout(15)

    def message(self) -> str:
        """Wait for a message, and read it; it is drawn after the state has it."""
        self.until("document.querySelector('#message').innerText.trim() !== ''")
        return str(self.page.inner_text("#message"))

    def settle(self) -> None:
        """Wait until all masks are there and drawn."""
        self.until(SETTLED)
        self.frames()

    def frames(self) -> None:
        """Wait until what has changed is drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def open_example(self) -> None:
        self.page.click("#example")
        self.settle()

    def open_file(self, path: Path) -> None:
        self.page.set_input_files("#file", path)
        self.settle()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the photo is on the screen."""
        on_stage = self.page.evaluate("([x, y]) => glesam.toStage(x, y)", [x, y])
        box = self.page.locator("#stage").bounding_box()
        return box["x"] + on_stage[0], box["y"] + on_stage[1]

    def click(self, x: float, y: float, button: str = "left") -> None:
        self.page.mouse.click(*self.place(x, y), button=button)
        self.page.wait_for_timeout(40)
        self.settle()

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self.page.mouse.move(*self.place(x0, y0))
        self.page.mouse.down()
        self.page.mouse.move(*self.place((x0 + x1) / 2, (y0 + y1) / 2))
        self.page.mouse.move(*self.place(x1, y1))
        self.page.mouse.up()
        self.page.wait_for_timeout(40)
        self.settle()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.page.wait_for_timeout(60)
        self.settle()

    def choose_level(self, level: int) -> None:
        self.page.click(f"#levels label:nth-child({level + 1})")
        self.until(f"(glesam.state.worse?.level ?? 0) === {level}")
        self.until(f"(glesam.state.image !== glesam.state.original) === {str(level > 0).lower()}")
        self.settle()

    def view(self, name: str) -> None:
        self.page.click(f"label:has([name=view][value={name}])")
        self.page.wait_for_timeout(60)
        self.settle()

    def canvas(self) -> npt.NDArray[np.uint8]:
        """What is drawn: `(H, W, 3)` uint8."""
        url = self.page.evaluate("document.getElementById('stage').toDataURL()")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))

    def canvas_without_masks(self) -> npt.NDArray[np.uint8]:
        self.page.keyboard.down("h")
        self.frames()
        seen = self.canvas()
        self.page.keyboard.up("h")
        self.frames()
        return seen

    def shown(self) -> npt.NDArray[np.bool_]:
        """Pixels of the photo that are drawn over, `(H, W)` bool: the canvas against the one without masks."""
        changed = (self.canvas().astype(int) - self.canvas_without_masks()).any(axis=2)
        width, height = self.page.evaluate("[glesam.state.image.width, glesam.state.image.height]")
        (left, top), (right, bottom) = self.page.evaluate(
            "([w, h]) => [glesam.toStage(0.5, 0.5), glesam.toStage(w - 0.5, h - 0.5)]", [width, height]
        )
        ratio = changed.shape[1] / self.page.locator("#stage").bounding_box()["width"]
        columns = (np.linspace(left, right, width) * ratio).astype(int)
        rows = (np.linspace(top, bottom, height) * ratio).astype(int)
        found: npt.NDArray[np.bool_] = changed[np.ix_(rows, columns)]
        return found

    def objects(self) -> list[dict[str, Any]]:
        """Prompts and run-length masks of all objects."""
        found: list[dict[str, Any]] = self.page.evaluate(
            """glesam.state.objects.map(({ points, labels, box, choice, colour, id }) => {
              const shown = glesam.resultOf(glesam.state.objects.find((each) => each.id === id), glesam.sides()[0]);
              return { points, labels, box, choice, colour, rle: shown?.mask.rle ?? null, score: shown?.score ?? null };
            })"""
        )
        return found

    def download(self, kind: str) -> tuple[str, bytes]:
        """Name and content of a file."""
        with self.page.expect_download() as waiting:
            self.page.click(f"[data-format={kind}]")
        return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def assert_drawn(shown: Bits, mask: Bits) -> None:
    """What is drawn over is the mask, but for the width of lines and points."""
    inside, outside = binary_erosion(mask, iterations=3), ~binary_dilation(mask, iterations=6)
    assert inside.sum() > 1000
    assert shown[inside].mean() > 0.995
    assert shown[outside].mean() < 0.005


def box_inside() -> Bits:
    """Away from the lines of the box."""
    inside = np.zeros(SIZE, bool)
    inside[CUP_BOX[1] + 5 : CUP_BOX[3] - 5, CUP_BOX[0] + 5 : CUP_BOX[2] - 5] = True
    return inside
