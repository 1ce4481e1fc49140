"""The page in a real Chromium: previews, words, masks from files, everything mode's numbers, soft cut-outs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_driver import CUP, CUP_BOX, EXAMPLE, SIZE, SPOON, TABLE, Person
from PIL import Image
from scipy.ndimage import binary_erosion

from glesam.draw.colours import colour
from glesam.images.reading import read
from glesam.masks.cutout import soft_alpha
from glesam.masks.rle import decode, encode


def hover(person: Person, place: tuple[int, int]) -> None:
    """Move the pointer there, and wait for its preview."""
    person.page.mouse.move(*person.place(place[0] - 9, place[1]))
    person.page.mouse.move(*person.place(*place))
    x, y = place
    person.until(f"Math.hypot((glesam.state.peek?.at[0] ?? -99) - {x}, (glesam.state.peek?.at[1] ?? -99) - {y}) < 2")
    person.frames()


def test_the_mask_under_the_pointer_is_the_one_that_a_click_gives(person: Person) -> None:
    person.page.check("#previewing")
    hover(person, CUP)
    assert person.shown().mean() > 0.05  # drawn
    peek = person.page.evaluate("glesam.state.peek.mask.rle")
    assert person.objects() == []  # and nothing is clicked
    person.page.uncheck("#previewing")
    assert person.page.evaluate("glesam.state.peek") is None
    person.click(*CUP)
    assert person.objects()[0]["rle"] == peek


def test_previews_are_few_and_end_where_they_are_switched_off(person: Person) -> None:
    asked: list[float] = []
    person.page.on("request", lambda request: asked.append(1) if request.url.endswith("/v1/segment") else None)
    for x in range(100, 200, 9):
        person.page.mouse.move(*person.place(x, 200))
    assert asked == []  # off, by the fixture
    person.page.focus("#stage")
    person.page.keyboard.press("p")
    places = [person.place(x, 200) for x in range(100, 400, 3)]
    for place in places:
        person.page.mouse.move(*place)
    person.until("glesam.state.peek !== null")
    assert 0 < len(asked) < 20  # of a hundred moves
    person.page.keyboard.press("p")
    asked.clear()
    person.page.mouse.move(*person.place(*TABLE))
    person.page.wait_for_timeout(300)
    assert asked == []
    assert person.page.evaluate("localStorage.getItem('glesam-preview')") == "off"


def test_a_long_click_is_seen_to_be_at_work(visit: Callable[..., Person]) -> None:
    held: list[Any] = []

    def segment(route: Any) -> None:
        held.append(route)

    person = visit(lambda page: page.route("**/v1/segment", segment))
    person.open_example()
    person.page.mouse.click(*person.place(*CUP))
    person.until("document.getElementById('frame').getAttribute('aria-busy') === 'true'")
    assert person.page.evaluate("getComputedStyle(document.getElementById('stage')).cursor") == "progress"
    person.until("!document.getElementById('progress').hidden")
    while held or not person.page.evaluate("document.getElementById('progress').hidden"):
        if held:
            held.pop().continue_()
        person.page.wait_for_timeout(20)
    person.settle()
    assert person.page.get_attribute("#frame", "aria-busy") == "false"


def test_words_are_completed_and_found(person: Person, address: str) -> None:
    assert person.page.is_visible("#words-panel")
    person.page.locator("#words").fill("spoon; cu")
    known = person.page.evaluate("[...document.querySelectorAll('#words-known option')].map((each) => each.value)")
    assert "spoon; cup" in known[:3]
    person.page.fill("#words", "cup")
    person.page.click("#find-words")
    person.until("glesam.state.message !== null")
    person.settle()
    found = person.objects()
    assert found
    assert set(person.page.evaluate("glesam.state.objects.map((each) => each.name)")) == {"cup"}
    assert decode(found[0]["rle"])[CUP[1], CUP[0]]


def test_objects_are_found_in_the_next_image(visit: Callable[..., Person], tmp_path: Path) -> None:
    pixels, shift = np.asarray(Image.open(EXAMPLE).convert("RGB").resize((300, 200))), 30
    files = [tmp_path / f"img{number}.png" for number in (1, 2, 3)]
    for path, image in zip(files, (pixels, np.roll(pixels, shift, axis=1), np.full_like(pixels, 99)), strict=True):
        Image.fromarray(image).save(path)
    person = visit(refused=True)
    person.until("Boolean(globalThis.glesam?.state.server)")
    person.page.set_input_files("#file", files)
    person.settle()
    assert person.page.locator("#find-next").is_disabled()  # nothing is marked
    person.view("off")
    person.drag(*(side / 2 for side in CUP_BOX))
    person.page.fill(".name", "cup")
    person.page.keyboard.press("Tab")
    cup = decode(person.objects()[0]["rle"])
    asked: list[Any] = []

    def like(route: Any) -> None:
        asked.append([len(each["objects"]) for each in route.request.post_data_json["examples"]])
        if len(asked) == 1:  # the server has let the first image go
            route.fulfill(status=404, json={"error": "expected the id of an embedded picture, got another"})
        elif len(asked) == 2:
            route.continue_()
        else:
            route.fulfill(json={"objects": []})

    person.page.route("**/v1/like", like)
    person.page.click("#find-next")
    person.until("glesam.state.name === 'img2' && glesam.state.message !== null")
    person.settle()
    found = [decode(each["rle"]) for each in person.objects()]
    expected = np.roll(cup, shift, axis=1)
    ious = [(mask & expected).sum() / (mask | expected).sum() for mask in found]
    assert max(ious, default=0) > 0.7, ious
    assert set(person.page.evaluate("glesam.state.objects.map((each) => each.name)")) == {"cup"}
    person.page.focus("#stage")
    person.page.keyboard.press("f")  # with the objects of both images
    person.until("glesam.state.name === 'img3' && glesam.state.message !== null")
    person.settle()
    assert asked == [[1], [1], [1, len(found)]]
    assert person.objects() == []
    assert "Nothing" in person.page.inner_text("#message")
    assert person.page.locator("#find-next").is_disabled()  # the last one


def ellipse() -> np.ndarray:
    """A mask that is nearly the cup's."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    return ((x - 300) / 130) ** 2 + ((y - 160) / 120) ** 2 < 1


