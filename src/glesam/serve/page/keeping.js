// Keeps the work on an image as it goes on, and brings it back: after a reload, or when the image is opened again.

import { fileKey, keepImage, keepTab, keptImage, keptTab } from './memory.js';
import { restore, withoutLogits } from './prompts.js';
import { answersOf, putAnswers, sides } from './session.js';
import { onChange, state } from './state.js';

const REST_MS = 400;
let seen = []; // objects, active and image's id as they were last kept
let timer = 0;
let key = null; // of the image that is open

let server = null; // settles when it is known what the server has

/** Wait until it is known what the server has: at its start, or before a token is given, it is not. */
function serverKnown() {
  server ??= new Promise((done) => onChange(() => state.server && done()));
  return server;
}

/** Keep the objects of the open image, now. */
export function keepNow() {
  clearTimeout(timer);
  timer = 0;
  const [side] = sides();
  const { objects, active } = state;
  // Before the server is known, answers of last time are not back yet: what is kept of them is not written over.
  if (key === null || !side || !state.server) return;
  keepImage(key, { objects, active, answers: answersOf(objects, side), madeBy: state.server.made_by });
}

onChange(() => {
  const now = [state.objects, state.active, state.image?.id, state.work.size];
  if (key === null || now.every((each, index) => each === seen[index])) return;
  seen = now;
  timer ||= setTimeout(keepNow, REST_MS);
});

addEventListener('pagehide', () => timer && keepNow());

/** From here on the open image is this one. */
export function keepFor(blob, name) {
  key = fileKey(blob, name);
  seen = [];
  keepTab({ name, blob });
}

/** Objects that an image had when it was left, unless somebody has pointed at something meanwhile. */
export async function bringBack(isCurrent) {
  const kept = await keptImage(key);
  if (!kept?.objects?.length || state.objects.length || !isCurrent()) return false;
  restore(kept.objects, kept.active);
  if (state.server) answer(kept);
  else serverKnown().then(() => isCurrent() && answer(kept));
  return true;
}

/** Bring back answers; masks of another model, or of other settings, are asked for anew instead. */
function answer({ answers, madeBy }) {
  if (madeBy === state.server.made_by) putAnswers(answers ?? []);
  else restore(withoutLogits(state.objects), state.active);
}

/** What was open in this tab before it was loaded anew: {name, blob}, or undefined. */
export const openBefore = keptTab;
