"""The page in a real Chromium, against `glesam serve` with the bundled model: prompts and masks."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_driver import CUP, CUP_BOX, EXAMPLE, SPOON, TABLE, Person, assert_drawn, box_inside, post
from PIL import Image

from glesam.masks.rle import decode

BAR_MS = 300


def test_first_click_shows_its_mask_in_time(visit: Callable[..., Person], tmp_path: Path) -> None:
    durations, busy = [], []
    for turn in range(3):  # photos that the server has not seen: each click is the first on its photo
        photo = tmp_path / f"photo{turn}.png"
        pixels = np.roll(np.asarray(Image.open(EXAMPLE).convert("RGB")), 5 * turn + 1, axis=1)
        Image.fromarray(pixels).save(photo)
        person = visit()
        person.open_file(photo)
        busy.append(slowdown())
        person.click(*CUP)
        person.until("performance.getEntriesByName('glesam:click-to-mask').length > 0")
        durations.append(person.page.evaluate("performance.getEntriesByName('glesam:click-to-mask')[0].duration"))
    slow = max(busy)
    sys.stdout.write(f"first click to mask: {', '.join(f'{d:.0f}' for d in durations)} ms, slowed {slow:.1f} times\n")
    # On a busy machine page, browser and server each wait for their turn, one after the other. With a test on every
    # core it is busy, though this process by itself does not wait.
    busy = slow >= 1.2 or int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) >= (os.cpu_count() or 1)
    assert 0 < np.median(durations) <= BAR_MS * (2 * slow if busy else 1)


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
    picture = person.page.evaluate("glesam.state.image.id")
    body = {"id": picture, "objects": [{"points": found["points"], "labels": [1]}], "enhance": "off"}
    assert found["rle"] == post(address, "/v1/segment", body)["objects"][0]["rle"]
    mask = decode(found["rle"])
    assert mask[CUP[1], CUP[0]]
    assert_drawn(person.shown(), mask)


def test_click_means_what_lay_under_the_pointer_when_it_went_down(person: Person) -> None:
    size = person.page.viewport_size
    person.page.mouse.move(*person.place(*CUP))
    person.page.mouse.down()
    person.page.set_viewport_size({"width": size["width"] - 200, "height": size["height"] - 150})
    person.frames()
    person.page.mouse.up()
    person.page.wait_for_timeout(40)
    person.settle()
    (found,) = person.objects()
    person.page.set_viewport_size(size)
    np.testing.assert_allclose(found["points"], [CUP], atol=1)


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


def test_a_name_is_typed_on_while_masks_arrive(person: Person) -> None:
    held: list[Any] = []

    def segment(route: Any) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    person.click(*CUP)
    person.page.route("**/v1/segment", segment)
    person.page.mouse.click(*person.place(*SPOON), button="right")
    person.page.click(".name")
    person.page.keyboard.type("my cp")
    person.page.keyboard.press("ArrowLeft")
    while not held:
        person.page.wait_for_timeout(20)
    held[0].continue_()
    person.settle()
    assert person.objects()[0]["labels"] == [1, 0]
    assert f"{decode(person.objects()[0]['rle']).sum():,} px" in person.page.inner_text("#objects")
    person.page.keyboard.type("u")
    person.page.keyboard.press("Tab")
    assert person.page.evaluate("glesam.state.objects.map((each) => each.name)") == ["my cup"]
    person.frames()
    assert person.page.inner_text("#objects .grow").startswith("my cup")


def test_deleting_by_keys_goes_on_to_the_neighbour(person: Person) -> None:
    for place in (CUP, SPOON, TABLE):
        person.click(*place)
        person.press("n")
    person.press("Control+z")  # the last one, still empty
    focused = "document.activeElement.dataset.object ?? document.activeElement.dataset.bin ?? document.activeElement.id"
    person.page.locator("#objects [aria-label^=Delete]").nth(1).focus()
    person.press("[")  # another is active: the list is drawn anew
    assert person.page.evaluate("document.activeElement.dataset.bin") == "2"
    seen = []
    for _ in range(3):
        person.page.keyboard.press("Enter")
        person.frames()
        seen.append(person.page.evaluate(focused))
        person.page.keyboard.press("Tab")
    assert seen == ["3", "1", "stage"]
    assert person.objects() == []


def test_candidates_can_be_taken(person: Person) -> None:
    person.click(*CUP)
    person.until("document.querySelectorAll('.candidate').length === 3")
    (before,) = person.objects()
    others = person.page.locator(".candidate[aria-pressed=false]")
    assert others.count() == 3  # the single mask is none of them
    others.nth(2).click()
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
    picture = person.page.evaluate("glesam.state.image.id")
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
    from glesam.predict.predictor import Predictor

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


def test_keyboard_alone(visit: Callable[..., Person]) -> None:
    person = visit()
    person.page.focus("#example")
    person.page.keyboard.press("Enter")
    person.until("Boolean(glesam.state.image?.id)")
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
    assert "notes.txt" in person.message()
    assert person.page.evaluate("glesam.state.name") == "my.paste"  # the photo that was there stays
