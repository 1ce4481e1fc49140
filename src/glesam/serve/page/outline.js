// From masks to outlines along the edges of pixels: pixel (x, y) covers the square from (x, y) to (x + 1, y + 1).
// Outer rings have positive signed area (clockwise on the screen), holes negative; pixels that touch at a corner belong
// together. The same rules as `glesam segment --polygons`.

const STEPS = [[1, 0], [0, 1], [-1, 0], [0, -1]];
const MAX_AREA_CHANGE = 0.05;

/** Signed area of a ring [[x, y], ...] by the shoelace formula. */
export function signedArea(ring) {
  let sum = 0;
  ring.forEach(([x, y], index) => {
    const [nextX, nextY] = ring[(index + 1) % ring.length];
    sum += x * nextY - y * nextX;
  });
  return sum / 2;
}

/** All rings of a mask through its corners, in pixels of the image. */
function edgeRings(mask) {
  const { w, h, data } = mask;
  const inside = (x, y) => x >= 0 && y >= 0 && x < w && y < h && data[y * w + x] === 1;
  const walked = new Uint8Array(w * h);
  const rings = [];
  for (let row = 0; row < h; row++) {
    for (let column = 0; column < w; column++) {
      if (!walked[row * w + column] && inside(column, row) && !inside(column, row - 1)) {
        rings.push({ ring: walk(mask, inside, walked, column, row), from: [column + mask.x + 0.5, row + mask.y + 0.5] });
      }
    }
  }
  return rings;
}

/** Follow the edge that starts above pixel (column, row) to the right, the inside always at the right hand. */
function walk(mask, inside, walked, column, row) {
  const ring = [];
  let [x, y, heading] = [column, row, 0];
  do {
    if (heading === 0) walked[y * mask.w + x] = 1;
    x += STEPS[heading][0];
    y += STEPS[heading][1];
    // The pixels ahead of the corner (x, y), at the left and at the right hand.
    const left = [[x, y - 1], [x, y], [x - 1, y], [x - 1, y - 1]][heading];
    const right = [[x, y], [x - 1, y], [x - 1, y - 1], [x, y - 1]][heading];
    const turn = inside(...left) ? 3 : inside(...right) ? 0 : 1;
    if (turn) ring.push([x + mask.x, y + mask.y]);
    heading = (heading + turn) % 4;
  } while (x !== column || y !== row || heading !== 0);
  return ring;
}

/** Distance of a point from the line through a and b, or from a when they are one. */
function distance([x, y], [ax, ay], [bx, by]) {
  const length = Math.hypot(bx - ax, by - ay);
  if (!length) return Math.hypot(x - ax, y - ay);
  return Math.abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / length;
}

/** Douglas and Peucker (1973) on a closed ring, cut at its first point and the one farthest from it. */
function thin(ring, tolerance) {
  const far = ring.reduce((best, p, i) => (distance(p, ring[0], ring[0]) > distance(ring[best], ring[0], ring[0]) ? i : best), 0);
  const closed = [...ring, ring[0]];
  const keep = new Set([0, far]);
  const spans = [[0, far], [far, ring.length]];
  while (spans.length) {
    const [start, end] = spans.pop();
    let [worst, place] = [tolerance, -1];
    for (let i = start + 1; i < end; i++) {
      const off = distance(closed[i], closed[start], closed[end]);
      if (off > worst) [worst, place] = [off, i];
    }
    if (place >= 0) {
      keep.add(place);
      spans.push([start, place], [place, end]);
    }
  }
  return ring.filter((_, index) => keep.has(index));
}

/** Drop points within the tolerance, or within a half or quarter of it where the area would change too much. */
function simplify(ring, tolerance) {
  const exact = signedArea(ring);
  for (const share of tolerance > 0 ? [1, 0.5, 0.25] : []) {
    const simpler = thin(ring, tolerance * share);
    if (simpler.length >= 3 && Math.abs(signedArea(simpler) - exact) <= MAX_AREA_CHANGE * Math.abs(exact)) return simpler;
  }
  return ring;
}

/** Whether a ring goes round the point, by the even-odd rule. */
function encloses(ring, [x, y]) {
  let odd = false;
  ring.forEach(([ax, ay], index) => {
    const [bx, by] = ring[(index + 1) % ring.length];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
  });
  return odd;
}

/**
 * Polygons of a mask: [[outer, hole, ...], ...], each ring [[x, y], ...] with its first point not repeated.
 * The tolerance is the farthest distance in pixels between the outline and its simplification.
 */
export function polygons(mask, tolerance = 1) {
  const rings = edgeRings(mask).map((each) => ({ ...each, area: signedArea(each.ring), holes: [] }));
  const outer = rings.filter((each) => each.area > 0);
  for (const hole of rings.filter((each) => each.area < 0)) {
    const around = outer.filter((each) => encloses(each.ring, hole.from)).sort((a, b) => a.area - b.area);
    around[0].holes.push(hole.ring);
  }
  return outer.map((each) => [each.ring, ...each.holes].map((ring) => simplify(ring, tolerance)));
}

const paths = new WeakMap();

/** The outline as a path to stroke, in pixels of the image; made once for each mask. */
export function path(mask) {
  if (!paths.has(mask)) {
    const made = new Path2D();
    for (const ring of polygons(mask, 0.75).flat()) {
      ring.forEach(([x, y], index) => (index ? made.lineTo(x, y) : made.moveTo(x, y)));
      made.closePath();
    }
    paths.set(mask, made);
  }
  return paths.get(mask);
}
