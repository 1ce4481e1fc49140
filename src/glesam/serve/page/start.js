// Masks from a file, as objects that clicks correct: their outlines become logits, as `glesam segment --start-mask` does.

import { ofBits } from './rle.js';

const SIDE = 128; // of the logits where the server does not say: a quarter of the model's frame
const SLOPE = 2;
const MOST = 8;
const LARGEST = 100; // objects of one file
const FAR = 1e9;

/** Objects of a mask file for an image: [{mask, score, point, logits, name}]. */
export async function masksOf(file, image, side = SIDE) {
  const { width, height } = image;
  const ids = await idsOf(file, width, height);
  const kinds = [...new Set(ids)].filter((id) => id > 0);
  if (!kinds.length) throw new Error(`expected a mask with an object in ${file.name}, got an empty one; choose another`);
  if (kinds.length > LARGEST) {
    throw new Error(`expected a mask of at most ${LARGEST} objects, got ${kinds.length} values in ${file.name}; save it as PNG`);
  }
  return kinds.map((id) => {
    const bits = Uint8Array.from(ids, (each) => (each === id ? 1 : 0));
    const mask = ofBits(bits, width, height);
    return { mask, score: 1, point: deepest(mask), logits: asText(logitsOf(bits, width, height, side)), name: '' };
  });
}

/** Ids of pixels: of a grey file its values, of a black and white one 0 and 1, of a coloured one its colours. */
async function idsOf(file, width, height) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  } catch {
    throw new Error(`expected a mask file that this browser can show, got ${file.name}; save it as PNG`);
  }
  if (bitmap.width !== width || bitmap.height !== height) {
    throw new Error(`expected a mask of ${width} × ${height} pixels, got ${bitmap.width} × ${bitmap.height}; take the image's own`);
  }
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const ids = new Uint32Array(width * height);
  for (let at = 0; at < ids.length; at++) {
    const place = 4 * at;
    if (data[place + 3] >= 128) ids[at] = data[place] + 256 * data[place + 1] + 65536 * data[place + 2];
  }
  return ids;
}

/** Squared distances along rows, then columns, to the nearest cell that is 0 (Felzenszwalb and Huttenlocher, 2012). */
function depths(cells, width, height) {
  const squared = Float64Array.from(cells, (cell) => (cell ? FAR : 0));
  for (let y = 0; y < height; y++) along(squared, y * width, 1, width);
  for (let x = 0; x < width; x++) along(squared, x, width, height);
  return squared.map(Math.sqrt);
}

function along(values, start, stride, count) {
  const line = Float64Array.from({ length: count }, (_, index) => values[start + index * stride]);
  const [places, borders] = [[0], [-Infinity]];
  const meet = (a, b) => (line[b] + b * b - line[a] - a * a) / (2 * (b - a));
  for (let q = 1; q < count; q++) {
    while (places.length && meet(places.at(-1), q) <= borders.at(-1)) (places.pop(), borders.pop());
    borders.push(places.length ? meet(places.at(-1), q) : -Infinity);
    places.push(q);
  }
  for (let q = 0, k = 0; q < count; q++) {
    while (k + 1 < places.length && borders[k + 1] < q) k++;
    values[start + q * stride] = (q - places[k]) ** 2 + line[places[k]];
  }
}

/** Cells with a border of one that is outside: the image's edge counts as outside. */
function padded(cells, width, height) {
  const wide = new Uint8Array((width + 2) * (height + 2));
  for (let y = 0; y < height; y++) wide.set(cells.subarray(y * width, (y + 1) * width), (y + 1) * (width + 2) + 1);
  return wide;
}

/** The pixel of a mask that is farthest from the outside. */
function deepest({ x, y, w, h, data }) {
  const depth = depths(padded(data, w, h), w + 2, h + 2);
  let best = 0;
  for (let at = 0; at < depth.length; at++) if (depth[at] > depth[best]) best = at;
  return [x + (best % (w + 2)) - 0.5, y + Math.floor(best / (w + 2)) - 0.5];
}

/** Signed distance from the outline in cells, sloped and cut; the longer side of the image fills the square. */
export function logitsOf(bits, width, height, side) {
  const scale = side / Math.max(width, height);
  const [sum, count] = [new Float64Array(side * side), new Float64Array(side * side)];
  for (let y = 0; y < height; y++) {
    const row = Math.min(side - 1, Math.floor((y + 0.5) * scale)) * side;
    for (let x = 0; x < width; x++) {
      const cell = row + Math.min(side - 1, Math.floor((x + 0.5) * scale));
      sum[cell] += bits[y * width + x];
      count[cell] += 1;
    }
  }
  const share = sum.map((each, cell) => (count[cell] ? each / count[cell] : 0));
  const largest = share.reduce((a, b) => Math.max(a, b), 0);
  const cells = Uint8Array.from(share, (each) => (each > Math.min(0.5, largest * 0.999) ? 1 : 0));
  const wide = depths(padded(cells, side, side), side + 2, side + 2);
  const outside = cells.every(Boolean) ? new Float64Array(side * side) : depths(cells.map((each) => 1 - each), side, side);
  return Float32Array.from(cells, (_, cell) => {
    const inside = wide[(Math.floor(cell / side) + 1) * (side + 2) + (cell % side) + 1];
    return Math.min(MOST, Math.max(-MOST, SLOPE * (inside - outside[cell])));
  });
}

/** Logits as the server takes them: float16, little-endian, in base64. */
function asText(values) {
  const bytes = new Uint8Array(2 * values.length);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => view.setUint16(2 * index, half(value), true));
  let text = '';
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** A number from -8 to 8 as the bits of a float16 (IEEE 754), rounded towards zero. */
function half(value) {
  const size = Math.abs(value);
  if (size < 2 ** -14) return 0;
  const exponent = Math.floor(Math.log2(size));
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | Math.floor((size / 2 ** exponent - 1) * 1024);
}
