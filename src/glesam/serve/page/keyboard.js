// Keys. On the stage the arrow keys move a cross-hair, so that everything a mouse does can be done without one.

import { foundAt } from './draw.js';
import { keepFound } from './finding.js';
import { step } from './images.js';
import { findInNext } from './likeness.js';
import { switchPreview } from './preview.js';
import { addPoint, choose, nextObject, redo, remove, selectBy, setBox, undo } from './prompts.js';
import { hasEnhancer, look, set, state } from './state.js';

const STEP = 0.01;
const FINE_PIXELS = 1;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const VIEWS = ['auto', 'off', 'on', 'compare'];

/** Keys that mean the same anywhere on the page; commands are what only the app can do. */
export function listenToKeys(canvas, view, commands) {
  const keys = {
    n: nextObject,
    x: () => set({ tool: 1 - state.tool }),
    e: commands.everything,
    o: commands.chooseImage,
    c: () => hasEnhancer() && look(VIEWS[(VIEWS.indexOf(state.view) + 1) % VIEWS.length]),
    w: commands.nextWorse,
    s: commands.save,
    p: () => switchPreview(),
    f: findInNext,
    PageDown: () => step(1),
    PageUp: () => step(-1),
    '[': () => selectBy(-1),
    ']': () => selectBy(1),
    '?': commands.help,
    0: () => fitted(view),
    '+': () => zoomed(view, 1.25),
    '=': () => zoomed(view, 1.25),
    '-': () => zoomed(view, 0.8),
    1: () => choose(0),
    2: () => choose(1),
    3: () => choose(2),
    Delete: () => state.active !== null && remove(state.active),
    Escape: commands.escape,
  };

  window.addEventListener('keydown', (event) => {
    if (isTyping(event.target) || document.querySelector('dialog[open]')) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey) return void withControl(event);
    if (event.altKey) return;
    if (event.key === 'h') return void (event.repeat || set({ hidden: true }));
    if (event.key === ' ' && event.target === canvas) return void (event.preventDefault(), set({ panning: true }));
    if (event.target === canvas && onStage(event, view)) return void event.preventDefault();
    const action = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action || (state.image === null && !['o', '?'].includes(event.key))) return;
    event.preventDefault();
    action();
  });

  window.addEventListener('keyup', (event) => {
    if (event.key === 'h') set({ hidden: false });
    if (event.key === ' ') set({ panning: false });
  });
  window.addEventListener('blur', () => set({ hidden: false, panning: false }));
  canvas.addEventListener('blur', () => set({ cursor: null, corner: null }));
}

const isTyping = (element) => element.matches?.('input:not([type=range], [type=radio], [type=checkbox]), textarea, select');

function withControl(event) {
  const key = event.key.toLowerCase();
  if (key === 'z' || key === 'y') {
    event.preventDefault();
    if (key === 'y' || event.shiftKey) redo();
    else undo();
  }
}

/** Fit the image to the stage. */
export function fitted(view) {
  view.fit();
  set({});
}

export function zoomed(view, factor) {
  view.zoom(factor);
  set({});
}

/** Keys of the cross-hair; says whether the key was one of them. */
function onStage(event, view) {
  if (!state.image) return false;
  if (event.key in ARROWS) return moveCursor(ARROWS[event.key], event.shiftKey, view);
  if (!state.cursor) return false;
  if (event.key === 'Enter') return point(event);
  if (event.key === 'Backspace') return point(event, 0);
  if (event.key === 'b') return box();
  return false;
}

function moveCursor([dx, dy], fine, view) {
  const { width, height } = state.image;
  const step = fine ? FINE_PIXELS : STEP * Math.max(width, height);
  const from = state.cursor ?? [width / 2 - dx * step, height / 2 - dy * step];
  set({ cursor: view.clamp([from[0] + dx * step, from[1] + dy * step]) });
  return true;
}

function point(event, label = event.shiftKey ? 1 - state.tool : state.tool) {
  const index = state.everything ? foundAt(state.cursor) : null;
  if (index !== null) keepFound([index]);
  else if (!state.everything) addPoint(state.cursor, label);
  return true;
}

/** The first press keeps a corner, the second makes the box. */
function box() {
  if (!state.corner) {
    set({ corner: state.cursor });
    return true;
  }
  const { corner, cursor } = state;
  set({ corner: null });
  if (Math.abs(corner[0] - cursor[0]) >= 2 && Math.abs(corner[1] - cursor[1]) >= 2) setBox([...corner, ...cursor]);
  return true;
}
