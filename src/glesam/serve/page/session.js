// Between prompts and server: what masks the state asks for, which of them are missing, and their requests.
// Answers are kept under what was asked, so that a late one never shows for newer prompts and undo costs no request.

import { ApiError, embed, models, segment } from './api.js';
import { persist } from './net.js';
import { dropLogits, isUsable } from './prompts.js';
import { decode } from './rle.js';
import { isFixed, placeOf, sides } from './sides.js';
import { activeObject, changed, during, say, set, state } from './state.js';

const KEPT_ANSWERS = 300;
const MOST_TOGETHER = 4; // objects of a request: each brings logits of 44 kB, from which its correction goes on
const answers = new Map(); // key → {mask, score, candidates, enhanced}
const underway = new Map(); // key → the batch it is asked in
const sending = new Map(); // image that the server gets again → promise
const failed = new Set(); // keys that the server refused; asked again after the next change of prompts
let arrived = 0; // answers so far
const lastShown = new Map(); // object and side → mask, shown until the answer to newer prompts is there

/** The single mask is shown, as the command and the Python API give it, until one of the three candidates is taken. */
const wantsThree = (object) => object.choice !== null;

function promptsOf(object) {
  return {
    ...(object.points.length ? { points: object.points, labels: object.labels } : {}),
    ...(object.box ? { box: object.box } : {}),
  };
}

/** The answer that an object's prompts were added to: its key and the logits of the mask that was shown; or null. */
function earlier({ before, alone }, side) {
  if (!before || !isUsable(before) || alone?.[placeOf(side)]) return null;
  if (before.fixed?.logits) return { key: `fixed ${before.id}`, logits: before.fixed.logits };
  if (isFixed(before, side)) return null;
  const key = keyOf(before, side, wantsThree(before));
  const answer = answers.get(key);
  const shown = answer && before.choice !== null ? answer.candidates?.[before.choice] : answer;
  return shown?.logits ? { key: `${key}|${before.choice}`, logits: shown.logits } : null;
}

/** What an answer is kept under: image, mode, prompts, and the answer that it went on from. */
const keyOf = (object, side, three) =>
  `${side.image.id}|${side.enhance}|${three}|${JSON.stringify(promptsOf(object))}|${earlier(object, side)?.key ?? ''}`;

/** An answer that is asked for without an earlier one stays so: the earlier may come later, as by undo, and change its key. */
function settle(object, side) {
  if (object.before && !earlier(object, side)) (object.alone ??= {})[placeOf(side)] = true;
}

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

/** Whether an object's mask on a side is still to come. */
export const isAwaited = (object, side) =>
  isUsable(object) && !resultOf(object, side)?.fresh && !failed.has(keyOf(object, side, wantsThree(object)));

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
  const most = Math.min(MOST_TOGETHER, mostObjects(side.image, three));
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
  for (const [key, object] of batch.objects) {
    underway.set(key, batch);
    settle(object, batch.side);
  }
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
  return withImage(side.image, (id) => {
    const body = { id, objects: prompts, multimask: three, enhance: side.enhance, logits: true };
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

/** How many answers have come so far: more of them, more to keep. */
export const answersSoFar = () => arrived;

/** Put such answers back. */
export function putAnswers(found) {
  for (const [key, answer] of found) answers.set(key, answer);
}

/** Take over what the server has. Of another model, or of other settings, no answer and no logits are of use here. */
export function meet(server) {
  const isOther = state.server !== null && state.server.made_by !== server.made_by;
  set({ server });
  if (!isOther) return;
  answers.clear();
  failed.clear();
  for (const batch of new Set(underway.values())) batch.controller.abort(); // asked anew, under other keys
  dropLogits();
  set({ everything: null, hover: null });
}

/**
 * Do something with an image's id, embedding it again when the server does not know it any more: it may have been
 * started anew, with another model.
 */
export async function withImage(image, work) {
  try {
    return await work(image.id);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    await sendAgain(image);
    return work(image.id);
  }
}

/** Once for all requests that miss the image at the same time. */
function sendAgain(image) {
  const send = async (progress) => {
    const server = await models();
    await embed(image.blob, undefined, (share, receiving) => !receiving && progress(share));
    meet(server);
  };
  if (!sending.has(image)) {
    sending.set(image, during('Sending the image again', send).finally(() => sending.delete(image)));
  }
  return sending.get(image);
}

function keep(batch, answer) {
  arrived++;
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
