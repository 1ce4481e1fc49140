// The list of objects: their names, masks and scores.

import { element, icon, isNew, percent } from './elements.js';
import { remove, rename, select } from './prompts.js';
import { resultOf } from './session.js';
import { sides } from './sides.js';
import { state } from './state.js';

const $ = (id) => document.getElementById(id);
let drawn = null; // the image whose objects the list shows

export function drawObjects() {
  const [side] = sides();
  const rows = state.objects.map((object) => ({ object, result: side ? resultOf(object, side) : null }));
  $('objects-none').hidden = rows.length > 0;
  const waits = whyNone(state.image);
  if (!isNew('objects', [state.active, waits, ...rows.flatMap(({ object, result }) => [object, result?.mask])])) return;
  show(rows.map((row, index) => objectRow(row, index, waits)));
}

/** Put rows in place of those before; the focus stays where it was, or goes to the neighbour of a row that is gone. */
function show(rows) {
  const list = $('objects');
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const [[kind, id] = []] = Object.entries(focused?.dataset ?? {});
  const place = [...list.children].findIndex((row) => row.contains(focused));
  const field = `[data-rename="${id}"]`;
  const isTyping = kind === 'rename' && drawn === state.original && rows.some((row) => row.querySelector(field));
  drawn = state.original;
  if (isTyping) return void showAround(list.children[place], rows, field);
  list.replaceChildren(...rows);
  if (!focused) return;
  const same = list.querySelector(`[data-${kind}="${id}"]`);
  (same ?? rows[Math.min(place, rows.length - 1)]?.querySelector('.object') ?? $('stage')).focus();
}

/** The same around a row in whose name somebody types: taken out, its field would lose what is not finished. */
function showAround(typing, rows, field) {
  const place = rows.findIndex((row) => row.querySelector(field));
  const [choice, bin, name] = rows[place].children;
  for (const row of [...typing.parentElement.children]) if (row !== typing) row.remove();
  typing.children[0].replaceWith(choice);
  typing.children[1].replaceWith(bin);
  typing.children[2].setAttribute('aria-label', name.getAttribute('aria-label'));
  typing.before(...rows.slice(0, place));
  typing.after(...rows.slice(place + 1));
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
  bin.dataset.bin = object.id;
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
