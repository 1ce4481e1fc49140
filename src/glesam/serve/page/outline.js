// From masks to outlines along the edges of pixels: pixel (x, y) covers the square from (x, y) to (x + 1, y + 1).
// The same rules as `glesam segment --polygons`: see rings.js and simplify.js.

import { exactPolygons, loopsOf } from './rings.js';
import { fewer, simplified } from './simplify.js';

const DRAWN = 0.75; // tolerance in pixels of what is drawn, which need not be valid

/** A ring in pixels of the image. */
const placed = ({ x, y }, ring) => ring.map(([column, row]) => [column + x, row + y]);

/**
 * Polygons of a mask: [[shell, hole, ...], ...], each ring [[x, y], ...] with its first point not repeated; together valid
 * as GeoJSON wants it. The tolerance is the farthest distance in pixels between the outline and its simplification.
 */
export function polygons(mask, tolerance = 1) {
  const exact = exactPolygons(mask);
  const found = tolerance > 0 ? simplified(exact, tolerance) : exact;
  return found.map((polygon) => polygon.map((ring) => placed(mask, ring)));
}

const paths = new WeakMap();

/** The outline as a path to stroke, in pixels of the image; made once for each mask. */
export function path(mask) {
  if (!paths.has(mask)) {
    const made = new Path2D();
    for (const ring of loopsOf(mask)) {
      placed(mask, fewer(ring, DRAWN)).forEach(([x, y], index) => (index ? made.lineTo(x, y) : made.moveTo(x, y)));
      made.closePath();
    }
    paths.set(mask, made);
  }
  return paths.get(mask);
}
