"""Modules of the page that need no browser, run by Node against other libraries."""

from __future__ import annotations

import colorsys
import io
import json
import shutil
import subprocess
import zipfile
from typing import Any

import numpy as np
import pytest
from page_driver import ROOT
from pycocotools import mask as coco_mask

from glesam.masks.cutout import _RADIUS_SHARE
from glesam.masks.refine import guided_filter
from glesam.models.base import ImageGeometry
from glesam.prompts.start import mask_logits

PAGE = ROOT / "src" / "glesam" / "serve" / "page"


def run(code: str, given: Any = None) -> Any:
    """What a script gives as JSON; `given` is what it is given."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node in PATH to run the page's modules with")
    script = f"const given = {json.dumps(given)};\n{code}"
    done = subprocess.run(
        [node, "--input-type=module", "-"],
        input=script,
        capture_output=True,
        text=True,
        cwd=PAGE,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def module(name: str) -> str:
    return (PAGE / name).as_uri()


def masks() -> list[np.ndarray]:
    """Random blobs, a full one, an empty one, and single pixels in two corners."""
    rng = np.random.default_rng(5)
    made = [rng.random((17, 23)) < share for share in (0.1, 0.5, 0.95)]
    made += [np.ones((17, 23), bool), np.zeros((17, 23), bool), np.zeros((17, 23), bool)]
    made[-1][0, 0] = made[-1][-1, -1] = True
    large = np.zeros((300, 400), bool)  # runs of more than a thousand
    large[:, 150:220] = True
    return [*made, large]


def test_run_lengths_are_cocos() -> None:
    given = [[mask.astype(int).ravel().tolist(), mask.shape[1], mask.shape[0]] for mask in masks()]
    found = run(
        f"import {{ ofBits }} from '{module('rle.js')}';"
        "const all = given.map(([bits, w, h]) => ofBits(Uint8Array.from(bits), w, h));"
        "const told = ({ rle, area, x, y, w, h, data }) => [rle.counts, area, x, y, w, h, [...data]];"
        "console.log(JSON.stringify(all.map(told)))",
        given,
    )
    for mask, (counts, area, x, y, w, h, data) in zip(masks(), found, strict=True):
        expected = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert counts == expected["counts"].decode()
        assert area == mask.sum()
        if mask.any():
            assert [x, y, w, h] == coco_mask.toBbox(expected).tolist()
            np.testing.assert_array_equal(np.reshape(data, (h, w)), mask[y : y + h, x : x + w])


def test_colours_are_those_of_the_contact_sheet() -> None:
    found = run(
        f"import {{ manyColours }} from '{module('colours.js')}';"
        "console.log(JSON.stringify(Array.from({ length: 200 }, (_, index) => manyColours(index))))"
    )
    for index, text in enumerate(found):
        expected = [255 * part for part in colorsys.hsv_to_rgb(index * 0.6180339887498949 % 1, 0.9, 1.0)]
        given = [int(text[at : at + 2], 16) for at in (1, 3, 5)]
        np.testing.assert_allclose(given, expected, atol=0.51)


def test_a_zip_is_read_by_others() -> None:
    files = {"images/T\u00e4sse \u2615.jpg": "some bytes" * 999, "masks/a.png": "", "labels.json": "{}"}
    found = run(
        f"import {{ zip }} from '{module('zip.js')}';"
        "const made = await zip(Object.entries(given).map(([name, text]) => [name, new Blob([text])]));"
        "console.log(JSON.stringify([...new Uint8Array(await made.arrayBuffer())]))",
        files,
    )
    with zipfile.ZipFile(io.BytesIO(bytes(found))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name).decode() for name in archive.namelist()} == files


def test_soft_edges_are_the_guided_filters() -> None:
    rng = np.random.default_rng(2)
    grey = rng.random((40, 50)).astype(np.float32)
    y, x = np.mgrid[:40, :50]
    mask = (x - 25) ** 2 + (y - 18) ** 2 < 150
    radius = max(2, round(_RADIUS_SHARE * float(mask.sum()) ** 0.5))
    found = run(
        f"import {{ softAlpha }} from '{module('cutout.js')}';"
        "const alpha = softAlpha(Float32Array.from(given[0]), Uint8Array.from(given[1]), 50, 40);"
        "console.log(JSON.stringify([...alpha]))",
        [grey.ravel().tolist(), mask.astype(int).ravel().tolist()],
    )
    expected = np.clip(guided_filter(grey, mask.astype(np.float32), radius, 1e-4), 0, 1)
    found = np.reshape(found, mask.shape)
    edge = (found > 0) & (found < 1)
    assert edge.sum() > 50
    np.testing.assert_allclose(found[edge], expected[edge], atol=2e-3)


@pytest.mark.parametrize("size", [(40, 60), (128, 128), (300, 200), (5, 400)])
def test_logits_of_a_mask_are_the_librarys(size: tuple[int, int]) -> None:
    height, width = size
    y, x = np.mgrid[:height, :width]
    mask = ((x - width / 2) / (width / 3)) ** 2 + ((y - height / 2) / (height / 3)) ** 2 < 1
    scale = 128 / max(size)
    geometry = ImageGeometry(size, (max(1, round(height * scale)), max(1, round(width * scale))), 128)
    found = run(
        f"import {{ logitsOf }} from '{module('start.js')}';"
        "console.log(JSON.stringify([...logitsOf(Uint8Array.from(given[0]), given[1], given[2], 32)]))",
        [mask.astype(int).ravel().tolist(), width, height],
    )
    expected = mask_logits(mask[None], geometry)[0]
    found = np.reshape(found, (32, 32))
    assert ((found > 0) != (expected > 0)).mean() < 0.05
    assert np.abs(found - expected).mean() < 0.6  # small images are enlarged in another way


BROWSER = """
globalThis.navigator = {};
globalThis.addEventListener = () => {};
globalThis.sessionStorage = { getItem: () => null, setItem: () => {} };
globalThis.requestAnimationFrame = (done) => setTimeout(done, 0);
"""
"""What modules ask of a browser when they are loaded."""


def test_examples_fit_the_limits_of_the_server_and_the_last_ones_stay() -> None:
    code = f"""
    {BROWSER}
    const {{ set }} = await import('{module("state.js")}');
    const {{ fitting }} = await import('{module("likeness.js")}');
    const images = [22, 22, 22].map((count, id) => ({{ id, objects: Array(count).fill(0), pixels: 100 }}));
    const counts = () => fitting(images).map(({{ id, objects }}) => [id, objects.length]);
    const found = [];
    const small = {{ max_objects: 64, max_mask_pixels: 1000 }};
    for (const limits of [{{ max_objects: 64 }}, small, {{ max_mask_pixels: 9 }}, {{}}]) {{
      set({{ server: {{ limits }} }});
      found.push(counts());
    }}
    console.log(JSON.stringify(found));
    process.exit(0);
    """
    # An earlier image whole or not at all; of the last one at least an object, so that the server says what is wrong.
    assert run(code) == [[[1, 22], [2, 22]], [[2, 10]], [[2, 1]], [[0, 22], [1, 22], [2, 22]]]


def test_answers_that_objects_rest_on_are_never_let_go() -> None:
    code = f"""
    {BROWSER}
    const rle = {{ size: [4, 4], counts: '16' }};
    const asked = [];
    globalThis.fetch = async (path, {{ body }}) => {{
      const {{ objects, multimask }} = JSON.parse(body);
      asked.push(...objects);
      const three = [0, 1, 2].map(() => ({{ rle, score: 1, logits: 'x' }}));
      const row = {{ rle, score: 1, logits: 'x', ...(multimask ? {{ candidates: three }} : {{}}) }};
      return new Response(JSON.stringify({{ enhanced: false, objects: objects.map(() => row) }}));
    }};
    const {{ set, state, onChange }} = await import('{module("state.js")}');
    const session = await import('{module("session.js")}');
    const prompts = await import('{module("prompts.js")}');
    const image = {{ id: 'a', width: 4, height: 4 }};
    set({{ server: {{ limits: {{}} }}, original: image, image }});
    const settle = async () => {{
      for (let still = 0, seen = -1; still < 3; still = asked.length === seen ? still + 1 : 0) {{
        seen = asked.length;
        session.sync();
        await new Promise((done) => setTimeout(done, 1));
      }}
    }};
    for (let click = 0; click < given; click++) {{
      if (click % 3 === 0) prompts.nextObject();
      prompts.addPoint([1 + (click % 3), 1 + click / 1000], 1);
      await settle();
    }}
    const before = asked.length;
    session.sync();
    await settle();
    const [side] = session.sides();
    const fresh = state.objects.every((object) => session.resultOf(object, side).fresh);
    const first = session.answersOf([state.objects[0]], side).length;
    console.log(JSON.stringify({{ again: asked.length - before, fresh, first, asked: before }}));
    process.exit(0);
    """
    for clicks in (30, 306):
        found = run(code, clicks)
        assert found.pop("asked") <= 2 * clicks
        assert found == {"again": 0, "fresh": True, "first": 3}
