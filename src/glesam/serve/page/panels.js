// The panels beside the image, drawn anew from the state; what has not changed is left alone.

import { setSize } from './dataset.js';
import { FORMATS } from './downloads.js';
import { followsClean, isComparing, thumbnail } from './draw.js';
import { element, isNew, percent } from './elements.js';
import { placeBy } from './images.js';
import { canFindNext } from './likeness.js';
import { drawObjects } from './objects.js';
import { canRedo, canUndo, choose } from './prompts.js';
import { iou } from './rle.js';
import { candidates, finished, resultOf } from './session.js';
import { sides } from './sides.js';
import { activeObject, hasEnhancer, state } from './state.js';
import { drawWork } from './work.js';

const THUMBNAIL_PIXELS = 176;
const $ = (id) => document.getElementById(id);

/** Draw all panels. */
export function drawPanels() {
  drawHeader();
  drawObjects();
  drawCandidates();
  drawEnhancement();
  drawWorse();
  drawEverything();
  drawButtons();
  drawWork();
}

function drawHeader() {
  $('empty').hidden = state.image !== null;
  $('token').hidden = !state.locked;
  const size = state.image ? `${state.image.width} × ${state.image.height}` : '';
  const { default: model, head, restore } = state.server ?? {};
  const parts = [model, head && `head ${head}`, restore && `restored by ${restore}`, size];
  $('model').textContent = parts.filter(Boolean).join(' · ');
  const { images, at } = state;
  $('several').hidden = images.length < 2;
  $('several-at').textContent = `${at + 1} of ${images.length}`;
  $('image-before').disabled = placeBy(-1) === null;
  $('image-after').disabled = placeBy(1) === null;
}

/** The part of the image that holds all candidates, with some surroundings. */
function regionOf(masks) {
  const filled = masks.filter((mask) => mask.area);
  const { width, height } = state.image;
  if (!filled.length) return [0, 0, width, height];
  const [x0, y0] = [Math.min(...filled.map((m) => m.x)), Math.min(...filled.map((m) => m.y))];
  const [x1, y1] = [Math.max(...filled.map((m) => m.x + m.w)), Math.max(...filled.map((m) => m.y + m.h))];
  const size = Math.max(1.15 * Math.max(x1 - x0, y1 - y0), 24);
  return [(x0 + x1 - size) / 2, (y0 + y1 - size) / 2, size, size];
}

function drawCandidates() {
  const three = candidates();
  const object = activeObject();
  $('candidates-panel').hidden = !three;
  if (!isNew('candidates', [three, object?.choice, object?.colour, state.image]) || !three) return;
  const [side] = sides();
  const shown = resultOf(object, side)?.mask;
  const region = regionOf(three.map(({ mask }) => mask));
  const focused = [...$('candidates').children].indexOf(document.activeElement);
  $('candidates').replaceChildren(
    ...three.map(({ mask, score }, index) => {
      const canvas = element('canvas', { width: THUMBNAIL_PIXELS, height: THUMBNAIL_PIXELS });
      thumbnail(canvas, mask, region, object.colour);
      const isChosen = object.choice === index || (object.choice === null && mask.rle.counts === shown?.rle.counts);
      const button = element('button', { type: 'button', className: 'candidate' }, canvas, element('span', {}, percent(score)));
      button.onclick = () => choose(object.choice === index ? null : index);
      button.setAttribute('aria-pressed', String(isChosen));
      button.setAttribute('aria-label', `Candidate ${index + 1}, score ${percent(score)}`);
      button.title = `Take this one (${index + 1})`;
      return button;
    }),
  );
  $('candidates').children[focused]?.focus();
}

function drawEnhancement() {
  for (const input of document.querySelectorAll('[name=view]')) {
    input.disabled = !hasEnhancer();
    input.checked = input.value === (hasEnhancer() ? state.view : 'off');
  }
  $('view-note').textContent = viewNote();
  const comparing = isComparing() && state.image !== null;
  for (const id of ['divider', 'label-off', 'label-on']) $(id).hidden = !comparing;
  $('divider').style.left = `${100 * state.slider}%`;
  $('divider').setAttribute('aria-valuenow', String(Math.round(100 * state.slider)));
  $('divider').setAttribute('aria-valuetext', `${Math.round(100 * state.slider)} % without enhancement`);
}

