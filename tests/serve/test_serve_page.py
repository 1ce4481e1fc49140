"""The page in a real Chromium, against `glesam serve` with the bundled model."""

from __future__ import annotations

import io
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from scipy.ndimage import binary_dilation, binary_erosion

from glesam.rle import decode

sys.path.insert(0, str(Path(__file__).parent))

from page_driver import ROOT, Person, post, running_server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytest.importorskip("uvicorn")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no chromium in PATH to drive the page with", allow_module_level=True)

Bits = npt.NDArray[np.bool_]
EXAMPLE = ROOT / "src" / "glesam" / "serve" / "page" / "example.jpg"
SIZE = (400, 600)
CUP = (300, 180)
SPOON = (345, 310)
TABLE = (560, 60)
CUP_BOX = (75, 15, 470, 385)
BAR_MS = 300


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_server() as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Person]]:
    """Open the page; at the end there was no error in the console, and no request went anywhere else."""
    contexts, faults, requests = [], [], []

    def make(prepare: Callable[[Any], None] | None = None, refused: bool = False, **options: Any) -> Person:
        options = {"viewport": {"width": 1280, "height": 820}, "reduced_motion": "reduce"} | options
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") and not refused else None)
        page.on("request", lambda request: requests.append(request.url))
        if prepare:
            prepare(page)
        page.goto(address)
        person = Person(page)
        if not refused:
            person.until("Boolean(globalThis.glesam?.state.server)")
        return person

    yield make
    for context in contexts:
        context.unroute_all(behavior="ignoreErrors")
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")  # answers that nobody waits for any more
        context.close()
    assert faults == []
    assert {url for url in requests if not url.startswith((address + "/", "blob:"))} == set()


@pytest.fixture
def person(visit: Callable[..., Person]) -> Person:
    """Has the example photo open."""
    made = visit()
    made.open_example()
    if made.page.evaluate("glesam.state.server.enhancer"):
        made.view("off")
    return made


def assert_drawn(shown: Bits, mask: Bits) -> None:
    """What is drawn over is the mask, but for the width of lines and points."""
    inside, outside = binary_erosion(mask, iterations=3), ~binary_dilation(mask, iterations=6)
    assert inside.sum() > 1000
    assert shown[inside].mean() > 0.995
    assert shown[outside].mean() < 0.005


def test_first_click_shows_its_mask_in_time(visit: Callable[..., Person], tmp_path: Path) -> None:
    durations = []
    for turn in range(3):  # photos that the server has not seen: each click is the first on its photo
        photo = tmp_path / f"photo{turn}.png"
        pixels = np.roll(np.asarray(Image.open(EXAMPLE).convert("RGB")), 5 * turn + 1, axis=1)
        Image.fromarray(pixels).save(photo)
        person = visit()
        person.open_file(photo)
        person.click(*CUP)
        person.until("performance.getEntriesByName('glesam:click-to-mask').length > 0")
        durations.append(person.page.evaluate("performance.getEntriesByName('glesam:click-to-mask')[0].duration"))
    busy = slowdown()
    sys.stdout.write(f"first click to mask: {', '.join(f'{d:.0f}' for d in durations)} ms, slowed {busy:.1f} times\n")
    assert 0 < np.median(durations) <= BAR_MS * busy


def slowdown() -> float:
    """How many times longer work takes now than on an idle machine: time that passes for time that is worked."""
    wall, worked = time.perf_counter(), time.process_time()
    while time.process_time() - worked < 0.2:
        pass
    return (time.perf_counter() - wall) / (time.process_time() - worked)


def test_click_draws_the_mask_that_the_server_gives(person: Person, address: str) -> None:
    assert not person.shown().any()
    person.click(*CUP)
    (found,) = person.objects()
    assert found["labels"] == [1]
    np.testing.assert_allclose(found["points"], [CUP], atol=1)
    picture = person.page.evaluate("glesam.state.picture.id")
    body = {"id": picture, "objects": [{"points": found["points"], "labels": [1]}], "multimask": True, "enhance": "off"}
    assert found["rle"] == post(address, "/v1/segment", body)["objects"][0]["rle"]
    mask = decode(found["rle"])
    assert mask[CUP[1], CUP[0]]
    assert_drawn(person.shown(), mask)