def test_masks_from_a_file_are_objects_that_clicks_correct(person: Person, tmp_path: Path) -> None:
    ids = ellipse().astype(np.uint8)
    ids[300:340, 500:560] = 2
    Image.fromarray(ids).save(tmp_path / "start.png")
    person.page.set_input_files("#mask-file", tmp_path / "start.png")
    person.until("glesam.state.objects.length === 2")
    person.settle()
    first, second = person.objects()
    np.testing.assert_array_equal(decode(first["rle"]), ids == 1)
    np.testing.assert_array_equal(decode(second["rle"]), ids == 2)
    sent: list[Any] = []
    person.page.on("request", lambda r: sent.append(r.post_data_json) if r.url.endswith("/v1/segment") else None)
    person.page.click("#objects .object")
    person.click(*SPOON, button="right")
    assert person.objects()[0]["labels"] == [1, 0]
    logits = next(each["objects"][0]["mask_input"] for each in sent if "mask_input" in each["objects"][0])
    assert_like_the_library(logits, ids == 1)


def assert_like_the_library(text: str, mask: np.ndarray) -> None:
    """Logits of the page are those of `--start-mask`, but for the resizing of the outline."""
    import base64

    from glesam.models.base import ImageGeometry
    from glesam.prompts.start import mask_logits

    sent = np.frombuffer(base64.b64decode(text), "<f2").astype(float)
    side = round(sent.size**0.5)
    scale = 4 * side / max(SIZE)
    size = (round(SIZE[0] * scale), round(SIZE[1] * scale))
    geometry = ImageGeometry(original_size=SIZE, input_size=size, image_size=4 * side)
    expected = mask_logits(mask[None], geometry)[0]
    sent = sent.reshape(side, side)
    assert ((sent > 0) != (expected > 0)).mean() < 0.01
    assert np.abs(sent - expected).max() <= 4.1  # two cells, at a slope of 2


def test_a_mask_of_another_size_and_an_empty_one_are_told(person: Person, tmp_path: Path) -> None:
    for pixels, said in ((np.ones((40, 40)), "600 × 400"), (np.zeros(SIZE), "empty")):
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "start.png")
        person.page.set_input_files("#mask-file", tmp_path / "start.png")
        person.until("glesam.state.message?.kind === 'error'")
        assert said in person.message()
        assert person.objects() == []
        person.page.click("#message")


