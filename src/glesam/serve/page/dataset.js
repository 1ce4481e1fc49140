// A set to train on: images/, masks/ and labels.json, of all images that were worked on since the page was opened.
// `glesam train` and `glesam data check` read the folder as it is.

import { greyPng } from './png.js';
import { isBack } from './keeping.js';
import { finished, isAwaited } from './session.js';
import { sides } from './sides.js';
import { idsOf } from './ids.js';
import { state } from './state.js';
import { zip } from './zip.js';

const ENDINGS = { 'image/jpeg': '.jpg', 'image/png': '.png', 'image/webp': '.webp', 'image/gif': '.gif', 'image/bmp': '.bmp' };
const done = new Map(); // file → {name, blob, width, height, objects: [{name, mask, score}]}

/** What the set holds of the open image: of before, as long as its objects or their masks are still to come; or null. */
function ofStage() {
  const { file, image } = state;
  if (!image || !file) return null;
  const before = done.get(file.blob) ?? null;
  const [side] = sides();
  if (before && state.objects.some((object) => isAwaited(object, side))) return before;
  const objects = finished().map(({ object, mask, score }) => ({ name: object.name, mask, score }));
  if (!objects.length) return isBack() ? null : before;
  const { blob, width, height } = image; // not the bitmap: decoded, 12 megapixels take 48 MB
  return { blob, width, height, name: state.name, objects };
}

/** Keep the masks of the open image for the set; called before another one is opened, and before the set is made. */
export function remember() {
  const { file } = state;
  const kept = ofStage();
  if (kept) done.set(file.blob, kept);
  else if (file) done.delete(file.blob);
}

/** How many images the set would have. */
export function setSize() {
  const here = state.file?.blob;
  return [...done.keys()].filter((blob) => blob !== here).length + (ofStage() ? 1 : 0);
}

/** Names in the set: two images of one name get numbers. */
function named(images) {
  const used = new Set();
  return images.map((image) => {
    let name = image.name;
    for (let number = 2; used.has(name); number++) name = `${image.name}-${number}`;
    used.add(name);
    return { ...image, name };
  });
}

/** A COCO document of all images; ids of a mask's pixels are `mask_id`. */
function labels(images) {
  const names = [...new Set(images.flatMap(({ objects }) => objects.map(({ name }) => name || 'object')))].sort();
  let id = 0;
  const annotations = images.flatMap(({ objects }, index) =>
    objects.map(({ name, mask, score }, place) => ({
      id: ++id,
      image_id: index + 1,
      category_id: names.indexOf(name || 'object') + 1,
      mask_id: place + 1,
      iscrowd: 0,
      segmentation: mask.rle,
      bbox: [mask.x, mask.y, mask.w, mask.h],
      area: mask.area,
      score,
    })),
  );
  const rows = images.map(({ name, ending, width, height }, index) => ({ id: index + 1, file_name: name + ending, width, height }));
  return { images: rows, categories: names.map((name, index) => ({ id: index + 1, name })), annotations };
}

/** The set as a ZIP. */
export async function trainingSet() {
  remember();
  const images = named([...done.values()]).map((image) => ({ ...image, ending: ENDINGS[image.blob.type] ?? '.jpg' }));
  const files = [];
  for (const { name, ending, blob, width, height, objects } of images) {
    files.push([`images/${name}${ending}`, blob]);
    files.push([`masks/${name}.png`, await greyPng(idsOf(objects.map(({ mask }) => mask), width, height), width, height)]);
  }
  const document = JSON.stringify(labels(images), null, 1);
  files.push(['labels.json', new Blob([`${document}\n`], { type: 'application/json' })]);
  return zip(files);
}
