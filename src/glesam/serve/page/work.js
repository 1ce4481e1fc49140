// What is going on, with its progress; what is in the way; and the message line.

import { waitingSince } from './session.js';
import { state } from './state.js';

const SHORT_MS = 300; // work that is done by then needs no bar
const TICK_MS = 100;
const $ = (id) => document.getElementById(id);
let timer = 0;

/** What to show in the bar: {label, since, share}, or null. */
function current() {
  const [last] = [...state.work.values()].slice(-1);
  if (last) return last;
  const since = waitingSince();
  return since ? { label: 'Looking for the object', since, share: null } : null;
}

/** Draw bar, trouble and message, and again soon while something goes on. */
export function drawWork() {
  clearTimeout(timer);
  const work = current();
  const now = performance.now();
  const isShown = work !== null && (state.work.size > 0 || now - work.since >= SHORT_MS);
  $('progress').hidden = !isShown;
  if (isShown) drawBar(work, (now - work.since) / 1000);
  document.body.classList.toggle('busy', work !== null);
  $('frame').setAttribute('aria-busy', String(work !== null));
  drawTrouble(now);
  $('message').hidden = !state.message;
  $('message').textContent = state.message?.text ?? '';
  $('message').classList.toggle('error', state.message?.kind === 'error');
  if (work || state.trouble) timer = setTimeout(drawWork, TICK_MS);
}

function drawBar({ label, share }, seconds) {
  const bar = $('progress');
  bar.classList.toggle('known', share !== null);
  bar.firstElementChild.style.width = share === null ? '' : `${100 * share}%`;
  if (share === null) bar.removeAttribute('aria-valuenow');
  else bar.setAttribute('aria-valuenow', String(Math.round(100 * share)));
  $('progress-text').textContent = `${label}${seconds >= 0.5 ? ` · ${seconds.toFixed(1)} s` : ' …'}`;
}

function drawTrouble(now) {
  $('trouble').hidden = !state.trouble;
  if (!state.trouble) return;
  const left = Math.ceil((state.trouble.until - now) / 1000);
  const kept = state.objects.length ? ' Your clicks are kept.' : '';
  $('trouble-text').textContent = `${state.trouble.text}${kept}`;
  $('trouble-wait').textContent = left > 0 ? `Next try in ${left} s.` : 'Trying …';
}
