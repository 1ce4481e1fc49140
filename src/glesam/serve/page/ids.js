// Ids per pixel of several masks.

import { paintOrder } from './rle.js';

/** Uint16Array(width * height): 1 for the first mask, 0 outside; where masks overlap the smaller one has the pixel. */
export function idsOf(masks, width, height) {
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
