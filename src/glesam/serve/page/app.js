// Wires the page: state to image and panels, buttons to what they do.

import { degradations, models, setToken } from './api.js';
import { download } from './downloads.js';
import { draw } from './draw.js';
import { listenForImages } from './files.js';
import { keepFound, startFrom, toggleEverything } from './finding.js';
import { openBefore } from './keeping.js';
import { fitted, listenToKeys, zoomed } from './keyboard.js';
import { findInNext } from './likeness.js';
import { persist, tryNow } from './net.js';
import { drawPanels, listKinds } from './panels.js';
import { embedAgain, makeWorse, open, openAll, step } from './images.js';
import { listen, listenToSlider } from './pointer.js';
import { switchPreview } from './preview.js';
import { clear, isUsable, nextObject, redo, undo } from './prompts.js';
import { meet, report, resultOf, retry, sync } from './session.js';
import { sides } from './sides.js';
import { activeObject, look, onChange, say, set, state } from './state.js';
import { Viewport } from './viewport.js';
import { fetchWords, listenToWords } from './words.js';

const $ = (id) => document.getElementById(id);
const canvas = $('stage');
const view = new Viewport();
const WORSE_DELAY_MS = 120;
const EXAMPLE = 'static/example.jpg';

/** From a click to its mask on the screen, as performance measures named glesam:click-to-mask. */
const timing = {
  since: null,
  last: null,
  click(time) {
    this.since = time;
  },
  drawn() {
    const object = activeObject();
    const [side] = sides();
    if (this.since === null || !object || !side || !resultOf(object, side)?.fresh) return;
    const start = this.since;
    this.since = null;
    // A frame drawn now is on the screen when the next task after it runs.
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      this.last = performance.measure('glesam:click-to-mask', { start, end: performance.now() }).duration;
      status();
    };
    channel.port2.postMessage(null);
  },
};

function resize() {
  const box = canvas.getBoundingClientRect();
  const ratio = Math.min(window.devicePixelRatio || 1, 3);
  const [width, height] = [Math.max(1, Math.round(box.width * ratio)), Math.max(1, Math.round(box.height * ratio))];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const { width: w, height: h } = state.image ?? { width: 1, height: 1 };
  view.resize({ width: box.width, height: box.height }, { width: w, height: h });
}

/** One line about the active object. */
function status() {
  const object = activeObject();
  const [side] = sides();
  const result = object && side ? resultOf(object, side) : null;
  const parts = [];
  if (side?.image.refused) parts.push('No masks: the server does not take this image.');
  else if (object && isUsable(object) && side?.image.id === null) parts.push('Kept until the server has the image.');
  else if (object && !isUsable(object) && object.points.length) parts.push('Say first what belongs to it: click, or drag a box.');
  else if (result?.fresh) {
    parts.push(result.enhanced ? 'Enhanced' : 'Base model');
    if (timing.last !== null) parts.push(`mask in ${Math.round(timing.last)} ms`);
  }
  $('status').textContent = parts.join(' · ');
}

/** The preview that was clicked on gives way to the click's own mask. */
function endPeek() {
  if (!state.peek?.clicked) return;
  const object = activeObject();
  const [side] = sides();
  if (!object || !side || resultOf(object, side)?.fresh) state.peek = null;
}

function render() {
  resize();
  sync();
  endPeek();
  draw(canvas, view);
  drawPanels();
  status();
  timing.drawn();
}

const everything = () => toggleEverything(Number($('grid').value));
const chooseImage = () => $('file').click();
const help = () => $('help').showModal();

async function openExample() {
  try {
    const answer = await fetch(EXAMPLE);
    if (!answer.ok) throw new Error(`expected the example image, got status ${answer.status}; choose an image of your own`);
    set({ images: [], at: 0 });
    await open(await answer.blob(), 'example.jpg');
  } catch (error) {
    report(error);
  }
}

function escape() {
  if (state.corner) set({ corner: null });
  else if (state.everything) everything();
  else say(null);
}

