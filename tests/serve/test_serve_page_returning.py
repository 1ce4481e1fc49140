"""Images that are left and come back, however quickly: their objects, masks and places in the training set.

The page's modules are run by Node, with a storage that is as slow as a test wants it.
"""

from __future__ import annotations

from typing import Any

from page_fixtures import BROWSER, module, run

BENCH = f"""
{BROWSER}
const {{ deserialize, serialize }} = await import('node:v8');
const kept = given ? deserialize(Buffer.from(given, 'base64')) : new Map(); // what is on the disk
let [reading, answering, holding] = [0, 0, false]; // milliseconds, and whether embedding waits
const held = [];
function later(give, milliseconds = 0) {{
  const request = {{}};
  setTimeout(() => (Object.assign(request, {{ result: give() }}), request.onsuccess?.()), milliseconds);
  return request;
}}
const storeOf = (name) => ({{
  count: () => later(() => 0),
  get: (key) => {{
    const found = structuredClone(kept.get(`${{name}} ${{key}}`));
    return later(() => found, reading);
  }},
  put: (value, key) => name === 'images' && kept.set(`${{name}} ${{key}}`, structuredClone(value)),
}});
const database = {{
  transaction(name) {{
    const made = {{ objectStore: () => storeOf(name) }};
    setTimeout(() => made.oncomplete?.());
    return made;
  }},
}};
globalThis.indexedDB = {{ open: () => later(() => database) }};
globalThis.createImageBitmap = async (blob) => {{
  await pause(5);
  if (blob.name.includes('bad')) throw new Error('no image');
  return {{ width: 4, height: 4 }};
}};
globalThis.XMLHttpRequest = class {{
  upload = {{}};
  open() {{}}
  setRequestHeader() {{}}
  getAllResponseHeaders() {{ return ''; }}
  abort() {{ this.onabort(); }}
  send(blob) {{
    const response = new Blob([JSON.stringify({{ id: blob.name, width: 4, height: 4 }})]);
    const answer = () => setTimeout(() => this.onload(Object.assign(this, {{ status: 200, response }})));
    if (holding) held.push(answer);
    else answer();
  }}
}};
const requests = [];
globalThis.fetch = async (path, {{ body, signal }}) => {{
  await pause(answering);
  signal?.throwIfAborted();
  requests.push(JSON.parse(body));
  const row = {{ rle: {{ size: [4, 4], counts: '0`0' }}, score: 1, logits: `${{requests.length}}` }};
  return new Response(JSON.stringify({{ enhanced: false, objects: requests.at(-1).objects.map(() => row) }}));
}};
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const {{ look, onChange, set, state }} = await import('{module("state.js")}');
const session = await import('{module("session.js")}');
const {{ sides }} = await import('{module("sides.js")}');
const prompts = await import('{module("prompts.js")}');
const {{ openAll, step }} = await import('{module("images.js")}');
const {{ remember, setSize, trainingSet }} = await import('{module("dataset.js")}');
set({{ server: {{ limits: {{}}, enhancer: true, made_by: 'a' }}, view: 'auto' }});
onChange(() => session.sync());
const files = (...names) => names.map((name) => new File(['bytes'], name, {{ type: 'image/png', lastModified: 5 }}));
async function until(isTrue) {{
  for (let turn = 0; !isTrue(); turn++) {{
    if (turn > 900) throw new Error(`never became true: ${{isTrue}}`);
    await pause(2);
  }}
}}
const masks = () => session.finished().map(({{ object, mask, logits }}) => [object.name, mask.area, logits]);
async function marked(name) {{
  prompts.addPoint([1, 1], 1);
  prompts.rename(state.active, name);
  await until(() => masks().length);
  await pause(450); // until it is kept
}}
const found = {{}};
"""


def played(code: str, disk: str | None = None) -> dict[str, Any]:
    """What the code put into `found`; `disk` is what an earlier page left, as its own `disk`."""
    end = "found.disk = serialize(kept).toString('base64'); console.log(JSON.stringify(found)); process.exit(0);"
    seen: dict[str, Any] = run(f"{BENCH}{code}\n{end}", disk)
    return seen


