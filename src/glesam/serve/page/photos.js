// Pictures: opening a photo, making it worse, everything mode.

import { degrade, embed, everything } from './api.js';
import { reset, take } from './prompts.js';
import { decode } from './rle.js';
import { forget, placeOf, report, sides, withPicture } from './session.js';
import { during, say, set, state } from './state.js';

let attempts = 0;
let opening = new AbortController();
let worsening = new AbortController();
let finding = new AbortController();

/** Decode a picture as the server does: turned as its EXIF says. */
async function picture(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    return { id: null, blob, bitmap, width: bitmap.width, height: bitmap.height, degraded: null };
  } catch {
    const got = blob.name ? `${blob.name}` : blob.type || 'something else';
    throw new Error(`expected a photo that this browser can show, got ${got}; use JPEG, PNG or WebP`);
  }
}

/** Let the server embed a picture, and give it the id. */
async function embedded(made, label, signal) {
  const answer = await during(label, embed(made.blob, signal));
  if (answer.width !== made.width || answer.height !== made.height) {
    throw new Error(
      `expected a photo of ${made.width} × ${made.height} pixels as this browser shows it, but the server reads ` +
        `${answer.width} × ${answer.height}; save it as PNG`,
    );
  }
  return Object.assign(made, { id: answer.id, degraded: answer.degraded ?? null });
}

/** Open a photo: show it at once, and embed it. */
export async function open(blob, name = blob.name ?? 'photo') {
  const mine = ++attempts;
  try {
    const made = await during('Reading the photo', picture(blob));
    if (mine !== attempts) return;
    // Only now: a file that is no photo leaves the one that is open as it was.
    for (const each of [opening, worsening, finding]) each.abort();
    opening = new AbortController();
    const { signal } = opening;
    reset();
    forget();
    set({ name: name.replace(/\.[^.]*$/, '') || 'photo', original: made, picture: made, worse: null, message: null });
    await embedded(made, 'Looking at the photo', signal);
  } catch (error) {
    report(error);
  }
}

/** Try again to embed what has no id: after a token was given. */
export async function embedAgain() {
  const missing = [...new Set([state.original, state.picture])].filter((each) => each && each.id === null);
  try {
    for (const each of missing) await embedded(each, 'Looking at the photo');
  } catch (error) {
    report(error);
  }
}

/** Show the photo as it is (null) or made worse: {level} or {kind, severity}, and a seed. */
export async function makeWorse(worse) {
  if (!state.original) return;
  for (const each of [worsening, finding]) each.abort();
  worsening = new AbortController();
  const { signal } = worsening;
  set({ worse, everything: null, message: null });
  if (!worse) return void set({ picture: state.original });
  try {
    const { original } = state;
    const asked = withPicture(original, (id) => degrade({ id, ...worse }, signal));
    const shown = asked.then(async ({ blob, id }) => ({ blob, id, made: await picture(blob) }));
    const { blob, id, made } = await during('Making it worse', shown);
    if (signal.aborted) return;
    set({ picture: made });
    // Noise makes PNGs large: one that may not be sent back is segmented by the id it was given.
    if (id && blob.size > state.server?.limits?.max_bytes) set({ picture: Object.assign(made, { id }) });
    else await embedded(made, 'Looking at the worse photo', signal);
  } catch (error) {
    if (!signal.aborted) report(error);
  }
}

/** Find every mask of the picture, or leave everything mode. */
export async function toggleEverything(pointsPerSide) {
  finding.abort();
  if (state.everything) return void set({ everything: null, hover: null });
  const [side] = sides();
  if (!side || side.picture.id === null) return;
  finding = new AbortController();
  try {
    const body = { enhance: side.enhance, points_per_side: pointsPerSide };
    const asked = withPicture(side.picture, (id) => everything({ id, ...body }, finding.signal));
    const answer = await during('Finding everything', asked);
    const objects = answer.objects.map(found).sort((a, b) => b.mask.area - a.mask.area);
    set({ everything: { objects, where: placeOf(side) }, hover: null });
    say(objects.length ? `${objects.length} masks: click one to keep it as an object.` : 'Nothing was found in this photo.');
  } catch (error) {
    report(error);
  }
}

function found(row) {
  return { mask: decode(row.rle ?? row.segmentation), score: row.predicted_iou, point: row.point_coords[0] };
}

/** Keep masks of everything mode as objects; all of them when none is named. */
export function keepFound(indices = state.everything.objects.map((_, index) => index)) {
  const { objects, where } = state.everything;
  if (!indices.length) return;
  take(indices.map((index) => objects[index]), where);
  const left = objects.filter((_, index) => !indices.includes(index));
  set({ everything: left.length ? { objects: left, where } : null, hover: null });
}
