// Masks from a file, as objects that clicks correct: their outlines become logits, as `glesam segment --start-mask` does.

import { ofBits } from './rle.js';

const MASK_STRIDE = 4; // pixels of the model's square to a cell of the logits
const SIDE = 128; // of the logits where the server does not say
const SLOPE = 2;
const MOST = 8;
const LARGEST = 100; // objects of one file
const [GREYS, RARER] = [6, 2]; // of soft edges: so many values at least, each so much rarer than white
const ABOUT = 1e-6; // shares that differ by less are the same
const FAR = 1e9;

/**
 * Objects of a mask file for an image: [{mask, score, point, logits, name}].
 * @param frame {side, squashed}: side of the logits, and whether the model squashes images to a square.
 */
export async function masksOf(file, image, frame = {}) {
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
    return { mask, score: 1, point: deepest(mask), logits: asText(logitsOf(bits, width, height, frame)), name: '' };
  });
}

/** Ids of a file's pixels. */
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
  return idsOfPixels(context.getImageData(0, 0, width, height).data);
}

/** Ids of RGBA: of a grey file its values, of a black and white one, soft or not, one of its bright part, else its colours. */
export function idsOfPixels(data) {
  const ids = new Uint32Array(data.length / 4);
  for (let at = 0; at < ids.length; at++) {
    const place = 4 * at;
    if (data[place + 3] >= 128) ids[at] = data[place] + 256 * data[place + 1] + 65536 * data[place + 2];
  }
  return isSoft(ids) ? ids.map((id) => ((id & 255) >= 128 ? 1 : 0)) : ids;
}

/** Whether greys between black and white are soft edges, not ids, by the rule of `glesam.masks.painted`. */
function isSoft(ids) {
  const counts = new Uint32Array(256);
  for (const id of ids) {
    if (id % 0x010101) return false; // a colour
    counts[id & 255]++;
  }
  const between = [...counts.keys()].filter((grey) => grey > 0 && grey < 255 && counts[grey]);
  if (between.length < GREYS || between[0] >= 128 || between.at(-1) < 128) return false;
  return counts[255] >= RARER * Math.max(...between.map((grey) => counts[grey]));
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

/** Sums of a line over `count` cells of `size` values each, which begin and end within values; beyond the line is 0. */
function cellSums(line, size, count) {
  const sums = new Float64Array(line.length + 1);
  for (let at = 0; at < line.length; at++) sums[at + 1] = sums[at] + line[at];
  const upTo = (place) => {
    const at = Math.min(Math.floor(place), line.length);
    return sums[at] + (place - at) * (line[at] ?? 0);
  };
  return Float64Array.from({ length: count }, (_, cell) => upTo((cell + 1) * size) - upTo(cell * size));
}

/** Nearest whole number, of two the even one. */
function nearest(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}

/** Share of each cell that a mask fills: the longer side of the image fills the square, or both do where it is squashed. */
function sharesOf(bits, width, height, side, squashed) {
  const frame = MASK_STRIDE * side;
  const pixels = (size) => (squashed ? frame : Math.max(1, nearest((size * frame) / Math.max(width, height))));
  const [across, down] = [(MASK_STRIDE * width) / pixels(width), (MASK_STRIDE * height) / pixels(height)];
  const columns = Array.from({ length: side }, () => new Float64Array(height));
  for (let y = 0; y < height; y++) {
    cellSums(bits.subarray(y * width, (y + 1) * width), across, side).forEach((sum, cell) => (columns[cell][y] = sum));
  }
  const shares = new Float64Array(side * side);
  columns.forEach((column, x) => {
    cellSums(column, down, side).forEach((sum, y) => (shares[y * side + x] = sum / (across * down)));
  });
  return shares;
}

/** Signed distance from the outline in cells, sloped and cut; see sharesOf for how the image lies in the square. */
export function logitsOf(bits, width, height, { side = SIDE, squashed = false } = {}) {
  const shares = sharesOf(bits, width, height, side, squashed);
  const largest = shares.reduce((a, b) => Math.max(a, b), 0);
  // A mask smaller than half a cell is the cell that it fills most.
  const least = largest > 0.5 + ABOUT ? 0.5 + ABOUT : largest * (1 - ABOUT);
  const cells = Uint8Array.from(shares, (each) => (each > least ? 1 : 0));
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
