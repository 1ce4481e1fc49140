// Files that are dropped, pasted or chosen, whole folders too.

import { report } from './session.js';

/** All files of a dropped folder, or the one file. */
async function unfolded(entry) {
  if (entry.isFile) return [await new Promise((done, fail) => entry.file(done, fail))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, fail) => reader.readEntries(done, fail)); // a hundred at a time
    if (!some.length) break;
    found.push(...some.filter((each) => !each.name.startsWith('.')));
  }
  return (await Promise.all(found.map(unfolded))).flat();
}

/** Files of a drop; entries must be asked for before anything is awaited. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  return (await Promise.all(entries.map(unfolded))).flat();
}

/** Images that are dropped anywhere or pasted. */
export function listenForImages(openAll) {
  const has = (transfer) => [...(transfer?.types ?? [])].includes('Files');
  const mark = (on) => document.body.classList.toggle('dropping', on);
  window.addEventListener('dragover', (event) => {
    event.preventDefault();
    mark(has(event.dataTransfer));
  });
  window.addEventListener('dragleave', (event) => event.relatedTarget === null && mark(false));
  window.addEventListener('drop', async (event) => {
    event.preventDefault();
    mark(false);
    const files = await filesOf(event.dataTransfer);
    if (files.length) openAll(files);
    else report(new Error('expected an image file, got something else; drag a file from your computer'));
  });
  window.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) openAll(files);
  });
}