function viewNote() {
  if (!state.server) return '';
  if (!hasEnhancer()) return `The model ${state.server.default} has no enhancer: masks are those of the base model.`;
  const judged = { true: 'This image looks degraded.', false: 'This image looks clean.' }[state.image?.degraded] ?? '';
  const notes = {
    auto: 'The model decides by the image whether to enhance.',
    off: 'Exactly the base model.',
    on: 'Always enhanced.',
    compare: 'Drag the border on the image. Downloads hold the enhanced masks.',
  };
  return `${notes[state.view]} ${judged}`.trim();
}

function drawWorse() {
  const level = state.worse ? (state.worse.level ?? 'kind') : 0;
  for (const input of document.querySelectorAll('[name=level]')) input.checked = input.value === String(level);
  $('kind').value = state.worse?.kind ?? '';
  $('severity-field').hidden = !state.worse?.kind;
  if (state.worse?.kind) $('severity').value = state.worse.severity;
  $('severity-value').textContent = $('severity').value;
  for (const input of document.querySelectorAll('[name=level], #kind')) input.disabled = !state.original?.id;
  $('dice').disabled = !state.worse;
  drawAgreement();
}

/** How far masks of the worse image agree with those of the clean one, by object and side. */
function drawAgreement() {
  const list = sides();
  const clean = list.find((side) => side.name === 'clean');
  const object = activeObject();
  const reference = clean && object ? resultOf(object, clean) : null;
  const rows = list
    .filter((side) => side !== clean && reference?.fresh)
    .map((side) => ({ side, result: resultOf(object, side) }))
    .filter(({ result }) => result?.fresh);
  $('agreement').hidden = rows.length === 0 || !followsClean();
  if (!isNew('agreement', [reference?.mask, ...rows.map(({ result }) => result.mask)])) return;
  const body = $('agreement').tBodies[0];
  body.replaceChildren(...rows.reverse().map(({ side, result }) => agreementRow(side, result, iou(result.mask, reference.mask))));
}

function agreementRow(side, result, value) {
  const name = result.enhanced ? 'with enhancement' : 'without';
  const meter = element('meter', { min: 0, max: 1, value });
  meter.setAttribute('aria-label', `Overlap ${name}`);
  const row = element('tr', {}, element('th', { scope: 'row' }, name), element('td', {}, meter), element('td', {}, value.toFixed(2)));
  row.dataset.side = side.name;
  return row;
}

function drawEverything() {
  const on = state.everything !== null;
  $('everything').setAttribute('aria-pressed', String(on));
  $('everything').textContent = on ? 'Leave everything mode' : 'Find everything';
  $('everything').disabled = !state.image || state.image.id === null;
  $('keep-all').hidden = !on || !state.everything.objects.length;
  $('frame').classList.toggle('picking', on);
}

function drawButtons() {
  const [side] = sides();
  $('undo').disabled = !canUndo();
  $('redo').disabled = !canRedo();
  $('clear').disabled = !state.objects.length;
  $('next').disabled = !activeObject();
  for (const id of ['zoom-in', 'zoom-out', 'zoom-fit']) $(id).disabled = !side;
  const none = finished().length === 0;
  for (const button of document.querySelectorAll('[data-format]')) button.disabled = none || !(button.dataset.format in FORMATS);
  const size = setSize();
  const set = document.querySelector('[data-format=set]');
  set.disabled = size === 0;
  set.lastElementChild.textContent = size > 1 ? `Training set (${size} images)` : 'Training set';
  $('start-mask').disabled = !side;
  $('find-next').hidden = state.images.length < 2;
  $('find-next').disabled = !canFindNext();
  $('find-words').disabled = !side || side.image.id === null;
  $('previewing').checked = state.previewing;
  for (const input of document.querySelectorAll('[name=tool]')) input.checked = Number(input.value) === state.tool;
}

/** Kinds of degradation that the server knows. */
export function listKinds({ kinds }) {
  for (const kind of kinds) $('kind').append(element('option', { value: kind }, kind.replaceAll('_', ' ')));
}
