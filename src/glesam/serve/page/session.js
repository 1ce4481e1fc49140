// Between prompts and server: what masks the state asks for, which of them are missing, and their requests.
// Answers are kept under what was asked, so that a late one never shows for newer prompts and undo costs no request.

import { ApiError, embed, segment } from './api.js';
import { persist } from './net.js';
import { isUsable } from './prompts.js';
import { decode } from './rle.js';
import { activeObject, changed, during, hasEnhancer, mainMode, say, set, state } from './state.js';

const KEPT_ANSWERS = 300;
const MOST_LOGITS = 4; // objects of a request whose logits, 44 kB each, are worth sending
const answers = new Map(); // key → {mask, score, candidates, enhanced}
const underway = new Map(); // key → the batch it is asked in
const failed = new Set(); // keys that the server refused; asked again after the next change of prompts
const lastShown = new Map(); // object and side → mask, shown until the answer to newer prompts is there

/** The views of the image that are shown: {name, image, enhance}; the first one counts. */
export function sides() {
  if (!state.image) return [];
  const main = { name: 'main', image: state.image, enhance: mainMode() };
  const without = { name: 'without', image: state.image, enhance: 'off' };
  const clean = { name: 'clean', image: state.original, enhance: 'off' };
  const list = [main];
  if (state.view === 'compare' && hasEnhancer()) list.push(without);
  if (state.image !== state.original) list.push(clean);
  return list;
}

/** The single mask is shown, as the command and the Python API give it, until one of the three candidates is taken. */
const wantsThree = (object) => object.choice !== null;

function promptsOf(object) {
  return {
    ...(object.points.length ? { points: object.points, labels: object.labels } : {}),
    ...(object.box ? { box: object.box } : {}),
  };
}

/** The answer that an object's prompts were added to: its key and the logits of the mask that was shown; or null. */
function earlier({ before }, side) {
  if (!before || !isUsable(before)) return null;
  if (before.fixed) return before.fixed.logits ? { key: `fixed ${before.id}`, logits: before.fixed.logits } : null;
  const key = keyOf(before, side, wantsThree(before));
  const answer = answers.get(key);
  const shown = answer && before.choice !== null ? answer.candidates?.[before.choice] : answer;
  return shown?.logits ? { key: `${key}|${before.choice}`, logits: shown.logits } : null;
}

/** What an answer is kept under: image, mode, prompts, and the answer that it went on from. */
const keyOf = (object, side, three) =>
  `${side.image.id}|${side.enhance}|${three}|${JSON.stringify(promptsOf(object))}|${earlier(object, side)?.key ?? ''}`;

export const placeOf = (side) => `${side.image.id}|${side.enhance}`;

const isFixed = (object, side) => object.fixed !== null && object.fixed.where === placeOf(side);

/** The mask of an object on a side: {mask, score, enhanced, fresh}, or null. Not fresh: of earlier prompts. */
export function resultOf(object, side) {
  if (isFixed(object, side)) return { ...object.fixed, fresh: true };
  if (!isUsable(object)) return null;
  const answer = answers.get(keyOf(object, side, wantsThree(object)));
  const slot = `${object.id}|${side.name}`;
  if (!answer) return lastShown.has(slot) ? { ...lastShown.get(slot), fresh: false } : null;
  const shown = object.choice === null ? answer : { ...answer.candidates[object.choice], enhanced: answer.enhanced };
  lastShown.set(slot, shown);
  return { ...shown, fresh: true };
}

/** The masks that count: [{object, mask, score}] in the order of the list. */
export function finished() {
  const [side] = sides();
  if (!side) return [];
  return state.objects
    .map((object) => ({ object, ...resultOf(object, side) }))
    .filter(({ mask, fresh }) => fresh && mask.area > 0);
}

/** The three candidates of the active object: [{mask, score}], or null while there are none. */
export function candidates() {
  const [side] = sides();
  const object = activeObject();
  if (!side || !object || !isUsable(object) || isFixed(object, side)) return null;
  return answers.get(keyOf(object, side, true))?.candidates ?? null;
}

/**
 * Everything that the state asks for, what matters most first: the masks that count, the other side, the candidates,
 * the masks of the clean image. In a stage the same image, mode and number of masks go into one request.
 */
function stages() {
  const [main, ...others] = sides();
  if (!main) return [];
  const without = others.filter((side) => side.name === 'without');
  const clean = others.filter((side) => side.name === 'clean');
  const all = (list) => list.flatMap((side) => state.objects.map((object) => ({ object, side, three: wantsThree(object) })));
  const object = activeObject();
  const three = object ? [{ object, side: main, three: true }] : [];
  return [all([main]), all(without), three, all(clean)].map(batches);
}

function batches(wishes) {
  const made = new Map();
  for (const { object, side, three } of wishes) {
    if (side.image.id === null || isFixed(object, side) || !isUsable(object)) continue;
    const name = `${placeOf(side)}|${three}|${earlier(object, side) !== null}`;
    if (!made.has(name)) made.set(name, { side, three, objects: new Map() });
    made.get(name).objects.set(keyOf(object, side, three), object);
  }
  return [...made.values()];
}

