// Images: opening an image, working through several, making it worse.

import { ApiError, degrade, embed } from './api.js';
import { bringBack, keepFor, keepNow } from './keeping.js';
import { persist } from './net.js';
import { forgetPreview } from './preview.js';
import { reset } from './prompts.js';
import { forget, report, withImage } from './session.js';
import { remember } from './dataset.js';
import { during, say, set, state } from './state.js';

let attempts = 0;
let opening = new AbortController();
let worsening = new AbortController();
let leaving = new AbortController();
const unreadable = new WeakSet(); // files that this browser could not show: said once, and then passed over

/** Ends when another image is opened, or this one is made worse: for work on what is on the stage. */
export const onStage = () => leaving.signal;

function leave() {
  for (const each of [worsening, leaving]) each.abort();
  [worsening, leaving] = [new AbortController(), new AbortController()];
  forgetPreview();
}

/** Decode an image as the server does: turned as its EXIF says. */
async function decoded(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    return { id: null, blob, bitmap, width: bitmap.width, height: bitmap.height, degraded: null, refused: null };
  } catch {
    unreadable.add(blob);
    const got = blob.name ? `${blob.name}` : blob.type || 'something else';
    throw new Error(`expected an image that this browser can show, got ${got}; use JPEG, PNG or WebP`);
  }
}

const percent = (share) => `${Math.floor(100 * share)} %`;

const million = (count) => (count / 1e6).toFixed(1);

/** Say at once what the server would say once it has all of a large file. */
function mustFit({ blob, width, height }) {
  const { max_bytes: bytes = Infinity, max_pixels: pixels = Infinity } = state.server?.limits ?? {};
  const cure = 'shrink the image, or start the server with more';
  if (width * height > pixels) {
    const got = `${million(width * height)} (${width} × ${height})`;
    throw new Error(`expected at most ${million(pixels)} megapixels, got ${got}; ${cure} --max-megapixels`);
  }
  if (blob.size > bytes) {
    throw new Error(`expected at most ${million(bytes)} MB, got ${million(blob.size)}; ${cure} --max-megabytes`);
  }
}

/** Let the server embed an image, and give it the id; tried again until it arrives. What is refused says why. */
async function embedded(made, label, signal) {
  try {
    mustFit(made);
    return await sent(made, label, signal);
  } catch (error) {
    const isLocked = error instanceof ApiError && error.status === 401;
    if (error.name !== 'AbortError' && !isLocked) made.refused = error.message;
    throw error;
  }
}

async function sent(made, label, signal) {
  const send = (progress) => {
    const told = (share, receiving) => !receiving && progress(share, share < 1 ? `Sending the image, ${percent(share)}` : label);
    return persist(() => embed(made.blob, signal, told), signal);
  };
  const answer = await during(label, send);
  if (answer.width !== made.width || answer.height !== made.height) {
    throw new Error(
      `expected an image of ${made.width} × ${made.height} pixels as this browser shows it, but the server reads ` +
        `${answer.width} × ${answer.height}; save it as PNG`,
    );
  }
  return Object.assign(made, { id: answer.id, degraded: answer.degraded ?? null, refused: null });
}

/**
 * Open an image: show it at once, with the objects it had, and embed it. Clicks are taken from the start.
 * Says whether it is on the stage and the server has it.
 */
export async function open(blob, name = blob.name ?? 'image') {
  const mine = ++attempts;
  try {
    const made = await during('Reading the image', decoded(blob));
    if (mine !== attempts) return false;
    // Only now: a file that is no image leaves the one that is open as it was.
    opening.abort();
    opening = new AbortController();
    const { signal } = opening;
    leave();
    remember();
    keepNow();
    reset();
    forget();
    const file = { blob, name };
    const stem = name.replace(/\.[^.]*$/, '') || 'image';
    set({ name: stem, file, original: made, image: made, worse: null, message: null });
    keepFor(blob, name);
    const back = bringBack(() => state.original === made).then((found) => found && say('The objects of this image are as you left them.'));
    await embedded(made, 'Looking at the image', signal);
    await back;
    return mine === attempts;
  } catch (error) {
    if (mine !== attempts) return false; // something else is being opened
    set({ at: state.images.indexOf(state.file?.blob) }); // what is still shown; -1: none of these
    report(error);
    return false;
  }
}

/** Open the first of several images; the others follow by step(). */
export function openAll(files) {
  const images = [...files].filter((file) => file.type.startsWith('image/') || files.length === 1);
  if (!images.length) return report(new Error('expected images, got none among these files; choose JPEG, PNG or WebP'));
  images.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  set({ images, at: 0 });
  return open(images[0]);
}

/** Place of the next image of several that can be shown, or of the one before by -1; null where there is none. */
export function placeBy(by) {
  let at = state.at + by;
  while (unreadable.has(state.images[at])) at += by;
  return at in state.images ? at : null;
}

/** Go on to the next image of several, or back by -1; done when the server has it, and says whether it is shown. */
export async function step(by) {
  const at = placeBy(by);
  if (at === null) return false;
  set({ at });
  return open(state.images[at]);
}

/** Try again to embed what has no id: after a token was given. */
export async function embedAgain() {
  const missing = [...new Set([state.original, state.image])].filter((each) => each && each.id === null);
  try {
    for (const each of missing) await embedded(each, 'Looking at the image', opening.signal);
  } catch (error) {
    report(error);
  }
}

/** Show the image as it is (null) or made worse: {level} or {kind, severity}, and a seed. */
export async function makeWorse(worse) {
  if (!state.original?.id) return; // the server cannot make worse what it has not got
  leave();
  const { signal } = worsening;
  set({ worse, everything: null, message: null });
  if (!worse) return void set({ image: state.original });
  try {
    const { original } = state;
    const { blob, id, made } = await during('Making it worse', async (progress) => {
      const told = (share, receiving) => receiving && progress(share, `Receiving the worse image, ${percent(share)}`);
      const ask = (key) => degrade({ id: key, ...worse }, signal, told);
      const answer = await persist(() => withImage(original, ask), signal);
      return { ...answer, made: await decoded(answer.blob) };
    });
    if (signal.aborted) return;
    set({ image: Object.assign(made, { worse }) });
    // Noise makes PNGs large: one that may not be sent back is segmented by the id it was given.
    if (id && blob.size > state.server?.limits?.max_bytes) set({ image: Object.assign(made, { id }) });
    else await embedded(made, 'Looking at the worse image', signal);
  } catch (error) {
    if (signal.aborted) return;
    set({ worse: state.image.worse ?? null }); // the switches say what is seen
    report(error);
  }
}
