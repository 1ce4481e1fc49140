// Requests that must arrive: tried again, ever more slowly, until they do or are given up. What is in the way stays on
// the page as state.trouble, with a button that tries at once.

import { ApiError } from './api.js';
import { set } from './state.js';

const PAUSES_SECONDS = [1, 2, 4, 8, 15];
const PASSING = new Set([0, 408, 502, 503]); // no answer, too slow a line, a proxy without its server, overload
const waiting = new Set(); // calls that end a pause

const isPassing = (error) => error instanceof ApiError && PASSING.has(error.status);

/** Try everything that waits again, now. */
export function tryNow() {
  for (const wake of [...waiting]) wake();
}

globalThis.addEventListener?.('online', tryNow);

/** Wait for some seconds, for tryNow, or for the signal. */
function pause(seconds, signal) {
  return new Promise((done, fail) => {
    const end = (settle) => {
      clearTimeout(timer);
      waiting.delete(wake);
      signal?.removeEventListener('abort', stop);
      settle();
    };
    const wake = () => end(done);
    const stop = () => end(() => fail(signal.reason ?? new DOMException('given up', 'AbortError')));
    const timer = setTimeout(wake, seconds * 1000);
    waiting.add(wake);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/**
 * Do work until it succeeds, fails for good, or is given up.
 * @param {() => Promise} work asks the server; called again as long as only the way to it is at fault.
 * @param {AbortSignal} [signal] gives up.
 */
export async function persist(work, signal) {
  for (let attempt = 0; ; attempt++) {
    try {
      const result = await work();
      if (attempt) settled();
      return result;
    } catch (error) {
      if (!isPassing(error) || signal?.aborted) {
        if (attempt) settled();
        throw error;
      }
      const seconds = PAUSES_SECONDS[Math.min(attempt, PAUSES_SECONDS.length - 1)];
      set({ trouble: { text: error.message, until: performance.now() + 1000 * seconds } });
      try {
        await pause(seconds, signal);
      } catch (given) {
        settled();
        throw given;
      }
    }
  }
}

/** Nothing is in the way any more, unless something else still waits. */
function settled() {
  if (!waiting.size) set({ trouble: null });
}
