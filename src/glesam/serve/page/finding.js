// Objects that nobody has pointed at: all of them, or those that words name; and masks from a file.

import { everything, findWords } from './api.js';
import { persist } from './net.js';
import { onStage } from './images.js';
import { take } from './prompts.js';
import { decode, iou } from './rle.js';
import { finished, report, withImage } from './session.js';
import { placeOf, sides } from './sides.js';
import { masksOf } from './start.js';
import { during, say, set, state } from './state.js';

const SAME = 0.8; // IoU from which on a mask that was found is an object that is there already
let finding = new AbortController();

/** Ask something about the image on the stage, given up when it is left or something else is asked. */
export async function ask(label, call) {
  const [side] = sides();
  if (!side || side.image.id === null) return null;
  finding.abort();
  finding = new AbortController();
  const signal = AbortSignal.any([finding.signal, onStage()]);
  const asked = persist(() => withImage(side.image, (id) => call({ id, enhance: side.enhance }, signal)), signal);
  const answer = await during(label, asked);
  return signal.aborted ? null : { answer, where: placeOf(side) };
}

/** The rows of an answer, each as {mask, score, point, name, enhanced}. */
export const found = ({ objects, enhanced }) =>
  objects.map((row) => {
    const mask = decode(row.rle ?? row.segmentation);
    const point = row.point_coords?.[0] ?? middle(mask);
    return { mask, score: row.predicted_iou ?? row.score, point, name: row.class_name ?? '', enhanced };
  });

/** A place inside a mask: in its middle row, the middle of the longest run. */
function middle(mask) {
  const row = Math.floor(mask.h / 2);
  let [best, start] = [[0, 0], null];
  for (let x = 0; x <= mask.w; x++) {
    if (x < mask.w && mask.data[row * mask.w + x]) start ??= x;
    else if (start !== null) {
      if (x - start > best[1] - best[0]) best = [start, x];
      start = null;
    }
  }
  return [mask.x + (best[0] + best[1]) / 2, mask.y + row + 0.5];
}

/** Find every mask of the image, or leave everything mode. */
export async function toggleEverything(pointsPerSide) {
  if (state.everything) return void (finding.abort(), set({ everything: null, hover: null }));
  try {
    const call = (body, signal) => everything({ ...body, points_per_side: pointsPerSide }, signal);
    const result = await ask('Finding everything', call);
    if (!result) return;
    if (result.where !== placeOf(sides()[0])) return say('The view has changed meanwhile: find everything again in this one.');
    const there = finished().map(({ mask }) => mask);
    const all = found(result.answer).sort((a, b) => b.mask.area - a.mask.area);
    const fresh = all.filter(({ mask }) => !there.some((other) => iou(mask, other) >= SAME));
    const objects = fresh.map((each, index) => ({ ...each, number: index + 1 }));
    set({ everything: { objects, where: result.where }, hover: null });
    const old = all.length - objects.length;
    const known = old ? `, ${old} more are objects already` : '';
    const masks = objects.length === 1 ? '1 mask' : `${objects.length} masks`;
    say(objects.length ? `${masks}${known}: click one to keep it as an object.` : `Nothing new was found${known}.`);
  } catch (error) {
    report(error);
  }
}

/** Keep masks of everything mode as objects; all of them when none is named. */
export function keepFound(indices = state.everything.objects.map((_, index) => index)) {
  const { objects, where } = state.everything;
  if (!indices.length) return;
  take(indices.map((index) => objects[index]), where);
  const left = objects.filter((_, index) => !indices.includes(index));
  set({ everything: left.length ? { objects: left, where } : null, hover: null });
}

/** Find what words name, as objects with these names. */
export async function findByWords(text) {
  if (!text.trim()) return;
  try {
    const result = await ask(`Looking for ${text}`, (body, signal) => findWords({ ...body, text }, signal));
    if (!result) return;
    const objects = found(result.answer).filter(({ mask }) => mask.area);
    if (objects.length) take(objects, result.where);
    say(objects.length ? `${objects.length} found; each is an object now.` : `No ${text} was found in this image.`);
  } catch (error) {
    report(error);
  }
}

/** How a model lays images into its square: SAM 2 squashes them. */
function frameOf() {
  const { image_size: size = 512, family } = state.server?.models?.[0] ?? {};
  return { side: Math.floor(size / 4), squashed: family === 'sam2' };
}

/** Begin with the masks of a file: its ids, or its bright part, become objects to correct. */
export async function startFrom(file) {
  const [side] = sides();
  if (!side) return report(new Error('expected an image before its masks, got none; open the image first'));
  try {
    const objects = await during('Reading the masks', masksOf(file, side.image, frameOf()));
    take(objects, placeOf(side));
    say(`${objects.length} ${objects.length === 1 ? 'object' : 'objects'} from ${file.name}: click to correct.`);
  } catch (error) {
    report(error);
  }
}
