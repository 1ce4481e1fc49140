// Polygons with fewer corners that stay valid: no ring crosses or touches itself or another, and holes stay in their
// shells. The rules of `glesam.masks.rings`, whose Douglas and Peucker (1973) is OpenCV's `approxPolyDP`.

import { signedArea } from './rings.js';

const AREA_CHANGE = 0.05; // share of a ring's area that simplifying may add or take away
const CHECKED_CORNERS = 20_000; // outlines of more corners, after simplifying, stay exact
const [CELL, CELLS] = [8, 64]; // least side in pixels, and most along a side, of the grid in which edges are compared

const squared = ([ax, ay], [bx, by]) => (bx - ax) ** 2 + (by - ay) ** 2;

/** Twice the signed area of the triangle abc. */
const cross = ([ax, ay], [bx, by], [cx, cy]) => (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);

/** Numbers of two corners that are far apart: to the farthest of the first one, and on from there, three times. */
function farApart(ring) {
  let [start, far] = [0, 0];
  for (let turn = 0; turn < 3; turn++) {
    start = far;
    let most = 0;
    for (let step = 1; step < ring.length; step++) {
      const at = (start + step) % ring.length;
      const distance = squared(ring[start], ring[at]);
      if (distance > most) [most, far] = [distance, at];
    }
  }
  return [start, far];
}

/** Number of the corner between two that is farthest from the edge between them; -1 if all are within the squared tolerance. */
function farthest(ring, from, to, limit) {
  const [a, b] = [ring[from], ring[to]];
  const length = squared(a, b);
  const along = (point) => (point[0] - a[0]) * (b[0] - a[0]) + (point[1] - a[1]) * (b[1] - a[1]);
  let [most, place] = [0, -1];
  for (let at = (from + 1) % ring.length; at !== to; at = (at + 1) % ring.length) {
    const share = along(ring[at]);
    const beyond = share < 0 ? a : share > length ? b : null;
    // Times the squared length, so that all are whole numbers.
    const distance = beyond ? squared(beyond, ring[at]) * length : cross(a, b, ring[at]) ** 2;
    if (distance > most) [most, place] = [distance, at];
  }
  return most <= limit * length ? -1 : place;
}

/** Without corners on lines that are nearly straight. */
function straightened(ring, limit) {
  const [corners, count] = [[...ring], ring.length];
  let [left, write, read, last, here] = [count, 0, 1 % count, ring[count - 1], ring[0]];
  for (let turn = 0; turn < count && left > 2; turn++) {
    const next = corners[read];
    read = (read + 1) % count;
    const [dx, dy] = [next[0] - last[0], next[1] - last[1]];
    const onward = (here[0] - last[0]) * (next[0] - here[0]) + (here[1] - last[1]) * (next[1] - here[1]);
    if (cross(last, next, here) ** 2 <= 0.5 * limit * (dx ** 2 + dy ** 2) && dx && dy && onward >= 0) {
      left--;
      corners[write] = last = next;
      here = corners[read];
      read = (read + 1) % count;
      turn++;
    } else {
      corners[write] = last = here;
      here = next;
    }
    write = (write + 1) % count;
  }
  return corners.slice(0, left);
}

function approximated(ring, tolerance) {
  const limit = tolerance ** 2;
  const [start, far] = farApart(ring);
  if (squared(ring[start], ring[far]) <= limit) return [ring[start]];
  const kept = [];
  const spans = [[far, start], [start, far]];
  while (spans.length) {
    const [from, to] = spans.pop();
    const place = farthest(ring, from, to, limit);
    if (place < 0) kept.push(ring[from]);
    else spans.push([place, to], [from, place]);
  }
  return straightened(kept, limit);
}

/** Drop corners within the tolerance, or within a half or quarter of it where the area would change too much. */
export function fewer(ring, tolerance) {
  const exact = signedArea(ring);
  for (const share of tolerance > 0 ? [1, 0.5, 0.25] : []) {
    const simpler = approximated(ring, tolerance * share);
    if (simpler.length >= 3 && Math.abs(signedArea(simpler) - exact) <= AREA_CHANGE * Math.abs(exact)) return simpler;
  }
  return ring;
}

/** Edges of rings, each with the number of the one that follows it. */
function edgesOf(rings) {
  const edges = [];
  rings.forEach((ring, owner) => {
    const first = edges.length;
    ring.forEach((start, at) => {
      const next = (at + 1) % ring.length;
      edges.push({ owner, start, end: ring[next], following: first + next });
    });
  });
  return edges;
}

