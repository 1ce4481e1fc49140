// Drawing the stage: the image, masks (of the two sides when comparing), prompts, and what is under the pointer.

import { manyColours } from './colours.js';
import { path } from './outline.js';
import { contains, paintOrder } from './rle.js';
import { resultOf } from './session.js';
import { sides } from './sides.js';
import { hasEnhancer, state } from './state.js';

const FILL = 0.48;
const LAYER_PIXELS = 2_000_000;
const PEEK_FILL = 0.3;
const layers = new WeakMap();

/** A mask filled with one colour, as a canvas over its box; large ones at a share of their resolution. */
export function layer(mask, colour) {
  const known = layers.get(mask);
  if (known?.colour === colour) return known.canvas;
  const step = Math.max(1, Math.ceil(Math.sqrt((mask.w * mask.h) / LAYER_PIXELS)));
  const [width, height] = [Math.max(1, Math.ceil(mask.w / step)), Math.max(1, Math.ceil(mask.h / step))];
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  const pixels = context.createImageData(width, height);
  const words = new Uint32Array(pixels.data.buffer);
  const [red, green, blue] = channels(colour);
  const word = (255 << 24) | (blue << 16) | (green << 8) | red;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) if (mask.data[y * step * mask.w + x * step]) words[y * width + x] = word;
  }
  context.putImageData(pixels, 0, 0);
  layers.set(mask, { colour, canvas });
  return canvas;
}

function channels(colour) {
  const hex = Number.parseInt(colour.slice(1), 16);
  return [hex >> 16, (hex >> 8) & 255, hex & 255];
}

/** Draw everything; view is the Viewport. */
export function draw(canvas, view) {
  const context = canvas.getContext('2d');
  const ratio = canvas.width / view.stage.width;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, view.stage.width, view.stage.height);
  if (!state.image) return;
  paintImage(context, view);
  if (!state.hidden) {
    // Objects lie below what was found: their fill would hide it and mix with its colours.
    if (state.everything) drawObjectOutlines(context, view);
    else drawSides(context, view);
    if (state.everything) drawEverything(context, view);
    drawPeek(context, view);
    for (const object of state.everything ? [] : state.objects) drawPrompts(context, view, object);
  }
  drawDrag(context, view);
  drawCursor(context, view);
}

function paintImage(context, view) {
  const { bitmap, width, height } = state.image;
  context.imageSmoothingEnabled = view.scale < 3;
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, view.left, view.top, width * view.scale, height * view.scale);
}

export const isComparing = () => state.view === 'compare' && hasEnhancer();

/** Masks: without enhancement at the left and with it at the right when comparing, else one kind everywhere. */
function drawSides(context, view) {
  const list = Object.fromEntries(sides().map((side) => [side.name, side]));
  const middle = state.slider * view.stage.width;
  if (isComparing()) {
    clipped(context, [0, middle], view, () => drawMasks(context, view, list.without));
    clipped(context, [middle, view.stage.width], view, () => drawMasks(context, view, list.main));
  } else {
    drawMasks(context, view, list.main);
  }
  if (list.clean && followsClean()) drawClean(context, view, list.clean);
}

function clipped(context, [from, to], view, work) {
  context.save();
  context.beginPath();
  context.rect(from, 0, to - from, view.stage.height);
  context.clip();
  work();
  context.restore();
}

function drawMasks(context, view, side) {
  const shown = state.objects.map((object) => ({ object, mask: resultOf(object, side)?.mask })).filter(({ mask }) => mask?.area);
  for (const index of paintOrder(shown.map(({ mask }) => mask))) {
    const { object, mask } = shown[index];
    fill(context, view, mask, object.colour, FILL);
    const isActive = object.id === state.active;
    outline(context, view, mask, '#ffffff', isActive ? 3.5 : 2.5, isActive ? 0.85 : 0.6);
    outline(context, view, mask, object.colour, isActive ? 2 : 1.25);
  }
}

function fill(context, view, mask, colour, alpha) {
  context.globalAlpha = alpha;
  context.imageSmoothingEnabled = view.scale < 3;
  const [x, y] = view.toStage(mask.x, mask.y);
  context.drawImage(layer(mask, colour), x, y, mask.w * view.scale, mask.h * view.scale);
  context.globalAlpha = 1;
}

function outline(context, view, mask, colour, width, alpha = 1, dash = []) {
  context.save();
  context.translate(view.left, view.top);
  context.scale(view.scale, view.scale);
  context.lineWidth = width / view.scale;
  context.lineJoin = 'round';
  context.globalAlpha = alpha;
  context.strokeStyle = colour;
  context.setLineDash(dash.map((length) => length / view.scale));
  context.stroke(path(mask));
  context.restore();
}

/** Kinds that move pixels: there the mask of the clean image is not where it should be. */
const MOVING = new Set(['elastic', 'frosted_glass', 'rolling_motion']);

/** Whether the mask of the clean image tells where the one of the worse image should be. */
export const followsClean = () => state.worse !== null && !MOVING.has(state.worse.kind);

