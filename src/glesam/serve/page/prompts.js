// What a person points at: objects with points and boxes, one of them active, and undo for all of it.

import { isFixed, sides } from './sides.js';
import { COLOURS, activeObject, lasting, set, state } from './state.js';

const LONGEST_HISTORY = 200;
const NOTHING = { points: [], labels: [], box: null, choice: null, fixed: null, before: null };
let past = [];
let future = [];
let nextId = 1;

const snapshot = () => ({ objects: state.objects, active: state.active });

export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;

/** Change objects so that it can be undone. */
function commit(objects, active = state.active) {
  past = [...past.slice(-LONGEST_HISTORY + 1), snapshot()];
  future = [];
  set({ objects, active, message: lasting() });
}

function step(from, to) {
  const wanted = from.pop();
  if (!wanted) return;
  to.push(snapshot());
  set({ ...wanted, message: lasting() });
}

export const undo = () => step(past, future);
export const redo = () => step(future, past);

/** Begin anew, with nothing to undo: for a new image. */
export function reset() {
  past = [];
  future = [];
  nextId = 1;
  set({ objects: [], active: null, everything: null, hover: null, drag: null, corner: null, cursor: null });
}

function fresh(values = {}) {
  const id = nextId++;
  const colour = COLOURS[(id - 1) % COLOURS.length];
  return { id, name: '', colour, ...NOTHING, ...values };
}

/** An object with new prompts. What was shown before goes along: the next answer goes on from its logits. */
const prompted = (object, change) => ({ ...object, choice: null, fixed: null, before: object, alone: {}, ...change });

/** Points are rounded down: the far edges themselves lie outside of the image, and the server refuses them. */
const pointed = (object, point, label) => {
  const place = point.map((value) => Math.floor(value * 10) / 10);
  return { points: [...object.points, place], labels: [...object.labels, label] };
};

/** What the active object, or the next one, would be with another point. */
export function withPoint(point, label) {
  const object = activeObject() ?? { id: 0, name: '', colour: COLOURS[(nextId - 1) % COLOURS.length], ...NOTHING };
  return prompted(object, pointed(object, point, label));
}

/** Put new prompts into the active object; there is one as soon as somebody points. */
function prompt(change) {
  const object = activeObject() ?? fresh();
  const changedObject = prompted(object, change(object));
  const others = state.objects.filter((each) => each.id !== object.id);
  const place = state.objects.findIndex((each) => each.id === object.id);
  others.splice(place < 0 ? others.length : place, 0, changedObject);
  commit(others, object.id);
}

const rounded = (values) => values.map((value) => Math.round(value * 10) / 10);

/** Add a point: label 1 foreground, 0 background. */
export function addPoint(point, label) {
  prompt((object) => pointed(object, point, label));
}

/** Give the object its box, in place of an earlier one; it may reach the image's far edges. */
export function setBox([x0, y0, x1, y1]) {
  const box = rounded([Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)]);
  prompt(() => ({ box }));
}

/** The server needs something to look for: a foreground point or a box. */
export const isUsable = (object) => object.box !== null || object.labels.includes(1);

/** Begin the next object, unless the active one is still empty. */
export function nextObject() {
  const object = activeObject();
  if (object && !object.points.length && !object.box) return;
  const made = fresh();
  commit([...state.objects, made], made.id);
}

/** Call an object something. */
export function rename(id, name) {
  const object = state.objects.find((each) => each.id === id);
  if (object && object.name !== name) commit(state.objects.map((each) => (each === object ? { ...each, name } : each)));
}

/** Objects without the logits of fixed masks, which another model cannot go on from. */
export const withoutLogits = (objects) =>
  objects.map((object) => ({
    ...object,
    fixed: object.fixed && { ...object.fixed, logits: undefined },
    before: object.before && withoutLogits([object.before])[0],
  }));

/** Let go of such logits, in what can be undone and redone too. */
export function dropLogits() {
  for (const each of [...past, ...future]) each.objects = withoutLogits(each.objects);
  set({ objects: withoutLogits(state.objects) });
}

/** Objects as they were left, with nothing to undo. */
export function restore(objects, active) {
  nextId = Math.max(0, ...objects.map((each) => each.id)) + 1;
  set({ objects, active });
}

export function select(id) {
  set({ active: id });
}

/** Go to the object before or after the active one. */
export function selectBy(offset) {
  if (!state.objects.length) return;
  const place = state.objects.findIndex((object) => object.id === state.active);
  select(state.objects[(place + offset + state.objects.length) % state.objects.length].id);
}

export function remove(id) {
  const place = state.objects.findIndex((object) => object.id === id);
  if (place < 0) return;
  const objects = state.objects.filter((object) => object.id !== id);
  const active = id === state.active ? (objects[Math.min(place, objects.length - 1)]?.id ?? null) : state.active;
  commit(objects, active);
}

export function clear() {
  if (state.objects.length) commit([], null);
}

/** Take one of the three candidates for the active object; null leaves it to the model. */
export function choose(choice) {
  const object = activeObject();
  const [side] = sides();
  if (!side || !object || !isUsable(object) || isFixed(object, side)) return;
  commit(state.objects.map((each) => (each.id === object.id ? { ...each, choice } : each)));
}

/**
 * Take masks of everything mode as objects. Each keeps its mask on the image it was found on; elsewhere, and as soon
 * as somebody adds to it, its point and box stand for it.
 */
export function take(found, where) {
  const made = found.map(({ mask, score, point, name = '', logits, enhanced = false }) => {
    const box = [mask.x, mask.y, mask.x + mask.w, mask.y + mask.h];
    return fresh({ name, points: [point], labels: [1], box, fixed: { where, mask, score, logits, enhanced } });
  });
  const kept = state.objects.filter((object) => object.points.length || object.box);
  commit([...kept, ...made], made[made.length - 1].id);
}