def test_right_click_takes_away_and_undo_brings_back(person: Person) -> None:
    person.click(*CUP)
    before, seen = person.objects(), person.canvas()
    person.click(*SPOON, button="right")
    after = person.objects()
    assert after[0]["labels"] == [1, 0]
    assert after[0]["rle"] != before[0]["rle"]
    person.press("Control+z")
    assert person.objects() == before
    np.testing.assert_array_equal(person.canvas(), seen)
    person.press("Control+Shift+z")
    assert person.objects() == after
    person.press("Control+z", "Control+z")
    assert person.objects() == []
    assert not person.shown().any()


def test_a_first_right_click_waits_for_what_belongs_to_it(person: Person) -> None:
    person.page.click("label:has([name=tool][value='0'])")
    person.click(*TABLE)
    assert person.objects()[0]["rle"] is None
    assert "Say first" in person.page.inner_text("#status")
    person.press("x")
    person.click(*CUP)
    assert person.objects()[0]["labels"] == [0, 1]
    assert not decode(person.objects()[0]["rle"])[TABLE[1], TABLE[0]]


def test_box_and_clear(person: Person) -> None:
    person.drag(*CUP_BOX)
    (found,) = person.objects()
    np.testing.assert_allclose(found["box"], CUP_BOX, atol=1)
    assert_drawn(person.shown() & box_inside(), decode(found["rle"]) & box_inside())
    person.page.click("#clear")
    person.settle()
    assert person.objects() == []
    assert not person.shown().any()


def box_inside() -> Bits:
    """Away from the lines of the box."""
    inside = np.zeros(SIZE, bool)
    inside[CUP_BOX[1] + 5 : CUP_BOX[3] - 5, CUP_BOX[0] + 5 : CUP_BOX[2] - 5] = True
    return inside


def test_next_object_has_its_colour_and_list_selects_and_deletes(person: Person) -> None:
    person.click(*CUP)
    person.page.click("#next")
    person.click(*SPOON)
    first, second = person.objects()
    assert first["colour"] != second["colour"]
    rows = person.page.locator("#objects li")
    assert rows.count() == 2
    assert person.page.locator("#objects [aria-pressed=true]").inner_text().startswith("Object 2")
    rows.nth(0).locator(".object").click()
    person.settle()
    assert person.page.evaluate("glesam.state.active") == 1
    rows.nth(0).locator("[aria-label^=Delete]").click()
    person.settle()
    assert person.objects() == [second]
    person.press("Control+z")
    assert person.objects() == [first, second]


def test_candidates_can_be_taken(person: Person) -> None:
    person.click(*CUP)
    person.until("document.querySelectorAll('.candidate').length === 3")
    (before,) = person.objects()
    others = person.page.locator(".candidate[aria-pressed=false]")
    assert others.count() == 2
    others.nth(1).click()
    person.settle()
    (after,) = person.objects()
    assert after["rle"] != before["rle"]
    assert_drawn(person.shown(), decode(after["rle"]))
    person.press("1")
    assert person.objects()[0]["choice"] == 0
    person.press("Control+z", "Control+z")
    assert person.objects() == [before]


def test_make_it_worse_degrades_the_photo_and_segments_it_again(person: Person, address: str) -> None:
    person.drag(*CUP_BOX)
    clean, photo = person.objects(), person.canvas_without_masks()
    person.choose_level(3)
    worse = person.canvas_without_masks()
    assert np.abs(worse.astype(int) - photo).mean() > 5
    (found,) = person.objects()
    picture = person.page.evaluate("glesam.state.picture.id")
    body = {"id": picture, "objects": [{"box": found["box"]}], "enhance": "off"}
    assert found["rle"] == post(address, "/v1/segment", body)["objects"][0]["rle"]
    a, b = decode(found["rle"]), decode(clean[0]["rle"])
    row = person.page.locator("#agreement tr")
    assert float(row.inner_text().split()[-1]) == pytest.approx((a & b).sum() / (a | b).sum(), abs=0.006)
    person.page.click("#dice")
    person.until("glesam.state.worse.seed === 1")
    person.settle()
    assert (person.canvas_without_masks() != worse).any()
    person.choose_level(0)
    np.testing.assert_array_equal(person.canvas_without_masks(), photo)
    assert person.objects() == clean