function nextWorse() {
  const level = ((state.worse?.level ?? 0) + 1) % 4;
  makeWorse(level ? { level, seed: state.worse?.seed ?? 0 } : null);
}

function save(kind = 'mask') {
  download(kind).catch(report);
}

let waiting = 0;

/** Make it worse once a slider rests. */
function worse(values) {
  clearTimeout(waiting);
  waiting = setTimeout(() => makeWorse(values), WORSE_DELAY_MS);
}

function wireWorse() {
  const seed = () => state.worse?.seed ?? 0;
  const kind = () => $('kind').value && { kind: $('kind').value, severity: Number($('severity').value), seed: seed() };
  $('levels').addEventListener('change', ({ target }) => {
    const level = Number(target.value);
    makeWorse(level ? { level, seed: seed() } : null);
  });
  $('kind').addEventListener('change', () => makeWorse(kind() || null));
  $('severity').addEventListener('input', () => {
    $('severity-value').textContent = $('severity').value;
    set({ worse: { ...state.worse, severity: Number($('severity').value) } });
    worse(kind());
  });
  $('dice').addEventListener('click', () => makeWorse({ ...state.worse, seed: seed() + 1 }));
}

function wireButtons() {
  const clicks = {
    choose: chooseImage,
    'choose-large': chooseImage,
    example: openExample,
    'help-open': help,
    undo,
    redo,
    clear,
    next: nextObject,
    everything,
    'keep-all': () => keepFound(),
    'zoom-in': () => zoomed(view, 1.4),
    'zoom-out': () => zoomed(view, 1 / 1.4),
    'zoom-fit': () => fitted(view),
    message: () => say(null),
    'trouble-now': tryNow,
    'choose-folder': () => $('folder').click(),
    'image-before': () => step(-1),
    'image-after': () => step(1),
    'start-mask': () => $('mask-file').click(),
    'find-next': findInNext,
  };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener('click', () => action());
  for (const button of document.querySelectorAll('[data-format]')) button.addEventListener('click', () => save(button.dataset.format));
  for (const input of document.querySelectorAll('[name=tool]')) input.addEventListener('change', () => set({ tool: Number(input.value) }));
  for (const input of document.querySelectorAll('[name=view]')) input.addEventListener('change', () => look(input.value));
  const chosen = (id, take) =>
    $(id).addEventListener('change', ({ target }) => {
      const files = [...target.files]; // the list is live, and empty once the field is
      target.value = '';
      if (files.length) take(files);
    });
  chosen('file', openAll);
  chosen('folder', openAll);
  chosen('mask-file', ([file]) => startFrom(file));
  $('previewing').addEventListener('change', ({ target }) => switchPreview(target.checked));
  $('token').addEventListener('submit', (event) => {
    event.preventDefault();
    try {
      setToken($('token-value').value);
    } catch (error) {
      return report(error);
    }
    $('token-value').value = '';
    say(null);
    set({ locked: false });
    start();
  });
}

/** Open what was open before the page was loaded anew. */
async function goOn() {
  const before = await openBefore();
  if (before?.blob && !state.image) await open(before.blob, before.name);
}

/** Ask the server what it has; again after a token was given. */
async function start() {
  try {
    const server = await persist(models);
    if (!state.server) set({ view: server.enhance ?? 'auto' });
    meet(server);
    if (!$('kind').dataset.filled) {
      listKinds(await degradations());
      $('kind').dataset.filled = 'yes';
    }
    fetchWords();
    retry();
    await embedAgain();
  } catch (error) {
    report(error);
  }
}

onChange(render);
wireButtons();
wireWorse();
listen(canvas, view, timing);
listenToSlider($('divider'), $('frame'));
listenForImages(openAll);
listenToWords();
listenToKeys(canvas, view, { everything, chooseImage, nextWorse, help, escape, save });
new ResizeObserver(() => set({})).observe($('frame'));
start().then(goOn);
set({});

// For the console: what the page knows, and where a pixel of the image lies on the screen.
globalThis.glesam = { state, sides, resultOf, toStage: (x, y) => view.toStage(x, y) };
