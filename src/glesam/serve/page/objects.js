// The list of objects: their names, masks and scores.

import { element, icon, isNew, percent } from './elements.js';
import { remove, rename, select } from './prompts.js';
import { resultOf, sides } from './session.js';
import { state } from './state.js';

const $ = (id) => document.getElementById(id);

export function drawObjects() {
  const [side] = sides();
  const rows = state.objects.map((object) => ({ object, result: side ? resultOf(object, side) : null }));
  $('objects-none').hidden = rows.length > 0;
  const waits = whyNone(state.image);
  if (!isNew('objects', [state.active, waits, ...rows.flatMap(({ object, result }) => [object, result?.mask])])) return;
  const { object: focused, rename: renamed } = document.activeElement?.dataset ?? {};
  $('objects').replaceChildren(...rows.map((row, index) => objectRow(row, index, waits)));
  if (focused) document.querySelector(`[data-object="${focused}"]`)?.focus();
  if (renamed) document.querySelector(`[data-rename="${renamed}"]`)?.focus();
}

/** What to say of an object that has no mask. */
function whyNone(image) {
  if (image?.refused) return 'no mask: the image was not taken';
  return image?.id === null ? 'kept until the image is there' : 'no mask yet';
}

const note = (result, waits) => (result ? `${result.mask.area.toLocaleString('en')} px` : waits);

function objectRow({ object, result }, index, waits) {
  const swatch = element('i', { className: 'swatch' });
  swatch.style.background = object.colour;
  const isActive = object.id === state.active;
  const called = object.name || `Object ${index + 1}`;
  const name = element('span', { className: 'grow' }, called, element('small', {}, note(result, waits)));
  const score = element('span', { className: 'score', title: 'Predicted IoU' }, result ? percent(result.score) : '');
  const choice = element('button', { type: 'button', className: 'object', onclick: () => select(object.id) }, swatch, name, score);
  choice.setAttribute('aria-pressed', String(isActive));
  choice.dataset.object = object.id;
  const bin = element('button', { type: 'button', className: 'button icon bare', onclick: () => remove(object.id) }, icon('close'));
  bin.setAttribute('aria-label', `Delete ${object.name || `object ${index + 1}`}`);
  const row = element('li', { className: isActive ? 'active' : '' }, choice, bin);
  if (isActive) row.append(nameField(object, index));
  return row;
}

function nameField(object, index) {
  const field = element('input', { type: 'text', className: 'name', value: object.name, placeholder: 'Name', maxLength: 60 });
  field.setAttribute('aria-label', `Name of object ${index + 1}`);
  field.setAttribute('list', 'word-list');
  field.autocomplete = 'off';
  field.dataset.rename = object.id;
  field.onchange = () => rename(object.id, field.value.trim());
  return field;
}