def test_everything_has_numbers_colours_of_the_sheet_and_leaves_objects_out(person: Person) -> None:
    person.page.select_option("#grid", "8")
    person.page.click("#everything")
    person.until("glesam.state.everything !== null", 200)
    person.settle()
    rows = "glesam.state.everything.objects.map(({ mask, number, point }) => [mask.rle, number, point])"
    found = person.page.evaluate(rows)
    assert [number for _, number, _ in found] == list(range(1, len(found) + 1))
    masks = [decode(rle) for rle, _, _ in found]
    # A pixel of the smallest mask, away from its number and its outline.
    places = np.argwhere(binary_erosion(masks[-1], iterations=4))
    y, x = places[np.abs(places - found[-1][2][::-1]).sum(axis=1).argmax()].tolist()
    plain, drawn = person.canvas_without_masks(), person.canvas()
    ratio = plain.shape[1] / person.page.locator("#stage").bounding_box()["width"]
    column, row = person.page.evaluate("([x, y]) => glesam.toStage(x, y)", [x + 0.5, y + 0.5])
    at = (int(row * ratio), int(column * ratio))
    expected = plain[at].astype(float)
    for index, mask in enumerate(masks):  # each lies over the larger ones
        if mask[y, x]:
            expected = 0.52 * expected + 0.48 * np.array(colour(index))
    np.testing.assert_allclose(drawn[at], expected, atol=4)
    person.page.click("#keep-all")
    person.settle()
    person.page.click("#everything")
    person.until("glesam.state.everything !== null || /already/.test(glesam.state.message?.text ?? '')", 200)
    assert person.page.evaluate("glesam.state.everything?.objects.length ?? 0") == 0


def test_another_view_leaves_everything_mode(person: Person) -> None:
    rows = [{"segmentation": encode(ellipse()), "predicted_iou": 0.9, "point_coords": [[300, 160]]}]
    person.page.route("**/v1/everything", lambda route: route.fulfill(json={"objects": rows, "enhanced": False}))
    for leave in (lambda: person.press("c"), lambda: person.view("off")):
        person.page.click("#everything")
        person.until("glesam.state.everything !== null")
        leave()
        assert person.page.evaluate("glesam.state.everything") is None


@pytest.mark.parametrize("clear", [False, True])
def test_the_cut_out_is_the_librarys(visit: Callable[..., Person], tmp_path: Path, clear: bool) -> None:
    photo = np.array(Image.open(EXAMPLE).convert("RGBA" if clear else "RGB"))
    if clear:  # in the middle of the cup, with black hidden below
        photo[120:220, 250:300], photo[120:220, 300:350, 3] = 0, 100
    Image.fromarray(photo).save(tmp_path / "photo.png")  # no second decoder of JPEG
    photo = read(tmp_path / "photo.png")
    person = visit()
    person.open_file(tmp_path / "photo.png")
    person.view("off")
    person.drag(*CUP_BOX)
    mask = decode(person.objects()[0]["rle"])
    name, content = person.download("cutout")
    cut = np.asarray(Image.open(io.BytesIO(content)))
    alpha = np.rint(255 * soft_alpha(photo, mask)).astype(np.uint8)
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    assert name == "photo.cutout.png"
    assert cut.shape == (*alpha[part].shape, 4)
    assert np.abs(cut[..., 3].astype(int) - alpha[part]).max() <= 2
    sure = cut[..., 3] == 255
    assert np.abs(cut[sure][:, :3].astype(int) - photo[part][sure]).max() <= (1 if clear else 0)
    if clear:
        hole = (cut.shape[0] // 2, 275 - int(columns[0]))
        assert mask[part][hole]
        assert cut[hole].tolist() == [255, 255, 255, 255]
    assert not cut[cut[..., 3] == 0].any()


@pytest.mark.parametrize("name", ["a cup", "T\u00e4sse \u2615"])
def test_names_are_in_every_download(person: Person, name: str) -> None:
    import json

    person.click(*CUP)
    person.page.fill(".name", name)
    person.page.keyboard.press("Tab")
    person.page.wait_for_timeout(60)
    _, content = person.download("coco")
    assert json.loads(content)["categories"] == [{"id": 1, "name": name}]
    _, content = person.download("polygons")
    assert json.loads(content)["features"][0]["properties"]["class"] == name
