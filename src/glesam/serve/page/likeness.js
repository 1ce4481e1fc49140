// The same in the next image: objects of one image are remembered, and looked for in the one after it.

import { ApiError, embed, findLike } from './api.js';
import { ask, found } from './finding.js';
import { placeBy, step } from './images.js';
import { take } from './prompts.js';
import { iou } from './rle.js';
import { finished, report } from './session.js';
import { sides } from './sides.js';
import { say, state } from './state.js';

const SAME = 0.5; // IoU from which on what was found is an object that is there already
const MOST_IMAGES = 3; // with objects of one name; the last ones, as they are the most alike
const remembered = new WeakMap(); // images that are worked through together → Map of name → [{id, blob, objects}]

/** Whether there is something to look for, and an image to look in. */
export const canFindNext = () => placeBy(1) !== null && sides()[0]?.image.id != null && finished().length > 0;

/**
 * As many examples as the server takes, the last ones: [{id, blob, objects, pixels}]. An earlier image comes whole or
 * not at all, as what is not marked in it counts as something else.
 */
export function fitting(examples) {
  const { max_objects: count = Infinity, max_mask_pixels: most = Infinity } = state.server?.limits ?? {};
  const room = ({ pixels }, objects, rest) => Math.min(objects, Math.floor(rest / pixels));
  const last = examples.at(-1);
  const newest = last.objects.slice(0, Math.max(1, room(last, count, most)));
  const kept = [{ ...last, objects: newest }];
  let [objects, rest] = [count - newest.length, most - newest.length * last.pixels];
  for (const each of examples.slice(0, -1).reverse()) {
    if (each.objects.length > room(each, objects, rest)) break;
    kept.unshift(each);
    objects -= each.objects.length;
    rest -= each.objects.length * each.pixels;
  }
  return kept;
}

/** Remember the objects on the stage by their names, each name with its last images. */
function remember() {
  const [{ image }] = sides();
  const kinds = remembered.get(state.images) ?? new Map();
  remembered.set(state.images, kinds);
  const masks = finished();
  for (const name of new Set(masks.map(({ object }) => object.name))) {
    const objects = masks.filter(({ object }) => object.name === name).map(({ mask }) => mask.rle);
    const others = (kinds.get(name) ?? []).filter(({ id }) => id !== image.id);
    const { id, blob, width, height } = image;
    kinds.set(name, fitting([...others, { id, blob, objects, pixels: width * height }].slice(-MOST_IMAGES)));
  }
  return new Map(kinds);
}

/** Ask for one kind; what the server has let go meanwhile it gets again. */
async function search(body, examples, signal) {
  const asked = { ...body, examples: examples.map(({ id, objects }) => ({ id, objects })) };
  try {
    return await findLike(asked, signal);
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    for (const { blob } of examples) await embed(blob, signal);
    return findLike(asked, signal);
  }
}

/** Go to the next image, and propose there what looks like the objects of this one. */
export async function findInNext() {
  if (!canFindNext()) return report(new Error('expected objects and an image after this one, got none; mark one, and open several'));
  const kinds = remember();
  const wanted = placeBy(1);
  if (!(await step(1))) return; // the image of before is still shown, and the message says why
  try {
    const proposals = [];
    let where = null;
    for (const [name, examples] of kinds) {
      if (state.at !== wanted) return;
      const result = await ask(`Looking for ${name || 'the same'}`, (body, signal) => search(body, examples, signal));
      if (!result) return;
      where = result.where;
      proposals.push(...found(result.answer).map((each) => ({ ...each, name })));
    }
    propose(proposals.filter(({ mask }) => mask.area), where);
  } catch (error) {
    report(error);
  }
}

/** Make objects of what is new. */
function propose(proposals, where) {
  const there = finished().map(({ mask }) => mask);
  const fresh = proposals.filter(({ mask }) => !there.some((other) => iou(mask, other) >= SAME));
  if (fresh.length) take(fresh, where);
  const known = proposals.length - fresh.length;
  if (fresh.length) say(`${fresh.length} found that ${fresh.length === 1 ? 'looks' : 'look'} alike: correct or delete what is wrong.`);
  else say(known ? 'What looks alike is an object already.' : 'Nothing that looks alike was found in this image.');
}
