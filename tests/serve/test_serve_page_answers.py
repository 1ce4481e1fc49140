"""Which answers the page asks for and goes on from: its modules, run by Node against a server of a few lines."""

from __future__ import annotations

from typing import Any

from page_fixtures import BROWSER, module, run

SERVER = f"""
{BROWSER}
const server = {{ made_by: 'old', default: 'compact', enhancer: true, limits: {{}} }};
const requests = []; // bodies that were answered
const statuses = []; // of all answers to v1/segment
const uploads = [];
let knows = true; // whether the server has the image
const answered = (value, status = 200) => new Response(JSON.stringify(value), {{ status }});
const rle = {{ size: [4, 4], counts: '0`0' }};
const low = (object, side, name = '') => `${{server.made_by}} ${{side}} ${{JSON.stringify(object)}} ${{name}}`;
function segment(body) {{
  const {{ objects, multimask, enhance }} = body;
  if (!knows) return answered({{ error: 'expected a known id' }}, 404);
  const isForeign = ({{ mask_input: from }}) => from && !from.startsWith(server.made_by);
  if (objects.some(isForeign)) return answered({{ error: 'expected logits of another size' }}, 422);
  requests.push(body);
  const logits = (object, name) => (body.logits ? {{ logits: low(object, enhance, name) }} : {{}});
  const row = (object, name) => ({{ rle, score: 1, ...logits(object, name) }});
  const three = (object) => (multimask ? {{ candidates: [0, 1, 2].map((name) => row(object, name)) }} : {{}});
  return answered({{ enhanced: false, objects: objects.map((each) => ({{ ...row(each), ...three(each) }})) }});
}}
globalThis.fetch = async (path, {{ body, signal }} = {{}}) => {{
  await new Promise((done) => setTimeout(done, 2));
  signal?.throwIfAborted();
  if (path === 'v1/models') return answered(server);
  const one = {{ rle, score: 1, point_coords: [[1, 1]] }};
  if (path !== 'v1/segment') return answered({{ enhanced: false, objects: [one] }});
  const answer = segment(JSON.parse(body));
  statuses.push(answer.status);
  return answer;
}};
globalThis.XMLHttpRequest = class {{
  upload = {{}};
  open() {{}}
  setRequestHeader() {{}}
  getAllResponseHeaders() {{ return ''; }}
  send(blob) {{
    uploads.push(blob.size);
    const told = (loaded) => ({{ loaded, total: 2, lengthComputable: true }});
    for (const each of [this.upload.onprogress, this.onprogress]) {{
      each(told(1));
      labels.add([...state.work.values()].at(-1).label);
    }}
    knows = true;
    setTimeout(() => this.onload(Object.assign(this, {{ status: 200, response: new Blob(['{{}}']) }})));
  }}
}};
const labels = new Set(); // of the bar, while an image is sent
const {{ activeObject, look, set, state }} = await import('{module("state.js")}');
const session = await import('{module("session.js")}');
const {{ sides }} = await import('{module("sides.js")}');
const prompts = await import('{module("prompts.js")}');
const {{ toggleEverything }} = await import('{module("finding.js")}');
const {{ decode }} = await import('{module("rle.js")}');
const image = {{ id: 'a', blob: new Blob(['bytes'], {{ type: 'image/png' }}), width: 4, height: 4 }};
set({{ server: {{ ...server }}, original: image, image, view: 'auto' }});
async function settle() {{
  for (let still = 0, seen = -1; still < 6; still = statuses.length === seen ? still + 1 : 0) {{
    seen = statuses.length;
    session.sync();
    await new Promise((done) => setTimeout(done, 5));
  }}
}}
const shown = () => state.objects.map((object) => session.resultOf(object, sides()[0])?.logits ?? null);
async function clicked(...places) {{
  for (const place of places) {{
    prompts.nextObject();
    prompts.addPoint([place, 1], 1);
    await settle();
  }}
}}
const found = {{}};
"""


def played(code: str) -> dict[str, Any]:
    """What the code put into `found`."""
    seen: dict[str, Any] = run(f"{SERVER}{code}\nconsole.log(JSON.stringify(found)); process.exit(0);")
    return seen


def test_undo_redo_a_name_and_a_reload_change_no_mask() -> None:
    code = """
    prompts.addPoint([1, 1], 1);
    session.sync();
    prompts.addPoint([2, 2], 1); // before the first answer
    await settle();
    found.masks = [shown()];
    const again = async (step) => {
      step();
      await settle();
      found.masks.push(shown());
    };
    await again(prompts.undo);
    const before = requests.length;
    await again(prompts.redo);
    await again(() => prompts.rename(state.active, 'cup'));
    await again(() => prompts.restore(structuredClone(state.objects), state.active));
    found.asked = requests.length - before;
    prompts.addPoint([3, 3], 1);
    await settle();
    found.last = requests.at(-1).objects[0].mask_input;
    """
    found = played(code)
    first, undone, *others = found["masks"]
    assert undone != first
    assert others == [first] * 3
    assert found["asked"] == 0
    assert found["last"] == first[0]  # the next click goes on from what is shown


