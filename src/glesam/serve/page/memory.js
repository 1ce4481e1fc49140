// What this browser remembers of images and their objects, in IndexedDB: over a reload, and on the way back to an image.
// Everything here is a help: where storage is forbidden or full, the page goes on without it.

const NAME = 'glesam';
const STORES = ['images', 'tabs'];
const MOST = 400; // of two entries an image, see keepImage; of tabs fewer, as they hold the file itself
const MOST_TABS = 8;
const TAB_KEY = 'glesam-tab';

let opened = null;

function database() {
  opened ??= new Promise((done, fail) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name));
    request.onsuccess = () => done(request.result);
    request.onerror = () => fail(request.error);
  });
  return opened;
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
    const inside = (await database()).transaction(store, 'readwrite').objectStore(store);
    await finished(inside.put({ ...value, time: Date.now() }, key));
    const [keys, values] = [await finished(inside.getAllKeys()), await finished(inside.getAll())];
    const oldest = keys.map((each, index) => [values[index].time, each]).sort((a, b) => a[0] - b[0]);
    for (const [, each] of oldest.slice(0, Math.max(0, keys.length - most))) inside.delete(each);
  } catch {
    // Forbidden or full.
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