def test_make_it_worse_by_a_kind_with_severity(person: Person) -> None:
    light = []
    for severity in (1, 5):
        person.page.select_option("#kind", "low_light")
        person.until("glesam.state.worse?.kind === 'low_light'")
        person.page.locator("#severity").fill(str(severity))
        person.page.wait_for_timeout(250)
        person.until(f"glesam.state.worse?.severity === {severity}")
        person.settle()
        light.append(float(person.canvas_without_masks().mean()))
    assert light[1] < light[0] - 5


def test_everything_offers_masks_to_keep(person: Person) -> None:
    from glesam.predictor import Predictor

    if not hasattr(Predictor, "generate"):
        pytest.skip("the library has no everything mode")
    person.page.select_option("#grid", "8")
    person.page.click("#everything")
    person.until("glesam.state.everything !== null", 200)
    person.settle()
    count = person.page.evaluate("glesam.state.everything.objects.length")
    assert count > 1
    assert person.shown().mean() > 0.1
    rle = person.page.evaluate("glesam.state.everything.objects.at(-1).mask.rle")  # the smallest: nothing lies on it
    y, x = (np.argwhere(decode(rle))[0] + 0.5).tolist()
    person.click(x, y)
    assert person.objects()[0]["rle"] == rle
    assert person.page.evaluate("glesam.state.everything.objects.length") == count - 1
    person.page.click("#keep-all")
    person.settle()
    assert len(person.objects()) == count
    assert person.page.evaluate("glesam.state.everything") is None
    person.press("Control+z", "Control+z")
    assert person.objects() == []


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


def test_download_of_ids_and_of_the_cut_out(person: Person) -> None:
    labels = labels_of(two_objects(person))
    name, content = person.download("mask")
    picture = Image.open(io.BytesIO(content))
    assert (name, picture.mode, picture.size) == ("example.mask.png", "L", SIZE[::-1])
    np.testing.assert_array_equal(np.asarray(picture), labels)
    assert set(np.unique(labels)) == {0, 1, 2}
    name, content = person.download("cutout")
    cut = np.asarray(Image.open(io.BytesIO(content)))
    assert (name, cut.shape) == ("example.cutout.png", (*SIZE, 4))
    np.testing.assert_array_equal(cut[..., 3], np.where(labels > 0, 255, 0))
    photo = np.asarray(Image.open(EXAMPLE).convert("RGB")).astype(int)
    assert np.abs(cut[..., :3].astype(int) - photo)[labels > 0].mean() < 2  # two decoders of JPEG


def test_download_of_coco_and_of_polygons(person: Person) -> None:
    masks = two_objects(person)
    name, content = person.download("coco")
    document = json.loads(content)
    assert name == "example.mask.json"
    assert document["images"] == [{"id": 1, "file_name": "example", "width": 600, "height": 400}]
    for mask, row in zip(masks, document["annotations"], strict=True):
        np.testing.assert_array_equal(coco_mask.decode(row["segmentation"]).astype(bool), mask)
        assert row["area"] == mask.sum()
        np.testing.assert_array_equal(row["bbox"], coco_mask.toBbox(row["segmentation"]))
    name, content = person.download("polygons")
    rows = json.loads(content)["features"]
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


