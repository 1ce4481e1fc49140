"""The page in a real Chromium when something goes wrong: no click is lost, and nothing is silent."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_driver import CUP, EXAMPLE, SPOON, Person, post, served
from PIL import Image

from glesam.masks.rle import decode

READY = "Boolean(globalThis.glesam?.state.server) && Boolean(glesam.state.image)"
KEPT = "glesam.state.objects.length"
WATCH_SENDING = """
  () => {
    const bar = document.getElementById('progress');
    globalThis.seenShares = [];
    new MutationObserver(() => {
      const share = bar.getAttribute('aria-valuenow');
      if (share !== null && glesam.state.image?.id === null) seenShares.push(Number(share));
    }).observe(bar, { attributes: true, attributeFilter: ['aria-valuenow'] });
  }
"""
"""Notes every share that the progress bar shows while an image is sent, however short it is shown."""


def click_at_once(person: Person) -> None:
    """Two objects, clicked as soon as the photo is seen, whatever the server knows of it."""
    person.until("Boolean(glesam.state.image)")
    # Drawn once: before, the stage may still change its size, and a place on it is another one a moment later.
    person.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))")
    person.page.mouse.click(*person.place(*CUP))
    person.page.keyboard.press("n")
    person.page.mouse.click(*person.place(*SPOON))
    person.page.wait_for_timeout(60)


def assert_answered(person: Person, count: int = 2) -> list[dict[str, Any]]:
    """Every click has its mask, and no trouble is told any more."""
    person.settle()
    found = person.objects()
    assert [each["labels"] for each in found] == [[1]] * count
    assert all(each["rle"] for each in found)
    assert not person.page.is_visible("#trouble")
    return found


def test_an_aborted_upload_is_tried_again_and_clicks_are_kept(visit: Callable[..., Person]) -> None:
    aborts = [2]

    def embed(route: Any) -> None:
        if aborts[0]:
            aborts[0] -= 1
            route.abort()
        else:
            route.continue_()

    person = visit(lambda page: page.route("**/v1/embed", embed), refused=True)
    person.until("Boolean(globalThis.glesam?.state.server)")
    person.page.click("#example")
    click_at_once(person)
    person.until("glesam.state.trouble !== null")
    text = person.page.inner_text("#trouble-text")
    assert "does not answer" in text
    assert "Your clicks are kept" in text
    assert "kept until the image is there" in person.page.inner_text("#objects")
    person.page.wait_for_timeout(300)
    assert person.page.is_visible("#trouble")  # it stays as long as it is true
    person.page.click("#trouble-now")
    assert_answered(person)
    assert aborts == [0]


def test_a_slow_line_shows_its_progress_and_keeps_clicks(visit: Callable[..., Person], tmp_path: Path) -> None:
    person = visit(refused=True)
    person.until("Boolean(globalThis.glesam?.state.server)")
    session = person.page.context.new_cdp_session(person.page)
    limits = {"offline": False, "latency": 20, "downloadThroughput": -1, "uploadThroughput": 30_000}
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", limits)
    person.page.evaluate(WATCH_SENDING)
    # Several of the pieces in which a browser sends, and some seconds.
    Image.open(EXAMPLE).convert("RGB").save(tmp_path / "example.jpg", quality=95)
    person.page.set_input_files("#file", tmp_path / "example.jpg")
    click_at_once(person)
    assert person.page.get_attribute("#frame", "aria-busy") == "true"
    person.until("glesam.state.image.id !== null")
    told = person.page.evaluate("seenShares")
    assert told == sorted(told)
    assert len(set(told)) >= 2
    session.send("Network.emulateNetworkConditions", limits | {"uploadThroughput": -1})
    assert_answered(person)
    assert person.page.get_attribute("#frame", "aria-busy") == "false"


def test_clicks_without_a_line_are_answered_when_it_is_back(visit: Callable[..., Person]) -> None:
    other = visit(refused=True)
    other.until("Boolean(globalThis.glesam?.state.server)")
    other.open_example()
    other.page.context.set_offline(True)
    other.page.mouse.click(*other.place(*CUP))
    other.until("glesam.state.trouble !== null")
    other.page.keyboard.press("n")
    other.page.mouse.click(*other.place(*SPOON))
    other.page.context.set_offline(False)
    assert_answered(other)


def test_a_server_that_was_restarted_gets_the_photo_again(browser: Any, make_app: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = browser.new_context()
    person = Person(context.new_page())
    with served(make_app(), port) as address:
        person.page.goto(address)
        person.until("Boolean(globalThis.glesam?.state.server)")
        person.open_example()
    person.page.mouse.click(*person.place(*CUP))
    person.until("glesam.state.trouble !== null")
    person.page.keyboard.press("n")
    person.page.mouse.click(*person.place(*SPOON))
    with served(make_app(), port):  # a new one, which knows no photo
        assert_answered(person)
    context.close()


def test_objects_and_their_names_outlive_a_reload(person: Person) -> None:
    person.click(*CUP)
    person.page.fill(".name", "my cup")
    person.page.keyboard.press("Enter")
    person.press("Escape")
    person.page.focus("#stage")
    person.press("n")
    person.click(*SPOON)
    before = person.objects()
    person.page.wait_for_timeout(900)
    person.page.reload()
    person.until(READY)
    person.until(f"{KEPT} === 2")
    person.view("off")
    assert person.objects() == before
    assert person.page.evaluate("glesam.state.objects.map((each) => each.name)") == ["my cup", ""]
    person.page.click("#objects .object")
    person.page.focus("#stage")
    person.click(*SPOON, button="right")  # and goes on from there
    assert person.objects()[0]["labels"] == [1, 0]


def test_two_tabs_do_not_mix(visit: Callable[..., Person]) -> None:
    first = visit()
    second = Person(first.page.context.new_page())
    second.page.goto(first.page.url)
    second.until("Boolean(globalThis.glesam?.state.server)")
    for person, place in ((first, CUP), (second, SPOON)):
        person.page.bring_to_front()  # a tab behind another draws once a second
        person.open_example()
        if person.page.evaluate("glesam.state.objects.length"):  # what the other tab left on this photo
            person.page.click("#clear")
            person.settle()
        person.click(*place)
        person.page.wait_for_timeout(900)
    found = [first.objects(), second.objects()]
    for person, before in ((first, found[0]), (second, found[1])):
        person.page.bring_to_front()
        person.page.reload()
        person.until(READY)
        person.until(f"{KEPT} === 1")
        person.settle()
        assert person.objects() == before


def test_a_folder_is_worked_through_and_downloaded_as_a_set(visit: Callable[..., Person], tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(Path(__file__).parents[2] / "src/glesam/serve/page/example.jpg").convert("RGB"))
    files = []
    for number in (1, 2, 10):  # in the order of numbers, not of letters
        files.append(tmp_path / f"img{number}.png")
        Image.fromarray(np.roll(pixels, number, axis=1)).save(files[-1])
    person = visit()
    person.page.set_input_files("#file", files[::-1])
    person.settle()
    assert person.page.inner_text("#several-at") == "1 of 3"
    person.click(*CUP)
    person.page.fill(".name", "cup")
    person.page.keyboard.press("Tab")
    first = person.objects()
    person.page.click("#image-after")
    person.until("glesam.state.name === 'img2'")
    person.settle()
    assert person.objects() == []
    person.page.focus("#stage")
    person.press("PageDown")
    person.until("glesam.state.name === 'img10'")
    person.settle()
    person.click(*SPOON)
    third = person.objects()
    assert person.page.locator("#image-after").is_disabled()
    name, content = person.download("set")
    assert name == "training-set.zip"
    assert_is_data_set(content, tmp_path / "set", {"img1": first[0]["rle"], "img10": third[0]["rle"]}, files)
    person.press("PageUp", "PageUp")
    person.until("glesam.state.name === 'img1'")
    person.until(f"{KEPT} === 1")
    person.settle()
    assert person.objects() == first


def assert_is_data_set(content: bytes, folder: Path, expected: dict[str, Any], files: list[Path]) -> None:
    """The library's own reader takes the folder as it is, and so does the standard's."""
    import zipfile

    from glesam.data.readers.folder import FolderDataset

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        archive.extractall(folder)
    data = FolderDataset(folder)
    assert data.names == sorted(expected)
    for name, rle in expected.items():
        source = next(path for path in files if path.stem == name)
        assert (folder / "images" / source.name).read_bytes() == source.read_bytes()
        mask = np.asarray(Image.open(folder / "masks" / f"{name}.png"))
        np.testing.assert_array_equal(mask > 0, decode(rle))
    labels = json.loads((folder / "labels.json").read_text())
    assert [row["file_name"] for row in labels["images"]] == ["img1.png", "img10.png"]
    names = {row["id"]: row["name"] for row in labels["categories"]}
    assert [names[row["category_id"]] for row in labels["annotations"]] == ["cup", "object"]


def test_too_large_a_photo_names_the_option_as_long_as_it_is_open(visit: Callable[..., Person], tmp_path: Path) -> None:
    asked: list[str] = []
    Image.new("1", (9000, 6800)).save(tmp_path / "large.png")  # 61 megapixels
    person = visit(lambda page: page.on("request", lambda request: asked.append(request.url)))
    person.page.set_input_files("#file", tmp_path / "large.png")
    assert "--max-megapixels" in person.message()
    person.page.mouse.click(*person.place(4500, 3400))
    person.until("glesam.state.objects.length === 1")
    person.frames()
    assert "--max-megapixels" in person.page.inner_text("#message")  # no click takes it away
    assert "not take" in person.page.inner_text("#status")
    assert "not taken" in person.page.inner_text("#objects")
    assert person.page.is_disabled("[name=level][value='3']")
    assert not any(url.endswith("/v1/embed") for url in asked)  # nothing is sent in vain
    person.open_file(EXAMPLE)
    person.click(*CUP)
    assert_answered(person, 1)


def test_an_image_that_the_server_refuses_says_so_after_every_click(visit: Callable[..., Person]) -> None:
    sentence = "expected an image, got something else; send JPEG or PNG"

    def embed(route: Any) -> None:
        route.fulfill(status=422, json={"error": sentence})

    person = visit(lambda page: page.route("**/v1/embed", embed), refused=True)
    person.until("Boolean(globalThis.glesam?.state.server)")
    person.page.click("#example")
    assert person.message() == sentence
    click_at_once(person)
    person.until("glesam.state.objects.length === 2")
    person.frames()
    assert person.page.inner_text("#message") == sentence
    assert "kept" not in person.page.inner_text("#objects")


def test_twelve_megapixels_lose_no_click_and_their_damage_is_seen_to_be_at_work(
    visit: Callable[..., Person], tmp_path: Path
) -> None:
    held: list[Any] = []
    Image.open(EXAMPLE).convert("RGB").resize((4200, 2800)).save(tmp_path / "large.jpg")
    person = visit(lambda page: page.route("**/v1/degrade", lambda route: held.append(route)))
    person.page.set_input_files("#file", tmp_path / "large.jpg")
    person.until("Boolean(glesam.state.image)")
    person.frames()
    person.page.mouse.click(*person.place(7 * CUP[0], 7 * CUP[1]))
    (found,) = assert_answered(person, 1)
    np.testing.assert_allclose(found["points"], [[7 * CUP[0], 7 * CUP[1]]], atol=8)
    assert decode(found["rle"]).shape == (2800, 4200)
    person.page.click("#levels label:nth-child(4)")
    person.until("document.querySelector('#progress-text').textContent.startsWith('Making it worse ·')")
    assert not person.page.evaluate("document.getElementById('progress').hidden")
    # Playwright tells of a request that was given up when it hears of it, which may be a moment later.
    with person.page.expect_event("requestfailed", lambda request: request.url.endswith("/v1/degrade")):
        person.choose_level(0)
    assert held[0].request.failure is not None


@pytest.mark.slow
def test_sixty_one_megapixels_where_the_server_takes_them(
    browser: Any, make_app: Callable[..., Any], tmp_path: Path
) -> None:
    Image.new("1", (9000, 6800)).save(tmp_path / "large.png")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    context = browser.new_context(viewport={"width": 1280, "height": 820})
    person = Person(context.new_page())
    with served(make_app(max_pixels=64_000_000), port) as address:
        person.page.goto(address)
        person.until("Boolean(globalThis.glesam?.state.server)")
        person.page.set_input_files("#file", tmp_path / "large.png")
        person.until("Boolean(glesam.state.image)")
        person.frames()
        person.page.mouse.click(*person.place(4500, 3400))
        (found,) = assert_answered(person, 1)
        assert decode(found["rle"]).shape == (6800, 9000)
    context.close()


def test_a_phone_loses_no_tap(visit: Callable[..., Person]) -> None:
    held: list[Any] = []

    def embed(route: Any) -> None:
        held.append(route)

    size = {"width": 360, "height": 740}
    person = visit(lambda page: page.route("**/v1/embed", embed), viewport=size, has_touch=True, is_mobile=True)
    person.page.click("#example")
    person.until("Boolean(glesam.state.image)")
    person.page.touchscreen.tap(*person.place(*CUP))
    person.until("document.querySelector('#status').innerText.includes('Kept')")
    assert person.page.evaluate("document.documentElement.scrollWidth") <= 360
    held[0].continue_()
    assert_answered(person, 1)


def test_what_the_page_asks_is_what_the_server_knows(person: Person, address: str) -> None:
    """Kept answers are the server's own."""
    person.click(*CUP)
    (found,) = person.objects()
    key = person.page.evaluate("glesam.state.image.id")
    body = {"id": key, "objects": [{"points": found["points"]}], "enhance": "off"}
    assert post(address, "/v1/segment", body)["objects"][0]["rle"] == found["rle"]
