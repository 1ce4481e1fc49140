"""Working through several images of which the browser cannot show one: the page's modules, run by Node."""

from __future__ import annotations

from typing import Any

from page_fixtures import BROWSER, module, run

STAGE = f"""
{BROWSER}
globalThis.createImageBitmap = async (blob) => {{
  if (blob.name.includes('bad')) throw new Error('no image');
  return {{ width: 4, height: 4 }};
}};
globalThis.XMLHttpRequest = class {{
  upload = {{}};
  open() {{}}
  setRequestHeader() {{}}
  getAllResponseHeaders() {{ return ''; }}
  send(blob) {{
    const answer = {{ id: blob.name, width: 4, height: 4 }};
    setTimeout(() => this.onload(Object.assign(this, {{ status: 200, response: new Blob([JSON.stringify(answer)]) }})));
  }}
}};
const asked = [];
globalThis.fetch = async (path, {{ body }}) => {{
  asked.push([path, JSON.parse(body).id, JSON.parse(body).examples.map(({{ id }}) => id)]);
  return new Response(JSON.stringify({{ objects: [], enhanced: false }}));
}};
const {{ set, state }} = await import('{module("state.js")}');
const {{ ofBits }} = await import('{module("rle.js")}');
const {{ openAll, placeBy, step }} = await import('{module("images.js")}');
const {{ canFindNext, findInNext }} = await import('{module("likeness.js")}');
set({{ server: {{ limits: {{}}, enhancer: false }} }});
const files = (...names) => names.map((name) => new File(['bytes'], name, {{ type: 'image/png' }}));
const mask = ofBits(new Uint8Array(16).fill(1), 4, 4);
const mark = () => set({{ objects: [{{ id: 1, name: '', points: [[1, 1]], labels: [1], box: null, choice: null,
  before: null, fixed: {{ where: `${{state.image.id}}|off`, mask, score: 1 }} }}] }});
const seen = [];
const look = () => seen.push({{ at: state.at, shown: state.file?.name ?? null, objects: state.objects.length,
  error: state.message?.kind === 'error' ? state.message.text : null, asked: asked.splice(0), next: placeBy(1) }});
"""


def played(code: str) -> list[dict[str, Any]]:
    """What was seen at each `look()`."""
    found: list[dict[str, Any]] = run(f"{STAGE}{code}\nconsole.log(JSON.stringify(seen)); process.exit(0);")
    return found


def test_a_search_stops_where_the_next_image_cannot_be_shown() -> None:
    code = """
    await openAll(files('1.png', '2bad.tif', '3.png'));
    mark();
    await findInNext();
    look();
    const can = canFindNext();
    await findInNext();
    look();
    await step(-1);
    look();
    seen.push(can);
    """
    stopped, found, back, can = played(code)
    assert "2bad.tif" in stopped.pop("error")
    # Still the first image with its object, nothing was looked for on it, and the next try passes the bad one over.
    assert stopped == {"at": 0, "shown": "1.png", "objects": 1, "asked": [], "next": 2}
    assert can
    assert found["asked"] == [["v1/like", "3.png", ["1.png"]]]
    assert (found["at"], found["shown"], found["error"], found["next"]) == (2, "3.png", None, None)
    assert (back["at"], back["shown"], back["error"]) == (0, "1.png", None)


def test_a_first_image_that_cannot_be_shown_leaves_the_way_to_the_others() -> None:
    code = """
    await openAll(files('old.png'));
    await openAll(files('1bad.tif', '2.png', '3bad.tif'));
    look();
    await step(1);
    look();
    await step(1);
    look();
    """
    first, second, last = played(code)
    assert "1bad.tif" in first["error"]
    assert (first["at"], first["shown"], first["next"]) == (-1, "old.png", 1)
    assert (second["at"], second["shown"], second["error"]) == (1, "2.png", None)
    assert "3bad.tif" in last["error"]
    assert (last["at"], last["shown"], last["next"]) == (1, "2.png", None)


def test_steps_in_quick_succession_count_and_say_nothing_of_what_they_passed() -> None:
    code = """
    await openAll(files('1.png', '2bad.tif', '3.png', '4bad.tif'));
    await Promise.all([step(1), step(1)]);
    look();
    await step(1);
    look();
    """
    passed, last = played(code)
    assert (passed["at"], passed["shown"], passed["error"]) == (2, "3.png", None)
    assert (last["at"], last["shown"]) == (2, "3.png")
    assert "4bad.tif" in last["error"]
