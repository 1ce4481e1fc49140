// A cut-out with soft edges, cropped to the objects: the guided filter (He, Sun and Tang, TPAMI 2013) of their mask, with
// the numbers of `glesam segment --cutout`.

const RADIUS_SHARE = 0.025; // radius of the filter, as a share of the root of the mask's area
const EPS = 1e-4; // variance of grey values from 0 to 1 below which a place counts as smooth

/** Index mirrored at the ends, without the outermost one twice. */
function mirrored(index, count) {
  if (count === 1) return 0;
  const period = 2 * (count - 1);
  const at = ((index % period) + period) % period;
  return at < count ? at : period - at;
}

/** Means over squares of 2 r + 1 pixels, mirrored at the border; Float32Array of the same size. */
export function boxMean(values, width, height, radius) {
  const along = (source, target, start, stride, count) => {
    const at = (index) => source[start + stride * mirrored(index, count)];
    let sum = 0;
    for (let index = -radius; index <= radius; index++) sum += at(index);
    for (let index = 0; index < count; index++) {
      target[start + stride * index] = sum / (2 * radius + 1);
      sum += at(index + radius + 1) - at(index - radius);
    }
  };
  const [rows, both] = [new Float64Array(values.length), new Float64Array(values.length)];
  for (let y = 0; y < height; y++) along(values, rows, y * width, 1, width);
  for (let x = 0; x < width; x++) along(rows, both, x, width, height);
  return both;
}

/**
 * Opacity, 0 to 1, of each pixel.
 * @param grey 0 to 1, row by row.
 * @param bits the mask, 0 or 1.
 */
export function softAlpha(grey, bits, width, height) {
  const area = bits.reduce((sum, bit) => sum + bit, 0);
  const radius = Math.max(2, Math.round(RADIUS_SHARE * Math.sqrt(area)));
  const mean = (values) => boxMean(values, width, height, radius);
  const middle = grey.reduce((sum, value) => sum + value, 0) / grey.length;
  const guide = Float64Array.from(grey, (value) => value - middle);
  const [meanGuide, meanBits] = [mean(guide), mean(bits)];
  const products = mean(guide.map((value, at) => value * bits[at]));
  const squares = mean(guide.map((value) => value * value));
  const slope = guide.map((_, at) => {
    const variance = Math.max(0, squares[at] - meanGuide[at] ** 2);
    return (products[at] - meanGuide[at] * meanBits[at]) / (variance + EPS);
  });
  const offset = slope.map((value, at) => meanBits[at] - value * meanGuide[at]);
  const [slopes, offsets] = [mean(slope), mean(offset)];
  return Float32Array.from(guide, (value, at) => {
    // Deep inside and far outside there is nothing to be soft about.
    if (meanBits[at] > 1 - 1e-9) return 1;
    if (meanBits[at] < 1e-9) return 0;
    return Math.min(1, Math.max(0, slopes[at] * value + offsets[at]));
  });
}

/** The box of all masks with a margin, within the image: [x0, y0, x1, y1]. */
function boxOf(masks, width, height, margin) {
  const [x0, y0] = [Math.min(...masks.map((m) => m.x)), Math.min(...masks.map((m) => m.y))];
  const [x1, y1] = [Math.max(...masks.map((m) => m.x + m.w)), Math.max(...masks.map((m) => m.y + m.h))];
  return [Math.max(0, x0 - margin), Math.max(0, y0 - margin), Math.min(width, x1 + margin), Math.min(height, y1 + margin)];
}

/** All masks as one, over a box. */
function union(masks, [x0, y0, x1, y1]) {
  const w = x1 - x0;
  const bits = new Uint8Array(w * (y1 - y0));
  for (const mask of masks) {
    for (let row = 0; row < mask.h; row++) {
      const to = (mask.y + row - y0) * w + mask.x - x0;
      for (let column = 0; column < mask.w; column++) bits[to + column] |= mask.data[row * mask.w + column];
    }
  }
  return bits;
}

/** Where alpha is above 0: [x, y, w, h]. */
function seenPart(data, width, height) {
  let [x0, y0, x1, y1] = [width, height, 0, 0];
  for (let at = 0; at < width * height; at++) {
    if (!data[4 * at + 3]) continue;
    const [x, y] = [at % width, Math.floor(at / width)];
    [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
  }
  return [x0, y0, x1 - x0, y1 - y0];
}

/** The objects on nothing, as a PNG. */
export function softCutOut({ bitmap, width, height }, masks) {
  const area = masks.reduce((sum, mask) => sum + mask.area, 0);
  // Edges reach one radius out, and each step of the filter looks one further.
  const box = boxOf(masks, width, height, 3 * Math.max(2, Math.round(RADIUS_SHARE * Math.sqrt(area))));
  const [w, h] = [box[2] - box[0], box[3] - box[1]];
  const canvas = new OffscreenCanvas(w, h);
  const context = canvas.getContext('2d');
  context.fillStyle = '#ffffff'; // what is transparent lies on white, as the server reads it
  context.fillRect(0, 0, w, h);
  context.drawImage(bitmap, -box[0], -box[1]);
  const pixels = context.getImageData(0, 0, w, h);
  const { data } = pixels;
  const bits = union(masks, box);
  const luma = (place) => Math.round(0.299 * data[place] + 0.587 * data[place + 1] + 0.114 * data[place + 2]);
  const grey = Float32Array.from(bits, (_, at) => luma(4 * at) / 255);
  softAlpha(grey, bits, w, h).forEach((alpha, at) => {
    const opacity = Math.round(255 * alpha);
    if (opacity) data[4 * at + 3] = opacity;
    else data.fill(0, 4 * at, 4 * at + 4); // what is cut away must not survive as hidden colours
  });
  const [x, y, cutWidth, cutHeight] = seenPart(data, w, h);
  const cut = new OffscreenCanvas(cutWidth, cutHeight);
  cut.getContext('2d').putImageData(pixels, -x, -y, x, y, cutWidth, cutHeight);
  return cut.convertToBlob({ type: 'image/png' });
}