def test_stepping_on_before_the_objects_are_read_keeps_them() -> None:
    code = """
    await openAll(files('1.png', '2.png', '3.png'));
    await marked('cup');
    found.before = masks();
    await step(1);
    reading = 60;
    step(-1);
    await until(() => state.name === '1');
    found.read = state.objects.length;
    step(1);
    await until(() => state.name === '2');
    found.size = setSize();
    await pause(600);
    await step(-1);
    await until(() => masks().length);
    found.after = masks();
    """
    found = played(code)
    assert found["read"] == 0  # not yet
    assert found["size"] == 1
    assert found["before"] == found["after"] == [["cup", 16, "1"]]


def test_objects_come_back_though_the_next_image_cannot_be_shown() -> None:
    code = """
    await openAll(files('1.png', '2.png', '3bad.png'));
    await step(1);
    await marked('cup');
    await step(-1);
    reading = 20;
    step(1);
    await until(() => state.name === '2');
    found.read = state.objects.length;
    await step(1);
    found.shown = [state.name, state.message.kind];
    await until(() => masks().length);
    await pause(600);
    found.after = masks();
    await step(-1);
    await step(1);
    found.again = masks();
    """
    found = played(code)
    assert found["read"] == 0
    assert found["shown"] == ["2", "error"]
    assert found["after"] == found["again"] == [["cup", 16, "1"]]


def test_an_image_left_before_it_is_embedded_stays_in_the_training_set_with_its_answers() -> None:
    code = """
    await openAll(files('1.png', '2.png'));
    await marked('cup');
    const asked = requests.length;
    await step(1);
    holding = true;
    step(-1);
    await until(() => state.objects.length);
    await pause(600); // long enough to be kept
    found.size = [setSize()];
    const text = new TextDecoder('latin1').decode(await (await trainingSet()).arrayBuffer());
    found.inside = text.includes('images/1.png');
    step(1);
    await until(() => state.name === '2');
    holding = false;
    held.forEach((answer) => answer());
    await until(() => state.image.id);
    found.size.push(setSize());
    await step(-1);
    await until(() => masks().length);
    Object.assign(found, { after: masks(), asked: requests.length - asked });
    prompts.clear();
    remember();
    found.size.push(setSize());
    """
    found = played(code)
    assert found["size"] == [1, 1, 0]
    assert found["inside"]
    assert found["after"] == [["cup", 16, "1"]]
    assert found["asked"] == 0


BACK = """
await openAll(files('1.png'));
look('off');
await until(() => masks().length);
Object.assign(found, { masks: masks(), asked: requests.length });
"""


def test_a_reload_before_the_image_is_embedded_keeps_its_answers() -> None:
    first = played("look('off'); await openAll(files('1.png')); await marked('cup'); found.masks = masks();")
    code = "holding = true; openAll(files('1.png')); await until(() => state.objects.length); await pause(600);"
    second = played(code, first["disk"])
    third = played(BACK, second["disk"])
    assert (third["masks"], third["asked"]) == (first["masks"], 0)


def test_a_reload_in_another_view_or_of_the_worse_image_keeps_the_answers_of_the_image() -> None:
    code = """
    look('off');
    await openAll(files('1.png'));
    await marked('cup');
    found.masks = masks();
    if (%s) set({ image: { ...state.original, id: 'worse' }, worse: { level: 1, seed: 0 } });
    else look('on');
    prompts.rename(state.active, 'cup'.concat(' ', 'two'));
    await pause(600);
    """
    for worse in ("true", "false"):
        first = played(code % worse)
        second = played(BACK, first["disk"])
        assert second["masks"] == [["cup two", *first["masks"][0][1:]]]
        assert second["asked"] == 0


def test_an_answer_that_takes_long_is_kept_too() -> None:
    code = """
    look('off');
    await openAll(files('1.png'));
    answering = 600;
    prompts.addPoint([1, 1], 1);
    await until(() => masks().length);
    await pause(600);
    found.masks = masks();
    """
    first = played(code)
    second = played(BACK, first["disk"])
    assert (second["masks"], second["asked"]) == (first["masks"], 0)