/** Lists of the numbers of edges whose boxes share a cell of a grid. */
function nearOf(edges) {
  const side = Math.max(CELL, edges.reduce((most, { start }) => Math.max(most, ...start), 0) / CELLS);
  const cells = new Map();
  edges.forEach(({ start, end }, number) => {
    const [x0, x1, y0, y1] = [0, 1].flatMap((axis) => {
      const [a, b] = [Math.floor(start[axis] / side), Math.floor(end[axis] / side)];
      return a < b ? [a, b] : [b, a];
    });
    for (let y = y0; y <= y1; y++) {
      for (let x = x0; x <= x1; x++) {
        const cell = y * (CELLS + 1) + x;
        if (cells.has(cell)) cells.get(cell).push(number);
        else cells.set(cell, [number]);
      }
    }
  });
  return cells.values();
}

/** Whether the edges ab and cd have a point in common; coordinates are whole numbers, so that all is exact. */
function meet({ start: a, end: b }, { start: c, end: d }) {
  for (const axis of [0, 1]) {
    if (Math.min(a[axis], b[axis]) > Math.max(c[axis], d[axis])) return false;
    if (Math.min(c[axis], d[axis]) > Math.max(a[axis], b[axis])) return false;
  }
  const apart = (p, q, r, s) => Math.sign(cross(p, q, r)) * Math.sign(cross(p, q, s)) > 0;
  return !apart(a, b, c, d) && !apart(c, d, a, b);
}

/** Whether the path abc turns back on itself at b. */
const foldsBack = (a, b, c) => cross(a, b, c) === 0 && (b[0] - a[0]) * (c[0] - b[0]) + (b[1] - a[1]) * (c[1] - b[1]) < 0;

/** Rings of which two edges that are no neighbours meet, or that meet another; exact rings do not meet each other. */
function meeting(rings, kept) {
  const edges = edgesOf(rings);
  const found = new Set();
  for (const { owner, start, end, following } of edges) if (foldsBack(start, end, edges[following].end)) found.add(owner);
  for (const near of nearOf(edges)) {
    near.forEach((first, place) => {
      for (let at = place + 1; at < near.length; at++) {
        const [a, b] = [edges[first], edges[near[at]]];
        if (kept[a.owner] && kept[b.owner]) continue;
        if (a.following !== near[at] && b.following !== first && meet(a, b)) found.add(a.owner).add(b.owner);
      }
    });
  }
  return found;
}

/** Least and greatest x and y of a ring: [x0, y0, x1, y1]. */
function bounds(ring) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of ring) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

/** Whether a ring goes round the point, by the number of edges above it. */
function encloses(ring, [x0, y0, x1, y1], [x, y]) {
  if (x < x0 || y < y0 || x > x1 || y > y1) return false;
  let odd = false;
  ring.forEach(([ax, ay], at) => {
    const [bx, by] = ring[(at + 1) % ring.length];
    if (ax <= x !== bx <= x && ay + ((x - ax) * (by - ay)) / (bx - ax) < y) odd = !odd;
  });
  return odd;
}

/** Rings that lie in another one that they were not in, or no longer in one that they were in; and those others. */
function misplaced(simple, exact) {
  const found = new Set();
  const [before, after] = [exact.map(bounds), simple.map(bounds)];
  exact.forEach((ring, outer) => {
    exact.forEach((other, inner) => {
      if (inner === outer) return;
      const was = encloses(ring, before[outer], other[0]);
      if (was !== encloses(simple[outer], after[outer], simple[inner][0])) found.add(outer).add(inner);
    });
  });
  return found;
}

/** Numbers of rings, not exact yet, that cross or touch themselves or another, or lie on the wrong side of another. */
function conflicts(simple, exact, kept) {
  if (kept.every(Boolean)) return [];
  const changed = (found) => [...found].filter((at) => !kept[at]);
  const crossing = changed(meeting(simple, kept));
  // With no two rings meeting, a ring lies in another as a whole, so that one of its corners tells.
  return crossing.length ? crossing : changed(misplaced(simple, exact));
}

/**
 * Drop corners within a tolerance in pixels, as far as all polygons together stay valid; rings that would cross or touch
 * another stay as they are.
 */
export function simplified(exact, tolerance) {
  const rings = exact.flat();
  const simple = rings.map((ring) => fewer(ring, tolerance));
  if (simple.reduce((sum, ring) => sum + ring.length, 0) > CHECKED_CORNERS) return exact;
  const kept = simple.map((ring, at) => ring.length === rings[at].length);
  for (let wrong = conflicts(simple, rings, kept); wrong.length; wrong = conflicts(simple, rings, kept)) {
    for (const at of wrong) [simple[at], kept[at]] = [rings[at], true];
  }
  const places = simple.values();
  return exact.map((polygon) => polygon.map(() => places.next().value));
}
