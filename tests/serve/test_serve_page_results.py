"""The page in a real Chromium: downloads, comparison, and what may go wrong between page and server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from page_driver import CUP, CUP_BOX, SIZE, SPOON, Bits, Person, assert_drawn, box_inside, post
from PIL import Image
from pycocotools import mask as coco_mask

from glesam.masks.masks import Masks
from glesam.masks.rle import decode


def two_objects(person: Person) -> list[Bits]:
    """The cup, and the spoon on it."""
    person.drag(*CUP_BOX)
    person.press("n")
    person.click(*SPOON)
    return [decode(each["rle"]) for each in person.objects()]


def labels_of(masks: list[Bits]) -> npt.NDArray[np.int64]:
    """Ids, the smaller mask on top."""
    labels = np.zeros(SIZE, int)
    for index in sorted(range(len(masks)), key=lambda i: -masks[i].sum()):
        labels[masks[index]] = index + 1
    return labels


def test_download_of_ids(person: Person) -> None:
    labels = labels_of(two_objects(person))
    name, content = person.download("mask")
    picture = Image.open(io.BytesIO(content))
    assert (name, picture.mode, picture.size) == ("example.mask.png", "L", SIZE[::-1])
    np.testing.assert_array_equal(np.asarray(picture), labels)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_download_of_coco_and_of_polygons(person: Person) -> None:
    masks = two_objects(person)
    name, content = person.download("coco")
    document = json.loads(content)
    assert name == "example.mask.json"
    assert document["images"] == [{"id": 1, "file_name": "example.jpg", "width": 600, "height": 400}]
    for mask, row in zip(masks, document["annotations"], strict=True):
        np.testing.assert_array_equal(coco_mask.decode(row["segmentation"]).astype(bool), mask)
        assert row["area"] == mask.sum()
        np.testing.assert_array_equal(row["bbox"], coco_mask.toBbox(row["segmentation"]))
    name, content = person.download("polygons")
    expected = json.loads(Masks.from_coco(document).encode(".geojson"))
    expected["info"] = json.loads(content)["info"]
    assert json.loads(content) == expected
    rows = expected["features"]
    assert name == "example.mask.geojson"
    for mask, row in zip(masks, rows, strict=True):
        drawn = filled(row["geometry"]["coordinates"])
        assert (drawn & mask).sum() / (drawn | mask).sum() > 0.95
        assert all(ring[0] == ring[-1] for polygon in row["geometry"]["coordinates"] for ring in polygon)


def filled(polygons: list[list[list[list[float]]]]) -> Bits:
    """Pixels whose centre is in an odd number of rings."""
    from matplotlib.path import Path as Outline

    centres = np.stack(np.meshgrid(np.arange(SIZE[1]) + 0.5, np.arange(SIZE[0]) + 0.5), -1).reshape(-1, 2)
    inside = np.zeros(len(centres), bool)
    for ring in (ring for polygon in polygons for ring in polygon):
        inside ^= Outline(ring).contains_points(centres)
    return inside.reshape(SIZE)


def without_enhancer(page: Any) -> None:
    """A server whose model has none."""
    page.route("**/v1/models", lambda route: route.fulfill(json=route.fetch().json() | {"enhancer": False}))


def test_without_an_enhancer_the_switch_says_why(visit: Callable[..., Person]) -> None:
    person = visit(without_enhancer)
    person.open_example()
    assert person.page.locator("[name=view]:disabled").count() == 4
    assert "no enhancer" in person.page.inner_text("#view-note")
    assert not person.page.locator("#divider").is_visible()


def test_the_bundled_enhancer_restores_a_worse_photo(visit: Callable[..., Person], address: str) -> None:
    person = visit()
    person.open_example()
    person.view("off")
    person.click(*CUP)
    person.choose_level(3)
    picture = person.page.evaluate("glesam.state.image.id")
    seen = {}
    for mode in ("off", "on"):
        person.view(mode)
        (found,) = person.objects()
        body = {"id": picture, "objects": [{"points": found["points"], "labels": [1]}]}
        answer = post(address, "/v1/segment", body | {"enhance": mode})
        assert answer["enhanced"] is (mode == "on")
        assert found["rle"] in [each["rle"] for each in answer["objects"]]
        seen[mode] = decode(found["rle"])
    assert (seen["off"] != seen["on"]).any()


def with_enhancer(page: Any) -> None:
    """A server whose enhancer gives other masks: of the same prompts, the left half of the photo's box."""

    def models(route: Any) -> None:
        route.fulfill(json=route.fetch().json() | {"enhancer": True, "gate": True})

    def segment(route: Any) -> None:
        body = route.request.post_data_json
        if body["enhance"] == "off":
            route.continue_()
            return
        body |= {"enhance": "off", "objects": [{"box": [150, 20, 420, 330]} for _ in body["objects"]]}
        route.fulfill(json=route.fetch(post_data=json.dumps(body)).json() | {"enhanced": True})

    page.route("**/v1/models", models)
    page.route("**/v1/segment", segment)


