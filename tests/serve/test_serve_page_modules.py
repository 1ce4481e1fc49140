"""Modules of the page that need no browser, run by Node against other libraries."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from page_fixtures import BROWSER, module, run
from PIL import Image
from pycocotools import mask as coco_mask

from glesam.draw.colours import colour
from glesam.masks.cutout import _RADIUS_SHARE
from glesam.masks.refine import guided_filter
from glesam.prompts.prompts import Prompts


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
    given = [tuple(int(text[at : at + 2], 16) for at in (1, 3, 5)) for text in found]
    assert given == [colour(index) for index in range(200)]


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
    const {{ sides }} = await import('{module("sides.js")}');
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
    const [side] = sides();
    const fresh = state.objects.every((object) => session.resultOf(object, side).fresh);
    const first = session.answersOf([state.objects[0]], side).length;
    console.log(JSON.stringify({{ again: asked.length - before, fresh, first, asked: before }}));
    process.exit(0);
    """
    for clicks in (30, 306):
        found = run(code, clicks)
        assert found.pop("asked") <= 2 * clicks
        assert found == {"again": 0, "fresh": True, "first": 3}


def test_points_at_the_far_edges_stay_inside_and_boxes_reach_them() -> None:
    width, height = 640, 427
    rng = np.random.default_rng(4)
    given = [[1e9, 1e9], [width, 0], [-3, height], *(rng.random((50, 2)) * (width, height)).tolist()]
    code = f"""
    {BROWSER}
    const {{ Viewport }} = await import('{module("viewport.js")}');
    const prompts = await import('{module("prompts.js")}');
    const {{ activeObject }} = await import('{module("state.js")}');
    const view = new Viewport();
    view.resize({{ width: 900, height: 700 }}, {{ width: {width}, height: {height} }});
    const seen = prompts.withPoint(view.clamp([1e9, 1e9]), 1).points;
    for (const place of given) prompts.addPoint(view.clamp(place), 1);
    prompts.setBox([...view.clamp([-9, -9]), ...view.clamp([1e9, 1e9])]);
    console.log(JSON.stringify({{ ...activeObject(), seen }}));
    process.exit(0);
    """
    found = run(code, given)
    asked = Prompts(points=[found["points"] + found["seen"]], boxes=[found["box"]])
    assert asked.check((height, width)) is asked  # nothing refused, nothing cut
    assert found["box"] == [0, 0, width, height]
    moved = np.clip(given, 0, (width, height)) - found["points"]
    assert -1e-9 < moved.min() <= moved.max() <= 0.1 + 1e-9


def test_what_the_training_set_keeps_of_an_image_is_not_its_pixels() -> None:
    code = f"""
    {BROWSER}
    const {{ setFlagsFromString }} = await import('node:v8');
    const {{ runInNewContext }} = await import('node:vm');
    setFlagsFromString('--expose-gc');
    const {{ remember, trainingSet }} = await import('{module("dataset.js")}');
    const {{ ofBits }} = await import('{module("rle.js")}');
    const {{ set }} = await import('{module("state.js")}');
    const blob = new Blob(['bytes of a file'], {{ type: 'image/png' }});
    const mask = ofBits(Uint8Array.from([0, 1, 1, 0, 0, 1]), 3, 2);
    function work() {{
      const bitmap = {{ pixels: new Uint8Array(1e6) }};
      const image = {{ id: 'a', blob, bitmap, width: 3, height: 2, degraded: null, refused: null }};
      const objects = [{{ id: 1, name: 'cup', points: [], labels: [], box: null, choice: null, before: null,
        fixed: {{ where: 'a|off', mask, score: 1 }} }}];
      set({{ file: {{ blob, name: 'a.png' }}, name: 'a', original: image, image, objects }});
      remember();
      set({{ file: null, original: null, image: null, objects: [] }});
      return new WeakRef(bitmap);
    }}
    const kept = work();
    await new Promise((done) => setTimeout(done, 20));
    runInNewContext('gc')();
    const bytes = [...new Uint8Array(await (await trainingSet()).arrayBuffer())];
    console.log(JSON.stringify({{ gone: kept.deref() === undefined, bytes }}));
    process.exit(0);
    """
    found = run(code)
    with zipfile.ZipFile(io.BytesIO(bytes(found["bytes"]))) as archive:
        assert archive.read("images/a.png") == b"bytes of a file"
        np.testing.assert_array_equal(np.asarray(Image.open(archive.open("masks/a.png"))), [[0, 1, 1], [0, 0, 1]])
    assert found["gone"]
