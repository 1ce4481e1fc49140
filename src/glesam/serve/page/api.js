// The server's HTTP API. Every failure becomes an ApiError with one sentence that a person can read.

import { upload } from './upload.js';

const RETRIES = 4;
const LONGEST_WAIT_SECONDS = 5;
const TOKEN_KEY = 'glesam-token';

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

let token = sessionStorage.getItem(TOKEN_KEY) ?? '';

/** Keep the bearer token for this tab; it goes with its closing. No server takes other characters, and fetch() fails on some. */
export function setToken(value) {
  const given = value.trim();
  const odd = [...given].find((each) => each < '!' || each > '~');
  if (odd) {
    const code = odd.codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
    throw new Error(`expected a token of ASCII characters without spaces, got one with U+${code}; copy it again`);
  }
  token = given;
  sessionStorage.setItem(TOKEN_KEY, token);
}

async function sentence(response) {
  try {
    const content = await response.json();
    if (typeof content.error === 'string') return content.error;
  } catch {
    // An answer without JSON, from a proxy perhaps: its status has to say it.
  }
  return `the server answered ${response.status} ${response.statusText}`.trim();
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

/** Send a request; by upload() where its progress is to be seen. */
async function send(path, { onProgress, ...options }) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  try {
    const call = onProgress ? upload(path, { ...options, headers }, onProgress) : fetch(path, { ...options, headers });
    return await call;
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('The server does not answer: see that glesam serve is still running.', 0);
  }
}

/** Send a request; while the server is overloaded (503) wait as long as it asks for, a few times. */
async function request(path, options = {}) {
  for (let attempt = 0; ; attempt++) {
    const response = await send(path, options);
    if (response.ok) return response;
    if (response.status !== 503 || attempt >= RETRIES) throw new ApiError(await sentence(response), response.status);
    const wanted = Number(response.headers.get('Retry-After')) || 1;
    await pause(Math.min(wanted, LONGEST_WAIT_SECONDS));
    options.signal?.throwIfAborted();
  }
}

async function json(path, body, signal, onProgress) {
  const headers = { 'Content-Type': 'application/json' };
  return request(path, { method: 'POST', headers, body: JSON.stringify(body), signal, onProgress });
}

export const models = async () => (await request('v1/models')).json();

export const degradations = async () => (await request('v1/degradations')).json();

/** Nouns that findWords knows. */
export const words = async () => (await request('v1/words')).json();

/** Bytes of an image to {id, width, height, degraded, milliseconds}; onProgress gets the share that was sent. */
export async function embed(blob, signal, onProgress = () => {}) {
  const headers = { 'Content-Type': blob.type.startsWith('image/') ? blob.type : 'application/octet-stream' };
  return (await request('v1/embed', { method: 'POST', headers, body: blob, signal, onProgress })).json();
}

export const segment = async (body, signal) => (await json('v1/segment', { format: 'rle', ...body }, signal)).json();

export const everything = async (body, signal) => (await json('v1/everything', { format: 'rle', ...body }, signal)).json();

/** Objects that words name. */
export const findWords = async (body, signal) => (await json('v1/text', { format: 'rle', ...body }, signal)).json();

/** What looks like objects of other images. */
export const findLike = async (body, signal) => (await json('v1/like', { format: 'rle', ...body }, signal)).json();

/** A worse image: {blob, id}, a PNG that the server knows by its id already; onProgress gets the share received. */
export async function degrade(body, signal, onProgress = () => {}) {
  const response = await json('v1/degrade', body, signal, onProgress);
  return { blob: await response.blob(), id: response.headers.get('X-Picture-Id') };
}