def test_keyboard_alone(visit: Callable[..., Person]) -> None:
    person = visit()
    person.page.focus("#example")
    person.page.keyboard.press("Enter")
    person.until("Boolean(glesam.state.picture?.id)")
    person.page.focus("#stage")
    person.press("ArrowRight", "ArrowLeft", "Enter")
    (found,) = person.objects()
    np.testing.assert_allclose(found["points"], [[300, 200]], atol=7)
    person.press(*["ArrowUp"] * 12, *["ArrowLeft"] * 3, "Backspace")
    assert person.objects()[0]["labels"] == [1, 0]
    person.press("n", "b", *["ArrowDown"] * 15, *["ArrowRight"] * 15, "b")
    assert len(person.objects()) == 2
    x0, y0, x1, y1 = person.objects()[1]["box"]
    assert (x1 - x0, y1 - y0) == pytest.approx((90, 90))
    person.press("[")
    assert person.page.evaluate("glesam.state.active") == 1
    person.press("Delete")
    assert len(person.objects()) == 1
    person.page.keyboard.press("?")
    assert person.page.locator("#help").is_visible()
    person.page.keyboard.press("Escape")
    assert not person.page.locator("#help").is_visible()


def test_everything_to_use_has_a_name_and_shows_its_focus(person: Person) -> None:
    nameless = person.page.evaluate(
        """[...document.querySelectorAll('button, input, select, canvas[tabindex], [role=slider]')].filter((each) =>
          !(each.getAttribute('aria-label') || each.textContent.trim() || each.labels?.length || each.title))
          .map((each) => each.outerHTML)"""
    )
    assert nameless == []
    for _ in range(3):
        person.page.keyboard.press("Tab")
    assert person.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_phone(visit: Callable[..., Person]) -> None:
    person = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, device_scale_factor=2)
    assert person.page.evaluate("document.documentElement.scrollWidth") <= 360
    person.open_example()
    person.page.touchscreen.tap(*person.place(*CUP))
    person.page.wait_for_timeout(60)
    person.settle()
    assert person.objects()[0]["labels"] == [1]
    assert person.page.evaluate("document.documentElement.scrollWidth") <= 360
    heights = person.page.evaluate(
        "[...document.querySelectorAll('.tools button, .tools label')].map((e) => e.offsetHeight)"
    )
    assert min(height for height in heights if height) >= 36


def test_zoom_keeps_prompts_in_pixels_of_the_photo(person: Person) -> None:
    person.page.mouse.move(*person.place(*SPOON))
    person.page.mouse.wheel(0, -600)
    person.page.wait_for_timeout(60)
    left, right = (person.place(x, 200)[0] for x in (300, 400))
    assert right - left > 200
    person.click(*SPOON)
    np.testing.assert_allclose(person.objects()[0]["points"], [SPOON], atol=0.6)


def test_photos_come_by_drop_and_paste_and_other_files_are_refused(visit: Callable[..., Person]) -> None:
    person = visit()
    send = """async ([kind, text, type]) => {
      const blob = text ? new Blob([text], { type }) : await (await fetch('static/example.jpg')).blob();
      const data = new DataTransfer();
      data.items.add(new File([blob], text ? 'notes.txt' : `my.${kind}.jpg`, { type: blob.type }));
      const event = kind === 'paste' ? new ClipboardEvent('paste', { clipboardData: data, bubbles: true })
        : new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        person.page.evaluate(send, [kind, None, None])
        person.until(f"glesam.state.name === 'my.{kind}'")
        person.settle()
    person.page.evaluate(send, ["drop", "no photo", "text/plain"])
    person.until("glesam.state.message !== null")
    assert "notes.txt" in person.page.inner_text("#message")
    assert person.page.evaluate("glesam.state.name") == "my.paste"  # the photo that was there stays


def test_without_an_enhancer_the_switch_says_why(person: Person) -> None:
    if person.page.evaluate("glesam.state.server.enhancer"):
        pytest.skip("the bundled model has an enhancer")
    assert person.page.locator("[name=view]:disabled").count() == 4
    assert "no enhancer" in person.page.inner_text("#view-note")
    assert not person.page.locator("#divider").is_visible()


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
    person.until("glesam.state.message !== null")
    assert person.page.inner_text("#message") == sentence
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
    person.page.wait_for_timeout(150)
    assert len(held) == 1  # the answer to the first click is late
    person.click(*SPOON, button="right")
    (found,) = person.objects()
    assert found["labels"] == [1, 0]
    (late,) = held
    assert late.request.failure is not None  # given up
    assert_drawn(person.shown(), decode(found["rle"]))
