// Masks: COCO's compressed run-length text to a crop of bytes, and what is asked of such crops.
// A mask is {width, height, x, y, w, h, data, area, rle}: data is Uint8Array(w * h) of 0/1, row by row, over the box
// (x, y, w, h); outside of the box nothing is set. rle is what the server sent, so that a download is the answer itself.

/** Unpack COCO's text: groups of 5 bits, lowest first; from the fourth on differences to the run two before. */
export function textToRuns(text) {
  const runs = [];
  for (let at = 0; at < text.length; ) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = text.charCodeAt(at++) - 48;
      value += (code & 31) * 2 ** shift;
      shift += 5;
    } while (code & 32 && at < text.length);
    if (code & 16) value -= 2 ** shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

/** Bounds [x0, y0, x1, y1) and area of runs down the columns of an image of this height; null when empty. */
function extent(runs, height) {
  let [x0, y0, x1, y1, area, at] = [Infinity, Infinity, -1, -1, 0, 0];
  runs.forEach((length, index) => {
    if (index % 2 && length > 0) {
      const last = at + length - 1;
      const [left, right] = [Math.floor(at / height), Math.floor(last / height)];
      x0 = Math.min(x0, left);
      x1 = Math.max(x1, right + 1);
      y0 = Math.min(y0, left === right ? at % height : 0);
      y1 = Math.max(y1, left === right ? (last % height) + 1 : height);
      area += length;
    }
    at += length;
  });
  return area ? { x: x0, y: y0, w: x1 - x0, h: y1 - y0, area } : null;
}

/** Decode {size: [height, width], counts} to a mask. */
export function decode(rle) {
  const [height, width] = rle.size;
  const runs = textToRuns(rle.counts);
  const box = extent(runs, height) ?? { x: 0, y: 0, w: 0, h: 0, area: 0 };
  const data = new Uint8Array(box.w * box.h);
  let at = 0;
  runs.forEach((length, index) => {
    if (index % 2) {
      for (let place = at; place < at + length; place++) {
        const column = Math.floor(place / height);
        data[(place - column * height - box.y) * box.w + column - box.x] = 1;
      }
    }
    at += length;
  });
  return { width, height, ...box, data, rle };
}

/** Whether the pixel under (x, y) is inside. */
export function contains(mask, x, y) {
  const [column, row] = [Math.floor(x) - mask.x, Math.floor(y) - mask.y];
  return column >= 0 && row >= 0 && column < mask.w && row < mask.h && mask.data[row * mask.w + column] === 1;
}

/** Intersection over union of two masks of one image; 1 when both are empty. */
export function iou(a, b) {
  const [x0, y0] = [Math.max(a.x, b.x), Math.max(a.y, b.y)];
  const [x1, y1] = [Math.min(a.x + a.w, b.x + b.w), Math.min(a.y + a.h, b.y + b.h)];
  let both = 0;
  for (let y = y0; y < y1; y++) {
    const [rowA, rowB] = [(y - a.y) * a.w - a.x, (y - b.y) * b.w - b.x];
    for (let x = x0; x < x1; x++) both += a.data[rowA + x] & b.data[rowB + x];
  }
  const either = a.area + b.area - both;
  return either ? both / either : 1;
}

/** Indices of masks, largest first (of equal ones the earlier first): painted so, no part hides behind its whole. */
export function paintOrder(masks) {
  return masks.map((_, index) => index).sort((a, b) => masks[b].area - masks[a].area || a - b);
}

/** Pack runs as COCO's text, the inverse of textToRuns. */
export function runsToText(runs) {
  let text = '';
  runs.forEach((run, index) => {
    let value = index > 2 ? run - runs[index - 2] : run;
    for (let more = true; more; ) {
      let code = value & 31;
      value >>= 5;
      more = code & 16 ? value !== -1 : value !== 0;
      if (more) code |= 32;
      text += String.fromCharCode(code + 48);
    }
  });
  return text;
}

/** The mask of bits (Uint8Array(width * height), row by row). */
export function ofBits(bits, width, height) {
  const runs = [0];
  let inside = 0;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if (bits[y * width + x] === inside) runs[runs.length - 1]++;
      else {
        inside = 1 - inside;
        runs.push(1);
      }
    }
  }
  return decode({ size: [height, width], counts: runsToText(runs) });
}