def test_corrections_go_on_from_the_mask_that_is_shown_however_many_objects_there_are() -> None:
    code = """
    await clicked(0, 1, 2, 3, 0.5, 1.5, 2.5);
    prompts.select(state.objects[1].id);
    prompts.choose(2);
    await settle();
    requests.length = 0;
    look('on');
    await settle();
    found.most = Math.max(...requests.map(({ objects }) => objects.length));
    const before = shown();
    found.corrections = [];
    for (const index of [0, 1, 6]) {
      prompts.select(state.objects[index].id);
      prompts.addPoint([3, 3], 0);
      await settle();
      const own = requests.filter(({ objects }) => objects[0].labels.includes(0)).at(-1);
      found.corrections.push([own.objects[0].mask_input, before[index]]);
    }
    """
    found = played(code)
    for went_on_from, was_shown in found["corrections"]:
        assert was_shown
        assert went_on_from == was_shown
    assert found["corrections"][1][1].endswith(" 2")  # the candidate
    assert 1 < found["most"] <= 4  # each brings its logits


def test_candidates_of_what_was_found_can_be_taken_in_another_view_and_corrected() -> None:
    code = """
    prompts.take([{ mask: decode(rle), score: 1, point: [1, 1] }], 'a|auto');
    prompts.choose(1);
    found.here = activeObject().choice; // it has the mask it was found with, and no candidates
    look('on');
    await settle();
    found.candidates = session.candidates().length;
    prompts.choose(1);
    await settle();
    [found.shown] = shown();
    prompts.addPoint([3, 3], 0);
    await settle();
    found.from = requests.at(-1).objects[0].mask_input;
    """
    found = played(code)
    assert (found["here"], found["candidates"]) == (None, 3)
    assert found["shown"].startswith("old on")
    assert found["shown"].endswith(" 1")
    assert found["from"] == found["shown"]


def test_everything_mode_ends_with_the_mode_that_it_looked_in() -> None:
    code = """
    const masks = () => state.everything?.objects.length ?? null;
    look('on');
    found.seen = [];
    await toggleEverything(8);
    for (const view of ['on', 'compare', 'off']) {
      look(view);
      found.seen.push([view, masks()]);
    }
    const search = toggleEverything(8);
    look('auto'); // before the answer
    await search;
    found.late = [masks(), state.message.text];
    """
    found = played(code)
    assert found["seen"] == [["on", 1], ["compare", 1], ["off", None]]
    masks, message = found["late"]
    assert masks is None
    assert "find everything again" in message


def test_another_model_after_a_restart_gets_no_logits_of_the_one_before() -> None:
    code = """
    prompts.take([{ mask: decode(rle), score: 1, point: [1, 1], logits: 'old file' }], 'a|auto');
    await clicked(0, 1, 2, 3, 0.5);
    Object.assign(server, { made_by: 'new', default: 'sam' });
    knows = false;
    look('on'); // more than one request misses the image
    const asked = statuses.length;
    await settle();
    found.missed = statuses.slice(asked).filter((status) => status === 404).length;
    for (const object of state.objects) {
      prompts.select(object.id);
      prompts.addPoint([3, 3], 1);
      await settle();
    }
    prompts.undo();
    await settle();
    look('auto');
    await settle();
    Object.assign(found, { uploads, refused: statuses.filter((status) => status === 422).length, labels: [...labels] });
    Object.assign(found, { model: state.server.default, message: state.message, shown: shown().slice(1) });
    prompts.undo();
    prompts.undo();
    const logits = (object) => object && [object.fixed?.logits, ...(logits(object.before) ?? [])].filter(Boolean);
    found.left = state.objects.flatMap(logits);
    """
    found = played(code)
    assert found["labels"] == ["Sending the image again"]
    assert (found["refused"], found["message"]) == (0, None)
    assert found["model"] == "sam"
    assert all(mask.startswith("new auto") for mask in found["shown"])
    assert found["left"] == []
    assert found["missed"] > 1
    assert found["uploads"] == [5]  # sent once for all of them


def test_the_same_model_after_a_restart_keeps_its_answers() -> None:
    code = """
    await clicked(0, 1);
    const before = shown();
    knows = false;
    prompts.addPoint([3, 3], 1);
    await settle();
    found.from = [requests.at(-2).objects[0].mask_input, before[1]];
    found.first = [shown()[0], before[0]];
    """
    found = played(code)
    assert found["from"][0] == found["from"][1]
    assert found["first"][0] == found["first"][1]
