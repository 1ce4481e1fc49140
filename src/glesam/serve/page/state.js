// The one state of the page. Objects in it are never changed in place, so that undo is keeping the earlier ones.
// Only `alone` is filled in: the places, image and mode, where an object was asked for without the answer of `before`.
// An image is {id, blob, bitmap, width, height, degraded, refused}; its id is null until the server has embedded it, and
// refused says why it never will.

export const COLOURS = ['#2f7df6', '#f2711c', '#12a67c', '#d6409f', '#e0a100', '#7a5af5', '#0fa3b8', '#e5484d', '#65a30d', '#a855c7'];

/** What this browser remembers of how somebody works; storage may be forbidden. */
export const preference = {
  get: (name, otherwise) => {
    try {
      return localStorage.getItem(`glesam-${name}`) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set: (name, value) => {
    try {
      localStorage.setItem(`glesam-${name}`, value);
    } catch {
      // Then it lasts until the page is closed.
    }
  },
};

export const state = {
  server: null, // what GET /v1/models says
  kinds: { levels: [], kinds: [] },
  name: 'image', // the image's file name without its ending
  file: null, // {blob, name} of the image, as it was opened
  original: null, // the image as it was given
  image: null, // the one on the stage: the original, or it made worse
  worse: null, // null, {level} or {kind, severity}; with seed
  view: 'auto', // auto, off, on, or compare (off at the left, on at the right)
  slider: 0.5, // where the two sides meet, as share of the stage's width
  tool: 1, // label of the next point: 1 foreground, 0 background
  images: [], // files that were opened together, to work through one by one
  at: 0, // which of them is open
  objects: [], // {id, name, colour, points, labels, box, choice, fixed, before, alone}, see prompts.js
  active: null, // id of the object that prompts go to
  everything: null, // {objects: [{mask, score, point, number}], where} while everything mode is on
  hover: null, // index in everything.objects under the pointer
  cursor: null, // cross-hair of the keyboard, in pixels of the image
  corner: null, // first corner of a box begun with the keyboard
  drag: null, // box being dragged [x0, y0, x1, y1]
  hidden: false, // masks are hidden while a key is held
  previewing: preference.get('preview', 'on') === 'on', // whether a mask is shown under the pointer before a click
  peek: null, // {mask, colour, at}: that mask, and the place it was asked for
  words: [], // nouns that the server can look for
  work: new Map(), // what is going on: key to {label, since in milliseconds, share of it done or null}
  message: null, // {text, kind: 'error' | 'info'}
  trouble: null, // {text, until}: what is in the way of requests that are tried again, and when the next try is
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

/** What is still to be said after something else was done: why the open image gives no masks; or null. */
export const lasting = () => (state.image?.refused ? { text: state.image.refused, kind: 'error' } : null);

/** Show work in the progress bar while it runs: a promise, or a function that is given a way to tell its progress. */
export async function during(label, work) {
  const key = Symbol(label);
  const told = { label, since: performance.now(), share: null };
  state.work.set(key, told);
  changed();
  const progress = (share, newLabel = label) => {
    Object.assign(told, { share: share < 1 ? share : null, label: newLabel });
    changed();
  };
  try {
    return await (typeof work === 'function' ? work(progress) : work);
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

/** Show the image in another view. What everything mode found is of the mode that it was found in. */
export function look(view) {
  const before = mainMode();
  set({ view });
  if (mainMode() !== before) set({ everything: null, hover: null });
}

export const activeObject = () => state.objects.find((object) => object.id === state.active) ?? null;