def test_comparison_shows_each_side_its_mask(visit: Callable[..., Person]) -> None:
    person = visit(with_enhancer)
    person.open_example()
    person.drag(*CUP_BOX)
    person.view("off")
    without = decode(person.objects()[0]["rle"])
    person.view("compare")
    enhanced = decode(person.objects()[0]["rle"])
    assert (without != enhanced).mean() > 0.02
    middle = person.page.evaluate("glesam.state.slider")
    assert middle == 0.5
    half = np.where(np.arange(SIZE[1]) < 300, without, enhanced) & box_inside()
    half[:, 290:310] = False
    shown = person.shown() & box_inside()
    shown[:, 290:310] = False
    assert_drawn(shown, half)
    person.page.focus("#divider")
    person.press("End")
    assert_drawn(person.shown() & box_inside(), without & box_inside())
    person.press("Home")
    assert_drawn(person.shown() & box_inside(), enhanced & box_inside())
    person.choose_level(2)
    assert person.page.locator("#agreement tr").count() == 2


def test_token_is_asked_for_and_used(visit: Callable[..., Person]) -> None:
    asked = []

    def guard(route: Any) -> None:
        asked.append(route.request.headers.get("authorization"))
        if asked[-1] == "Bearer sesame":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "expected a bearer token, got none; send Authorization"})

    person = visit(lambda page: page.route("**/v1/**", guard), refused=True)
    person.page.fill("#token-value", "sesame\u2026")
    person.page.keyboard.press("Enter")
    assert "ASCII" in person.message()
    assert "U+2026" in person.message()
    assert person.page.locator("#token").is_visible()
    assert person.page.evaluate("sessionStorage.getItem('glesam-token')") is None
    person.page.fill("#token-value", "sesame")
    person.page.keyboard.press("Enter")
    person.until("Boolean(glesam.state.server)")
    assert not person.page.locator("#token").is_visible()
    person.open_example()
    person.click(*CUP)
    assert person.objects()[0]["rle"]
    assert asked[0] is None
    assert asked[-1] == "Bearer sesame"


def test_a_forgotten_photo_is_sent_again_and_a_busy_server_asked_again(visit: Callable[..., Person]) -> None:
    answers = [(404, {}), (503, {"Retry-After": "1"})]

    def segment(route: Any) -> None:
        if not answers:
            route.continue_()
            return
        status, headers = answers.pop(0)
        route.fulfill(status=status, headers=headers, json={"error": "expected a known id; embed it first"})

    person = visit(lambda page: page.route("**/v1/segment", segment), refused=True)
    person.until("Boolean(globalThis.glesam?.state.server)")
    person.open_example()
    person.click(*CUP)
    assert answers == []
    assert person.objects()[0]["rle"]


def test_errors_of_the_server_are_one_line_on_the_photo(visit: Callable[..., Person]) -> None:
    sentence = "expected points in the photo, got another; click in it"

    def segment(route: Any) -> None:
        route.fulfill(status=422, json={"error": sentence})

    person = visit(lambda page: page.route("**/v1/segment", segment), refused=True)
    person.until("Boolean(globalThis.glesam?.state.server)")
    person.open_example()
    person.page.mouse.click(*person.place(*CUP))
    assert person.message() == sentence
    assert person.page.locator("#message").get_attribute("role") == "alert"


def test_stale_answers_are_not_shown(visit: Callable[..., Person]) -> None:
    held: list[Any] = []

    def segment(route: Any) -> None:
        if held or len(route.request.post_data_json["objects"][0].get("points", [])) != 1:
            route.continue_()
        else:
            held.append(route)

    person = visit(lambda page: page.route("**/v1/segment", segment))
    person.open_example()
    person.page.mouse.click(*person.place(*CUP))
    while not held:  # the answer to the first click is late
        person.page.wait_for_timeout(20)
    person.click(*SPOON, button="right")
    (found,) = person.objects()
    assert found["labels"] == [1, 0]
    (late,) = held
    assert late.request.failure is not None  # given up
    assert_drawn(person.shown(), decode(found["rle"]))
