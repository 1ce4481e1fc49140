// Files made in the browser from the masks that are shown: nothing is asked of the server again.

import { softCutOut } from './cutout.js';
import { trainingSet } from './dataset.js';
import { idsOf } from './ids.js';
import { polygons } from './outline.js';
import { greyPng } from './png.js';
import { finished } from './session.js';
import { sides } from './sides.js';
import { during, state } from './state.js';

const NAMELESS = 'object';

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
  const { width, height } = state.image;
  return greyPng(idsOf(finished().map(({ mask }) => mask), width, height), width, height);
}

const asJson = (content, type) => new Blob([`${JSON.stringify(content)}\n`], { type });

/** Names of the finished objects' classes; null where none has one, and the name of nameless things where others have. */
function classNames() {
  const names = finished().map(({ object }) => object.name);
  return names.some(Boolean) ? names.map((name) => name || NAMELESS) : null;
}

/** A whole COCO document, as `glesam segment --json` writes it. */
async function coco() {
  const { width, height } = state.image;
  const named = classNames();
  const names = [...new Set(named ?? [NAMELESS])];
  const annotations = finished().map(({ mask, score }, index) => ({
    id: index + 1,
    image_id: 1,
    category_id: named ? names.indexOf(named[index]) + 1 : 1,
    iscrowd: 0,
    segmentation: mask.rle,
    bbox: [mask.x, mask.y, mask.w, mask.h],
    area: mask.area,
    score,
    predicted_iou: score,
  }));
  const images = [{ id: 1, file_name: state.file.name, width, height }];
  const categories = names.map((name, index) => ({ id: index + 1, name }));
  return asJson({ info: info(), images, categories, annotations }, 'application/json');
}

/** GeoJSON in pixels of the image, as `glesam segment --polygons` writes it; rings closed by their first point. */
async function geojson() {
  const { width, height } = state.image;
  const named = classNames();
  const features = finished().map(({ mask, score }, index) => ({
    type: 'Feature',
    id: index + 1,
    properties: { id: index + 1, score, area: mask.area, ...(named ? { class: named[index] } : {}) },
    geometry: { type: 'MultiPolygon', coordinates: polygons(mask).map((rings) => rings.map((ring) => [...ring, ring[0]])) },
  }));
  const members = { name: state.file.name, info: info(), image_size: { width, height } };
  return asJson({ type: 'FeatureCollection', ...members, features }, 'application/geo+json');
}

/** What can be downloaded: kind to the ending of the file's name, and how it is made. */
export const FORMATS = {
  mask: { ending: '.mask.png', make: maskPng },
  cutout: { ending: '.cutout.png', make: async () => softCutOut(state.image, finished().map(({ mask }) => mask)) },
  coco: { ending: '.mask.json', make: coco },
  polygons: { ending: '.mask.geojson', make: geojson },
  set: { ending: '.zip', name: 'training-set', make: trainingSet },
};

/** Make a file and hand it to the browser. */
export async function download(kind) {
  const { ending, make, name = state.name } = FORMATS[kind];
  const link = document.createElement('a');
  // A frame first: making a file of a large image holds the page up, and one should see why.
  const made = new Promise((next) => setTimeout(next, 30)).then(make);
  link.href = URL.createObjectURL(await during('Making the file', made));
  link.download = name + ending;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
