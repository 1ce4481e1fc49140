"""The onnxruntime-web page in a real browser: its masks are those of the package.

Runs where `GLESAM_ORT_WEB` names a folder with the three files of onnxruntime-web that the example's README lists.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from glesam import Predictor, load_model
from glesam.export.graphs import graphs
from glesam.export.onnx import write_onnx

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "onnx_web"
FILES = ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
ORT = os.environ.get("GLESAM_ORT_WEB")


class Quiet(SimpleHTTPRequestHandler):
    """Files, without a line for each on stderr."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The example with model and runtime in place; gives its address."""
    pytest.importorskip("onnx")
    if ORT is None:
        pytest.skip("GLESAM_ORT_WEB names no folder of onnxruntime-web")
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    (tmp_path / "ort").mkdir()
    for name in FILES:
        shutil.copy(Path(ORT) / name, tmp_path / "ort")
    (tmp_path / "model").mkdir()
    model = load_model("compact")
    for name, graph in graphs(model).items():
        write_onnx(graph, tmp_path / "model" / f"{name}.onnx")
    (tmp_path / "model" / "config.json").write_text(json.dumps({"image_size": model.image_size}))
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_click_in_the_browser_gives_our_mask(site: str, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    photo, point = ROOT / "examples" / "photos" / "coffee.jpg", (320, 200)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(site)
        page.wait_for_function("state.decoder !== null", timeout=120_000)
        page.set_input_files("#file", photo)
        page.wait_for_function("state.maps !== null", timeout=120_000)
        page.click("#view", position={"x": point[0], "y": point[1]})
        page.wait_for_function("document.getElementById('status').textContent.startsWith('Predicted')", timeout=60_000)
        mask = page.evaluate(f"segment({point[0]}, {point[1]}).then((mask) => Array.from(mask))")
        browser.close()
    theirs = np.array(mask, bool).reshape(np.asarray(Image.open(photo)).shape[:2])
    predictor = Predictor(load_model("compact"), enhance="off", refine="off")
    predictor.set_image(photo)
    ours = predictor.predict(points=[point]).masks[0]
    iou = (ours & theirs).sum() / (ours | theirs).sum()
    assert iou > 0.999


def test_images_are_shrunk_as_opencv_does_it() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node in PATH to run the example with")
    image = np.random.default_rng(0).integers(0, 256, (23, 37, 4), np.uint8)
    never = "new Promise(() => {})"
    program = f"""
        const page = {{
          ort: {{ env: {{ wasm: {{}} }} }}, location: {{ href: 'http://localhost/' }}, URL, fetch: () => {never},
          document: {{ getElementById: () => ({{ addEventListener() {{}} }}) }},
        }};
        const script = require('fs').readFileSync({json.dumps(str(EXAMPLE / "segment.js"))}, 'utf8');
        require('vm').runInNewContext(script, page);
        const image = {{ data: {image.ravel().tolist()}, width: 37, height: 23 }};
        console.log(JSON.stringify([...page.shrunk(image, 20, 13)]));
    """
    done = subprocess.run([node, "-"], input=program, capture_output=True, text=True, check=True)
    theirs = np.reshape(json.loads(done.stdout), (13, 20, 4))[..., :3]
    ours = cv2.resize(image.astype(np.float32), (20, 13), interpolation=cv2.INTER_AREA)[..., :3]
    np.testing.assert_allclose(theirs, ours, atol=1e-3)


def test_the_page_asks_for_what_an_export_has() -> None:
    script = (EXAMPLE / "segment.js").read_text("utf-8")
    decoder = graphs(load_model("compact"))["decoder"]
    named = {"point_coords", "point_labels", "mask_input", "has_mask"}
    assert named <= set(decoder.inputs)
    assert all(f"{name}:" in script for name in named)
    assert {"latent", "skip4", "skip8", "early"} == set(decoder.inputs) - named