/** Where the masks were on the clean image, as dashed lines. */
function drawClean(context, view, side) {
  for (const object of state.objects) {
    const mask = resultOf(object, side)?.mask;
    if (!mask?.area) continue;
    outline(context, view, mask, '#000000', 3, 0.5);
    outline(context, view, mask, '#ffffff', 1.75, 1, [6, 5]);
  }
}

/** Objects that are there already, while everything mode offers others. */
function drawObjectOutlines(context, view) {
  const [side] = sides();
  for (const object of state.objects) {
    const mask = resultOf(object, side)?.mask;
    if (!mask?.area) continue;
    outline(context, view, mask, '#ffffff', 3.5, 0.9);
    outline(context, view, mask, object.colour, 2, 1, [8, 5]);
  }
}

function drawEverything(context, view) {
  const { objects } = state.everything;
  objects.forEach(({ mask, number }, index) => {
    const lit = index === state.hover;
    const colour = manyColours(number - 1);
    fill(context, view, mask, colour, lit ? 0.75 : FILL);
    outline(context, view, mask, lit ? '#ffffff' : colour, lit ? 2.5 : 1);
  });
  for (const { point, number } of objects) drawNumber(context, view.toStage(...point), number);
}

function drawNumber(context, [x, y], number) {
  context.font = '600 12px system-ui, sans-serif';
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  context.lineJoin = 'round';
  context.lineWidth = 3;
  context.strokeStyle = 'rgb(0 0 0 / 75%)';
  context.strokeText(String(number), x, y);
  context.fillStyle = '#ffffff';
  context.fillText(String(number), x, y);
}

/** What a click under the pointer would give. */
function drawPeek(context, view) {
  if (!state.peek || state.everything) return;
  const { mask, colour } = state.peek;
  fill(context, view, mask, colour, PEEK_FILL);
  outline(context, view, mask, '#000000', 3, 0.5);
  outline(context, view, mask, '#ffffff', 1.5, 1, [3, 3]);
}

/** Index of the smallest mask of everything mode at a place in the image, or null. */
export function foundAt([x, y]) {
  const { objects } = state.everything;
  for (let index = objects.length - 1; index >= 0; index--) if (contains(objects[index].mask, x, y)) return index;
  return null;
}

/** Prompts of the active object, and of those whose masks are still to come. */
function drawPrompts(context, view, object) {
  const [side] = sides();
  if (object.fixed || (object.id !== state.active && resultOf(object, side))) return;
  if (object.box) drawBox(context, view, object.box, object.colour, []);
  object.points.forEach((point, index) => drawPoint(context, view.toStage(...point), object.labels[index]));
}

function drawBox(context, view, [x0, y0, x1, y1], colour, dash) {
  const [left, top] = view.toStage(x0, y0);
  const [right, bottom] = view.toStage(x1, y1);
  context.setLineDash(dash);
  for (const [style, width] of [['#ffffff', 4], [colour, 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.strokeRect(left, top, right - left, bottom - top);
  }
  context.setLineDash([]);
}

/** A point: green with a plus, or red with a minus. */
function drawPoint(context, [x, y], label) {
  context.beginPath();
  context.arc(x, y, 8, 0, 2 * Math.PI);
  context.fillStyle = label ? '#0f9d58' : '#d93025';
  context.fill();
  context.lineWidth = 2;
  context.strokeStyle = '#ffffff';
  context.stroke();
  context.beginPath();
  context.moveTo(x - 4, y);
  context.lineTo(x + 4, y);
  if (label) {
    context.moveTo(x, y - 4);
    context.lineTo(x, y + 4);
  }
  context.stroke();
}

function drawDrag(context, view) {
  if (state.drag) drawBox(context, view, state.drag, '#2f7df6', [7, 5]);
  if (state.corner && state.cursor) drawBox(context, view, [...state.corner, ...state.cursor], '#2f7df6', [7, 5]);
}

function drawCursor(context, view) {
  if (!state.cursor) return;
  const [x, y] = view.toStage(...state.cursor);
  for (const [style, width] of [['#000000', 4], ['#ffffff', 2]]) {
    context.strokeStyle = style;
    context.lineWidth = width;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 5 * dx, y + 5 * dy);
      context.lineTo(x + 16 * dx, y + 16 * dy);
    }
    context.stroke();
  }
}

/** A small image of a mask on its surroundings, for choosing. */
export function thumbnail(canvas, mask, region, colour) {
  const context = canvas.getContext('2d');
  const [x, y, w, h] = region;
  const scale = Math.min(canvas.width / w, canvas.height / h);
  const [left, top] = [(canvas.width - w * scale) / 2 - x * scale, (canvas.height - h * scale) / 2 - y * scale];
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = 'high';
  const { bitmap, width, height } = state.image;
  context.drawImage(bitmap, left, top, width * scale, height * scale);
  context.fillStyle = 'rgb(255 255 255 / 55%)';
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (!mask.area) return;
  const view = { left, top, scale, toStage: (px, py) => [px * scale + left, py * scale + top] };
  fill(context, view, mask, colour, 0.72);
  outline(context, view, mask, colour, 2);
}
