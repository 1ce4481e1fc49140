// The mask that a click would give, shown under the pointer before it: one question at a time, and none while the server
// has clicks to answer.

import { withPoint } from './prompts.js';
import { peekAt } from './session.js';
import { changed, preference, set, state } from './state.js';

const REST_MS = 60; // between two previews
const RATIO = 3; // a slow server or line is asked so much more rarely
const SLOW_MS = 2000; // from here on previews cost more than they help

let place = null; // where the pointer is, in pixels of the image
let asking = null; // AbortController of the question that is under way
let timer = 0;
let next = 0; // when the next question may be asked, by performance.now()

/** The pointer has moved to a place in the image, or left it (null). */
export function pointAt(at) {
  place = at;
  if (!at) return void forgetPreview();
  if (state.previewing && !asking && !timer) wait();
}

/** A click is what counts now: nothing else may stand before it. The mask stays until the click has its own. */
export function stopPreview() {
  place = null;
  clearTimeout(timer);
  timer = 0;
  asking?.abort();
}

/** Show no mask under the pointer any more. */
export function forgetPreview() {
  stopPreview();
  if (state.peek) set({ peek: null });
}

/** Switch previews on or off, and remember it. */
export function switchPreview(on = !state.previewing) {
  preference.set('preview', on ? 'on' : 'off');
  set({ previewing: on });
  if (!on) forgetPreview();
}

function wait() {
  timer = setTimeout(ask, Math.max(REST_MS, next - performance.now()));
}

const isWanted = () => state.previewing && place && !state.everything && !state.drag && !state.trouble && !state.work.size;

async function ask() {
  timer = 0;
  if (!isWanted()) return;
  const asked = place;
  const begun = performance.now();
  asking = new AbortController();
  const { signal } = asking;
  try {
    const object = withPoint(asked, state.tool);
    const mask = await peekAt(object, signal);
    if (!signal.aborted && place) set({ peek: mask?.area ? { mask, colour: object.colour, at: asked } : null });
  } catch {
    // A preview that fails is none; the click itself says what is wrong.
  } finally {
    asking = null;
    const took = performance.now() - begun;
    next = performance.now() + (took > SLOW_MS ? 30 * SLOW_MS : Math.max(REST_MS, RATIO * took));
    if (place && (place[0] !== asked[0] || place[1] !== asked[1])) wait();
    changed();
  }
}
