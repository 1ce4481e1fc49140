// The one state of the page. Objects in it are never changed in place, so that undo is keeping the earlier ones.
// A picture is {id, blob, bitmap, width, height, degraded}; its id is null until the server has embedded it.

export const COLOURS = ['#2f7df6', '#f2711c', '#12a67c', '#d6409f', '#e0a100', '#7a5af5', '#0fa3b8', '#e5484d', '#65a30d', '#a855c7'];

export const state = {
  server: null, // what GET /v1/models says
  kinds: { levels: [], kinds: [] },
  name: 'photo', // the photo's file name without its ending
  original: null, // the picture as it was given
  picture: null, // the one on the stage: the original, or it made worse
  worse: null, // null, {level} or {kind, severity}; with seed
  view: 'auto', // auto, off, on, or compare (off at the left, on at the right)
  slider: 0.5, // where the two sides meet, as share of the stage's width
  tool: 1, // label of the next point: 1 foreground, 0 background
  objects: [], // {id, colour, points, labels, box, choice, fixed}
  active: null, // id of the object that prompts go to
  everything: null, // {objects: [{mask, score, point}], enhance} while everything mode is on
  hover: null, // index in everything.objects under the pointer
  cursor: null, // cross-hair of the keyboard, in pixels of the picture
  corner: null, // first corner of a box begun with the keyboard
  drag: null, // box being dragged [x0, y0, x1, y1]
  hidden: false, // masks are hidden while a key is held
  work: new Map(), // what is going on: label to start in milliseconds
  message: null, // {text, kind: 'error' | 'info'}
  locked: false, // the server asked for a token
};

const listeners = new Set();
let asked = false;

/** Call on every change, at most once a frame. */
export const onChange = (listener) => listeners.add(listener);

/** Say that the state has changed. */
export function changed() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    for (const listener of listeners) listener();
  });
}

/** Change some of the state. */
export function set(values) {
  Object.assign(state, values);
  changed();
}

export const say = (text, kind = 'info') => set({ message: text ? { text, kind } : null });

/** Show work in the progress bar while a promise runs. */
export async function during(label, work) {
  const key = Symbol(label);
  state.work.set(key, performance.now());
  changed();
  try {
    return await work;
  } finally {
    state.work.delete(key);
    changed();
  }
}

export const hasEnhancer = () => state.server?.enhancer === true;

/** The enhancing mode that counts: of the two that are compared the enhanced one. */
export function mainMode() {
  if (!hasEnhancer()) return 'off';
  return state.view === 'compare' ? 'on' : state.view;
}

export const activeObject = () => state.objects.find((object) => object.id === state.active) ?? null;
