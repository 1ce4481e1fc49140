// Exact outlines of masks along the edges of pixels, by the rules of `glesam.masks.rings`: pixel (x, y) covers the square
// from (x, y) to (x + 1, y + 1), and pixels that touch at a corner only are two polygons, as GeoJSON wants it.
// A ring is [[x, y], ...] from the corner of the mask's box on, its first point not repeated. Shells have positive signed
// area (clockwise on the screen), holes negative.

/** Turns of outlines at a corner by its pixels nw + 2 ne + 4 sw + 8 se: [[has an edge right of it, below it], ...]. */
const TURNS = Array.from({ length: 16 }, (_, code) => {
  const [nw, ne, sw, se] = [0, 1, 2, 3].map((bit) => (code >> bit) & 1);
  if (nw ^ ne ^ sw ^ se) return [[ne ^ se, sw ^ se]];
  // Where two pixels touch there are two corners in one place, each with the edges of one pixel.
  return { 6: [[1, 0], [0, 1]], 9: [[0, 0], [1, 1]] }[code] ?? null;
});

/** Signed area of a ring by the shoelace formula. */
export function signedArea(ring) {
  let sum = 0;
  ring.forEach(([x, y], index) => {
    const [nextX, nextY] = ring[(index + 1) % ring.length];
    sum += x * nextY - y * nextX;
  });
  return sum / 2;
}

/** Corners of all outlines: where they are, and which are at the other end of the edge across and of the one along. */
function cornersOf({ w, h, data }) {
  const [points, across, along, single, touching] = [[], [], [], [], []];
  const upper = new Int32Array(w + 1); // of each column the last corner with an edge below it
  for (let y = 0; y <= h; y++) {
    let [nw, sw, left] = [0, 0, 0];
    for (let x = 0; x <= w; x++) {
      const ne = x < w && y > 0 ? data[(y - 1) * w + x] : 0;
      const se = x < w && y < h ? data[y * w + x] : 0;
      const turns = TURNS[nw + 2 * ne + 4 * sw + 8 * se];
      nw = ne;
      sw = se;
      if (!turns) continue;
      const [west, north] = [left, upper[x]];
      for (const [right, down] of turns) {
        const number = points.push([x, y]) - 1;
        across.push(west);
        along.push(north);
        if (right) left = number;
        else across[west] = number;
        if (down) upper[x] = number;
        else along[north] = number;
        if (right && down) (turns.length > 1 ? touching : single).push(number);
      }
    }
  }
  // Upper left corners of a pixel or of a hole: every outline has one.
  return { points, across, along, starts: single.concat(touching) };
}

/** Corners of each outline in order, by turns over a horizontal and a vertical edge. */
function walksOf({ across, along, starts }) {
  const seen = new Uint8Array(across.length);
  const walks = [];
  for (const start of starts) {
    const walk = [];
    for (let here = start; !seen[here]; here = along[walk.at(-1)]) {
      const other = across[here];
      seen[here] = seen[other] = 1;
      walk.push(here, other);
    }
    if (walk.length) walks.push(walk);
  }
  return walks;
}

/** Cut an outline that comes to a point twice into loops that do not. */
function simpleLoops(points, width) {
  const key = ([x, y]) => y * (width + 1) + x;
  const [loops, path, place] = [[], [], new Map()];
  for (const point of points) {
    if (place.has(key(point))) {
      const loop = path.splice(place.get(key(point)));
      loop.forEach((passed) => place.delete(key(passed)));
      loops.push(loop);
    }
    place.set(key(point), path.length);
    path.push(point);
  }
  return [...loops, path];
}

/** Column and row of the pixel on the right hand of a ring's first edge, at its start. */
function rightPixel([[x0, y0], [x1, y1]]) {
  const [dx, dy] = [Math.sign(x1 - x0), Math.sign(y1 - y0)];
  return [Math.floor(x0 + dx / 2 - dy / 2), Math.floor(y0 + dy / 2 + dx / 2)];
}

/** Closed outlines through every corner, the mask on their right hand, none through a point twice. */
export function loopsOf(mask) {
  const { w, h, data } = mask;
  const corners = cornersOf(mask);
  const loops = walksOf(corners).flatMap((walk) => simpleLoops(walk.map((corner) => corners.points[corner]), w));
  return loops.map((loop) => {
    const [x, y] = rightPixel(loop);
    return x >= 0 && y >= 0 && x < w && y < h && data[y * w + x] ? loop : loop.reverse();
  });
}

/** Numbers of pixels that hang together over their edges, from 1 on in the order of their first pixels; 0 outside. */
function componentsOf({ w, h, data }) {
  const labels = new Int32Array(w * h);
  let count = 0;
  for (let from = 0; from < labels.length; from++) {
    if (!data[from] || labels[from]) continue;
    labels[from] = ++count;
    const stack = [from];
    const visit = (at) => data[at] && !labels[at] && ((labels[at] = count), stack.push(at));
    while (stack.length) {
      const at = stack.pop();
      if (at % w > 0) visit(at - 1);
      if (at % w < w - 1) visit(at + 1);
      if (at >= w) visit(at - w);
      if (at < labels.length - w) visit(at + w);
    }
  }
  return labels;
}

/** One polygon [shell, hole, ...] for each component; together they cover just the mask's pixels. */
export function exactPolygons(mask) {
  const labels = componentsOf(mask);
  const loops = loopsOf(mask).map((ring) => ({ ring, area: signedArea(ring) }));
  const found = [];
  for (const { ring } of loops.sort((a, b) => b.area - a.area)) {
    const [x, y] = rightPixel(ring);
    (found[labels[y * mask.w + x] - 1] ??= []).push(ring);
  }
  return found;
}