/** Ask for what is missing, stage by stage, and give up requests that nobody waits for any more. */
export function sync() {
  const wanted = stages();
  const keys = new Set(wanted.flat().flatMap((batch) => [...batch.objects.keys()]));
  for (const batch of new Set(underway.values())) {
    if (![...batch.objects.keys()].some((key) => keys.has(key))) batch.controller.abort();
  }
  for (const key of failed) if (!keys.has(key)) failed.delete(key);
  for (const stage of wanted) {
    stage.forEach(askMissing);
    if (stage.some((batch) => [...batch.objects.keys()].some((key) => underway.has(key)))) break;
  }
}

function askMissing({ side, three, objects }) {
  const isMissing = (key) => !answers.has(key) && !underway.has(key) && !failed.has(key);
  const missing = [...objects].filter(([key]) => isMissing(key));
  const most = mostObjects(side.image, three);
  for (let start = 0; start < missing.length; start += most) {
    const objects = new Map(missing.slice(start, start + most));
    run({ side, three, objects, controller: new AbortController(), since: performance.now() });
  }
}

/** How many objects one request may hold, by the server's own limits. */
function mostObjects({ width, height }, three) {
  const { max_objects: count = 64, max_mask_pixels: pixels = Infinity } = state.server?.limits ?? {};
  return Math.max(1, Math.min(count, Math.floor(pixels / (width * height * (three ? 4 : 1)))));
}

async function run(batch) {
  for (const key of batch.objects.keys()) underway.set(key, batch);
  try {
    keep(batch, await persist(() => ask(batch), batch.controller.signal));
  } catch (error) {
    if (error.name !== 'AbortError') {
      for (const key of batch.objects.keys()) failed.add(key);
      report(error);
    }
  } finally {
    for (const [key, each] of underway) if (each === batch) underway.delete(key);
    changed();
  }
}

function asked(object, side) {
  const from = earlier(object, side);
  return { ...promptsOf(object), ...(from ? { mask_input: from.logits } : {}) };
}

/** Ask; if the server has let the image go meanwhile, give it again. */
async function ask({ side, three, objects, controller }) {
  const prompts = [...objects.values()].map((object) => asked(object, side));
  const logits = prompts.length <= MOST_LOGITS;
  return withImage(side.image, (id) => {
    const body = { id, objects: prompts, multimask: three, enhance: side.enhance, logits };
    return segment(body, controller.signal);
  });
}

/** The mask that an object would have, asked once and not kept; null where the server has something better to do. */
export async function peekAt(object, signal) {
  const [side] = sides();
  if (!side || side.image.id === null || underway.size || !isUsable(object)) return null;
  const known = answers.get(keyOf(object, side, wantsThree(object)));
  if (known) return known.mask;
  const body = { id: side.image.id, objects: [asked(object, side)], multimask: wantsThree(object), enhance: side.enhance };
  return decode((await segment(body, signal)).objects[0].rle);
}

/** Since when masks are waited for, in milliseconds of performance.now(); null when none are. Candidates come aside. */
export function waitingSince() {
  const counts = ({ three, objects }) => !three || [...objects.values()].some(wantsThree);
  const starts = [...underway.values()].filter(counts).map((batch) => batch.since);
  const unsent = state.objects.some(isUsable) && state.image !== null && state.image.id === null;
  return starts.length ? Math.min(...starts) : unsent ? 0 : null;
}

/** Answers that the objects of a side rest on, to be kept over a reload: [[key, answer]]. */
export function answersOf(objects, side) {
  const found = [];
  for (let object of objects) {
    for (; object; object = object.before) {
      if (!isUsable(object)) continue;
      const key = keyOf(object, side, wantsThree(object));
      if (answers.has(key)) found.push([key, answers.get(key)]);
    }
  }
  return found;
}

/** Put such answers back. */
export function putAnswers(found) {
  for (const [key, answer] of found) answers.set(key, answer);
}

/** Do something with an image's id, embedding it again when the server does not know it any more. */
export async function withImage(image, work) {
  try {
    return await work(image.id);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    await during('Sending the image again', (progress) => embed(image.blob, undefined, progress));
    return work(image.id);
  }
}

function keep(batch, answer) {
  [...batch.objects.keys()].forEach((key, index) => {
    const { rle, score, logits, candidates: three } = answer.objects[index];
    const list = three?.map((each) => ({ mask: decode(each.rle), score: each.score, logits: each.logits })) ?? null;
    answers.set(key, { mask: decode(rle), score, logits, enhanced: answer.enhanced, candidates: list });
  });
  if (answers.size <= KEPT_ANSWERS) return;
  // Objects rest on all their earlier answers: without one of them they would be asked for anew, and change. What is
  // asked for now, the candidates too, would be asked for without end.
  const rests = sides().flatMap((side) => answersOf(state.objects, side)).map(([key]) => key);
  const needed = new Set([...rests, ...stages().flat().flatMap((each) => [...each.objects.keys()])]);
  for (const key of answers.keys()) {
    if (answers.size <= KEPT_ANSWERS) break;
    if (!needed.has(key)) answers.delete(key);
  }
}

/** Show an error where one looks; ask for a token when that is what is missing. */
export function report(error) {
  if (error.name === 'AbortError') return;
  if (error instanceof ApiError && error.status === 401) set({ locked: true });
  else say(error.message, 'error');
}

/** Ask again for what was refused: after a token was given. */
export function retry() {
  failed.clear();
  changed();
}

/** Forget the masks of earlier prompts: for a new image. */
export function forget() {
  lastShown.clear();
  failed.clear();
}
