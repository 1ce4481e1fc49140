// The panels beside the photo, drawn anew from the state; what has not changed is left alone.

import { FORMATS, finished } from './downloads.js';
import { followsClean, isComparing, thumbnail } from './draw.js';
import { canRedo, canUndo, choose, remove, select } from './prompts.js';
import { iou } from './rle.js';
import { candidates, resultOf, sides } from './session.js';
import { activeObject, hasEnhancer, state } from './state.js';

const THUMBNAIL_PIXELS = 176;
const $ = (id) => document.getElementById(id);

/** Make an element: properties, then children. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

const seen = new Map();

/** Whether what a panel shows has changed since it was last drawn. */
function isNew(panel, parts) {
  const before = seen.get(panel);
  seen.set(panel, parts);
  return !before || before.length !== parts.length || parts.some((part, index) => part !== before[index]);
}

const percent = (value) => `${Math.round(100 * Math.min(Math.max(value, 0), 1))} %`;

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
  $('empty').hidden = state.picture !== null;
  $('token').hidden = !state.locked;
  const size = state.picture ? `${state.picture.width} × ${state.picture.height}` : '';
  const { default: model, head, restore } = state.server ?? {};
  const parts = [model, head && `head ${head}`, restore && `restored by ${restore}`, size];
  $('model').textContent = parts.filter(Boolean).join(' · ');
}

function drawObjects() {
  const [side] = sides();
  const rows = state.objects.map((object) => ({ object, result: side ? resultOf(object, side) : null }));
  $('objects-none').hidden = rows.length > 0;
  if (!isNew('objects', [state.active, ...rows.flatMap(({ object, result }) => [object, result?.mask])])) return;
  const hadFocus = document.activeElement?.dataset?.object;
  $('objects').replaceChildren(...rows.map(objectRow));
  if (hadFocus) document.querySelector(`[data-object="${hadFocus}"]`)?.focus();
}

function objectRow({ object, result }, index) {
  const swatch = element('i', { className: 'swatch' });
  swatch.style.background = object.colour;
  const isActive = object.id === state.active;
  const note = result ? `${result.mask.area.toLocaleString('en')} px` : 'no mask yet';
  const name = element('span', { className: 'grow' }, `Object ${index + 1}`, element('small', {}, note));
  const score = element('span', { className: 'score', title: 'Predicted IoU' }, result ? percent(result.score) : '');
  const choice = element('button', { type: 'button', className: 'object', onclick: () => select(object.id) }, swatch, name, score);
  choice.setAttribute('aria-pressed', String(isActive));
  choice.dataset.object = object.id;
  const bin = element('button', { type: 'button', className: 'button icon bare', onclick: () => remove(object.id) }, icon('close'));
  bin.setAttribute('aria-label', `Delete object ${index + 1}`);
  return element('li', { className: isActive ? 'active' : '' }, choice, bin);
}

/** The part of the picture that holds all candidates, with some surroundings. */
function regionOf(masks) {
  const filled = masks.filter((mask) => mask.area);
  const { width, height } = state.picture;
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
  if (!isNew('candidates', [three, object?.choice, object?.colour, state.picture]) || !three) return;
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
  const comparing = isComparing() && state.picture !== null;
  for (const id of ['divider', 'label-off', 'label-on']) $(id).hidden = !comparing;
  $('divider').style.left = `${100 * state.slider}%`;
  $('divider').setAttribute('aria-valuenow', String(Math.round(100 * state.slider)));
  $('divider').setAttribute('aria-valuetext', `${Math.round(100 * state.slider)} % without enhancement`);
}

function viewNote() {
  if (!state.server) return '';
  if (!hasEnhancer()) return `The model ${state.server.default} has no enhancer: masks are those of the base model.`;
  const judged = { true: 'This photo looks degraded.', false: 'This photo looks clean.' }[state.picture?.degraded] ?? '';
  const notes = {
    auto: 'The model decides by the photo whether to enhance.',
    off: 'Exactly the base model.',
    on: 'Always enhanced.',
    compare: 'Drag the border on the photo. Downloads hold the enhanced masks.',
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
  for (const input of document.querySelectorAll('[name=level], #kind')) input.disabled = !state.original;
  $('dice').disabled = !state.worse;
  drawAgreement();
}

/** How far masks of the worse photo agree with those of the clean one, by object and side. */
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
  $('everything').disabled = !state.picture || state.picture.id === null;
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
  for (const input of document.querySelectorAll('[name=tool]')) input.checked = Number(input.value) === state.tool;
}

let shownSince = 0;

/** What is going on, with its seconds; and the message line. */
function drawWork() {
  const [current] = [...state.work].slice(-1);
  $('progress').hidden = !current;
  clearTimeout(shownSince);
  if (current) {
    const seconds = (performance.now() - current[1]) / 1000;
    $('progress-text').textContent = `${current[0].description}${seconds >= 0.5 ? ` · ${seconds.toFixed(1)} s` : ' …'}`;
    shownSince = setTimeout(drawWork, 100);
  }
  $('message').hidden = !state.message;
  $('message').textContent = state.message?.text ?? '';
  $('message').classList.toggle('error', state.message?.kind === 'error');
  document.body.classList.toggle('busy', Boolean(current));
}

/** Kinds of degradation that the server knows. */
export function listKinds({ kinds }) {
  for (const kind of kinds) $('kind').append(element('option', { value: kind }, kind.replaceAll('_', ' ')));
}
