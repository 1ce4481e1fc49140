// Files made in the browser from the masks that are shown: nothing is asked of the server again.

import { polygons } from './outline.js';
import { greyPng } from './png.js';
import { paintOrder } from './rle.js';
import { resultOf, sides } from './session.js';
import { state } from './state.js';

/** The masks that count: [{object, mask, score}] in the order of the list. */
export function finished() {
  const [side] = sides();
  if (!side) return [];
  return state.objects
    .map((object) => ({ object, ...resultOf(object, side) }))
    .filter(({ mask, fresh }) => fresh && mask.area > 0);
}

/** Ids per pixel, 1 for the first object; where masks overlap the smaller one has the pixel. */
function labels(masks) {
  const { width, height } = state.picture;
  const ids = new Uint16Array(width * height);
  for (const index of paintOrder(masks)) {
    const { x, y, w, h, data } = masks[index];
    for (let row = 0; row < h; row++) {
      for (let column = 0; column < w; column++) {
        if (data[row * w + column]) ids[(y + row) * width + x + column] = index + 1;
      }
    }
  }
  return ids;
}

const info = () => {
  const [side] = sides();
  return {
    model: state.server?.default ?? '',
    enhanced: finished().some(({ enhanced }) => enhanced),
    enhance: side.enhance,
    ...(state.worse ? { degraded: state.worse } : {}),
  };
};

async function maskPng() {
  const { width, height } = state.picture;
  return greyPng(labels(finished().map(({ mask }) => mask)), width, height);
}

/** The picture where an object is, nothing elsewhere. */
async function cutOut() {
  const { width, height, bitmap } = state.picture;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  labels(finished().map(({ mask }) => mask)).forEach((id, place) => {
    if (!id) pixels.data.fill(0, 4 * place, 4 * place + 4);
  });
  context.putImageData(pixels, 0, 0);
  return canvas.convertToBlob({ type: 'image/png' });
}

const asJson = (content, type) => new Blob([`${JSON.stringify(content)}\n`], { type });

/** A whole COCO document, as `glesam segment --json` writes it. */
async function coco() {
  const { width, height } = state.picture;
  const annotations = finished().map(({ mask, score }, index) => ({
    id: index + 1,
    image_id: 1,
    category_id: 1,
    iscrowd: 0,
    segmentation: mask.rle,
    bbox: [mask.x, mask.y, mask.w, mask.h],
    area: mask.area,
    score,
    predicted_iou: score,
  }));
  const images = [{ id: 1, file_name: state.name, width, height }];
  const categories = [{ id: 1, name: 'object' }];
  return asJson({ info: info(), images, categories, annotations }, 'application/json');
}

/** GeoJSON in pixels of the picture, as `glesam segment --polygons` writes it; rings closed by their first point. */
async function geojson() {
  const { width, height } = state.picture;
  const features = finished().map(({ mask, score }, index) => ({
    type: 'Feature',
    id: index + 1,
    properties: { id: index + 1, score, area: mask.area },
    geometry: { type: 'MultiPolygon', coordinates: polygons(mask).map((rings) => rings.map((ring) => [...ring, ring[0]])) },
  }));
  const members = { name: state.name, info: info(), image_size: { width, height } };
  return asJson({ type: 'FeatureCollection', ...members, features }, 'application/geo+json');
}

/** What can be downloaded: kind to the ending of the file's name, and how it is made. */
export const FORMATS = {
  mask: { ending: '.mask.png', make: maskPng },
  cutout: { ending: '.cutout.png', make: cutOut },
  coco: { ending: '.mask.json', make: coco },
  polygons: { ending: '.mask.geojson', make: geojson },
};

/** Make a file and hand it to the browser. */
export async function download(kind) {
  const { ending, make } = FORMATS[kind];
  const link = document.createElement('a');
  link.href = URL.createObjectURL(await make());
  link.download = state.name + ending;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
