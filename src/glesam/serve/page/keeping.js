// Keeps the work on an image as it goes on, and brings it back: after a reload, or when the image is opened again.

import { fileKey, keepImage, keepTab, keptImage, keptTab } from './memory.js';
import { restore, withoutLogits } from './prompts.js';
import { answersOf, answersSoFar, putAnswers } from './session.js';
import { sides } from './sides.js';
import { onChange, state } from './state.js';

const REST_MS = 400;
let seen = []; // objects, active, image's id and what else there was to keep, as they were last kept
let timer = 0;
let key = null; // of the image that is open
let isRead = true; // whether it is known what was kept of it
let earlier = null; // {answers, madeBy} that were kept of it; null once the image has the id that they are found by
const MODES = ['auto', 'off', 'on'];

let server = null; // settles when it is known what the server has

/** Wait until it is known what the server has: at its start, or before a token is given, it is not. */
function serverKnown() {
  server ??= new Promise((done) => onChange(() => state.server && done()));
  return server;
}

/** Whether an image without objects has none: not as long as it is unknown what was kept of it. */
export const isBack = () => isRead;

/** Keep the objects of the open image, now. */
export function keepNow() {
  clearTimeout(timer);
  timer = 0;
  const { objects, active, original, server: known } = state;
  // Before the server is known, answers of last time are not back yet: what is kept of them is not written over.
  if (key === null || !original || !known || (!isRead && !objects.length)) return;
  if (original.id !== null) earlier = null;
  const answers = earlier && earlier.madeBy === known.made_by ? earlier.answers : answersToKeep(objects);
  keepImage(key, { objects, active, answers, madeBy: known.made_by });
}

/** Those of the view on the stage, and in every mode those of the image as it is: it is shown after a reload. */
function answersToKeep(objects) {
  const clean = MODES.map((enhance) => ({ image: state.original, enhance }));
  return [...new Map([sides()[0], ...clean].flatMap((side) => answersOf(objects, side)))];
}

onChange(() => {
  const now = [state.objects, state.active, state.image?.id, state.work.size, answersSoFar()];
  if (key === null || now.every((each, index) => each === seen[index])) return;
  seen = now;
  timer ||= setTimeout(keepNow, REST_MS);
});

addEventListener('pagehide', () => timer && keepNow());

/** From here on the open image is this one. */
export function keepFor(blob, name) {
  key = fileKey(blob, name);
  [seen, isRead, earlier] = [[], false, null];
  keepTab({ name, blob });
}

/**
 * Objects that the open image had when it was left, unless somebody has pointed at something meanwhile; isCurrent says
 * whether it is still the one on the stage.
 */
export async function bringBack(isCurrent) {
  const kept = await keptImage(key);
  if (!isCurrent()) return false;
  isRead = true;
  if (!kept?.objects?.length || state.objects.length) return false;
  restore(kept.objects, kept.active);
  earlier = { answers: kept.answers ?? [], madeBy: kept.madeBy };
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
