"""Outlines that the page writes, run by Node: those of `glesam segment --polygons`, and valid geometry."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
from page_fixtures import BROWSER, module, run

from glesam.masks.masks import Masks
from glesam.masks.polygons import signed_area, trace
from glesam.masks.rle import encode


def masks(seed: int, count: int = 60) -> list[np.ndarray]:
    """Noise, smooth or not, of many sizes; pixels that touch at corners, rings that close over one, thin lines."""
    rng = np.random.default_rng(seed)
    made = []
    for blur in rng.choice([0, 0.6, 1, 2, 4], count):
        noise = rng.standard_normal(rng.integers(1, 60, 2)).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), blur) if blur else noise
        made.append(noise > rng.choice([-0.3, 0, 0.3]) * noise.std())
    y, x = np.mgrid[:30, :30]
    ring = np.array([[0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 0, 1], [0, 1, 1, 1]], bool)  # 8-connected at two corners
    return [*made, (x + y) % 2 == 0, abs(x - y) < 2, ring, np.ones((1, 1), bool), np.zeros((3, 3), bool)]


def rings_of(given: list[np.ndarray], tolerance: float) -> list[list[list[Any]]]:
    """Polygons of the page: of each mask, of each polygon, its rings."""
    code = (
        f"import {{ ofBits }} from '{module('rle.js')}'; import {{ polygons }} from '{module('outline.js')}';"
        f"const made = given.map(([bits, w, h]) => polygons(ofBits(Uint8Array.from(bits), w, h), {tolerance}));"
        "console.log(JSON.stringify(made))"
    )
    found: list[list[list[Any]]] = run(
        code, [[mask.astype(int).ravel().tolist(), mask.shape[1], mask.shape[0]] for mask in given]
    )
    return found


@pytest.mark.parametrize("tolerance", [0, 0.5, 1, 2, 4])
def test_outlines_are_the_librarys(tolerance: float) -> None:
    given = masks(int(10 * tolerance))
    for mask, polygons in zip(given, rings_of(given, tolerance), strict=True):
        expected = trace(mask, tolerance)
        assert [len(polygon) for polygon in polygons] == sizes(expected)
        for ring, other in zip((ring for polygon in polygons for ring in polygon), expected, strict=True):
            np.testing.assert_array_equal(ring, other)


def sizes(rings: list[np.ndarray]) -> list[int]:
    """Rings of each polygon: a shell, and the holes that follow it."""
    shells = [index for index, ring in enumerate(rings) if signed_area(ring) > 0]
    return np.diff([*shells, len(rings)]).tolist() if shells else []


@pytest.mark.parametrize("tolerance", [0, 1, 3])
def test_outlines_are_valid_geometry(tolerance: float) -> None:
    geometry = pytest.importorskip("shapely.geometry")
    validation = pytest.importorskip("shapely.validation")
    given = masks(99)
    for mask, polygons in zip(given, rings_of(given, tolerance), strict=True):
        shape = geometry.MultiPolygon([(shell, holes) for shell, *holes in polygons])
        assert shape.is_valid, validation.explain_validity(shape)
        assert len(polygons) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[0] - 1
        if tolerance == 0:
            assert shape.area == mask.sum()


def test_noise_of_more_corners_than_are_checked_stays_exact() -> None:
    mask = np.random.default_rng(0).random((180, 180)) < 0.5
    ((*polygons,),) = rings_of([mask], 1)
    expected = trace(mask, 1)
    assert sum(map(len, expected)) > 20_000
    assert sum(len(ring) for polygon in polygons for ring in polygon) == sum(map(len, expected))


DOWNLOADS = f"""
{BROWSER}
const {{ decode }} = await import('{module("rle.js")}');
const {{ set }} = await import('{module("state.js")}');
const {{ FORMATS }} = await import('{module("downloads.js")}');
const [width, height] = given.size;
const image = {{ id: 'a', width, height }};
const objects = given.rows.map(([rle, score, name], index) => ({{ id: index + 1, name, points: [], labels: [],
  box: null, choice: null, before: null, fixed: {{ where: 'a|off', mask: decode(rle), score }} }}));
set({{ file: {{ name: 'a photo.jpg' }}, name: 'a photo', original: image, image, objects }});
const made = async (kind) => JSON.parse(await (await FORMATS[kind].make()).text());
console.log(JSON.stringify([await made('coco'), await made('polygons')]));
process.exit(0);
"""


@pytest.mark.parametrize("names", [(), ("cup", "dish", "cup"), ("cup", "", "dish")])
def test_coco_and_geojson_are_the_librarys(names: tuple[str, ...]) -> None:
    noise = np.random.default_rng(3).standard_normal((3, 50, 70)).astype(np.float32)
    stack = np.stack([cv2.GaussianBlur(each, (0, 0), 2) > 0.02 for each in noise])
    scores = np.array([0.5, 0.75, 0.96875], np.float32)
    rows = [
        [encode(mask), float(score), name] for mask, score, name in zip(stack, scores, names or ("",) * 3, strict=True)
    ]
    given = {"size": [70, 50], "rows": rows}
    coco, polygons = run(DOWNLOADS, given)
    # What has no name beside things that have one is an "object", as COCO wants a category of each.
    named = tuple(name or "object" for name in names)
    masks_ = Masks(masks=stack, scores=scores, name="a photo.jpg", class_names=named)
    for found, suffix in ((coco, ".json"), (polygons, ".geojson")):
        expected = json.loads(masks_.encode(suffix))
        assert found.pop("info").keys() >= {"model", "enhance"}
        del expected["info"]
        assert found == expected
    assert Masks.from_coco(coco).class_names == named
