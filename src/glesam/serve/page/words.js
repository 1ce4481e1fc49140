// The field for words: completes the ones that the server knows, and looks for them.

import { words } from './api.js';
import { element } from './elements.js';
import { findByWords } from './finding.js';
import { set, state } from './state.js';

const MOST = 30; // completions at once
const $ = (id) => document.getElementById(id);

/** Ask the server which words it knows; one without words has no field. */
export async function fetchWords() {
  try {
    set({ words: await words() });
  } catch {
    set({ words: [] });
  }
  $('words-panel').hidden = !state.words.length;
  $('word-list').replaceChildren(...state.words.slice(0, MOST).map((value) => element('option', { value })));
}

/** Words that begin, or else contain, what was typed after the last semicolon; each with what stands before it. */
export function completions(text, known) {
  const at = text.lastIndexOf(';') + 1;
  const typed = text.slice(at).trim().toLowerCase();
  if (!typed) return [];
  const before = at ? `${text.slice(0, at)} ` : '';
  const begin = known.filter((word) => word.startsWith(typed)).sort((a, b) => a.length - b.length);
  const within = known.filter((word) => !word.startsWith(typed) && word.includes(typed));
  return [...begin, ...within].slice(0, MOST).map((word) => before + word);
}

/** Complete while somebody types, and look when the form is sent. */
export function listenToWords() {
  const field = $('words');
  const complete = (list, typed) =>
    $(list).replaceChildren(...completions(typed, state.words).map((value) => element('option', { value })));
  field.addEventListener('input', () => complete('words-known', field.value));
  $('objects').addEventListener('input', ({ target }) => target.dataset.rename && complete('word-list', target.value));
  $('words-form').addEventListener('submit', (event) => {
    event.preventDefault();
    findByWords(field.value);
  });
}
