// What this browser remembers of images and their objects, in IndexedDB: over a reload, and on the way back to an image.
// Everything here is a help: where storage is forbidden or full, the page goes on without it.

const NAME = 'glesam';
const VERSION = 2; // from 2 on the stores have an index of times
const STORES = ['images', 'tabs'];
const MOST = 400; // of two entries an image, see keepImage; of tabs fewer, as they hold the file itself
const MOST_TABS = 8;
const FEWER = 0.9; // share of the entries that stay where the storage is full
const TAB_KEY = 'glesam-tab';

let opened = null;

function database() {
  opened ??= new Promise((done, fail) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => STORES.forEach((name) => storeOf(request, name).createIndex('time', 'time'));
    // A tab with an older page may hold the old version for long: until it goes, this page does without.
    request.onblocked = () => fail(new Error('held by an older page'));
    request.onsuccess = () => {
      const found = request.result;
      found.onversionchange = () => found.close(); // and does not hold up a newer page
      opened = Promise.resolve(found);
      done(found);
    };
    request.onerror = () => fail(request.error);
  });
  return opened;
}

/** A store of the database that is upgraded, made where there is none. */
function storeOf({ result, transaction }, name) {
  return result.objectStoreNames.contains(name) ? transaction.objectStore(name) : result.createObjectStore(name);
}

const finished = (request) =>
  new Promise((done, fail) => {
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });

async function read(store, key) {
  try {
    return await finished((await database()).transaction(store).objectStore(store).get(key));
  } catch {
    return undefined;
  }
}

async function write(store, key, value, most) {
  try {
    const fault = await put(store, key, value).then(() => null, (error) => error);
    const isFull = fault?.name === 'QuotaExceededError';
    await trim(store, (count) => (isFull ? Math.max(1, Math.min(most, Math.floor(FEWER * count))) : most));
    if (isFull) await put(store, key, value); // what is new counts more than what is old
  } catch {
    // Forbidden or full.
  }
}

/** Done when it is on the disk: only then is it known whether there was room. */
async function put(store, key, value) {
  const transaction = (await database()).transaction(store, 'readwrite');
  transaction.objectStore(store).put({ ...value, time: Date.now() }, key);
  return new Promise((done, fail) => {
    transaction.oncomplete = () => done();
    transaction.onabort = () => fail(transaction.error);
  });
}

/** Let the oldest entries go. Only keys are read: an entry holds decoded masks, and hundreds of them would be loaded. */
async function trim(store, mostOf) {
  const inside = (await database()).transaction(store, 'readwrite').objectStore(store);
  const count = await finished(inside.count());
  const over = count - mostOf(count);
  const request = over > 0 ? inside.index('time').openKeyCursor() : null;
  for (let gone = 0; gone < over; gone++) {
    const cursor = await finished(request);
    inside.delete(cursor.primaryKey);
    cursor.continue();
  }
}

/** Whether no other tab goes by this name; holds it as long as the page lives. */
function held(name) {
  if (!navigator.locks) return true; // pages without encryption: a copied tab is taken for the same
  return new Promise((done) => {
    navigator.locks.request(`glesam ${name}`, { ifAvailable: true }, (lock) => {
      done(lock !== null);
      return lock && new Promise(() => {});
    });
  });
}

/** A name for this tab that outlives a reload; a copied tab gets a name of its own. */
async function tab() {
  const before = sessionStorage.getItem(TAB_KEY);
  if (before && (await held(before))) return before;
  const name = `${Date.now()}-${Math.random()}`;
  sessionStorage.setItem(TAB_KEY, name);
  await held(name);
  return name;
}

const mine = tab();

/** A file by what is known of it without reading it; the same file has the same key tomorrow. */
export const fileKey = (file, name) => `${name}|${file.size}|${file.lastModified ?? 0}`;

/** Keep the objects of an image: {objects, active, answers}; for this tab, and for any that opens it later. */
export async function keepImage(key, work) {
  await Promise.all([write('images', `${await mine} ${key}`, work, MOST), write('images', key, work, MOST)]);
}

/** What keepImage kept, this tab's own first; or undefined. */
export const keptImage = async (key) => (await read('images', `${await mine} ${key}`)) ?? read('images', key);

/** Keep what is open in this tab: {name, blob}. */
export const keepTab = async (open) => write('tabs', await mine, open, MOST_TABS);

/** What keepTab kept, or undefined. */
export const keptTab = async () => read('tabs', await mine);
